//! The timer wheel of a shard: one node for each connection and each session, none allocated when a
//! timer is set again.
//!
//! Two levels: slots of 1 ms for what is due within a second, slots of 1.024 s beyond, whose nodes
//! move down when their slot comes. What lies further ahead than the second level waits in its last
//! slot. Nodes are linked by index, so setting and cancelling are O(1).

use super::table::Table;
use crate::session::Instant;

const NEAR_SLOTS: u64 = 1024;
const FAR_SLOTS: u64 = 512;
const NONE: u32 = u32::MAX;
/// The slot of a timer that is not set.
const NOWHERE: u16 = u16::MAX;

/// Names a timer in the wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId(u32);

#[derive(Debug)]
struct Node<K> {
    key: K,
    due: Due,
    slot: u16,
    previous: u32,
    next: u32,
}

/// The millisecond a timer is due in, rounded up, in six bytes: nine thousand years are enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Due([u16; 3]);

impl Due {
    const NEVER: Self = Self([u16::MAX; 3]);

    fn at(ms: u64) -> Self {
        let ms = ms.min(Self::NEVER.as_millis() - 1);
        Self([(ms >> 32) as u16, (ms >> 16) as u16, ms as u16])
    }

    fn as_millis(self) -> u64 {
        let [high, middle, low] = self.0.map(u64::from);
        high << 32 | middle << 16 | low
    }
}

/// Timers by millisecond. `K` says whose a timer is.
#[derive(Debug)]
pub struct Wheel<K> {
    nodes: Table<Node<K>>,
    /// First node of each slot: near slots, then far ones.
    slots: Box<[u32]>,
    /// Which near slots hold nodes.
    occupied: [u64; (NEAR_SLOTS / 64) as usize],
    /// Nodes in far slots.
    far: usize,
    /// The millisecond up to which everything was fired.
    now: u64,
}

impl<K: Copy> Default for Wheel<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Copy> Wheel<K> {
    /// An empty wheel at the start of time.
    pub fn new() -> Self {
        let slots = vec![NONE; (NEAR_SLOTS + FAR_SLOTS) as usize].into_boxed_slice();
        Self {
            nodes: Table::new(),
            slots,
            occupied: [0; (NEAR_SLOTS / 64) as usize],
            far: 0,
            now: 0,
        }
    }

    /// A timer, not set.
    pub fn add(&mut self, key: K) -> TimerId {
        let node = Node { key, due: Due::NEVER, slot: NOWHERE, previous: NONE, next: NONE };
        TimerId(self.nodes.insert(node))
    }

    /// Forgets a timer.
    pub fn remove(&mut self, timer: TimerId) {
        self.unlink(timer.0);
        self.nodes.remove(timer.0);
    }

    /// Sets a timer; `None` cancels it. It fires within a millisecond after `due`, never before.
    pub fn set(&mut self, timer: TimerId, due: Option<Instant>) {
        let due = due.map_or(Due::NEVER, |due| Due::at(due.as_micros().div_ceil(1_000)));
        if self.nodes[timer.0].due == due {
            return;
        }
        self.unlink(timer.0);
        if due != Due::NEVER {
            self.link(timer.0, due);
        }
    }

    /// Collects the timers due by `now`, each once; they are not set afterwards.
    pub fn advance(&mut self, now: Instant, fired: &mut Vec<K>) {
        let now = now.as_millis();
        while self.now < now {
            let step = self.next_event().map_or(now, |next| next.min(now));
            self.now = step.max(self.now + 1);
            if self.now.is_multiple_of(NEAR_SLOTS) {
                self.cascade();
            }
            self.fire_slot((self.now % NEAR_SLOTS) as usize, fired);
        }
    }

    /// When the wheel must be advanced next; `None` if no timer is set.
    pub fn next_due(&self) -> Option<Instant> {
        self.next_event().map(Instant::from_millis)
    }

    /// The next millisecond in which a node fires or far nodes move down.
    fn next_event(&self) -> Option<u64> {
        let turn_end = (self.now / NEAR_SLOTS + 1) * NEAR_SLOTS;
        let near = self.next_occupied().map(|slot| {
            let ahead = (slot + NEAR_SLOTS - self.now % NEAR_SLOTS - 1) % NEAR_SLOTS + 1;
            self.now + ahead
        });
        let far = (self.far > 0).then_some(turn_end);
        match (near, far) {
            (Some(near), Some(far)) => Some(near.min(far)),
            (near, far) => near.or(far),
        }
    }

    /// The first occupied near slot after the present one, going round.
    fn next_occupied(&self) -> Option<u64> {
        let words = self.occupied.len();
        let start = (self.now + 1) % NEAR_SLOTS;
        let (word, bit) = ((start / 64) as usize, start % 64);
        for step in 0..=words {
            let at = (word + step) % words;
            let mut bits = self.occupied[at];
            if step == 0 {
                bits &= u64::MAX << bit;
            } else if step == words {
                bits &= !(u64::MAX << bit);
            }
            if bits != 0 {
                return Some(at as u64 * 64 + u64::from(bits.trailing_zeros()));
            }
        }
        None
    }

    fn fire_slot(&mut self, slot: usize, fired: &mut Vec<K>) {
        while self.slots[slot] != NONE {
            let index = self.slots[slot];
            debug_assert!(self.nodes[index].due.as_millis() <= self.now);
            self.unlink(index);
            fired.push(self.nodes[index].key);
        }
    }

