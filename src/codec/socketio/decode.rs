//! Reading packets of clients.

use super::placeholder;
use super::{ATTACHMENTS_MAX, DEPTH_MAX, NAMESPACE_BYTES_MAX};
use crate::codec::json::{self, Elements, JsonError, Raw};

/// Names of events that clients may not send.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// What a packet may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most attachments.
    pub attachments_max: u8,
    /// Longest name of a namespace, in bytes.
    pub namespace_bytes_max: usize,
    /// Deepest nesting of the payload.
    pub depth_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            attachments_max: ATTACHMENTS_MAX,
            namespace_bytes_max: NAMESPACE_BYTES_MAX,
            depth_max: DEPTH_MAX,
        }
    }
}

/// A packet of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The namespace it is about: `/`, or what begins so.
    pub namespace: &'a str,
    /// Its ack id.
    pub ack: Option<u64>,
    /// The rest.
    pub body: Body<'a>,
}

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// CONNECT, with an object if anything.
    Connect(Option<Raw<'a>>),
    /// DISCONNECT.
    Disconnect,
    /// EVENT or BINARY_EVENT.
    Event {
        /// How many attachments follow; at least one of a BINARY_EVENT.
        attachments: u8,
        /// An array, its first element the event's name: a number or a string that is not reserved.
        /// Nothing at all is tolerated, and means nothing.
        payload: Option<Raw<'a>>,
    },
    /// ACK or BINARY_ACK.
    Ack {
        /// How many attachments follow; at least one of a BINARY_ACK.
        attachments: u8,
        /// An array. Nothing at all is tolerated, and means nothing.
        payload: Option<Raw<'a>>,
    },
    /// CONNECT_ERROR, which only servers send, with a string or an object if anything.
    ConnectError(Option<Raw<'a>>),
}

/// Why a packet was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// It begins with no type.
    #[error("unknown packet type")]
    Type,
    /// The number of attachments is none, or zero.
    #[error("illegal number of attachments")]
    Attachments,
    /// More attachments than allowed.
    #[error("too many attachments")]
    TooManyAttachments,
    /// The namespace has a longer name than allowed.
    #[error("namespace too long")]
    Namespace,
    /// An ack id beyond 64 bits.
    #[error("ack id too large")]
    AckId,
    /// The payload is no JSON, or nested too deep.
    #[error("payload: {0}")]
    Json(JsonError),
    /// The payload is not what the packet's type has.
    #[error("invalid payload")]
    Payload,
    /// An event with a name that is reserved.
    #[error("reserved event name")]
    Reserved,
    /// A placeholder that names no attachment.
    #[error("placeholder without its attachment")]
    Placeholder,
}

/// Reads a packet: what follows the type of the Engine.IO message.
pub fn decode(text: &str, limits: Limits) -> Result<Packet<'_>, PacketError> {
    let kind = text.bytes().next().filter(|kind| (b'0'..=b'6').contains(kind));
    let kind = kind.ok_or(PacketError::Type)?;
    let mut rest = &text[1..];
    let is_binary = matches!(kind, b'5' | b'6');
    let attachments = if is_binary { take_attachments(&mut rest, limits)? } else { 0 };
    let namespace = take_namespace(&mut rest);
    if namespace.len() > limits.namespace_bytes_max {
        return Err(PacketError::Namespace);
    }
    let ack = take_ack(&mut rest)?;
    let payload = match rest {
        "" => None,
        json => Some(json::parse(json, limits.depth_max).map_err(PacketError::Json)?),
    };
    if is_binary && payload.is_some_and(|payload| !placeholder::all_name(payload, attachments)) {
        return Err(PacketError::Placeholder);
    }
    Ok(Packet { namespace, ack, body: body(kind, attachments, payload)? })
}

fn body(kind: u8, attachments: u8, payload: Option<Raw<'_>>) -> Result<Body<'_>, PacketError> {
    let is_fit = payload.is_none_or(|payload| match kind {
        b'0' => payload.is_object(),
        b'1' => false,
        b'4' => payload.is_string() || payload.is_object(),
        _ => payload.is_array(),
    });
    if !is_fit {
        return Err(PacketError::Payload);
    }
    Ok(match kind {
        b'0' => Body::Connect(payload),
        b'1' => Body::Disconnect,
        b'2' | b'5' => {
            payload.map_or(Ok(()), |payload| check_name(payload.elements()))?;
            Body::Event { attachments, payload }
        }
        b'3' | b'6' => Body::Ack { attachments, payload },
        _ => Body::ConnectError(payload),
    })
}

/// Checks the name of an event: the first element of its payload.
fn check_name(mut elements: Elements<'_>) -> Result<(), PacketError> {
    let name = elements.next().ok_or(PacketError::Payload)?;
    if RESERVED.iter().any(|reserved| name.is_string_of(reserved)) {
        return Err(PacketError::Reserved);
    }
    if name.is_string() || name.is_number() { Ok(()) } else { Err(PacketError::Payload) }
}

/// Takes the number of attachments and its hyphen.
fn take_attachments(rest: &mut &str, limits: Limits) -> Result<u8, PacketError> {
    let digits = take_digits(rest);
    *rest = rest.strip_prefix('-').ok_or(PacketError::Attachments)?;
    match digits.parse::<u64>() {
        Ok(0) => Err(PacketError::Attachments),
        Ok(count) if count > u64::from(limits.attachments_max) => {
            Err(PacketError::TooManyAttachments)
        }
        Ok(count) => Ok(count as u8),
        Err(_) if digits.is_empty() => Err(PacketError::Attachments),
        Err(_) => Err(PacketError::TooManyAttachments),
    }
}

/// Takes a namespace and its comma, which may be missing at the end of the packet.
fn take_namespace<'a>(rest: &mut &'a str) -> &'a str {
    if !rest.starts_with('/') {
        return "/";
    }
    let (namespace, behind) = rest.split_once(',').unwrap_or((rest, ""));
    *rest = behind;
    namespace
}

fn take_ack(rest: &mut &str) -> Result<Option<u64>, PacketError> {
    match take_digits(rest) {
        "" => Ok(None),
        digits => digits.parse().map(Some).map_err(|_| PacketError::AckId),
    }
}

fn take_digits<'a>(rest: &mut &'a str) -> &'a str {
    let len = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, behind) = rest.split_at(len);
    *rest = behind;
    digits
}
