//! How the chat is loaded, recovered, recorded and stored.

use std::time::Duration;

use super::{Ask, World};
use crate::codec::json::{self, Raw};
use crate::protocol::Loaded;
use crate::protocol::comutiny::DEPTH_MAX;
use crate::protocol::comutiny::chat::Chat;
use crate::protocol::comutiny::fault::Fault;
use crate::protocol::socketio::{AckId, Io, Socket};
use crate::session::Instant;
use crate::session::effects::RecordName;
use crate::session::journal::{Entries, Position};

/// What the journal may have of the chat before it is stored anew, in bytes.
const UNSTORED_BYTES_MAX: usize = 1 << 20;
/// Payloads that may wait for the stored chat, in bytes, with [`INPUT_BYTES`] for each.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// What an event that waits costs beside its payload, in bytes.
const INPUT_BYTES: usize = 64;
/// Names the load; there is never more than one.
const TICKET: u32 = 1;

/// What is known of what is stored; if it cannot be read nobody may talk.
pub(super) type Phase = crate::protocol::phase::Phase<Waiting>;

/// What came before the stored chat.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    inputs: Vec<Input>,
    bytes: usize,
}

/// Something that waits.
#[derive(Debug)]
pub(super) enum Input {
    /// A client connected.
    Connect(Socket),
    /// A client asks for something.
    Ask { socket: Socket, ask: Ask, payload: Option<Box<str>>, ack: Option<AckId> },
}

impl Waiting {
    /// A client connected.
    pub(super) fn connect(&mut self, socket: Socket) {
        self.inputs.push(Input::Connect(socket));
    }

    /// A client asks for something. Whether it may wait.
    pub(super) fn hear(
        &mut self,
        socket: Socket,
        ask: Ask,
        payload: Option<Raw<'_>>,
        ack: Option<AckId>,
    ) -> bool {
        self.bytes += INPUT_BYTES + payload.map_or(0, |payload| payload.as_str().len());
        let may_wait = self.bytes <= WAITING_BYTES_MAX;
        if may_wait {
            let payload = payload.map(|payload| payload.as_str().into());
            self.inputs.push(Input::Ask { socket, ask, payload, ack });
        }
        may_wait
    }

    /// A client has gone.
    pub(super) fn withdraw(&mut self, who: Socket) {
        self.inputs.retain(|input| match input {
            Input::Connect(socket) | Input::Ask { socket, .. } => *socket != who,
        });
    }

    /// What waited, in order, but for those who connected: they are shown the world before anybody
    /// changes it, so that none is told of a change to what it has not been shown.
    pub(super) fn into_inputs(mut self) -> Vec<Input> {
        self.inputs.sort_by_key(|input| matches!(input, Input::Ask { .. }));
        self.inputs
    }
}

impl World {
    fn record_name(&self) -> RecordName {
        RecordName { namespace: "comutiny/worlds", names: vec![self.key.as_ref().to_owned()] }
    }

    /// Asks for what is stored, once.
    pub(super) fn load(&mut self, io: &mut Io<'_, '_>) {
        if matches!(self.phase, Phase::New) {
            self.phase = Phase::Loading(Waiting::default());
            io.fx.load(TICKET, vec![self.record_name()]);
        }
    }

    /// Takes on what is stored. The phase that this ends.
    pub(super) fn restore(&mut self, records: Loaded, io: &mut Io<'_, '_>) -> Phase {
        let nothing = Entries::default();
        let entries = self.recovered.as_ref().unwrap_or(&nothing);
        let restored = records.and_then(|mut records| {
            replay(records.pop().flatten().as_deref(), entries)
                .ok_or_else(|| "it is damaged".to_owned())
        });
        let phase = match restored {
            Ok(chat) => {
                self.chat = chat;
                if self.recovered.take().is_some() {
                    // Also when all was stored: the journal does not know.
                    self.keeper.touch(io.at(), Duration::ZERO);
                }
                Phase::Open
            }
            Err(why) => {
                io.fx.counters.storage_errors.increment();
                log::error!(
                    target: "comutiny", scope = "session", event = "load-failed";
                    "the chat of world {:?} cannot be read: {why}; nobody may talk", self.key
                );
                Phase::Unavailable
            }
        };
        std::mem::replace(&mut self.phase, phase)
    }

    /// Whether messages can be kept as they should be.
    pub(super) fn may_talk(&self, io: &Io<'_, '_>) -> Result<(), Fault> {
        match self.phase {
            Phase::Open if self.durable && io.fx.is_read_only() => Err(Fault::ReadOnly),
            Phase::Open => Ok(()),
            _ => Err(Fault::Unavailable),
        }
    }

    /// Records a message before it is told.
    pub(super) fn keep(&mut self, message: &str, io: &mut Io<'_, '_>) {
        if !self.durable {
            self.chat.take_fresh();
            return;
        }
        // What the chat began with has the first place after a restart as well.
        if let Some(greeting) = self.chat.take_fresh() {
            io.fx.record(&[greeting.as_bytes()]);
        }
        io.fx.record(&[message.as_bytes()]);
        self.unstored_bytes += message.len();
        let is_long = self.unstored_bytes > UNSTORED_BYTES_MAX;
        let delay_ms = if is_long { 0 } else { self.config().store_delay_ms };
        self.keeper.touch(io.at(), Duration::from_millis(delay_ms));
    }

    fn may_store(&self) -> bool {
        self.durable && matches!(self.phase, Phase::Open) && !self.drained
    }

    /// When to store next.
    pub(super) fn store_at(&self) -> Option<Instant> {
        self.keeper.deadline().filter(|_| self.may_store())
    }

    pub(super) fn store_if_due(&mut self, io: &mut Io<'_, '_>) {
        if self.may_store() && self.keeper.begin(io.at()) {
            self.store(io);
        }
    }

    /// The journal wants to be rid of what it has.
    pub(super) fn checkpoint(&mut self, io: &mut Io<'_, '_>) {
        if matches!(self.phase, Phase::Unavailable) {
            self.phase = Phase::New;
            self.load(io);
        } else {
            self.keeper.touch(io.at(), Duration::ZERO);
        }
    }

    /// The process stops.
    pub(super) fn store_at_the_end(&mut self, io: &mut Io<'_, '_>) {
        if self.may_store() && !self.keeper.is_clean() {
            self.store(io);
        }
        self.drained = true;
    }

    fn store(&mut self, io: &mut Io<'_, '_>) {
        let mut record = format!("{{\"journal\":{},\"chat\":", io.fx.recorded()).into_bytes();
        self.chat.write(&mut record);
        record.push(b'}');
        io.fx.store_base(self.record_name(), record);
        self.unstored_bytes = 0;
    }
}

/// The chat that a record, if there is one, and the entries behind it tell of.
fn replay(record: Option<&[u8]>, entries: &Entries) -> Option<Chat> {
    let mut chat = Chat::default();
    let mut stored: Position = 0;
    if let Some(record) = record {
        let text = std::str::from_utf8(record).ok()?;
        let [journal, messages] =
            json::object_fields(text, &["journal", "chat"], DEPTH_MAX).ok()?;
        stored = journal?.as_str().parse().ok()?;
        messages?.elements().for_each(|message| chat.push(message.as_str().into()));
    }
    for (_, entry) in entries.after(stored) {
        let message = json::parse(std::str::from_utf8(entry).ok()?, DEPTH_MAX).ok()?;
        chat.push(message.as_str().into());
    }
    Some(chat)
}
