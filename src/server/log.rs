//! The sink behind the `log` facade: shards format a line and hand it on; one thread writes.
//!
//! A shard never waits for a terminal, a pipe or a disk: its lines are appended to those that wait, and
//! dropped and counted if too many do. The writer takes all that wait at once, and tells how many were
//! dropped. No line has memory of its own, and only the first that waits wakes the writer.
//!
//! A record is a message and key-value pairs. `scope` and `event` say what it is about, as in the
//! logs of the original Croquet reflector:
//!
//! ```
//! # let id = "s";
//! log::info!(scope = "session", event = "start", sessionId = id; "started");
//! ```
//!
//! The keys `time`, `message` and `target` are the sink's own; pairs under these names are left out.
//! The value of a key `json:x` is JSON already, and is written as it is under the key `x`.
//!
//! Severities are those of Google Cloud: DEBUG, INFO, NOTICE, WARNING, ERROR; [`notice!`](crate::notice) makes the
//! one that the facade lacks.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use log::kv::{Key, Value, VisitSource, VisitValue};
use log::{LevelFilter, Metadata, Record};

use super::clock::{Clock, Rfc3339, TimeOfDay};

/// Lines that may wait for the writer; more are dropped and counted.
pub const LINES_QUEUED_MAX: usize = 2048;
/// Longest value of one field, the message included, in bytes; what is longer is cut, ending in `…`.
pub const FIELD_BYTES_MAX: usize = 512;
/// Fields of one line, besides time, severity, scope, event and message; more are left out.
pub const FIELDS_MAX: usize = 32;
/// What the writer keeps for the lines that come next, in bytes.
const KEPT_BYTES: usize = 64 << 10;
/// From one write to the next: what comes meanwhile is written at once, and wakes nobody.
const WRITE_EVERY: Duration = Duration::from_millis(2);

/// Logs at severity NOTICE: something an operator wants to see although nothing is wrong.
/// Takes the same arguments as `log::info!`.
#[macro_export]
macro_rules! notice {
    ($format:literal) => { ::log::info!(severity = "NOTICE"; $format) };
    ($format:literal, $($rest:tt)*) => { ::log::info!(severity = "NOTICE"; $format, $($rest)*) };
    ($($rest:tt)+) => { ::log::info!(severity = "NOTICE", $($rest)+) };
}

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text if standard error is a terminal, else JSON.
    #[default]
    Auto,
    /// For people: `14:02:03.004 INFO    session/start started sessionId=x`.
    Text,
    /// One JSON object a line, as log collectors want it.
    Json,
}

impl Format {
    fn is_json(self) -> bool {
        match self {
            Self::Auto => !io::stderr().is_terminal(),
            Self::Text => false,
            Self::Json => true,
        }
    }
}

/// Which records are written: a level, and levels for targets that begin with a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    rest: LevelFilter,
    /// The longest prefixes first.
    targets: Vec<(String, LevelFilter)>,
}

impl Default for Filter {
    fn default() -> Self {
        Self { rest: LevelFilter::Info, targets: Vec::new() }
    }
}

impl Filter {
    /// Reads directives separated by commas, as in `RUST_LOG`: a level (`info`) for everything, a
    /// level for a target (`lockstep=debug`), or a target at every level (`lockstep`). What no
    /// directive names is written from level `error` on.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut filter = Self { rest: LevelFilter::Error, targets: Vec::new() };
        for directive in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match directive.split_once('=') {
                Some((target, level)) => filter.set(target.trim(), level_of(level)?),
                None => match level_of(directive) {
                    Ok(level) => filter.rest = level,
                    Err(_) if is_target(directive) => filter.set(directive, LevelFilter::Trace),
                    Err(error) => return Err(error),
                },
            }
        }
        Ok(filter)
    }

    /// The same filter, but writing at least this much of a target and what is below it.
    pub fn at_least(mut self, target: &str, level: LevelFilter) -> Self {
        let before = self.level(target);
        for (prefix, known) in &mut self.targets {
            if prefix.starts_with(target) {
                *known = level.max(*known);
            }
        }
        self.set(target, level.max(before));
        self
    }

    /// Whether a record of this target and level is written.
    pub fn passes(&self, target: &str, level: log::Level) -> bool {
        level <= self.level(target)
    }

    fn level(&self, target: &str) -> LevelFilter {
        let mut known = self.targets.iter();
        known.find(|(prefix, _)| target.starts_with(prefix)).map_or(self.rest, |(_, level)| *level)
    }

    fn set(&mut self, target: &str, level: LevelFilter) {
        self.targets.retain(|(known, _)| known != target);
        self.targets.push((target.to_owned(), level));
        self.targets.sort_by_key(|(known, _)| std::cmp::Reverse(known.len()));
    }

    fn max(&self) -> LevelFilter {
        self.targets.iter().map(|(_, level)| *level).fold(self.rest, Ord::max)
    }
}

