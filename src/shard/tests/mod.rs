//! Whole turns of whole shards over a network of vectors.

mod blobs;
mod chunking;
mod crash;
mod engine;
mod fallen;
mod holding;
mod ledger;
mod report;
mod simulation;
mod talk;
mod transfers;
mod whole;
mod world;

use std::time::Duration;

use super::placement;
use super::routes::Profile;
use crate::net::memory::Network;
use talk::{DENIED, KICKED, LATE, RESTART, SILENT, SLOW};
use world::{EPOCH_MS, Frame, Peer, Setup, World};

const TALK: Profile = Profile::Only(&talk::PROTOCOL, &talk::PROTOCOL.drop_ins[0]);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn world() -> World {
    World::new(Setup::new(TALK))
}

/// A world whose members may lag by this much.
fn world_with_lag(lag_bytes_max: usize) -> World {
    let mut setup = Setup::new(TALK);
    setup.protocols.croquet.lag_bytes_max = lag_bytes_max;
    World::new(setup)
}

fn close(close: crate::session::Close) -> Frame {
    Frame::close(close.code, close.reason)
}

/// Whether the history of the only session holds nothing.
fn is_at_rest(world: &World) -> bool {
    world.shards[0].sessions.iter().all(|(_, session)| session.history.is_empty())
}

#[test]
fn messages_of_one_turn_leave_in_one_send() {
    let mut world = world();
    let mut members: Vec<Peer> = (0..3).map(|_| world.join("/room/listening")).collect();
    let before: Vec<u64> =
        members.iter().map(|member| world.network.sends(member.connection)).collect();
    let sends = world.count(|counters| counters.sends.get());
    (0..10).for_each(|number| members[0].send_text(&format!("say {number}")));
    world.settle();
    for (member, before) in members.iter_mut().zip(before) {
        assert_eq!(world.network.sends(member.connection), before + 1);
        assert_eq!(member.texts(), (0..10).map(|n| format!("{n} {n}")).collect::<Vec<_>>());
    }
    assert_eq!(world.count(|counters| counters.sends.get()), sends + 3);
    assert!(is_at_rest(&world));
}

#[test]
fn what_may_wait_leaves_together_and_before_anything_else() {
    let mut world = world();
    let mut members: Vec<Peer> =
        (0..3).map(|number| world.join(&format!("/room/listening/as-{number}"))).collect();
    let text = |members: &mut [Peer], number: usize| members[number].texts();
    members[0].send_text("#1 hold 5");
    world.pass(ms(200));
    members.iter_mut().for_each(|member| drop(member.read()));
    let sends = world.network.sends(members[2].connection);
    members[0].send_text("#2 pose 0");
    world.pass(ms(3));
    members[1].send_text("#1 pose 0");
    world.pass(ms(1));
    assert!(members.iter_mut().all(|member| member.texts().is_empty()), "they wait");
    world.pass(ms(2));
    assert_eq!(text(&mut members, 2), ["0~ 0 1 ", "0~ 1 2 "]);
    assert_eq!(text(&mut members, 1), ["0~ 0 1 "]);
    assert_eq!(text(&mut members, 0), ["0~ 1 2 "]);
    assert_eq!(world.network.sends(members[2].connection), sends + 1);
    assert!(is_at_rest(&world));
    // Nothing overtakes what waits, and nothing else waits.
    members[0].send_text("#3 pose 0");
    members[1].send_text("#2 say now");
    members[1].send_text("#3 pose 0");
    world.settle();
    assert_eq!(text(&mut members, 2), ["0~ 0 3 ", "0 now"]);
    members[2].send_text("#1 reply so");
    world.settle();
    assert_eq!(text(&mut members, 2), ["1~ 1 4 ", "1: so"]);
    assert_eq!(text(&mut members, 0), ["0 now", "1~ 1 4 "]);
    // Not more waits than there is room for.
    (4..8).for_each(|number| members[0].send_text(&format!("#{number} pose 20000")));
    world.settle();
    assert_eq!(text(&mut members, 2).len(), 4);
    world.pass(ms(10));
    assert!(is_at_rest(&world));
}

