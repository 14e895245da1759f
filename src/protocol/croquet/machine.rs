//! The life of a session (specs: croquet §10) and what its members may do in it.
//!
//! A session waits for its first JOIN, lives while members are there, and is over a while after
//! the last one left. Sockets that never join neither keep it nor are ended with it.

use std::rc::Rc;
use std::time::Duration;

use super::context::Context;
use super::crowd::{User, write_users};
use super::decode::{self, Args, Body, Command, Join, Save, Snap, Tags, Ticks, Tutti};
use super::encode;
use super::live::Live;
use super::stored::{latest_name, read_saved, saved_name};
use super::stream::Traffic;
use super::{RECONNECT, UNKNOWN_SESSION, event};
use crate::codec::json::{self, Raw};
use crate::protocol::{Hello, Loaded, Machine, Message, Open};
use crate::session::effects::RecordName;
use crate::session::journal::Entries;
use crate::session::map::Map;
use crate::session::{Close, Effects, Instant, MemberId, Now};

/// What is written of a client's own log entry, in bytes.
const LOG_BYTES_MAX: usize = 2 << 10;

/// A latency from here on is none, in milliseconds: old clients send a time of day in its place.
const LATENCY_MS_MAX: u64 = 60_000;

/// How often one connection may JOIN. Clients do it once; each time costs a SYNC.
const JOINS_MAX: u8 = 16;

/// A session of the Croquet reflector.
#[derive(Debug)]
pub(super) struct Reflector {
    cx: Context,
    /// Boxed: the map's free places cost a pointer, not a seat.
    seats: Map<MemberId, Box<Seat>>,
    live: Option<Box<Live>>,
    /// Those who joined while the stored session is loaded, in order; none if it is loaded.
    #[expect(clippy::box_collection, reason = "only while loading: one word at rest, not three")]
    waiting: Option<Box<Vec<Joining>>>,
    /// Names the load that is awaited.
    ticket: u32,
    /// When the session ends if nobody joins before.
    closing_at: Option<Instant>,
    /// What an earlier process recorded and nobody has stored yet.
    recovered: Option<Box<Entries>>,
    /// The session has ended; it is over when it is stored.
    parting: bool,
    /// The session is over, until somebody takes a seat again.
    closed: bool,
    /// The process stops: what is stored must stay true.
    drained: bool,
}

/// A connection.
#[derive(Debug)]
struct Seat {
    peer: Box<str>,
    /// What a proxy told of it.
    proxied: Option<Box<Proxied>>,
    since: Instant,
    received: Traffic,
    /// What it was sent; once it has joined, less what its session had told its like until then.
    sent: Traffic,
    joins: u8,
    /// It is told what is said to those who listen, not what is said to spectators.
    listens: bool,
    /// Its serial number, once it has been sent SYNC.
    joined: Option<u32>,
}

/// A member that is to be sent SYNC.
#[derive(Debug)]
struct Joining {
    member: MemberId,
    /// Who it is; none for a spectator, or who has said so before.
    user: Option<User>,
}

/// What a proxy told of a connection.
#[derive(Debug, Default)]
struct Proxied {
    /// Its address, if that is not the peer's.
    ip: Option<Box<str>>,
    /// JSON of where it is.
    location: Option<Box<str>>,
}

impl Reflector {
    /// Opens a session, which then waits for its first JOIN.
    pub(super) fn new(open: Open) -> Self {
        let Open { key, now, config, durable } = open;
        let mut reflector = Self {
            cx: Context::new(key, config, durable),
            seats: Map::default(),
            live: None,
            waiting: None,
            ticket: 0,
            closing_at: None,
            recovered: None,
            parting: false,
            closed: false,
            drained: false,
        };
        reflector.await_join(now.at);
        reflector
    }

    /// The last sequence number given out.
    #[cfg(test)]
    pub(super) fn seq(&self) -> u32 {
        self.live.as_ref().map_or(0, |live| live.stream.seq())
    }