fn level_of(text: &str) -> Result<LevelFilter, String> {
    text.trim().parse().map_err(|_| {
        format!("{:?} is not a level: off, error, warn, info, debug or trace", text.trim())
    })
}

/// Of a directive without a level: a module's path, or this crate. Other words are levels misspelt.
fn is_target(text: &str) -> bool {
    text.contains("::") || text == "lockstep"
}

static SINK: OnceLock<Sink> = OnceLock::new();

/// Starts the writer and takes over the `log` facade, once in the life of a process.
pub fn start(format: Format, filter: Filter, clock: Clock) -> io::Result<()> {
    let sink = Sink::new(format.is_json(), filter, clock);
    let (queue, json, level) = (Arc::clone(&sink.queue), sink.json, sink.filter.max());
    let taken = || io::Error::new(io::ErrorKind::AlreadyExists, "logging was started before");
    SINK.set(sink).map_err(|_| taken())?;
    let writer = move || write_lines(&mut io::stderr(), &queue, json, clock);
    thread::Builder::new().name("log".to_owned()).spawn(writer)?;
    log::set_logger(SINK.get().ok_or_else(taken)?).map_err(|_| taken())?;
    log::set_max_level(level);
    Ok(())
}

/// Waits until all lines logged before are written; whether that was so within the given time.
/// For the end of the process and nothing else: it blocks.
pub fn flush(within: Duration) -> bool {
    SINK.get().is_none_or(|sink| sink.flush(within))
}

/// Lines that wait for the writer.
struct Queue {
    waiting: Mutex<Waiting>,
    /// Tells the writer that something does; one telling is enough.
    wake: Sender<()>,
    woken: Receiver<()>,
}

#[derive(Default)]
struct Waiting {
    text: Vec<u8>,
    lines: usize,
    /// Lines that there was no room for.
    dropped: u64,
    /// Answered when everything before is written.
    flushes: Vec<Sender<()>>,
    /// Nothing follows.
    is_over: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.lines == 0 && self.dropped == 0 && self.flushes.is_empty()
    }
}

impl Default for Queue {
    fn default() -> Self {
        let (wake, woken) = bounded(1);
        Self { waiting: Mutex::default(), wake, woken }
    }
}

impl Queue {
    /// Whoever panicked while holding it has left it as it is to be: it is changed in one piece.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what waits, and tells the writer.
    fn change(&self, change: impl FnOnce(&mut Waiting)) {
        change(&mut self.lock());
        let _ = self.wake.try_send(());
    }

    fn push(&self, line: &str) {
        self.change(|waiting| {
            if waiting.lines == LINES_QUEUED_MAX {
                waiting.dropped += 1;
            } else {
                waiting.text.extend_from_slice(line.as_bytes());
                waiting.lines += 1;
            }
        });
    }

    /// All that waits, as soon as something does; none if nothing follows. `empty` is for the lines
    /// that come next.
    fn take(&self, empty: Vec<u8>) -> Option<Waiting> {
        loop {
            let mut waiting = self.lock();
            if !waiting.is_empty() {
                let is_over = waiting.is_over;
                let next = Waiting { text: empty, is_over, ..Waiting::default() };
                return Some(std::mem::replace(&mut waiting, next));
            }
            let is_over = waiting.is_over;
            drop(waiting);
            if is_over || self.woken.recv().is_err() {
                return None;
            }
        }
    }
}

/// The shards' end: formats and hands on.
struct Sink {
    queue: Arc<Queue>,
    json: bool,
    filter: Filter,
    clock: Clock,
}

impl Sink {
    fn new(json: bool, filter: Filter, clock: Clock) -> Self {
        Self { queue: Arc::default(), json, filter, clock }
    }

    fn flush(&self, within: Duration) -> bool {
        let (done, waits) = bounded(1);
        self.queue.change(|waiting| waiting.flushes.push(done));
        waits.recv_timeout(within).is_ok()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.queue.change(|waiting| waiting.is_over = true);
    }
}

impl log::Log for Sink {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.passes(metadata.target(), metadata.level())
    }

    fn log(&self, record: &Record<'_>) {
        thread_local! {
            static LINE: Cell<String> = const { Cell::new(String::new()) };
        }
        if self.enabled(record.metadata()) {
            // Taken: what is logged may log itself. Where a thread ends there is none.
            let mut text = LINE.try_with(Cell::take).unwrap_or_default();
            text.clear();
            write_line(&mut text, record, self.json, self.clock.wall_ms());
            self.queue.push(&text);
            let _ = LINE.try_with(|line| line.set(text));
        }
    }

    /// Nothing: shards may call it, and must not wait. See [`flush`].
    fn flush(&self) {}
}

