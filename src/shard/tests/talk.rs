//! A small protocol for tests: members say by text messages what their session is to do.
//!
//! A session numbers what it says, so that a member can see whether anything is missing: whatever
//! is sent to a member begins with the number of the next broadcast, and broadcasts with their own.
//! Poses may be dropped for who is behind, and are counted apart.
//!
//! Members may number what they say (`#1 say hello`) and have a number themselves (`/room/as-1`),
//! which they keep when they move; the `ledger` sees that all this adds up.

use std::time::Duration;

use bytes::Bytes;

use super::blobs;
use super::ledger::{self, Place};
use crate::protocol::{
    Config, DropIn, EngineIo, Entrance, Hello, Limits, Liveness, Machine, Message, Origins, Pages,
    Protocol,
};
use crate::session::blobs::{BlobDone, BlobError};
use crate::session::effects::RecordName;
use crate::session::frame::{FrameKind, Header};
use crate::session::journal::Entries;
use crate::session::{Close, Droppable, Effects, Instant, MemberId};

pub(super) const SLOW: Close = Close::new(4001, "too slow");
pub(super) const RESTART: Close = Close::new(4002, "come back");
pub(super) const SILENT: Close = Close::new(4003, "silent");
pub(super) const LATE: Close = Close::new(4004, "never admitted");
pub(super) const DENIED: Close = Close::new(4005, "denied");
pub(super) const KICKED: Close = Close::new(4006, "kicked");

/// The session is the first element of the path; the rest tells how to treat the member. Who enters
/// `gateX` is sent on to `X`; nobody may enter `shut`.
pub(super) static PROTOCOL: Protocol = Protocol {
    name: "talk",
    entrances: &[],
    drop_ins: &[DropIn {
        name: "talk",
        summary: "a protocol for tests",
        port: 1,
        pages: Pages::Croquet,
        entrances: &[
            Entrance::engine_io("/io/", session_key, engine_io),
            Entrance::engine_io("/calm/", session_key, calm_engine_io),
            Entrance::new("/", session_key),
        ],
        others: &[],
    }],
    journaled: true,
    open: |open| Box::new(Talk::new(open.key)),
    limits: |config| Limits {
        message_bytes_max: config.croquet.message_bytes_max,
        fragments_max: config.croquet.fragments_max,
        lag_bytes_max: config.croquet.lag_bytes_max,
        messages_per_second_max: config.croquet.messages_per_second_max,
    },
    liveness: Liveness {
        first_ping: Some(Duration::from_millis(100)),
        ping: Some(Duration::from_secs(20)),
        silence: Some((Duration::from_secs(40), SILENT)),
        join: Some((Duration::from_secs(30), LATE)),
    },
    slow: SLOW,
    restart: RESTART,
};

/// What clients of Engine.IO are told. What members are sent does not begin with a packet's type,
/// which nobody here misses.
fn engine_io(_: &Config) -> EngineIo {
    EngineIo {
        ping_interval: Duration::from_millis(300),
        ping_timeout: Duration::from_millis(200),
        origins: Origins { allowed: vec!["http://friend".to_owned()], only: true },
    }
}

/// The same for clients that are pinged less often than others are heard.
fn calm_engine_io(config: &Config) -> EngineIo {
    EngineIo {
        ping_interval: Duration::from_secs(30),
        ping_timeout: Duration::from_secs(60),
        ..engine_io(config)
    }
}

fn session_key(rest: &str) -> Result<String, Close> {
    match rest.split('/').nth(1) {
        Some(key) if !key.is_empty() => Ok(key.to_owned()),
        _ => Err(DENIED),
    }
}

#[derive(Debug)]
struct Talk {
    key: String,
    members: Vec<Member>,
    said: u64,
    posed: u64,
    holds: Duration,
    tick_at: Option<Instant>,
    panics_on_leave: bool,
    kicks_on_leave: bool,
    tells_on_leave: Option<String>,
    /// What it records.
    kept: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    id: MemberId,
    /// As the ledger knows it.
    client: Option<u32>,
}

