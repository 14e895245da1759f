//! Refs: who hears of them, who is told later, and who is on which route.

use serde_json::{Value, json};

use super::harness::Shard;
use super::rpc::{ROUTE, shard};
use crate::protocol::rljson::Config;

fn event(route: &str, payload: Value) -> (String, Value) {
    (route.to_owned(), payload)
}

#[test]
fn a_ref_goes_to_all_others_on_its_route() {
    let mut shard = shard();
    let [one, two, three] = [(); 3].map(|()| shard.connect());
    shard.announce(one, ROUTE, "a", "r1");
    let ack = json!({ "r": "r1", "ok": false, "receivedBy": 0, "totalClients": 2 });
    let heard = shard.events(two);
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].0, ROUTE);
    assert_eq!((&heard[0].1["o"], &heard[0].1["r"]), (&json!("a"), &json!("r1")));
    assert!(heard[0].1["__origin"].as_str().unwrap().starts_with("client_"));
    assert_eq!(shard.events(three).len(), 1);
    assert_eq!(shard.events(one), []);
    shard.pass(10_000);
    assert_eq!(shard.events(one), [event("/sharedTree:ack", ack)]);
}

#[test]
fn refs_are_acknowledged_when_all_have_heard_of_them() {
    let mut shard = shard();
    let [one, two] = [(); 2].map(|()| shard.connect());
    shard.announce(one, ROUTE, "a", "r1");
    shard.say(two, "/sharedTree:ack:client", json!({ "r": "r1" }));
    let ack = json!({ "r": "r1", "ok": true, "receivedBy": 1, "totalClients": 1 });
    assert_eq!(shard.events(one), [event("/sharedTree:ack", ack)]);
    // The original leaves who repeats a ref without an answer.
    shard.announce(two, ROUTE, "b", "r1");
    let ack = json!({ "r": "r1", "ok": true, "receivedBy": 1, "totalClients": 1 });
    assert_eq!(shard.events(two).pop(), Some(event("/sharedTree:ack", ack)));
    assert_eq!(shard.events(one), []);
}

#[test]
fn who_comes_late_is_told_when_it_listens() {
    let mut shard = shard();
    let one = shard.connect();
    shard.announce(one, ROUTE, "a", "r1");
    let late = shard.connect();
    shard.pass(899);
    assert_eq!(shard.events(late), []);
    shard.pass(1);
    let told = event("/sharedTree:bootstrap", json!({ "o": "__server__", "r": "r1" }));
    assert_eq!(shard.events(late), [told]);
    shard.pass(20_000);
    assert_eq!(shard.events(late).len(), 3);
    let bootstraps = |events: Vec<(String, Value)>| {
        events.into_iter().filter(|(name, _)| name.ends_with("bootstrap")).count()
    };
    assert_eq!(bootstraps(shard.events(one)), 0, "it has the ref");
}

#[test]
fn gaps_are_filled_with_nothing_unless_it_is_wanted() {
    for (gap_fill, count) in [("empty", 0), ("replay", 1)] {
        let gap_fill = match gap_fill {
            "replay" => crate::protocol::rljson::route::GapFill::Replay,
            _ => crate::protocol::rljson::route::GapFill::Empty,
        };
        let mut shard = Shard::new(Config { gap_fill, ..Config::default() });
        let [one, two] = [(); 2].map(|()| shard.connect());
        shard.say(one, ROUTE, json!({ "o": "a", "r": "r1", "seq": 2 }));
        shard.events(two);
        let ask = json!({ "route": ROUTE, "afterSeq": 1 });
        shard.say(two, "/sharedTree:gapfill:req", ask.clone());
        let (name, answer) = shard.events(two).remove(0);
        assert_eq!(name, "/sharedTree:gapfill:res");
        assert_eq!(answer["route"], ROUTE);
        assert_eq!(answer["refs"].as_array().unwrap().len(), count);
        shard.say(two, "/nowhere:gapfill:req", ask);
        let expected = json!({ "route": "/nowhere", "refs": [] });
        assert_eq!(shard.events(two), [event("/nowhere:gapfill:res", expected)]);
    }
}

#[test]
fn routes_are_apart() {
    let mut shard = shard();
    let listener = shard.connect();
    let [one, two] = [(); 2].map(|()| shard.connect());
    shard.announce(one, "/a", "a", "r1");
    assert_eq!(shard.events(two).len(), 1, "there is no other route yet");
    shard.announce(two, "/b", "b", "r2");
    assert_eq!(shard.events(one), []);
    assert_eq!(shard.events(listener).len(), 1, "it is on the first");
    shard.events(two);
    shard.announce(one, "/a", "a", "r3");
    assert_eq!(shard.events(two), []);
    // Who comes now and names no route is on none, unless it says so when it connects.
    let nowhere = shard.connect();
    let somewhere = shard.connect_with("/?route=b", "");
    shard.pass(1_000);
    assert_eq!(shard.events(nowhere), []);
    assert_eq!(shard.events(somewhere)[0].1["r"], "r2");
    // One client may be on several.
    shard.announce(two, "/a", "b", "r4");
    shard.announce(somewhere, "/b", "c", "r5");
    let heard: Vec<String> = shard.events(two).into_iter().map(|(name, _)| name).collect();
    assert!(heard.contains(&"/b".to_owned()), "{heard:?}");
}

