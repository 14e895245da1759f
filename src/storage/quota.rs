//! How many bytes may be kept, and how many are.

/// Default quota of all files with `--in-memory`, in bytes.
pub const FILES_BYTES_MAX_IN_MEMORY: u64 = 256 << 20;
/// Quota of all blobs with `--in-memory`, in bytes.
pub const BLOBS_BYTES_MAX_IN_MEMORY: u64 = 256 << 20;
/// Quota of all records with `--in-memory`, in bytes. On disk they have none.
pub const RECORDS_BYTES_MAX_IN_MEMORY: u64 = 64 << 20;

/// A budget of bytes: some are used, some are promised to uploads that run.
#[derive(Debug)]
pub(super) struct Quota {
    max: u64,
    used: u64,
    reserved: u64,
}

impl Quota {
    /// A budget of `max` bytes of which `used` are spent; that may be more than there are.
    pub(super) fn new(max: u64, used: u64) -> Self {
        Self { max, used, reserved: 0 }
    }

    pub(super) fn max(&self) -> u64 {
        self.max
    }

    #[cfg(test)]
    pub(super) fn used_and_reserved(&self) -> (u64, u64) {
        (self.used, self.reserved)
    }

    /// Promises bytes, or says that there is no room.
    #[must_use]
    pub(super) fn reserve(&mut self, bytes: u64) -> bool {
        let room = self.max.saturating_sub(self.used).saturating_sub(self.reserved);
        if bytes <= room {
            self.reserved += bytes;
        }
        bytes <= room
    }

    /// Takes a promise back.
    pub(super) fn release(&mut self, bytes: u64) {
        assert!(bytes <= self.reserved, "more released than was reserved");
        self.reserved -= bytes;
    }

    /// `new` bytes have taken the place of `old` bytes.
    pub(super) fn replace(&mut self, old: u64, new: u64) {
        // Files removed by an operator while the process runs are not known here.
        self.used = self.used.saturating_sub(old).saturating_add(new);
    }
}
