//! A small protocol for tests: members say by text messages what their session is to do.
//!
//! A session numbers what it says, so that a member can see whether anything is missing: whatever
//! is sent to a member begins with the number of the next broadcast, and broadcasts with their own.

use std::time::Duration;

use bytes::Bytes;

use crate::protocol::{Hello, Limits, Liveness, Machine, Message, Protocol};
use crate::session::frame::{FrameKind, Header};
use crate::session::{Close, Effects, Instant, MemberId};

pub(super) const SLOW: Close = Close::new(4001, "too slow");
pub(super) const RESTART: Close = Close::new(4002, "come back");
pub(super) const SILENT: Close = Close::new(4003, "silent");
pub(super) const LATE: Close = Close::new(4004, "never admitted");
pub(super) const DENIED: Close = Close::new(4005, "denied");
pub(super) const KICKED: Close = Close::new(4006, "kicked");

/// The session is the first element of the path; the rest tells how to treat the member.
pub(super) static PROTOCOL: Protocol = Protocol {
    name: "talk",
    summary: "a protocol for tests",
    prefix: None,
    profile_port: 1,
    journaled: true,
    session_key: |path| match path.split('/').nth(1) {
        Some(key) if !key.is_empty() => Ok(key.to_owned()),
        _ => Err(DENIED),
    },
    open: |_| Box::new(Talk::default()),
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

#[derive(Debug, Default)]
struct Talk {
    members: Vec<MemberId>,
    said: u64,
    tick_at: Option<Instant>,
    panics_on_leave: bool,
    kicks_on_leave: bool,
}

impl Talk {
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
}

impl Machine for Talk {
    fn on_enter(
        &mut self,
        member: MemberId,
        hello: Hello,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        assert!(!self.members.contains(&member), "a member entered twice");
        assert!(!hello.target.ends_with("/panic"), "a panic that a test asked for");
        if hello.target.ends_with("/denied") {
            self.members.push(member);
            return Err(DENIED);
        }
        if hello.target.ends_with("/listening") {
            fx.admit(member);
            fx.listen(member);
        }
        self.members.push(member);
        Ok(())
    }

    fn on_message(
        &mut self,
        member: MemberId,
        message: Message<'_>,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        assert!(self.members.contains(&member), "a stranger talks");
        let Message::Text(text) = message else {
            fx.append(FrameKind::Binary, &[message.bytes()]);
            return Ok(());
        };
        let (verb, text) = text.split_once(' ').unwrap_or((text, ""));
        let number = || text.parse::<usize>().expect("tests send numbers");
        match verb {
            "admit" => fx.admit(member),
            "listen" => {
                self.tell(member, "listening", fx);
                fx.listen(member);
            }
            "say" => self.say(text, None, fx),
            "others" => self.say(text, Some(member), fx),
            "quietly" => fx.append_except(member, FrameKind::Text, &[text.as_bytes()]),
            "big" => self.say(&"b".repeat(number()), None, fx),
            "reply" => self.tell(member, text, fx),
            "long" => self.tell(member, &"l".repeat(number()), fx),
            "share" => self.share(member, number(), fx),
            "tick" => self.tick_at = Some(fx.at() + Duration::from_millis(number() as u64)),
            "kick" => self.members.get(number()).into_iter().for_each(|&to| fx.close(to, KICKED)),
            "kick-on-leave" => self.kicks_on_leave = true,
            "panic-on-leave" => self.panics_on_leave = true,
            "panic" => panic!("a panic that a test asked for"),
            _ => return Err(DENIED),
        }
        Ok(())
    }

    fn on_leave(&mut self, member: MemberId, code: u16, fx: &mut Effects<'_>) {
        assert!(self.members.contains(&member), "a stranger leaves");
        self.members.retain(|&other| other != member);
        assert!(!self.panics_on_leave, "a panic that a test asked for");
        if self.kicks_on_leave {
            self.members.iter().for_each(|&other| fx.close(other, KICKED));
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
        self.members.is_empty()
    }

    fn describe(&self) -> String {
        format!("talk {}", self.members.len())
    }
}