impl Talk {
    fn new(key: String) -> Self {
        Self {
            key,
            members: Vec::new(),
            said: 0,
            posed: 0,
            holds: Duration::ZERO,
            tick_at: None,
            panics_on_leave: false,
            kicks_on_leave: false,
            tells_on_leave: None,
            kept: Vec::new(),
        }
    }

    /// To all, but for `except`, who is told alone.
    fn say(&mut self, text: &str, except: Option<MemberId>, fx: &mut Effects<'_>) {
        let text = format!("{} {text}", self.said);
        self.said += 1;
        match except {
            None => fx.append(FrameKind::Text, &[text.as_bytes()]),
            Some(member) => {
                fx.append_except(member, FrameKind::Text, &[text.as_bytes()]);
                fx.reply(member, FrameKind::Text, &[text.as_bytes()]);
            }
        }
    }

    /// To all but the member, who is in this pose until it is in another. Poses are counted, and have
    /// the number of the next broadcast.
    fn pose(&mut self, place: usize, len: usize, fx: &mut Effects<'_>) {
        let Member { id, client } = self.members[place];
        self.posed += 1;
        let class = client.map_or(u64::MAX - place as u64, u64::from);
        let text = format!("{}~ {class} {} {}", self.said, self.posed, "p".repeat(len));
        let how = Droppable { class, except: Some(id), within: self.holds };
        fx.append_droppable(how, FrameKind::Text, &[text.as_bytes()]);
    }

    fn tell(&self, to: MemberId, text: &str, fx: &mut Effects<'_>) {
        fx.reply(to, FrameKind::Text, &[format!("{}: {text}", self.said).as_bytes()]);
    }

    /// One message from shared bytes, in three pieces.
    fn share(&self, to: MemberId, len: usize, fx: &mut Effects<'_>) {
        let text = format!("{}: {}", self.said, "s".repeat(len));
        let header = Header::new(FrameKind::Text, text.len());
        let frame = Bytes::from([header.as_bytes(), text.as_bytes()].concat());
        let third = frame.len() / 3;
        for range in [0..third, third..2 * third, 2 * third..frame.len()] {
            fx.share(to, frame.slice(range));
        }
    }

    /// To all, as if none of them listened: one message, shared.
    fn relay(&self, len: usize, fx: &mut Effects<'_>) {
        let text = format!("{}: {}", self.said, "r".repeat(len));
        let header = Header::new(FrameKind::Text, text.len());
        let frame = Bytes::from([header.as_bytes(), text.as_bytes()].concat());
        self.members.iter().for_each(|member| fx.relay(member.id, frame.clone()));
    }

    fn tell_session(&self, key: &str, text: &str, fx: &mut Effects<'_>) {
        let number = ledger::sent(&self.key, key);
        fx.tell(key.to_owned(), format!("{number} {text}").into_bytes());
    }

    /// Sends a member to another session. What is said then is not for it.
    fn send_on(&mut self, id: MemberId, key: &str, fx: &mut Effects<'_>) {
        let Some(member) = self.remove(id) else {
            return ledger::fault(format!("{}: a stranger is sent to {key}", self.key));
        };
        self.tell(id, &format!("moving {key}"), fx);
        let number = ledger::sent(&self.key, key);
        let client = member.client.map_or_else(|| "-".to_owned(), |client| client.to_string());
        if let Some(client) = member.client {
            ledger::left(client, &self.key, Some(key));
        }
        let carry = format!("{} {number} {client}", self.key);
        fx.transfer(id, key.to_owned(), carry.into_bytes());
        self.say(&format!("gone to {key}"), None, fx);
    }

    fn shove(&mut self, text: &str, fx: &mut Effects<'_>) {
        let (place, key) = text.split_once(' ').expect("tests say who, and where to");
        let place: usize = place.parse().expect("tests send numbers");
        if let Some(&Member { id, .. }) = self.members.get(place) {
            self.send_on(id, key, fx);
        }
    }

