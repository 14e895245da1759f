//! The stamped stream of one session (specs: croquet §3.2, §4, §5, §9): every message gets session
//! time and the next sequence number, is retained and goes to all who listen; when nothing is said
//! for a tick, the time goes instead.

use std::time::Duration;

use super::clock::Clock;
use super::context::Context;
use super::crowd::Crowd;
use super::decode::{Body, Ticks};
use super::messages::Messages;
use super::stored::entry;
use super::{Config, event};
use crate::session::{Effects, Instant};

/// The sequence number before the first: a few messages before the wrap, to exercise it.
pub(super) const SEQ_BEFORE_FIRST: u32 = 0xFFFF_FFF0;
/// Interval between ticks if the first member asks for none, in milliseconds.
const TICK_MS: f64 = 200.0;
/// Session time of the last tick before there was any: far enough back not to delay anything.
const NO_TICK_MS: f64 = -1_000.0;
/// Added to a delay against rounding, in milliseconds.
const DELAY_SLACK_MS: f64 = 0.1;
/// Messages a delay may hold back.
const HELD_MESSAGES_MAX: usize = 10_000;
/// Size of the messages a delay may hold back, in bytes.
const HELD_BYTES_MAX: usize = 4 << 20;
/// Share of the history kept free for what a snapshot needs, one part in this many.
const RESERVE_SHARE: usize = 100;

/// How important a message is when the history is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// Dropped.
    Ordinary,
    /// Has the reserve: without it the members could not agree on the snapshot that makes room.
    Vital,
}

/// Messages held back until the delay after a tick is over (§5): bodies, one after another.
#[derive(Debug, Default)]
struct Held {
    text: String,
    /// Where each body ends, and whether raw time goes after it.
    ends: Vec<(usize, bool)>,
    until: Option<Instant>,
}

/// What the stream stored or stores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    pub(super) tick_ms: f64,
    pub(super) delay_ms: f64,
    pub(super) last_tick_ms: f64,
    pub(super) last_message_ms: u64,
}

impl Pace {
    /// The delay, at most a tick: clients never ask for as much.
    pub(super) fn bounded_delay(&self) -> f64 {
        self.delay_ms.clamp(0.0, self.tick_ms)
    }
}

/// Messages and their size in bytes, counted up. Only differences mean anything: counters wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

impl Traffic {
    /// Counts one message.
    pub(super) fn count(&mut self, bytes: usize) {
        *self = self.plus(Self { messages: 1, bytes: bytes as u64 });
    }

    /// The sum of both.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            messages: self.messages.wrapping_add(other.messages),
            bytes: self.bytes.wrapping_add(other.bytes),
        }
    }

    /// What came since `earlier`.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            messages: self.messages.wrapping_sub(earlier.messages),
            bytes: self.bytes.wrapping_sub(earlier.bytes),
        }
    }
}

/// A session's time, sequence, retained messages and ticks.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) clock: Clock,
    pub(super) messages: Messages,
    /// The last sequence number given out.
    seq: u32,
    pace: Pace,
    tick_at: Option<Instant>,
    /// None until the first is held back.
    held: Option<Box<Held>>,
    /// Whether the last element of each message is raw time.
    pub(super) rawtime: bool,
    /// How full the history was when it was last looked at.
    fill_seen: usize,
    /// Members were told that nothing can be recorded.
    read_only: bool,
    /// What was said to those who listen.
    told: Traffic,
    /// What was said to those who listen to nothing but INFO; none most of the time.
    told_spectators: Option<Box<Traffic>>,
}

impl Stream {
    /// A fresh stream.
    pub(super) fn new(now: Instant) -> Self {
        let pace =
            Pace { tick_ms: TICK_MS, delay_ms: 0.0, last_tick_ms: NO_TICK_MS, last_message_ms: 0 };
        Self::resumed(Clock::new(now), Messages::default(), SEQ_BEFORE_FIRST, pace)
    }

