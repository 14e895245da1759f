//! Load generator: drives a server of real-time sessions from one core and says what each
//! delivery cost the server.
//!
//! The code map, top down: `cli` reads the command line, `scenario` holds the list of scenarios
//! and runs one, `generator` is the event loop over all connections, `protocol` speaks a
//! server's language, `ledger` decides what was lost, doubled or reordered, `probe` reads the
//! server's CPU time and memory from `/proc`, `report` and `summary` turn figures into JSON and
//! tables, `pictures` tables into bars. `comutiny` is that world's own load test, `sync` a folder through the hub of @rljson. `baseline` is the floor to compare with: the smallest server that can do the work.
//!
//! Invariants: one thread, one epoll, no allocation per delivery; CPU time is the scheduler's
//! run time and never wall-clock; a figure taken while the generator was itself the bottleneck
//! says so. Deliberately absent: worker threads, TLS, and any address outside 127.0.0.0/8.

mod baseline;
mod cli;
mod clock;
mod comutiny;
#[cfg(test)]
mod counts;
mod failure;
mod generator;
mod histogram;
mod ledger;
mod pictures;
mod poller;
mod probe;
mod protocol;
mod report;
mod scenario;
mod socket;
mod summary;
mod sync;
mod volley;
mod websocket;

use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match cli::parse() {
        cli::Command::Run(order) => scenario::run(&order),
        cli::Command::Comutiny(settings) => comutiny::run(&settings),
        cli::Command::Sync(settings) => sync::run(&settings),
        cli::Command::Baseline(settings) => baseline::serve(&settings),
        cli::Command::Summary(request) => summary::print(&request),
        cli::Command::Pictures(request) => pictures::draw(&request),
        cli::Command::Address(pid) => scenario::print_address(pid),
        cli::Command::List => {
            scenario::print_list();
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("load: {failure}");
            ExitCode::FAILURE
        }
    }
}
