//! Who is connected to which namespace, and what is open between client and application.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::assembly::Assembly;
use super::hello::KeptHello;
use super::id::SocketId;
use super::recovery::Recovery;
use super::requests::Requests;
use super::{AckId, Socket, Unanswered};
use crate::codec::socketio::prefix;
use crate::session::map::Map;
use crate::session::{Instant, MemberId};

/// Events of one member that the application may still acknowledge later. With one more, the oldest
/// is not acknowledged any more.
pub const ACKS_OPEN_MAX: usize = 256;

/// What every client of an application shares with the packets it is sent.
#[derive(Debug)]
pub(super) struct Sockets {
    namespaces: Vec<Namespace>,
    members: Map<MemberId, Member>,
    pub(super) requests: Requests,
    /// What the application is to be told, in order.
    notices: VecDeque<Notice>,
    /// The event that the application is being told, if it is to be acknowledged and is not yet.
    answering: Option<(Socket, AckId)>,
    /// Names that were given.
    named: u64,
    /// What is kept for those who may come back; nobody may, if there is none.
    pub(super) recovery: Option<Box<Recovery>>,
    /// The client that connects has come back.
    pub(super) is_back: bool,
}

#[derive(Debug)]
struct Namespace {
    /// What stands for it in packets.
    prefix: String,
    /// Ack id of the next request.
    next_request: u64,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Member {
    presences: SmallVec<[Presence; 1]>,
    /// None once it cannot be needed any more.
    pub(super) hello: Option<KeptHello>,
    /// The packet whose attachments are due.
    pub(super) assembly: Option<Box<Assembly>>,
    /// Events to be acknowledged later, oldest first; most often there are none.
    acks: Option<Box<Acks>>,
}

#[derive(Clone, Copy, Debug)]
struct Presence {
    id: SocketId,
    namespace: u8,
}

#[derive(Debug, Default)]
struct Acks(VecDeque<(u8, AckId)>);

/// What an application is told of by nobody's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// A request has no answer.
    Unanswered(Socket, u64, Unanswered),
    /// A client is in its namespace no more.
    Disconnected(Socket),
}

impl Sockets {
    /// Nobody, in these namespaces.
    pub(super) fn new(namespaces: &[&str]) -> Self {
        let namespace = |name: &&str| Namespace { prefix: prefix(name), next_request: 0 };
        Self {
            namespaces: namespaces.iter().map(namespace).collect(),
            members: Map::default(),
            requests: Requests::default(),
            notices: VecDeque::new(),
            answering: None,
            named: 0,
            recovery: None,
            is_back: false,
        }
    }

    /// What stands for a namespace in packets.
    pub(super) fn prefix(&self, namespace: u8) -> &str {
        self.namespaces.get(usize::from(namespace)).map_or("", |namespace| &namespace.prefix)
    }

    /// A connection has come.
    pub(super) fn enter(&mut self, member: MemberId, hello: KeptHello) {
        let presences = SmallVec::new();
        let member_state = Member { presences, hello: Some(hello), assembly: None, acks: None };
        self.members.insert(member, member_state);
    }

    /// A connection has gone, from all its namespaces.
    pub(super) fn leave(&mut self, member: MemberId, now: Instant) {
        while let Some(namespace) = self.members.get(&member).and_then(Member::last_joined) {
            let socket = Socket { member, namespace };
            if let Some(recovery) = &mut self.recovery {
                recovery.lose(socket, now);
            }
            self.disconnect(socket);
        }
        self.members.remove(&member);
    }

    /// A connection's state.
    pub(super) fn member(&mut self, member: MemberId) -> Option<&mut Member> {
        self.members.get_mut(&member)
    }

    /// Connections.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether the client is in its namespace.
    pub(super) fn is_connected(&self, socket: Socket) -> bool {
        self.id(socket).is_some()
    }

    /// Whether the connection is in all namespaces.
    pub(super) fn is_everywhere(&self, member: MemberId) -> bool {
        let joined = self.members.get(&member).map_or(0, |member| member.presences.len());
        joined == self.namespaces.len()
    }

    /// What the client is called.
    pub(super) fn id(&self, socket: Socket) -> Option<SocketId> {
        let presences = &self.members.get(&socket.member)?.presences;
        let own = presences.iter().find(|presence| presence.namespace == socket.namespace)?;
        Some(own.id)
    }

    /// A client is in a namespace; what it is called, which for one who is back is what it was.
    pub(super) fn connect(
        &mut self,
        socket: Socket,
        random: u64,
        back: Option<SocketId>,
    ) -> SocketId {
        self.named += 1;
        let id = back.unwrap_or_else(|| SocketId::new(random, self.named));
        if let Some(member) = self.members.get_mut(&socket.member) {
            member.presences.push(Presence { id, namespace: socket.namespace });
        }
        id
    }

