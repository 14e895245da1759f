//! Whatever clients say: nobody panics, and what they receive is what packets may be. The room
//! checks its own invariants, and that attachments follow their packets, with every call.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::harness::Room;
use crate::codec::socketio::{Body, Limits, decode};
use crate::protocol::Machine;

const CLIENTS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Say(usize, String),
    Attach(usize, Vec<u8>),
    Leave(usize),
    Pass(u64),
}

fn text() -> impl Strategy<Value = String> {
    let namespace = select(vec!["", "", "/b,", "/c,"]);
    let id = prop_oneof![Just(String::new()), (0..4_u8).prop_map(|id| id.to_string())];
    let verb = select(vec![
        "say",
        "others",
        "pose",
        "all",
        "everywhere",
        "echo",
        "between",
        "acks",
        "owe",
        "pay",
        "ask",
        "ask-gone",
        "leave",
        "x",
    ]);
    let event = (namespace.clone(), id.clone(), verb.clone())
        .prop_map(|(namespace, id, verb)| format!("2{namespace}{id}[\"{verb}\",3]"));
    let binary = (namespace.clone(), id.clone(), verb, 1..3_u8).prop_map(|(nsp, id, verb, n)| {
        format!("5{n}-{nsp}{id}[\"{verb}\",{{\"_placeholder\":true,\"num\":0}}]")
    });
    let auth = select(vec!["", "{\"hello\":1}", "{\"refuse\":1}", "{\"leave\":1}"]);
    prop_oneof![
        8 => event,
        3 => binary,
        4 => (namespace.clone(), auth).prop_map(|(nsp, auth)| format!("0{nsp}{auth}")),
        1 => namespace.clone().prop_map(|nsp| format!("1{nsp}")),
        3 => (namespace, id).prop_map(|(nsp, id)| format!("3{nsp}{id}[1]")),
        1 => "\\PC{0,6}",
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..CLIENTS, text()).prop_map(|(name, text)| Step::Say(name, text)),
        5 => (0..CLIENTS, prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(name, bytes)| Step::Attach(name, bytes)),
        1 => (0..CLIENTS).prop_map(Step::Leave),
        1 => (0..5_u64).prop_map(Step::Pass),
    ]
}

/// The connections of a test; who was closed comes back.
struct Crowd {
    room: Room,
    names: [usize; CLIENTS],
}

impl Crowd {
    fn new() -> Self {
        let mut room = Room::new();
        let names = [(); CLIENTS].map(|()| room.join());
        Self { room, names }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Say(client, text) => self.room.say(self.names[client], &text),
            Step::Attach(client, bytes) => {
                // Most attachments are announced.
                if bytes.len() % 4 > 0 {
                    self.room.say(self.names[client], "51-[\"x\"]");
                }
                self.room.attach(self.names[client], &bytes);
            }
            Step::Leave(client) => self.room.leave(self.names[client]),
            Step::Pass(ms) => self.room.pass(ms),
        }
        for name in &mut self.names {
            for text in self.room.take(*name) {
                check(&text);
            }
            if !self.room.is_seated(*name) {
                *name = self.room.join();
            }
        }
    }

    /// When all have gone, nothing is left.
    fn end(mut self) {
        for name in self.names {
            self.room.leave(name);
        }
        assert!(self.room.machine.app().sockets.is_empty());
        assert_eq!(self.room.machine.deadline(), None);
        assert!(self.room.machine.is_over());
    }
}

/// Checks that a text is a packet of a server.
fn check(text: &str) {
    if text.starts_with('[') && !text.starts_with("[\"") {
        return; // an attachment
    }
    // Of a server CONNECT and CONNECT_ERROR have payloads that a client may send, too.
    let packet = decode(text, Limits::default()).expect("a packet");
    match packet.body {
        Body::Connect(auth) => assert!(auth.is_some(), "{text}"),
        Body::Ack { payload, .. } => assert!(payload.is_some() && packet.ack.is_some(), "{text}"),
        Body::Event { payload, .. } => assert!(payload.is_some(), "{text}"),
        Body::Disconnect | Body::ConnectError(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_said_the_room_stays_sound(steps in prop::collection::vec(step(), 1..60)) {
        let mut crowd = Crowd::new();
        steps.into_iter().for_each(|step| crowd.apply(step));
        crowd.end();
    }

    #[test]
    fn mutated_packets_do_no_harm(
        steps in prop::collection::vec(
            (0..CLIENTS, text(), any::<Index>(), "[0-9/,\\-\\[\\]{}\":a]{0,2}"),
            1..30,
        ),
    ) {
        let mut crowd = Crowd::new();
        for (client, mut text, index, insert) in steps {
            let at = text.floor_char_boundary(index.index(text.len() + 1));
            let end = text.ceil_char_boundary((at + 1).min(text.len()));
            text.replace_range(at..end, &insert);
            crowd.apply(Step::Say(client, text));
        }
        crowd.end();
    }
}