    /// What a connection was sent.
    #[cfg(test)]
    pub(super) fn sent(&self, member: MemberId) -> Option<Traffic> {
        Some(self.seats.get(&member)?.sent_with(self.live.as_deref()))
    }

    /// What must hold between any two calls.
    #[cfg(test)]
    pub(super) fn invariants(&self) {
        let joined = self.seats.values().filter(|seat| seat.joined.is_some()).count();
        assert!(!self.closed || self.live.is_none());
        assert!(self.waiting.is_none() || self.live.is_some());
        match self.parts() {
            None => assert_eq!(joined, 0),
            Some((live, cx)) => {
                live.invariants(cx);
                assert!(joined <= live.crowd.total());
                assert!(self.closing_at.is_none() || live.crowd.total() == 0);
            }
        }
    }

    fn parts(&self) -> Option<(&Live, &Context)> {
        Some((self.live.as_deref()?, &self.cx))
    }

    fn parts_mut(&mut self) -> Option<(&mut Live, &Context)> {
        Some((self.live.as_deref_mut()?, &self.cx))
    }

    /// The live session and the serial number of one who joined it.
    fn joined(&mut self, member: MemberId) -> Option<(&mut Live, u32, &Context)> {
        let serial = self.seats.get(&member)?.joined?;
        let (live, cx) = self.parts_mut()?;
        Some((live, serial, cx))
    }

    fn await_join(&mut self, now: Instant) {
        let at = now + Duration::from_millis(self.cx.config().join_wait_ms.into());
        self.closing_at = Some(self.closing_at.map_or(at, |other| other.max(at)));
    }

