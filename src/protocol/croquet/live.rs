//! One incarnation of a session: what exists from the first JOIN until the last member has been
//! gone for a while, and what a stored session is continued as.

use std::fmt::Write;
use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;

use super::context::Context;
use super::crowd::{Announcement, Crowd, User, write_users};
use super::debounce::Debounce;
use super::decode::{Body, Flags, Join, Save, Snap, Tags, Ticks, Tutti};
use super::stored::{self, latest_name, saved_name};
use super::stream::{Stream, Weight};
use super::tally::{Admission, Completed, Tallies};
use super::{BAD_APP_ID, encode, event, herald};
use crate::codec::json;
use crate::session::frame::FrameKind;
use crate::session::journal::Entries;
use crate::session::{Close, Effects, Instant, MemberId};

/// A SYNC up to this size is copied for each who joins, in bytes; a larger one shares the log.
const PRIVATE_SYNC_BYTES_MAX: usize = 16 << 10;
/// Shortest interval between two records of one session, its end aside.
const STORE_INTERVAL: Duration = Duration::from_secs(1);
/// How far ahead of the time told last the session promises in the journal not to tell a later one,
/// in milliseconds of session time at the usual pace. After a crash it goes on from there.
const TIME_LEASE_MS: f64 = 5_000.0;
/// When a record that could not be stored is tried again.
const STORE_RETRY: Duration = Duration::from_secs(5);

/// What members said of their session when they joined.
#[derive(Debug, Default)]
pub(super) struct About {
    pub(super) name: Option<Box<str>>,
    pub(super) version: f64,
    pub(super) app_id: Option<Box<str>>,
    pub(super) persistent_id: Option<Box<str>>,
    pub(super) developer_id: Option<Box<str>>,
    /// Raw JSON string: how clients find out whether they have the right password.
    pub(super) tove: Option<Box<str>>,
    /// Whether users are told where the others are.
    pub(super) location: bool,
    /// Of the last who joined, like what follows.
    pub(super) url: Box<str>,
    pub(super) herald_url: Option<Box<str>>,
    pub(super) leave_delay_ms: u32,
    pub(super) flags: Flags,
}

/// The newest snapshot the members agreed on.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) time_ms: f64,
    pub(super) seq: u32,
    pub(super) url: Box<str>,
}

/// What a record told, to see whether there is anything new to tell.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    /// -1 for none.
    snapshot_ms: f64,
    seq: u32,
    time_ms: u64,
}

/// A session's live state.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) about: About,
    pub(super) stream: Stream,
    pub(super) crowd: Crowd,
    pub(super) tallies: Tallies,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) persistent_url: Option<Box<str>>,
    /// Names this incarnation, over restarts too.
    pub(super) timeline: Box<str>,
    debounce: Debounce,
    /// URL and size of the last post to the herald.
    heralded: Option<Box<(Box<str>, usize)>>,
    /// What was stored last; none if that failed.
    stored: Option<Told>,
    stored_at: Option<Instant>,
    store_at: Option<Instant>,
    /// Stores that are not confirmed.
    storing: u32,
    /// Something other than messages and time has changed and is not recorded yet.
    changed: bool,
    /// No later time is told before a later one is recorded, in milliseconds.
    leased_ms: u64,
}

impl Live {
    /// A fresh session, opened by the first who joins.
    pub(super) fn new(join: &Join<'_>, cx: &Context, fx: &Effects<'_>) -> Self {
        let boxed = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().map(Box::from);
        let about = About {
            name: boxed(&join.name),
            version: join.version,
            app_id: boxed(&join.app_id),
            persistent_id: boxed(&join.persistent_id),
            developer_id: boxed(&join.developer_id),
            tove: join.tove.map(Box::from),
            location: join.location,
            ..About::default()
        };
        let mut live = Self {
            about,
            stream: Stream::new(fx.at()),
            crowd: Crowd::default(),
            tallies: Tallies::default(),
            snapshot: None,
            persistent_url: None,
            timeline: base36(fx.random).into(),
            debounce: Debounce::default(),
            heralded: None,
            stored: None,
            stored_at: None,
            store_at: None,
            storing: 0,
            changed: true,
            leased_ms: 0,
        };
        live.stream.set_ticks(join.ticks, &live.crowd, cx.config(), fx.at());
        live.stored = Some(live.told());
        live
    }

