//! The Croquet reflector's protocol: JSON envelopes, JOIN answered by SYNC, SEND relayed to
//! every member as RECV with session time and a sequence number.

use std::borrow::Cow;
use std::io::Write;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{Incoming, Manner, Protocol, Seat};

/// Length of real session names (a SHA-256 in base64url).
const SESSION_BYTES: usize = 43;
const ID: &[u8] = b"{\"id\":\"";
const ACTION: &[u8] = b"\",\"action\":\"";
const ARGS: &[u8] = b"\",\"args\":";
const RECV: &[u8] = b"RECV";

/// Bytes of a RECV's text with a payload of `payload_bytes`, some seconds into a session.
pub(super) fn recv_bytes(payload_bytes: usize) -> usize {
    let around = "[12345,123,\"\",0]}".len();
    ID.len() + SESSION_BYTES + ACTION.len() + RECV.len() + ARGS.len() + around + payload_bytes
}

/// A client of the reflector.
#[derive(Debug)]
pub(super) struct Croquet {
    manner: Manner,
}

/// An envelope in any arrangement; `action` is almost always a slice of the text.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Sync {
    seq: u32,
    #[serde(rename = "messages")]
    _messages: Vec<IgnoredAny>,
}

impl Croquet {
    /// A client with these manners.
    pub(super) fn new(manner: Manner) -> Self {
        Self { manner }
    }

    fn session(&self, seat: Seat) -> String {
        let mut name = Vec::new();
        self.push_session(seat, &mut name);
        String::from_utf8_lossy(&name).into_owned()
    }

    /// Appends the session's name without allocating: it goes into every message.
    fn push_session(&self, seat: Seat, out: &mut Vec<u8>) {
        let end = out.len() + SESSION_BYTES;
        // Writing to a vector cannot fail.
        let _ = write!(out, "perf-{:016x}-{:08}-", self.manner.nonce, seat.session);
        out.resize(end, b'A');
    }
}

impl Protocol for Croquet {
    fn path(&self, seat: Seat) -> String {
        format!("{}/{}", self.manner.prefix, self.session(seat))
    }

    fn join(&self, seat: Seat) -> Vec<Vec<u8>> {
        let (session, tick) = (self.session(seat), self.manner.tick_ms);
        let member = seat.member;
        let text = format!(
            "{{\"id\":\"{session}\",\"action\":\"JOIN\",\"args\":{{\"name\":\"perf/load\",\
             \"version\":1,\"apiKey\":\"none\",\"appId\":\"perf\",\"persistentId\":\"{session}\",\
             \"user\":\"view{member}\",\"ticks\":{{\"tick\":{tick},\"delay\":0}},\"tove\":\"tove\",\
             \"codeHash\":\"code\",\"dormantDelay\":0,\"leaveDelay\":1250}}}}"
        );
        vec![text.into_bytes()]
    }

    fn payload_bytes(&self) -> usize {
        self.manner.payload_bytes
    }

    fn message(&self, seat: Seat, _number: u32, payload: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(ID);
        self.push_session(seat, out);
        out.extend_from_slice(b"\",\"action\":\"SEND\",\"args\":[0,0,\"");
        out.extend_from_slice(payload);
        out.extend_from_slice(b"\",0]}");
    }

    fn read<'a>(&self, _seat: Seat, text: &'a [u8], _reply: &mut Vec<u8>) -> Incoming<'a> {
        if let Some(args) = usual_recv(text) {
            return relayed(args);
        }
        let Ok(envelope) = serde_json::from_slice::<Envelope<'a>>(text) else {
            return Incoming::Unknown;
        };
        let args = envelope.args.map_or("", RawValue::get);
        match envelope.action.as_ref() {
            "RECV" => relayed(args.as_bytes()),
            "TICK" => Incoming::Tick,
            "SYNC" => serde_json::from_str::<Sync>(args)
                .map_or(Incoming::Unknown, |sync| Incoming::Joined { order: Some(sync.seq) }),
            "REQU" | "INFO" | "PONG" => Incoming::Notice { order: None },
            _ => Incoming::Unknown,
        }
    }
}