    fn dispatch(
        &mut self,
        member: MemberId,
        command: Command<'_>,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        match command {
            Command::Send(args, tags) => self.send(member, args, tags, fx),
            Command::Join(args) => self.join(member, args, fx),
            Command::Ping(args) => {
                self.pong(member, args, fx);
                Ok(())
            }
            Command::Pulse => Ok(()),
            Command::Log(args) => {
                self.log(args);
                Ok(())
            }
            Command::Unknown(action) => {
                event!(debug, "connection", "unknown-action", self.cx.id(),
                    action = shortened(action); "unknown action");
                Ok(())
            }
            _ => self.dispatch_joined(member, command, fx),
        }
    }

    /// What only one who joined may ask for.
    fn dispatch_joined(
        &mut self,
        member: MemberId,
        command: Command<'_>,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let (live, serial, cx) = self.joined(member).ok_or(UNKNOWN_SESSION)?;
        match command {
            Command::Tutti(args) => live.tutti(&Tutti::decode(args)?, serial, cx, fx),
            Command::Snap(args) => live.snap(&Snap::decode(args)?, cx, fx),
            Command::Save(args) => live.save(&Save::decode(args)?, cx, fx)?,
            Command::Ticks(args) => live.set_ticks(Ticks::decode(args)?, cx, fx.at()),
            _ => debug_assert!(false, "{command:?} is for everybody"),
        }
        Ok(())
    }

    fn send(
        &mut self,
        member: MemberId,
        args: Args<'_>,
        tags: Option<Raw<'_>>,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let args = decode::send_args(args)?;
        // Too early to be heard, as in the original.
        let Some((live, _, cx)) = self.joined(member) else { return Ok(()) };
        let (body, latency) = Body::decode(args)?;
        let tags = tags.map(Tags::decode).transpose()?.flatten();
        live.send(body, tags, cx, fx);
        if let Some(ms) = latency.filter(|ms| *ms > 0.0 && *ms < LATENCY_MS_MAX as f64) {
            fx.counters.croquet_latency.observe(ms as u32);
            if let Some(seat) = self.seats.get(&member) {
                fx.latency(seat.user_ip(), ms as u32);
            }
        }
        Ok(())
    }

    /// JOIN (§2.2).
    fn join(
        &mut self,
        member: MemberId,
        args: Args<'_>,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let join = Join::decode(args)?;
        let Some(seat) = self.seats.get_mut(&member) else { return Ok(()) };
        if self.closed || seat.joins == JOINS_MAX {
            event!(info, "connection", "reject-join", self.cx.id(); "rejecting JOIN");
            return Err(RECONNECT);
        }
        seat.joins += 1;
        log_join(self.cx.id(), seat, &join, fx.now);
        self.closing_at = None;
        self.parting = false;
        if self.live.is_none() {
            let live = Live::new(&join, &self.cx, fx);
            self.begin(live, fx);
        }
        let (live, cx) = self.parts_mut().ok_or(RECONNECT)?;
        live.update(&join, cx);
        let located = live.about.location;
        let Some(seat) = self.seats.get(&member) else { return Ok(()) };
        let place = seat.location().filter(|_| located);
        let user = join.user.filter(|_| !seat.listens).map(|user| located_user(user, place));
        let Some(waiting) = &mut self.waiting else {
            self.sync(&mut [Joining { member, user }], fx);
            return Ok(());
        };
        match waiting.iter_mut().find(|joining| joining.member == member) {
            Some(joining) => joining.user = joining.user.take().or(user),
            None => waiting.push(Joining { member, user }),
        }
        Ok(())
    }

    /// The first JOIN opens the session, or loads the stored one.
    fn begin(&mut self, live: Live, fx: &mut Effects<'_>) {
        fx.counters.croquet_sessions.increment();
        if self.cx.durable {
            self.ticket = self.ticket.wrapping_add(1);
            self.waiting = Some(Box::default());
            let records = [Some(latest_name(self.cx.id())), saved_name(&live.about)];
            fx.load(self.ticket, records.into_iter().flatten().collect());
        } else {
            event!(info, "session", "start", self.cx.id(); "starting fresh session");
        }
        self.live = Some(Box::new(live));
    }

    /// Sends SYNC to those who joined; from then on they are members.
    fn sync(&mut self, joining: &mut [Joining], fx: &mut Effects<'_>) {
        let Self { cx, seats, live, .. } = self;
        let Some(live) = live else { return };
        let bytes = live.sync(joining.iter().map(|joining| joining.member), cx, fx);
        for Joining { member, user } in joining {
            let Some(seat) = seats.get_mut(member) else { continue };
            seat.sent = seat.sent_with(Some(&**live));
            seat.count_sent(bytes, fx);
            seat.listens |= user.is_some();
            let serial = *seat.joined.get_or_insert_with(|| live.admit(*member, fx));
            if let Some(user) = user.take() {
                live.reveal(*member, serial, user, cx, fx);
            }
            seat.sent = seat.sent.since(live.stream.told(seat.listens));
        }
    }

    /// Makes of what was stored what the session is.
    fn resume(&mut self, loaded: Loaded, now: Instant) -> Result<(), String> {
        let records = loaded?;
        let Self { live: Some(live), cx, recovered, .. } = self else { return Ok(()) };
        let mut records = records.into_iter();
        let latest = records.next().flatten();
        let nothing = Entries::default();
        let entries = recovered.as_deref().unwrap_or(&nothing);
        let resumed = live.resume(latest.as_deref(), entries, cx, now);
        if resumed.map_err(|error| error.to_string())? {
            *recovered = None;
            event!(info, "session", "start", cx.id(), seq = live.stream.seq(),
                time = live.stream.clock.told_ms(), msgCount = live.stream.messages.len();
                "resuming stored session");
        } else if let Some(saved) = records.next().flatten() {
            live.persistent_url = Some(read_saved(&saved).map_err(|error| error.to_string())?);
            event!(info, "session", "start", cx.id(); "resuming from persisted data");
        } else {
            event!(info, "session", "start", cx.id(); "starting fresh session");
        }
        Ok(())
    }

    /// Records what changed besides messages.
    fn record(&mut self, fx: &mut Effects<'_>) {
        if self.waiting.is_none()
            && let Some((live, cx)) = self.parts_mut()
        {
            live.record(cx, fx);
        }
    }

    /// The last member is gone: the session ends after a while, unless somebody joins.
    fn settle(&mut self, now: Instant) {
        let deserted = self.live.as_ref().is_some_and(|live| live.crowd.total() == 0)
            && self.waiting.as_ref().is_none_or(|waiting| waiting.is_empty());
        if deserted && self.closing_at.is_none() && !self.parting {
            let delay_ms = self.cx.config().deletion_delay_ms;
            event!(debug, "session", "schedule-delete", self.cx.id(), delay = delay_ms;
                "scheduling end of session");
            self.closing_at = Some(now + Duration::from_millis(delay_ms.into()));
        }
    }

    /// Ends the session: it is stored, and over when that is confirmed. Until then whoever joins
    /// finds it as it was.
    fn close(&mut self, fx: &mut Effects<'_>) {
        self.closing_at = None;
        self.parting = true;
        let loading = self.waiting.is_some();
        if let Some((live, cx)) = self.parts_mut()
            && !loading
        {
            live.flush(cx, fx);
            live.store(cx, fx);
        }
        self.part(fx);
    }

    /// Forgets a session that has ended and is stored.
    fn part(&mut self, fx: &mut Effects<'_>) {
        let loading = self.waiting.is_some();
        let stored = self.parts().is_none_or(|(live, cx)| live.is_stored(cx));
        if !self.parting || !(loading || stored) {
            return;
        }
        self.parting = false;
        self.closed = true;
        self.waiting = None;
        if let Some((_, cx)) = self.parts() {
            event!(info, "session", "end", cx.id(), reason = "no clients"; "session ended");
            fx.counters.croquet_sessions.decrement();
        }
        self.live = None;
    }

    /// PING: the args come back, with raw time in them if the session has that flag (§3).
    fn pong(&mut self, member: MemberId, args: Args<'_>, fx: &mut Effects<'_>) {
        let bytes = self.reply_pong(member, args, fx);
        if let Some(seat) = self.seats.get_mut(&member) {
            seat.count_sent(bytes, fx);
        }
    }

    fn reply_pong(&self, member: MemberId, args: Args<'_>, fx: &mut Effects<'_>) -> usize {
        const HEAD: &[u8] = b"{\"action\":\"PONG\"";
        let Some(args) = args.map(|args| args.as_str()) else {
            return encode::reply(member, &[HEAD, b"}"], fx);
        };
        let rawtime = self.live.as_ref().filter(|live| live.stream.rawtime);
        let (Some(live), Some(open)) = (rawtime, args.strip_suffix('}')) else {
            return encode::reply(member, &[HEAD, b",\"args\":", args.as_bytes(), b"}"], fx);
        };
        let comma: &[u8] = if open.trim_ascii_end() == "{" { b"" } else { b"," };
        let mut digits = itoa::Buffer::new();
        let time = digits.format(live.stream.clock.raw_ms(fx.at())).as_bytes();
        let parts = [HEAD, b",\"args\":", open.as_bytes(), comma, b"\"rawTime\":", time, b"}}"];
        encode::reply(member, &parts, fx)
    }

    fn log(&self, args: Args<'_>) {
        if !log::log_enabled!(target: "croquet", log::Level::Info) {
            return;
        }
        let entry = args.and_then(|args| args.to_string_value());
        let entry = entry.as_deref().or_else(|| args.map(Raw::as_str)).unwrap_or_default();
        let entry = shortened(entry);
        event!(info, "connection", "client-log", self.cx.id(),
            reason = entry.split(' ').next().unwrap_or_default(), clientLog = entry;
            "LOG {entry}");
    }
}

