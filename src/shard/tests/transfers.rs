//! Members that move between sessions, and sessions that tell each other something.

use super::talk::{DENIED, LATE, RESTART};
use super::world::{Frame, Peer, Setup, World, masked};
use super::{TALK, close, ledger, ms, placement, world, world_with_lag};
use crate::shard::mesh::Item;

/// A world of two shards, and a session of each.
fn two_shards() -> (World, [String; 2]) {
    let world = World::new(Setup { shards: 2, ..Setup::new(TALK) });
    let owned_by = |owner: usize| {
        let owned = |name: &String| placement::owner(&format!("talk/{name}"), 2) == owner;
        (0..).map(|number| format!("room{number}")).find(owned).unwrap()
    };
    (world, [owned_by(0), owned_by(1)])
}

/// Worlds in which `here` and `there` are of one shard, and of two.
fn near_and_far() -> [(World, [String; 2]); 2] {
    [(world(), ["here".to_owned(), "there".to_owned()]), two_shards()]
}

/// Nothing went wrong, and nothing is left when all have gone.
fn end(mut world: World, peers: &[&Peer]) {
    peers.iter().for_each(|peer| world.network.fail(peer.connection));
    world.pass(ms(3_000));
    let left = [
        world.count(|counters| counters.connections.get()),
        world.count(|counters| counters.members.get()),
        world.count(|counters| counters.sessions.get()),
    ];
    assert_eq!(left, [0; 3]);
    ledger::check_empty();
    ledger::clear();
}

fn fill_inbox(world: &World, shard: usize) {
    let answer = || Item::Answer { question: u64::MAX, status: 200, text: String::new() };
    while world.outlets[shard].send(answer()).is_ok() {}
}

#[test]
fn a_member_moves_with_all_it_was_sent_and_has_sent() {
    for (mut world, [here, there]) in near_and_far() {
        let mut stays = world.join(&format!("/{here}/listening"));
        let mut waits = world.join(&format!("/{there}/listening"));
        let mut moves = world.join(&format!("/{here}/listening/as-1"));
        moves.send_text("#1 listen");
        moves.send_text("#2 say before");
        moves.send_text(&format!("#3 move {there}"));
        moves.send_text("#4 say after");
        moves.send_text("#5 listen");
        moves.send_text("#6 say heard");
        world.settle();
        let texts = moves.texts();
        let expected = [
            "0: listening".to_owned(),
            "0 before".to_owned(),
            format!("1: moving {there}"),
            format!("0: entered {there}"),
            "1: listening".to_owned(),
            "1 heard".to_owned(),
        ];
        assert_eq!(texts, expected);
        assert_eq!(stays.texts(), ["0 before", &format!("1 gone to {there}")]);
        assert_eq!(waits.texts(), ["0 after", "1 heard"]);
        moves.send_text(&format!("#7 move {here}"));
        moves.send_text("#8 reply and back");
        world.settle();
        let texts = moves.texts();
        assert_eq!(texts.last().map(String::as_str), Some("2: and back"));
        assert_eq!(world.count(|counters| counters.transfers.get()), 2);
        end(world, &[&stays, &waits, &moves]);
    }
}

/// The session it comes from has said more than its socket takes.
#[test]
fn what_a_slow_member_was_to_be_sent_comes_first_and_whole() {
    for far in [false, true] {
        let (mut world, [here, there]) = match far {
            false => (world_with_lag(1 << 20), ["here".to_owned(), "there".to_owned()]),
            true => {
                let mut setup = Setup { shards: 2, ..Setup::new(TALK) };
                setup.protocols.croquet.lag_bytes_max = 1 << 20;
                (World::new(setup), two_shards().1)
            }
        };
        let mut moves = world.join(&format!("/{here}/listening/as-1"));
        let other = world.join(&format!("/{here}/listening"));
        world.network.set_capacity(moves.connection, 5_000);
        for number in 0..20 {
            other.send_text("big 20000");
            other.send_text("quietly nothing");
            moves.send_text(&format!("#{} others {number}", 2 * number + 1));
            moves.send_text(&format!("#{} long 3000", 2 * number + 2));
            world.settle();
        }
        other.send_text(&format!("shove 0 {there}"));
        world.settle();
        moves.send_text("#41 listen");
        moves.send_text("#42 say done");
        world.settle();
        let mut texts = Vec::new();
        for _ in 0..500 {
            texts.extend(moves.read_some(3_000).into_iter().filter_map(Frame::into_text));
            world.settle();
        }
        assert_eq!(texts.len(), 20 * 4 + 4, "far: {far}");
        let (old, new) = texts.split_at(81);
        let numbers = old.iter().filter(|text| text.contains(" b") || !text.contains(':'));
        let expected: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        let numbers: Vec<&str> =
            numbers.filter_map(|text| text.split(' ').next()).filter(|n| *n != "nothing").collect();
        assert_eq!(numbers, expected);
        assert_eq!(old[80], format!("40: moving {there}"));
        assert_eq!(new, [&format!("0: entered {there}"), "0: listening", "0 done"]);
        end(world, &[&moves, &other]);
    }
}

