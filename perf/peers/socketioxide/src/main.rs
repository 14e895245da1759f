//! CoMutiNy's world on socketioxide, written for this comparison: the same as `socketio-world.mjs`
//! beside it, on one thread, with TCP_NODELAY, which `axum::serve` does not set by itself.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::serve::ListenerExt;
use serde_json::{Map, Value, json};
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, SocketRef};

const CHAT_KEPT: usize = 50;

#[derive(Default)]
struct World {
    players: Vec<Value>,
    chat: VecDeque<Value>,
    said: u64,
}

impl World {
    fn snapshot(&self) -> Value {
        json!({
            "world": { "id": "hello-world", "name": "Hello World", "description": "A world to meet in" },
            "players": self.players,
            "chat": self.chat,
            "spriteAtlas": { "version": 1, "updatedAt": null, "sprites": [], "lookup": {} },
        })
    }

    fn player(&mut self, id: Option<&str>) -> Option<&mut Value> {
        self.players.iter_mut().find(|player| player["id"].as_str() == id)
    }

    fn say(&mut self, id: &str, author: &Value, content: &Value) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.said += 1;
        let message = json!({
            "id": format!("{:x}-{:08x}", now.as_millis(), self.said),
            "playerId": id,
            "author": author,
            "content": content,
            "timestamp": format!("2026-01-01T00:00:{:06.3}Z", (now.as_millis() % 60_000) as f64 / 1e3),
        });
        if self.chat.len() >= CHAT_KEPT {
            self.chat.pop_front();
        }
        self.chat.push_back(message.clone());
        message
    }
}

type Shared = Arc<Mutex<World>>;

/// Who a socket plays.
#[derive(Clone)]
struct Plays(String);

fn refuse(ack: AckSender) {
    let _ = ack.send(&json!({ "ok": false, "message": "Player not registered" }));
}

fn plays(socket: &SocketRef) -> Option<String> {
    socket.extensions.get::<Plays>().map(|plays| plays.0)
}

async fn join(world: Shared, socket: SocketRef, said: Value, ack: AckSender) {
    let id = said["playerId"].as_str().unwrap_or_default().to_owned();
    let or = |key: &str, other: Value| said.get(key).cloned().unwrap_or(other);
    let player = json!({
        "id": id,
        "name": or("name", format!("Player {id}").into()),
        "position": or("position", json!({ "x": 0, "y": 0, "z": 0 })),
        "animation": or("animation", "idle".into()),
        "metadata": or("metadata", json!({})),
    });
    let state = {
        let mut world = world.lock().expect("nobody panics");
        world.players.retain(|player| player["id"] != *id);
        world.players.push(player.clone());
        world.snapshot()
    };
    socket.extensions.insert(Plays(id));
    let _ = ack.send(&json!({ "ok": true, "state": state, "player": player }));
    let _ = socket.broadcast().emit("player:joined", &player).await;
}

async fn update(world: Shared, socket: SocketRef, said: Value, ack: AckSender) {
    let id = plays(&socket);
    let player = {
        let mut world = world.lock().expect("nobody panics");
        let Some(player) = world.player(id.as_deref()).filter(|_| id.is_some()) else {
            return refuse(ack);
        };
        for key in ["position", "animation", "name"] {
            if let Some(value) = said.get(key) {
                player[key] = value.clone();
            }
        }
        if let (Some(own), Some(metadata)) =
            (player["metadata"].as_object_mut(), said["metadata"].as_object())
        {
            own.extend(Map::clone(metadata));
        }
        player.clone()
    };
    let _ = ack.send(&json!({ "ok": true, "player": player }));
    let _ = socket.broadcast().emit("player:updated", &player).await;
}

async fn talk(world: Shared, io: SocketIo, socket: SocketRef, said: Value, ack: AckSender) {
    let Some(id) = plays(&socket) else { return refuse(ack) };
    let message = {
        let mut world = world.lock().expect("nobody panics");
        let author = world.player(Some(&id)).map_or(Value::Null, |player| player["name"].clone());
        world.say(&id, &author, &said["content"])
    };
    let _ = ack.send(&json!({ "ok": true, "message": message }));
    let _ = io.emit("chat:message", &message).await;
}

async fn leave(world: Shared, socket: SocketRef) {
    let Some(Plays(id)) = socket.extensions.remove::<Plays>() else { return };
    world.lock().expect("nobody panics").players.retain(|player| player["id"] != *id);
    let _ = socket.broadcast().emit("player:left", &json!({ "id": id })).await;
}

async fn connect(world: Shared, io: SocketIo, socket: SocketRef) {
    let state = world.lock().expect("nobody panics").snapshot();
    let _ = socket.emit("world:state", &state);
    let own = world.clone();
    socket.on("player:join", async move |socket: SocketRef, Data(said), ack: AckSender| {
        join(own.clone(), socket, said, ack).await;
    });
    let own = world.clone();
    socket.on("player:update", async move |socket: SocketRef, Data(said), ack: AckSender| {
        update(own.clone(), socket, said, ack).await;
    });
    let own = world.clone();
    socket.on("chat:message", async move |socket: SocketRef, Data(said), ack: AckSender| {
        talk(own.clone(), io.clone(), socket, said, ack).await;
    });
    let own = world.clone();
    socket.on("player:leave", async move |socket: SocketRef, ack: AckSender| {
        leave(own.clone(), socket).await;
        let _ = ack.send(&json!({ "ok": true }));
    });
    socket.on_disconnect(async move |socket: SocketRef| leave(world.clone(), socket).await);
}

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (layer, io) = SocketIo::new_layer();
        let world: Shared = Shared::default();
        world.lock().expect("nobody panics").say("system", &json!("System"), &json!("Hello World"));
        let own = io.clone();
        io.ns("/", async move |socket: SocketRef| connect(world.clone(), own.clone(), socket).await);
        let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(0);
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        axum::serve(listener, axum::Router::new().layer(layer)).await
    })
}