impl Machine for Reflector {
    fn on_enter(
        &mut self,
        member: MemberId,
        hello: Hello,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        if self.drained {
            return Err(RECONNECT);
        }
        if self.closed || self.closing_at.is_some() {
            self.closed = false;
            self.await_join(fx.at());
        }
        event!(info, "connection", "start", self.cx.id(), connection = hello.peer.as_str(),
            userIp = hello.user_ip.as_str(), url = without_query(&hello.target);
            "opened connection");
        let proxied = Proxied {
            ip: (ip_of(&hello.peer) != hello.user_ip).then(|| hello.user_ip.into()),
            location: hello.location.as_deref().map(location_json),
        };
        let is_proxied = proxied.ip.is_some() || proxied.location.is_some();
        let seat = Seat {
            proxied: is_proxied.then(|| Box::new(proxied)),
            peer: hello.peer.into(),
            since: fx.at(),
            received: Traffic::default(),
            sent: Traffic::default(),
            joins: 0,
            listens: false,
            joined: None,
        };
        self.seats.insert(member, Box::new(seat));
        let connections = &fx.counters.croquet_connections;
        connections.increment();
        fx.counters.croquet_traffic.users.raise_to(connections.get());
        Ok(())
    }

    fn on_message(
        &mut self,
        member: MemberId,
        message: Message<'_>,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        if self.drained {
            return Err(RECONNECT);
        }
        let bytes = message.bytes().len();
        fx.counters.croquet_traffic.bytes_in.add(bytes as u64);
        if let Some(seat) = self.seats.get_mut(&member) {
            seat.received.count(bytes);
        }
        let done = decode::command(&message).and_then(|command| self.dispatch(member, command, fx));
        self.record(fx);
        if let Err(close) = done {
            event!(debug, "connection", "message-handling-failed", self.cx.id(), code = close.code;
                "closing: {}", close.reason);
        }
        done
    }

    fn on_pong(&mut self, member: MemberId, payload: &[u8], fx: &mut Effects<'_>) {
        let Some(seat) = self.seats.get(&member) else { return };
        let sent_ms = std::str::from_utf8(payload).ok().and_then(|text| text.parse().ok());
        let ms = sent_ms.and_then(|sent_ms| fx.now.wall_ms.checked_sub(sent_ms));
        // Anything else is not of ours, or the wall clock was set.
        let Some(ms) = ms.filter(|&ms| ms < LATENCY_MS_MAX) else { return };
        event!(debug, "connection", "pong", self.cx.id(), connection = &*seat.peer,
            userIp = seat.user_ip(), latency = ms; "pong after {ms} ms");
        fx.latency(seat.user_ip(), ms as u32);
    }

    fn on_leave(&mut self, member: MemberId, code: u16, fx: &mut Effects<'_>) {
        let Some(seat) = self.seats.remove(&member) else { return };
        fx.counters.croquet_connections.decrement();
        log_end(self.cx.id(), &seat, self.live.as_deref(), code, fx.now);
        if let Some(waiting) = &mut self.waiting {
            waiting.retain(|joining| joining.member != member);
        }
        if let (Some(serial), Some((live, cx))) = (seat.joined, self.parts_mut()) {
            live.hang_up(member, serial, cx, fx);
        }
        self.settle(fx.at());
    }

    fn on_deadline(&mut self, fx: &mut Effects<'_>) {
        if self.drained {
            return;
        }
        if self.waiting.is_none()
            && let Some((live, cx)) = self.parts_mut()
        {
            live.on_deadline(cx, fx);
        }
        self.settle(fx.at());
        self.record(fx);
        if self.closing_at.is_some_and(|at| at <= fx.at()) {
            self.close(fx);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        if self.drained {
            return None;
        }
        let live = self.live.as_ref().filter(|_| self.waiting.is_none());
        live.and_then(|live| live.deadline()).into_iter().chain(self.closing_at).min()
    }

    fn on_loaded(&mut self, ticket: u32, records: Loaded, fx: &mut Effects<'_>) {
        if ticket != self.ticket {
            return;
        }
        let Some(mut waiting) = self.waiting.take() else { return };
        match self.resume(records, fx.at()) {
            Ok(()) => {
                self.sync(&mut waiting, fx);
                self.record(fx);
            }
            Err(why) => {
                event!(error, "session", "fetch-latest-failed", self.cx.id(), err = why.as_str();
                    "the stored session cannot be read: {why}; clients are told to try again");
                fx.counters.storage_errors.increment();
                fx.counters.croquet_sessions.decrement();
                self.live = None;
                self.await_join(fx.at());
                for Joining { member, .. } in *waiting {
                    fx.close(member, RECONNECT);
                }
            }
        }
        self.settle(fx.at());
    }

    fn on_recovered(&mut self, entries: Entries, fx: &mut Effects<'_>) {
        self.recovered = Some(Box::new(entries));
        self.begin(Live::awaited(&self.cx, fx), fx);
    }

    fn on_checkpoint(&mut self, fx: &mut Effects<'_>) {
        if self.waiting.is_none()
            && let Some((live, cx)) = self.parts_mut()
        {
            live.checkpoint(cx, fx);
        }
    }

    fn on_stored(&mut self, record: &RecordName, result: Result<(), String>, fx: &mut Effects<'_>) {
        if let Err(why) = &result {
            event!(error, "session", "upload-latest-failed", self.cx.id(), err = why.as_str();
                "{} could not be stored: {why}", record.namespace);
        }
        if *record != latest_name(self.cx.id()) || self.drained {
            return;
        }
        if let Some((live, _)) = self.parts_mut() {
            live.on_stored(result.is_ok(), fx.at());
        }
        self.part(fx);
    }

    fn on_posted(&mut self, result: Result<(), String>, fx: &mut Effects<'_>) {
        if let Err(why) = result
            && let Some((live, cx)) = self.parts_mut()
        {
            live.on_herald_failed(&why, cx, fx);
        }
    }

    fn on_drain(&mut self, fx: &mut Effects<'_>) {
        if self.waiting.is_none()
            && let Some((live, cx)) = self.parts_mut()
        {
            live.flush(cx, fx);
            live.store(cx, fx);
        }
        self.drained = true;
    }

    fn is_over(&self) -> bool {
        self.closed && self.seats.is_empty()
    }

    fn describe(&self) -> String {
        let Some((live, _)) = self.parts() else {
            return format!("{} 0  ", self.cx.id());
        };
        let about = &live.about;
        let app = about.app_id.as_deref().or(about.name.as_deref()).unwrap_or("");
        format!("{} {} {app} {}", self.cx.id(), live.crowd.total(), about.url)
    }

    fn users(&self) -> String {
        let mut json = String::new();
        match self.parts() {
            Some((live, _)) => write_users(&mut json, live.crowd.users()),
            None => json.push_str("[]"),
        }
        json
    }
}

