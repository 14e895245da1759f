//! The receive pool: page-aligned buffers that the kernel fills as bytes arrive, shared by all
//! connections of a shard (`io_uring_register_buf_ring`).
#![allow(unsafe_code)] // memory shared with the kernel

use std::cell::RefCell;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

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
}

#[derive(Debug)]
struct Shared {
    memory: Mapping,
    buffer_bytes: usize,
    /// Buffers that leases have given back and the kernel has not been offered yet.
    returned: RefCell<Vec<u16>>,
}

impl Pool {
    /// `count` buffers (a power of two, at most 32,768) of `buffer_bytes` each.
    pub(super) fn new(count: u16, buffer_bytes: usize) -> io::Result<Self> {
        assert!(count.is_power_of_two() && count <= 1 << 15, "a power of two up to 32,768");
        let memory = Mapping::new(usize::from(count) * buffer_bytes)?;
        let entries = Mapping::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let returned = RefCell::new((0..count).collect());
        let shared = Rc::new(Shared { memory, buffer_bytes, returned });
        Ok(Self { shared, entries, count, tail: 0 })
    }

    pub(super) fn ring_address(&self) -> u64 {
        self.entries.start.as_ptr() as u64
    }

    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// Offers returned buffers to the kernel.
    pub(super) fn replenish(&mut self) {
        let mut returned = self.shared.returned.borrow_mut();
        if returned.is_empty() {
            return;
        }
        let entries = self.entries.start.as_ptr().cast::<BufRingEntry>();
        for id in returned.drain(..) {
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

    /// Takes the buffer that the kernel has filled with `len` bytes.
    ///
    /// # Safety
    /// `id` must come from a completion that has not been leased before: the lease is the only
    /// way to the buffer until it is dropped.
    pub(super) unsafe fn lease(&self, id: u16, len: usize) -> Lease {
        assert!(id < self.count && len <= self.shared.buffer_bytes, "the kernel named our buffers");
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
