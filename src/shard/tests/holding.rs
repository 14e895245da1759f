//! While the disk fails, what follows from what is not written is not told, wherever it has come to.

use super::world::{Setup, World};
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