    /// A session that is there to be continued from what is stored and recorded, before anybody joins.
    pub(super) fn awaited(cx: &Context, fx: &Effects<'_>) -> Self {
        Self::new(&Join::default(), cx, fx)
    }

    /// Takes over what the last who joins decides for all (§2.2).
    pub(super) fn update(&mut self, join: &Join<'_>, cx: &Context) {
        let leave_delay_ms = join.leave_delay_ms.min(f64::from(cx.config().leave_delay_ms_max));
        self.about.url = join.url.as_deref().unwrap_or_default().into();
        self.about.herald_url = join
            .herald_url
            .as_deref()
            .filter(|url| herald::is_allowed(url, &cx.config().herald_hosts))
            .map(Box::from);
        self.about.leave_delay_ms = leave_delay_ms.ceil() as u32;
        self.about.flags = join.flags;
        self.stream.rawtime = join.flags.rawtime;
    }

    /// Continues a stored session, with what it recorded since; `false` if there is neither. What
    /// was recorded is stored soon.
    pub(super) fn resume(
        &mut self,
        content: Option<&[u8]>,
        entries: &Entries,
        cx: &Context,
        now: Instant,
    ) -> Result<bool, stored::StoredError> {
        let resumed = stored::resume(content, entries, self, cx.config(), now)?;
        if resumed {
            self.changed = false;
            self.leased_ms = self.stream.clock.told_ms();
            self.stored = Some(self.told()).filter(|_| entries.is_empty());
            self.store_at = self.stored.is_none().then_some(now);
        }
        Ok(resumed)
    }

    /// Records what changed in this call besides messages. The time that may be told is recorded
    /// some way ahead, so that ticks need not be.
    pub(super) fn record(&mut self, cx: &Context, fx: &mut Effects<'_>) {
        if !fx.is_recording() {
            return;
        }
        if std::mem::take(&mut self.changed) {
            let state = stored::write_state(cx.id(), self);
            fx.record(&[stored::entry::STATE, &state]);
            // Though nobody was told anything since: the journal has something that no record has.
            self.stored = None;
        }
        let told_ms = self.stream.clock.told_ms();
        if told_ms > self.leased_ms {
            let lease_ms = TIME_LEASE_MS * self.stream.clock.scale().max(1.0);
            self.leased_ms = told_ms + lease_ms as u64;
            let mut digits = itoa::Buffer::new();
            let leased = digits.format(self.leased_ms);
            fx.record(&[stored::entry::TIME, leased.as_bytes()]);
        }
    }

    /// Whether everything that is to be stored is.
    pub(super) fn is_stored(&self, cx: &Context) -> bool {
        !cx.durable || self.storing == 0 && self.stored.is_some()
    }

    /// The journal needs the session to be stored.
    pub(super) fn checkpoint(&mut self, cx: &Context, fx: &mut Effects<'_>) {
        if self.storing == 0 {
            self.stored = None;
            self.store(cx, fx);
        }
    }

    /// Sends SYNC (§3.1): all a member needs to catch up. Returns its size in bytes.
    pub(super) fn sync(
        &mut self,
        members: impl Iterator<Item = MemberId>,
        cx: &Context,
        fx: &mut Effects<'_>,
    ) -> usize {
        let time_ms = self.stream.advance(cx, fx.at());
        let (head, tail) = self.sync_text(time_ms, cx);
        let bytes = head.len() + self.stream.messages.bytes().saturating_sub(1) + tail.len();
        if bytes <= PRIVATE_SYNC_BYTES_MAX {
            let mut parts: Vec<&[u8]> = vec![&head];
            parts.extend(self.stream.messages.pieces());
            parts.push(&tail);
            for member in members {
                fx.reply(member, FrameKind::Text, &parts);
            }
            return bytes;
        }
        let mut pieces = vec![Bytes::from(head)];
        pieces.extend(self.stream.messages.shared());
        pieces.push(Bytes::from(tail));
        let frames = encode::frames(&pieces);
        for member in members {
            for frame in &frames {
                fx.share(member, frame.clone());
            }
        }
        bytes
    }

