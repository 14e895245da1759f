//! What is said: to whom it goes, and in which shape it may come.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::pair;
use crate::support::gallery::{Visitor, await_stats, error, framed, join, message, on_shards};
use crate::support::server::MemoryWatch;
use crate::support::websocket::{Next, frame};

#[test]
fn what_is_said_reaches_all_others_as_it_was_said() {
    on_shards(&[], |server, [room, other]| {
        let [mut host, mut viewer] = pair(server.address(), room);
        let mut third = Visitor::connect(server.address(), "third");
        third.join(room, "viewer");
        host.hear_joined("third");
        viewer.hear_joined("third");
        let mut outsider = Visitor::connect(server.address(), "outsider");
        outsider.join(other, "host");
        let mut lobby = Visitor::connect(server.address(), "lobby");

        // Byte for byte but for the sender; the room that is named does not matter.
        let odd =
            r#"{"type":"x", "data" : [1.0,1e2,-0,"\u00e9\/",{}],"unknown":null,"senderId":"host"}"#;
        host.client.send_text(&format!(
            r#"{{"roomId":{},"action":"broadcast","message":{odd},"requestId":"9"}}"#,
            json!(other)
        ));
        let expected =
            format!(r#"{{"event":"message","data":{{"message":{odd},"senderId":"host"}}}}"#);
        for listener in [&mut viewer, &mut third] {
            assert_eq!(listener.client.text(), expected);
        }
        // Who claims to be somebody else is not believed.
        viewer.broadcast(&message("host", "chat_message", &json!({"text": "I am the host"})));
        let honest = message("viewer", "chat_message", &json!({"text": "I am the host"}));
        assert_eq!(host.hear_message("viewer"), honest);
        assert_eq!(third.hear_message("viewer"), honest);
        // Every kind that everybody may say, in order; also what nobody knows, and what is no object.
        let kinds = [
            "pose_update",
            "gaze_update",
            "chat_message",
            "request_control",
            "join_session",
            "leave_session",
            "user_joined",
            "user_left",
            "state_request",
            "__proto__",
            "unheard of",
        ];
        for kind in kinds {
            third.broadcast(&message("third", kind, &json!({})));
        }
        for plain in [json!(5), json!("text"), json!([]), json!(null), json!({})] {
            third.broadcast(&plain);
        }
        for listener in [&mut host, &mut viewer] {
            for kind in kinds {
                assert_eq!(listener.hear_message("third")["type"], kind);
            }
            for plain in [json!(5), json!("text"), json!([]), json!(null), json!({})] {
                assert_eq!(listener.hear_message("third"), plain);
            }
        }
        // To one only, who is in the same room.
        let secret = message("viewer", "chat_message", &json!({"text": "psst"}));
        let to = |target: &str| json!({"action": "send_message", "targetUserId": target, "message": secret});
        viewer.say(&to("host"));
        assert_eq!(host.hear_message("viewer"), secret);
        viewer.say(&to("viewer"));
        assert_eq!(viewer.hear_message("viewer"), secret);
        for nobody in ["outsider", "lobby", "nobody", ""] {
            viewer.say(&to(nobody));
        }
        viewer.say(&json!({"action": "send_message", "message": secret}));
        lobby.say(&to("host"));
        lobby.broadcast(&secret);
        for everybody in [&mut viewer, &mut lobby, &mut host, &mut third, &mut outsider] {
            everybody.settle();
        }
    });
}

#[test]
fn frames_that_are_binary_or_in_pieces_say_the_same() {
    on_shards(&[], |server, [room, _]| {
        let [mut host, mut viewer] = pair(server.address(), room);
        let said = message("host", "chat_message", &json!({"text": "ü"}));
        let broadcast = json!({"action": "broadcast", "message": said}).to_string();
        host.client.send(&frame(true, 2, broadcast.as_bytes()));
        assert_eq!(viewer.hear_message("host"), said);
        let (head, tail) = broadcast.as_bytes().split_at(20);
        host.client.send(&[frame(false, 2, head), frame(true, 0, tail)].concat());
        assert_eq!(viewer.hear_message("host"), said);
        host.client.send(&frame(true, 2, b"\xFF\xFE"));
        let unparsable = json!({"message": "Invalid message format", "requestId": null});
        assert_eq!(host.hear(), json!({"event": "error", "data": unparsable}));
        let join = json!({"action": "join_room", "requestId": "b", "roomId": "binary"}).to_string();
        host.client.send(&frame(true, 2, join.as_bytes()));
        assert_eq!(host.hear()["data"]["requestId"], "b");
        viewer.hear_left("host");
    });
}

#[test]
fn what_makes_no_sense_is_answered_and_the_connection_stays() {
    on_shards(&[], |server, [room, _]| {
        let mut lobby = Visitor::connect(server.address(), "lobby");
        let [mut host, mut viewer] = pair(server.address(), room);
        let unparsable =
            r#"{"event":"error","data":{"message":"Invalid message format","requestId":null}}"#;
        let cases = [
            ("", None),
            ("null", None),
            ("{", None),
            ("{\"action\":\"broadcast\"", None),
            (&"[".repeat(10_000), None),
            ("[]", Some("undefined")),
            ("7", Some("undefined")),
            ("{}", Some("undefined")),
            (r#"{"action":null}"#, Some("null")),
            (r#"{"action":1.50}"#, Some("1.5")),
            (r#"{"action":{}}"#, Some("[object Object]")),
            (r#"{"action":[1,["a",null]]}"#, Some("1,a,")),
            (r#"{"action":"join"}"#, Some("join")),
            (r#"{"action":"__proto__"}"#, Some("__proto__")),
            (r#"{"action":"a\"b\u00fc"}"#, Some("a\"bü")),
        ];
        for visitor in [&mut lobby, &mut host] {
            for (text, unknown) in cases {
                visitor.client.send_text(text);
                match unknown {
                    None => assert_eq!(visitor.client.text(), unparsable, "{text:.100}"),
                    Some(name) => {
                        assert_eq!(visitor.hear(), error(&format!("Unknown action: {name}")))
                    }
                }
            }
            let answer = visitor.ask(&json!({"action": "x", "requestId": "7"}));
            let told = json!({"message": "Unknown action: x", "requestId": "7"});
            assert_eq!(answer, json!({"event": "error", "data": told}));
        }
        host.say(&json!({"action": "broadcast", "requestId": "8"}));
        assert_eq!(host.client.text(), unparsable);
        viewer.settle();
    });
}

#[test]
fn messages_have_a_size() {
    on_shards(&[], |server, [room, _]| {
        let [mut host, mut viewer] = pair(server.address(), room);
        let broadcast = |bytes: usize| {
            let rest = json!({"action": "broadcast", "message": ""}).to_string().len();
            json!({"action": "broadcast", "message": "x".repeat(bytes - rest)})
        };
        host.say(&broadcast(1 << 20));
        let heard = viewer.hear_message("host");
        assert!(heard.as_str().is_some_and(|text| text.len() > (1 << 20) - 100));
        host.client.try_send(&framed(&broadcast((1 << 20) + 1)));
        assert_eq!(host.client.closed().0, 1009);
        viewer.hear_left("host");
        await_stats(server, &[(room, 1)], 1);
    });
}

#[test]
fn who_says_much_at_once_is_heard_slower_but_in_full() {
    const MESSAGES: u64 = 700;
    on_shards(&[], |server, [room, other]| {
        let [mut host, mut viewer] = pair(server.address(), room);
        let begun = Instant::now();
        let burst = |messages: u64| {
            let said = |number| json!({"action": "broadcast", "message": number});
            (0..messages).flat_map(|number| framed(&said(number))).collect::<Vec<u8>>()
        };
        host.client.send(&burst(MESSAGES));
        // Others are not slowed down by that.
        viewer.say(&json!({"action": "send_message", "targetUserId": "host", "message": "psst"}));
        let mut heard = 0;
        while heard < MESSAGES {
            assert_eq!(viewer.hear_message("host"), heard);
            heard += 1;
            if heard == 1 {
                assert_eq!(host.hear_message("viewer"), "psst");
            }
        }
        // What arrives together is looked at together; who has said more than 400 then waits, for as
        // long as 200 a second would take.
        (0..2).for_each(|_| host.settle());
        let took = begun.elapsed();
        assert!(took > Duration::from_millis(1_000), "heard again after {took:?}");
        // Going elsewhere is no way around it.
        host.say(&join(other, "host", "host"));
        host.hear();
        let begun = Instant::now();
        host.client.send(&burst(300));
        // The first may have arrived with the rest.
        (0..2).for_each(|_| host.settle());
        let took = begun.elapsed();
        assert!(took > Duration::from_millis(1_000), "heard again after {took:?}");
    });
}

#[test]
fn who_does_not_read_is_cut_and_the_others_hear_everything() {
    on_shards(&["--lag-bytes-max", "1MiB"], |server, [room, _]| {
        let [mut host, mut viewer] = pair(server.address(), room);
        let mut slow = Visitor::connect(server.address(), "slow");
        rustix::net::sockopt::set_socket_recv_buffer_size(slow.client.stream(), 64 << 10)
            .expect("options can be set");
        slow.join(room, "viewer");
        host.hear_joined("slow");
        viewer.hear_joined("slow");
        // It is told to others once it is cut; how much fits into its socket is the kernel's choice.
        let mut number = 0;
        loop {
            let said = json!({"number": number, "text": "x".repeat(256 << 10)});
            host.broadcast(&said);
            let event = viewer.hear();
            if event["event"] == "user_left" {
                assert_eq!(event["data"]["userId"], "slow");
                break;
            }
            assert_eq!(event["data"]["message"]["number"], number);
            number += 1;
            assert!(number < 80, "the slow one is not cut");
        }
        let event = viewer.hear();
        assert!(event["data"]["message"]["number"] == number, "{:.200}", event.to_string());
        host.hear_left("slow");
        // What it reads now is in order up to the cut.
        for expected in 0.. {
            match slow.client.next() {
                Next::Frame(frame) if frame.opcode == 1 => {
                    let event: Value = serde_json::from_str(frame.text()).expect("events are JSON");
                    assert_eq!(event["data"]["message"]["number"], expected);
                }
                Next::Frame(frame) => {
                    assert_eq!(frame.close(), (1013, "Too slow"));
                    break;
                }
                Next::End | Next::Reset => break,
            }
        }
        await_stats(server, &[(room, 2)], 2);
    });
}

/// Poses are many times what it may be behind with.
#[test]
fn who_does_not_read_poses_is_sent_the_newest_when_it_does() {
    const SENDERS: usize = 20;
    const ROUNDS: u64 = 40;
    const SPAN: u64 = 5;
    let arguments = ["--lag-bytes-max", "1MiB", "--gallery-messages-per-second-max", "1000000"];
    on_shards(&arguments, |server, [room, _]| {
        let mut keen = Visitor::connect(server.address(), "keen");
        keen.join(room, "host");
        let mut senders: Vec<Visitor> = (0..SENDERS)
            .map(|number| {
                let mut sender = Visitor::connect(server.address(), &number.to_string());
                sender.join(room, "viewer");
                keen.hear_joined(&sender.id);
                sender
            })
            .collect();
        let mut slow = Visitor::connect(server.address(), "slow");
        rustix::net::sockopt::set_socket_recv_buffer_size(slow.client.stream(), 64 << 10)
            .expect("options can be set");
        slow.join(room, "viewer");
        keen.hear_joined("slow");
        let watch = MemoryWatch::start(server);
        let padding = "x".repeat(2 << 10);
        for round in 0..ROUNDS {
            for sender in &mut senders {
                // Several at once: what one socket sends together is not dropped for who keeps up.
                let poses = (0..SPAN).flat_map(|step| {
                    let data = json!({"number": round * SPAN + step, "padding": padding});
                    let pose = message(&sender.id, "pose_update", &data);
                    framed(&json!({"action": "broadcast", "message": pose}))
                });
                sender.client.send(&poses.collect::<Vec<u8>>());
            }
            keen.broadcast(&message("keen", "chat_message", &json!(round)));
            let mut next = [round * SPAN; SENDERS];
            for _ in 0..SENDERS as u64 * SPAN {
                let event = keen.hear();
                let pose = &event["data"]["message"]["data"]["number"];
                let sender: usize =
                    sender_of(&event).parse().expect("it is not the slow one's end");
                assert_eq!(*pose, next[sender]);
                next[sender] += 1;
            }
        }
        // Neither it nor the senders have read 8 MiB, each.
        watch.assert_grew_less_than(64);
        keen.broadcast(&message("keen", "chat_message", &json!("the end")));
        let (mut newest, mut poses, mut chats) = ([None; SENDERS], 0, 0);
        loop {
            let event = slow.hear();
            let said = &event["data"]["message"];
            if said["type"] == "chat_message" {
                if said["data"] == "the end" {
                    break;
                }
                assert_eq!(said["data"], chats, "a message is missing");
                chats += 1;
                continue;
            }
            let sender: usize = sender_of(&event).parse().expect("nobody has left");
            let number = said["data"]["number"].as_u64();
            assert!(newest[sender] < number, "an older pose follows a newer one");
            newest[sender] = number;
            poses += 1;
        }
        assert_eq!(chats, ROUNDS);
        assert_eq!(newest, [Some(ROUNDS * SPAN - 1); SENDERS]);
        println!("{poses} of {} poses", SENDERS as u64 * ROUNDS * SPAN);
        assert!(server.metric("lockstep_messages_superseded_total") > 0);
        assert_eq!(server.metric("lockstep_slow_consumers_closed_total"), 0);
    });
}

fn sender_of(event: &Value) -> &str {
    event["data"]["senderId"].as_str().expect("messages have a sender")
}
