//! What operators of the original look for in the log.

use serde_json::Value;

use crate::support::croquet::{join_text, send_text};
use crate::support::eventually;
use crate::support::server::Server;
use crate::support::websocket::{Client, Next, frame_with};

/// The lines of this event so far.
fn lines(server: &Server, event: &str) -> Vec<Value> {
    let log = server.log();
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    let lines = whole.lines().map(|line| serde_json::from_str(line).expect("a line is JSON"));
    lines.filter(|line: &Value| line["event"] == event).collect()
}

#[test]
fn the_end_of_a_connection_is_logged_with_what_went_both_ways() {
    for shards in [1, 2] {
        let server = Server::start(shards, &[]);
        let mut client = Client::open(server.address(), "/reflector/session");
        let (join, send) = (join_text("user"), send_text("x"));
        client.send_text(&join);
        client.send_text(&send);
        let (mut messages, mut bytes, mut heard) = (0, 0, false);
        let mut count = |text: &str| {
            messages += 1;
            bytes += text.len();
        };
        while !heard {
            let text = client.text();
            heard = text.contains(r#""x""#) && text.contains("RECV");
            count(&text);
        }
        client.send(&frame_with(0x88, &1000u16.to_be_bytes(), Some([1, 2, 3, 4])));
        loop {
            match client.next() {
                Next::Frame(frame) if frame.opcode == 1 => count(frame.text()),
                Next::Frame(_) => {}
                Next::End => break,
                Next::Reset => panic!("the connection was reset"),
            }
        }
        eventually("the end is logged", || !lines(&server, "end").is_empty());
        let end = lines(&server, "end").into_iter().find(|line| line["scope"] == "connection");
        let end = end.expect("it is the connection's");
        assert_eq!((&end["sessionId"], &end["code"]), (&"session".into(), &1000.into()));
        assert_eq!(end["userIp"], "127.0.0.1");
        let stats = &end["stats"];
        assert_eq!(stats["mi"], 2);
        assert_eq!(stats["bi"], join.len() + send.len());
        assert_eq!((&stats["mo"], &stats["bo"]), (&messages.into(), &bytes.into()), "{stats}");
        server.stop();
    }
}

#[test]
fn statistics_are_logged_every_ten_seconds_while_anybody_is_there() {
    // The idle one first: its ten seconds are over before the other's.
    let idle = Server::start(1, &["--log-level", "info,croquet=debug"]);
    let busy = Server::start(1, &["--log-level", "info,croquet=debug"]);
    let mut client = Client::open(busy.address(), "/reflector/session");
    client.send_text(&join_text("user"));
    assert!(client.text().contains("SYNC"));
    eventually("statistics are logged", || !lines(&busy, "stats").is_empty());
    let line = &lines(&busy, "stats")[0];
    assert_eq!(line["severity"], "DEBUG");
    assert!(line["message"].as_str().is_some_and(|text| text.starts_with("USERS: 1, RECV/s: ")));
    assert!(lines(&idle, "stats").is_empty());
    busy.stop();
    idle.stop();
}
