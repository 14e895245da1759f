//! What a case is, and how it is played.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use crate::support::websocket::{Client, Frame, Next};

/// For how long the server must leave the connection alone where it is asked to.
const ALONE: Duration = Duration::from_millis(100);
/// Octets of a payload that a failure shows.
const SHOWN: usize = 32;

/// One conversation, named by its number in the suite.
#[derive(Clone)]
pub struct Case {
    id: String,
    cut: Cut,
    steps: Vec<Step>,
}

/// How what is sent is cut into writes.
#[derive(Clone, Copy)]
enum Cut {
    /// All frames of a step in one write.
    Nowhere,
    BetweenFrames,
    Every(usize),
}

#[derive(Clone)]
enum Step {
    /// The client sends these.
    Send(Vec<Vec<u8>>),
    /// The server sends exactly this.
    Receive(Frame),
    /// The server sends nothing and does not end the connection.
    Alone,
    /// The server closes for a reason of its own.
    Refused(u16),
    /// The server ends the connection in good order.
    End,
}

/// The case of this number.
pub fn case(id: impl Into<String>) -> Case {
    Case { id: id.into(), cut: Cut::Nowhere, steps: Vec::new() }
}

impl Case {
    /// Every frame is a write of its own.
    pub fn frame_by_frame(mut self) -> Self {
        self.cut = Cut::BetweenFrames;
        self
    }

    /// Every so many octets are a write of their own.
    pub fn in_chops_of(mut self, octets: usize) -> Self {
        self.cut = Cut::Every(octets);
        self
    }

    pub fn octet_by_octet(self) -> Self {
        self.in_chops_of(1)
    }

    pub fn sends(self, frames: impl IntoIterator<Item = Frame>) -> Self {
        let frames = frames.into_iter().map(|frame| frame.encode()).collect();
        self.then(Step::Send(frames))
    }

    /// Sends octets that are no whole frame, or no proper one.
    pub fn sends_octets(self, octets: impl Into<Vec<u8>>) -> Self {
        self.then(Step::Send(vec![octets.into()]))
    }

    pub fn receives(self, frames: impl IntoIterator<Item = Frame>) -> Self {
        frames.into_iter().fold(self, |case, frame| case.then(Step::Receive(frame)))
    }

    /// What was sent so far gives the server no reason to do anything.
    pub fn left_alone(self) -> Self {
        self.then(Step::Alone)
    }

    /// A message that comes back, and nothing else.
    pub fn echoed(self, message: Frame) -> Self {
        self.sends([message.clone()]).receives([message]).closes()
    }

    /// The client ends the conversation, and the server agrees.
    pub fn closes(self) -> Self {
        self.sends([close(1000, "")]).answered(close(1000, ""))
    }

    /// The client has sent a close frame: the server answers with this one.
    pub fn answered(self, close: Frame) -> Self {
        self.receives([close]).then(Step::End)
    }