    /// Moves the nodes of the far slot that has come down to near slots.
    fn cascade(&mut self) {
        let slot = (NEAR_SLOTS + (self.now / NEAR_SLOTS) % FAR_SLOTS) as usize;
        let mut index = std::mem::replace(&mut self.slots[slot], NONE);
        while index != NONE {
            let node = &mut self.nodes[index];
            let (next, due) = (node.next, node.due);
            node.slot = NOWHERE;
            self.far -= 1;
            // `now` itself fires right after this, so a node due now still counts as ahead.
            self.link_at(index, due, due.as_millis().max(self.now));
            index = next;
        }
    }

    fn link(&mut self, index: u32, due: Due) {
        self.link_at(index, due, due.as_millis().max(self.now + 1));
    }

    fn link_at(&mut self, index: u32, due: Due, at: u64) {
        let slot = if at < self.now + NEAR_SLOTS {
            let slot = at % NEAR_SLOTS;
            self.occupied[(slot / 64) as usize] |= 1 << (slot % 64);
            slot
        } else {
            self.far += 1;
            let turns_ahead = (at / NEAR_SLOTS - self.now / NEAR_SLOTS).min(FAR_SLOTS - 1);
            NEAR_SLOTS + (self.now / NEAR_SLOTS + turns_ahead) % FAR_SLOTS
        };
        let first = std::mem::replace(&mut self.slots[slot as usize], index);
        if first != NONE {
            self.nodes[first].previous = index;
        }
        let node = &mut self.nodes[index];
        (node.due, node.slot, node.previous, node.next) = (due, slot as u16, NONE, first);
    }

    fn unlink(&mut self, index: u32) {
        let node = &mut self.nodes[index];
        let (slot, previous, next) = (node.slot, node.previous, node.next);
        (node.due, node.slot) = (Due::NEVER, NOWHERE);
        if slot == NOWHERE {
            return;
        }
        if previous == NONE {
            self.slots[slot as usize] = next;
        } else {
            self.nodes[previous].next = next;
        }
        if next != NONE {
            self.nodes[next].previous = previous;
        }
        if u64::from(slot) >= NEAR_SLOTS {
            self.far -= 1;
        } else if self.slots[slot as usize] == NONE {
            self.occupied[(slot / 64) as usize] &= !(1 << (slot % 64));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn fires_once_and_never_early() {
        let mut wheel = Wheel::new();
        let timer = wheel.add(7);
        wheel.set(timer, Some(Instant::from_micros(50_001)));
        let mut fired = Vec::new();
        wheel.advance(ms(50), &mut fired);
        assert!(fired.is_empty());
        assert_eq!(wheel.next_due(), Some(ms(51)));
        wheel.advance(ms(51), &mut fired);
        assert_eq!(fired, [7]);
        wheel.advance(ms(100_000), &mut fired);
        assert_eq!(fired, [7]);
        assert_eq!(wheel.next_due(), None);
    }

    #[test]
    fn what_is_due_already_fires_at_the_next_step() {
        let mut wheel = Wheel::new();
        let mut fired = Vec::new();
        wheel.advance(ms(5_000), &mut fired);
        let timer = wheel.add(1);
        wheel.set(timer, Some(ms(10)));
        wheel.advance(ms(5_001), &mut fired);
        assert_eq!(fired, [1]);
    }

    /// What a timer takes beside its connection: with 256 in a chunk of the table 6 KiB.
    #[test]
    fn a_timer_is_small() {
        assert_eq!(size_of::<Option<Node<crate::shard::Timer>>>(), 24);
    }

    #[test]
    fn what_is_too_far_ahead_is_never_due() {
        let mut wheel = Wheel::new();
        let timer = wheel.add(3);
        wheel.set(timer, Some(Instant::from_micros(u64::MAX)));
        assert_eq!(Due::at(u64::MAX).as_millis(), (1 << 48) - 2);
        let mut fired = Vec::new();
        wheel.advance(ms(3_600_000), &mut fired);
        assert!(fired.is_empty() && wheel.next_due().is_some());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(usize, u64),
        Cancel(usize),
        Advance(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let ahead = prop_oneof![0..50u64, 0..3_000u64, 0..2_000_000u64];
        prop_oneof![
            3 => (0..8usize, ahead.clone()).prop_map(|(timer, ahead)| Step::Set(timer, ahead)),
            1 => (0..8usize).prop_map(Step::Cancel),
            3 => ahead.prop_map(Step::Advance),
        ]
    }

    proptest! {
        /// Against a plain list of deadlines: the same timers fire in the same advance.
        #[test]
        fn agrees_with_a_list(steps in proptest::collection::vec(step(), 1..200)) {
            let mut wheel = Wheel::new();
            let timers: Vec<TimerId> = (0..8usize).map(|key| wheel.add(key)).collect();
            let mut model = [None::<u64>; 8];
            let mut now = 0;
            for step in steps {
                match step {
                    Step::Set(timer, ahead) => {
                        wheel.set(timers[timer], Some(ms(now + ahead)));
                        model[timer] = Some((now + ahead).max(now + 1));
                    }
                    Step::Cancel(timer) => {
                        wheel.set(timers[timer], None);
                        model[timer] = None;
                    }
                    Step::Advance(by) => {
                        now += by;
                        let mut fired = Vec::new();
                        wheel.advance(ms(now), &mut fired);
                        fired.sort_unstable();
                        let mut expected = Vec::new();
                        for (key, due) in model.iter_mut().enumerate() {
                            if due.is_some_and(|due| due <= now) {
                                *due = None;
                                expected.push(key);
                            }
                        }
                        prop_assert_eq!(fired, expected);
                    }
                }
                let next = model.iter().flatten().min().copied();
                let wake = wheel.next_due().map(Instant::as_millis);
                prop_assert_eq!(next.is_some(), wake.is_some());
                prop_assert!(wake <= next && wake.is_none_or(|wake| wake > now));
            }
        }
    }
}
