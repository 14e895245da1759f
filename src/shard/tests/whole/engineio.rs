//! A client's end of Engine.IO (specs: socketio §4, §5): a WebSocket, or polls and payloads, or at first
//! these and then that, in the middle of it all. Requests come on connections of their own, which any
//! shard takes.

use data_encoding::BASE64;

use super::super::world::Frame;
use super::line::Line;
use super::stage::Stage;
use crate::codec::engineio::payload;

/// How a client comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Means {
    WebSocket,
    Polling,
    /// By polling, and then on a WebSocket.
    Both,
}

impl Means {
    pub(super) fn any(stage: &mut Stage) -> Self {
        [Self::WebSocket, Self::Polling, Self::Both][stage.random.below(3) as usize]
    }
}

/// A client's end.
pub(super) struct Wire {
    path: String,
    /// Once it has moved there, all is said on it.
    web_socket: Option<Line>,
    polling: Option<Polling>,
}

/// How far a client is on its way to a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    /// It does not want to.
    Never,
    Later,
    Asked,
    Answered,
}

struct Polling {
    sid: Option<String>,
    polls: Requests,
    payloads: Requests,
    /// What was said and is in no payload yet.
    out: Vec<Packet>,
    probe: Probe,
    is_over: bool,
}

enum Packet {
    Text(String),
    Binary(Vec<u8>),
}

impl Wire {
    pub(super) fn dial(stage: &mut Stage, path: &str, means: Means) -> Self {
        let mut wire = Self { path: path.to_owned(), web_socket: None, polling: None };
        if means == Means::WebSocket {
            wire.web_socket = Some(Line::dial(stage, &wire.target("websocket")));
            return wire;
        }
        stage.met.polling[0] += 1;
        let mut polling = Polling {
            sid: None,
            polls: Requests::default(),
            payloads: Requests::default(),
            out: Vec::new(),
            probe: if means == Means::Both { Probe::Later } else { Probe::Never },
            is_over: false,
        };
        polling.polls.renew(stage);
        polling.polls.send("GET", &wire.target("polling"), "");
        wire.polling = Some(polling);
        wire
    }

    fn target(&self, transport: &str) -> String {
        let sid = self.polling.as_ref().and_then(|polling| polling.sid.as_deref());
        let sid = sid.map_or_else(String::new, |sid| format!("&sid={sid}"));
        format!("{}?EIO=4&transport={transport}{sid}", self.path)
    }

    pub(super) fn text(&mut self, text: &str) {
        self.say(Packet::Text(text.to_owned()));
    }

    pub(super) fn binary(&mut self, bytes: &[u8]) {
        self.say(Packet::Binary(bytes.to_vec()));
    }

    fn say(&mut self, packet: Packet) {
        let target = self.target("polling");
        match (&mut self.polling, &mut self.web_socket) {
            (Some(polling), _) => {
                polling.out.push(packet);
                polling.send_payload(&target);
            }
            (None, Some(line)) => packet.frame(line),
            (None, None) => {}
        }
    }

    /// Reads some of what there is, as the frames of a WebSocket.
    pub(super) fn hear(&mut self, bytes: usize, stage: &mut Stage) -> Vec<Frame> {
        let mut heard = Vec::new();
        if let Some(polling) = &mut self.polling {
            polling.hear(bytes, &mut heard);
            self.hear_probe(bytes);
            self.go_on(stage);
        }
        if let (None, Some(line)) = (&self.polling, &mut self.web_socket) {
            heard.extend(line.hear(bytes));
        }
        heard
    }

    /// Until it has moved nothing is said on a WebSocket but that it may.
    fn hear_probe(&mut self, bytes: usize) {
        let (Some(polling), Some(line)) = (&mut self.polling, &mut self.web_socket) else { return };
        for frame in line.hear(bytes) {
            assert_eq!(frame.into_text().as_deref(), Some("3probe"));
            polling.probe = Probe::Answered;
        }
        if line.is_over() {
            // Polling goes on.
            self.web_socket = None;
            polling.probe = Probe::Later;
        }
    }

