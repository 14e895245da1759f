//! The receive pool: page-aligned buffers that the kernel fills as bytes arrive, shared by all
//! connections of a shard (`io_uring_register_buf_ring`).
//!
//! The kernel takes the buffers that it is offered one after the other. Were it offered all of them, it
//! would go round all of their memory, however little arrives at once. So it is offered few, those used
//! last first, and more once they have not sufficed. When nothing has arrived for a while their memory
//! is given back.
#![allow(unsafe_code)] // memory shared with the kernel

use std::cell::RefCell;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// Buffers that the kernel is offered at first.
const OFFER_MIN: u16 = 32;

/// Anonymous memory of our own.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn new(len: usize) -> io::Result<Self> {
        let flags = MapFlags::PRIVATE;
        // SAFETY: a fresh anonymous mapping aliases nothing.
        let start = unsafe {
            mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, flags)?
        };
        NonNull::new(start.cast())
            .map(|start| Self { start, len })
            .ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and nothing outlives the pool that owns it.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// Buffers of equal size and the ring that offers them to the kernel.
#[derive(Debug)]
pub(super) struct Pool {
    shared: Rc<Shared>,
    entries: Mapping,
    count: u16,
    tail: u16,
    /// Buffers that the kernel has been offered and has not taken, and how many that is to be.
    offered: u16,
    offer: u16,
    /// They have not sufficed.
    is_short: bool,
    /// Buffers that were taken since memory was given back, those taken again included.
    taken: u32,
}

#[derive(Debug)]
struct Shared {
    memory: Mapping,
    buffer_bytes: usize,
    /// Buffers in nobody's hands, those last used last.
    returned: RefCell<Vec<u16>>,
}

impl Pool {
    /// `count` buffers (a power of two, at most 32,768) of `buffer_bytes` each.
    pub(super) fn new(count: u16, buffer_bytes: usize) -> io::Result<Self> {
        assert!(count.is_power_of_two() && count <= 1 << 15, "a power of two up to 32,768");
        let memory = Mapping::new(usize::from(count) * buffer_bytes)?;
        let entries = Mapping::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let returned = RefCell::new((0..count).rev().collect());
        let shared = Rc::new(Shared { memory, buffer_bytes, returned });
        let offer = OFFER_MIN.min(count);
        Ok(Self { shared, entries, count, tail: 0, offered: 0, offer, is_short: false, taken: 0 })
    }

    pub(super) fn ring_address(&self) -> u64 {
        self.entries.start.as_ptr() as u64
    }

    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// The kernel had no buffer for what has come.
    pub(super) fn fell_short(&mut self) {
        self.is_short = true;
    }

    /// Offers the kernel as many buffers as it is to have.
    pub(super) fn replenish(&mut self) {
        if std::mem::take(&mut self.is_short) {
            self.offer = self.count.min(2 * self.offer);
        }
        let mut returned = self.shared.returned.borrow_mut();
        if returned.is_empty() || self.offered >= self.offer {
            return;
        }
        let entries = self.entries.start.as_ptr().cast::<BufRingEntry>();
        while self.offered < self.offer
            && let Some(id) = returned.pop()
        {
            self.offered += 1;
            let slot = usize::from(self.tail & (self.count - 1));
            // SAFETY: `slot` is within the mapping, which holds `count` entries; the kernel reads
            // an entry only after the tail below has moved past it, and a returned buffer is in
            // nobody's hands, so the slot it needs is free.
            let entry = unsafe { &mut *entries.add(slot) };
            entry.set_addr(self.shared.address(id).as_ptr() as u64);
            entry.set_len(self.shared.buffer_bytes as u32);
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
        }
        // SAFETY: the ring's tail lies in its first entry, is aligned for u16 and only we write it.
        unsafe {
            let tail = BufRingEntry::tail(entries).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }

    /// Gives back the memory of all buffers, and offers few of them again, if there is no lease and more
    /// than those few were used.
    ///
    /// # Safety
    /// Every buffer that the kernel has filled was leased, and it fills none meanwhile.
    pub(super) unsafe fn rest(&mut self) {
        let at_rest = self.shared.returned.borrow().len() + usize::from(self.offered);
        if self.taken <= u32::from(OFFER_MIN) || at_rest < usize::from(self.count) {
            return;
        }
        (self.taken, self.offer) = (0, OFFER_MIN.min(self.count));
        let Mapping { start, len } = self.shared.memory;
        // SAFETY: the pages are private and nobody's to read: those used next are zero at first. If the
        // kernel refuses they stay as they are.
        let _ = unsafe { madvise(start.as_ptr().cast(), len, Advice::LinuxDontNeed) };
    }

    /// Takes the buffer that the kernel has filled with `len` bytes.
    ///
    /// # Safety
    /// `id` must come from a completion that has not been leased before: the lease is the only
    /// way to the buffer until it is dropped.
    pub(super) unsafe fn lease(&mut self, id: u16, len: usize) -> Lease {
        assert!(id < self.count && len <= self.shared.buffer_bytes, "the kernel named our buffers");
        self.offered -= 1;
        self.taken = self.taken.saturating_add(1);
        Lease { pool: Rc::clone(&self.shared), id, len }
    }
}

impl Shared {
    fn address(&self, id: u16) -> NonNull<u8> {
        // SAFETY: `id` is below the number of buffers, so the offset lies within the mapping.
        unsafe { self.memory.start.add(usize::from(id) * self.buffer_bytes) }
    }
}

/// Received bytes in a buffer of the pool, which gets it back when this is dropped.
#[derive(Debug)]
pub struct Lease {
    pool: Rc<Shared>,
    id: u16,
    len: usize,
}

impl Deref for Lease {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the kernel has filled `len` bytes and will not touch the buffer until it is
        // offered again, which happens only after this lease is dropped.
        unsafe { std::slice::from_raw_parts(self.pool.address(self.id).as_ptr(), self.len) }
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; and a buffer has one lease at most.
        unsafe { std::slice::from_raw_parts_mut(self.pool.address(self.id).as_ptr(), self.len) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.returned.borrow_mut().push(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes these as if the kernel had filled them.
    fn take(pool: &mut Pool, ids: std::ops::Range<u16>) -> Vec<Lease> {
        // SAFETY: the kernel knows nothing of this pool.
        ids.map(|id| unsafe { pool.lease(id, 1) }).collect()
    }

    #[test]
    fn more_is_offered_once_it_has_not_sufficed_and_less_after_a_rest() {
        let mut pool = Pool::new(128, 4096).unwrap();
        pool.replenish();
        assert_eq!((pool.offered, pool.tail), (32, 32));
        let mut leases = take(&mut pool, 0..32);
        leases[0][0] = 7;
        pool.fell_short();
        pool.fell_short();
        pool.replenish();
        assert_eq!((pool.offered, pool.tail), (64, 96));
        leases.extend(take(&mut pool, 32..96));
        // SAFETY: as above.
        unsafe { pool.rest() };
        assert_eq!(leases[0][0], 7, "somebody has it");
        leases.clear();
        pool.replenish();
        assert_eq!(pool.offered, 64);
        // SAFETY: as above.
        unsafe { pool.rest() };
        drop(take(&mut pool, 0..33));
        pool.replenish();
        assert_eq!((pool.offered, pool.offer), (32, 32));
        assert_eq!(take(&mut pool, 0..1)[0][0], 0, "its memory was given back");
    }
}