impl Seat {
    fn user_ip(&self) -> &str {
        let told = self.proxied.as_ref().and_then(|proxied| proxied.ip.as_deref());
        told.unwrap_or_else(|| ip_of(&self.peer))
    }

    /// JSON of where it is, if a proxy told.
    fn location(&self) -> Option<&str> {
        self.proxied.as_ref()?.location.as_deref()
    }

    /// What its connection was sent, `live` being the session it has joined if it has joined any.
    fn sent_with(&self, live: Option<&Live>) -> Traffic {
        match live.filter(|_| self.joined.is_some()) {
            Some(live) => self.sent.plus(live.stream.told(self.listens)),
            None => self.sent,
        }
    }

    /// Counts a message to it alone.
    fn count_sent(&mut self, bytes: usize, fx: &Effects<'_>) {
        self.sent.count(bytes);
        fx.counters.croquet_traffic.bytes_out.add(bytes as u64);
    }
}

fn log_end(id: &str, seat: &Seat, live: Option<&Live>, code: u16, now: Now) {
    let (received, sent) = (seat.received, seat.sent_with(live));
    let seconds = now.at.since(seat.since).as_millis().div_ceil(1_000);
    log::info!(target: "croquet", scope = "connection", event = "end", sessionId = id,
        connection = &*seat.peer, userIp = seat.user_ip(), code = code,
        "json:stats":% = format_args!(
            r#"{{"mi":{},"mo":{},"bi":{},"bo":{},"s":{seconds}}}"#,
            received.messages, sent.messages, received.bytes, sent.bytes
        );
        "client closed connection [{code}]");
}