#[test]
fn what_is_incomplete_is_completed_in_the_new_session() {
    for (mut world, [here, there]) in near_and_far() {
        let mut moves = world.join(&format!("/{here}/as-1"));
        let other = world.join(&format!("/{here}"));
        let frame = masked(0x80, b"in three parts");
        moves.send(0x01, b"#1 reply ");
        world.network.deliver(moves.connection, &frame[..3]);
        world.settle();
        other.send_text(&format!("shove 0 {there}"));
        // Arrives while the receive is being stopped.
        world.turn();
        world.network.deliver(moves.connection, &frame[3..]);
        moves.send_text("#2 reply late");
        world.settle();
        let texts = moves.texts();
        assert_eq!(texts[2..], ["0: in three parts", "0: late"]);
        end(world, &[&moves, &other]);
    }
}

#[test]
fn a_member_may_leave_a_session_for_the_same() {
    let mut world = world();
    let mut stays = world.join("/room/listening");
    let mut moves = world.join("/room/listening/as-1");
    for text in ["#1 listen", "#2 move room", "#3 listen", "#4 say again"] {
        moves.send_text(text);
    }
    world.settle();
    let expected = ["0: listening", "0: moving room", "1: entered room", "1: listening", "1 again"];
    assert_eq!(moves.texts(), expected);
    assert_eq!(stays.texts(), ["0 gone to room", "1 again"]);
    // The only one: its session is over, and opened anew.
    world.network.fail(stays.connection);
    world.settle();
    moves.send_text("#5 move room");
    world.settle();
    assert_eq!(moves.texts().last().map(String::as_str), Some("0: entered room"));
    end(world, &[&moves]);
}

#[test]
fn who_is_sent_on_at_once_arrives_with_all_it_has_sent() {
    for (mut world, [here, there]) in near_and_far() {
        let mut moves = world.dial(0, &format!("/gate{here}/as-1"));
        moves.send_text(&format!("#1 move gate{there}"));
        moves.send_text("#2 reply here");
        world.settle();
        let texts = moves.texts();
        assert_eq!(texts.last(), Some(&"0: here".to_owned()));
        assert_eq!(world.count(|counters| counters.transfers.get()), 3);
        end(world, &[&moves]);
    }
}

#[test]
fn a_session_may_refuse_who_is_sent_to_it() {
    for name in ["shut", "gateshut"] {
        let mut world = world();
        let mut moves = world.join("/room/as-1");
        moves.send_text(&format!("#1 move {name}"));
        moves.send_text("#2 reply never");
        world.settle();
        let frames = moves.read();
        assert_eq!(frames.last(), Some(&close(DENIED)));
        assert!(world.network.is_finished(moves.connection));
        end(world, &[&moves]);
    }
}

#[test]
fn who_is_gone_meanwhile_enters_and_leaves() {
    for (mut world, [here, there]) in near_and_far() {
        let mut waits = world.join(&format!("/{there}/listening"));
        for way in ["fail", "unnoticed", "finish"] {
            let moves = world.join(&format!("/{here}/as-1"));
            moves.send_text("#1 admit");
            moves.send_text(&format!("#2 move {there}"));
            moves.send_text("#3 say last words");
            world.turn();
            match way {
                "fail" => world.network.fail(moves.connection),
                "unnoticed" => world.network.fail_unnoticed(moves.connection),
                _ => world.network.finish(moves.connection),
            }
            world.pass(ms(200));
            let texts = waits.texts();
            assert!(texts[0].ends_with("last words") && texts[1].ends_with("left 1006"), "{way}");
            assert!(moves.is_closed(), "{way}");
            ledger::clear();
        }
        end(world, &[&waits]);
    }
}

