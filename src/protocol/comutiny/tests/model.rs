//! Clients that do anything in any order, and what each of them must see at any time: what it was
//! shown and told adds up to the world.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::Config;
use super::harness::{Name, Shard};
use super::players::Players;

const STEPS: usize = 300;
const IDS: [&str; 5] = ["a", "b", "c", " d", "é\""];

/// What a client knows.
#[derive(Default)]
struct View {
    players: Players,
    chat: Vec<Value>,
}

impl View {
    fn show(&mut self, snapshot: &Value) {
        self.players.show(snapshot);
        self.chat = snapshot["chat"].as_array().unwrap().clone();
    }

    fn hear(&mut self, event: &str, value: &Value) {
        match event {
            "world:state" => self.show(value),
            "chat:message" => {
                self.chat.push(value.clone());
                self.chat.drain(..self.chat.len().saturating_sub(50));
            }
            "session:disconnect" | "session:terminated" => {}
            event => assert!(self.players.hear(event, value), "{event} is never said"),
        }
    }

    fn check(&self, snapshot: &Value, who: Name) {
        assert_eq!(self.players.known(), Players::of(snapshot).known(), "client {who}");
        assert_eq!(Value::from(self.chat.clone()), snapshot["chat"], "client {who}");
    }
}

struct Game {
    shard: Shard,
    views: BTreeMap<Name, View>,
    evicted: usize,
}

impl Game {
    /// A client looks at what it was told.
    fn look(&mut self, who: Name) {
        let Some(view) = self.views.get_mut(&who) else { return };
        for text in self.shard.take_texts(who) {
            if text == "41" {
                continue;
            }
            if let Some(event) = text.strip_prefix("42") {
                let (event, value): (String, Value) = serde_json::from_str(event).unwrap();
                view.hear(&event, &value);
                continue;
            }
            // The answer to what it asked for, in its place among what it is told.
            let [answer]: [Value; 1] =
                serde_json::from_str(&text[text.find('[').unwrap()..]).unwrap();
            if answer["ok"] == true && answer.get("state").is_some() {
                view.players.join(&answer["player"]);
                view.show(&answer["state"]);
            } else if answer["ok"] == true && answer.get("player").is_some() {
                view.players.update(&answer["player"]);
            }
        }
        if self.shard.member(who).is_closed {
            self.views.remove(&who);
            self.evicted += 1;
        }
    }

    fn step(&mut self) {
        let all: Vec<Name> = self.views.keys().copied().collect();
        let who = all.get(self.shard.pick(all.len().max(1))).copied();
        let what = self.shard.pick(20);
        let Some(who) = who.filter(|_| what > 1) else {
            if all.len() < 8 {
                let who = self.shard.connect();
                self.views.insert(who, View::default());
            }
            return;
        };
        if self.shard.member(who).is_closed {
            return self.look(who);
        }
        match what {
            2..=5 => self.join(who),
            6..=13 => self.update(who),
            14..=15 => {
                self.shard.begin(who, &[json!("chat:message"), json!({"content": what})]);
                let content = self.shard.pick(100).to_string();
                self.shard.begin(who, &[json!("chat:message"), json!({"content": content})]);
            }
            16 => self.leave(who),
            17 => {
                self.shard.end(who);
                self.views.remove(&who);
            }
            18 => {
                let client = self.shard.member(who);
                client.is_stuck = !client.is_stuck;
            }
            _ => {
                let ms = self.shard.pick(40) as u64;
                self.shard.pass(ms);
            }
        }
        self.shard.flush();
    }

    fn join(&mut self, who: Name) {
        let id = IDS[self.shard.pick(IDS.len())];
        let said = json!({"playerId": id, "metadata": {"by": who}});
        self.shard.begin(who, &[json!("player:join"), said]);
    }

    fn update(&mut self, who: Name) {
        let (x, key) = (self.shard.pick(100), self.shard.pick(3));
        let said = json!({"position": {"x": x}, "metadata": {key.to_string(): x}});
        if x % 2 == 0 {
            self.shard.begin(who, &[json!("player:update"), said]);
        } else {
            // It knows what it becomes only if it asks.
            self.shard.begin(who, &[json!("player:update"), said]);
            self.shard.begin(who, &[json!("player:update"), Value::Null]);
        }
    }

    fn leave(&mut self, who: Name) {
        self.shard.member(who).is_stuck = false;
        self.shard.flush();
        self.look(who);
        let Some(view) = self.views.get_mut(&who) else { return };
        self.shard.send(who, "2[\"player:leave\"]");
        view.players.leave();
    }

    /// Everybody reads everything, and has seen the same.
    fn check(&mut self) {
        self.shard.pass(1_000);
        let all: Vec<Name> = self.views.keys().copied().collect();
        for &who in &all {
            self.shard.member(who).is_stuck = false;
        }
        self.shard.flush();
        let snapshot = self.shard.snapshot();
        for who in all {
            self.look(who);
            if let Some(view) = self.views.get(&who) {
                view.check(&snapshot, who);
            }
        }
    }
}

fn play(seed: u64, update_interval_ms: u64) -> usize {
    let config = Config { update_interval_ms, ..Config::default() };
    let shard = Shard::durable(config).seeded(seed);
    let mut game = Game { shard, views: BTreeMap::new(), evicted: 0 };
    for step in 0..STEPS {
        game.step();
        if step % 7 == 0 {
            game.check();
        }
    }
    game.check();
    game.evicted
}

#[test]
fn what_clients_are_told_adds_up_to_the_world() {
    let first = 7_000;
    let mut evicted = 0;
    for seed in first..first + 100 {
        println!("seed {seed}");
        evicted += play(seed, 0) + play(seed, 20);
    }
    assert!(evicted > 100, "{evicted}");
}