    fn remove(&mut self, id: MemberId) -> Option<Member> {
        let at = self.members.iter().position(|member| member.id == id)?;
        Some(self.members.remove(at))
    }

    fn add(&mut self, id: MemberId, hello: &Hello) {
        if self.members.iter().any(|member| member.id == id) {
            ledger::fault(format!("{}: a member entered twice", self.key));
        }
        let carry = std::str::from_utf8(&hello.carry).expect("sessions send texts");
        let (client, before) = match carry.split(' ').collect::<Vec<_>>()[..] {
            [from, number, client] => {
                ledger::arrived(from, &self.key, number.parse().expect("passages are numbered"));
                (client.parse().ok(), Some(Place::UnderWay(self.key.clone())))
            }
            _ => (hello.target.rsplit("/as-").next().and_then(|name| name.parse().ok()), None),
        };
        if let Some(client) = client {
            ledger::seated(client, &self.key, before.as_ref());
        }
        self.members.push(Member { id, client });
    }
}

/// Ended by a panic, it takes its members along.
impl Drop for Talk {
    fn drop(&mut self) {
        for client in self.members.iter().filter_map(|member| member.client) {
            ledger::left(client, &self.key, None);
        }
    }
}

impl Machine for Talk {
    fn on_enter(
        &mut self,
        member: MemberId,
        hello: Hello,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        if hello.target.ends_with("/panic") {
            ledger::panic_as_asked();
        }
        self.add(member, &hello);
        if hello.target.ends_with("/denied") || self.key == "shut" {
            return Err(DENIED);
        }
        if hello.target.contains("/listening") {
            fx.admit(member);
            fx.listen(member);
        }
        if !hello.carry.is_empty() {
            self.tell(member, &format!("entered {}", self.key), fx);
        }
        if let Some(key) = self.key.strip_prefix("gate").map(str::to_owned) {
            self.send_on(member, &key, fx);
        }
        Ok(())
    }