    /// A stream that goes on.
    pub(super) fn resumed(clock: Clock, messages: Messages, seq: u32, pace: Pace) -> Self {
        debug_assert!(pace.last_tick_ms <= clock.told_ms() as f64);
        let held = None;
        let (told, told_spectators) = (Traffic::default(), None);
        let (tick_at, rawtime, fill_seen, read_only) = (None, false, 0, false);
        Self {
            clock,
            messages,
            seq,
            pace,
            tick_at,
            held,
            rawtime,
            fill_seen,
            read_only,
            told,
            told_spectators,
        }
    }

    /// The last sequence number given out.
    pub(super) fn seq(&self) -> u32 {
        self.seq
    }

    /// What was said to all who listen, or to all who do not.
    pub(super) fn told(&self, listens: bool) -> Traffic {
        if listens {
            self.told
        } else {
            self.told_spectators.as_deref().copied().unwrap_or_default()
        }
    }

    /// INFO, to everybody.
    pub(super) fn inform(
        &mut self,
        info: &[u8],
        crowd: &Crowd,
        cx: &Context,
        fx: &mut Effects<'_>,
    ) {
        let bytes = cx.envelope.info(info, crowd.spectators(), fx);
        self.told_spectators.get_or_insert_default().count(bytes);
        fx.counters.croquet_traffic.bytes_out.add((bytes * crowd.spectators().len()) as u64);
        self.count(bytes, crowd, fx);
    }

    /// Ticks and delay as they are now.
    pub(super) fn pace(&self) -> Pace {
        self.pace
    }

    /// Tells the time.
    pub(super) fn advance(&mut self, cx: &Context, now: Instant) -> u64 {
        if let Some(ahead) = self.clock.jump(now) {
            event!(warn, "session", "time-jump", cx.id(), scaledAdvance = ahead;
                "time jumped by {ahead} ms");
        }
        self.clock.advance(now)
    }

    /// Sends a message, now or after the delay; drops it if the history is full.
    pub(super) fn send(
        &mut self,
        body: Body<'_>,
        weight: Weight,
        crowd: &Crowd,
        cx: &Context,
        fx: &mut Effects<'_>,
    ) {
        if !self.may_record(weight, crowd, cx, fx) || !self.make_room(weight, crowd, cx, fx) {
            return;
        }
        let time = self.advance(cx, fx.at());
        let wait_ms = self.pace.last_tick_ms + self.pace.delay_ms + DELAY_SLACK_MS - time as f64;
        if self.pace.delay_ms > 0.0 && (self.held_until().is_some() || wait_ms > 0.0) {
            self.hold(body, wait_ms, fx.at());
            if self.held.as_ref().is_some_and(|held| held.is_full()) {
                self.release(crowd, cx, fx);
            }
            return;
        }
        let text = if self.rawtime { body.without_last() } else { body.whole };
        self.stamp(time, text, self.rawtime, crowd, cx, fx);
        self.restart_ticker(crowd, fx.at());
    }

    /// Takes over what a member asks of ticks, delay and pace (§5), within bounds.
    pub(super) fn set_ticks(&mut self, ticks: Ticks, crowd: &Crowd, config: &Config, now: Instant) {
        if let Some(tick_ms) = ticks.tick_ms {
            self.pace.tick_ms = bounded_tick(tick_ms, config);
        }
        if let Some(delay_ms) = ticks.delay_ms {
            self.pace.delay_ms = delay_ms;
        }
        self.pace.delay_ms = self.pace.bounded_delay();
        self.clock.set_scale(now, ticks.scale.unwrap_or(1.0));
        // Never later than it was, or asking again and again would keep the time from all.
        let due = self.tick_at;
        self.restart_ticker(crowd, now);
        self.tick_at = self.tick_at.map(|at| due.map_or(at, |due| at.min(due)));
    }

    /// Forgets messages up to and including `seq`, if that is a retained one or the one before.
    pub(super) fn cover(&mut self, seq: u32) -> Result<usize, OutOfRange> {
        let kept = self.seq.wrapping_sub(seq) as usize;
        let covered = self.messages.len().checked_sub(kept).ok_or(OutOfRange)?;
        self.messages.drop_front(covered);
        self.fill_seen = 0;
        Ok(covered)
    }

