//! A Gallery Viewer client as raw JSON over a raw WebSocket. It takes nothing for granted: whatever
//! the server says is the next thing that is expected, or the test fails.

use std::net::SocketAddr;

use lockstep::shard::placement;
use serde_json::{Value, json};

use super::server::Server;
use super::websocket::{Client, frame};
use super::{eventually, http};

/// A connected user.
pub struct Visitor {
    pub client: Client,
    pub id: String,
    /// Numbers the questions of [`Visitor::settle`].
    settled: u32,
}

impl Visitor {
    /// Connects as the original's transport does, to a server that serves nothing else.
    pub fn connect(address: SocketAddr, id: &str) -> Self {
        Self::connect_at(address, &format!("/?userId={id}"), id)
    }

    /// Connects at this target and checks that the server calls it `id`.
    pub fn connect_at(address: SocketAddr, target: &str, id: &str) -> Self {
        let mut visitor = Self { client: Client::open(address, target), id: id.into(), settled: 0 };
        let connected = json!({"event": "connected", "data": {"userId": id}});
        assert_eq!(visitor.hear(), connected);
        visitor
    }

    pub fn say(&mut self, message: &Value) {
        self.client.send_text(&message.to_string());
    }

    /// The next event.
    pub fn hear(&mut self) -> Value {
        serde_json::from_str(&self.client.text()).expect("events are JSON")
    }

    /// Says something; what comes next.
    pub fn ask(&mut self, message: &Value) -> Value {
        self.say(message);
        self.hear()
    }

    /// Joins in this role and under its id as its name; what it is told of the room.
    pub fn join(&mut self, room: &str, role: &str) -> Value {
        let mut joined = self.ask(&join(room, &self.id, role));
        assert_eq!(joined["event"], "room_joined", "{joined}");
        assert_eq!(joined["data"]["roomInfo"]["roomId"], room);
        joined["data"]["roomInfo"].take()
    }

    /// Sends a message to everybody else in the room.
    pub fn broadcast(&mut self, message: &Value) {
        self.say(&json!({"action": "broadcast", "message": message}));
    }

    /// Waits until the server has heard all of this; nothing else is said to this client meanwhile.
    pub fn settle(&mut self) {
        let action = format!("settle {}", self.settled);
        self.settled += 1;
        self.say(&json!({"action": action}));
        assert_eq!(self.hear(), error(&format!("Unknown action: {action}")), "{}", self.id);
    }

    /// The next event is a message of this sender; what it says.
    pub fn hear_message(&mut self, sender: &str) -> Value {
        let mut event = self.hear();
        assert_eq!(event["event"], "message", "{event}");
        assert_eq!(event["data"]["senderId"], sender, "{event}");
        event["data"]["message"].take()
    }

    /// The next event is that this user joined.
    pub fn hear_joined(&mut self, id: &str) {
        let event = self.hear();
        assert_eq!(event["event"], "user_joined", "{event}");
        assert_eq!(event["data"]["user"]["id"], id, "{event}");
    }

    /// The next event is that this user left.
    pub fn hear_left(&mut self, id: &str) {
        assert_eq!(self.hear(), json!({"event": "user_left", "data": {"userId": id}}));
    }
}

/// A join as the original's session sends it.
pub fn join(room: &str, id: &str, role: &str) -> Value {
    json!({
        "action": "join_room",
        "roomId": room,
        "userInfo": {"userId": id, "name": id, "role": role},
    })
}

/// The error event of a request without an id.
pub fn error(text: &str) -> Value {
    json!({"event": "error", "data": {"message": text}})
}

/// A message as clients make them.
pub fn message(sender: &str, kind: &str, data: &Value) -> Value {
    json!({"type": kind, "senderId": sender, "timestamp": 5, "data": data})
}

/// A patch of the room's state, to be broadcast.
pub fn patch(sender: &str, version: &Value, data: &Value) -> Value {
    let update = json!({"type": "patch", "userId": sender, "timestamp": 5, "data": data, "version": version});
    message(sender, "state_update", &update)
}

/// The id of a room on this one of two shards; of one, all are on the first.
pub fn room_on(shard: usize, name: &str) -> String {
    (0..)
        .map(|number| format!("{name} {number}"))
        .find(|id| placement::owner(&format!("gallery/room/{id}"), 2) == shard)
        .expect("names reach every shard")
}

/// Runs a test on servers for the gallery alone, with one shard and with two, and with rooms that
/// these are spread over, either way: the hall, where members come from, is on one of them.
pub fn on_shards(arguments: &[&str], test: impl Fn(&Server, [&str; 2])) {
    let (one, other) = (room_on(0, "room"), room_on(1, "room"));
    for (shards, rooms) in [(1, [&one, &other]), (2, [&one, &other]), (2, [&other, &one])] {
        println!("{shards} shards, rooms {rooms:?}");
        let server = Server::start(shards, &[&["--as", "gallery"], arguments].concat());
        test(&server, rooms.map(String::as_str));
        assert_eq!(server.metric("lockstep_session_panics_total"), 0);
        server.stop();
    }
}

/// What `/stats` says: users of each room, in the order of creation, and all of them.
pub fn stats(server: &Server) -> (Vec<(String, u64)>, u64) {
    let text = http::get(server.address(), "/stats");
    let stats: Value = serde_json::from_str(text.text()).expect("/stats is JSON");
    let rooms = stats["rooms"].as_array().expect("rooms are listed").iter().map(|room| {
        let id = room["roomId"].as_str().expect("rooms have an id");
        (id.to_owned(), room["userCount"].as_u64().expect("users are counted"))
    });
    (rooms.collect(), stats["totalUsers"].as_u64().expect("users are counted"))
}

/// Waits until `/stats` knows of these rooms and so many users in all.
pub fn await_stats(server: &Server, rooms: &[(&str, u64)], users: u64) {
    eventually(&format!("there are {rooms:?} and {users} users"), || {
        let (found, total) = stats(server);
        let same = found.iter().map(|(id, users)| (id.as_str(), *users)).eq(rooms.iter().copied());
        let settled = same && total == users;
        if !settled {
            println!("not yet: {found:?}, {total}");
        }
        settled
    });
}

/// A frame with these words.
pub fn framed(message: &Value) -> Vec<u8> {
    frame(true, 1, message.to_string().as_bytes())
}
