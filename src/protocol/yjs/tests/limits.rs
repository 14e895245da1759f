//! Limits, rights, and Zeal's native form (specs: zeal §2).

use super::harness::{Heard, World, Writer};
use crate::protocol::yjs::native::Visit;
use crate::protocol::yjs::{
    Config, LOBBY, REFUSED, ROOM_FULL, SERVER_FULL, UNAUTHORIZED, room_key, room_of_path,
};
use crate::protocol::{Hello, Message};

fn native(may_write: bool) -> Hello {
    Hello { carry: Visit::new(255, may_write).pack(), ..Hello::default() }
}

fn by_path(target: &str) -> Hello {
    Hello { target: target.to_owned(), ..Hello::default() }
}

fn texts(heard: Vec<Heard>) -> Vec<String> {
    let text = |heard| match heard {
        Heard::Text(text) => Some(text),
        _ => None,
    };
    heard.into_iter().filter_map(text).collect()
}

#[test]
fn rooms_are_named_by_the_path() {
    let key = |path: &str| room_of_path(path).ok();
    assert_eq!(key("/a").as_deref(), Some("room/a"));
    assert_eq!(key("/a/b").as_deref(), Some("room/a/b"));
    assert_eq!(key("/a%20b").as_deref(), room_key("a b").as_deref());
    for path in ["/", "", "/%", "/%FF", "/a%0A"] {
        assert_eq!(key(path), None, "{path}");
    }
    assert_eq!(key(&format!("/{}", "x".repeat(256))).map(|key| key.len()), Some(261));
    assert_eq!(key(&format!("/{}", "x".repeat(257))), None);
}