    /// The next requests.
    fn go_on(&mut self, stage: &mut Stage) {
        let (poll, probe) = (self.target("polling"), self.target("websocket"));
        let may_go_on = |polling: &&mut Polling| polling.sid.is_some() && !polling.is_broken();
        let Some(polling) = self.polling.as_mut().filter(may_go_on) else { return };
        if polling.probe == Probe::Later && stage.random.one_in(6) {
            let mut line = Line::dial(stage, &probe);
            line.text("2probe");
            self.web_socket = Some(line);
            polling.probe = Probe::Asked;
        }
        if polling.probe != Probe::Answered {
            polling.payloads.renew(stage);
            polling.send_payload(&poll);
            polling.polls.renew(stage);
            polling.polls.send("GET", &poll, "");
        } else if !(polling.polls.waits || polling.payloads.waits)
            && let Some(line) = &mut self.web_socket
        {
            line.text("5");
            polling.out.drain(..).for_each(|packet| packet.frame(line));
            self.polling = None;
            stage.met.polling[1] += 1;
        }
    }

    pub(super) fn lines(&mut self) -> impl Iterator<Item = &mut Line> {
        let polling = self.polling.as_mut().map(|it| [&mut it.polls.line, &mut it.payloads.line]);
        polling.into_iter().flatten().flatten().chain(&mut self.web_socket)
    }

    /// Whether it can be expected to carry everything.
    pub(super) fn is_well(&self) -> bool {
        match &self.polling {
            Some(polling) => polling.sid.is_some() && !polling.is_broken(),
            None => self.web_socket.as_ref().is_some_and(Line::is_well),
        }
    }

    /// Whether nothing more will come.
    pub(super) fn is_over(&self) -> bool {
        match &self.polling {
            Some(polling) => polling.is_broken(),
            None => self.web_socket.as_ref().is_none_or(Line::is_over),
        }
    }
}

impl Packet {
    fn frame(self, line: &mut Line) {
        match self {
            Self::Text(text) => line.text(&text),
            Self::Binary(bytes) => line.binary(&bytes),
        }
    }

    /// As payloads have it.
    fn coded(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Binary(bytes) => format!("b{}", BASE64.encode(bytes)),
        }
    }
}

impl Polling {
    fn is_broken(&self) -> bool {
        self.is_over || self.polls.is_broken() || self.payloads.is_broken()
    }

    fn hear(&mut self, bytes: usize, heard: &mut Vec<Frame>) {
        if let Some((status, body)) = self.polls.answer(bytes) {
            self.is_over |= status != 200;
            for packet in payload::packets(&body).filter(|_| status == 200) {
                match packet.split_at(1) {
                    ("0", open) => self.sid = open.split('"').nth(3).map(str::to_owned),
                    ("1", _) => self.is_over = true,
                    ("b", coded) => {
                        let payload = BASE64.decode(coded.as_bytes()).expect("base64");
                        heard.push(Frame { first: 0x82, payload });
                    }
                    _ => heard.push(Frame { first: 0x81, payload: packet.into() }),
                }
            }
        }
        if let Some((status, body)) = self.payloads.answer(bytes) {
            assert!(status != 200 || body == "ok", "{body}");
            self.is_over |= status != 200;
        }
    }

    fn send_payload(&mut self, target: &str) {
        let may = self.sid.is_some() && self.payloads.is_ready() && self.probe != Probe::Answered;
        if may && !self.out.is_empty() {
            let coded: Vec<String> = self.out.drain(..).map(|packet| packet.coded()).collect();
            self.payloads.send("POST", target, &coded.join("\u{1e}"));
        }
    }
}

/// Requests, one after another.
#[derive(Default)]
struct Requests {
    line: Option<Line>,
    /// The last one was not answered yet.
    waits: bool,
    /// It was, and the next may come on another connection.
    may_change: bool,
}

impl Requests {
    /// Makes sure that the next one finds a connection.
    fn renew(&mut self, stage: &mut Stage) {
        let changes = std::mem::take(&mut self.may_change) && stage.random.one_in(3);
        if !self.waits && (changes || !self.is_ready()) {
            self.line = Some(Line::open(stage));
        }
    }

    fn is_ready(&self) -> bool {
        !self.waits && self.line.as_ref().is_some_and(Line::is_open)
    }

    fn send(&mut self, method: &str, target: &str, body: &str) {
        let Some(line) = self.line.as_mut().filter(|_| !self.waits) else { return };
        let length = match method {
            "GET" => String::new(),
            _ => format!("Content-Length: {}\r\n", body.len()),
        };
        line.request(&format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n{body}"
        ));
        self.waits = true;
    }

    fn answer(&mut self, bytes: usize) -> Option<(u16, String)> {
        let answer = self.line.as_mut().filter(|_| self.waits)?.answer(bytes)?;
        (self.waits, self.may_change) = (false, true);
        Some(answer)
    }

    /// The connection has ended before the answer.
    fn is_broken(&self) -> bool {
        self.waits && !self.line.as_ref().is_some_and(Line::is_open)
    }
}
