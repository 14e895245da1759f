//! Clients of Engine.IO: polling, and the way to a WebSocket.

use super::world::{Frame, Setup, World, masked};
use super::{TALK, ms, placement};
use crate::codec::engineio::payload;

/// A client that polls.
struct Poller {
    /// Connections of its own, so that a poll and a payload may be open at once.
    polls: usize,
    posts: usize,
    path: String,
    sid: String,
}

/// Status and body of the next response on a connection, if all of it has come.
fn response(world: &World, connection: usize) -> Option<(u16, String)> {
    let bytes = world.network.take(connection);
    let text = String::from_utf8(bytes).expect("responses are text");
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    assert_eq!(length.map(str::parse), Some(Ok(body.len())), "one whole response: {text}");
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

fn request(world: &World, connection: usize, method: &str, target: &str, more: &str) {
    let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
    world.network.deliver(connection, head.as_bytes());
}

fn error(code: u8, message: &str) -> (u16, String) {
    (400, format!(r#"{{"code":{code},"message":"{message}"}}"#))
}

impl Poller {
    /// Opens a session on shard `side`.
    fn open(world: &mut World, side: usize, path: &str) -> Self {
        let [polls, posts] = [(); 2].map(|()| world.network.connect_to(side));
        let target = format!("{path}?EIO=4&transport=polling");
        request(world, polls, "GET", &target, "");
        world.settle();
        let (status, body) = response(world, polls).expect("an answer at once");
        assert_eq!(status, 200, "{body}");
        let sid = body.split('"').nth(3).expect("a session id").to_owned();
        let rest =
            r#"","upgrades":["websocket"],"pingInterval":300,"pingTimeout":200,"maxPayload":"#;
        assert!(body.starts_with(&format!(r#"0{{"sid":"{sid}{rest}"#)), "{body}");
        Self { polls, posts, path: path.to_owned(), sid }
    }

    fn target(&self) -> String {
        format!("{}?EIO=4&transport=polling&sid={}", self.path, self.sid)
    }

    fn poll(&self, world: &mut World) {
        request(world, self.polls, "GET", &self.target(), "");
        world.settle();
    }

    fn post(&self, world: &mut World, payload: &str) -> (u16, String) {
        self.begin_post(world, payload);
        world.settle();
        response(world, self.posts).expect("an answer")
    }

    fn begin_post(&self, world: &World, payload: &str) {
        let length = format!("Content-Length: {}\r\n", payload.len());
        request(world, self.posts, "POST", &self.target(), &length);
        world.network.deliver(self.posts, payload.as_bytes());
    }

    /// What a poll that waits was answered, if it was.
    fn answer(&self, world: &World) -> Option<Vec<String>> {
        let (status, body) = response(world, self.polls)?;
        assert_eq!(status, 200, "{body}");
        Some(payload::packets(&body).map(str::to_owned).collect())
    }

    /// Polls and is answered at once.
    fn hear(&self, world: &mut World) -> Vec<String> {
        self.poll(world);
        self.answer(world).expect("something waits for it")
    }

    fn is_known(&self, world: &mut World) -> bool {
        self.poll(world);
        match response(world, self.polls) {
            None => true,
            Some(answer) => {
                assert_eq!(answer, error(1, "Session ID unknown"));
                false
            }
        }
    }
}

fn is_empty(world: &World) -> bool {
    world.shards.iter().all(|shard| shard.sessions.iter().count() == 0)
        && world.count(|counters| counters.members.get()) == 0
        && world.count(|counters| counters.polling.get()) == 0
}

#[test]
fn who_polls_is_a_member_like_any_other() {
    let mut world = World::new(Setup::new(TALK));
    let one = Poller::open(&mut world, 0, "/io/room/listening");
    let mut other = world.join("/room/listening");
    one.poll(&mut world);
    assert_eq!(one.answer(&world), None, "nothing was said");
    other.send_text("say a");
    world.settle();
    assert_eq!(one.answer(&world).unwrap(), ["0 a"]);
    for text in ["say b", "share 9", "others c", "say d"] {
        other.send_text(text);
    }
    world.settle();
    // What is said between two polls waits for the next.
    assert_eq!(one.hear(&mut world), ["1 b", "2 c", "3 d"]);
    assert_eq!(one.post(&mut world, "4say e\u{1e}4reply f\u{1e}4others g"), (200, "ok".into()));
    assert_eq!(one.hear(&mut world), ["4 e", "5: f", "5 g"]);
    assert_eq!(other.texts().last().unwrap(), "5 g");
    assert_eq!(world.count(|counters| counters.polling.get()), 1);
}

#[test]
fn requests_find_their_session_from_any_shard() {
    let mut setup = Setup::new(TALK);
    setup.shards = 3;
    let mut world = World::new(setup);
    let owner = placement::owner("talk/room", 3);
    for side in 0..3 {
        let client = Poller::open(&mut world, side, "/io/room/listening");
        assert_eq!(client.post(&mut world, "4say x"), (200, "ok".into()));
        assert_eq!(client.hear(&mut world).len(), 1);
        // Again from elsewhere, on new connections.
        let [polls, posts] = [(); 2].map(|()| world.network.connect_to((side + 1) % 3));
        let elsewhere = Poller { polls, posts, ..client };
        assert_eq!(elsewhere.post(&mut world, "4reply y"), (200, "ok".into()));
        assert!(elsewhere.hear(&mut world)[0].ends_with(": y"));
    }
    for (shard, state) in world.shards.iter().enumerate() {
        assert_eq!(state.sessions.iter().count(), usize::from(shard == owner));
    }
}

#[test]
fn a_member_moves_to_a_websocket_and_misses_nothing() {
    for shards in [1, 2] {
        let mut setup = Setup::new(TALK);
        setup.shards = shards;
        let mut world = World::new(setup);
        let client = Poller::open(&mut world, 0, "/io/room/listening");
        client.poll(&mut world);
        let target = format!("/io/room?EIO=4&transport=websocket&sid={}", client.sid);
        let mut socket = world.dial(0, &target);
        world.settle();
        socket.send_text("2probe");
        world.settle();
        assert_eq!(socket.texts(), ["3probe"]);
        assert_eq!(client.answer(&world).unwrap(), ["6"], "the poll is let go");
        // Until it has moved, everything goes on by polling.
        assert_eq!(client.post(&mut world, "4say a"), (200, "ok".into()));
        assert_eq!(client.hear(&mut world), ["0 a"]);
        assert_eq!(client.post(&mut world, "4say b"), (200, "ok".into()));
        assert!(socket.texts().is_empty());
        // What it says behind that comes in the same bytes.
        let moved = [masked(0x81, b"5"), masked(0x81, b"4say c"), masked(0x81, b"4reply d")];
        world.network.deliver(socket.connection, &moved.concat());
        world.settle();
        assert_eq!(socket.texts(), ["1 b", "2 c", "3: d"]);
        assert_eq!(world.count(|counters| counters.polling.get()), 0);
        client.poll(&mut world);
        assert_eq!(response(&world, client.polls), Some(error(3, "Bad request")));
        socket.send(0x88, &[]);
        world.settle();
        assert!(is_empty(&world));
    }
}

#[test]
fn a_probe_that_fails_changes_nothing() {
    let mut world = World::new(Setup::new(TALK));
    let client = Poller::open(&mut world, 0, "/io/room/listening");
    let target = format!("/io/room?EIO=4&transport=websocket&sid={}", client.sid);
    for wrong in ["4say x", "2", "5probe", ""] {
        let mut socket = world.dial(0, &target);
        world.settle();
        // One at a time.
        let mut second = world.dial(0, &target);
        world.settle();
        assert!(second.read().iter().any(|frame| frame.is_close()));
        socket.send_text(wrong);
        world.settle();
        assert!(socket.read().iter().any(|frame| frame.is_close()), "{wrong:?}");
    }
    let lost = world.dial(0, &target);
    world.settle();
    world.network.fail(lost.connection);
    world.settle();
    let slow = world.dial(0, &target);
    world.settle();
    for _ in 0..40 {
        world.pass(ms(300));
        client.hear(&mut world);
        client.post(&mut world, "3");
    }
    assert!(world.network.is_finished(slow.connection), "it took too long");
    assert_eq!(client.post(&mut world, "4reply still"), (200, "ok".into()));
    assert_eq!(client.hear(&mut world), ["0: still"]);
    let direct = world.dial(0, &target);
    world.settle();
    direct.send_text("5");
    world.settle();
    assert_eq!(world.count(|counters| counters.polling.get()), 0, "a probe may be left out");
}

#[test]
fn a_probe_that_is_not_read_is_not_read_from() {
    let mut world = World::new(Setup::new(TALK));
    let client = Poller::open(&mut world, 0, "/io/room");
    let target = format!("{}?EIO=4&transport=websocket&sid={}", client.path, client.sid);
    let mut probe = world.dial(0, &target);
    world.settle();
    assert!(probe.texts().is_empty() && probe.is_upgraded());
    world.network.set_capacity(probe.connection, 0);
    let pings = masked(0x89, &[b'p'; 100]).repeat(2_000);
    world.network.deliver(probe.connection, &pings);
    world.settle();
    assert!(!world.network.is_read(probe.connection), "or answers would pile up");
    // Who reads again is read from.
    world.network.set_capacity(probe.connection, usize::MAX);
    probe.send_text("2probe");
    world.settle();
    assert_eq!(probe.texts(), ["3probe"]);
    assert!(world.network.is_read(probe.connection));
}

#[test]
fn a_client_is_pinged_and_must_answer() {
    let mut world = World::new(Setup::new(TALK));
    let client = Poller::open(&mut world, 0, "/io/room/listening");
    for _ in 0..3 {
        client.poll(&mut world);
        world.pass(ms(299));
        assert_eq!(client.answer(&world), None);
        world.pass(ms(2));
        assert_eq!(client.answer(&world).unwrap(), ["2"]);
        assert_eq!(client.post(&mut world, "3"), (200, "ok".into()));
    }
    // Whatever else it says, it is pinged; and what it says gives it more time, once.
    world.pass(ms(310));
    assert_eq!(client.hear(&mut world), ["2"]);
    world.pass(ms(150));
    assert_eq!(client.post(&mut world, "4reply x"), (200, "ok".into()));
    world.pass(ms(190));
    client.poll(&mut world);
    assert_eq!(client.answer(&world).unwrap(), ["0: x"]);
    client.poll(&mut world);
    world.pass(ms(20));
    assert_eq!(client.answer(&world).unwrap(), ["1"]);
    assert!(!client.is_known(&mut world));
    assert!(is_empty(&world));
}

#[test]
fn a_silent_client_ends_when_it_was_told_it_would() {
    let mut world = World::new(Setup::new(TALK));
    let client = Poller::open(&mut world, 0, "/io/room/listening");
    world.pass(ms(500));
    assert!(!client.is_known(&mut world));
    assert!(is_empty(&world));
}

#[test]
fn only_its_own_pings_tell_who_is_silent() {
    let mut world = World::new(Setup::new(TALK));
    let mut client = world.dial(0, "/calm/room/listening?EIO=4&transport=websocket");
    world.settle();
    // Others would have been pinged twice, and cut.
    world.pass(ms(85_000));
    let texts: Option<Vec<_>> = client.read().into_iter().map(Frame::into_text).collect();
    let texts = texts.expect("no pings but Engine.IO's");
    assert_eq!(texts[1..], ["2"]);
    assert!(!world.network.is_finished(client.connection));
    world.pass(ms(10_000));
    assert!(world.network.is_finished(client.connection));
    assert!(is_empty(&world));
}

#[test]
fn one_poll_and_one_payload_at_a_time() {
    for second in ["GET", "POST"] {
        let mut world = World::new(Setup::new(TALK));
        let client = Poller::open(&mut world, 0, "/io/room");
        client.poll(&mut world);
        let other = world.network.connect();
        if second == "POST" {
            request(&world, client.posts, "POST", &client.target(), "Content-Length: 5\r\n");
            world.settle();
            request(&world, other, "POST", &client.target(), "Content-Length: 5\r\n");
        } else {
            request(&world, other, "GET", &client.target(), "");
        }
        world.settle();
        assert_eq!(response(&world, other), Some(error(3, "Bad request")));
        assert_eq!(client.answer(&world).unwrap(), ["1"]);
        if second == "POST" {
            assert_eq!(response(&world, client.posts), Some(error(1, "Session ID unknown")));
        }
        assert!(is_empty(&world));
    }
}

#[test]
fn a_poll_that_is_given_up_ends_the_session() {
    for fails in [true, false] {
        let mut world = World::new(Setup::new(TALK));
        let client = Poller::open(&mut world, 0, "/io/room");
        client.poll(&mut world);
        if fails {
            world.network.fail(client.polls);
        } else {
            world.network.finish(client.polls);
        }
        world.settle();
        assert!(is_empty(&world));
    }
}

#[test]
fn payloads_that_make_no_sense_end_the_session() {
    for payload in ["", "4a\u{1e}", "x", "2", "b###", "4ok\u{1e}\u{1e}4ok", "9"] {
        let mut world = World::new(Setup::new(TALK));
        let client = Poller::open(&mut world, 0, "/io/room");
        client.poll(&mut world);
        assert_eq!(client.post(&mut world, payload), error(3, "Bad request"), "{payload:?}");
        let heard = client.answer(&world).unwrap();
        assert_eq!(heard.last().unwrap(), "1");
        assert!(is_empty(&world), "{payload:?}");
    }
    let mut world = World::new(Setup::new(TALK));
    let client = Poller::open(&mut world, 0, "/io/room");
    request(&world, client.posts, "POST", &client.target(), "Content-Length: 2\r\n");
    world.network.deliver(client.posts, &[b'4', 0xFF]);
    world.settle();
    assert_eq!(response(&world, client.posts), Some(error(3, "Bad request")));
    assert!(is_empty(&world));
}

#[test]
fn a_client_may_say_goodbye() {
    let mut world = World::new(Setup::new(TALK));
    let client = Poller::open(&mut world, 0, "/io/room");
    client.poll(&mut world);
    assert_eq!(client.post(&mut world, "1"), (200, "ok".into()));
    assert_eq!(client.answer(&world).unwrap(), ["6"]);
    assert!(is_empty(&world));
    assert!(!client.is_known(&mut world));
    let mut socket = world.join("/io/room?EIO=4&transport=websocket");
    socket.send_text("1");
    world.settle();
    let frames = socket.read();
    assert_eq!((frames[0].first, frames[0].payload.len()), (0x88, 0), "without a code");
    assert!(is_empty(&world));
}

/// A poll and a goodbye that are sent at once may come in either order, on two shards above all.
#[test]
fn the_poll_that_a_goodbye_has_overtaken_is_answered_like_one_that_waits() {
    let mut world = World::new(Setup { shards: 2, ..Setup::new(TALK) });
    for side in [0, 1] {
        let client = Poller::open(&mut world, side, "/io/room");
        assert_eq!(
            client.post(&mut world, "4reply unheard\u{1e}1\u{1e}4say b"),
            (200, "ok".into())
        );
        assert_eq!(world.count(|counters| counters.members.get()), 0, "it has left at once");
        assert_eq!(client.post(&mut world, "4say c"), (200, "ok".into()), "and is heard no more");
        assert_eq!(client.hear(&mut world), ["6"]);
        assert!(is_empty(&world));
        assert!(!client.is_known(&mut world));
    }
    // It need not ask.
    let silent = Poller::open(&mut world, 0, "/io/room");
    silent.post(&mut world, "1");
    world.pass(ms(2_000));
    assert!(is_empty(&world));
    assert!(!silent.is_known(&mut world));
}

#[test]
fn one_who_is_closed_is_told_what_was_said_and_that_it_is_over() {
    let mut world = World::new(Setup::new(TALK));
    let polls = Poller::open(&mut world, 0, "/io/room");
    polls.poll(&mut world);
    assert_eq!(polls.post(&mut world, "4reply last\u{1e}4kick 0"), (200, "ok".into()));
    // Clients that were told both at once would take the end first.
    assert_eq!(polls.answer(&world).unwrap(), ["0: last"]);
    // What it says meanwhile is taken, and is nothing.
    assert_eq!(polls.post(&mut world, "4reply more"), (200, "ok".into()));
    assert_eq!(polls.hear(&mut world), ["1"]);
    assert!(is_empty(&world));
    // The next poll, if none waits.
    let later = Poller::open(&mut world, 0, "/io/room");
    later.begin_post(&world, "4reply last\u{1e}4kick 0");
    world.settle();
    world.pass(ms(20_000));
    assert_eq!(later.hear(&mut world), ["0: last"]);
    assert_eq!(later.hear(&mut world), ["1"]);
    assert!(!later.is_known(&mut world));
    // It need not ask.
    let never = Poller::open(&mut world, 0, "/io/room");
    never.begin_post(&world, "4kick 0");
    world.settle();
    world.pass(ms(31_000));
    assert!(!never.is_known(&mut world));
    assert!(is_empty(&world));
}

#[test]
fn payloads_that_are_too_large_are_refused_and_no_more() {
    let mut setup = Setup::new(TALK);
    setup.protocols.croquet.message_bytes_max = 100;
    let mut world = World::new(setup);
    let client = Poller::open(&mut world, 0, "/io/room");
    let fits = format!("4reply {}", "x".repeat(93));
    assert_eq!(client.post(&mut world, &fits), (200, "ok".into()));
    client.begin_post(&world, &"x".repeat(101));
    world.settle();
    assert_eq!(response(&world, client.posts).unwrap().0, 413);
    let posts = world.network.connect();
    let client = Poller { posts, ..client };
    let chunks = "Transfer-Encoding: chunked\r\n";
    request(&world, posts, "POST", &client.target(), chunks);
    world.network.deliver(posts, b"65\r\n");
    world.network.deliver(posts, &[b'x'; 101]);
    world.settle();
    assert_eq!(response(&world, posts).unwrap().0, 413);
    let posts = world.network.connect();
    let client = Poller { posts, ..client };
    assert_eq!(client.post(&mut world, "4reply on"), (200, "ok".into()));
    assert_eq!(client.hear(&mut world).len(), 2);
}

#[test]
fn one_who_polls_too_seldom_is_closed_when_too_much_waits() {
    let mut setup = Setup::new(TALK);
    setup.protocols.croquet.lag_bytes_max = 10_000;
    let mut world = World::new(setup);
    let client = Poller::open(&mut world, 0, "/io/room/listening");
    let other = world.join("/room");
    for _ in 0..30 {
        other.send_text(&format!("say {}", "x".repeat(1_000)));
        world.settle();
    }
    assert_eq!(world.count(|counters| counters.slow_closed.get()), 1);
    client.hear(&mut world);
    assert_eq!(client.hear(&mut world), ["1"]);
    assert!(!client.is_known(&mut world));
}

#[test]
fn one_who_posts_too_much_waits_for_the_answer() {
    let mut setup = Setup::new(TALK);
    setup.protocols.croquet.messages_per_second_max = 10;
    let mut world = World::new(setup);
    let client = Poller::open(&mut world, 0, "/io/room");
    let many = vec!["4reply x"; 25].join("\u{1e}");
    client.begin_post(&world, &many);
    world.settle();
    assert_eq!(response(&world, client.posts), None, "it has said too much");
    client.poll(&mut world);
    assert_eq!(client.answer(&world).unwrap().len(), 25);
    for _ in 0..3 {
        world.pass(ms(250));
        client.poll(&mut world);
        client.answer(&world);
    }
    assert_eq!(response(&world, client.posts), Some((200, "ok".into())));
}

#[test]
fn requests_that_make_no_sense_are_refused_by_number() {
    let mut world = World::new(Setup::new(TALK));
    let client = Poller::open(&mut world, 0, "/io/room");
    let sid = &client.sid;
    let foreign = format!("{}A", &sid[..19]);
    for (method, query, refusal) in [
        ("GET", "", error(0, "Transport unknown")),
        ("GET", "EIO=4", error(0, "Transport unknown")),
        ("GET", "EIO=4&transport=tcp", error(0, "Transport unknown")),
        ("GET", "EIO=3&transport=polling", error(5, "Unsupported protocol version")),
        ("POST", "EIO=4&transport=polling", error(2, "Bad handshake method")),
        ("GET", "EIO=4&transport=websocket", error(3, "Bad request")),
        ("GET", "EIO=4&transport=polling&sid=x", error(1, "Session ID unknown")),
        ("GET", &format!("EIO=4&transport=polling&sid={foreign}"), error(1, "Session ID unknown")),
        ("GET", &format!("EIO=3&transport=polling&sid={sid}"), error(3, "Bad request")),
        ("GET", &format!("EIO=4&transport=websocket&sid={sid}"), error(3, "Bad request")),
        ("DELETE", &format!("EIO=4&transport=polling&sid={sid}"), error(2, "Bad handshake method")),
    ] {
        let connection = world.network.connect();
        request(&world, connection, method, &format!("/io/room?{query}"), "");
        world.settle();
        assert_eq!(response(&world, connection), Some(refusal), "{method} {query}");
    }
    assert!(client.is_known(&mut world), "none of it has hurt the session");
    // Upgrades are refused before they are granted.
    for query in ["EIO=3&transport=websocket", "EIO=4&transport=polling", ""] {
        let socket = world.dial(0, &format!("/io/room?{query}"));
        world.settle();
        assert_eq!(response(&world, socket.connection).unwrap().0, 400, "{query}");
    }
}

#[test]
fn pages_of_strangers_are_refused() {
    let mut world = World::new(Setup::new(TALK));
    let target = "/io/room?EIO=4&transport=polling";
    for (origin, expected) in [("http://friend", 200), ("http://foe", 403)] {
        let connection = world.network.connect();
        request(&world, connection, "GET", target, &format!("Origin: {origin}\r\n"));
        world.settle();
        let text = String::from_utf8(world.network.take(connection)).unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {expected} ")), "{text}");
        let allowed = text.contains(&format!("Access-Control-Allow-Origin: {origin}\r\n"));
        assert_eq!(allowed, expected == 200);
    }
    let connection = world.network.connect();
    let asked = "Origin: http://friend\r\nAccess-Control-Request-Headers: x-a\r\n";
    request(&world, connection, "OPTIONS", target, asked);
    world.settle();
    let text = String::from_utf8(world.network.take(connection)).unwrap();
    assert!(text.starts_with("HTTP/1.1 204 "), "{text}");
    assert!(text.contains("Access-Control-Allow-Headers: x-a\r\n"), "{text}");
}

#[test]
fn long_answers_are_compressed_for_those_who_like_it() {
    use std::io::Read as _;
    for (accepts, coding) in [("gzip, deflate", "gzip"), ("deflate", "deflate"), ("br", "")] {
        let mut world = World::new(Setup::new(TALK));
        let client = Poller::open(&mut world, 0, "/io/room");
        let accept = format!("Accept-Encoding: {accepts}\r\n");
        for (bytes, is_long) in [(100, false), (5_000, true)] {
            client.post(&mut world, &format!("4long {bytes}"));
            request(&world, client.polls, "GET", &client.target(), &accept);
            world.settle();
            let bytes_of_answer = world.network.take(client.polls);
            let head_end = bytes_of_answer.windows(4).position(|at| at == b"\r\n\r\n").unwrap();
            let (head, body) = bytes_of_answer.split_at(head_end + 4);
            let head = std::str::from_utf8(head).unwrap();
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
            let is_compressed = is_long && !coding.is_empty();
            let header = format!("Content-Encoding: {coding}\r\n");
            assert_eq!(head.contains("Content-Encoding"), is_compressed, "{head}");
            assert!(!is_compressed || head.contains(&header) && body.len() < 200);
            let mut text = String::new();
            let read = match coding {
                "gzip" if is_compressed => {
                    flate2::read::GzDecoder::new(body).read_to_string(&mut text)
                }
                "deflate" if is_compressed => {
                    flate2::read::ZlibDecoder::new(body).read_to_string(&mut text)
                }
                _ => (&*body).read_to_string(&mut text),
            };
            read.expect("it can be read");
            assert_eq!(text, format!("0: {}", "l".repeat(bytes)));
        }
    }
}

#[test]
fn a_process_that_stops_tells_those_who_poll() {
    let mut world = World::new(Setup::new(TALK));
    let waits = Poller::open(&mut world, 0, "/io/room");
    waits.poll(&mut world);
    let _ = Poller::open(&mut world, 0, "/io/room");
    // It was closed before, and has not asked yet.
    let closed = Poller::open(&mut world, 0, "/io/room");
    closed.begin_post(&world, "4kick 0");
    world.settle();
    world.drain();
    world.settle();
    assert_eq!(waits.answer(&world).unwrap(), ["1"]);
    world.pass(ms(2_100));
    assert!(world.shards.iter().all(|shard| shard.is_done()));
}

mod random {
    //! Clients that poll, move to WebSockets and go at any time, from a printed seed: each hears all
    //! that is said from where it listens on, in order, and everything is given back in the end.

    use super::super::simulation::Random;
    use super::*;
    use crate::shard::tests::world::Peer;

    const SEEDS: u64 = 300;
    const STEPS: usize = 200;

    struct Client {
        poller: Poller,
        /// A poll, a payload is open.
        polling: bool,
        posting: bool,
        socket: Option<Peer>,
        probed: bool,
        moved: bool,
        over: bool,
        /// The number that the next broadcast must have, once it listens.
        next: Option<u64>,
        heard: u64,
    }

    impl Client {
        fn new(world: &mut World, side: usize) -> Self {
            let poller = Poller::open(world, side, "/io/room");
            let (polling, posting, probed, moved, over) = (false, false, false, false, false);
            let (socket, next, heard) = (None, None, 0);
            Self { poller, polling, posting, socket, probed, moved, over, next, heard }
        }

        fn act(&mut self, random: &mut Random, world: &mut World, shards: u64) {
            match random.below(40) {
                0 => world.network.fail(self.poller.polls),
                1 => world.network.finish(self.poller.posts),
                2 if self.socket.is_some() => {
                    let socket = self.socket.as_ref().expect("it is there");
                    world.network.fail(socket.connection);
                    self.socket = None;
                    self.over |= self.moved;
                    self.probed = false;
                }
                3..8 if self.socket.is_none() && !self.moved => {
                    let side = random.below(shards) as usize;
                    let sid = &self.poller.sid;
                    let target = format!("/io/room?EIO=4&transport=websocket&sid={sid}");
                    let socket = world.dial(side, &target);
                    socket.send_text("2probe");
                    self.socket = Some(socket);
                }
                8..20 if !self.polling && !self.moved => {
                    request(world, self.poller.polls, "GET", &self.poller.target(), "");
                    self.polling = true;
                }
                20..36 => {
                    let size = random.below(3_000);
                    let command = match random.below(9) {
                        0 => "4listen".to_owned(),
                        1..4 => "4say x".to_owned(),
                        4 => "4others x".to_owned(),
                        5 => format!("4big {size}"),
                        6 => format!("4share {size}"),
                        7 if random.one_in(30) => "4kick 0".to_owned(),
                        _ => format!("4long {size}\u{1e}3"),
                    };
                    self.say(world, &command);
                }
                36 if random.one_in(10) => self.say(world, "nonsense"),
                37 if random.one_in(10) => self.say(world, "1"),
                _ => {}
            }
            // Engines wait for their poll before they move.
            if self.probed && !self.moved && !self.polling && random.one_in(2) {
                let socket = self.socket.as_ref().expect("it was probed");
                socket.send_text("5");
                self.moved = true;
            }
        }

        fn say(&mut self, world: &World, payload: &str) {
            if let Some(socket) = self.socket.as_ref().filter(|_| self.moved) {
                payload.split('\u{1e}').for_each(|packet| socket.send_text(packet));
            } else if !self.posting && !self.moved {
                self.poller.begin_post(world, payload);
                self.posting = true;
            }
        }

        fn read(&mut self, world: &World) {
            if let Some((status, body)) = response(world, self.poller.polls) {
                self.polling = false;
                self.over |= status != 200;
                if status == 200 {
                    payload::packets(&body).for_each(|packet| self.check(packet));
                }
            }
            if let Some((status, _)) = response(world, self.poller.posts) {
                self.posting = false;
                self.over |= status != 200;
            }
            let frames = self.socket.as_mut().map_or_else(Vec::new, Peer::read);
            for frame in frames {
                if frame.is_close() {
                    self.over |= self.moved;
                    (self.socket, self.probed) = (None, false);
                } else if let Some(text) = frame.into_text() {
                    self.check(&text);
                }
            }
            let cut = |connection| world.network.is_closed(connection);
            self.over |= cut(self.poller.polls) || cut(self.poller.posts);
        }

        fn check(&mut self, text: &str) {
            match text {
                "1" => self.over = true,
                "2" | "6" => {}
                "3probe" => self.probed = true,
                _ => {
                    let (number, rest) = text.split_once(' ').expect("every text has a number");
                    let reply = number.strip_suffix(':');
                    let number: u64 = reply.unwrap_or(number).parse().expect("a number");
                    match (&mut self.next, reply) {
                        (Some(next), Some(_)) => assert_eq!(number, *next, "out of place"),
                        (Some(next), None) => {
                            assert_eq!(number, *next, "missing, or there twice");
                            *next += 1;
                            self.heard += 1;
                        }
                        (None, Some(_)) if rest == "listening" => self.next = Some(number),
                        _ => {}
                    }
                }
            }
        }
    }

    #[test]
    fn clients_come_move_and_go_and_miss_nothing() {
        let mut heard = 0;
        let mut moved = 0;
        for seed in 0..SEEDS {
            println!("seed {seed}");
            let mut random = Random(seed);
            let mut setup = Setup::new(TALK);
            setup.shards = 1 + random.below(3) as usize;
            setup.chunk = [7, 100, 4096][random.below(3) as usize];
            let shards = setup.shards as u64;
            let mut world = World::new(setup);
            let mut clients: Vec<Client> = Vec::new();
            for _ in 0..STEPS {
                if clients.len() < 6 && random.one_in(5) {
                    let side = random.below(shards) as usize;
                    clients.push(Client::new(&mut world, side));
                }
                for client in &mut clients {
                    if random.one_in(2) {
                        client.act(&mut random, &mut world, shards);
                    }
                    client.read(&world);
                }
                world.turn();
                world.check();
                if random.one_in(10) {
                    world.pass(ms(random.below(200)));
                }
                moved += clients.iter().filter(|client| client.over && client.moved).count();
                heard += clients.iter().filter(|c| c.over).map(|c| c.heard).sum::<u64>();
                clients.retain(|client| !client.over);
            }
            // Nobody answers pings any more.
            world.pass(ms(12_000));
            world.pass(ms(31_000));
            assert!(is_empty(&world), "seed {seed}");
        }
        assert!(heard > 1_000 && moved > 50, "{heard} heard, {moved} moved");
    }
}
