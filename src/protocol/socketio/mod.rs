//! Socket.IO (protocol 5): namespaces, events, acknowledgements, binary attachments, over Engine.IO
//! (specs: socketio §8).
//!
//! Engine.IO, the transport below, is the shard's: to a machine its members look like any others, a
//! text message being what follows the `4` of a message packet, and a binary message an attachment.
//! An [`Application`] is the state machine above: it gets connects, events and acknowledgements, and
//! answers through an [`Io`]. What relays JSON hands it on as it came, as raw text.
//!
//! Broadcasts to the first namespace go to the session's history: encoded once, for all receivers of
//! both transports.

mod assembly;
pub mod conformance;
mod hello;
mod id;
mod io;
mod recovery;
mod requests;
#[cfg(test)]
pub(crate) mod said;
mod server;
mod sockets;
mod values;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::codec::json::{Elements, Raw};
use crate::session::blobs::{BlobDone, BlobError};
use crate::session::effects::RecordName;
use crate::session::journal::Entries;
use crate::session::{Close, Instant, MemberId};

use super::{Config, Hello, Liveness, Loaded};

pub use id::SocketId;
pub use io::Io;
pub use requests::REQUESTS_OPEN_MAX;
pub use server::Server;
pub use sockets::ACKS_OPEN_MAX;

/// How a connection is closed that breaks the protocol, or is kicked: without a status, as the
/// original does (specs: socketio §7).
pub const CLOSE: Close = Close::new(1005, "");

/// A member's presence in a namespace: what Socket.IO calls a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Socket {
    /// The connection.
    pub member: MemberId,
    /// Index in [`Application::namespaces`].
    pub namespace: u8,
}

/// What an event of a client is to be acknowledged with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AckId(pub u64);

/// Values that were sent, and the bytes that stand for their placeholders
/// (`{"_placeholder":true,"num":0}`). Every placeholder names one of the attachments.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    /// The values.
    pub values: Elements<'a>,
    /// Binary attachments, in order.
    pub attachments: &'a [Vec<u8>],
}

/// An event of a client.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// Its name: a string or a number.
    pub name: Raw<'a>,
    /// What was sent with it.
    pub args: Values<'a>,
    /// The client wants it acknowledged.
    pub ack: Option<AckId>,
}

/// Why a client may not connect to a namespace: becomes a CONNECT_ERROR packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its `message`.
    pub message: String,
    /// Its `data`, as JSON.
    pub data: Option<String>,
}

/// Why a request to a client has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// It did not answer in time.
    TimedOut,
    /// It has gone.
    Gone,
}

/// What is said on Socket.IO. Pure, like every machine: called with one input, and answers with
/// effects.
pub trait Application: std::fmt::Debug {
    /// The namespaces there are, by index; broadcasts go to the first.
    fn namespaces(&self) -> &'static [&'static str] {
        &["/"]
    }

    /// Whether a client may connect again to a namespace that it has left, on the same connection.
    /// If not, such a connection is closed, for what its upgrade request told is forgotten once it
    /// is in all namespaces: worth some 100 bytes for each. Clients of the original open a new
    /// connection when they have left their last namespace.
    fn may_return(&self) -> bool {
        true
    }

    /// A client asks to connect to a namespace. `auth` is an object, if it sent any. On success the
    /// CONNECT answer is sent before what is said in this call.
    fn on_connect(
        &mut self,
        socket: Socket,
        hello: &Hello,
        auth: Option<Raw<'_>>,
        io: &mut Io<'_, '_>,
    ) -> Result<(), Refusal>;

    /// A client said something.
    fn on_event(&mut self, socket: Socket, event: Event<'_>, io: &mut Io<'_, '_>);

    /// A client answered the request of this number ([`Io::request`]), or will not. Of one that has
    /// gone this is told after its [`Application::on_disconnect`].
    fn on_answer(
        &mut self,
        socket: Socket,
        request: u64,
        answer: Result<Values<'_>, Unanswered>,
        io: &mut Io<'_, '_>,
    ) {
        let _ = (socket, request, answer, io);
    }

    /// A client has left a namespace, or its connection has ended.
    fn on_disconnect(&mut self, socket: Socket, io: &mut Io<'_, '_>);

    /// The time asked for by [`Application::deadline`] has come. May be called early.
    fn on_deadline(&mut self, io: &mut Io<'_, '_>) {
        let _ = io;
    }

    /// When [`Application::on_deadline`] is next due.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// See [`Machine::on_open`](super::Machine::on_open).
    fn on_open(&mut self, io: &mut Io<'_, '_>) {
        let _ = io;
    }

    /// See [`Machine::on_loaded`](super::Machine::on_loaded).
    fn on_loaded(&mut self, ticket: u32, records: Loaded, io: &mut Io<'_, '_>) {
        let _ = (ticket, records, io);
    }

    /// See [`Machine::on_recovered`](super::Machine::on_recovered).
    fn on_recovered(&mut self, entries: Entries, io: &mut Io<'_, '_>) {
        let _ = (entries, io);
    }

    /// See [`Machine::on_checkpoint`](super::Machine::on_checkpoint).
    fn on_checkpoint(&mut self, io: &mut Io<'_, '_>) {
        let _ = io;
    }

    /// See [`Machine::on_stored`](super::Machine::on_stored).
    fn on_stored(&mut self, record: &RecordName, result: Result<(), String>, io: &mut Io<'_, '_>) {
        let _ = (record, result, io);
    }

    /// See [`Machine::on_blob`](super::Machine::on_blob).
    fn on_blob(&mut self, ticket: u32, result: Result<BlobDone, BlobError>, io: &mut Io<'_, '_>) {
        let _ = (ticket, result, io);
    }

    /// See [`Machine::on_configured`](super::Machine::on_configured).
    fn on_configured(&mut self, config: &Arc<Config>, io: &mut Io<'_, '_>) {
        let _ = (config, io);
    }

    /// See [`Machine::on_drain`](super::Machine::on_drain).
    fn on_drain(&mut self, io: &mut Io<'_, '_>) {
        let _ = io;
    }

    /// Whether the session may be forgotten, given that nobody is connected.
    fn is_over(&self) -> bool;

    /// One line for `/sessions`.
    fn describe(&self) -> String;
}

/// Deadlines of a connection besides Engine.IO's: a namespace is to be connected to in time.
pub const LIVENESS: Liveness = Liveness {
    first_ping: None,
    ping: None,
    silence: None,
    join: Some((Duration::from_secs(45), CLOSE)),
};

/// Time a client has to answer a request that says nothing else.
pub const ANSWER_MAX: Duration = Duration::from_secs(30);
