//! The journal's records and segments as bytes.
//!
//! A segment begins with its header, twice, and holds records one after another. A record is
//! ```text
//! length u32 | crc32c u32 | epoch u32 | session u32 | position u64 | previous u64 | kind u32 | body
//! ```
//! all little-endian. The checksum covers everything but itself and begins with the epoch's salt,
//! a random number that peers do not know: bytes they chose never pass for a record.
//!
//! [`Scan`] tells what is damaged from what is torn: after bytes that are no record it looks for the
//! next that are. If there are some it has found a [`Found::Gap`], else the [`Found::Tail`].

/// Bytes before a record's body.
pub const HEADER_BYTES: usize = 36;
/// Longest body of a record, in bytes.
pub const BODY_BYTES_MAX: usize = 1 << 28;
/// Bytes at the beginning of a segment, before its first record: its header, twice.
pub const SEGMENT_HEADER_BYTES: usize = 2 * ONE_SEGMENT_HEADER;

const MAGIC: &[u8; 8] = b"lockstep";
/// Version of this form.
const FORM: u32 = 1;
const ONE_SEGMENT_HEADER: usize = 32;

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// Gives a session its number. Body: its name. `position`: what is kept elsewhere up to.
    /// `previous`: its last entry so far. Written twice, at a session's first record in a segment.
    Name = 1,
    /// What a session recorded. Body: its own.
    Entry = 2,
    /// Entries up to `position` are kept elsewhere: of a session, or, as session 0, of all of this shard
    /// and epoch.
    Trim = 3,
    /// The session has ended, and nothing of it is needed.
    Close = 4,
    /// Ends a batch. Body: see [`Seal`].
    Seal = 5,
}

impl Kind {
    fn from_number(number: u32) -> Option<Self> {
        [Self::Name, Self::Entry, Self::Trim, Self::Close, Self::Seal]
            .into_iter()
            .find(|&kind| kind as u32 == number)
    }
}

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it is for.
    pub kind: Kind,
    /// Number of the session within its shard and epoch; 0 for a seal, or all of them.
    pub session: u32,
    /// Of an entry: its own, greater than that of every entry before it on its shard.
    pub position: u64,
    /// Of an entry: the position of the session's entry before it; 0 for a session's first.
    pub previous: u64,
    /// See [`Kind`].
    pub body: &'a [u8],
}

/// What every record of an epoch is made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// Grows with every start of the process.
    pub epoch: u32,
    /// Random.
    pub salt: u64,
}

impl Key {
    fn checksum(self, parts: &[&[u8]]) -> u32 {
        let seed = crc32c::crc32c(&self.salt.to_le_bytes());
        parts.iter().fold(seed, |crc, part| crc32c::crc32c_append(crc, part))
    }

    /// Appends a record whose body is `parts` joined.
    pub fn write(self, out: &mut Vec<u8>, record: &Record<'_>, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        debug_assert!(record.body.is_empty() && length <= BODY_BYTES_MAX);
        let mut header = [0; HEADER_BYTES];
        header[0..4].copy_from_slice(&(length as u32).to_le_bytes());
        header[8..12].copy_from_slice(&self.epoch.to_le_bytes());
        header[12..16].copy_from_slice(&record.session.to_le_bytes());
        header[16..24].copy_from_slice(&record.position.to_le_bytes());
        header[24..32].copy_from_slice(&record.previous.to_le_bytes());
        header[32..36].copy_from_slice(&(record.kind as u32).to_le_bytes());
        let crc = self.checksum(&[&header[0..4], &header[8..]]);
        let crc = parts.iter().fold(crc, |crc, part| crc32c::crc32c_append(crc, part));
        header[4..8].copy_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&header);
        for part in parts {
            out.extend_from_slice(part);
        }
    }

    /// The record at the beginning of `bytes`, if there is a whole and sound one.
    pub fn read(self, bytes: &[u8]) -> Option<Record<'_>> {
        let header = bytes.get(..HEADER_BYTES)?;
        let length = u32_at(header, 0) as usize;
        let kind = Kind::from_number(u32_at(header, 32))?;
        if length > BODY_BYTES_MAX || u32_at(header, 8) != self.epoch {
            return None;
        }
        let body = bytes.get(HEADER_BYTES..HEADER_BYTES + length)?;
        let crc = self.checksum(&[&header[0..4], &header[8..], body]);
        (crc == u32_at(header, 4)).then(|| Record {
            kind,
            session: u32_at(header, 12),
            position: u64_at(header, 16),
            previous: u64_at(header, 24),
            body,
        })
    }
}