#[test]
fn replies_and_broadcasts_arrive_in_the_order_of_events() {
    let mut world = world();
    let mut one = world.join("/room");
    let mut other = world.join("/room/listening");
    for text in ["say a", "reply b", "listen", "say c", "share 50", "others d", "reply e"] {
        one.send_text(text);
    }
    world.settle();
    let shared = format!("2: {}", "s".repeat(50));
    assert_eq!(one.texts(), ["1: b", "1: listening", "1 c", &shared, "2 d", "3: e"]);
    assert_eq!(other.texts(), ["0 a", "1 c", "2 d"]);
}

/// Nothing is sent to the excluded, and still its place in the history moves on.
#[test]
fn a_message_for_all_others_holds_nothing_up() {
    let mut world = world();
    let mut sender = world.join("/room/listening");
    sender.send_text("quietly nobody is there");
    world.settle();
    assert!(is_at_rest(&world), "the history waits for somebody who is never sent it");
    let mut other = world.join("/room/listening");
    sender.send_text("quietly hello");
    world.settle();
    assert!(is_at_rest(&world));
    assert_eq!(other.texts(), ["hello"]);
    assert_eq!(sender.texts(), [""; 0]);
    assert!(world.shards[0].connections.get(0).is_some_and(|sender| sender.outbox.is_none()));
}

#[test]
fn who_stops_listening_is_sent_what_was_said_before_and_may_listen_again() {
    // The whole of what was said before is sent already; half a message of it; or nothing.
    for capacity in [usize::MAX, 1_500, 0] {
        let mut world = world();
        let mut one = world.join("/room/listening");
        let mut other = world.join("/room/listening");
        world.network.set_capacity(one.connection, capacity);
        for text in ["big 1000", "reply a", "big 1000", "unlisten b", "reply c", "unlisten d"] {
            one.send_text(text);
            world.settle();
        }
        assert!(is_at_rest(&world), "{capacity}: what is said now is kept for nobody");
        for text in ["say e", "listen", "say f", "others g", "listen", "say h"] {
            one.send_text(text);
            world.settle();
        }
        world.network.set_capacity(one.connection, usize::MAX);
        world.settle();
        let heard: Vec<String> =
            one.texts().iter().map(|text| text[..text.len().min(16)].into()).collect();
        let big = ["0 bbbbbbbbbbbbbb", "1 bbbbbbbbbbbbbb"];
        assert_eq!(
            heard,
            [
                big[0],
                "1: a",
                big[1],
                "3: not listening",
                "3: c",
                "4: not listening",
                "5: listening",
                "5 f",
                "6 g",
                "7: listening",
                "7 h"
            ],
            "{capacity}"
        );
        assert_eq!(other.texts().len(), 8, "{capacity}");
        assert!(is_at_rest(&world) && one.is_aligned(), "{capacity}");
    }
}

/// It stays a member: it may not be kept more for than others who listen.
#[test]
fn who_stops_listening_and_does_not_read_is_cut() {
    let mut world = world_with_lag(100_000);
    let slow = world.join("/room/listening");
    world.network.set_capacity(slow.connection, 10);
    for _ in 0..4 {
        slow.send_text("big 30000");
        slow.send_text("unlisten");
        slow.send_text("listen");
        world.settle();
    }
    assert_eq!(world.count(|counters| counters.slow_closed.get()), 1);
    assert!(is_at_rest(&world));
}