/// The args of a RECV in the arrangement every known server uses: looked at byte by byte, since
/// a JSON parser here would make the generator the bottleneck.
fn usual_recv(text: &[u8]) -> Option<&[u8]> {
    let rest = text.strip_prefix(ID)?.get(SESSION_BYTES..)?;
    rest.strip_prefix(ACTION)?.strip_prefix(RECV)?.strip_prefix(ARGS)
}

/// Reads `[time,seq,payload,…]`.
fn relayed(args: &[u8]) -> Incoming<'_> {
    let parts = || {
        let (_time, rest) = number(args.strip_prefix(b"[")?)?;
        let (order, rest) = number(rest.strip_prefix(b",")?)?;
        Some((u32::try_from(order).ok()?, rest.strip_prefix(b",")?))
    };
    match parts() {
        Some((order, [b'"', payload @ ..])) => Incoming::Delivery { payload, order: Some(order) },
        Some((order, _)) => Incoming::Notice { order: Some(order) },
        None => Incoming::Unknown,
    }
}

fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    if digits == 0 || digits > 19 {
        return None;
    }
    Some((number.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0')), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEAT: Seat = Seat { session: 3, member: 5 };

    fn croquet() -> Croquet {
        Croquet::new(super::super::manner())
    }

    fn read(text: &str) -> Incoming<'_> {
        croquet().read(SEAT, text.as_bytes(), &mut Vec::new())
    }

    #[test]
    fn session_names_have_the_length_of_real_ones() {
        let croquet = croquet();
        assert_eq!(croquet.session(SEAT).len(), SESSION_BYTES);
        assert!(croquet.path(SEAT).starts_with("/prefix/perf-"));
    }

    #[test]
    fn what_is_sent_is_json() {
        let croquet = croquet();
        let mut send = Vec::new();
        croquet.message(SEAT, 0, b"@payload", &mut send);
        let join: serde_json::Value = serde_json::from_slice(&croquet.join(SEAT)[0]).unwrap();
        let send: serde_json::Value = serde_json::from_slice(&send).unwrap();
        assert_eq!(join["args"]["user"], "view5");
        assert_eq!(send["args"][2], "@payload");
    }

    #[test]
    fn a_recv_is_read_in_the_usual_and_in_any_other_arrangement() {
        let id = croquet().session(SEAT);
        let usual =
            format!("{{\"id\":\"{id}\",\"action\":\"RECV\",\"args\":[7,4294967281,\"@p\",0]}}");
        let other = "{ \"args\":[7,4294967281,\"@p\",0], \"action\":\"RECV\", \"id\":\"s\"}";
        for text in [usual.as_str(), other] {
            let Incoming::Delivery { payload, order } = read(text) else { panic!("{text}") };
            assert!(payload.starts_with(b"@p\""));
            assert_eq!(order, Some(4_294_967_281));
        }
    }

    #[test]
    fn the_nominal_size_is_that_of_a_real_recv() {
        let (id, payload) = (croquet().session(SEAT), "p".repeat(64));
        let text =
            format!("{{\"id\":\"{id}\",\"action\":\"RECV\",\"args\":[12345,123,\"{payload}\",0]}}");
        assert_eq!(recv_bytes(64), text.len());
    }

    #[test]
    fn the_servers_own_messages_are_told_apart() {
        let users = "{\"id\":\"s\",\"action\":\"RECV\",\"args\":[204,1,{\"what\":\"users\"}]}";
        assert_eq!(read(users), Incoming::Notice { order: Some(1) });
        assert_eq!(read("{\"id\":\"s\",\"action\":\"TICK\",\"args\":50}"), Incoming::Tick);
        let sync = "{\"id\":\"s\",\"action\":\"SYNC\",\"args\":{\"url\":\"\",\"messages\":\
                    [[204,0,{\"what\":\"users\"}]],\"time\":1,\"seq\":0,\"flags\":{}}}";
        assert_eq!(read(sync), Incoming::Joined { order: Some(0) });
        assert_eq!(read("_CHUNK10{"), Incoming::Unknown);
    }
}
