//! The lobby of Zeal's Socket.IO form (specs: zeal §1; socketio §8).

use std::sync::Arc;

use crate::protocol::receiver::Receiver;
use crate::protocol::yjs::Config;
use crate::protocol::yjs::socketio::lobby::{Lobby, UPGRADE_MAX};
use crate::protocol::yjs::socketio::{BAD_PACKET, Socket};
use crate::protocol::{self, Hello, Machine, Message};
use crate::session::effects::Effect;
use crate::session::{Close, Counters, Effects, History, Instant, MemberId, Now};
use crate::session::{Outcome, RingPool};

const SID: &str = "0000000000000007";
const CONNECTED: &str = r#"40{"sid":"0000000000000007"}"#;
const NOT_JOINED: &str =
    r#"42["crdt:error",{"error":"Not joined","message":"Not joined","type":"membership"}]"#;

/// The lobby, and one visitor.
struct Visit {
    lobby: Lobby,
    now_ms: u64,
    receiver: Receiver,
    is_admitted: bool,
    went_to: Option<(String, Socket)>,
}

impl Visit {
    fn with(config: Config, hello: Hello) -> Self {
        let config = Arc::new(protocol::Config { yjs: config, ..protocol::Config::default() });
        let lobby = Lobby::new(config);
        let receiver = Receiver::default();
        let mut visit = Self { lobby, now_ms: 1_000, receiver, is_admitted: false, went_to: None };
        let (result, said) = visit.call(|lobby, fx| lobby.on_enter(MemberId(0), hello, fx));
        assert_eq!((result, said), (Ok(()), vec![]), "the client speaks first");
        visit
    }

    fn by(target: &str) -> Self {
        Self::with(Config::default(), Hello { target: target.to_owned(), ..Hello::default() })
    }

    /// One that is connected and has a WebSocket.
    fn connected() -> Self {
        let mut visit = Self::by("/socket.io/?EIO=4&transport=websocket");
        assert_eq!(visit.emit("0"), [CONNECTED]);
        visit
    }