#[test]
fn deadlines_run_anew_and_the_allowance_does_not() {
    const PER_SECOND: u32 = 10;
    let mut setup = Setup { shards: 2, ..Setup::new(TALK) };
    setup.protocols.croquet.messages_per_second_max = PER_SECOND;
    let (_, [here, there]) = two_shards();
    for there in [there, format!("{here}/other")] {
        let mut world = World::new(setup.clone());
        let mut moves = world.join(&format!("/{here}/listening"));
        let fast = world.join(&format!("/{here}"));
        world.pass(ms(20_000));
        moves.send_text(&format!("move {there}"));
        (0..100).for_each(|_| fast.send_text(&format!("move {there}")));
        world.settle();
        assert!(!world.network.is_read(fast.connection), "it had messages for two seconds");
        for _ in 0..29 {
            world.pass(ms(1_000));
            moves.send(0x8A, b"");
        }
        assert!(moves.read().iter().all(|frame| !frame.is_close()));
        world.pass(ms(2_000));
        assert_eq!(moves.read().last(), Some(&close(LATE)), "it was not admitted again");
        end(world, &[&moves, &fast]);
    }
}

#[test]
fn sessions_tell_each_other_in_order() {
    for (mut world, [here, there]) in near_and_far() {
        let mut waits = world.join(&format!("/{there}/listening"));
        let moves = world.join(&format!("/{here}/as-1"));
        moves.send_text(&format!("#1 tell {there} one"));
        moves.send_text(&format!("#2 tell {there} answer two"));
        moves.send_text(&format!("#3 tell {there} shove 1 {here}"));
        moves.send_text(&format!("#4 tell {here} itself"));
        moves.send_text("#5 listen");
        moves.send_text(&format!("#6 move {there}"));
        moves.send_text(&format!("#7 tell {here} three"));
        world.settle();
        let texts = waits.texts();
        let told = ["one", "answer two", &format!("shove 1 {here}")];
        for (text, told) in texts.iter().zip(told) {
            assert!(text.ends_with(&format!("{here} tells: {told}")), "{texts:?}");
        }
        end(world, &[&waits, &moves]);
    }
}

#[test]
fn a_session_that_tells_itself_is_told_when_the_call_is_over() {
    let mut world = world();
    let mut member = world.join("/room/as-1");
    member.send_text("#1 tell room shove 0 other");
    member.send_text("#2 reply hello");
    world.settle();
    let expected = ["0: told room", "0: moving other", "0: entered other", "0: hello"];
    assert_eq!(member.texts(), expected);
    end(world, &[&member]);
}

#[test]
fn a_session_that_is_opened_to_be_told_goes_when_it_is_over() {
    for (mut world, [here, there]) in near_and_far() {
        let member = world.join(&format!("/{here}"));
        member.send_text(&format!("tell {there} hello"));
        world.settle();
        assert_eq!(world.count(|counters| counters.tells.get()), 1);
        assert_eq!(world.count(|counters| counters.sessions.get()), 1);
        end(world, &[&member]);
    }
}

#[test]
fn a_panic_when_told_ends_that_session_only() {
    for (mut world, [here, there]) in near_and_far() {
        let mut doomed = world.join(&format!("/{there}/listening"));
        let mut safe = world.join(&format!("/{here}/listening"));
        safe.send_text(&format!("tell {there} panic"));
        safe.send_text(&format!("tell {there} hello"));
        safe.send_text("say fine");
        world.settle();
        assert_eq!(doomed.read(), [close(RESTART)]);
        let told = format!("0: told {there}");
        assert_eq!(safe.texts(), [&told, &told, "0 fine"]);
        assert_eq!(world.count(|counters| counters.panics.get()), 1);
        end(world, &[&doomed, &safe]);
    }
}

#[test]
fn sessions_that_answer_each_other_forever_hold_nobody_up() {
    let mut world = world();
    let mut member = world.join("/room");
    member.send_text("tell other forever");
    for _ in 0..10 {
        assert!(world.turn(), "there is always something to do");
    }
    member.send_text("reply still here");
    world.turn();
    assert!(member.texts()[1].ends_with(": still here"));
    ledger::clear();
}

#[test]
fn what_finds_a_full_inbox_waits_for_room() {
    let (mut world, [here, there]) = two_shards();
    let mut waits = world.join(&format!("/{there}/listening"));
    let mut moves = world.join(&format!("/{here}/as-1"));
    world.settle();
    fill_inbox(&world, 1);
    moves.send_text(&format!("#1 tell {there} one"));
    moves.send_text(&format!("#2 move {there}"));
    moves.send_text(&format!("#3 tell {here} back"));
    let now = world.now;
    for _ in 0..5 {
        world.shards[0].turn(now);
        world.check();
    }
    assert!(!world.shards[0].turn(now), "it must not spin");
    assert!(world.shards[0].next_due().is_some_and(|due| due <= now.at + ms(2)));
    fill_inbox(&world, 1);
    moves.send_text("#4 say two");
    world.pass(ms(100));
    assert_eq!(waits.texts(), [format!("0 {here} tells: one"), "1 two".to_owned()]);
    let expected = ["0: told", "0: moving", "1: entered", "1: told"];
    let texts = moves.texts();
    assert!(texts.iter().zip(expected).all(|(text, begin)| text.starts_with(begin)), "{texts:?}");
    assert_eq!(world.count(|counters| counters.passages_dropped.get()), 0);
    end(world, &[&waits, &moves]);
}

