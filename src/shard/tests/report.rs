//! What a shard tells the log of all its sessions together.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{Setup, World, croquet_join, croquet_send, masked};
use crate::protocol::croquet;
use crate::server::log::capture;
use crate::shard::routes::Profile;

const ID: &str = "session";

/// The lines of this event since this was last asked.
fn take(event: &str) -> Vec<Value> {
    let lines = capture::take().into_iter().map(|line| serde_json::from_str(&line));
    lines.map(Result::unwrap).filter(|line: &Value| line["event"] == event).collect()
}

fn world() -> World {
    World::new(Setup::new(Profile::only(&croquet::PROTOCOL)))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn statistics_are_told_while_anybody_is_there() {
    capture::start();
    let mut world = world();
    world.pass(seconds(35));
    assert!(take("stats").is_empty(), "nobody came");
    let member = world.join(&format!("/{ID}"));
    world.network.deliver(member.connection, &croquet_join(ID, 1));
    world.pass(seconds(3));
    for _ in 0..50 {
        world.network.deliver(member.connection, &croquet_send(ID, 20));
        world.settle();
    }
    world.pass(seconds(3));
    let [line] = &take("stats")[..] else { panic!("one line every 10 s") };
    let stats = line["message"].as_str().unwrap();
    // 50 messages and the announcement in 10 s; a tick every 50 ms in 6 s.
    assert!(stats.starts_with("USERS: 1, RECV/s: 5, SEND/s: 5, TICK/s: 1"), "{line}");
    assert_eq!(stats.matches("/s: ").count(), 5, "{line}");
    assert_eq!((&line["scope"], &line["shard"]), (&json!("process"), &json!(0)));
    world.network.finish(member.connection);
    world.pass(seconds(10));
    assert_eq!(take("stats").len(), 1, "somebody was there");
    world.pass(seconds(30));
    assert!(take("stats").is_empty(), "nobody is left");
}

#[test]
fn round_trips_are_told_every_five_minutes() {
    capture::start();
    let mut world = world();
    let mut member = world.join(&format!("/{ID}"));
    world.network.deliver(member.connection, &croquet_join(ID, 1));
    // Reports a latency of 12 ms.
    world.network.deliver(member.connection, &croquet_send(ID, 20));
    let mut pings = 0u64;
    while world.now.at.as_millis() < 299_900 {
        world.pass(Duration::from_millis(25));
        for frame in member.read() {
            if frame.first == 0x89 {
                pings += 1;
                world.pass(Duration::from_millis(40));
                world.network.deliver(member.connection, &masked(0x8A, &frame.payload));
            }
        }
    }
    assert!(pings >= 9, "{pings} pings");
    assert!(take("latency").is_empty());
    world.pass(seconds(1));
    let [line] = &take("latency")[..] else { panic!("one line for one address") };
    assert_eq!((&line["severity"], &line["scope"]), (&json!("NOTICE"), &json!("process")));
    assert_eq!(line["userIp"], "127.0.0.1");
    let latency = &line["latency"];
    assert_eq!(latency["min"], 12, "{line}");
    // The clock is read every 25 ms, so a ping may have waited that long to be seen.
    let slow: u64 = (7..10).map(|bucket| latency["hist"][bucket].as_u64().unwrap()).sum();
    assert_eq!((&latency["hist"][2], slow), (&json!(1), pings), "{line}");
    assert_eq!(latency["hist"].as_array().unwrap().len(), 16);
    assert_eq!(latency["limits"].as_array().unwrap().len(), 15);
    world.network.finish(member.connection);
    world.pass(seconds(600));
    assert!(take("latency").is_empty(), "nobody was there");
}