/// What a segment's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Of its records.
    pub key: Key,
    /// Whose it is.
    pub shard: u32,
    /// Its number within shard and epoch, from 1.
    pub number: u32,
}

impl SegmentHeader {
    /// The beginning of a segment.
    pub fn bytes(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut one = [0; ONE_SEGMENT_HEADER];
        one[0..8].copy_from_slice(MAGIC);
        one[8..12].copy_from_slice(&self.key.epoch.to_le_bytes());
        one[12..20].copy_from_slice(&self.key.salt.to_le_bytes());
        one[20..24].copy_from_slice(&(FORM << 16 | self.shard).to_le_bytes());
        one[24..28].copy_from_slice(&self.number.to_le_bytes());
        let crc = crc32c::crc32c(&one[..28]);
        one[28..32].copy_from_slice(&crc.to_le_bytes());
        let mut twice = [0; SEGMENT_HEADER_BYTES];
        twice[..ONE_SEGMENT_HEADER].copy_from_slice(&one);
        twice[ONE_SEGMENT_HEADER..].copy_from_slice(&one);
        twice
    }

    /// The header of a segment: whichever of the two is sound.
    pub fn read(segment: &[u8]) -> Option<Self> {
        segment.chunks_exact(ONE_SEGMENT_HEADER).take(2).find_map(Self::read_one)
    }

    fn read_one(one: &[u8]) -> Option<Self> {
        let form_and_shard = u32_at(one, 20);
        let sound = one.starts_with(MAGIC)
            && form_and_shard >> 16 == FORM
            && crc32c::crc32c(&one[..28]) == u32_at(one, 28);
        sound.then(|| Self {
            key: Key { epoch: u32_at(one, 8), salt: u64_at(one, 12) },
            shard: form_and_shard & 0xFFFF,
            number: u32_at(one, 24),
        })
    }
}

/// A place in the log of one shard and epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Number of the segment.
    pub segment: u32,
    /// Offset within it, in bytes.
    pub offset: u64,
}

/// What ends a batch: how far the log was known to be on the disk, and the last entry of each
/// session that the batch has records of.
#[derive(Debug)]
pub struct Seal<'a> {
    /// Everything before it was on the disk when the batch was written.
    pub synced: Place,
    sessions: &'a [u8],
}

impl<'a> Seal<'a> {
    const PLACE_BYTES: usize = 12;
    const SESSION_BYTES: usize = 12;

    /// Appends the body of a seal.
    pub fn write(out: &mut Vec<u8>, synced: Place, sessions: impl Iterator<Item = (u32, u64)>) {
        out.extend_from_slice(&synced.segment.to_le_bytes());
        out.extend_from_slice(&synced.offset.to_le_bytes());
        for (session, last) in sessions {
            out.extend_from_slice(&session.to_le_bytes());
            out.extend_from_slice(&last.to_le_bytes());
        }
    }

    /// Reads the body of a seal.
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let (place, sessions) = body.split_at_checked(Self::PLACE_BYTES)?;
        let synced = Place { segment: u32_at(place, 0), offset: u64_at(place, 4) };
        (sessions.len() % Self::SESSION_BYTES == 0).then_some(Self { synced, sessions })
    }

    /// Number and last position of each session.
    pub fn sessions(&self) -> impl Iterator<Item = (u32, u64)> {
        self.sessions.chunks_exact(Self::SESSION_BYTES).map(|one| (u32_at(one, 0), u64_at(one, 4)))
    }
}

/// What is found in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A sound record that begins at this offset.
    Record(Record<'a>, u64),
    /// Bytes from here up to there are no record, but a record follows: damage.
    Gap(u64, u64),
    /// From here on there is no record any more: what was being written when the process ended.
    Tail(u64),
}