#[test]
fn who_does_not_keep_up_is_cut_at_a_frame_and_nobody_else_notices() {
    for begun in ["big 3000", "share 3000", "long 3000"] {
        let mut world = world_with_lag(100_000);
        let mut slow = world.join("/room/listening");
        let mut keen = world.join("/room/listening");
        // A third of the first message, and not a byte more.
        world.network.set_capacity(slow.connection, 1_002);
        slow.send_text(begun);
        world.settle();
        (0..4).for_each(|_| keen.send_text("big 50000"));
        world.settle();
        assert_eq!(world.count(|counters| counters.slow_closed.get()), 1, "{begun}");
        world.network.set_capacity(slow.connection, usize::MAX);
        world.settle();
        let frames = slow.read();
        assert!(frames[0].payload.len() > 3_000, "{begun}: the frame that had begun is finished");
        assert_eq!(frames[1..], [close(SLOW)], "{begun}");
        assert!(slow.is_aligned(), "{begun}");
        let numbers = keen.texts().len();
        assert_eq!(numbers, if begun.starts_with("big") { 6 } else { 5 }, "{begun}");
        assert!(is_at_rest(&world), "{begun}");
    }
}

#[test]
fn who_does_not_read_what_others_tell_it_alone_is_cut() {
    let mut world = world_with_lag(100_000);
    let slow = world.join("/room");
    let keen = world.join("/room");
    world.network.set_capacity(slow.connection, 0);
    (0..90).for_each(|_| keen.send_text("whisper 0 1000"));
    world.settle();
    assert_eq!(world.count(|counters| counters.slow_closed.get()), 0);
    (0..20).for_each(|_| keen.send_text("whisper 0 1000"));
    world.settle();
    assert_eq!(world.count(|counters| counters.slow_closed.get()), 1);
    assert_eq!(world.count(|counters| counters.members.get()), 1);
}

#[test]
fn who_does_not_listen_and_does_not_read_what_is_relayed_is_cut() {
    let mut world = world_with_lag(100_000);
    let slow = world.join("/room");
    let mut keen = world.join("/room");
    world.network.set_capacity(slow.connection, 0);
    // What is shared with it alone does not count.
    slow.send_text("share 200000");
    (0..90).for_each(|_| keen.send_text("relay 1000"));
    world.settle();
    assert_eq!(world.count(|counters| counters.slow_closed.get()), 0);
    (0..20).for_each(|_| keen.send_text("relay 1000"));
    world.settle();
    assert_eq!(world.count(|counters| counters.slow_closed.get()), 1);
    assert_eq!(keen.texts().len(), 110);
    assert!(is_at_rest(&world));
}

#[test]
fn who_was_slow_for_a_while_misses_nothing() {
    let mut world = world_with_lag(100_000);
    let mut slow = world.join("/room/listening");
    let mut keen = world.join("/room/listening");
    world.network.set_capacity(slow.connection, 700);
    for number in 0..50 {
        keen.send_text(&format!("say {number} {}", "x".repeat(900)));
        world.settle();
        assert_eq!(keen.texts().len(), 1);
    }
    let mut texts = Vec::new();
    for _ in 0..200 {
        texts.extend(slow.read_some(300).into_iter().filter_map(Frame::into_text));
        world.settle();
    }
    assert_eq!(texts.len(), 50);
    for (number, text) in texts.iter().enumerate() {
        assert!(text.starts_with(&format!("{number} {number} x")), "{text}");
    }
    assert!(is_at_rest(&world));
    assert_eq!(world.count(|counters| counters.slow_closed.get()), 0);
}

