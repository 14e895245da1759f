//! Who is told the latest ref when, and who is not.

use std::collections::BTreeSet;

use super::work::{Said, server_payload};
use super::{Announcement, Client, Done, Ref, Route};
use crate::protocol::socketio::Socket;
use crate::session::Instant;

/// What became of something that a client announced, in its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It announced nothing later.
    Newest,
    /// It announced something later.
    Older,
    /// It was of an earlier connection, and has put in place what it read on this one.
    Overwritten,
}

impl Client {
    /// What has become of this in its folder, if it was this client that announced it.
    fn standing(&self, announced: &Announcement) -> Standing {
        match &self.done {
            Done::Read(read) if *read == announced.payload.reference => Standing::Newest,
            Done::Read(_) => Standing::Overwritten,
            _ if announced.number < self.newest => Standing::Older,
            _ => Standing::Newest,
        }
    }

    /// Whether it may have announced this on an earlier connection.
    fn may_have_sent(&self, announced: &Announcement) -> bool {
        let origin = announced.payload.origin();
        let is_run = self.origin.as_deref().is_none_or(|own| own == origin);
        self.came >= announced.number && !origin.is_empty() && is_run
    }
}

impl Route {
    /// Who is told of a new ref now.
    pub(super) fn told(&mut self) -> Vec<Socket> {
        let is_told = |socket: &Socket| !self.held_back.contains(socket);
        let (told, missed) = self.clients.keys().copied().partition(is_told);
        self.missed.extend::<Vec<_>>(missed);
        told
    }

    /// Tells others of what somebody announced, as it came; who they are.
    ///
    /// Its announcer may be among them, on a newer connection, and takes nothing for news that bears its own
    /// name (specs: rljson §4). If it has put another tree in place, here or before (`is_overwritten`), it is
    /// told in the server's name, else asked first whether it has this one.
    pub(super) fn relay(
        &mut self,
        announced: &Announcement,
        is_overwritten: bool,
    ) -> BTreeSet<Socket> {
        let Announcement { from, payload, .. } = announced;
        let (mut others, mut back) = (Vec::new(), Vec::new());
        for socket in self.told() {
            match self.standing_if_back(socket, announced) {
                _ if socket == *from => {}
                None => others.push(socket),
                Some(Standing::Overwritten) => back.push(socket),
                Some(Standing::Newest) if is_overwritten => back.push(socket),
                Some(Standing::Newest | Standing::Older) => {
                    self.missed.insert(socket);
                }
            }
        }
        let told = others.iter().chain(&back).copied().collect();
        if !others.is_empty() {
            let payload = payload.relayed(&format!("client_{}_{}", from.member.0, from.namespace));
            self.said.push(Said::Ref { to: others, payload });
        }
        if !back.is_empty() {
            let payload = server_payload(payload.reference(), true);
            self.said.push(Said::Ref { to: back, payload });
        }
        told
    }

    /// What has become of this in the folder of a client that may be its announcer, back again.
    fn standing_if_back(&self, socket: Socket, announced: &Announcement) -> Option<Standing> {
        if self.came_last < announced.number {
            // Nobody has come since.
            return None;
        }
        let client = self.clients.get(&socket).filter(|client| client.may_have_sent(announced))?;
        Some(client.standing(announced))
    }

    /// Tells these clients nothing until it is called without them. Who has missed something then is
    /// told the latest ref as if it had just come.
    pub fn hold_back(&mut self, sockets: BTreeSet<Socket>, now: Instant) {
        self.held_back = sockets;
        while let Some(socket) = self.missed.difference(&self.held_back).next().copied() {
            self.missed.remove(&socket);
            self.bootstraps.begin(socket, now);
        }
    }

    /// Tells one client the latest ref.
    pub(super) fn tell_latest(&mut self, socket: Socket) {
        let Some(latest) = self.latest.as_ref().filter(|_| self.clients.contains_key(&socket))
        else {
            return;
        };
        if self.held_back.contains(&socket) {
            self.missed.insert(socket);
            if let Some(client) = self.clients.get_mut(&socket) {
                client.lacks = Some(Ref::clone(latest));
            }
        } else {
            let payload = server_payload(latest, true);
            self.said.push(Said::Ref { to: vec![socket], payload });
        }
    }

    /// Tells a client the latest ref, over which it has what it announced. If it announced something since
    /// that is not taken in yet, it is asked first whether it has not got that.
    pub(super) fn tell_sender(&mut self, from: Socket, standing: Option<Standing>) {
        let Some(client) = self.clients.get(&from) else { return };
        let is_known = client.taken_in == client.newest;
        match standing {
            Some(Standing::Older) if is_known && client.has == self.latest => {}
            Some(Standing::Older) if !is_known => drop(self.missed.insert(from)),
            Some(_) => self.tell_latest(from),
            None => {}
        }
    }

    /// What became of this with the client that it was fetched from; none if that is not there.
    pub(super) fn standing(&self, announced: &Announcement) -> Option<Standing> {
        self.clients.get(&announced.from).map(|client| client.standing(announced))
    }

    /// A client has this tree, as it says itself, and was not told of it, if it is still the latest. Of
    /// another that says nothing: it may have put a newer one in its place. Nor does it if it has read
    /// another since it was asked.
    pub fn has(&mut self, socket: Socket, reference: &Ref) {
        if let Some(client) = self.clients.get_mut(&socket)
            && self.latest.as_ref() == Some(reference)
            && client.lacks.as_ref() != Some(reference)
        {
            client.has = Some(Ref::clone(reference));
        }
    }

    /// Tells those who came a while ago, as often as they are told.
    pub(super) fn tell_newcomers(&mut self, now: Instant) {
        for socket in self.bootstraps.due(now) {
            if self.held_back.contains(&socket) {
                self.missed.insert(socket);
            }
            let Some(payload) = self.bootstrap_of(socket) else { continue };
            let client = self.clients.get_mut(&socket);
            let lacks = client.and_then(|client| client.lacks.take());
            let may_have = lacks.is_none() || lacks != self.latest;
            self.said.push(Said::Bootstrap { to: socket, payload, may_have });
        }
    }

    /// What a client is to be told by a bootstrap now, if anything.
    pub fn bootstrap_of(&self, socket: Socket) -> Option<String> {
        let latest = self.latest.as_ref().filter(|_| self.needs_bootstrap(socket))?;
        Some(server_payload(latest, false))
    }

    /// Whether a client lacks the latest ref, and has announced nothing that is still to be merged.
    fn needs_bootstrap(&self, socket: Socket) -> bool {
        let is_merging = self.merging.as_ref().is_some_and(|merging| merging.from == socket);
        let client = self.clients.get(&socket);
        !is_merging
            && !self.held_back.contains(&socket)
            && !self.queue.has_of(socket)
            && client.is_some_and(|client| client.has != self.latest)
    }
}
