//! Driving a shard: turn after turn inside one permanent glommio task, asleep in its own ring when
//! there is nothing to do.
//!
//! It does not sleep in the executor: that takes 15 system calls a wakeup where this takes two, and
//! glommio 0.9 was seen to sleep on with its timer due and its eventfd fired. Whoever adds a second
//! task to the executor must let it run before the shard sleeps. Sleep is bounded by the next timer
//! and by [`SLEEP_MAX`].

use std::time::Duration;

use super::Shard;
use crate::net::ring::Ring;
use crate::net::wakeup::Wakeup;
use crate::session::{Instant, Now};

/// The longest a shard sleeps, whatever happens.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Turns until the shard was told to stop and is done, or its time to drain is over.
pub async fn run(mut shard: Shard<Ring>, wakeup: Wakeup, clock: impl Fn() -> Now) {
    let mut stop_at: Option<Instant> = None;
    loop {
        let now = clock();
        let worked = shard.turn(now);
        if let Some(drain) = shard.time_to_drain() {
            let stop_at = *stop_at.get_or_insert(now.at + drain);
            if shard.is_done() || now.at >= stop_at {
                return;
            }
        }
        if worked {
            glommio::executor().yield_if_needed().await;
            continue;
        }
        let now = clock().at;
        let due = shard.next_due().map_or(SLEEP_MAX, |due| due.since(now)).min(SLEEP_MAX);
        if due.is_zero() {
            continue;
        }
        wakeup.will_sleep();
        if !shard.has_items() {
            shard.counters.parks.increment();
            shard.net().wait(due);
        }
        wakeup.is_awake();
    }
}