/// The poses of others, many times what it may be behind with; of what lasts it misses nothing.
#[test]
fn who_does_not_read_is_kept_no_poses_but_the_newest() {
    let mut world = world_with_lag(100_000);
    let mut slow = world.join("/room/listening/as-0");
    let mut others: Vec<Peer> =
        (1..21).map(|number| world.join(&format!("/room/listening/as-{number}"))).collect();
    world.network.set_capacity(slow.connection, 1_500);
    let mut said = 0;
    for round in 1..=400 {
        for other in &mut others {
            other.send_text(&format!("#{} pose 250", round + said));
        }
        if round % 100 == 50 {
            said += 1;
            others.iter().for_each(|other| other.send_text(&format!("#{} say so", round + said)));
        }
        world.settle();
        world.check();
        others.iter_mut().for_each(|other| drop(other.read()));
        let session = world.shards[0].sessions.iter().next().expect("there is one").1;
        assert!(session.history.len() < 80_000, "it holds {} bytes", session.history.len());
    }
    assert_eq!(world.count(|counters| counters.slow_closed.get()), 0);
    assert!(world.count(|counters| counters.superseded.get()) > 7_000);
    world.network.set_capacity(slow.connection, usize::MAX);
    world.settle();
    let texts = slow.texts();
    let (poses, broadcasts): (Vec<_>, Vec<_>) = texts.iter().partition(|text| text.contains('~'));
    assert_eq!(
        broadcasts,
        (0..80).map(|n| format!("{n} so")).collect::<Vec<_>>().iter().collect::<Vec<_>>()
    );
    // What was in the socket already, one that had begun, and the newest.
    assert!((20..30).contains(&poses.len()), "{} poses", poses.len());
    let newest = &poses[poses.len() - 20..];
    for (number, pose) in newest.iter().enumerate() {
        assert!(pose.starts_with(&format!("80~ {} {} ", number + 1, 7_981 + number)), "{pose}");
    }
    assert!(is_at_rest(&world));
}

/// Poses alone do not make it a slow consumer; the first thing that lasts does, in time.
#[test]
fn a_socket_that_takes_nothing_is_cut_only_if_something_lasting_waits() {
    let mut world = world();
    let mut slow = world.join("/room/listening");
    let other = world.join("/room/listening");
    slow.send_text("admit");
    other.send_text("admit");
    world.pass(ms(500));
    slow.read();
    world.network.set_capacity(slow.connection, 0);
    // Until shortly before it is pinged.
    for _ in 0..19 {
        other.send_text("pose 100");
        world.pass(ms(1_000));
    }
    other.send_text("say something");
    world.pass(ms(8_900));
    assert_eq!(world.count(|counters| counters.slow_closed.get()), 0);
    world.pass(ms(1_200));
    assert_eq!(world.count(|counters| counters.slow_closed.get()), 1);
    assert_eq!(world.count(|counters| counters.silent_closed.get()), 0);
}

#[test]
fn a_socket_that_takes_nothing_for_long_is_cut() {
    let mut world = world();
    let mut slow = world.join("/room/listening");
    let keen = world.join("/room/listening");
    world.network.set_capacity(slow.connection, 100);
    keen.send_text("big 1000");
    world.pass(ms(9_900));
    assert_eq!(world.count(|counters| counters.slow_closed.get()), 0);
    world.pass(ms(200));
    assert_eq!(world.count(|counters| counters.slow_closed.get()), 1);
    world.pass(ms(2_000));
    assert!(slow.is_closed(), "its time to take the close frame is over");
    assert!(!keen.is_closed());
    assert_eq!(slow.read(), []);
}

#[test]
fn who_does_not_read_its_replies_is_not_read_from() {
    let mut world = world();
    let mut member = world.join("/room");
    world.network.set_capacity(member.connection, 1_000);
    for _ in 0..40 {
        member.send_text("long 10000");
        world.settle();
    }
    assert!(!world.network.is_read(member.connection), "its backlog grows without bound");
    let queued = world.shards[0].connections.get(0).and_then(|c| c.outbox.as_ref());
    assert!(queued.is_some_and(|outbox| outbox.queued_bytes() < 300_000));
    world.network.set_capacity(member.connection, usize::MAX);
    world.settle();
    assert!(world.network.is_read(member.connection));
    world.settle();
    assert_eq!(member.texts().len(), 40);
}

