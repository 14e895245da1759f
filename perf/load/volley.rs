//! The same bytes to many sockets by one io_uring: a send for each, one `io_uring_enter` for all.
#![allow(unsafe_code)] // a submission names memory that must outlive it

use io_uring::{IoUring, opcode, types};
use rustix::fd::RawFd;

use crate::failure::{Failure, While};

/// Sends under way at once.
const ENTRIES: u32 = 1024;

/// The ring.
pub(crate) struct Volley {
    ring: IoUring,
}

impl Volley {
    /// Opens it.
    pub(crate) fn open() -> Result<Self, Failure> {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun();
        let ring = builder.build(ENTRIES).while_doing(|| "opening io_uring".to_owned())?;
        Ok(Self { ring })
    }

    /// Sends `bytes` to each socket as far as they fit. `sent` is told the place of each in
    /// `sockets`, and how many bytes that were, or why none.
    pub(crate) fn fire(
        &mut self,
        sockets: &[RawFd],
        bytes: &[u8],
        mut sent: impl FnMut(usize, std::io::Result<usize>),
    ) {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        for (round, some) in sockets.chunks(ENTRIES as usize).enumerate() {
            for (at, fd) in some.iter().enumerate() {
                let send = opcode::Send::new(types::Fd(*fd), bytes.as_ptr(), bytes.len() as u32);
                let entry = send.flags(flags).build().user_data(at as u64);
                // SAFETY: `bytes` is borrowed until this returns, which it does not before all have
                // completed.
                let pushed = unsafe { self.ring.submission().push(&entry) };
                assert!(pushed.is_ok(), "there are as many entries as sends");
            }
            let mut open = some.len();
            while open > 0 {
                match self.ring.submit_and_wait(open) {
                    Err(error) if error.raw_os_error() == Some(libc::EINTR) => continue,
                    Err(error) => {
                        eprintln!("load: io_uring_enter: {error}");
                        std::process::abort();
                    }
                    Ok(_) => {}
                }
                for done in self.ring.completion() {
                    open -= 1;
                    let place = round * ENTRIES as usize + done.user_data() as usize;
                    let result = match done.result() {
                        bytes if bytes >= 0 => Ok(bytes as usize),
                        error if -error == libc::EAGAIN || -error == libc::EINTR => Ok(0),
                        error => Err(std::io::Error::from_raw_os_error(-error)),
                    };
                    sent(place, result);
                }
            }
        }
    }
}