fn log_join(id: &str, seat: &Seat, join: &Join<'_>, now: Now) {
    event!(info, "connection", "join", id, connection = &*seat.peer, userIp = seat.user_ip(),
        user = join.user, sessionName = join.name.as_deref(), appId = join.app_id.as_deref(),
        persistentId = join.persistent_id.as_deref(), developerId = join.developer_id.as_deref(),
        codeHash = join.code_hash.as_deref(), apiKey = join.api_key.as_deref().map(masked).as_deref(),
        url = join.url.as_deref(), sdk = join.sdk.as_deref(),
        heraldUrl = join.herald_url.as_deref(), flags = join.flags.json(),
        connectedFor = now.at.since(seat.since).as_millis() as u64;
        "JOIN as {}", join.user.unwrap_or("spectator"));
}

/// The address in `ip:port` or `[ip]:port`.
fn ip_of(peer: &str) -> &str {
    let ip = peer.rsplit_once(':').map_or(peer, |(ip, _)| ip);
    ip.trim_start_matches('[').trim_end_matches(']')
}

/// The first four characters: enough to tell keys apart.
fn masked(key: &str) -> String {
    key.chars().take(4).chain(['…']).collect()
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(LOG_BYTES_MAX)]
}

/// A target without its query, which may hold a token.
fn without_query(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

/// The user of a member, with where it is if the application asked for that (§2.1).
fn located_user(user: &str, location: Option<&str>) -> User {
    let Some(location) = location else { return Rc::from(user) };
    let (inner, field, close) = match (user.strip_suffix(']'), user.strip_suffix('}')) {
        (Some(inner), _) => (inner, "", ']'),
        (_, Some(inner)) => (inner, "\"location\":", '}'),
        _ => return Rc::from(user),
    };
    let empty = matches!(inner.trim_ascii_end(), "[" | "{");
    let comma = if empty { "" } else { "," };
    Rc::from(format!("{inner}{comma}{field}{location}{close}"))
}

/// `region,city,lat,lng` as `{region, city: {name, lat, lng}}` (§1.1).
fn location_json(header: &str) -> Box<str> {
    let mut parts = header.split(',');
    let mut out = b"{\"region\":".to_vec();
    json::write_string(&mut out, parts.next().unwrap_or_default());
    if let Some(city) = parts.next().filter(|city| !city.is_empty()) {
        out.extend_from_slice(b",\"city\":{\"name\":");
        json::write_string(&mut out, city);
        for name in ["lat", "lng"] {
            let number = parts.next().and_then(|number| number.trim().parse::<f64>().ok());
            let number = number.filter(|number| number.is_finite());
            let text = number.map_or_else(|| "null".to_owned(), |number| number.to_string());
            out.extend_from_slice(format!(",\"{name}\":{text}").as_bytes());
        }
        out.push(b'}');
    }
    out.push(b'}');
    String::from_utf8(out).expect("JSON strings are UTF-8").into()
}

#[cfg(test)]
mod size {
    /// What a connection at rest takes here: one of the allocator's smaller sizes.
    #[test]
    fn a_seat_is_small() {
        assert_eq!(size_of::<super::Seat>(), 80);
    }
}
