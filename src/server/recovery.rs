//! Before any shard starts: what an earlier process left in the journal is read and given to the
//! shards that own it, and each gets a journal of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::clock::Clock;
use super::{Error, random_seed};
use crate::session::Instant;
use crate::shard::journaling::Journaling;
use crate::shard::mesh::{Item, Outlet};
use crate::shard::placement;
use crate::storage::journal::{
    Directory, Earlier, Epoch, Journal, Progress, Recovery, Settings, Sync, Syncer, recover,
};

/// Between two lines about how far recovery has come.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Where sessions are kept, and how.
#[derive(Clone, Debug)]
pub struct Durable {
    /// The data directory, which this process holds the lock of.
    pub data_dir: PathBuf,
    /// When the journal is synced.
    pub sync: Sync,
}

/// Each shard's part of the journal.
pub(super) fn start(
    durable: Option<&Durable>,
    peers: &[Outlet],
    clock: Clock,
) -> Result<Vec<Journaling>, Error> {
    let Some(durable) = durable else {
        return Ok(peers.iter().map(|_| Journaling::default()).collect());
    };
    open(durable, peers, clock)
        .map_err(|reason| Error::Process { what: "open the journal", reason })
}

fn open(durable: &Durable, peers: &[Outlet], clock: Clock) -> Result<Vec<Journaling>, String> {
    let Recovery { sessions, refused, epoch, bytes, records } = read(durable, clock)?;
    let refused = Arc::new(refused);
    let mut journalings: Vec<Journaling> = Vec::new();
    journalings.resize_with(peers.len(), || Journaling {
        refused: Arc::clone(&refused),
        ..Journaling::default()
    });
    if bytes > 0 {
        log::info!(
            scope = "process", event = "journal-recovered";
            "recovered {} sessions from {records} records in {bytes} bytes of journal",
            sessions.len()
        );
    }
    for session in sessions {
        let owner = placement::owner(&session.name, peers.len());
        journalings[owner].recovered.push(session);
    }
    let outlets = peers.to_vec();
    let syncer = Syncer::spawn(move |shard, done| {
        if let Some(outlet) = outlets.get(shard) {
            outlet.send_waiting(Item::Journal(done));
        }
    })?;
    let Epoch { key, path, root } = Epoch::create(&durable.data_dir, epoch, random_seed())?;
    let earlier = Earlier::new(&root, epoch, peers.len(), Epoch::remove_before);
    for (shard, journaling) in journalings.iter_mut().enumerate() {
        let volume = Arc::new(Directory::new(&path, shard as u32));
        journaling.journal = Some(Journal::open(
            Settings::new(key, shard, durable.sync),
            volume,
            syncer.clone(),
            journaling.recovered.len(),
            Some(Arc::clone(&earlier)),
        )?);
    }
    Ok(journalings)
}

/// Reads the journal, and tells of it if that takes long.
fn read(durable: &Durable, clock: Clock) -> Result<Recovery, String> {
    let mut told_at: Instant = clock.now().at;
    recover(&durable.data_dir, &mut |Progress { read, total }| {
        let now = clock.now().at;
        if now.since(told_at) >= PROGRESS_INTERVAL {
            told_at = now;
            log::info!(
                scope = "process", event = "journal-recovering";
                "recovering: {} of {} MiB of journal read", read >> 20, total >> 20
            );
        }
    })
}
