//! Sessions as stored records (specs: croquet §10), with the fields of the original's
//! `latest.json` and `saved.json`.

use std::io::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Config;
use super::clock::Clock;
use super::live::{About, Live, Snapshot};
use super::messages::Messages;
use super::stream::{Pace, Stream, bounded_tick};
use super::tally::Tallies;
use crate::codec::json::{self, DEPTH_MAX, Raw};
use crate::session::Instant;
use crate::session::effects::RecordName;
use crate::session::journal::Entries;

/// Why a stored record cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum StoredError {
    /// It is not JSON of the expected form.
    #[error("the stored session is not readable: {0}")]
    Json(#[from] serde_json::Error),
    /// Clients would never get over a gap in what they replay.
    #[error("message {0} of the stored session is not the one that should be there")]
    Gap(usize),
    /// An entry of the journal is none of ours.
    #[error("what the session recorded is not readable")]
    Entry,
}

/// Where a session's state is stored.
pub(super) fn latest_name(id: &str) -> RecordName {
    RecordName { namespace: "croquet/sessions", names: vec![id.to_owned()] }
}

/// Where the pointer to an application's persistent data is stored, if the application has named
/// itself.
pub(super) fn saved_name(about: &About) -> Option<RecordName> {
    let (app, persistent) = (about.app_id.as_ref()?, about.persistent_id.as_ref()?);
    let names = about.developer_id.iter().chain([app, persistent]);
    Some(RecordName {
        namespace: "croquet/saved",
        names: names.map(|name| name.clone().into_string()).collect(),
    })
}

/// The pointer to persistent data.
pub(super) fn write_saved(url: &str) -> Vec<u8> {
    let mut out = b"{\"url\":".to_vec();
    json::write_string(&mut out, url);
    out.push(b'}');
    out
}

/// The URL in a pointer to persistent data.
pub(super) fn read_saved(content: &[u8]) -> Result<Box<str>, StoredError> {
    #[derive(Deserialize)]
    struct Saved {
        url: Box<str>,
    }
    Ok(serde_json::from_slice::<Saved>(content)?.url)
}

/// A live session as a record, everything recorded up to position `recorded` included.
pub(super) fn write_latest(id: &str, live: &mut Live, recorded: u64) -> Vec<u8> {
    let mut out = write_head(id, live, live.stream.messages.bytes());
    if recorded > 0 {
        field(&mut out, "journal", recorded);
    }
    out.extend_from_slice(b",\"messages\":[");
    live.stream.messages.pieces().for_each(|piece| out.extend_from_slice(piece));
    out.extend_from_slice(b"]}");
    out
}

/// What a session records when anything but its messages and its time has changed.
pub(super) fn write_state(id: &str, live: &mut Live) -> Vec<u8> {
    let mut out = write_head(id, live, 0);
    out.push(b'}');
    out
}

/// The fields of a record before its messages; the object is open.
fn write_head(id: &str, live: &mut Live, more: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024 + more);
    let mut completed = String::new();
    live.tallies.write_completed(live.stream.clock.told_ms(), &mut completed);
    let Live { about, stream, snapshot, .. } = live;
    let pace = stream.pace();
    out.extend_from_slice(b"{\"id\":");
    json::write_string(&mut out, id);
    text_field(&mut out, "name", about.name.as_deref());
    field(&mut out, "version", about.version);
    field(&mut out, "time", stream.clock.told_ms());
    field(&mut out, "seq", stream.seq());
    field(&mut out, "scale", stream.clock.scale());
    field(&mut out, "tick", pace.tick_ms);
    field(&mut out, "delay", pace.delay_ms);
    field(&mut out, "snapshotTime", snapshot.as_ref().map_or(-1.0, |snapshot| snapshot.time_ms));
    match snapshot {
        Some(snapshot) => field(&mut out, "snapshotSeq", snapshot.seq),
        None => field(&mut out, "snapshotSeq", "null"),
    }
    text_field(&mut out, "snapshotUrl", Some(snapshot.as_ref().map_or("", |snap| &snap.url)));
    text_field(&mut out, "appId", about.app_id.as_deref());
    text_field(&mut out, "persistentId", about.persistent_id.as_deref());
    text_field(&mut out, "developerId", about.developer_id.as_deref());
    text_field(&mut out, "persistentUrl", Some(live.persistent_url.as_deref().unwrap_or("")));
    text_field(&mut out, "timeline", Some(&live.timeline));
    if let Some(tove) = &about.tove {
        field(&mut out, "tove", tove);
    }
    field(&mut out, "location", about.location);
    field(&mut out, "lastTick", pace.last_tick_ms);
    field(&mut out, "lastMsgTime", pace.last_message_ms);
    field(&mut out, "completedTallies", completed);
    out
}