#[test]
fn a_panic_ends_its_session_and_no_other() {
    let mut world = world();
    let mut doomed: Vec<Peer> = (0..3).map(|_| world.join("/doomed/listening")).collect();
    let mut safe = world.join("/safe/listening");
    doomed[1].send_text("say last words");
    doomed[1].send_text("panic");
    doomed[1].send_text("say never");
    safe.send_text("say still here");
    world.settle();
    for member in &mut doomed {
        let frames = member.read();
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[1], close(RESTART));
    }
    assert_eq!(safe.texts(), ["0 still here"]);
    assert_eq!(world.count(|counters| counters.panics.get()), 1);
    assert_eq!(world.count(|counters| counters.sessions.get()), 1);
    let mut again = world.join("/doomed/listening");
    again.send_text("say new");
    world.settle();
    assert_eq!(again.texts(), ["0 new"], "the name is free for a new session");
}

#[test]
fn panics_on_entering_and_on_leaving_are_contained() {
    let mut world = world();
    let mut safe = world.join("/safe/listening");
    let mut entering = world.join("/a/panic");
    assert_eq!(entering.read(), []);
    let leaving = world.join("/b");
    let mut other = world.join("/b/listening");
    leaving.send_text("panic-on-leave");
    world.settle();
    world.network.fail(leaving.connection);
    safe.send_text("say fine");
    world.settle();
    assert_eq!(world.count(|counters| counters.panics.get()), 2);
    assert_eq!(other.read(), [close(RESTART)]);
    assert_eq!(safe.texts(), ["0 fine"]);
}

#[test]
fn refusals_are_told_by_a_close_frame() {
    let mut world = world();
    let mut denied = world.dial(0, "/room/denied");
    let mut keyless = world.dial(0, "/");
    let mut wrong = world.join("/room");
    wrong.send_text("nonsense");
    world.settle();
    assert_eq!(keyless.read(), [close(DENIED)]);
    assert_eq!(denied.read(), [close(DENIED)]);
    assert_eq!(wrong.read(), [close(DENIED)]);
    assert!(world.network.is_finished(wrong.connection));
    assert_eq!(world.count(|counters| counters.violations.get()), 1);
}

/// A send fails in the middle of a batch, and the machine ends members whose sends are in it.
#[test]
fn members_that_end_while_a_batch_is_accounted_for_stay_aligned() {
    for trap in ["panic-on-leave", "kick-on-leave"] {
        let mut world = world_with_lag(1 << 20);
        let first = world.join("/room/listening");
        let mut others: Vec<Peer> = (0..3).map(|_| world.join("/room/listening")).collect();
        first.send_text(trap);
        world.settle();
        world.network.set_capacity(others[2].connection, 70_100);
        // More than is copied for those who leave.
        (0..3).for_each(|_| others[0].send_text("big 50000"));
        world.network.fail_unnoticed(first.connection);
        world.settle();
        world.network.set_capacity(others[2].connection, usize::MAX);
        world.settle();
        let ends = if trap.starts_with("panic") { close(RESTART) } else { close(KICKED) };
        for other in &mut others {
            let frames = other.read();
            assert_eq!(frames.last(), Some(&ends), "{trap}");
            assert!(other.is_aligned(), "{trap}");
        }
    }
}

#[test]
fn an_index_that_is_used_again_at_once_mixes_nothing_up() {
    let mut world = world();
    let mut stays = world.join("/room/listening");
    for round in 0..20 {
        let mut leaves = world.join("/room/listening");
        // In one turn: output for the old occupant, its end, a new occupant, output for that.
        stays.send_text(&format!("big {}", 10 + round));
        world.network.fail(leaves.connection);
        let mut comes = world.dial(0, "/other/listening");
        comes.send_text("say mine");
        world.turn();
        world.settle();
        assert_eq!(comes.texts(), ["0 mine"]);
        assert_eq!(leaves.texts().len(), 0);
        let texts = stays.texts();
        assert!(texts[0].ends_with('b') && texts[1].ends_with("left 1006"), "{texts:?}");
        world.network.fail(comes.connection);
        world.settle();
    }
    assert_eq!(world.count(|counters| counters.connections.get()), 1);
    assert_eq!(world.count(|counters| counters.sessions.get()), 1);
}

