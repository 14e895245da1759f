//! Entries by index, in chunks that never move.
//!
//! One growing vector would be simpler, and would copy all its entries each time it doubles: a pause
//! for every connection of the shard, and half of the memory unused. Indexes of removed entries are
//! used again, last removed first.

use std::ops::{Index, IndexMut};

/// Entries in a chunk.
const CHUNK: usize = 256;
const NONE: u32 = u32::MAX;

#[derive(Debug)]
enum Slot<T> {
    Taken(T),
    /// The next free slot.
    Free(u32),
}

/// Entries by index.
#[derive(Debug)]
pub(super) struct Table<T> {
    chunks: Vec<Box<[Slot<T>]>>,
    /// First free slot; [`NONE`] if the next entry needs a new chunk.
    free: u32,
    len: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Table<T> {
    /// An empty table; holds no memory.
    pub(super) const fn new() -> Self {
        Self { chunks: Vec::new(), free: NONE, len: 0 }
    }

    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The index the next entry will have.
    pub(super) fn next_index(&self) -> u32 {
        if self.free == NONE { (self.chunks.len() * CHUNK) as u32 } else { self.free }
    }

    /// Adds an entry; its index.
    pub(super) fn insert(&mut self, entry: T) -> u32 {
        if self.free == NONE {
            self.grow();
        }
        let index = self.free;
        let slot = &mut self.chunks[index as usize / CHUNK][index as usize % CHUNK];
        match std::mem::replace(slot, Slot::Taken(entry)) {
            Slot::Free(next) => self.free = next,
            Slot::Taken(_) => unreachable!("the free list names free slots"),
        }
        self.len += 1;
        index
    }

    /// Takes an entry out, if it is there.
    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        let slot = self.chunks.get_mut(index as usize / CHUNK)?.get_mut(index as usize % CHUNK)?;
        match std::mem::replace(slot, Slot::Free(self.free)) {
            Slot::Taken(entry) => {
                self.free = index;
                self.len -= 1;
                Some(entry)
            }
            free @ Slot::Free(_) => {
                *slot = free;
                None
            }
        }
    }

    /// The entry at this index, if there is one.
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        match self.chunks.get(index as usize / CHUNK)?.get(index as usize % CHUNK)? {
            Slot::Taken(entry) => Some(entry),
            Slot::Free(_) => None,
        }
    }

    /// The entry at this index, if there is one.
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        match self.chunks.get_mut(index as usize / CHUNK)?.get_mut(index as usize % CHUNK)? {
            Slot::Taken(entry) => Some(entry),
            Slot::Free(_) => None,
        }
    }

    /// All entries with their indexes, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let slots = self.chunks.iter().flatten().enumerate();
        slots.filter_map(|(index, slot)| match slot {
            Slot::Taken(entry) => Some((index as u32, entry)),
            Slot::Free(_) => None,
        })
    }

    fn grow(&mut self) {
        let first = (self.chunks.len() * CHUNK) as u32;
        let end = first + CHUNK as u32;
        let next = |index| if index + 1 == end { NONE } else { index + 1 };
        self.chunks.push((first..end).map(|index| Slot::Free(next(index))).collect());
        self.free = first;
    }
}

impl<T> Index<u32> for Table<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        self.get(index).expect("the index names an entry")
    }
}

impl<T> IndexMut<u32> for Table<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        self.get_mut(index).expect("the index names an entry")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Against a map: the same entries under the same indexes, whatever is added and removed.
        #[test]
        fn agrees_with_a_map(steps in proptest::collection::vec(any::<(bool, u16)>(), 1..2_000)) {
            let mut table = Table::new();
            let mut model = BTreeMap::new();
            for (add, number) in steps {
                if add || model.is_empty() {
                    let expected = table.next_index();
                    let index = table.insert(number);
                    prop_assert_eq!(index, expected);
                    prop_assert!(model.insert(index, number).is_none());
                } else {
                    let at = usize::from(number) % model.len();
                    let index = *model.keys().nth(at).unwrap();
                    prop_assert_eq!(table.remove(index), model.remove(&index));
                    prop_assert_eq!(table.remove(index), None);
                }
                prop_assert_eq!(table.len(), model.len());
            }
            let entries: Vec<_> = table.iter().map(|(index, entry)| (index, *entry)).collect();
            prop_assert_eq!(entries, model.into_iter().collect::<Vec<_>>());
        }
    }
}