    fn call<R>(&mut self, act: impl FnOnce(&mut Lobby, &mut Effects<'_>) -> R) -> (R, Vec<String>) {
        let now = Now { at: Instant::from_millis(self.now_ms), wall_ms: 0 };
        let (counters, mut history) = (Counters::default(), History::new());
        let (mut pool, mut outcome) = (RingPool::default(), Outcome::default());
        let mut fx = Effects::new(now, 7, &counters, &mut history, &mut pool, &mut outcome);
        let result = act(&mut self.lobby, &mut fx);
        for effect in outcome.effects.drain(..) {
            assert!(self.went_to.is_none(), "{effect:?}: it is not here any more");
            match effect {
                Effect::Reply { start, end, at, .. } => {
                    self.receiver.outbox.push(at, &[&outcome.bytes[start..end]]);
                }
                Effect::Admit { .. } => self.is_admitted = true,
                Effect::Transfer { key, carry, .. } => {
                    self.went_to = Socket::unpack(&carry).map(|socket| (key, socket));
                }
                other => panic!("a lobby does not do this: {other:?}"),
            }
        }
        let said = self.receiver.send(&history).into_iter().map(|sent| sent.into_text());
        (result, said.collect())
    }

    fn try_to_emit(&mut self, packet: &str) -> (Result<(), Close>, Vec<String>) {
        let message = Message::Text(packet);
        self.call(|lobby, fx| lobby.on_message(MemberId(0), message, fx))
    }

    fn emit(&mut self, packet: &str) -> Vec<String> {
        let (result, said) = self.try_to_emit(packet);
        assert_eq!(result, Ok(()), "{packet}");
        said
    }

    fn upgrade(&mut self) -> Vec<String> {
        self.call(|lobby, fx| lobby.on_upgraded(MemberId(0), fx)).1
    }

    fn room(&self) -> Option<&str> {
        self.went_to.as_ref().map(|(key, _)| &**key)
    }
}

#[test]
fn clients_connect_and_join() {
    let mut visit = Visit::by("/socket.io/?EIO=4&transport=websocket");
    assert!(!visit.is_admitted);
    let auth = r#"0{"token":"t","userId":"u","userName":"n"}"#;
    assert_eq!(visit.emit(auth), [CONNECTED]);
    assert!(visit.is_admitted);
    assert_eq!(visit.emit(r#"25["crdt:join","a b"]"#), ["435[]"]);
    let socket = Socket { sid: Some(SID.into()), may_write: true, by_url: Some(true) };
    assert_eq!(visit.went_to, Some(("room/a b".to_owned(), socket)));
    assert!(visit.lobby.is_over());
}

#[test]
fn before_it_connects_a_client_says_nothing_else() {
    for packet in [r#"2["crdt:join","a"]"#, "1", "2", "4", "3", "x", "", "51-[\"a\"]"] {
        let mut visit = Visit::by("/socket.io/?transport=websocket");
        assert_eq!(visit.try_to_emit(packet), (Err(BAD_PACKET), vec![]), "{packet}");
    }
    let mut visit = Visit::connected();
    assert_eq!(visit.try_to_emit("0").0, Err(BAD_PACKET), "it is connected");
    let message = Message::Binary(b"x");
    let (result, _) = visit.call(|lobby, fx| lobby.on_message(MemberId(0), message, fx));
    assert_eq!(result, Err(BAD_PACKET));
}

#[test]
fn there_is_one_namespace() {
    let mut visit = Visit::by("/socket.io/?transport=websocket");
    let refusal = r#"44/a,{"message":"Invalid namespace"}"#;
    assert_eq!(visit.emit("0/a,"), [refusal]);
    assert_eq!(visit.emit("0"), [CONNECTED]);
    assert_eq!(visit.emit("0/a"), [refusal]);
    assert_eq!(visit.try_to_emit(r#"2/a,["crdt:join","a"]"#).0, Err(BAD_PACKET));
}

#[test]
fn who_is_in_no_room_is_told_so() {
    let mut visit = Visit::connected();
    assert_eq!(visit.emit(r#"2["crdt:message","a",[3]]"#), [NOT_JOINED]);
    assert_eq!(visit.emit(r#"2["crdt:leave","a"]"#), [NOT_JOINED]);
    for (packet, text) in [
        (r#"2["crdt:join"]"#, "Invalid message"),
        (r#"2["crdt:join","a\n"]"#, "Invalid room name"),
        (&format!(r#"2["crdt:join","{}"]"#, "x".repeat(257)), "Invalid room name"),
    ] {
        let said = visit.emit(packet);
        let error = format!(r#"{{"error":"{text}","message":"{text}","type":"invalid"}}"#);
        assert_eq!(said, [format!(r#"42["crdt:error",{error}]"#)], "{packet}");
    }
    assert_eq!(visit.emit(r#"2["other"]"#), [""; 0]);
    assert_eq!(visit.room(), None);
}

#[test]
fn who_has_disconnected_may_connect_again() {
    let mut visit = Visit::connected();
    assert_eq!(visit.emit("1"), [""; 0]);
    assert_eq!(visit.try_to_emit(r#"2["crdt:join","a"]"#).0, Err(BAD_PACKET));
    assert_eq!(visit.emit("0"), [CONNECTED]);
    visit.emit(r#"2["crdt:join","a"]"#);
    assert_eq!(visit.room(), Some("room/a"));
}

#[test]
fn who_comes_from_a_room_is_who_it_was() {
    let socket = Socket { sid: Some("sid".into()), may_write: false, by_url: None };
    let hello = Hello { carry: socket.pack(), ..Hello::default() };
    let mut visit = Visit::with(Config::default(), hello);
    assert!(visit.is_admitted);
    visit.emit(r#"2["crdt:join","a"]"#);
    assert_eq!(visit.went_to, Some(("room/a".to_owned(), socket)));
}

#[test]
fn tokens_decide_who_comes_in_and_who_may_write() {
    let config = Config {
        write_token: Some("w".to_owned()),
        read_token: Some("r".to_owned()),
        ..Config::default()
    };
    let refused = r#"44{"message":"Unauthorized"}"#;
    for (query, auth, expected) in [
        ("", r#"{"token":"w"}"#, Some(true)),
        ("", r#"{"token":"r"}"#, Some(false)),
        ("", r#"{"token":"r","token":"w"}"#, Some(true)),
        ("&token=w", "", Some(true)),
        ("&token=r", "{}", Some(false)),
        ("&token=r", r#"{"token":"w"}"#, Some(true)),
        ("&token=w", r#"{"token":"x"}"#, Some(true)),
        ("", "", None),
        ("", r#"{"token":"x"}"#, None),
        ("", r#"{"token":7}"#, None),
        ("&token=x", r#"{"userId":"w"}"#, None),
    ] {
        let target = format!("/socket.io/?EIO=4&transport=websocket{query}");
        let hello = Hello { target, ..Hello::default() };
        let mut visit = Visit::with(config.clone(), hello);
        let said = visit.emit(&format!("0{auth}"));
        let case = format!("{query} {auth}");
        assert_eq!(visit.is_admitted, expected.is_some(), "{case}");
        if expected.is_none() {
            assert_eq!(said, [refused], "{case}");
            assert_eq!(visit.try_to_emit(r#"2["crdt:join","a"]"#).0, Err(BAD_PACKET));
            // It may try another.
            assert_eq!(visit.emit(r#"0{"token":"w"}"#), [CONNECTED]);
            continue;
        }
        assert_eq!(said, [CONNECTED], "{case}");
        visit.emit(r#"2["crdt:join","a"]"#);
        let socket = visit.went_to.map(|(_, socket)| socket.may_write);
        assert_eq!(socket, expected, "{case}");
    }
}

#[test]
fn who_polls_joins_when_it_has_a_websocket() {
    let mut visit = Visit::by("/socket.io/?EIO=4&transport=polling&t=x");
    visit.emit("0");
    assert_eq!(visit.emit(r#"2["crdt:join","a"]"#), [""; 0]);
    assert_eq!(visit.room(), None);
    // The last one counts.
    visit.emit(r#"2["crdt:join","b"]"#);
    assert_eq!(visit.emit(r#"2["crdt:message","b",[3]]"#), [NOT_JOINED]);
    assert!(visit.lobby.deadline().is_some());
    assert_eq!(visit.upgrade(), [""; 0]);
    assert_eq!(visit.room(), Some("room/b"));
    assert_eq!(visit.lobby.deadline(), None);
}

#[test]
fn who_has_a_websocket_in_time_joins_at_once() {
    let mut visit = Visit::by("/socket.io/?EIO=4&transport=polling");
    visit.emit("0");
    visit.upgrade();
    visit.emit(r#"2["crdt:join","a"]"#);
    assert_eq!(visit.room(), Some("room/a"));
}

#[test]
fn who_goes_on_polling_is_told_that_it_cannot_join() {
    let mut visit = Visit::by("/socket.io/?EIO=4&transport=polling");
    visit.emit("0");
    visit.emit(r#"2["crdt:join","a"]"#);
    let due = visit.lobby.deadline().expect("it does not wait for ever");
    assert_eq!(due, Instant::from_millis(visit.now_ms) + UPGRADE_MAX);
    visit.now_ms += 5_000;
    visit.emit(r#"2["crdt:join","b"]"#);
    assert_eq!(visit.lobby.deadline(), Some(due), "to ask again gives no more time");
    let tick = |visit: &mut Visit| visit.call(|lobby, fx| lobby.on_deadline(fx)).1;
    assert_eq!(tick(&mut visit), [""; 0]);
    visit.now_ms += 5_000;
    let said = tick(&mut visit);
    assert!(said.len() == 1 && said[0].contains("crdt:error"), "{said:?}");
    assert!(said[0].contains(r#""type":"transport""#), "{said:?}");
    assert_eq!(visit.lobby.deadline(), None);
    visit.upgrade();
    assert_eq!(visit.room(), None, "that join is over");
    visit.emit(r#"2["crdt:join","a"]"#);
    assert_eq!(visit.room(), Some("room/a"));
}

#[test]
fn who_waits_may_think_better_of_it() {
    for end in [r#"2["crdt:leave","a"]"#, "1"] {
        let mut visit = Visit::by("/socket.io/?EIO=4&transport=polling");
        visit.emit("0");
        visit.emit(r#"2["crdt:join","a"]"#);
        assert_eq!(visit.emit(end), [""; 0]);
        assert_eq!(visit.lobby.deadline(), None, "{end}");
        visit.upgrade();
        assert_eq!(visit.room(), None, "{end}");
    }
    let mut visit = Visit::by("/socket.io/?EIO=4&transport=polling");
    visit.emit("0");
    visit.emit(r#"2["crdt:join","a"]"#);
    visit.call(|lobby, fx| lobby.on_leave(MemberId(0), 1006, fx));
    assert!(visit.lobby.is_over() && visit.lobby.deadline().is_none());
}