#[test]
fn who_sends_too_fast_is_slowed_down_to_the_limit() {
    const PER_SECOND: u32 = 100;
    let mut setup = Setup::new(TALK);
    setup.protocols.croquet.messages_per_second_max = PER_SECOND;
    let mut world = World::new(setup);
    let fast = world.join("/room");
    let mut moderate = world.join("/room");
    fast.send_text("admit");
    (1..10_000).for_each(|_| fast.send_text("reply"));
    world.pass(ms(1));
    let burst = world.count(|counters| counters.messages_in.get());
    assert!(burst >= u64::from(PER_SECOND) * 2 && burst < 1_000, "{burst} at once");
    assert!(!world.network.is_read(fast.connection));
    let mut answered = 0;
    for _ in 0..100 {
        moderate.send_text("reply");
        world.pass(ms(100));
        answered += moderate.texts().len();
    }
    assert_eq!(answered, 100, "the moderate one waits for nobody");
    let messages = world.count(|counters| counters.messages_in.get()) - 100;
    let fair = u64::from(PER_SECOND) * 12;
    assert!(messages.abs_diff(fair) < 500, "{messages} messages in 10 s, {fair} are allowed");
    world.pass(ms(100_000));
    assert_eq!(world.count(|counters| counters.messages_in.get()), 10_100, "none is lost");
    assert!(world.network.is_read(fast.connection));
}

#[test]
fn silence_is_answered_by_pings_and_then_by_a_close() {
    let mut world = world();
    let mut member = world.join("/room/listening");
    world.pass(ms(99));
    assert_eq!(member.read(), []);
    world.pass(ms(3));
    let ping = member.read();
    assert_eq!((ping.len(), ping[0].first), (1, 0x89));
    let wall: u64 = String::from_utf8_lossy(&ping[0].payload).parse().unwrap();
    assert!((EPOCH_MS + 100..EPOCH_MS + 110).contains(&wall));
    member.send(0x8A, &ping[0].payload);
    world.pass(ms(19_900));
    assert_eq!(member.read(), []);
    world.pass(ms(200));
    assert_eq!(member.read().len(), 1, "pinged after 20 s of silence");
    world.pass(ms(19_700));
    assert_eq!(member.read(), []);
    world.pass(ms(200));
    assert_eq!(member.read(), [close(SILENT)]);
    assert_eq!(world.count(|counters| counters.silent_closed.get()), 1);
    world.pass(ms(2_000));
    assert!(member.is_closed());
}

#[test]
fn who_is_never_admitted_is_closed() {
    let mut world = world();
    let mut idler = world.join("/room");
    let mut member = world.join("/room");
    member.send_text("admit");
    for _ in 0..31 {
        idler.send(0x8A, b"");
        member.send(0x8A, b"");
        world.pass(ms(1_000));
    }
    assert_eq!(idler.read().last(), Some(&close(LATE)));
    assert!(member.read().iter().all(|frame| !frame.is_close()));
}

#[test]
fn machines_are_called_when_they_asked_to_be() {
    let mut world = world();
    let mut member = world.join("/room/listening");
    member.send_text("tick 250");
    world.pass(ms(249));
    assert_eq!(member.texts(), [""; 0]);
    world.pass(ms(2));
    assert_eq!(member.texts(), ["0 tick"]);
}

#[test]
fn a_close_frame_is_answered_and_what_follows_is_discarded() {
    let mut world = world();
    let mut leaver = world.join("/room/listening");
    let mut other = world.join("/room/listening");
    leaver.send_text("say bye");
    leaver.send(0x88, &4321u16.to_be_bytes());
    leaver.send_text("say too late");
    world.settle();
    let frames = leaver.read();
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[1], Frame::close(4321, ""));
    assert!(world.network.is_finished(leaver.connection) && !leaver.is_closed());
    assert_eq!(other.texts(), ["0 bye", "1 left 4321"]);
    leaver.send_text("say much too late");
    world.settle();
    world.network.finish(leaver.connection);
    world.settle();
    assert!(leaver.is_closed());
    assert_eq!(other.texts(), [""; 0]);
    assert_eq!(world.count(|counters| counters.connections.get()), 1);
}

