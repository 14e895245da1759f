//! The one map type of the project: hashbrown with foldhash.
//!
//! std's map is slower, and its hasher is seeded per process. The fixed seed here keeps simulated
//! runs repeatable; keys chosen by peers go into [`GuardedMap`], whose seed is random.

use std::hash::BuildHasher as _;

use foldhash::{fast, quality};
use hashbrown::HashTable;

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

    /// Puts a number in, by its name, which is not in.
    pub fn insert<'a>(&mut self, number: N, name_of: impl Fn(N) -> &'a str) {
        let hash = self.hasher.hash_one(name_of(number));
        self.numbers.insert_unique(hash, number, |&other| self.hasher.hash_one(name_of(other)));
    }

    /// Takes a number out that may be in by this name; whether it was.
    pub fn remove(&mut self, name: &str, number: N) -> bool {
        let entry = self.numbers.find_entry(self.hasher.hash_one(name), |&other| other == number);
        entry.map(|entry| entry.remove()).is_ok()
    }

    /// How many names are in.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether no name is in.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// All numbers, in no order that may be relied on.
    pub fn iter(&self) -> impl Iterator<Item = N> + Clone {
        self.numbers.iter().copied()
    }
}