#[test]
fn a_full_room_takes_nobody_more() {
    let config =
        Config { clients_per_room_max: 3, native_clients_per_room_max: 2, ..Config::default() };
    let mut world = World::with(config, false);
    world.enter();
    let b = world.enter_as(native(true));
    assert!(world.is_seated(b));
    let c = world.enter_as(native(true));
    assert_eq!(world.closed(c), Some(ROOM_FULL));
    assert_eq!(texts(world.heard(c)), [r#"{"event":"error","error":"Room capacity reached"}"#]);
    let d = world.enter();
    assert!(world.is_seated(d));
    let e = world.enter();
    assert_eq!(world.closed(e), Some(ROOM_FULL));
    world.leave(d);
    let f = world.enter();
    assert!(world.is_seated(f));
}

#[test]
fn a_full_server_opens_no_room_more() {
    let config = Config { rooms_max: 2, native_rooms_max: 1, ..Config::default() };
    let mut first = World::with(config.clone(), false);
    first.enter();
    let mut second = World::with(config.clone(), false);
    let a = second.enter_as(native(true));
    assert_eq!(second.closed(a), Some(SERVER_FULL));
    assert_eq!(texts(second.heard(a)), [r#"{"event":"error","error":"Room limit reached"}"#]);
    let b = second.enter();
    assert!(second.is_seated(b));
    // Now that it is open, there is room in it.
    let c = second.enter_as(native(true));
    assert!(second.is_seated(c));
    let mut third = World::with(config.clone(), false);
    let d = third.enter();
    assert_eq!(third.closed(d), Some(SERVER_FULL));
    drop(first);
    let e = third.enter();
    assert!(third.is_seated(e));
    assert_eq!(config.census.rooms(), 2);
}

#[test]
fn native_clients_are_told_where_they_are_and_go_elsewhere() {
    let mut world = World::new();
    let a = world.enter_as(native(true));
    let heard = world.heard(a);
    assert_eq!(
        heard[0],
        Heard::Text(
            r#"{"event":"joined","roomName":"room","clientId":"00000000000000ff"}"#.to_owned()
        )
    );
    assert_eq!(heard[1], Heard::Step1(vec![0]));
    world.tell(a, Message::Text(r#"{"action":"join","room":"other"}"#));
    assert_eq!(world.went_to(a), Some(("room/other".to_owned(), Visit::new(255, true).pack())));
    let b = world.enter_as(native(false));
    world.tell(b, Message::Text(r#"{"action":"leave"}"#));
    assert_eq!(world.went_to(b), Some((LOBBY.to_owned(), Visit::new(255, false).pack())));
}

#[test]
fn native_clients_are_told_what_is_wrong_and_stay() {
    let mut world = World::new();
    let a = world.enter_as(native(true));
    world.heard(a);
    for message in [
        Message::Text("hello"),
        Message::Text(r#"{"action":"join","room":""}"#),
        Message::Binary(&[9]),
        Message::Binary(&[0, 2, 4, 0xFF, 0xFF, 0xFF, 0x7F]),
    ] {
        world.tell(a, message);
        assert_eq!(texts(world.heard(a)), [r#"{"event":"error","error":"Invalid message"}"#]);
    }
    let long = vec![0; (1 << 20) + 1];
    world.say(a, &long);
    assert_eq!(world.closed(a).map(|close| close.code), Some(1009));
}

#[test]
fn without_the_right_token_nobody_comes_in() {
    let config = Config {
        write_token: Some("w".to_owned()),
        read_token: Some("r".to_owned()),
        ..Config::default()
    };
    let mut world = World::with(config, false);
    let a = world.enter_as(by_path("/room?token=x"));
    assert_eq!(world.closed(a), Some(UNAUTHORIZED));
    let b = world.enter_as(by_path("/room?token=w"));
    let c = world.enter_as(by_path("/room?token=r"));
    let d = world.enter_as(native(false));
    world.ignore();
    let writer = Writer::new(5);
    for reader in [c, d] {
        world.update(reader, &writer.types("no"));
        world.step2(reader, &writer.whole());
        let denied = Heard::Denied("You may only read this document".to_owned());
        assert_eq!(world.heard(reader), [denied], "it is told once");
        assert_eq!(world.heard(b), []);
        assert!(world.is_seated(reader));
    }
    let update = Writer::new(6).types("yes");
    world.update(b, &update);
    assert_eq!(world.heard(c), [Heard::Update(update)]);
}

#[test]
fn a_document_has_a_largest_size() {
    let config = Config { document_bytes_max: 2_000, ..Config::default() };
    let mut world = World::with(config, false);
    let (a, b) = (world.enter(), world.enter());
    world.ignore();
    let writer = Writer::new(5);
    world.update(a, &writer.types(&"x".repeat(1_000)));
    assert_eq!(world.heard(b).len(), 1);
    for _ in 0..2 {
        world.update(a, &writer.types(&"y".repeat(1_000)));
    }
    let full = Heard::Denied("The document is as large as it may be".to_owned());
    assert_eq!(world.heard(a), [full], "it is told once");
    assert_eq!(world.heard(b), []);
    // Who comes back may read on.
    world.step1(b, &[0]);
    assert!(matches!(world.heard(b)[..], [Heard::Step2(_)]));
    assert_eq!(world.text(), "x".repeat(1_000));
}

#[test]
fn of_an_update_that_is_refused_what_fitted_is_told_and_kept() {
    let mut world = World::durable();
    let (a, b) = (world.enter(), world.enter());
    world.ignore();
    // Client 7 from clock 1 on, again and again: clock 0 is missing.
    let ahead = |clock: u8| [&[1, 1, 7][..], &[clock, 4, 1, 1, b't', 1, b'x', 0]].concat();
    let mut waiting = 0;
    for high in 1..=8 {
        for low in 0..125 {
            let mut update = vec![1, 1, 7];
            crate::codec::lib0::write_varuint(&mut update, 1 + high * 125 + low);
            update.extend_from_slice(&ahead(0)[4..]);
            world.update(a, &update);
            waiting += 1;
        }
    }
    assert_eq!((world.heard(b).len(), world.is_seated(a)), (waiting, true));
    // One more, of which something fits: client 9 from clock 0 on.
    let fits = [&[2, 1, 9, 0, 4, 1, 1, b't', 1, b'y'][..], &[1, 7, 100, 4, 1, 1, b't', 1, b'z', 0]];
    let update = fits.concat();
    world.update(a, &update);
    assert_eq!(world.closed(a), Some(REFUSED));
    assert_eq!(world.heard(b), [Heard::Update(update)]);
    let recorded = world.journal.as_ref().map(|(batch, _)| batch.entries());
    assert_eq!(recorded, Some(waiting as u64 + 1));
}
