//! What concerns the whole server: keys, numbers, and what outlives it.

use serde_json::{Value, json};

use super::{pair, take_times};
use crate::support::gallery::{
    Visitor, await_stats, error, framed, join, message, on_shards, patch, room_on, stats,
};
use crate::support::http::Connection;
use crate::support::server::{Scratch, Server, command};
use crate::support::websocket::Client;
use crate::support::{eventually, http};

#[test]
fn the_common_listener_has_the_gallery_under_its_prefix() {
    let server = Server::start(2, &[]);
    for target in ["/gallery?userId=u", "/gallery/?userId=u", "/gallery/any?userId=u"] {
        Visitor::connect_at(server.address(), target, "u").join("r", "host");
    }
    eventually("nobody is there", || {
        let stats = http::get(server.address(), "/gallery/stats");
        stats.text() == "{\n  \"rooms\": [],\n  \"totalUsers\": 0\n}"
    });
    server.stop();
}

#[test]
fn a_key_is_required_if_one_is() {
    let start = |required: &str| {
        let mut command =
            command(&["--as", "gallery", "--shards", "2", "--port", "0", "--in-memory"]);
        command.env("REQUIRE_API_KEY", required).env("API_KEY", "open sesame");
        Server::start_command(command)
    };
    for required in ["true", "1", "yes"] {
        let server = start(required);
        for given in ["", "?apiKey=", "?apiKey=open", "?apiKey=open+sesamE&userId=u"] {
            let mut client = Client::open(server.address(), &format!("/{given}"));
            let next = client.frame();
            assert_eq!(next.close(), (1008, "Invalid API key"), "{given}");
        }
        Visitor::connect_at(server.address(), "/?userId=u&apiKey=open%20sesame", "u").settle();
        server.stop();
    }
    for required in ["false", "0", "no", ""] {
        let server = start(required);
        Visitor::connect(server.address(), "u").settle();
        server.stop();
    }
}