    /// What comes before and after the messages of a SYNC.
    fn sync_text(&self, time_ms: u64, cx: &Context) -> (Vec<u8>, Vec<u8>) {
        let snapshot_url = self.snapshot.as_ref().map(|snapshot| &*snapshot.url);
        let url = snapshot_url.or(self.persistent_url.as_deref()).unwrap_or("");
        let mut head = cx.envelope.sync_head();
        head.extend_from_slice(b"{\"url\":");
        json::write_string(&mut head, url);
        head.extend_from_slice(b",\"messages\":[");

        let mut tail = Vec::with_capacity(encode::SYNC_SIDE_BYTES);
        let _ = write!(tail, "],\"time\":{time_ms},\"seq\":{}", self.stream.seq());
        if let Some(tove) = &self.about.tove {
            tail.extend_from_slice(b",\"tove\":");
            tail.extend_from_slice(tove.as_bytes());
        }
        for (name, value) in [(",\"reflector\":", cx.label()), (",\"timeline\":", &self.timeline)] {
            tail.extend_from_slice(name.as_bytes());
            json::write_string(&mut tail, value);
        }
        tail.extend_from_slice(b",\"flags\":");
        tail.extend_from_slice(self.about.flags.json().as_bytes());
        if let Some(snapshot) = &self.snapshot {
            let (time_ms, seq) = (snapshot.time_ms, snapshot.seq);
            let _ = write!(tail, ",\"snapshotTime\":{time_ms},\"snapshotSeq\":{seq}");
        } else if self.persistent_url.is_some() {
            tail.extend_from_slice(b",\"persisted\":true");
        }
        tail.extend_from_slice(b"}}");
        (head, tail)
    }

    /// A member joined: from now on it counts. Returns its serial number.
    pub(super) fn admit(&mut self, member: MemberId, fx: &mut Effects<'_>) -> u32 {
        fx.admit(member);
        self.crowd.join(member)
    }

    /// A member said who it is, if it did not before: it listens from here on.
    pub(super) fn reveal(
        &mut self,
        member: MemberId,
        serial: u32,
        user: User,
        cx: &Context,
        fx: &mut Effects<'_>,
    ) {
        event!(debug, "connection", "user-joined", cx.id(), user = &*user; "user joined");
        self.crowd.reveal(member, serial, user, fx.at(), users_interval(cx));
        fx.listen(member);
        self.stream.audience_changed(&self.crowd, fx.at());
    }

    /// A member's connection is gone.
    pub(super) fn hang_up(
        &mut self,
        member: MemberId,
        serial: u32,
        cx: &Context,
        fx: &mut Effects<'_>,
    ) {
        let at = fx.at() + Duration::from_millis(self.about.leave_delay_ms.into());
        self.crowd.hang_up(member, serial, at, fx.at(), users_interval(cx));
        self.stream.audience_changed(&self.crowd, fx.at());
    }

    /// SEND (§3.2, §7).
    pub(super) fn send(
        &mut self,
        body: Body<'_>,
        tags: Option<Tags<'_>>,
        cx: &Context,
        fx: &mut Effects<'_>,
    ) {
        let mut weight = Weight::Ordinary;
        if let Some(tags) = tags {
            if !self.debounce.accept(tags, fx.at()) {
                event!(trace, "session", "debounce-suppressed", cx.id(); "debounce suppressed");
                return;
            }
            weight = Weight::Vital;
        }
        self.stream.send(body, weight, &self.crowd, cx, fx);
    }

    /// TICKS (§5).
    pub(super) fn set_ticks(&mut self, ticks: Ticks, cx: &Context, now: Instant) {
        self.stream.set_ticks(ticks, &self.crowd, cx.config(), now);
        self.changed = true;
    }

    /// TUTTI (§6): a vote of the member with this serial number.
    pub(super) fn tutti(
        &mut self,
        vote: &Tutti<'_>,
        voter: u32,
        cx: &Context,
        fx: &mut Effects<'_>,
    ) {
        let clock = self.stream.clock;
        match self.tallies.admit(vote, voter, clock.told_ms(), clock.peek_ms(fx.at())) {
            Admission::Rejected(why) => {
                event!(debug, "connection", "tutti-reject", cx.id(), tutti = vote.key, reason = why;
                    "vote rejected: {why}");
                return;
            }
            Admission::First => {
                if let Some(first) = vote.first {
                    self.stream.send(first, Weight::Ordinary, &self.crowd, cx, fx);
                }
                let interval = Duration::from_millis(cx.config().tally_interval_ms.into());
                self.tallies.open(vote, self.crowd.total(), fx.at() + interval);
            }
            Admission::Open => {}
        }
        if let Some(tally) = self.tallies.count(vote, voter, self.stream.clock.told_ms()) {
            self.tell(&tally, cx, fx);
        }
    }

