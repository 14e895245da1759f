//! Messages in a frame (y-protocols `sync.js`, `awareness.js`, `auth.js`; tag 4 is Zeal's), and
//! their heads for writing.

use super::Malformed;
use crate::codec::lib0::{Reader, Varuint, write_varbuf};

/// Most messages in one frame. Clients of Yjs send one.
pub const FRAME_MESSAGES_MAX: usize = 64;
/// Asks for all awareness states: a whole message.
pub const QUERY_AWARENESS: [u8; 1] = [tag::QUERY_AWARENESS];

mod tag {
    pub(super) const SYNC: u8 = 0;
    pub(super) const AWARENESS: u8 = 1;
    pub(super) const AUTH: u8 = 2;
    pub(super) const QUERY_AWARENESS: u8 = 3;
    pub(super) const CUSTOM: u8 = 4;

    pub(super) const STEP1: u8 = 0;
    pub(super) const STEP2: u8 = 1;
    pub(super) const UPDATE: u8 = 2;

    pub(super) const DENIED: u8 = 0;
    pub(super) const GRANTED: u8 = 1;
}

/// How an awareness update stands in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// After its length: y-protocols.
    Plain,
    /// Without it, up to the end of the frame: Zeal over Socket.IO. The plain form is understood
    /// too, if nothing follows.
    Unprefixed,
}

/// A message. What it carries has not been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// What the sender has: a state vector.
    Step1(&'a [u8]),
    /// What the receiver lacked: an update.
    Step2(&'a [u8]),
    /// What has changed: an update.
    Update(&'a [u8]),
    /// An awareness update, without its length.
    Awareness(&'a [u8]),
    /// Zeal: who the client is, as JSON. y-protocols: why permission is denied (or, empty, that it
    /// is granted); only a server says so.
    Auth(&'a [u8]),
    /// Asks for all awareness states.
    QueryAwareness,
    /// Zeal: an application's own message, as JSON.
    Custom(&'a str),
}

/// The messages of a frame, in order. Ends after an error, and gives one for a frame without any.
pub fn messages(frame: &[u8], form: Form) -> Messages<'_> {
    Messages { reader: Reader::new(frame), form, left: FRAME_MESSAGES_MAX, is_over: false }
}

/// See [`messages`].
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    reader: Reader<'a>,
    form: Form,
    left: usize,
    is_over: bool,
}

impl<'a> Messages<'a> {
    fn message(&mut self) -> Result<Message<'a>, Malformed> {
        self.left = self.left.checked_sub(1).ok_or(Malformed::TooMany)?;
        match tag_of(self.reader.varuint()?)? {
            tag::SYNC => self.sync(),
            tag::AWARENESS => Ok(Message::Awareness(self.awareness()?)),
            tag::AUTH => Ok(Message::Auth(self.auth()?)),
            tag::QUERY_AWARENESS => Ok(Message::QueryAwareness),
            tag::CUSTOM => Ok(Message::Custom(self.reader.varstring()?)),
            _ => Err(Malformed::Tag),
        }
    }

    fn sync(&mut self) -> Result<Message<'a>, Malformed> {
        let tag = tag_of(self.reader.varuint()?)?;
        let body = self.reader.varbuf();
        match tag {
            tag::STEP1 => Ok(Message::Step1(body?)),
            tag::STEP2 => Ok(Message::Step2(body?)),
            tag::UPDATE => Ok(Message::Update(body?)),
            _ => Err(Malformed::Tag),
        }
    }

    fn awareness(&mut self) -> Result<&'a [u8], Malformed> {
        let whole = self.reader;
        let first = self.reader.varuint()?;
        // An entry has at least three bytes, so a count is never the number of bytes after it, but
        // for the count of none.
        if self.form == Form::Unprefixed && (first == 0 || first != self.reader.rest().len() as u64)
        {
            self.reader = Reader::new(&[]);
            return Ok(whole.rest());
        }
        self.reader = whole;
        self.reader.varbuf()
    }

    /// No JSON of Zeal's is as short as the tags of y-protocols.
    fn auth(&mut self) -> Result<&'a [u8], Malformed> {
        let whole = self.reader;
        match tag_of(self.reader.varuint()?) {
            Ok(tag::DENIED) => self.reader.varbuf(),
            Ok(tag::GRANTED) => Ok(&[]),
            _ => {
                self.reader = whole;
                self.reader.varbuf()
            }
        }
    }
}

fn tag_of(number: u64) -> Result<u8, Malformed> {
    u8::try_from(number).map_err(|_| Malformed::Tag)
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let is_first = self.left == FRAME_MESSAGES_MAX;
        if self.is_over || (self.reader.is_empty() && !is_first) {
            return None;
        }
        let message = self.message();
        self.is_over = message.is_err();
        Some(message)
    }
}

/// What comes before the body of a message, on the stack: tags and, but for one, its length.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    bytes: [u8; 2 + Varuint::BYTES_MAX],
    len: u8,
}

impl Head {
    /// Of a state vector of `len` bytes: [`Message::Step1`].
    pub fn step1(len: usize) -> Self {
        Self::new(&[tag::SYNC, tag::STEP1], Some(len))
    }

    /// Of an update of `len` bytes, as an answer: [`Message::Step2`].
    pub fn step2(len: usize) -> Self {
        Self::new(&[tag::SYNC, tag::STEP2], Some(len))
    }

    /// Of an update of `len` bytes: [`Message::Update`].
    pub fn update(len: usize) -> Self {
        Self::new(&[tag::SYNC, tag::UPDATE], Some(len))
    }

    /// Of an awareness update of `len` bytes.
    pub fn awareness(form: Form, len: usize) -> Self {
        Self::new(&[tag::AWARENESS], (form == Form::Plain).then_some(len))
    }

    /// Of text of `len` bytes: [`Message::Custom`].
    pub fn custom(len: usize) -> Self {
        Self::new(&[tag::CUSTOM], Some(len))
    }

    fn new(tags: &[u8], len: Option<usize>) -> Self {
        let mut bytes = [0; 2 + Varuint::BYTES_MAX];
        bytes[..tags.len()].copy_from_slice(tags);
        let mut end = tags.len();
        if let Some(len) = len {
            let len = Varuint::new(len as u64);
            bytes[end..end + len.as_bytes().len()].copy_from_slice(len.as_bytes());
            end += len.as_bytes().len();
        }
        Self { bytes, len: end as u8 }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The message that permission is denied (y-protocols `auth.js`), whole.
pub fn permission_denied(reason: &str) -> Vec<u8> {
    let mut message = vec![tag::AUTH, tag::DENIED];
    write_varbuf(&mut message, reason.as_bytes());
    message
}
