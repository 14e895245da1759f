//! Random operations keep the promises of the protocol: whoever listens has one gapless sequence in
//! a total order that is the same for all, time never goes back, and what is kept is bounded.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::harness::{Name, Room};
use crate::protocol::Machine;
use crate::protocol::croquet::Config;

#[derive(Clone, Debug)]
enum Op {
    Enter,
    Join(u8, bool),
    Leave(u8),
    Send(u8, u16, bool),
    Tutti(u8, u8, u8),
    Snap(u8, u8),
    Ticks(u8, u8, u8),
    Wait(u16),
    Stall(u16),
    LoadAnswer,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => Just(Op::Enter),
        4 => (any::<u8>(), any::<bool>()).prop_map(|(who, user)| Op::Join(who, user)),
        2 => any::<u8>().prop_map(Op::Leave),
        12 => (any::<u8>(), 0..300u16, any::<bool>()).prop_map(|(who, len, tag)| Op::Send(who, len, tag)),
        3 => (any::<u8>(), 0..4u8, 0..3u8).prop_map(|(who, key, vote)| Op::Tutti(who, key, vote)),
        3 => (any::<u8>(), any::<u8>()).prop_map(|(who, back)| Op::Snap(who, back)),
        1 => any::<(u8, u8, u8)>().prop_map(|(who, tick, scale)| Op::Ticks(who, tick, scale)),
        6 => (0..400u16).prop_map(Op::Wait),
        1 => (0..15_000u16).prop_map(Op::Stall),
        2 => Just(Op::LoadAnswer),
    ]
}

fn config() -> Config {
    Config {
        history_messages_max: 300,
        history_request_snapshot: 100,
        history_bytes_max: 20_000,
        ..Config::default()
    }
}

/// Plays operations against one session, which is opened again whenever it is over.
struct Play {
    room: Room,
    durable: bool,
    connections: Vec<Name>,
    stored: Option<Vec<u8>>,
}

impl Play {
    fn new(durable: bool) -> Self {
        let room = Room::with(config(), durable);
        Self { room, durable, connections: Vec::new(), stored: None }
    }

    fn pick(&self, who: u8) -> Option<Name> {
        let open: Vec<Name> =
            self.connections.iter().copied().filter(|&name| self.room.is_seated(name)).collect();
        (!open.is_empty()).then(|| open[usize::from(who) % open.len()])
    }

    fn step(&mut self, op: &Op) {
        let room = &mut self.room;
        match *op {
            Op::Enter => self.connections.push(room.enter()),
            Op::Wait(ms) => room.run_to(room.now_ms() + u64::from(ms)),
            Op::Stall(ms) => room.stall_to(room.now_ms() + u64::from(ms)),
            Op::LoadAnswer if room.loads.is_empty() => {}
            Op::LoadAnswer => room.answer_load(Ok(vec![self.stored.clone(), None])),
            Op::Join(who, _)
            | Op::Leave(who)
            | Op::Send(who, ..)
            | Op::Tutti(who, ..)
            | Op::Snap(who, _)
            | Op::Ticks(who, ..) => {
                if let Some(name) = self.pick(who) {
                    self.step_as(name, op);
                }
            }
        }
        self.reopen();
    }

    fn step_as(&mut self, name: Name, op: &Op) {
        let room = &mut self.room;
        let now = room.now_ms();
        match *op {
            Op::Join(who, user) => {
                let user = if user { json!(format!("v{}", who % 5)) } else { json!(null) };
                let leave_delay = u64::from(who % 3) * 400;
                let ticks =
                    json!({"tick": 30 + u64::from(who), "delay": if who > 200 { 20 } else { 0 }});
                room.join_again(name, user, json!({"leaveDelay": leave_delay, "ticks": ticks}));
            }
            Op::Leave(_) => room.leave(name, 1006),
            Op::Send(_, len, tag) => {
                let tags = if tag { json!({"debounce": 50, "msgID": "m"}) } else { json!(null) };
                let args = json!([0, 0, "x".repeat(len.into()), 3]);
                room.say(name, &json!({"action": "SEND", "args": args, "tags": tags}).to_string());
            }
            Op::Tutti(_, key, vote) => {
                let first = if vote == 0 { json!([0, 0, "first"]) } else { json!(null) };
                let args =
                    json!([now / 2, 0, format!("p{vote}"), first, true, null, format!("k{key}")]);
                room.act(name, "TUTTI", args);
            }
            Op::Snap(_, back) => {
                let seq = room.machine.seq().wrapping_sub(u32::from(back % 40));
                room.act(
                    name,
                    "SNAP",
                    json!({"time": now / 2, "seq": seq, "hash": "h", "url": "u"}),
                );
            }
            Op::Ticks(_, tick, scale) => {
                let scale = f64::from(scale) / 64.0;
                room.act(name, "TICKS", json!({"tick": tick, "delay": tick / 2, "scale": scale}));
            }
            _ => unreachable!("not an operation of a member"),
        }
    }

