//! Counters of one shard. Each has exactly one writer, its shard, and any reader: a plain load and
//! store, no locked instruction. One list gives field, exported name and help text.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number written by one thread and read by any.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning shard may call this.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Raises it to `n` if it is lower. Only the owning shard may call this.
    pub fn raise_to(&self, n: u64) {
        self.0.store(self.get().max(n), Relaxed);
    }

    /// Sets it. Only the owning shard may call this.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// Takes one away (gauges).
    pub fn decrement(&self) {
        self.0.store(self.0.load(Relaxed).saturating_sub(1), Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Whether a number only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One exported number.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Prometheus name.
    pub name: &'static str,
    /// Help text.
    pub help: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// Reads it from a shard's counters.
    pub read: fn(&Counters) -> u64,
}

macro_rules! counters {
    ($($kind:ident $field:ident = $name:literal, $help:literal;)*) => {
        /// All numbers of one shard.
        #[derive(Debug, Default)]
        pub struct Counters {
            $(#[doc = $help] pub $field: Counter,)*
            /// Latencies that Croquet clients report with each SEND.
            pub croquet_latency: Histogram,
            /// What Croquet's statistics in the log tell besides.
            pub croquet_traffic: CroquetTraffic,
        }

        /// Every number of [`Counters`], in the order of export.
        pub static DESCRIPTIONS: &[Description] = &[
            $(Description { name: $name, help: $help, kind: Kind::$kind, read: |c| c.$field.get() },)*
        ];
    };
}

counters! {
    Gauge connections = "lockstep_connections", "Open connections.";
    Gauge members = "lockstep_members", "Connections seated in a session.";
    Gauge sessions = "lockstep_sessions", "Sessions in memory.";
    Counter accepted = "lockstep_accepted_total", "Connections accepted.";
    Counter handed_off = "lockstep_handed_off_total", "Connections handed to the shard that owns their session.";
    Counter transfers = "lockstep_transfers_total", "Members that moved to another session.";
    Counter tells = "lockstep_tells_total", "Messages from session to session.";
    Counter passages_dropped = "lockstep_passages_dropped_total", "Members closed and messages lost on their way to another session, because too many waited.";
    Counter refused = "lockstep_refused_total", "Connections refused because a limit was reached.";
    Counter accept_pauses = "lockstep_accept_pauses_total", "Pauses in accepting because the process or the machine was out of descriptors or memory.";
    Counter bytes_in = "lockstep_received_bytes_total", "Bytes received.";
    Counter bytes_out = "lockstep_sent_bytes_total", "Bytes sent.";
    Counter messages_in = "lockstep_messages_received_total", "Messages received from members.";
    Counter sends = "lockstep_sends_total", "Sends handed to the kernel.";
    Counter turns = "lockstep_turns_total", "Turns of the shard's loop.";
    Counter parks = "lockstep_parks_total", "Times the shard had nothing to do and slept.";
    Counter http_requests = "lockstep_http_requests_total", "HTTP requests answered.";
    Gauge polling = "lockstep_polling_members", "Members that poll, for want of a WebSocket.";
    Counter upgrades = "lockstep_upgrades_total", "Members that polled and have moved to a WebSocket.";
    Counter violations = "lockstep_protocol_violations_total", "Connections closed for what their peer sent.";
    Counter slow_closed = "lockstep_slow_consumers_closed_total", "Connections closed because they did not keep up.";
    Counter superseded = "lockstep_messages_superseded_total", "Messages left out for members that were behind, because newer ones had taken their place.";
    Counter silent_closed = "lockstep_silent_closed_total", "Connections closed because they were silent for too long.";
    Counter panics = "lockstep_session_panics_total", "Sessions ended by a panic of their own.";
    Counter quarantines = "lockstep_session_quarantines_total", "Sessions closed for a while because they panicked again and again.";
    Counter storage_errors = "lockstep_storage_errors_total", "Records or files that could not be read or written.";
    Counter journal_entries = "lockstep_journal_entries_total", "Entries that sessions recorded in the journal.";
    Counter journal_batches = "lockstep_journal_batches_total", "Batches written to the journal, at most one a turn.";
    Counter journal_bytes = "lockstep_journal_bytes_total", "Bytes written to the journal.";
    Counter journal_syncs = "lockstep_journal_syncs_total", "Times the journal was synced at its interval.";
    Gauge journal_read_only = "lockstep_journal_read_only", "1 while nothing can be recorded: the disk is full, or has failed.";
    Gauge gallery_rooms = "lockstep_gallery_rooms", "Gallery rooms.";
    Gauge gallery_connections = "lockstep_gallery_connections", "Connections to the gallery, those in no room included.";
    Counter rljson_forwarded = "lockstep_rljson_forwarded_total", "Requests that the rljson hub asked clients instead of answering them itself.";
    Counter rljson_rubbish = "lockstep_rljson_rubbish_total", "Answers of rljson clients that were none, or had another hash than was asked for.";
    Gauge croquet_connections = "reflector_connections", "The number of client connections to the reflector.";
    Gauge croquet_sessions = "reflector_sessions", "The number of concurrent sessions on the reflector.";
    Counter croquet_messages = "reflector_messages", "The number of messages received by the reflector.";
    Counter croquet_ticks = "reflector_ticks", "The number of ticks generated by the reflector.";
}

/// What Croquet's statistics in the log tell and nothing else exports.
#[derive(Debug, Default)]
pub struct CroquetTraffic {
    /// Most connections at once since statistics were last told.
    pub users: Counter,
    /// Stamped messages, once for each who listened.
    pub sends: Counter,
    /// Ticks, once for each who listened.
    pub ticks: Counter,
    /// Size of the messages that came, in bytes.
    pub bytes_in: Counter,
    /// Size of the messages that went, in bytes, once for each receiver.
    pub bytes_out: Counter,
}

/// Upper bounds of the latency buckets, in milliseconds (specs: croquet §15).
pub const LATENCY_BOUNDS_MS: [u32; 15] =
    [8, 10, 13, 17, 22, 29, 38, 50, 66, 87, 115, 153, 203, 270, 360];

/// A histogram of milliseconds.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One for each bound, and one for what lies above them all.
    pub buckets: [Counter; LATENCY_BOUNDS_MS.len() + 1],
    /// Sum of the observations, in milliseconds.
    pub sum_ms: Counter,
}

impl Histogram {
    /// Counts one observation.
    pub fn observe(&self, ms: u32) {
        self.buckets[latency_bucket(ms)].increment();
        self.sum_ms.add(u64::from(ms));
    }
}

/// The bucket that a latency of `ms` milliseconds belongs to.
pub fn latency_bucket(ms: u32) -> usize {
    LATENCY_BOUNDS_MS.partition_point(|&bound| bound < ms)
}
