//! Clients that behave as FsAgents do, whose refs cross: from printed seeds, no edit that reached the
//! server is lost, and in the end all have the same.
//!
//! A client announces its folder a while after a change, keeps of the refs that it hears the last,
//! reads that tree from the server some time later, and puts it in the place of its folder any time
//! after that, whatever has changed there meanwhile. It ignores a ref that it has just heard or
//! announced.
//!
//! From reading a root to having put its tree in place a client looks after its folder no more; only
//! what it had noticed before goes out still, within a debounce (specs: rljson §9), and arrives soon
//! after: [`NOTICED_BEFORE`] and [`HURRIED`]. What it announces while it is offline arrives as soon as
//! it is back.
//!
//! In the end all have the latest tree, but for a client that announced the very tree that is the
//! latest and put an older one over it: its library ignores what it announced itself, for ever.
//!
//! What counts as lost: a content that arrived at the server, in whatever tree, and that is no longer
//! in the latest tree in the end, under any name, though no user deleted it or wrote over it in a
//! folder that had it. That a client puts a tree in place over what it announced, or is about to, is
//! no such thing: what arrived the server has to merge; what never arrived is the client's loss.
//!
//! Seen to fail: with every ref a fast-forward; with only what was read last, or only what was
//! announced last for a base; with reads forgotten at the next announcement; with no doubt of who comes
//! back; with one payload of each run in the queue, whatever was read; where one of several bases is
//! enough for a deletion.

mod world;

use world::{Met, Model};

use crate::codec::rljson::Hash;

const SEEDS: u64 = 3_000;
const STEPS: usize = 150;
const THREADS: usize = 4;

/// Runs a seed: what was met.
fn run(seed: u64) -> Met {
    let mut model = Model::new(seed);
    (0..STEPS).for_each(|_| model.step());
    model.settle();
    let latest = Hash::new(model.route.latest().unwrap()).unwrap();
    let contents = model.contents(latest);
    let blobs = model.blobs(latest);
    for blob in model.arrived.difference(&model.thrown_away) {
        assert!(blobs.contains(blob), "seed {seed}: {blob} is lost: {:#?}", model.drops);
    }
    for who in 0..model.clients.len() {
        let root = model.forest.plant(&model.clients[who].agent.folder);
        // Whoever put an older tree over what it had announced ignores that for ever.
        let is_deaf = model.clients[who].agent.heard == Some(latest);
        model.met.deaf += usize::from(root != latest && is_deaf);
        let is_same = root == latest || is_deaf || model.contents(root) == contents;
        assert!(is_same, "seed {seed}: client {who} differs");
    }
    model.met
}

#[test]
fn no_edit_that_reached_the_server_is_lost() {
    let mut met = Met::default();
    std::thread::scope(|scope| {
        let part = |first| move || (first..SEEDS).step_by(THREADS).map(run).collect::<Vec<Met>>();
        let parts: Vec<_> = (0..THREADS as u64).map(|first| scope.spawn(part(first))).collect();
        for one in parts.into_iter().flat_map(|part| part.join().unwrap()) {
            met.add(&one);
        }
    });
    println!("{met:?}");
    let Met { forwards, merges, choices, applied, bootstraps, reconnects, copies, deaf } = met;
    let least = [forwards, merges, choices, applied, bootstraps, reconnects, copies];
    assert!(least.iter().all(|count| *count > 100), "{met:?}");
    assert!(deaf < 10, "{met:?}");
}