    /// Tells the result of a tally, if anybody wanted it.
    fn tell(&mut self, tally: &Completed, cx: &Context, fx: &mut Effects<'_>) {
        self.changed = true;
        if tally.missing > 0 {
            event!(debug, "session", "tutti-missing", cx.id(), tutti = &*tally.key,
                missingCount = tally.missing; "{} votes missing", tally.missing);
        }
        if let Some(message) = &tally.message {
            self.stream.send(Body::made(message), Weight::Vital, &self.crowd, cx, fx);
        }
    }

    /// SNAP (§9): a member uploaded a snapshot the others agreed on.
    pub(super) fn snap(&mut self, snap: &Snap<'_>, cx: &Context, fx: &mut Effects<'_>) {
        let (url, hash) = (snap.url.as_deref().unwrap_or(""), snap.hash.as_deref().unwrap_or(""));
        if snap.dissident {
            event!(debug, "connection", "snapshot-dissident", cx.id(), hash = hash, data = url;
                "dissident snapshot");
            return;
        }
        let Some(covered) = self.accept(snap, fx.at()) else {
            event!(debug, "connection", "snapshot-ignored", cx.id(), hash = hash, data = url;
                "ignoring snapshot");
            return;
        };
        event!(debug, "connection", "snapshot", cx.id(), hash = hash, data = url;
            "got snapshot @{}#{}", snap.time_ms.unwrap_or(0.0), snap.seq.unwrap_or(0));
        event!(trace, "session", "purging-messages", cx.id(), msgCount = covered;
            "forgetting {covered} messages");
        let soonest = self.stored_at.map(|at| at + STORE_INTERVAL);
        self.store_at = soonest.max(Some(fx.at()));
    }

    /// Makes a snapshot the newest one, if it can be: announced whole, newer than the present one,
    /// not of the future, and the messages after it retained. Returns how many it covers.
    fn accept(&mut self, snap: &Snap<'_>, now: Instant) -> Option<usize> {
        let (time_ms, seq, url) = (snap.time_ms?, snap.seq?, snap.url.as_deref()?);
        snap.hash.as_ref()?;
        let newest = self.snapshot.as_ref().map_or(-1.0, |snapshot| snapshot.time_ms);
        let newer = time_ms >= 0.0 && time_ms > newest && time_ms <= self.stream.clock.peek_ms(now);
        let covered = newer.then(|| self.stream.cover(seq).ok()).flatten()?;
        self.snapshot = Some(Snapshot { time_ms, seq, url: url.into() });
        self.changed = true;
        Some(covered)
    }

    /// SAVE (§10): a member uploaded persistent data, for the next session of this application.
    pub(super) fn save(
        &mut self,
        save: &Save<'_>,
        cx: &Context,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let record = saved_name(&self.about).ok_or(BAD_APP_ID)?;
        let (time, url) = (save.persist_time, save.url.as_deref().unwrap_or(""));
        if save.dissident || url.is_empty() {
            let what = if save.dissident { "persist-dissident" } else { "persist-ignored" };
            log::debug!(target: "croquet", scope = "connection", event = what, sessionId = cx.id(),
                persistTime = time, data = url; "ignoring persistent data");
            return Ok(());
        }
        event!(debug, "connection", "persist", cx.id(), persistTime = time, data = url;
            "got persistent data");
        if cx.durable {
            fx.store(record, stored::write_saved(url));
        }
        Ok(())
    }

    /// Does what is due.
    pub(super) fn on_deadline(&mut self, cx: &Context, fx: &mut Effects<'_>) {
        let now = fx.at();
        self.stream.on_deadline(&self.crowd, cx, fx);
        self.crowd.depart_due(now, users_interval(cx));
        if let Some(announcement) = self.crowd.announcement_due(now) {
            self.announce(&announcement, cx, fx);
        }
        while let Some(tally) = self.tallies.take_due(now, self.stream.clock.told_ms()) {
            self.tell(&tally, cx, fx);
        }
        if self.store_at.is_some_and(|at| at <= now) {
            self.store(cx, fx);
        }
    }