    /// Ticks as long as somebody listens.
    pub(super) fn audience_changed(&mut self, crowd: &Crowd, now: Instant) {
        if crowd.listening() == 0 {
            self.tick_at = None;
        } else if self.tick_at.is_none() {
            self.restart_ticker(crowd, now);
        }
    }

    /// Does what is due.
    pub(super) fn on_deadline(&mut self, crowd: &Crowd, cx: &Context, fx: &mut Effects<'_>) {
        if self.held_until().is_some_and(|until| until <= fx.at()) {
            self.release(crowd, cx, fx);
        }
        if self.tick_at.is_some_and(|at| at <= fx.at()) {
            self.tick(crowd, cx, fx);
        }
    }

    fn held_until(&self) -> Option<Instant> {
        self.held.as_ref()?.until
    }

    /// When something is next due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.held_until().into_iter().chain(self.tick_at).min()
    }

    /// Sends what is held back at once.
    pub(super) fn release(&mut self, crowd: &Crowd, cx: &Context, fx: &mut Effects<'_>) {
        let Some(mut held) = self.held.take_if(|held| held.until.is_some()) else { return };
        let time = self.advance(cx, fx.at());
        let mut start = 0;
        for (end, raw) in held.ends.drain(..) {
            self.stamp(time, &held.text[start..end], raw, crowd, cx, fx);
            start = end;
        }
        held.text.clear();
        // What was stamped may be much; what is kept for the next batch should not be.
        held.text.shrink_to(4 << 10);
        held.until = None;
        self.held = Some(held);
        self.restart_ticker(crowd, fx.at());
    }

    /// What must hold between any two calls.
    #[cfg(test)]
    pub(super) fn invariants(&self, config: &Config) {
        self.messages.invariants();
        assert!(self.messages.len() <= config.history_messages_max + reserve(config));
        if let Some(held) = &self.held {
            assert_eq!(held.until.is_some(), !held.ends.is_empty());
            assert_eq!(held.ends.last().map_or(0, |&(end, _)| end), held.text.len());
        }
        assert!(self.pace.tick_ms > 0.0);
    }

    fn stamp(
        &mut self,
        time: u64,
        text: &str,
        raw: bool,
        crowd: &Crowd,
        cx: &Context,
        fx: &mut Effects<'_>,
    ) {
        self.seq = self.seq.wrapping_add(1);
        let raw = raw.then(|| self.clock.raw_ms(fx.at()));
        let message = self.messages.push(time, self.seq, text, raw);
        let bytes = cx.envelope.recv(message, fx);
        fx.record(&[entry::MESSAGE, message]);
        self.count(bytes, crowd, fx);
        self.pace.last_message_ms = time;
        fx.counters.croquet_messages.increment();
        fx.counters.croquet_traffic.sends.add(crowd.listening() as u64);
    }

    /// Counts a message to all who listen.
    fn count(&mut self, bytes: usize, crowd: &Crowd, fx: &mut Effects<'_>) {
        self.told.count(bytes);
        fx.counters.croquet_traffic.bytes_out.add((bytes * crowd.listening()) as u64);
    }

    fn hold(&mut self, body: Body<'_>, wait_ms: f64, now: Instant) {
        let text = if self.rawtime { body.without_last() } else { body.whole };
        let held = self.held.get_or_insert_default();
        held.text.push_str(text);
        held.ends.push((held.text.len(), self.rawtime));
        if held.until.is_none() {
            let wait = Duration::from_secs_f64(wait_ms / 1_000.0 / self.clock.scale());
            held.until = Some(now + wait);
            self.tick_at = None;
        }
    }

    fn tick(&mut self, crowd: &Crowd, cx: &Context, fx: &mut Effects<'_>) {
        let time = self.advance(cx, fx.at());
        self.pace.last_tick_ms = time as f64;
        let bytes = cx.envelope.tick(time, fx);
        self.count(bytes, crowd, fx);
        fx.counters.croquet_ticks.increment();
        fx.counters.croquet_traffic.ticks.add(crowd.listening() as u64);
        // In step with the ticks before, unless this one came late: ticks missed stay missed.
        let next = self.tick_at.map(|at| at + self.tick_interval()).filter(|&next| next > fx.at());
        self.tick_at = Some(next.unwrap_or_else(|| fx.at() + self.tick_interval()));
    }

    fn restart_ticker(&mut self, crowd: &Crowd, now: Instant) {
        let ticks = crowd.listening() > 0 && self.held_until().is_none();
        self.tick_at = ticks.then(|| now + self.tick_interval());
    }

    fn tick_interval(&self) -> Duration {
        Duration::from_secs_f64(self.pace.tick_ms / 1_000.0)
    }

    /// Whether a message of this weight can be recorded. Members are told once when it cannot.
    fn may_record(
        &mut self,
        weight: Weight,
        crowd: &Crowd,
        cx: &Context,
        fx: &mut Effects<'_>,
    ) -> bool {
        let read_only = fx.is_read_only();
        if read_only && !std::mem::replace(&mut self.read_only, read_only) {
            self.inform(INFO_READ_ONLY, crowd, cx, fx);
        }
        self.read_only = read_only;
        // What the session itself says is little, and has the reserve.
        !read_only || weight == Weight::Vital
    }

    /// Whether a message of this weight still fits. Asks for a snapshot as the history fills up,
    /// the more often the fuller it is (§9).
    fn make_room(
        &mut self,
        weight: Weight,
        crowd: &Crowd,
        cx: &Context,
        fx: &mut Effects<'_>,
    ) -> bool {
        let (fill, max) = (self.fill(cx.config()), cx.config().history_messages_max);
        let seen = std::mem::replace(&mut self.fill_seen, fill);
        if fill < cx.config().history_request_snapshot {
            return true;
        }
        let room = if weight == Weight::Vital { max + reserve(cx.config()) } else { max };
        if fill >= room {
            self.request(crowd, cx, fx);
            self.inform(INFO_FULL, crowd, cx, fx);
            return false;
        }
        let headroom = max.saturating_sub(fill);
        let every = (headroom / 100 * 10).max(1);
        if seen / every < fill / every {
            event!(warn, "session", "request-snapshot", cx.id(), msgCount = self.messages.len();
                "{} messages retained, sending REQU", self.messages.len());
            self.request(crowd, cx, fx);
            if headroom < (max - cx.config().history_request_snapshot) / 4 {
                self.inform(INFO_ALMOST_FULL, crowd, cx, fx);
            }
        }
        true
    }

    fn request(&mut self, crowd: &Crowd, cx: &Context, fx: &mut Effects<'_>) {
        let bytes = cx.envelope.requ(fx);
        self.count(bytes, crowd, fx);
    }

    /// How full the history is, in messages or in as many as its bytes are worth.
    fn fill(&self, config: &Config) -> usize {
        let held = self.held.as_ref().map_or((0, 0), |held| (held.ends.len(), held.text.len()));
        let messages = self.messages.len() + held.0;
        let bytes = (self.messages.bytes() + held.1) as u128;
        let worth =
            bytes * config.history_messages_max as u128 / config.history_bytes_max.max(1) as u128;
        messages.max(worth as usize)
    }
}

impl Held {
    fn is_full(&self) -> bool {
        self.ends.len() >= HELD_MESSAGES_MAX || self.text.len() >= HELD_BYTES_MAX
    }
}

/// A sequence number that is not retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutOfRange;

const INFO_READ_ONLY: &[u8] = br#"{"code":"READ_ONLY","msg":"The server cannot store anything for now. Messages are dropped until it can.","options":{"level":"error"}}"#;
const INFO_FULL: &[u8] = br#"{"code":"SNAPSHOT_NEEDED","msg":"Cannot buffer more messages. Need snapshot.","options":{"level":"warning"}}"#;
const INFO_ALMOST_FULL: &[u8] = br#"{"code":"SNAPSHOT_NEEDED","msg":"Synchronizer message buffer almost full. Need snapshot ASAP.","options":{"level":"warning"}}"#;

fn reserve(config: &Config) -> usize {
    config.history_messages_max / RESERVE_SHARE
}

/// A tick within the configured bounds.
pub(super) fn bounded_tick(tick_ms: f64, config: &Config) -> f64 {
    tick_ms.min(f64::from(config.tick_ms_max)).max(f64::from(config.tick_ms_min))
}