#[test]
fn persistent_rooms_outlive_the_process() {
    for (before, after) in [(1, 1), (1, 2), (2, 2), (2, 1)] {
        let scratch = Scratch::new("gallery");
        let rooms = [room_on(0, "lasting"), room_on(1, "lasting")];
        let start = |shards| Server::start_in(scratch.path(), shards, &["--as", "gallery"]);
        let annotation = json!({"id": "n", "userId": "host", "text": "here"});
        let server = start(before);
        let mut hosts = ["host", "other"].map(|id| Visitor::connect(server.address(), id));
        for (host, room) in hosts.iter_mut().zip(&rooms) {
            let config = json!({"persistent": true, "maxUsers": 2, "password": "p"});
            host.ask(&json!({"action": "create_room", "roomId": room, "config": config}));
            let mut enter = join(room, &host.id, "host");
            enter["password"] = json!("p");
            assert_eq!(host.ask(&enter)["event"], "room_joined");
            host.broadcast(&patch("host", &json!(5), &json!({"sceneUrl": room})));
            host.broadcast(&message("host", "annotation_add", &annotation));
            host.settle();
        }
        // One is empty before the end, in the other somebody is; a third room is not kept.
        hosts[0].join("brief", "host");
        server.terminate();
        for host in &mut hosts {
            assert_eq!(host.client.closed(), (1001, "Server shutting down".to_owned()));
        }
        drop(hosts);
        assert!(server.wait().success());

        let server = start(after);
        // Before anybody comes.
        await_stats(&server, &[(&rooms[0], 0), (&rooms[1], 0)], 0);
        let health = http::get(server.address(), "/health");
        assert!(health.text().contains(r#""rooms":2,"#), "{}", health.text());
        let mut visitor = Visitor::connect(server.address(), "late");
        for room in &rooms {
            assert_eq!(visitor.ask(&join(room, "late", "viewer")), error("Invalid password"));
            let mut enter = join(room, "late", "viewer");
            enter["password"] = json!("p");
            let joined = visitor.ask(&enter);
            let state = &joined["data"]["roomInfo"]["state"];
            assert_eq!(joined["data"]["roomInfo"]["users"].as_array().map(Vec::len), Some(1));
            assert_eq!(state["version"], 5, "{joined}");
            assert_eq!(state["sceneUrl"], room.as_str());
            assert_eq!(state["annotations"], json!([annotation]));
        }
        assert_eq!(
            visitor.ask(&json!({"action": "create_room", "roomId": rooms[0]})),
            error("Room already exists")
        );
        drop(visitor);
        server.stop();
    }
}

#[test]
fn an_operator_deletes_a_persistent_room() {
    let scratch = Scratch::new("gallery-delete");
    for (shards, prefix, profile) in [(1, "", "gallery"), (2, "/gallery", "all")] {
        let start = || Server::start_in(scratch.path(), shards, &["--as", profile]);
        let server = start();
        let delete = |room: &str, headers: &str| {
            let path = format!("{prefix}/rooms/{room}");
            Connection::open(server.address()).request("DELETE", &path, headers, b"").status
        };
        let target = format!("{prefix}/?userId=u");
        let mut visitor = Visitor::connect_at(server.address(), &target, "u");
        let config = json!({"persistent": true});
        visitor.ask(&json!({"action": "create_room", "roomId": "my room", "config": config}));
        visitor.join("my room", "host");
        assert_eq!(delete("my%20room", ""), 409);
        visitor.join("brief", "host");
        eventually("the room is known to be empty", || {
            delete("my%20room", "Origin: http://example.org\r\n") == 403
                && delete("my%20room", "X-Forwarded-For: 127.0.0.1\r\n") == 403
                && delete("my%20room", "") == 200
        });
        assert_eq!(delete("my%20room", ""), 404);
        assert_eq!(delete("my%2", ""), 400);
        let path = format!("{prefix}/rooms/brief");
        let got = Connection::open(server.address()).request("GET", &path, "", b"");
        assert_eq!((got.status, got.text()), (404, "Not Found"));
        drop(visitor);
        server.stop();
        let server = start();
        let mut visitor = Visitor::connect_at(server.address(), &target, "u");
        let created = visitor.ask(&json!({"action": "create_room", "roomId": "my room"}));
        assert_eq!(created["event"], "room_created");
        drop(visitor);
        server.stop();
    }
}

#[test]
fn what_was_done_right_before_the_end_outlives_it() {
    const ROOMS: u64 = 5;
    let scratch = Scratch::new("gallery-last");
    let start = |shards| Server::start_in(scratch.path(), shards, &["--as", "gallery"]);
    let name = |round: u64, number: u64| format!("round {round} room {number}");
    for round in 0..8 {
        let server = start(1 + round as usize % 2);
        let mut visitor = Visitor::connect(server.address(), "u");
        let (found, _) = stats(&server);
        let known: Vec<_> =
            (0..round).flat_map(|past| (0..ROOMS).map(move |number| name(past, number))).collect();
        assert_eq!(found.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), known);
        let mut bytes = Vec::new();
        for number in 0..ROOMS {
            let room = name(round, number);
            let config = json!({"persistent": true});
            bytes.extend(framed(
                &json!({"action": "create_room", "roomId": room, "config": config}),
            ));
            bytes.extend(framed(&join(&room, "u", "host")));
            let update = patch("u", &json!(round + 1), &json!({"sceneUrl": room}));
            bytes.extend(framed(&json!({"action": "broadcast", "message": update})));
        }
        visitor.client.send(&bytes);
        for _ in 0..ROOMS {
            assert_eq!(visitor.hear()["event"], "room_created");
            assert_eq!(visitor.hear()["event"], "room_joined");
        }
        visitor.settle();
        server.terminate();
        assert_eq!(visitor.client.closed().0, 1001);
        drop(visitor);
        assert!(server.wait().success());
    }
    let server = start(2);
    let mut visitor = Visitor::connect(server.address(), "u");
    for (round, number) in (0..8).flat_map(|round| (0..ROOMS).map(move |number| (round, number))) {
        let room = name(round, number);
        let state = visitor.join(&room, "viewer")["state"].take();
        assert_eq!((&state["version"], &state["sceneUrl"]), (&json!(round + 1), &json!(room)));
    }
    drop(visitor);
    server.stop();
}

#[test]
fn whoever_is_on_the_way_when_it_ends_is_told() {
    let rooms = [room_on(0, "lasting"), room_on(1, "brief")];
    for shards in [1, 2] {
        let scratch = Scratch::new("gallery-stop");
        let server = Server::start_in(scratch.path(), shards, &["--as", "gallery"]);
        let mut visitors: Vec<_> = (0..40)
            .map(|number| Visitor::connect(server.address(), &format!("u{number}")))
            .collect();
        let config = json!({"persistent": true});
        let create = json!({"action": "create_room", "roomId": rooms[0], "config": config});
        visitors[0].ask(&create);
        for visitor in &mut visitors {
            let moves = (0..100).map(|turn| framed(&join(&rooms[turn % 2], &visitor.id, "viewer")));
            visitor.client.send(&moves.collect::<Vec<_>>().concat());
        }
        visitors[20].hear();
        server.terminate();
        for mut visitor in visitors {
            assert_eq!(visitor.client.closed(), (1001, "Server shutting down".to_owned()));
        }
        assert!(server.wait().success());
    }
}

#[test]
fn health_and_stats_are_the_originals() {
    on_shards(&[], |server, [room, other]| {
        let address = server.address();
        let empty = http::get(address, "/stats");
        assert_eq!(empty.text(), "{\n  \"rooms\": [],\n  \"totalUsers\": 0\n}");
        let [mut host, _viewer] = pair(address, room);
        let mut lobby = Visitor::connect(address, "lobby");
        lobby.ask(&json!({"action": "create_room", "roomId": other}));
        await_stats(server, &[(room, 2), (other, 0)], 3);
        let health = http::get(address, "/health?x=1");
        assert_eq!((health.status, health.header("content-type")), (200, Some("application/json")));
        let health: Value = serde_json::from_str(health.text()).expect("/health is JSON");
        assert!(health["uptime"].as_f64().is_some_and(|uptime| uptime > 0.0), "{health}");
        let (status, rooms, users) = (&health["status"], &health["rooms"], &health["users"]);
        assert_eq!((status, rooms, users), (&json!("ok"), &json!(2), &json!(3)));
        assert_eq!(health.as_object().map(serde_json::Map::len), Some(4));
        let response = http::get(address, "/stats");
        assert_eq!(response.header("content-type"), Some("application/json"));
        let mut body: Value = serde_json::from_str(response.text()).expect("/stats is JSON");
        let pretty = serde_json::to_string_pretty(&body).expect("JSON can be written");
        assert_eq!(response.text().len(), pretty.len(), "as JSON.stringify(…, null, 2)");
        let activity = body["rooms"][0]["lastActivity"].clone();
        take_times(&mut body["rooms"][0], &["createdAt", "lastActivity"]);
        take_times(&mut body["rooms"][1], &["createdAt", "lastActivity"]);
        let rooms = json!([{"roomId": room, "userCount": 2}, {"roomId": other, "userCount": 0}]);
        assert_eq!(body, json!({"rooms": rooms, "totalUsers": 3}));
        // Talking is no activity.
        host.broadcast(&json!("x"));
        host.settle();
        let after: Value = serde_json::from_str(http::get(address, "/stats").text()).expect("JSON");
        assert_eq!(after["rooms"][0]["lastActivity"], activity);
        for path in ["/", "/nothing", "/health/", "/sessions", "/files/x"] {
            let absent = http::get(address, path);
            assert_eq!((absent.status, absent.text()), (404, "Not Found"), "{path}");
            assert_eq!(absent.header("content-type"), None, "{path}");
        }
        let mut connection = Connection::open(address);
        assert_eq!(connection.request("POST", "/health", "", b"x").status, 200);
    });
    let server = Server::start(2, &["--as", "gallery", "--gallery-hide-rooms"]);
    let mut host = Visitor::connect(server.address(), "host");
    host.join("secret", "host");
    await_stats(&server, &[], 1);
    drop(host);
    server.stop();
}