    /// The server fails the connection with this code, whatever else was sent.
    pub fn refused(self, code: u16) -> Self {
        self.then(Step::Refused(code)).then(Step::End)
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Plays it on a connection of its own. Fails with the case's number.
    pub fn play(&self, server: SocketAddr) {
        let stage = Stage { case: &self.id, awaits: Cell::new("to be upgraded".to_owned()) };
        let mut client = Client::open(server, "/echo");
        for step in &self.steps {
            stage.awaits.set(step.to_string());
            match step {
                Step::Send(pieces) => self.send(&mut client, pieces),
                Step::Receive(frame) => {
                    expect(&mut client, |next| matches!(next, Next::Frame(got) if got == frame));
                }
                Step::Alone => {
                    assert!(client.is_silent_for(ALONE), "{}", shown(&client.next()));
                }
                Step::Refused(code) => {
                    expect_close(&mut client, *code);
                    client.send(&close(*code, "").encode());
                }
                Step::End => expect(&mut client, |next| *next == Next::End),
            }
        }
    }

    fn send(&self, client: &mut Client, pieces: &[Vec<u8>]) {
        match self.cut {
            Cut::Nowhere => client.send(&pieces.concat()),
            Cut::BetweenFrames => pieces.iter().for_each(|piece| client.send(piece)),
            Cut::Every(octets) => {
                pieces.concat().chunks(octets).for_each(|piece| client.send(piece));
            }
        }
    }
}

fn expect(client: &mut Client, is_right: impl FnOnce(&Next) -> bool) {
    let next = client.next();
    assert!(is_right(&next), "{}", shown(&next));
}

fn expect_close(client: &mut Client, code: u16) {
    match client.next() {
        Next::Frame(frame) if frame.opcode == CLOSE && frame.fin && frame.rsv == 0 => {
            let (found, reason) = frame.close();
            assert_eq!(found, code, "closed for another reason: {reason:?}");
        }
        other => panic!("{}", shown(&other)),
    }
}

/// Says where a case stood when it failed, also when it failed inside the client.
struct Stage<'a> {
    case: &'a str,
    awaits: Cell<String>,
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("case {} failed; expected: {}", self.case, self.awaits.take());
        }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Send(_) => f.write_str("the server takes what is sent"),
            Self::Receive(frame) => write!(f, "the server sends {}", brief(frame)),
            Self::Alone => f.write_str("the server does nothing"),
            Self::Refused(code) => write!(f, "the server closes with {code}"),
            Self::End => f.write_str("the server ends the connection after its close frame"),
        }
    }
}

fn shown(next: &Next) -> String {
    match next {
        Next::Frame(frame) => format!("the server sent {}", brief(frame)),
        Next::End => "the server ended the connection".to_owned(),
        Next::Reset => "the server reset the connection".to_owned(),
    }
}

/// A frame for people: large payloads are cut.
fn brief(frame: &Frame) -> String {
    let Frame { fin, rsv, opcode, payload } = frame;
    let (length, cut) = (payload.len(), payload.len().min(SHOWN));
    let payload = payload[..cut].escape_ascii();
    format!("fin={fin} rsv={rsv} opcode={opcode}, {length} octets: \"{payload}\"")
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

pub fn text(payload: impl Into<Vec<u8>>) -> Frame {
    frame(TEXT, payload)
}

pub fn binary(payload: impl Into<Vec<u8>>) -> Frame {
    frame(BINARY, payload)
}

/// The last frame of a fragmented message.
pub fn last(payload: impl Into<Vec<u8>>) -> Frame {
    frame(CONTINUATION, payload)
}

pub fn ping(payload: impl Into<Vec<u8>>) -> Frame {
    frame(PING, payload)
}

pub fn pong(payload: impl Into<Vec<u8>>) -> Frame {
    frame(PONG, payload)
}

pub fn close(code: u16, reason: impl AsRef<[u8]>) -> Frame {
    bare_close([&code.to_be_bytes(), reason.as_ref()].concat())
}

/// A close frame of any payload.
pub fn bare_close(payload: impl Into<Vec<u8>>) -> Frame {
    frame(CLOSE, payload)
}

/// A whole frame of any opcode.
pub fn frame(opcode: u8, payload: impl Into<Vec<u8>>) -> Frame {
    Frame { fin: true, rsv: 0, opcode, payload: payload.into() }
}

/// The same without FIN: more is to come.
pub fn open(frame: Frame) -> Frame {
    Frame { fin: false, ..frame }
}

/// The same with these reserved bits.
pub fn reserved(rsv: u8, frame: Frame) -> Frame {
    Frame { rsv, ..frame }
}

/// A message as frames of at most `octets`.
pub fn fragments(message: &Frame, octets: usize) -> Vec<Frame> {
    let mut frames: Vec<Frame> =
        message.payload.chunks(octets).map(|piece| open(last(piece))).collect();
    if let Some(first) = frames.first_mut() {
        first.opcode = message.opcode;
    }
    if let Some(end) = frames.last_mut() {
        end.fin = true;
    }
    frames
}