    /// What a shard does with a session that is over, and with what it stored.
    fn reopen(&mut self) {
        for (record, content) in self.room.stores.drain(..) {
            assert_eq!(record.namespace, "croquet/sessions");
            self.stored = Some(content);
        }
        if self.room.machine.is_over() {
            self.check();
            let (connections, stored) = (Vec::new(), self.stored.take());
            *self = Self {
                room: Room::with(config(), self.durable),
                durable: self.durable,
                connections,
                stored,
            };
        }
    }

    fn check(&self) {
        let mut order = BTreeMap::<(String, u32), Value>::new();
        for &name in &self.connections {
            let mut reader = Reader::default();
            for (_, text) in self.room.received(name) {
                let message: Value = serde_json::from_str(text).unwrap();
                reader.read(&message, &mut order);
            }
        }
    }
}

/// What a client knows.
#[derive(Debug, Default)]
struct Reader {
    timeline: Option<String>,
    seq: u32,
    time: u64,
}

impl Reader {
    fn read(&mut self, message: &Value, order: &mut BTreeMap<(String, u32), Value>) {
        let args = &message["args"];
        match message["action"].as_str().unwrap() {
            "SYNC" => self.sync(args, order),
            "RECV" => self.recv(args, order),
            "TICK" => self.advance(args),
            "REQU" | "INFO" => assert!(self.timeline.is_some()),
            other => panic!("{other}"),
        }
    }

    fn sync(&mut self, args: &Value, order: &mut BTreeMap<(String, u32), Value>) {
        let seq = args["seq"].as_u64().unwrap() as u32;
        let messages = args["messages"].as_array().unwrap();
        self.timeline = Some(args["timeline"].as_str().unwrap().to_owned());
        self.seq = seq.wrapping_sub(messages.len() as u32);
        match args["snapshotSeq"].as_u64() {
            Some(snapshot) => assert_eq!(self.seq, snapshot as u32, "it begins after the snapshot"),
            None => assert_eq!(self.seq, 0xFFFF_FFF0, "it is complete"),
        }
        self.time = 0;
        for message in messages {
            self.recv(message, order);
        }
        assert_eq!(self.seq, seq);
        self.advance(&args["time"]);
        assert!(messages.len() <= 303);
    }

    fn recv(&mut self, message: &Value, order: &mut BTreeMap<(String, u32), Value>) {
        self.seq = self.seq.wrapping_add(1);
        assert_eq!(message[1], self.seq, "no gap");
        self.advance(&message[0]);
        let timeline = self.timeline.clone().expect("SYNC comes first");
        let known = order.entry((timeline, self.seq)).or_insert_with(|| message.clone());
        assert_eq!(known, message, "the same for all");
    }

    fn advance(&mut self, time: &Value) {
        let time = time.as_u64().unwrap();
        assert!(time >= self.time, "time went back from {} to {time}", self.time);
        self.time = time;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_operations_keep_the_promises(ops in prop::collection::vec(op(), 1..200)) {
        let mut play = Play::new(false);
        ops.iter().for_each(|op| play.step(op));
        play.check();
    }

    #[test]
    fn stored_sessions_keep_them_too(ops in prop::collection::vec(op(), 1..200)) {
        let mut play = Play::new(true);
        ops.iter().for_each(|op| play.step(op));
        play.check();
    }
}