#[test]
fn refs_that_may_not_be_announced_are_refused_at_once() {
    let config = Config {
        token: Some("w".into()),
        read_token: Some("r".into()),
        read_only_routes: vec!["fixed".into()],
        routes_max: 2,
        ..Config::default()
    };
    let mut shard = Shard::new(config);
    let reader = shard.connect_with("/?token=r", "");
    let writer = shard.connect_with("/?token=w", "");
    let refused = json!({ "r": "r1", "ok": false, "receivedBy": 0, "totalClients": 0 });
    shard.announce(reader, ROUTE, "a", "r1");
    assert_eq!(shard.events(reader), [event("/sharedTree:ack", refused.clone())]);
    shard.announce(writer, "/fixed", "b", "r1");
    assert_eq!(shard.events(writer), [event("/fixed:ack", refused.clone())]);
    for route in ["/one", "/two", "/three"] {
        shard.announce(writer, route, "b", "r1");
    }
    let told = shard.events(writer);
    assert_eq!(told.last(), Some(&event("/three:ack", refused)));
    assert_eq!(shard.events(reader).len(), 1, "it hears of the first route");
}

#[test]
fn a_token_for_one_route_opens_no_other() {
    let grant = |text: &str| text.parse().expect("a grant");
    let grants = vec![grant("a:write=x"), grant("b:read=y"), grant("b:write=z")];
    let mut shard = Shard::new(Config { grants, ..Config::default() });
    assert_eq!(shard.try_connect("/?token=w", ""), Err("unauthorized".to_owned()));
    let [of_a, reads_b, writes_b] =
        ["x", "y", "z"].map(|token| shard.connect_with(&format!("/?route=a&token={token}"), ""));
    let refused = json!({ "r": "r1", "ok": false, "receivedBy": 0, "totalClients": 0 });
    for name in [reads_b, writes_b] {
        shard.announce(name, "/a", "b", "r1");
        assert_eq!(shard.events(name), [event("/a:ack", refused.clone())]);
    }
    shard.announce(of_a, "/a", "a", "r1");
    shard.announce(of_a, "/b", "a", "r1");
    let ack = json!({ "r": "r1", "ok": true, "receivedBy": 0, "totalClients": 0 });
    assert_eq!(shard.events(of_a), [event("/a:ack", ack), event("/b:ack", refused.clone())]);
    shard.pass(10_000);
    assert_eq!(shard.events(reads_b), [], "though there is no other route");
    shard.say(reads_b, "/a:gapfill:req", json!({ "route": "/a", "afterSeq": 0 }));
    assert_eq!(shard.events(reads_b)[0].1["refs"], json!([]));
    shard.end(reads_b);
    let reads_b = shard.connect_with("/?route=b&token=y", "");
    shard.announce(reads_b, "/b", "b", "r1");
    assert_eq!(shard.events(reads_b), [event("/b:ack", refused)]);
    shard.announce(writes_b, "/b", "c", "r2");
    assert_eq!(shard.events(reads_b).len(), 1);
    assert_eq!(shard.events(of_a), []);
}

#[test]
fn a_flood_of_refs_is_cut() {
    let mut shard = shard();
    let [one, two] = [(); 2].map(|()| shard.connect());
    for number in 0..1_000 {
        shard.announce(one, ROUTE, "a", &format!("r{number}"));
    }
    let heard = shard.events(two).len();
    assert!((100..=120).contains(&heard), "{heard}");
    let told = shard.events(one);
    assert!(told.iter().filter(|(_, ack)| ack["ok"] == false).count() >= 800);
    shard.pass(10_000);
    shard.announce(one, ROUTE, "a", "last");
    assert_eq!(shard.events(two).last().unwrap().1["r"], "last");
}

#[test]
fn what_is_no_ref_is_dropped() {
    let mut shard = shard();
    let [one, two] = [(); 2].map(|()| shard.connect());
    for (name, payload) in [
        ("/", json!({ "o": "a", "r": "x" })),
        ("/sharedTree", json!("x")),
        ("/sharedTree", json!({ "o": "a" })),
        ("/sharedTree", json!({ "o": "a", "r": "x", "__origin": "client_1" })),
        ("/sharedTree:bootstrap", json!({ "o": "a", "r": "x" })),
        ("/sharedTree:ack", json!({ "r": "x", "ok": true })),
        ("/sharedTree:state", json!({ "r": "x" })),
        ("/with\"quotes", json!({ "o": "a", "r": "x" })),
        ("/with\u{e9}", json!({ "o": "a", "r": "x" })),
        ("__health:pong", json!({ "nonce": 1 })),
    ] {
        shard.say(one, name, payload);
        assert_eq!((shard.events(one), shard.events(two)), (vec![], vec![]), "{name}");
    }
    shard.send(one, "2[\"/sharedTree\"]", &[]);
    shard.send(one, "2[\"/sharedTree:ack:client\",{}]", &[]);
    // Also what nobody asks about is answered.
    assert_eq!(shard.ask(one, "/sharedTree", &[json!(1)]), [Value::Null, Value::Null]);
}
