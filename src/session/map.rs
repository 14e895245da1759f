//! The one map type of the project: hashbrown with foldhash.
//!
//! std's map is slower, and its hasher is seeded per process. The fixed seed here keeps simulated
//! runs repeatable; keys chosen by peers go into [`GuardedMap`], whose seed is random.

use std::hash::BuildHasher as _;

use foldhash::{fast, quality};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// A map whose keys are made by the server (indexes, member ids).
pub type Map<K, V> = hashbrown::HashMap<K, V, fast::FixedState>;

/// A map whose keys are chosen by peers (session names): seeded per process against flooding.
pub type GuardedMap<K, V> = hashbrown::HashMap<K, V, quality::RandomState>;

/// Numbers by names that are chosen by peers and stand only where the number points to: `name_of` tells
/// them, and must for every number that is in. Each name is in once.
#[derive(Debug)]
pub struct GuardedIndex<N> {
    numbers: HashTable<N>,
    hasher: quality::RandomState,
}

impl<N> Default for GuardedIndex<N> {
    fn default() -> Self {
        Self { numbers: HashTable::new(), hasher: quality::RandomState::default() }
    }
}

impl<N: Copy + PartialEq> GuardedIndex<N> {
    /// The number of this name.
    pub fn find<'a>(&self, name: &str, name_of: impl Fn(N) -> &'a str) -> Option<N> {
        let hash = self.hasher.hash_one(name);
        self.numbers.find(hash, |&number| name_of(number) == name).copied()
    }

    /// Puts a number in, by its name; the number that it replaces, if any.
    pub fn insert<'a>(&mut self, number: N, name_of: impl Fn(N) -> &'a str) -> Option<N> {
        let Self { numbers, hasher } = self;
        let (name, hash_of) = (name_of(number), |&other: &N| hasher.hash_one(name_of(other)));
        match numbers.entry(hasher.hash_one(name), |&other| name_of(other) == name, hash_of) {
            Entry::Occupied(mut entry) => Some(std::mem::replace(entry.get_mut(), number)),
            Entry::Vacant(entry) => {
                entry.insert(number);
                None
            }
        }
    }

    /// Takes a number out, if it is in by this name: it may have been replaced.
    pub fn remove(&mut self, name: &str, number: N) {
        let entry = self.numbers.find_entry(self.hasher.hash_one(name), |&other| other == number);
        if let Ok(entry) = entry {
            entry.remove();
        }
    }

    /// All numbers, in no order that may be relied on.
    pub fn iter(&self) -> impl Iterator<Item = N> + Clone {
        self.numbers.iter().copied()
    }
}