fn field(out: &mut Vec<u8>, name: &str, value: impl std::fmt::Display) {
    write!(out, ",\"{name}\":{value}").expect("a Vec takes everything");
}

fn text_field(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        write!(out, ",\"{name}\":").expect("a Vec takes everything");
        json::write_string(out, value);
    }
}

/// A record as it was read. What a record of the original may lack has a default.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Latest<'a> {
    name: Option<Box<str>>,
    version: Option<f64>,
    time: f64,
    seq: u32,
    scale: Option<f64>,
    tick: Option<f64>,
    delay: Option<f64>,
    snapshot_time: Option<f64>,
    snapshot_seq: Option<u32>,
    snapshot_url: Option<Box<str>>,
    app_id: Option<Box<str>>,
    persistent_id: Option<Box<str>>,
    developer_id: Option<Box<str>>,
    persistent_url: Option<Box<str>>,
    timeline: Box<str>,
    #[serde(borrow)]
    tove: Option<&'a RawValue>,
    location: Option<bool>,
    last_tick: Option<f64>,
    last_msg_time: Option<f64>,
    #[serde(borrow)]
    completed_tallies: Option<&'a RawValue>,
    #[serde(borrow, default)]
    messages: Vec<&'a RawValue>,
    /// What it has of what was recorded.
    #[serde(default)]
    journal: u64,
}

/// What a session records in the journal: the first byte of an entry, and what follows it.
pub(super) mod entry {
    /// A stamped message, `[time,seq,…]`.
    pub(in super::super) const MESSAGE: &[u8] = b"M";
    /// Milliseconds of session time, decimal: no later time was told before the next of these.
    pub(in super::super) const TIME: &[u8] = b"T";
    /// Everything else, see [`write_state`](super::write_state).
    pub(in super::super) const STATE: &[u8] = b"S";
}

/// The stored session with what was recorded since.
fn replay<'a>(
    content: Option<&'a [u8]>,
    entries: &'a Entries,
) -> Result<Option<(Latest<'a>, Vec<&'a str>)>, StoredError> {
    let mut latest: Option<Latest<'a>> = content.map(serde_json::from_slice).transpose()?;
    let mut messages: Vec<&str> = Vec::new();
    let mut time = 0.0_f64;
    if let Some(latest) = &latest {
        messages.extend(latest.messages.iter().map(|message| message.get()));
    }
    let since = latest.as_ref().map_or(0, |latest| latest.journal);
    for (_, body) in entries.after(since) {
        let (kind, rest) = body.split_at_checked(1).ok_or(StoredError::Entry)?;
        let text = std::str::from_utf8(rest).map_err(|_| StoredError::Entry)?;
        match kind {
            entry::STATE => {
                let state: Latest<'a> = serde_json::from_str(text)?;
                forget_covered(&state, &mut messages);
                latest = Some(state);
            }
            entry::MESSAGE => {
                let latest = latest.as_mut().ok_or(StoredError::Entry)?;
                latest.seq = latest.seq.wrapping_add(1);
                let told = text.get(1..).and_then(|text| text.split(',').next());
                let told = told.and_then(|told| told.parse().ok()).ok_or(StoredError::Entry)?;
                time = time.max(told);
                latest.last_msg_time = Some(told);
                messages.push(text);
            }
            entry::TIME => time = time.max(text.parse().map_err(|_| StoredError::Entry)?),
            _ => return Err(StoredError::Entry),
        }
    }
    Ok(latest.map(|mut latest| {
        latest.time = latest.time.max(time);
        (latest, messages)
    }))
}

