//! Who is in the world.

use std::collections::BTreeMap;

use super::player::Player;
use crate::session::Class;
use crate::session::map::GuardedMap;

/// Names a player for as long as it is in the world; smaller for those that came earlier.
pub(super) type Order = u64;

/// The players, in the order they came.
#[derive(Debug, Default)]
pub(super) struct Players {
    by_order: BTreeMap<Order, Player>,
    by_id: GuardedMap<Box<str>, Order>,
    /// Metadata of all, in bytes.
    metadata_bytes: usize,
    next_order: Order,
    next_class: Class,
}

impl Players {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_order.len()
    }

    /// Metadata of all, in bytes.
    pub(super) fn metadata_bytes(&self) -> usize {
        self.metadata_bytes
    }

    /// A class that no updates have had.
    pub(super) fn new_class(&mut self) -> Class {
        self.next_class += 1;
        self.next_class
    }

    /// The player of this id.
    pub(super) fn find(&self, id: &str) -> Option<Order> {
        self.by_id.get(id).copied()
    }

    /// A player.
    pub(super) fn get(&self, order: Order) -> Option<&Player> {
        self.by_order.get(&order)
    }

    /// Changes a player, and keeps count.
    pub(super) fn change<R>(
        &mut self,
        order: Order,
        change: impl FnOnce(&mut Player) -> R,
    ) -> Option<R> {
        let player = self.by_order.get_mut(&order)?;
        let before = player.metadata.bytes();
        let result = change(player);
        self.metadata_bytes = self.metadata_bytes + player.metadata.bytes() - before;
        Some(result)
    }

    /// Puts a player in the place of the one of its id, or behind all others.
    pub(super) fn put(&mut self, player: Player) -> Order {
        if let Some(order) = self.find(&player.id) {
            self.change(order, |own| *own = player);
            return order;
        }
        self.next_order += 1;
        self.metadata_bytes += player.metadata.bytes();
        self.by_id.insert(player.id.clone(), self.next_order);
        self.by_order.insert(self.next_order, player);
        self.next_order
    }

    /// Takes a player out.
    pub(super) fn remove(&mut self, order: Order) -> Option<Player> {
        let player = self.by_order.remove(&order)?;
        self.by_id.remove(&player.id);
        self.metadata_bytes -= player.metadata.bytes();
        Some(player)
    }

    /// Appends all of them as JSON.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (index, player) in self.by_order.values().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            player.write(out);
        }
        out.push(b']');
    }

    /// What must hold between any two calls.
    #[cfg(test)]
    pub(super) fn invariants(&self) {
        assert_eq!(self.by_order.len(), self.by_id.len());
        let bytes = self.by_order.values().map(|player| player.metadata.bytes());
        assert_eq!(bytes.sum::<usize>(), self.metadata_bytes);
        assert!(self.by_order.iter().all(|(order, player)| self.find(&player.id) == Some(*order)));
    }
}
