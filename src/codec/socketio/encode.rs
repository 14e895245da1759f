//! Writing packets of servers.

use smallvec::SmallVec;

use crate::codec::json;

/// The type of an Engine.IO message, which every packet is.
const MESSAGE: u8 = b'4';

/// The parts of one text message, most often few.
pub type Parts<'a> = SmallVec<[&'a [u8]; 16]>;

/// Of a packet all that stands before its payload, the type of the Engine.IO message included. Takes
/// the namespace as its [`prefix`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head(SmallVec<[u8; 48]>);

/// What stands in packets for a namespace: nothing for `/`, else its name and a comma.
pub fn prefix(namespace: &str) -> String {
    if namespace == "/" { String::new() } else { format!("{namespace},") }
}

impl Head {
    /// CONNECT: a client is connected to a namespace. An object with its `sid` follows.
    pub fn connect(prefix: &str) -> Self {
        Self::new(b'0', 0, prefix, None)
    }

    /// DISCONNECT: a client is in the namespace no more. Nothing follows.
    pub fn disconnect(prefix: &str) -> Self {
        Self::new(b'1', 0, prefix, None)
    }

    /// EVENT, or with attachments BINARY_EVENT. Name and arguments follow, see [`event`].
    pub fn event(prefix: &str, attachments: usize, ack: Option<u64>) -> Self {
        let kind = if attachments > 0 { b'5' } else { b'2' };
        Self::new(kind, attachments, prefix, ack)
    }

    /// ACK, or with attachments BINARY_ACK. Arguments follow, see [`ack`].
    pub fn ack(prefix: &str, attachments: usize, id: u64) -> Self {
        let kind = if attachments > 0 { b'6' } else { b'3' };
        Self::new(kind, attachments, prefix, Some(id))
    }

    /// CONNECT_ERROR: a client may not connect. What [`connect_error`] says follows.
    pub fn connect_error(prefix: &str) -> Self {
        Self::new(b'4', 0, prefix, None)
    }

    fn new(kind: u8, attachments: usize, prefix: &str, ack: Option<u64>) -> Self {
        let mut head = SmallVec::from_slice(&[MESSAGE, kind]);
        let mut digits = itoa::Buffer::new();
        if attachments > 0 {
            head.extend_from_slice(digits.format(attachments).as_bytes());
            head.push(b'-');
        }
        head.extend_from_slice(prefix.as_bytes());
        if let Some(ack) = ack {
            head.extend_from_slice(digits.format(ack).as_bytes());
        }
        Self(head)
    }

    /// The bytes that go on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// An event. `name` is the content of a JSON string, and arguments are JSON values: both go out as
/// they are.
pub fn event<'a>(head: &'a Head, name: &'a str, args: &[&'a [u8]]) -> Parts<'a> {
    let mut parts = Parts::from_slice(&[head.as_bytes(), b"[\"", name.as_bytes(), b"\""]);
    for arg in args {
        parts.extend([&b","[..], arg]);
    }
    parts.push(b"]");
    parts
}

/// An acknowledgement. Arguments are JSON values, and go out as they are.
pub fn ack<'a>(head: &'a Head, args: &[&'a [u8]]) -> Parts<'a> {
    let mut parts = Parts::from_slice(&[head.as_bytes(), b"["]);
    for (at, arg) in args.iter().enumerate() {
        let comma: &[u8] = if at > 0 { b"," } else { b"" };
        parts.extend([comma, arg]);
    }
    parts.push(b"]");
    parts
}

/// The payload of a CONNECT_ERROR. `data` is JSON, and goes out as it is.
pub fn connect_error(message: &str, data: Option<&str>) -> Vec<u8> {
    let mut payload = br#"{"message":"#.to_vec();
    json::write_string(&mut payload, message);
    if let Some(data) = data {
        payload.extend_from_slice(br#","data":"#);
        payload.extend_from_slice(data.as_bytes());
    }
    payload.push(b'}');
    payload
}