    fn on_message(
        &mut self,
        member: MemberId,
        message: Message<'_>,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let Some(place) = self.members.iter().position(|other| other.id == member) else {
            ledger::fault(format!("{}: a stranger talks", self.key));
            return Err(DENIED);
        };
        let Message::Text(mut text) = message else {
            fx.append(FrameKind::Binary, &[message.bytes()]);
            return Ok(());
        };
        if let Some((number, rest)) = text.strip_prefix('#').and_then(|text| text.split_once(' ')) {
            let client = self.members[place].client.expect("who numbers its messages has a number");
            ledger::applied(client, number.parse().expect("tests send numbers"));
            text = rest;
        } else if self.members[place].client.is_some() {
            ledger::fault(format!("{}: {text:.40} is not what a client says", self.key));
        }
        let (verb, text) = text.split_once(' ').unwrap_or((text, ""));
        let number = || text.parse::<usize>().expect("tests send numbers");
        match verb {
            "admit" => fx.admit(member),
            "listen" => {
                self.tell(member, "listening", fx);
                fx.listen(member);
            }
            "unlisten" => {
                fx.unlisten(member);
                self.say(text, None, fx);
                self.tell(member, "not listening", fx);
            }
            "say" => self.say(text, None, fx),
            "others" => self.say(text, Some(member), fx),
            "quietly" => fx.append_except(member, FrameKind::Text, &[text.as_bytes()]),
            "big" => self.say(&"b".repeat(number()), None, fx),
            "hold" => self.holds = Duration::from_millis(number() as u64),
            "pose" => self.pose(place, number(), fx),
            "reply" => self.tell(member, text, fx),
            "long" => self.tell(member, &"l".repeat(number()), fx),
            "whisper" => {
                let (to, bytes) = text.split_once(' ').expect("tests say to whom, and how much");
                let to = self.members[to.parse::<usize>().expect("tests send numbers")].id;
                self.tell(to, &"w".repeat(bytes.parse().expect("tests send numbers")), fx);
            }
            "share" => self.share(member, number(), fx),
            "relay" => self.relay(number(), fx),
            "tick" => self.tick_at = Some(fx.at() + Duration::from_millis(number() as u64)),
            "kick" => {
                self.members.get(number()).into_iter().for_each(|to| fx.close(to.id, KICKED));
            }
            "move" => self.send_on(member, text, fx),
            "shove" => self.shove(text, fx),
            "tell" => {
                let (key, text) = text.split_once(' ').expect("tests say whom");
                self.tell_session(key, text, fx);
                // Comes first even if the session tells itself: it is told when this call is over.
                self.tell(member, &format!("told {key}"), fx);
            }
            "flood" => {
                let (key, count) = text.split_once(' ').expect("tests say whom, and how often");
                let count: u32 = count.parse().expect("tests send numbers");
                (0..count).for_each(|_| self.tell_session(key, "flood", fx));
            }
            "tell-on-leave" => self.tells_on_leave = Some(text.to_owned()),
            "kick-on-leave" => self.kicks_on_leave = true,
            "panic-on-leave" => self.panics_on_leave = true,
            "panic" => ledger::panic_as_asked(),
            "keep" => {
                fx.record(&[text.as_bytes()]);
                self.kept.push(text.to_owned());
                if text == "and panic" {
                    ledger::panic_as_asked();
                }
                self.say(&format!("kept {text}"), None, fx);
            }
            "blob" => blobs::ask(text, fx),
            "kept" => self.tell(member, &self.kept.join(","), fx),
            "store" => {
                let record = RecordName { namespace: "talk", names: vec![self.key.clone()] };
                fx.store_base(record, Vec::new());
            }
            _ => return Err(DENIED),
        }
        Ok(())
    }

    fn on_told(&mut self, from: &str, body: &[u8], fx: &mut Effects<'_>) {
        let body = std::str::from_utf8(body).expect("sessions send texts");
        let (number, text) = body.split_once(' ').expect("passages are numbered");
        ledger::arrived(from, &self.key, number.parse().expect("passages are numbered"));
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        match verb {
            "panic" => ledger::panic_as_asked(),
            "answer" => self.tell_session(from, rest, fx),
            "forever" => self.tell_session(from, text, fx),
            "shove" => self.shove(rest, fx),
            _ => {}
        }
        self.say(&format!("{from} tells: {text}"), None, fx);
    }

    fn on_recovered(&mut self, entries: Entries, _: &mut Effects<'_>) {
        let texts = entries.after(0).map(|(_, text)| String::from_utf8_lossy(text).into_owned());
        self.kept = texts.collect();
        if self.kept.iter().any(|text| text == "poison") {
            ledger::panic_as_asked();
        }
    }

    fn on_blob(&mut self, ticket: u32, result: Result<BlobDone, BlobError>, fx: &mut Effects<'_>) {
        let text = blobs::told(ticket, result);
        self.say(&text, None, fx);
    }

    fn on_leave(&mut self, member: MemberId, code: u16, fx: &mut Effects<'_>) {
        match self.remove(member) {
            Some(Member { client: Some(client), .. }) => ledger::left(client, &self.key, None),
            Some(_) => {}
            None => ledger::fault(format!("{}: a stranger leaves", self.key)),
        }
        if self.panics_on_leave {
            ledger::panic_as_asked();
        }
        if self.kicks_on_leave {
            self.members.iter().for_each(|other| fx.close(other.id, KICKED));
        }
        if let Some(key) = &self.tells_on_leave {
            self.tell_session(key, "hello", fx);
        }
        self.say(&format!("left {code}"), None, fx);
    }

    fn on_deadline(&mut self, fx: &mut Effects<'_>) {
        if self.tick_at.take_if(|at| *at <= fx.at()).is_some() {
            self.say("tick", None, fx);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.tick_at
    }

    fn on_drain(&mut self, fx: &mut Effects<'_>) {
        self.say("draining", None, fx);
    }

    fn is_over(&self) -> bool {
        self.members.is_empty() && self.kept.is_empty()
    }

    fn describe(&self) -> String {
        format!("talk {}", self.members.len())
    }
}
