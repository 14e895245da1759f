//! The hot paths with fixed inputs, for callgrind to count their instructions: `perf/count`.
//!
//! Only what runs in [`counted`] is counted, and [`finished`] ends a case: callgrind is told the
//! names of both. Standard output names the cases in their order, each with how often it ran.
//! Without callgrind this runs each case and says nothing about its cost.
//! `check` compares: see [`check`].

mod check;
mod codecs;
mod compare;
#[path = "../crowd.rs"]
mod crowd;
mod turns;
#[path = "../../src/shard/tests/world.rs"]
mod world;

use std::process::ExitCode;

// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Switches counting on where a case wants it.
#[derive(Clone, Copy, Debug)]
struct Meter {
    counts: bool,
}

impl Meter {
    /// Runs this, and counts it unless the case is still warming up.
    fn count(self, mut act: impl FnMut()) {
        if self.counts { counted(&mut act) } else { act() }
    }
}

/// Callgrind counts from its start to its end.
#[inline(never)]
fn counted(act: &mut dyn FnMut()) {
    act();
}

/// Callgrind writes down what it has counted, and begins anew. The name is told so that this is not
/// left out.
#[inline(never)]
fn finished(name: &str, operations: u32) {
    println!("{name} {operations}");
}

/// Runs a case: some operations for buffers to grow, then those that are counted. `act` is told the
/// number of the operation.
fn case(name: &str, warm_up: u32, operations: u32, mut act: impl FnMut(Meter, u32)) {
    for number in 0..warm_up + operations {
        act(Meter { counts: number >= warm_up }, number);
    }
    finished(name, operations);
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = arguments.as_slice()
        && first == "check"
    {
        return check::main(rest);
    }
    codecs::run();
    turns::run();
    ExitCode::SUCCESS
}
