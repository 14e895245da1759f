//! The one map type of the project: hashbrown with foldhash.
//!
//! std's map is slower, and its hasher is seeded per process. The fixed seed here keeps simulated
//! runs repeatable; keys chosen by peers go into [`GuardedMap`], whose seed is random.

use foldhash::{fast, quality};

/// A map whose keys are made by the server (indexes, member ids).
pub type Map<K, V> = hashbrown::HashMap<K, V, fast::FixedState>;

/// A map whose keys are chosen by peers (session names): seeded per process against flooding.
pub type GuardedMap<K, V> = hashbrown::HashMap<K, V, quality::RandomState>;
