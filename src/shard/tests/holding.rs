//! While the disk fails, what follows from what is not written is not told, wherever it has come to.

use super::world::{Frame, Setup, World};
use super::{TALK, ms};
use crate::shard::placement;

/// A session on this one of two shards; of one, all are on the first.
fn on(shard: usize) -> String {
    let names = (0..).map(|number| format!("s{number}"));
    let mut here = names.filter(|name| placement::owner(&format!("talk/{name}"), 2) == shard);
    here.next().expect("names reach every shard")
}

fn fail(world: &World, fails: bool) {
    world.disk.write().expect("nobody panics").fails = fails;
}

#[test]
fn what_goes_to_other_sessions_waits_for_the_disk() {
    for (shards, target) in [(1, "there".to_owned()), (2, on(0)), (2, on(1))] {
        for verb in ["tell", "move"] {
            let setup = Setup { shards, journal: true, durable: true, ..Setup::new(TALK) };
            check(World::new(setup), &target, verb);
        }
    }
}

fn check(mut world: World, target: &str, verb: &str) {
    let mut witness = world.join(&format!("/{target}/listening"));
    let mut member = world.join("/here/listening");
    witness.read();
    member.read();
    fail(&world, true);
    member.send_text("keep it");
    let news = if verb == "tell" { " news" } else { "" };
    member.send_text(&format!("{verb} {target}{news}"));
    world.pass(ms(500));
    assert_eq!((witness.texts(), member.texts()), (vec![], vec![]), "{verb} {target}");
    fail(&world, false);
    world.pass(ms(3_000));
    let told = member.texts();
    assert_eq!(told[0], "0 kept it");
    if verb == "tell" {
        assert!(witness.texts()[0].ends_with("tells: news"));
    } else {
        assert!(told.iter().any(|text| text.ends_with(&format!("entered {target}"))), "{told:?}");
    }
}

/// Whoever leaves is told no more than those who stay.
#[test]
fn what_is_said_to_those_who_leave_waits_for_the_disk() {
    for leaves in [true, false] {
        let setup = Setup { journal: true, durable: true, ..Setup::new(TALK) };
        let mut world = World::new(setup);
        let first = world.join("/here/listening");
        let mut second = world.join("/here/listening");
        fail(&world, true);
        first.send_text("keep it");
        world.settle();
        if leaves {
            second.send(0x88, &1000u16.to_be_bytes());
        } else {
            first.send_text("kick 1");
        }
        world.pass(ms(500));
        assert_eq!(second.read(), [], "it is not written");
        fail(&world, false);
        world.pass(ms(1_000));
        let told = second.read();
        assert_eq!(told[0].clone().into_text().as_deref(), Some("0 kept it"));
        assert!(told.last().is_some_and(Frame::is_close), "{told:?}");
    }
}