/// The writer: until the sink is gone. Errors of `out` are nobody's to tell.
fn write_lines(out: &mut impl Write, queue: &Queue, json: bool, clock: Clock) {
    let mut empty = Vec::new();
    while let Some(Waiting { mut text, dropped, flushes, .. }) = queue.take(empty) {
        if dropped > 0 {
            text.extend_from_slice(lost_line(dropped, json, clock.wall_ms()).as_bytes());
        }
        let _ = out.write_all(&text).and_then(|()| out.flush());
        for done in flushes {
            let _ = done.try_send(());
        }
        text.clear();
        text.shrink_to(KEPT_BYTES);
        empty = text;
        #[expect(clippy::disallowed_methods, reason = "this thread has nothing else to do")]
        thread::sleep(WRITE_EVERY);
    }
}

fn lost_line(lines: u64, json: bool, wall_ms: u64) -> String {
    let fields: &[(&str, Value<'_>)] = &[
        ("scope", Value::from("process")),
        ("event", Value::from("log-dropped")),
        ("lines", Value::from(lines)),
    ];
    let mut record = Record::builder();
    record.level(log::Level::Warn).target(module_path!()).key_values(&fields);
    let mut line = String::new();
    let text = format_args!("{lines} log lines dropped");
    write_line(&mut line, &record.args(text).build(), json, wall_ms);
    line
}

/// Appends one record as one line, its end included.
fn write_line(out: &mut String, record: &Record<'_>, json: bool, wall_ms: u64) {
    let (pairs, mut head) = (record.key_values(), Head::default());
    // Visiting fails only if the visitor does, and neither does.
    let _ = pairs.visit(&mut head);
    let severity = head.severity.as_deref().unwrap_or_else(|| severity(record.level()));
    let target = record.target();
    if json {
        out.push_str("{\"severity\":");
        push_quoted(out, severity);
        let _ = write!(out, ",\"time\":\"{}\"", Rfc3339(wall_ms));
        let target = head.scope.is_none().then_some(target);
        for (key, value) in [
            (",\"scope\":", head.scope.as_deref()),
            (",\"target\":", target),
            (",\"event\":", head.event.as_deref()),
        ] {
            if let Some(value) = value {
                out.push_str(key);
                push_quoted(out, value);
            }
        }
        out.push_str(",\"message\":");
        push_capped_quoted(out, *record.args());
    } else {
        let _ = write!(out, "{} {severity:<7} ", TimeOfDay(wall_ms));
        push_visible(out, head.scope.as_deref().unwrap_or(target), Escape::Control);
        if let Some(event) = &head.event {
            out.push('/');
            push_visible(out, event, Escape::Control);
        }
        out.push(' ');
        push_capped(out, Escape::Control, *record.args());
    }
    let _ = pairs.visit(&mut Rest { json, out, count: 0 });
    if json {
        out.push('}');
    }
    out.push('\n');
}

fn severity(level: log::Level) -> &'static str {
    match level {
        log::Level::Error => "ERROR",
        log::Level::Warn => "WARNING",
        log::Level::Info => "INFO",
        log::Level::Debug | log::Level::Trace => "DEBUG",
    }
}

/// Those of a record's pairs that have a place of their own.
#[derive(Default)]
struct Head<'kvs> {
    severity: Option<Cow<'kvs, str>>,
    scope: Option<Cow<'kvs, str>>,
    event: Option<Cow<'kvs, str>>,
}

impl<'kvs> VisitSource<'kvs> for Head<'kvs> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        let place = match key.as_str() {
            "severity" => &mut self.severity,
            "scope" => &mut self.scope,
            "event" => &mut self.event,
            _ => return Ok(()),
        };
        let text = value.to_borrowed_str().filter(|text| text.len() <= FIELD_BYTES_MAX);
        *place = Some(text.map_or_else(|| capped(format_args!("{value}")).into(), Cow::from));
        Ok(())
    }
}

/// Writes the others.
struct Rest<'a> {
    json: bool,
    out: &'a mut String,
    count: usize,
}