#[test]
fn what_finds_no_room_to_wait_is_dropped_and_counted() {
    let (mut world, [here, there]) = two_shards();
    let mut moves = world.join(&format!("/{here}"));
    fill_inbox(&world, 1);
    let now = world.now;
    let body = "b".repeat(60_000);
    for _ in 0..300 {
        moves.send_text(&format!("tell {there} {body}"));
    }
    while world.shards[0].turn(now) {}
    let dropped = world.count(|counters| counters.passages_dropped.get());
    assert!((20..30).contains(&dropped), "{dropped} of 18 MB of which 16 MiB may wait");
    moves.send_text(&format!("flood {there} 20000"));
    moves.send_text(&format!("move {there}"));
    while world.shards[0].turn(now) {}
    assert_eq!(moves.read().last().map(|frame| frame.payload[..2].to_vec()), Some(vec![3, 245]));
    let dropped = world.count(|counters| counters.passages_dropped.get());
    world.settle();
    assert_eq!(world.count(|counters| counters.tells.get()) + dropped, 20_000 + 300 + 1);
    ledger::clear();
    world.network.fail(moves.connection);
    world.settle();
    assert_eq!(world.count(|counters| counters.connections.get()), 0);
}

#[test]
fn who_is_under_way_when_the_process_stops_is_told() {
    for (mut world, [here, there]) in near_and_far() {
        let mut waits = world.join(&format!("/{there}/listening"));
        let mut moves = world.join(&format!("/{here}/as-1"));
        if world.shards.len() > 1 {
            fill_inbox(&world, 1);
        }
        moves.send_text(&format!("#1 move {there}"));
        world.turn();
        world.drain();
        world.settle();
        assert_eq!(moves.read().last(), Some(&close(RESTART)));
        assert_eq!(waits.read().last(), Some(&close(RESTART)));
        world.pass(ms(3_000));
        assert!(world.shards.iter().all(|shard| shard.is_done()));
        end(world, &[]);
    }
}

#[test]
fn a_shard_is_not_done_before_it_has_sent_what_waits() {
    let (mut world, [here, there]) = two_shards();
    let member = world.join(&format!("/{here}"));
    fill_inbox(&world, 1);
    member.send_text(&format!("tell {there} last words"));
    world.network.finish(member.connection);
    assert!(world.outlets[0].send(Item::Drain).is_ok());
    let now = world.now;
    while world.shards[0].turn(now) {}
    assert_eq!(world.count(|counters| counters.connections.get()), 0);
    assert!(!world.shards[0].is_done());
    world.settle();
    assert!(world.shards[0].is_done());
    end(world, &[]);
}

/// The shard that it goes to has nothing more to do, and is gone.
#[test]
fn who_is_sent_to_a_shard_that_is_gone_is_told_to_come_back() {
    let (mut world, [here, there]) = two_shards();
    let mut moves = world.join(&format!("/{here}/as-1"));
    drop(world.shards.pop());
    moves.send_text(&format!("#1 tell {there} lost"));
    moves.send_text(&format!("#2 move {there}"));
    world.settle();
    assert_eq!(moves.read().last(), Some(&close(RESTART)));
    world.pass(ms(3_000));
    assert_eq!(world.count(|counters| counters.connections.get()), 0);
    ledger::clear();
}

/// It comes when that shard has already found that it has nothing more to do.
#[test]
fn who_comes_to_a_shard_as_it_ends_is_told_to_come_back() {
    let (mut world, [here, there]) = two_shards();
    let mut moves = world.join(&format!("/{here}/as-1"));
    let mut late = world.join(&format!("/{here}/as-2"));
    assert!(world.outlets[1].send(Item::Drain).is_ok());
    world.settle();
    assert!(world.shards[1].is_done());
    moves.send_text(&format!("#1 tell {there} lost"));
    moves.send_text(&format!("#2 move {there}"));
    let now = world.now;
    while world.shards[0].turn(now) {}
    assert!(!world.shards[1].shut());
    late.send_text(&format!("#3 move {there}"));
    world.settle();
    for peer in [&mut moves, &mut late] {
        assert_eq!(peer.read().last(), Some(&close(RESTART)));
    }
    assert_eq!(world.count(|counters| counters.passages_dropped.get()), 3);
    world.pass(ms(3_000));
    assert!(world.shards[1].is_done() && world.shards[1].shut());
    assert_eq!(world.count(|counters| counters.connections.get()), 0);
    ledger::clear();
}
