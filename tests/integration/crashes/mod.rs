//! The server is killed at random moments under load, again and again in the same data directory,
//! with changing numbers of shards. Whatever a client was sent must be there afterwards.

mod comutiny;
mod croquet;
mod damage;
mod gallery;
mod rljson;
mod yjs;

use std::path::Path;

use crate::support::random::Random;
use crate::support::server::Server;

const ROUNDS: usize = 100;
/// Lives of the server that a session goes through; what is kept of it grows with each.
const LIVES_EACH: usize = 10;

/// Starts the next life.
fn start_anyhow(data: &Path, random: &mut Random) -> Server {
    let shards = 1 + random.below(3);
    // What survives the process does not depend on it.
    let sync = ["100ms", "1ms", "never", "always"][random.below(4)];
    Server::start_in(data, shards, &["--log-level", "warn", "--sync", sync])
}