impl<'kvs> VisitSource<'kvs> for Rest<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        match key.as_str() {
            // Taken: a second one would make the object ambiguous.
            "severity" | "scope" | "event" | "time" | "message" | "target" => {}
            key if self.count < FIELDS_MAX => {
                self.count += 1;
                let (json, out) = (self.json, &mut *self.out);
                let (key, is_json) =
                    key.strip_prefix("json:").map_or((key, false), |key| (key, true));
                if json {
                    out.push(',');
                    push_quoted(out, key);
                    out.push(':');
                } else {
                    out.push(' ');
                    push_visible(out, key, Escape::Control);
                    out.push('=');
                }
                if is_json {
                    push_json(out, &capped(format_args!("{value}")));
                } else {
                    value.visit(FieldValue { json, out })?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Formats one value: numbers and truth values as they are, everything else as text.
struct FieldValue<'a> {
    json: bool,
    out: &'a mut String,
}

impl FieldValue<'_> {
    fn push(&mut self, text: fmt::Arguments<'_>) -> Result<(), log::kv::Error> {
        if self.json {
            push_capped_quoted(self.out, text);
            return Ok(());
        }
        let text = capped(text);
        let bare = |char: char| !char.is_whitespace() && char != '"';
        if !text.is_empty() && text.chars().all(bare) {
            push_visible(self.out, &text, Escape::Control);
        } else {
            push_quoted(self.out, &text);
        }
        Ok(())
    }

    fn push_plain(&mut self, value: impl fmt::Display) -> Result<(), log::kv::Error> {
        Ok(write!(self.out, "{value}")?)
    }
}

impl<'kvs> VisitValue<'kvs> for FieldValue<'_> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), log::kv::Error> {
        self.push(format_args!("{value}"))
    }

    fn visit_null(&mut self) -> Result<(), log::kv::Error> {
        self.push_plain("null")
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), log::kv::Error> {
        self.push_plain(value)
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), log::kv::Error> {
        self.push_plain(value)
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), log::kv::Error> {
        if value.is_finite() { self.push_plain(value) } else { self.push(format_args!("{value}")) }
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), log::kv::Error> {
        self.push_plain(value)
    }

    fn visit_str(&mut self, value: &str) -> Result<(), log::kv::Error> {
        self.push(format_args!("{value}"))
    }
}

/// Which characters are written otherwise. Control characters never reach a terminal or split a line,
/// whoever chose the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    /// None: this text is escaped later.
    Nothing,
    Control,
    /// Quotes and backslashes, too.
    Quoted,
}

/// Writes the first [`FIELD_BYTES_MAX`] of a text. What is formatted stops there: a huge value costs
/// little.
struct Capped<'a> {
    out: &'a mut String,
    escape: Escape,
    room: usize,
}

impl fmt::Write for Capped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let fits = text.floor_char_boundary(self.room);
        self.room -= fits;
        push_visible(self.out, &text[..fits], self.escape);
        if fits == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

fn push_capped(out: &mut String, escape: Escape, text: fmt::Arguments<'_>) {
    let mut capped = Capped { out, escape, room: FIELD_BYTES_MAX };
    if capped.write_fmt(text).is_err() {
        out.push('…');
    }
}

fn push_capped_quoted(out: &mut String, text: fmt::Arguments<'_>) {
    out.push('"');
    push_capped(out, Escape::Quoted, text);
    out.push('"');
}

fn capped(text: fmt::Arguments<'_>) -> String {
    let mut out = String::new();
    push_capped(&mut out, Escape::Nothing, text);
    out
}

fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    push_visible(out, text, Escape::Quoted);
    out.push('"');
}

/// JSON as it is, or as a text if it was cut.
fn push_json(out: &mut String, json: &str) {
    if json.ends_with('…') {
        push_quoted(out, json)
    } else {
        push_visible(out, json, Escape::Control)
    }
}

fn push_visible(out: &mut String, mut text: &str, escape: Escape) {
    let is_plain = |byte: u8| match byte {
        b'"' | b'\\' => escape != Escape::Quoted,
        b' '..=b'~' => true,
        _ => escape == Escape::Nothing,
    };
    loop {
        let plain = text.bytes().position(|byte| !is_plain(byte)).unwrap_or(text.len());
        let (plain, rest) = text.split_at(plain);
        out.push_str(plain);
        let mut chars = rest.chars();
        match chars.next() {
            None => return,
            Some('\n') => out.push_str("\\n"),
            Some('\t') => out.push_str("\\t"),
            Some(char) if char.is_control() => drop(write!(out, "\\u{:04x}", u32::from(char))),
            Some(char) if char.is_ascii() => out.extend(['\\', char]),
            Some(char) => out.push(char),
        }
        text = chars.as_str();
    }
}

#[cfg(test)]
pub(crate) mod capture;
#[cfg(test)]
mod tests;
