//! The least a server on tokio-tungstenite can do, for the generator's raw protocol: as
//! `ws-relay.mjs` beside it, on one thread, with TCP_NODELAY. A task for each half of a connection;
//! whatever waits for a connection when its writer runs leaves with one flush.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

type Rooms = Rc<RefCell<HashMap<String, HashMap<u64, UnboundedSender<Message>>>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let rooms = Rooms::default();
    let serve = async {
        for number in 0.. {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let rooms = Rc::clone(&rooms);
            spawn_local(async move { member(stream, number, rooms).await });
        }
        Ok(())
    };
    LocalSet::new().run_until(serve).await
}

async fn member(stream: TcpStream, number: u64, rooms: Rooms) -> Option<()> {
    let mut room = String::new();
    #[allow(clippy::result_large_err)] // the library's own type
    let path = |request: &Request, response: Response| {
        room = request.uri().path().to_owned();
        Ok(response)
    };
    let socket = accept_hdr_async(stream, path).await.ok()?;
    let (mut sink, mut stream) = socket.split();
    let (sender, mut queue) = unbounded_channel::<Message>();
    rooms.borrow_mut().entry(room.clone()).or_default().insert(number, sender.clone());
    spawn_local(async move {
        while let Some(message) = queue.recv().await {
            sink.feed(message).await.ok()?;
            while let Ok(message) = queue.try_recv() {
                sink.feed(message).await.ok()?;
            }
            sink.flush().await.ok()?;
        }
        Some(())
    });
    while let Some(Ok(message)) = stream.next().await {
        if !(message.is_text() || message.is_binary()) {
            continue;
        }
        let is_join = message.to_text().is_ok_and(|text| text.starts_with('J'));
        if is_join {
            let _ = sender.send(message);
        } else if let Some(members) = rooms.borrow().get(&room) {
            members.values().for_each(|member| drop(member.send(message.clone())));
        }
    }
    if let Some(members) = rooms.borrow_mut().get_mut(&room) {
        members.remove(&number);
    }
    Some(())
}
