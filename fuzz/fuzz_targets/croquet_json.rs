//! Whatever members say, the Croquet reflector stays up, and a member that only listens gets one
//! gapless sequence. Each line of the input is said by one of two members; an empty line lets time
//! pass.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lockstep::codec::json;
use lockstep::protocol::croquet::PROTOCOL;
use lockstep::protocol::{Hello, Machine, Message, Open};
use lockstep::session::effects::Effect;
use lockstep::session::{
    Counters, Effects, History, Instant, MemberId, Now, Outcome, Position, RingPool,
};

const JOIN: &[u8] =
    br#"{"action":"JOIN","args":{"version":1,"apiKey":"k","user":"v","ticks":{"tick":50}}}"#;
const LISTENER: MemberId = MemberId(0);

fuzz_target!(|data: &[u8]| {
    let mut room = Room::new();
    for member in 0..3 {
        room.call(|machine, fx| machine.on_enter(MemberId(member), Hello::default(), fx).is_ok());
    }
    room.say(LISTENER, JOIN);
    room.say(MemberId(1), JOIN);
    for (at, line) in data.split(|&byte| byte == b'\n').enumerate() {
        match line {
            [] => room.pass(300),
            line => room.say(MemberId(1 + at as u32 % 2), line),
        }
    }
    room.pass(5_000);
    room.check();
});

struct Room {
    machine: Box<dyn Machine>,
    history: History,
    pool: RingPool,
    outcome: Outcome,
    counters: Counters,
    now_ms: u64,
    gone: [bool; 3],
    /// What the listener hears begins here.
    from: Position,
}

impl Room {
    fn new() -> Self {
        let open = Open {
            key: "room".to_owned(),
            now: Now::default(),
            config: Default::default(),
            durable: false,
        };
        Self {
            machine: (PROTOCOL.open)(open),
            history: History::new(),
            pool: RingPool::default(),
            outcome: Outcome::default(),
            counters: Counters::default(),
            now_ms: 0,
            gone: [false; 3],
            from: 0,
        }
    }

    fn call(&mut self, act: impl FnOnce(&mut dyn Machine, &mut Effects<'_>) -> bool) -> bool {
        self.outcome.clear();
        let now = Now { at: Instant::from_millis(self.now_ms), wall_ms: self.now_ms };
        let (history, pool, outcome) = (&mut self.history, &mut self.pool, &mut self.outcome);
        let mut fx = Effects::new(now, 7, &self.counters, history, pool, outcome);
        let stays = act(&mut *self.machine, &mut fx);
        for effect in &self.outcome.effects {
            match effect {
                Effect::Listen { member: LISTENER, from } => self.from = *from,
                Effect::Close { member, .. } => panic!("{member:?} closed for another's message"),
                _ => {}
            }
        }
        stays
    }

    fn say(&mut self, member: MemberId, line: &[u8]) {
        if self.gone[member.0 as usize] {
            return;
        }
        let stays =
            self.call(|machine, fx| machine.on_message(member, Message::Binary(line), fx).is_ok());
        if !stays {
            assert_ne!(member, LISTENER);
            self.gone[member.0 as usize] = true;
            self.call(|machine, fx| {
                machine.on_leave(member, 1006, fx);
                true
            });
        }
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while let Some(due) = self.machine.deadline().filter(|due| due.as_millis() < end) {
            self.now_ms = self.now_ms.max(due.as_millis() + 1);
            self.call(|machine, fx| {
                machine.on_deadline(fx);
                true
            });
        }
        self.now_ms = end;
    }

    fn check(&self) {
        let (first, second) = self.history.slices(self.from, self.history.head());
        let bytes = [first, second].concat();
        let (mut rest, mut seq) = (&bytes[..], 0xFFFF_FFF0_u32);
        while !rest.is_empty() {
            let (head, len) = match rest[1] {
                127 => (10, u64::from_be_bytes(rest[2..10].try_into().expect("a header")) as usize),
                126 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
                len => (2, usize::from(len)),
            };
            let text = std::str::from_utf8(&rest[head..head + len]).expect("text");
            rest = &rest[head + len..];
            let fields = json::object_fields(text, &["action", "args"], 128);
            let [action, args] = fields.expect("what is sent is JSON");
            if action.is_some_and(|action| action.is_string_of("RECV")) {
                seq = seq.wrapping_add(1);
                let got = args.and_then(|args| args.elements().nth(1)).and_then(|seq| seq.as_f64());
                assert_eq!(got, Some(f64::from(seq)), "{text}");
            }
        }
    }
}