#[test]
fn a_peer_that_talks_on_after_the_close_is_cut() {
    let mut world = world();
    let endless = world.join("/room");
    let patient = world.join("/room");
    endless.send(0x88, b"");
    patient.send(0x88, b"");
    world.settle();
    for _ in 0..=(1 << 20) / 4096 {
        world.network.deliver(endless.connection, &[0; 4096]);
        world.settle();
    }
    assert!(endless.is_closed(), "it has sent a MiB");
    assert!(!patient.is_closed());
    world.pass(ms(2_001));
    assert!(patient.is_closed(), "it has not gone in 2 s");
}

#[test]
fn violations_of_the_framing_are_told() {
    let mut world = world();
    for (bytes, code) in [
        (&b"\x81\x02hi"[..], 1002),                    // not masked
        (b"\xC1\x80\0\0\0\0", 1002),                   // a reserved bit
        (b"\x81\x81\0\0\0\0\xFF", 1007),               // not UTF-8
        (b"\x82\xFF\0\0\0\0\0\x80\0\0\0\0\0\0", 1009), // 8 MiB
    ] {
        let mut member = world.join("/room");
        world.network.deliver(member.connection, bytes);
        world.settle();
        let frames = member.read();
        assert_eq!(frames[0].payload[..2], u16::to_be_bytes(code), "{bytes:?}");
        assert!(world.network.is_finished(member.connection));
    }
    assert_eq!(world.count(|counters| counters.violations.get()), 4);
}

/// The end of the peer's side in the same turn must not cost it the close frame.
#[test]
fn a_peer_that_breaks_the_rules_and_ends_its_side_is_told_why() {
    let mut world = world();
    let mut member = world.join("/room");
    world.network.deliver(member.connection, b"\x81\x02hi");
    world.network.finish(member.connection);
    world.settle();
    assert_eq!(member.read()[0].payload[..2], u16::to_be_bytes(1002));
    assert!(world.network.is_closed(member.connection));
}

#[test]
fn draining_tells_everybody_and_then_the_shard_is_done() {
    let mut world = world();
    let mut member = world.join("/room/listening");
    let idle = world.network.connect();
    world.settle();
    world.drain();
    world.settle();
    let frames = member.read();
    assert_eq!(frames[0].clone().into_text().as_deref(), Some("0 draining"));
    assert_eq!(frames.last(), Some(&close(RESTART)));
    assert!(world.network.is_finished(idle));
    assert!(!world.shards[0].is_done());
    let late = world.network.connect();
    world.network.finish(member.connection);
    world.network.finish(idle);
    world.settle();
    assert!(member.is_closed() && world.network.is_closed(idle));
    assert!(world.shards[0].is_done());
    assert!(world.network.take(late).is_empty());
}

#[test]
fn connections_beyond_the_limit_are_closed_at_once() {
    let mut world = World::new(Setup { connections_max: 2, ..Setup::new(TALK) });
    let connections: Vec<usize> = (0..4).map(|_| world.network.connect()).collect();
    world.settle();
    let closed: Vec<bool> = connections.iter().map(|&c| world.network.is_closed(c)).collect();
    assert_eq!(closed, [false, false, true, true]);
    assert_eq!(world.count(|counters| counters.refused.get()), 2);
}

/// A session name that shard `owner` of two owns.
fn name_owned_by(owner: usize) -> String {
    let owned = |name: &String| placement::owner(&format!("talk/{name}"), 2) == owner;
    (0..).map(|number| format!("room{number}")).find(owned).unwrap()
}

