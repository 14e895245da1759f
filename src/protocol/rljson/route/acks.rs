//! Who has heard of what: acknowledgements of refs (specs: rljson §4).

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::Ref;
use crate::protocol::socketio::Socket;
use crate::session::Instant;

/// From a ref's arrival to the answer that not all have heard of it. Clients wait 10 s (specs: rljson
/// §4): an answer at that time comes too late.
pub const ACK_WITHIN: Duration = Duration::from_secs(8);
/// Refs of a route whose acknowledgements are counted at once; the oldest is answered before a newer
/// one is begun.
pub const ACKS_MAX: usize = 256;

/// The answer to whoever announced a ref.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Who announced it.
    pub to: Socket,
    /// What it announced.
    pub reference: Ref,
    /// Everybody else has heard of it.
    pub ok: bool,
    /// Clients that have heard of it.
    pub received_by: usize,
    /// Clients that were told.
    pub total_clients: usize,
}

impl Ack {
    /// The answer that nothing came of it.
    pub(super) fn refused(to: Socket, reference: Ref) -> Self {
        Self { to, reference, ok: false, received_by: 0, total_clients: 0 }
    }

    /// An answer that needs nobody's acknowledgement.
    pub(super) fn at_once(to: Socket, reference: Ref, clients: usize) -> Self {
        Self { to, reference, ok: true, received_by: clients, total_clients: clients }
    }
}

/// A ref that not everybody has acknowledged.
#[derive(Debug)]
struct Open {
    to: Socket,
    reference: Ref,
    /// What was told instead of it, or the ref itself.
    told: Ref,
    waits_for: BTreeSet<Socket>,
    received_by: usize,
    total_clients: usize,
    until: Instant,
}

impl Open {
    fn answer(&self) -> Ack {
        Ack {
            to: self.to,
            reference: Ref::clone(&self.reference),
            ok: self.waits_for.is_empty(),
            received_by: self.received_by,
            total_clients: self.total_clients,
        }
    }
}

/// All acknowledgements of a route that are waited for, oldest first.
#[derive(Debug, Default)]
pub(super) struct Acks {
    open: VecDeque<Open>,
}

impl Acks {
    /// Everybody in `waits_for` was told `told` for what `to` announced at `since`.
    pub(super) fn begin(
        &mut self,
        (to, reference): (Socket, Ref),
        told: Ref,
        waits_for: BTreeSet<Socket>,
        since: Instant,
        out: &mut Vec<Ack>,
    ) {
        if waits_for.is_empty() {
            out.push(Ack::at_once(to, reference, 0));
            return;
        }
        if self.open.len() == ACKS_MAX {
            out.extend(self.open.pop_front().map(|open| open.answer()));
        }
        let (total_clients, until) = (waits_for.len(), since + ACK_WITHIN);
        let open = Open { to, reference, told, waits_for, received_by: 0, total_clients, until };
        self.open.push_back(open);
    }

    /// A client has heard of a ref.
    pub(super) fn hear(&mut self, from: Socket, told: &str, out: &mut Vec<Ack>) {
        for open in self.open.iter_mut().filter(|open| *open.told == *told) {
            open.received_by += usize::from(open.waits_for.remove(&from));
        }
        self.answer(|open| open.waits_for.is_empty(), out);
    }

    /// A client is gone: nobody waits for it, nor is it answered.
    pub(super) fn leave(&mut self, socket: Socket, out: &mut Vec<Ack>) {
        self.open.retain(|open| open.to != socket);
        for open in &mut self.open {
            open.waits_for.remove(&socket);
        }
        self.answer(|open| open.waits_for.is_empty(), out);
    }

    /// Answers what has waited long enough.
    pub(super) fn on_deadline(&mut self, now: Instant, out: &mut Vec<Ack>) {
        self.answer(|open| open.until <= now, out);
    }

    /// When the next answer is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.iter().map(|open| open.until).min()
    }

    fn answer(&mut self, is_due: impl Fn(&Open) -> bool, out: &mut Vec<Ack>) {
        self.open.retain(|open| {
            let due = is_due(open);
            if due {
                out.push(open.answer());
            }
            !due
        });
    }
}
