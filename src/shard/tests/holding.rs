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
        let setup = Setup { shards, journal: true, durable: true, ..Setup::new(TALK) };
        let mut world = World::new(setup);
        let here = if shards == 2 { format!("/{}x", on(0)) } else { "/here".to_owned() };
        let mut witness = world.join(&format!("/{target}/listening"));
        let mut member = world.join(&format!("{here}/listening"));
        witness.read();
        member.read();
        fail(&world, true);
        member.send_text("keep it");
        member.send_text(&format!("tell {target} news"));
        member.send_text(&format!("move {target}"));
        world.pass(ms(500));
        assert_eq!((witness.texts(), member.texts()), (vec![], vec![]), "{shards} {target}");
        fail(&world, false);
        world.pass(ms(3_000));
        let told = member.texts();
        assert_eq!(told[0], "0 kept it");
        assert!(told.iter().any(|text| text.ends_with(&format!("entered {target}"))), "{told:?}");
        assert!(witness.texts()[0].ends_with("tells: news"));
    }
}