    /// A client was in its namespace; the application is to be told. Whether it was.
    pub(super) fn disconnect(&mut self, socket: Socket) -> bool {
        let was_connected = self.remove(socket);
        if was_connected {
            // Who hears that there is no answer is to know why.
            self.notices.push_back(Notice::Disconnected(socket));
            while let Some(request) = self.requests.close_first(socket) {
                self.notices.push_back(Notice::Unanswered(socket, request, Unanswered::Gone));
            }
        }
        was_connected
    }

    /// A client was not let in after all: the application knows.
    pub(super) fn refuse(&mut self, socket: Socket) {
        self.remove(socket);
        while self.requests.close_first(socket).is_some() {}
    }

    fn remove(&mut self, socket: Socket) -> bool {
        let Some(member) = self.members.get_mut(&socket.member) else { return false };
        let is_own = |presence: &Presence| presence.namespace == socket.namespace;
        let Some(place) = member.presences.iter().position(is_own) else { return false };
        member.presences.remove(place);
        if let Some(recovery) = &mut self.recovery {
            recovery.forget(socket);
        }
        if let Some(acks) = &mut member.acks {
            acks.0.retain(|(namespace, _)| *namespace != socket.namespace);
        }
        self.answering.take_if(|(answered, _)| *answered == socket);
        true
    }

    /// The application is about to be told of an event.
    pub(super) fn begin_event(&mut self, socket: Socket, ack: Option<AckId>) {
        self.answering = ack.map(|ack| (socket, ack));
    }

    /// The application was told of an event. If it is to be acknowledged still, it may be later.
    pub(super) fn end_event(&mut self) {
        let Some((socket, ack)) = self.answering.take() else { return };
        let Some(member) = self.members.get_mut(&socket.member) else { return };
        let open = &mut member.acks.get_or_insert_default().0;
        if open.len() >= ACKS_OPEN_MAX {
            open.pop_front();
        }
        open.push_back((socket.namespace, ack));
    }

    /// Whether the client waits for this acknowledgement; it does not any more.
    pub(super) fn take_ack(&mut self, socket: Socket, ack: AckId) -> bool {
        if self.answering.take_if(|answered| *answered == (socket, ack)).is_some() {
            return true;
        }
        let Some(member) = self.members.get_mut(&socket.member) else { return false };
        let Some(acks) = &mut member.acks else { return false };
        let Some(place) = acks.0.iter().position(|open| *open == (socket.namespace, ack)) else {
            return false;
        };
        acks.0.remove(place);
        if acks.0.is_empty() {
            member.acks = None;
        }
        true
    }

    /// Opens a request; its number, and whether the client is there to be asked.
    pub(super) fn open_request(&mut self, socket: Socket, due: Instant) -> (u64, bool) {
        let Some(namespace) = self.namespaces.get_mut(usize::from(socket.namespace)) else {
            return (0, false);
        };
        let number = namespace.next_request;
        namespace.next_request += 1;
        let is_connected = self.is_connected(socket);
        if !is_connected {
            self.notices.push_back(Notice::Unanswered(socket, number, Unanswered::Gone));
        } else if let Some((socket, number)) = self.requests.open(socket, number, due) {
            self.notices.push_back(Notice::Unanswered(socket, number, Unanswered::TimedOut));
        }
        (number, is_connected)
    }

    /// Gives up requests whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((socket, number)) = self.requests.expire(now) {
            self.notices.push_back(Notice::Unanswered(socket, number, Unanswered::TimedOut));
        }
    }

    /// What the application is to be told next.
    pub(super) fn next_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// What must hold between any two calls.
    pub(super) fn invariants(&self) {
        assert!(self.notices.is_empty() && self.answering.is_none());
        self.requests.invariants();
        self.recovery.iter().for_each(|recovery| recovery.invariants());
        assert!(self.requests.iter().all(|(socket, _)| self.is_connected(socket)));
        for member in self.members.values() {
            let open = member.acks.iter().flat_map(|acks| &acks.0);
            assert!(open.clone().count() <= ACKS_OPEN_MAX);
            let mut namespaces = open.map(|(namespace, _)| *namespace);
            assert!(namespaces.all(|namespace| member.is_in(namespace)));
            let due = member.assembly.iter().map(|assembly| assembly.socket().namespace);
            assert!(
                due.into_iter().all(|namespace| usize::from(namespace) < self.namespaces.len())
            );
        }
    }
}

impl Member {
    fn last_joined(&self) -> Option<u8> {
        self.presences.last().map(|presence| presence.namespace)
    }

    fn is_in(&self, namespace: u8) -> bool {
        self.presences.iter().any(|presence| presence.namespace == namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a connection costs at rest: with its key, and as full as such tables are on average.
    #[test]
    fn a_member_is_small() {
        assert!(size_of::<(MemberId, Member)>() <= 72, "{}", size_of::<Member>());
    }
}
