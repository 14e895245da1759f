//! Driving a shard: turn after turn, asleep in its own ring when there is nothing to do.
//!
//! It runs in its executor's only task and never gives the thread back before it is done: it is a
//! function, not a future. The executor of glommio 0.9 goes to sleep *with a task to be run* when
//! its preemption timer expires between arming it and first looking at it, as it does on a busy
//! machine, and nothing wakes it then. Sleeping there also takes 15 system calls a wakeup where this
//! takes two. What has to wait (files, the journal) is either an operation of the ring or on a
//! thread of its own, and answers through the inbox.

use std::time::Duration;

use super::Shard;
use crate::net::ring::Ring;
use crate::net::wakeup::Wakeup;
use crate::session::{Instant, Now};

/// The longest a shard sleeps, whatever happens.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// How often memory is given back. The allocator, too, keeps what is freed for a second.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(1);

/// Turns until the shard was told to stop and is done, or its time to drain is over. Now and then,
/// before it sleeps, it lets the allocator `give_back` what it holds for nothing: on a thread that
/// allocates nothing any more it would hold that for good.
pub fn run(mut shard: Shard<Ring>, wakeup: Wakeup, clock: impl Fn() -> Now, give_back: fn()) {
    let mut stop_at: Option<Instant> = None;
    let start = clock();
    let mut given_back_at = start.at;
    shard.begin(start);
    loop {
        let now = clock();
        let worked = shard.turn(now);
        if let Some(drain) = shard.time_to_drain() {
            let stop_at = *stop_at.get_or_insert(now.at + drain);
            if (shard.is_done() && shard.shut()) || now.at >= stop_at {
                shard.finish();
                return;
            }
        }
        if worked {
            continue;
        }
        if now.at.since(given_back_at) >= GIVE_BACK_EVERY {
            given_back_at = now.at;
            give_back();
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
