//! The incoming half of one connection.

use tungstenite::protocol::frame::coding::CloseCode;

use super::assembly::{Absorbed, Assembly, AssemblyPool, admit_first, take};
use super::header::{self, Header, Kind};
use super::{Violation, unmask};

/// Limits of incoming messages.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest message, in bytes; beyond it 1009.
    pub message_bytes_max: usize,
    /// Most frames of a fragmented message, empty ones included; beyond it 1008.
    pub fragments_max: u32,
}

/// A whole message, or a control frame. Borrowed until the next call of the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping; its payload goes back in a pong (RFC 6455 §5.5.2).
    Ping(&'a [u8]),
    /// A pong (§5.5.3).
    Pong(&'a [u8]),
    /// A close, with its code and reason if it has any (§5.5.1). Bytes behind it mean nothing.
    Close(Option<(u16, &'a str)>),
}

/// Decoder of one connection's incoming frames. At a frame boundary outside a fragmented message
/// it holds no memory.
#[derive(Debug, Default)]
pub struct Decoder {
    assembly: Option<Box<Assembly>>,
}

impl Decoder {
    /// A decoder for the first byte after the handshake.
    pub const fn new() -> Self {
        Self { assembly: None }
    }

    /// Decodes the next message or control frame out of `input`, advancing it. `Ok(None)`: the
    /// input is used up.
    ///
    /// Call it until it gives `None`: only then is what was handed out last given back to `pool`.
    /// After a violation the decoder is only good for [`Decoder::release`].
    pub fn next<'d, 'i: 'd>(
        &'d mut self,
        input: &mut &'i mut [u8],
        limits: Limits,
        pool: &mut AssemblyPool,
    ) -> Result<Option<Incoming<'d>>, Violation> {
        self.settle(pool);
        loop {
            if !self.in_frame() {
                let Some(header) = self.read_header(input, pool)? else { return Ok(None) };
                let length = self.admit(&header, limits)?;
                if length <= input.len() && is_unfragmented(&header) {
                    return in_place(&header, take(input, length)).map(Some);
                }
                self.assembly(pool).open(&header, length);
            }
            match self.assembly(pool).absorb(input, limits)? {
                Absorbed::Partial => return Ok(None),
                Absorbed::Fragment => {}
                Absorbed::Whole(kind) => return self.assembled(kind, pool).map(Some),
            }
        }
    }

    /// Whether no part of a frame or message is held.
    pub fn is_idle(&self) -> bool {
        self.assembly.is_none()
    }

    /// Memory held for a partial frame or message, in bytes.
    pub fn partial_bytes(&self) -> usize {
        self.assembly.as_ref().map_or(0, |assembly| assembly.bytes())
    }

    /// Gives all memory back, because the connection ends.
    pub fn release(&mut self, pool: &mut AssemblyPool) {
        if let Some(assembly) = self.assembly.take() {
            pool.put(assembly);
        }
    }

    /// Forgets what the call before handed out.
    fn settle(&mut self, pool: &mut AssemblyPool) {
        let Some(assembly) = &mut self.assembly else { return };
        assembly.settle();
        if assembly.is_idle() {
            self.release(pool);
        }
    }

    fn in_frame(&self) -> bool {
        self.assembly.as_ref().is_some_and(|assembly| assembly.in_frame())
    }

    fn assembly(&mut self, pool: &mut AssemblyPool) -> &mut Assembly {
        self.assembly.get_or_insert_with(|| pool.get())
    }

    /// Takes a header off `input`; what there is of an incomplete one is kept.
    fn read_header(
        &mut self,
        input: &mut &mut [u8],
        pool: &mut AssemblyPool,
    ) -> Result<Option<Header>, Violation> {
        if let Some(assembly) = self.assembly.as_mut().filter(|assembly| assembly.in_header()) {
            return assembly.complete_header(input);
        }
        if input.is_empty() {
            return Ok(None);
        }
        let Some((header, size)) = header::parse(input)? else {
            let rest = take(input, input.len());
            self.assembly(pool).keep_header(rest);
            return Ok(None);
        };
        take(input, size);
        Ok(Some(header))
    }

    /// Checks a frame against the message under way and the limits; gives its payload's length.
    fn admit(&self, header: &Header, limits: Limits) -> Result<usize, Violation> {
        match &self.assembly {
            _ if header.kind.is_control() => {}
            Some(assembly) => assembly.admit(header, limits)?,
            None => admit_first(header, limits)?,
        }
        usize::try_from(header.length).map_err(|_| Violation::MessageTooBig)
    }

    /// Hands out what the assembly holds whole.
    fn assembled(
        &mut self,
        kind: Kind,
        pool: &mut AssemblyPool,
    ) -> Result<Incoming<'_>, Violation> {
        incoming(kind, self.assembly(pool).payload(kind))
    }
}

/// Whether the frame can be handed out by itself.
fn is_unfragmented(header: &Header) -> bool {
    header.is_final && header.kind != Kind::Continuation
}

/// Hands out a frame that arrived whole.
fn in_place<'i>(header: &Header, payload: &'i mut [u8]) -> Result<Incoming<'i>, Violation> {
    let _ = unmask(payload, header.mask);
    incoming(header.kind, payload)
}

fn incoming(kind: Kind, payload: &[u8]) -> Result<Incoming<'_>, Violation> {
    Ok(match kind {
        Kind::Text => Incoming::Text(text(payload)?),
        Kind::Binary | Kind::Continuation => Incoming::Binary(payload),
        Kind::Ping => Incoming::Ping(payload),
        Kind::Pong => Incoming::Pong(payload),
        Kind::Close => Incoming::Close(close(payload)?),
    })
}

fn text(bytes: &[u8]) -> Result<&str, Violation> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| Violation::InvalidUtf8)
}

fn close(payload: &[u8]) -> Result<Option<(u16, &str)>, Violation> {
    if payload.is_empty() {
        return Ok(None);
    }
    let (code, reason) = payload.split_first_chunk().ok_or(Violation::TruncatedCloseCode)?;
    let code = u16::from_be_bytes(*code);
    if !CloseCode::from(code).is_allowed() {
        return Err(Violation::CloseCodeNotAllowed);
    }
    Ok(Some((code, text(reason)?)))
}