/// Reads a segment from its first record on.
#[derive(Debug)]
pub struct Scan<'a> {
    key: Key,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    /// Reads `segment`, header included.
    pub fn new(key: Key, segment: &'a [u8]) -> Self {
        Self { key, bytes: segment, at: SEGMENT_HEADER_BYTES.min(segment.len()) }
    }

    fn next_record_from(&self, from: usize) -> Option<usize> {
        (from..self.bytes.len().saturating_sub(HEADER_BYTES - 1))
            .find(|&at| self.key.read(&self.bytes[at..]).is_some())
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let at = self.at;
        let rest = self.bytes.get(at..).filter(|rest| !rest.is_empty())?;
        if let Some(record) = self.key.read(rest) {
            self.at += HEADER_BYTES + record.body.len();
            return Some(Found::Record(record, at as u64));
        }
        self.at = self.next_record_from(at + 1).unwrap_or(self.bytes.len());
        Some(if self.at < self.bytes.len() {
            Found::Gap(at as u64, self.at as u64)
        } else {
            Found::Tail(at as u64)
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].try_into().map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].try_into().map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key { epoch: 3, salt: 0x0123_4567_89AB_CDEF };

    fn entry(position: u64, previous: u64) -> Record<'static> {
        Record { kind: Kind::Entry, session: 7, position, previous, body: b"" }
    }

    fn segment(bodies: &[&[u8]]) -> Vec<u8> {
        let header = SegmentHeader { key: KEY, shard: 1, number: 2 };
        let mut bytes = header.bytes().to_vec();
        for (at, body) in bodies.iter().enumerate() {
            KEY.write(&mut bytes, &entry(at as u64 + 1, at as u64), &[body]);
        }
        bytes
    }

    fn bodies(bytes: &[u8]) -> Vec<Vec<u8>> {
        Scan::new(KEY, bytes)
            .filter_map(|found| match found {
                Found::Record(record, _) => Some(record.body.to_vec()),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn the_form_on_disk_is_fixed() {
        let mut out = Vec::new();
        KEY.write(&mut out, &entry(5, 4), &[b"ab", b"c"]);
        assert_eq!(out[0..4], [3, 0, 0, 0]);
        assert_eq!(out[8..12], [3, 0, 0, 0]);
        assert_eq!(out[12..16], [7, 0, 0, 0]);
        assert_eq!(out[16..32], [5, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(out[32..], *b"\x02\0\0\0abc");
        assert_eq!(KEY.read(&out), Some(Record { body: b"abc", ..entry(5, 4) }));
    }

    #[test]
    fn records_come_back_and_the_header_survives_in_either_copy() {
        let mut bytes = segment(&[b"one", b"", b"three"]);
        assert_eq!(bodies(&bytes), [&b"one"[..], b"", b"three"]);
        let header = SegmentHeader { key: KEY, shard: 1, number: 2 };
        for at in 0..SEGMENT_HEADER_BYTES {
            bytes[at] ^= 1;
            assert_eq!(SegmentHeader::read(&bytes), Some(header), "byte {at}");
            bytes[at] ^= 1;
        }
    }

    #[test]
    fn bytes_of_another_epoch_or_of_a_peer_are_no_records() {
        let mut forged = Vec::new();
        Key { salt: 1, ..KEY }.write(&mut forged, &entry(9, 8), &[b"forged"]);
        let mut bytes = segment(&[b"one", &forged]);
        let damaged = SEGMENT_HEADER_BYTES + 2 * HEADER_BYTES + 1;
        bytes[damaged] ^= 1;
        assert_eq!(bodies(&bytes), [b"one"]);
        assert_eq!(Key { epoch: 4, ..KEY }.read(&bytes[SEGMENT_HEADER_BYTES..]), None);
    }

    #[test]
    fn damage_is_told_from_a_torn_tail_wherever_it_is() {
        let good = segment(&[b"one", b"two", b"three"]);
        let one = SEGMENT_HEADER_BYTES as u64;
        let two = one + HEADER_BYTES as u64 + 3;
        let three = two + HEADER_BYTES as u64 + 3;
        for bit in two as usize * 8..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let found: Vec<_> = Scan::new(KEY, &bytes)
                .filter(|found| !matches!(found, Found::Record(..)))
                .collect();
            if bit as u64 / 8 < three {
                assert_eq!(found, [Found::Gap(two, three)], "bit {bit}");
            } else {
                assert_eq!(found, [Found::Tail(three)], "bit {bit}");
            }
        }
        for len in 0..good.len() {
            let found = Scan::new(KEY, &good[..len]).last();
            let whole = [one, two, three].contains(&(len as u64)) || (len as u64) < one;
            let torn = matches!(found, Some(Found::Tail(_)));
            assert_eq!(torn, !whole, "cut at {len}");
        }
    }

    #[test]
    fn a_seal_says_what_it_said() {
        let mut body = Vec::new();
        let synced = Place { segment: 4, offset: 1 << 40 };
        Seal::write(&mut body, synced, [(1, 2), (3, u64::MAX)].into_iter());
        let seal = Seal::read(&body).unwrap();
        assert_eq!(seal.synced, synced);
        assert_eq!(seal.sessions().collect::<Vec<_>>(), [(1, 2), (3, u64::MAX)]);
        assert!(Seal::read(&body[..13]).is_none() && Seal::read(&[]).is_none());
    }
}
