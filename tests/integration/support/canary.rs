//! Well-behaved sessions that go on during an attack: in each, two members keep sending to each
//! other. They must lose nothing, be cut by nobody, and not wait long.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lockstep::shard::placement;

use super::croquet::Member;

/// One pair of members on each of the first two shards.
pub struct Canary {
    stop: Arc<AtomicBool>,
    pairs: Vec<JoinHandle<(u32, Duration)>>,
}

impl Canary {
    /// Starts the pairs and waits until they are there.
    pub fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let pairs = [0, 1].map(|shard| {
            let session = session_on(shard, 2);
            let pair = ["a", "b"].map(|user| Member::join(address, &session, user));
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || exchange(pair, &stop))
        });
        Self { stop, pairs: pairs.into() }
    }

    /// Ends the exchange and checks that it was undisturbed.
    pub fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        for pair in self.pairs {
            let (rounds, slowest) = pair.join().expect("the canary is undisturbed");
            println!("canary: {rounds} rounds, the slowest in {slowest:?}");
            assert!(rounds > 0);
            assert!(slowest < SLOWEST_MAX, "a message of the canary took {slowest:?}");
        }
    }
}

/// Tests run many at once on few cores; a server that hangs takes far longer.
const SLOWEST_MAX: Duration = Duration::from_secs(5);
/// Well-behaved members do not send as fast as they can.
const PACE: Duration = Duration::from_millis(5);

/// The id of a session that is placed on this shard.
pub fn session_on(shard: usize, shards: usize) -> String {
    (0..)
        .map(|number| format!("session-{number}"))
        .find(|id| placement::owner(&format!("croquet/{id}"), shards) == shard)
        .expect("names reach every shard")
}

fn exchange(mut pair: [Member; 2], stop: &AtomicBool) -> (u32, Duration) {
    let (mut rounds, mut slowest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) || rounds == 0 {
        let (payload, sender) = (format!("round {rounds}"), rounds as usize % 2);
        let begun = Instant::now();
        pair[sender].send(&payload);
        for member in &mut pair {
            member.await_payload(&payload);
        }
        slowest = slowest.max(begun.elapsed());
        rounds += 1;
        // Sets the rate of the canary; nothing is awaited by it.
        std::thread::sleep(PACE);
    }
    let [a, b] = pair.map(|member| member.seq());
    assert_eq!(a, b, "both heard the same");
    (rounds, slowest)
}