/// Forgets the messages that the newest snapshot covers.
fn forget_covered(state: &Latest<'_>, messages: &mut Vec<&str>) {
    if let Some(seq) = state.snapshot_seq.filter(|_| state.snapshot_url.is_some()) {
        let kept = state.seq.wrapping_sub(seq) as usize;
        messages.drain(..messages.len().saturating_sub(kept));
    }
}

/// Makes `live`, opened for the first who joined, the continuation of the stored session and of what
/// it recorded since. `false` if there is neither.
pub(super) fn resume(
    content: Option<&[u8]>,
    entries: &Entries,
    live: &mut Live,
    config: &Config,
    now: Instant,
) -> Result<bool, StoredError> {
    let Some((latest, messages)) = replay(content, entries)? else { return Ok(false) };
    let messages = read_messages(latest.seq, &messages)?;
    live.tallies = read_tallies(&latest);
    let time_ms = latest.time.max(0.0) as u64;
    let tick_ms = bounded_tick(latest.tick.unwrap_or(0.0), config);
    let mut pace = Pace {
        tick_ms,
        delay_ms: latest.delay.unwrap_or(0.0),
        last_tick_ms: latest.last_tick.unwrap_or(-1_000.0).min(time_ms as f64),
        last_message_ms: latest.last_msg_time.unwrap_or(0.0).max(0.0) as u64,
    };
    pace.delay_ms = pace.bounded_delay();
    let clock = Clock::resumed(now, time_ms, latest.scale.unwrap_or(1.0));
    let rawtime = live.stream.rawtime;
    live.stream = Stream::resumed(clock, messages, latest.seq, pace);
    live.stream.rawtime = rawtime;
    live.snapshot = match (latest.snapshot_url, latest.snapshot_seq) {
        (Some(url), Some(seq)) if !url.is_empty() => {
            Some(Snapshot { time_ms: latest.snapshot_time.unwrap_or(0.0), seq, url })
        }
        _ => None,
    };
    live.persistent_url = latest.persistent_url.filter(|url| !url.is_empty());
    live.timeline = latest.timeline;
    let about = &mut live.about;
    about.name = latest.name;
    about.version = latest.version.unwrap_or(1.0);
    about.app_id = latest.app_id;
    about.persistent_id = latest.persistent_id;
    // Not in the records of the original.
    about.developer_id = latest.developer_id.or_else(|| about.developer_id.take());
    about.tove = latest.tove.map(|tove| tove.get().into());
    about.location = latest.location.unwrap_or(false);
    Ok(true)
}

/// The completed tallies. Their keys are as members sent them: not every one is a Rust string.
fn read_tallies(latest: &Latest<'_>) -> Tallies {
    let mut tallies = Tallies::default();
    let completed = latest.completed_tallies.and_then(|all| json::parse(all.get(), 1).ok());
    for (key, time) in completed.into_iter().flat_map(Raw::fields) {
        if let Some(time) = time.as_f64() {
            tallies.restore(key.as_str(), time);
        }
    }
    tallies
}

fn read_messages(seq_last: u32, texts: &[&str]) -> Result<Messages, StoredError> {
    let mut messages = Messages::default();
    let first = seq_last.wrapping_sub(texts.len() as u32);
    for (at, message) in texts.iter().enumerate() {
        let parsed = json::parse(message, DEPTH_MAX).map_err(|_| StoredError::Gap(at))?;
        let elements = parsed.split_elements().map(|(elements, _)| elements);
        let Some([Some(_), Some(seq), Some(_)]) = elements else {
            return Err(StoredError::Gap(at));
        };
        if seq.as_f64() != Some(f64::from(first.wrapping_add(1 + at as u32))) {
            return Err(StoredError::Gap(at));
        }
        messages.push_stored(message);
    }
    Ok(messages)
}
