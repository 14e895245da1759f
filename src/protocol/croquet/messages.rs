//! The retained messages since the newest snapshot, as a SYNC replays them (specs: croquet §9).
//!
//! Each message is kept as `,[time,seq,payload,…]`, so the log without its first byte is what goes
//! between the brackets of `messages`. Full segments are frozen and shared: a SYNC of megabytes is
//! a few reference counts for each who joins, never a copy.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// Size a segment is sealed at, in bytes. A longer message has a segment of its own.
const SEGMENT_BYTES: usize = 64 << 10;

/// Retained messages, oldest first.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// None before the first.
    #[expect(clippy::box_collection, reason = "few fill a piece: one word at rest, not four")]
    sealed: Option<Box<VecDeque<Bytes>>>,
    open: BytesMut,
    /// Length of each message, its comma included.
    lens: VecDeque<u32>,
    bytes: usize,
}

impl Messages {
    /// How many.
    pub(super) fn len(&self) -> usize {
        self.lens.len()
    }

    /// Their size in replay form, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends `[time,seq,body]`, or `[time,seq,body,raw]`, and returns it.
    pub(super) fn push(&mut self, time: u64, seq: u32, body: &str, raw: Option<u64>) -> &[u8] {
        let mut digits = [itoa::Buffer::new(); 3];
        let [time_digits, seq_digits, raw_digits] = &mut digits;
        let (time, seq) = (time_digits.format(time), seq_digits.format(seq));
        let raw = raw.map_or("", |raw| raw_digits.format(raw));
        let comma = if raw.is_empty() { "" } else { "," };
        let parts = [",[", time, ",", seq, ",", body, comma, raw, "]"];
        let len = parts.iter().map(|part| part.len()).sum();
        self.make_room(len);
        let start = self.open.len();
        for part in parts {
            self.open.extend_from_slice(part.as_bytes());
        }
        self.account(len);
        &self.open[start + 1..]
    }

    /// Appends a message that was stored, `[time,seq,…]`.
    pub(super) fn push_stored(&mut self, message: &str) {
        self.make_room(message.len() + 1);
        self.open.extend_from_slice(b",");
        self.open.extend_from_slice(message.as_bytes());
        self.account(message.len() + 1);
    }

    /// Forgets the `count` oldest.
    pub(super) fn drop_front(&mut self, count: usize) {
        let mut bytes: usize = self.lens.drain(..count).map(|len| len as usize).sum();
        self.bytes -= bytes;
        if let Some(sealed) = &mut self.sealed {
            while let Some(segment) = sealed.front_mut() {
                if bytes < segment.len() {
                    segment.advance(bytes);
                    return;
                }
                bytes -= segment.len();
                sealed.pop_front();
            }
        }
        if bytes == self.open.len() {
            self.open.clear();
        } else {
            self.open.advance(bytes);
        }
    }

