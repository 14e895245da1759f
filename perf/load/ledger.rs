//! Who sent what and who got it: the stamp inside every payload, and one flow per receiver and
//! sender that tells an arrival in order from a skipped, late or repeated one.

/// Bytes of a stamp; a payload cannot be shorter.
pub(crate) const STAMP_BYTES: usize = 33;
const MARK: u8 = b'@';
const FILLER: u8 = b'x';

/// What a payload says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Index of the sender in the run.
    pub(crate) sender: u32,
    /// The sender's messages count from zero.
    pub(crate) number: u32,
    /// When the message was due, on the generator's clock. Due time rather than send time: a
    /// generator that falls behind must not hide the wait.
    pub(crate) due_ns: u64,
}

impl Stamp {
    /// Appends the stamp, filled up to `bytes`.
    pub(crate) fn write(self, bytes: usize, out: &mut Vec<u8>) {
        let end = out.len() + bytes.max(STAMP_BYTES);
        out.push(MARK);
        push_hex(u64::from(self.sender), 8, out);
        push_hex(u64::from(self.number), 8, out);
        push_hex(self.due_ns, 16, out);
        out.resize(end, FILLER);
    }

    /// The stamps found anywhere in `bytes`, in their order there.
    pub(crate) fn find(bytes: &[u8]) -> impl Iterator<Item = Self> {
        memchr::memchr_iter(MARK, bytes).filter_map(|at| Self::read(&bytes[at..]))
    }

    /// Reads a stamp at the start of a payload.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let (&mark, rest) = payload.split_first()?;
        if mark != MARK || rest.len() < STAMP_BYTES - 1 {
            return None;
        }
        Some(Self {
            sender: u32::try_from(hex(&rest[..8])?).ok()?,
            number: u32::try_from(hex(&rest[8..16])?).ok()?,
            due_ns: hex(&rest[16..32])?,
        })
    }
}

/// How a message stands to those its receiver had from the same sender before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Later than all before it. Numbers it skipped may still come.
    New,
    /// First of its number, but behind a later one.
    Reordered,
    /// Its number had arrived already.
    Duplicate,
    /// So far behind that the two cases above cannot be told apart.
    Stale,
}

/// One receiver's view of one sender: the next number and which of the last 64 arrived.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flow {
    next: u32,
    recent: u64,
}

impl Flow {
    /// Notes the arrival of `number`.
    pub(crate) fn record(&mut self, number: u32) -> Arrival {
        if number >= self.next {
            let step = number - self.next + 1;
            self.recent = self.recent.checked_shl(step).unwrap_or(0) | 1;
            self.next = number + 1;
            return Arrival::New;
        }
        let back = self.next - 1 - number;
        let Some(bit) = 1u64.checked_shl(back) else {
            return Arrival::Stale;
        };
        if self.recent & bit != 0 {
            return Arrival::Duplicate;
        }
        self.recent |= bit;
        Arrival::Reordered
    }
}

fn push_hex(value: u64, digits: u32, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend((0..digits).rev().map(|at| DIGITS[(value >> (4 * at)) as usize & 15]));
}

fn hex(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0u64, |value, &byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_the_wire() {
        let stamp = Stamp { sender: 7, number: u32::MAX, due_ns: 0x0123_4567_89ab_cdef };
        let mut payload = Vec::new();
        stamp.write(64, &mut payload);
        assert_eq!(payload.len(), 64);
        assert_eq!(Stamp::read(&payload), Some(stamp));
        assert_eq!(Stamp::read(&payload[..STAMP_BYTES - 1]), None);
        assert_eq!(Stamp::read(b"{\"what\":\"users\"}"), None);
    }

    #[test]
    fn stamps_are_found_among_other_bytes_and_only_whole_ones() {
        let stamps = [1, 2, 3].map(|number| Stamp { sender: 7, number, due_ns: 9 });
        let mut bytes = b"\x40@zz".to_vec();
        for stamp in stamps {
            stamp.write(40, &mut bytes);
            bytes.extend_from_slice(b"\x84@\0");
        }
        bytes.extend_from_within(4..4 + STAMP_BYTES - 1);
        assert_eq!(Stamp::find(&bytes).collect::<Vec<_>>(), stamps);
    }

    #[test]
    fn a_flow_tells_late_from_double() {
        let mut flow = Flow::default();
        let seen: Vec<_> = [0, 2, 1, 1, 2, 100, 99, 3].map(|n| flow.record(n)).to_vec();
        use Arrival::{Duplicate, New, Reordered, Stale};
        let expected = [New, New, Reordered, Duplicate, Duplicate, New, Reordered, Stale];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_first_message_that_is_not_number_zero_leaves_the_others_open() {
        let mut flow = Flow::default();
        assert_eq!(flow.record(3), Arrival::New);
        assert_eq!(flow.record(0), Arrival::Reordered);
        assert_eq!(flow.record(0), Arrival::Duplicate);
    }
}