#[test]
fn a_connection_moves_to_the_shard_of_its_session_with_all_it_has_sent() {
    let mut world = World::new(Setup { shards: 2, ..Setup::new(TALK) });
    let path = format!("/{}/listening", name_owned_by(1));
    let mut moves = world.dial(0, &path);
    moves.send_text("say sent with the request");
    let mut stays = world.dial(1, &path);
    world.settle();
    moves.send_text("say sent later");
    stays.send_text("say from the other");
    world.settle();
    let texts = moves.texts();
    assert_eq!(texts.len(), 3);
    assert!(stays.texts().ends_with(&texts[1..]));
    assert_eq!(world.counters[0].handed_off.get(), 1);
    assert_eq!(world.counters[0].connections.get(), 0);
    assert_eq!(world.counters[1].members.get(), 2);
    world.network.fail(moves.connection);
    world.settle();
    assert_eq!(stays.texts(), ["3 left 1006"]);
}

#[test]
fn a_full_inbox_refuses_the_upgrade() {
    let mut world = World::new(Setup { shards: 2, ..Setup::new(TALK) });
    let answer =
        || super::mesh::Item::Answer { question: u64::MAX, status: 200, text: String::new() };
    while world.outlets[1].send(answer()).is_ok() {}
    let refused = world.dial(0, &format!("/{}", name_owned_by(1)));
    let now = world.now;
    for _ in 0..3 {
        world.shards[0].turn(now);
    }
    let response = world.network.take(refused.connection);
    assert!(response.starts_with(b"HTTP/1.1 503"), "{}", String::from_utf8_lossy(&response));
    assert!(world.network.is_finished(refused.connection));
    assert_eq!(world.counters[0].refused.get(), 1);
    world.settle();
}

#[test]
fn an_upgrade_behind_another_request_keeps_its_answer() {
    let mut world = world();
    let member = world.network.connect();
    let requests =
        format!("GET /health HTTP/1.1\r\nHost: h\r\n\r\n{}", world::upgrade("/room/listening"));
    world.network.deliver(member, requests.as_bytes());
    world.settle();
    let answers = String::from_utf8(world.network.take(member)).unwrap();
    assert!(answers.starts_with("HTTP/1.1 200"), "{answers}");
    assert!(answers.contains("HTTP/1.1 101"), "{answers}");
}

/// Answers that one send does not hold, and that wait for each other: each is sent once.
#[test]
fn large_answers_to_many_requests_come_once_and_in_order() {
    let mut world = world();
    let connection = world.network.connect();
    let paths = ["/metrics", "/nothing", "/stats"];
    for path in paths.iter().cycle().take(300) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        world.network.deliver(connection, request.as_bytes());
    }
    world.settle();
    let answers = String::from_utf8(world.network.take(connection)).unwrap();
    let bodies: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).collect();
    assert_eq!(bodies.len(), 300);
    for three in bodies.chunks(3) {
        assert!(three[0].contains("# TYPE lockstep_connections"), "{}", three[0]);
        assert!(three[1].starts_with("404") && three[2].contains("\"shards\""));
    }
}

#[test]
fn many_requests_at_once_are_answered_in_order() {
    let mut world = world();
    let connection = world.network.connect();
    for status in [200, 404].into_iter().cycle().take(60) {
        let path = if status == 200 { "/health" } else { "/nothing" };
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        world.network.deliver(connection, request.as_bytes());
    }
    world.settle();
    let answers = String::from_utf8(world.network.take(connection)).unwrap();
    let statuses: Vec<&str> =
        answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses.len(), 60);
    assert!(statuses.chunks(2).all(|pair| pair == ["200", "404"]), "{statuses:?}");
}

#[test]
fn a_network_hands_a_connection_over_only_to_who_holds_it() {
    let network = Network::new();
    let connection = network.connect_to(3);
    network.deliver(connection, b"x");
    assert!(!network.is_read(connection) && !network.is_finished(connection));
}