    /// When something is next due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let deadlines =
            [self.stream.deadline(), self.crowd.deadline(), self.tallies.deadline(), self.store_at];
        deadlines.into_iter().flatten().min()
    }

    /// Announces joins and leaves that wait for it.
    pub(super) fn flush(&mut self, cx: &Context, fx: &mut Effects<'_>) {
        if let Some(announcement) = self.crowd.take_announcement() {
            self.announce(&announcement, cx, fx);
        }
        self.stream.release(&self.crowd, cx, fx);
    }

    /// The `users` message (§8), if anybody is there to hear it, and the herald.
    fn announce(&mut self, announcement: &Announcement, cx: &Context, fx: &mut Effects<'_>) {
        if self.crowd.active() > 0 {
            let payload = announcement.payload(&self.crowd);
            self.stream.send(Body::made(&payload), Weight::Vital, &self.crowd, cx, fx);
            event!(debug, "session", "send-users", cx.id(),
                joinedCount = announcement.joined.len(), leftCount = announcement.left.len(),
                activeCount = self.crowd.active(), clientCount = self.crowd.total();
                "users: +{}-{}={}/{}", announcement.joined.len(), announcement.left.len(),
                self.crowd.active(), self.crowd.total());
        }
        if let Some(url) = &self.about.herald_url {
            let mut body = format!("{{\"time\":{},\"id\":", fx.now.wall_ms).into_bytes();
            json::write_string(&mut body, cx.id());
            let mut body = String::from_utf8(body).expect("JSON strings are UTF-8");
            body.push_str(",\"all\":");
            write_users(&mut body, self.crowd.users().filter(Option::is_some));
            announcement.write_lists(&mut body);
            body.push('}');
            self.heralded = Some(Box::new((url.clone(), body.len())));
            fx.post(url.clone().into_string(), body);
        }
    }

    /// The herald was not reached (§8).
    pub(super) fn on_herald_failed(&mut self, why: &str, cx: &Context, fx: &mut Effects<'_>) {
        let Some((url, bytes)) = self.heralded.as_deref() else { return };
        event!(warn, "session", "herald-failed", cx.id(), endpoint = &**url, err = why;
            "heralding failed: {why}");
        let mut info = b"{\"code\":\"HERALDING_FAILED\",\"msg\":".to_vec();
        let mut message = String::new();
        let _ = write!(message, "POST {bytes} bytes to heraldUrl \"{url}\" failed: {why}");
        json::write_string(&mut info, &message);
        info.extend_from_slice(b",\"options\":{\"level\":\"error\"}}");
        self.stream.inform(&info, &self.crowd, cx, fx);
    }

    /// Stores the session if there is anything new to store.
    pub(super) fn store(&mut self, cx: &Context, fx: &mut Effects<'_>) {
        self.store_at = None;
        let told = self.told();
        if !cx.durable || self.stored.as_ref() == Some(&told) {
            return;
        }
        event!(debug, "session", "upload-latest", cx.id(),
            msgCount = self.stream.messages.len(); "storing the session");
        let content = stored::write_latest(cx.id(), self, fx.recorded());
        fx.store_base(latest_name(cx.id()), content);
        self.storing += 1;
        // The record covers the promise made before, tells this time itself, and has all of the state.
        self.leased_ms = told.time_ms;
        self.changed = false;
        self.stored = Some(told);
        self.stored_at = Some(fx.at());
    }

    /// A record was stored, or could not be: then it is tried again.
    pub(super) fn on_stored(&mut self, is_stored: bool, now: Instant) {
        self.storing = self.storing.saturating_sub(1);
        if !is_stored {
            self.stored = None;
            self.store_at = Some(now + STORE_RETRY);
        }
    }

    /// What must hold between any two calls.
    #[cfg(test)]
    pub(super) fn invariants(&self, cx: &Context) {
        self.stream.invariants(cx.config());
        self.crowd.invariants();
        self.tallies.invariants();
    }

    fn told(&self) -> Told {
        Told {
            snapshot_ms: self.snapshot.as_ref().map_or(-1.0, |snapshot| snapshot.time_ms),
            seq: self.stream.seq(),
            time_ms: self.stream.clock.told_ms(),
        }
    }
}

fn users_interval(cx: &Context) -> Duration {
    Duration::from_millis(cx.config().users_interval_ms.into())
}

/// Digits and lower-case letters, as the original names its timelines.
fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize]);
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().map(char::from).collect();
        }
    }
}
