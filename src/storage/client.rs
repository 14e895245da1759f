//! The shards' end of the storage.

use std::fmt;
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError, bounded};

use super::request::{HandleId, Operation, Request, UploadId};

/// Requests that may wait for the worker.
pub(super) const REQUESTS_QUEUED_MAX: usize = 1024;
/// Posts that may wait for their thread.
pub(super) const POSTS_QUEUED_MAX: usize = 64;

/// What the worker's queue carries.
pub(super) enum Work {
    Request(Request),
    /// Answered when everything submitted before is done.
    Barrier(Sender<()>),
}

/// What need not wait for its turn.
#[derive(Clone, Copy)]
pub(super) enum Release {
    Upload(UploadId),
    Handle(HandleId),
}

/// Submits requests. Cheap to clone and to send; the storage ends when the last clone is dropped.
#[derive(Clone)]
pub struct Client {
    pub(super) work: Sender<Work>,
    pub(super) posts: Sender<Request>,
    pub(super) releases: Sender<Release>,
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client").field("queued", &self.work.len()).finish_non_exhaustive()
    }
}

/// The queue is full: the request was not taken, and is given back.
#[derive(Debug)]
pub struct Busy(
    /// The request as it was submitted.
    pub Request,
);

impl Client {
    /// Submits a request without waiting.
    ///
    /// Aborts and closes have a queue of their own, with room for all there can be at once: they
    /// are never refused as long as each upload and handle is given up once.
    pub fn submit(&self, request: Request) -> Result<(), Busy> {
        match request.operation {
            Operation::PutAbort { upload } => self.release(request, Release::Upload(upload)),
            Operation::GetClose { handle } => self.release(request, Release::Handle(handle)),
            Operation::Post { .. } => {
                self.posts.try_send(request).map_err(|error| Busy(error.into_inner()))
            }
            _ => self.work.try_send(Work::Request(request)).map_err(refused),
        }
    }

    /// Waits until everything submitted before is done and answered, posts excepted. Returns
    /// whether that was so within the given time. Never call it on a shard: it blocks.
    pub fn drain(&self, within: Duration) -> bool {
        let (done, waits) = bounded(1);
        let sent = self.work.send_timeout(Work::Barrier(done), within);
        sent.is_ok() && waits.recv_timeout(within).is_ok()
    }

    fn release(&self, request: Request, release: Release) -> Result<(), Busy> {
        self.releases.try_send(release).map_err(|_| Busy(request))
    }
}

fn refused(error: TrySendError<Work>) -> Busy {
    match error.into_inner() {
        Work::Request(request) => Busy(request),
        Work::Barrier(_) => unreachable!("only requests are tried"),
    }
}