    /// The messages joined by commas, in pieces.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let all = self.sealed().map(|segment| &segment[..]).chain([&self.open[..]]);
        all.enumerate().map(|(at, piece)| if at == 0 { skip_comma(piece) } else { piece })
    }

    /// The messages joined by commas, in pieces that share the log's memory.
    pub(super) fn shared(&mut self) -> Vec<Bytes> {
        self.seal();
        let mut pieces: Vec<Bytes> = self.sealed().cloned().collect();
        if let Some(first) = pieces.first_mut() {
            first.advance(1);
        }
        pieces
    }

    /// What must hold between any two calls.
    #[cfg(test)]
    pub(super) fn invariants(&self) {
        let lens: usize = self.lens.iter().map(|&len| len as usize).sum();
        let held: usize = self.sealed().map(Bytes::len).sum();
        assert_eq!(lens, self.bytes);
        assert_eq!(held + self.open.len(), self.bytes);
        assert!(self.sealed().all(|segment| !segment.is_empty()));
        if let Some(first) = self.sealed().next().map(|segment| segment[0]) {
            assert_eq!(first, b',');
        }
    }

    fn sealed(&self) -> impl Iterator<Item = &Bytes> {
        self.sealed.iter().flat_map(|sealed| sealed.iter())
    }

    fn make_room(&mut self, bytes: usize) {
        if !self.open.is_empty() && self.open.len() + bytes > SEGMENT_BYTES {
            let segment = self.open.split().freeze();
            self.sealed.get_or_insert_default().push_back(segment);
            self.open = BytesMut::with_capacity(SEGMENT_BYTES.max(bytes));
        }
        self.open.reserve(bytes);
    }

    fn account(&mut self, len: usize) {
        if self.lens.capacity() == 0 {
            // Many a session says little.
            self.lens.reserve_exact(1);
        }
        self.lens.push_back(u32::try_from(len).expect("a message is far below 4 GiB"));
        self.bytes += len;
    }

    /// Freezes the open segment. Joins between messages leave small segments behind; those are
    /// merged whenever the newer one has grown as large as the older one, so there are few of them
    /// and a byte is copied a logarithmic number of times.
    fn seal(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let mut newest = self.open.split().freeze();
        let sealed = self.sealed.get_or_insert_default();
        while let Some(older) = sealed.back()
            && older.len() <= newest.len()
            && older.len() + newest.len() <= SEGMENT_BYTES
        {
            newest = Bytes::from([&older[..], &newest[..]].concat());
            sealed.pop_back();
        }
        sealed.push_back(newest);
    }
}

fn skip_comma(piece: &[u8]) -> &[u8] {
    piece.get(1..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(messages: &Messages) -> String {
        messages.invariants();
        String::from_utf8(messages.pieces().collect::<Vec<_>>().concat()).unwrap()
    }

    fn shared_text(messages: &mut Messages) -> String {
        let text = String::from_utf8(messages.shared().concat()).unwrap();
        messages.invariants();
        text
    }

    #[test]
    fn messages_are_joined_by_commas() {
        let mut messages = Messages::default();
        assert_eq!(text(&messages), "");
        assert_eq!(shared_text(&mut messages), "");
        assert_eq!(messages.push(1, u32::MAX, "\"a\",7", None), b"[1,4294967295,\"a\",7]");
        assert_eq!(messages.push(2, 0, "\"b\"", Some(9)), b"[2,0,\"b\",9]");
        let all = "[1,4294967295,\"a\",7],[2,0,\"b\",9]";
        assert_eq!(text(&messages), all);
        assert_eq!(shared_text(&mut messages), all);
        assert_eq!(text(&messages), all);
    }

    #[test]
    fn any_prefix_can_be_forgotten() {
        let filler = "x".repeat(30_000);
        for joins in [false, true] {
            for count in 0..=10 {
                let mut messages = Messages::default();
                for seq in 0..10 {
                    messages.push(0, seq, &format!("\"{filler}{seq}\""), None);
                    if joins {
                        messages.shared();
                    }
                }
                messages.drop_front(count);
                assert_eq!(messages.len(), 10 - count);
                let left: Vec<_> =
                    (count..10).map(|seq| format!("[0,{seq},\"{filler}{seq}\"]")).collect();
                assert_eq!(text(&messages), left.join(","));
                assert_eq!(shared_text(&mut messages), left.join(","));
            }
        }
    }

    #[test]
    fn joins_between_messages_leave_few_segments() {
        let mut messages = Messages::default();
        for seq in 0..5_000 {
            messages.push(0, seq, "\"0123456789\"", None);
            messages.shared();
        }
        let segments = messages.sealed().count();
        assert!(segments <= messages.bytes() / (SEGMENT_BYTES / 2) + 20, "{segments} segments");
    }

    #[test]
    fn a_snapshot_of_everything_leaves_nothing() {
        let mut messages = Messages::default();
        for seq in 0..9_000 {
            messages.push(0, seq, "\"0123456789\"", None);
        }
        messages.drop_front(9_000);
        assert_eq!((messages.len(), messages.bytes()), (0, 0));
        assert_eq!(text(&messages), "");
    }
}
