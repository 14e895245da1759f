//! Client → reflector (specs: croquet §2): borrowed commands, wholly validated before they touch
//! a session.
//!
//! What a real client can send is never refused here. Args that are missing or of the wrong type
//! end the connection with 4109 as in the original, where they raised an exception; args of the
//! right type whose content is ill-formed end it with 4102.

use std::borrow::Cow;

use super::{BAD_API_KEY, MALFORMED, OUTDATED, UNKNOWN_ERROR};
use crate::codec::json::{self, DEPTH_MAX, JsonErrorKind, Raw};
use crate::protocol::Message;
use crate::session::Close;

/// Longest `user` of a JOIN, in bytes of JSON.
const USER_BYTES_MAX: usize = 4 << 10;
/// Longest string that names something, in bytes: `appId`, `persistentId`, `developerId`.
const NAME_BYTES_MAX: usize = 256;
/// Longest `tove` of a JOIN, in bytes of JSON.
const TOVE_BYTES_MAX: usize = 4 << 10;
/// What is kept of a string that is only shown to people, in bytes: `name`, `url`, `sdk`, ….
const SHOWN_BYTES_MAX: usize = 1 << 10;
/// Longest URL of a snapshot, of persistent data or of a herald, in bytes.
pub(super) const URL_BYTES_MAX: usize = 2 << 10;
/// Longest `msgID` of a tagged SEND, in bytes of JSON.
const MSG_ID_BYTES_MAX: usize = 256;
/// Longest key of a tally, in bytes of JSON.
const TALLY_KEY_BYTES_MAX: usize = 1 << 10;
/// Longest vote, in bytes of JSON.
const VOTE_BYTES_MAX: usize = 64 << 10;
/// Longest `tallyTarget`, in bytes of JSON.
const TALLY_TARGET_BYTES_MAX: usize = 4 << 10;

/// A message with its action known and its args not yet looked at.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command<'a> {
    Join(Args<'a>),
    Send(Args<'a>, Option<Raw<'a>>),
    Tutti(Args<'a>),
    Snap(Args<'a>),
    Save(Args<'a>),
    Ticks(Args<'a>),
    Ping(Args<'a>),
    Pulse,
    Log(Args<'a>),
    /// An action this protocol does not know: raw JSON, empty if there is none.
    Unknown(&'a str),
}

/// The `args` of a message, if it has any.
pub(super) type Args<'a> = Option<Raw<'a>>;

/// Opens the envelope.
pub(super) fn command<'a>(message: &Message<'a>) -> Result<Command<'a>, Close> {
    let text = match message {
        Message::Text(text) => text,
        Message::Binary(bytes) => simdutf8::basic::from_utf8(bytes).map_err(|_| MALFORMED)?,
    };
    let fields = json::object_fields(text, &["action", "args", "tags"], DEPTH_MAX);
    let [action, args, tags] = match fields {
        Ok(fields) => fields,
        Err(error) if error.kind == JsonErrorKind::NotAnObject => return not_an_object(text),
        Err(_) => return Err(MALFORMED),
    };
    let name = action.and_then(Raw::as_simple_string).unwrap_or_default();
    Ok(match name {
        "SEND" => Command::Send(args, tags.filter(|&tags| truthy(tags))),
        "JOIN" => Command::Join(args),
        "TUTTI" => Command::Tutti(args),
        "SNAP" => Command::Snap(args),
        "SAVE" => Command::Save(args),
        "TICKS" => Command::Ticks(args),
        "PING" => Command::Ping(args),
        "PULSE" => Command::Pulse,
        "LOG" => Command::Log(args),
        _ => Command::Unknown(action.map_or("", Raw::as_str)),
    })
}

/// JavaScript takes an array for an object, which then has no action, and `null` for one too, over
/// which the original stumbles.
fn not_an_object(text: &str) -> Result<Command<'_>, Close> {
    match text.trim_ascii_start().as_bytes().first() {
        Some(b'[') => Ok(Command::Unknown("")),
        Some(b'n') => Err(UNKNOWN_ERROR),
        _ => Err(MALFORMED),
    }
}

/// The part of a message that is relayed as it came: payload and what follows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body<'a> {
    /// From the payload to the end of the last element, commas included.
    pub(super) whole: &'a str,
    /// The args it is a part of.
    args: Option<Raw<'a>>,
}

impl<'a> Body<'a> {
    /// The body of the `firstMsg` of a vote, which has no place for raw time.
    fn first(args: Raw<'a>) -> Result<Self, Close> {
        Self::decode(args).map(|(body, _)| Self { args: None, ..body })
    }

    /// The body of `[time, seq, payload, …]`: at least three elements, the payload a string.
    pub(super) fn decode(args: Raw<'a>) -> Result<(Self, Option<f64>), Close> {
        let ([_, _, payload, latency], _) = args.split_elements().ok_or(MALFORMED)?;
        let payload = payload.filter(|payload| payload.is_string()).ok_or(MALFORMED)?;
        let array = args.as_str();
        let start = offset(array, payload.as_str());
        let whole = array[start..array.len() - 1].trim_ascii_end();
        Ok((Self { whole, args: Some(args) }, latency.and_then(Raw::as_f64)))
    }

    /// A body made here: one object, or several elements.
    pub(super) fn made(whole: &'a str) -> Self {
        Self { whole, args: None }
    }

    /// What stays when raw time takes the place of the last element: all, if there is none after
    /// the payload.
    pub(super) fn without_last(&self) -> &'a str {
        let Some(elements) = self.args.map(Raw::elements) else {
            return self.whole;
        };
        let mut last_but_one = None;
        let mut last = None;
        for element in elements.skip(2) {
            last_but_one = last.replace(element);
        }
        let Some(kept) = last_but_one else {
            return self.whole;
        };
        let kept = kept.as_str();
        &self.whole[..offset(self.whole, kept) + kept.len()]
    }
}

/// Where `part`, a slice of `whole`, begins.
fn offset(whole: &str, part: &str) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

/// The args of SEND. They must be there, even from one who has not joined.
pub(super) fn send_args(args: Args<'_>) -> Result<Raw<'_>, Close> {
    args.filter(|args| !args.is_null()).ok_or(UNKNOWN_ERROR)
}

/// How a tagged SEND wants to be debounced (§7).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tags<'a> {
    /// What it has in common with the messages it is a repetition of: raw JSON.
    pub(super) msg_id: &'a str,
    pub(super) debounce_ms: f64,
}

impl<'a> Tags<'a> {
    /// The tags, if they ask for anything.
    pub(super) fn decode(tags: Raw<'a>) -> Result<Option<Self>, Close> {
        let Ok([debounce, msg_id]) =
            json::object_fields(tags.as_str(), &["debounce", "msgID"], DEPTH_MAX)
        else {
            return Ok(None);
        };
        let Some(debounce_ms) = debounce.and_then(positive) else {
            return Ok(None);
        };
        let msg_id = msg_id.map_or("", |id| id.as_str());
        if msg_id.len() > MSG_ID_BYTES_MAX {
            return Err(MALFORMED);
        }
        Ok(Some(Self { msg_id, debounce_ms }))
    }
}

/// The args of JOIN (§2.1).
#[derive(Clone, Debug, Default)]
pub(super) struct Join<'a> {
    /// Raw JSON; none for a spectator.
    pub(super) user: Option<&'a str>,
    pub(super) ticks: Ticks,
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) app_id: Option<Cow<'a, str>>,
    pub(super) persistent_id: Option<Cow<'a, str>>,
    pub(super) developer_id: Option<Cow<'a, str>>,
    pub(super) code_hash: Option<Cow<'a, str>>,
    pub(super) api_key: Option<Cow<'a, str>>,
    pub(super) sdk: Option<Cow<'a, str>>,
    pub(super) url: Option<Cow<'a, str>>,
    pub(super) herald_url: Option<Cow<'a, str>>,
    /// Raw JSON string.
    pub(super) tove: Option<&'a str>,
    pub(super) version: f64,
    pub(super) leave_delay_ms: f64,
    pub(super) location: bool,
    pub(super) flags: Flags,
}

impl<'a> Join<'a> {
    /// Decodes and validates.
    pub(super) fn decode(args: Args<'a>) -> Result<Self, Close> {
        const NAMES: [&str; 16] = [
            "version",
            "apiKey",
            "user",
            "ticks",
            "name",
            "appId",
            "persistentId",
            "developerId",
            "codeHash",
            "sdk",
            "url",
            "heraldUrl",
            "tove",
            "leaveDelay",
            "location",
            "flags",
        ];
        let args = args.ok_or(OUTDATED)?;
        let fields = json::object_fields(args.as_str(), &NAMES, DEPTH_MAX).map_err(|_| OUTDATED)?;
        let [version, api_key, user, ticks, name, app_id, persistent_id, developer_id, rest @ ..] =
            fields;
        let [code_hash, sdk, url, herald_url, tove, leave_delay, location, flags] = rest;
        let version = version.filter(|&version| truthy(version)).ok_or(OUTDATED)?;
        api_key.ok_or(BAD_API_KEY)?;
        let app_id = named(app_id)?;
        Ok(Self {
            user: limited(user.filter(|&user| truthy(user)), USER_BYTES_MAX)?,
            ticks: Ticks::decode(ticks).unwrap_or_default(),
            name: shown(name).map(|name| session_name(name, app_id.as_deref())),
            app_id,
            persistent_id: named(persistent_id)?,
            developer_id: named(developer_id)?,
            code_hash: shown(code_hash),
            api_key: shown(api_key),
            sdk: shown(sdk),
            url: shown(url),
            herald_url: string(herald_url).filter(|url| url.len() <= URL_BYTES_MAX),
            tove: limited(tove.filter(|value| value.is_string()), TOVE_BYTES_MAX)?,
            version: version.as_f64().unwrap_or(1.0),
            leave_delay_ms: leave_delay.and_then(positive).unwrap_or(0.0),
            location: location.is_some_and(truthy),
            flags: flags.map(Flags::decode).unwrap_or_default(),
        })
    }
}

/// The features a session may switch on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// The last element of each message is the time at real pace.
    pub(super) rawtime: bool,
    /// Told to clients and nothing else.
    pub(super) microverse: bool,
}

impl Flags {
    fn decode(flags: Raw<'_>) -> Self {
        let known = json::object_fields(flags.as_str(), &["rawtime", "microverse"], DEPTH_MAX);
        let [rawtime, microverse] = known.unwrap_or_default().map(|flag| flag.is_some_and(truthy));
        Self { rawtime, microverse }
    }

    /// As JSON.
    pub(super) fn json(self) -> &'static str {
        match (self.rawtime, self.microverse) {
            (false, false) => "{}",
            (true, false) => r#"{"rawtime":true}"#,
            (false, true) => r#"{"microverse":true}"#,
            (true, true) => r#"{"rawtime":true,"microverse":true}"#,
        }
    }
}

/// The args of TICKS, also part of JOIN. What is not a positive number is as if it was not there.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Ticks {
    pub(super) tick_ms: Option<f64>,
    pub(super) delay_ms: Option<f64>,
    pub(super) scale: Option<f64>,
}

impl Ticks {
    /// Decodes and validates.
    pub(super) fn decode(args: Args<'_>) -> Result<Self, Close> {
        let text = args.ok_or(UNKNOWN_ERROR)?.as_str();
        let fields = json::object_fields(text, &["tick", "delay", "scale"], DEPTH_MAX);
        let [tick, delay, scale] = fields.map_err(|_| UNKNOWN_ERROR)?;
        Ok(Self {
            tick_ms: tick.and_then(positive),
            delay_ms: delay.and_then(positive),
            scale: scale.and_then(positive),
        })
    }
}

/// The args of SNAP (§9), not yet compared with the session.
#[derive(Clone, Debug)]
pub(super) struct Snap<'a> {
    pub(super) time_ms: Option<f64>,
    pub(super) seq: Option<u32>,
    pub(super) hash: Option<Cow<'a, str>>,
    pub(super) url: Option<Cow<'a, str>>,
    pub(super) dissident: bool,
}

impl<'a> Snap<'a> {
    /// Decodes.
    pub(super) fn decode(args: Args<'a>) -> Result<Self, Close> {
        let text = args.ok_or(UNKNOWN_ERROR)?.as_str();
        let names = ["time", "seq", "hash", "url", "dissident"];
        let fields = json::object_fields(text, &names, DEPTH_MAX);
        let [time, seq, hash, url, dissident] = fields.map_err(|_| UNKNOWN_ERROR)?;
        Ok(Self {
            time_ms: time.and_then(|time| time.as_f64()),
            seq: seq.and_then(|seq| whole_u32(seq.as_f64()?)),
            hash: shown(hash),
            url: announced_url(url),
            dissident: dissident.is_some_and(truthy),
        })
    }
}

/// The args of SAVE (§10).
#[derive(Clone, Debug)]
pub(super) struct Save<'a> {
    pub(super) persist_time: f64,
    /// None if it is not a URL worth storing.
    pub(super) url: Option<Cow<'a, str>>,
    pub(super) dissident: bool,
}

impl<'a> Save<'a> {
    /// Decodes.
    pub(super) fn decode(args: Args<'a>) -> Result<Self, Close> {
        let text = args.ok_or(UNKNOWN_ERROR)?.as_str();
        let fields = json::object_fields(text, &["persistTime", "url", "dissident"], DEPTH_MAX);
        let [persist_time, url, dissident] = fields.map_err(|_| UNKNOWN_ERROR)?;
        Ok(Self {
            persist_time: persist_time.and_then(|time| time.as_f64()).unwrap_or(0.0),
            url: announced_url(url),
            dissident: dissident.is_some_and(truthy),
        })
    }
}

/// The args of TUTTI (§6): a vote.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tutti<'a> {
    pub(super) send_time: f64,
    /// Raw JSON string.
    pub(super) payload: &'a str,
    pub(super) first: Option<Body<'a>>,
    pub(super) wants_vote: bool,
    /// Raw JSON: an array, or null.
    pub(super) target: &'a str,
    /// Raw JSON string.
    pub(super) key: &'a str,
}

impl<'a> Tutti<'a> {
    /// Decodes and validates.
    pub(super) fn decode(args: Args<'a>) -> Result<Self, Close> {
        let args = args.filter(|args| args.is_array()).ok_or(UNKNOWN_ERROR)?;
        let mut elements = args.elements();
        let mut next = || elements.next().ok_or(MALFORMED);
        let send_time = next()?.as_f64().filter(|time| time.is_finite()).ok_or(MALFORMED)?;
        next()?;
        let payload = limited(Some(next()?).filter(|value| value.is_string()), VOTE_BYTES_MAX)?;
        let first = Some(next()?).filter(|&first| truthy(first));
        let wants_vote = truthy(next()?);
        let target = limited(Some(next()?), TALLY_TARGET_BYTES_MAX)?.ok_or(MALFORMED)?;
        let key = limited(Some(next()?).filter(|value| value.is_string()), TALLY_KEY_BYTES_MAX)?;
        if target != "null" && !target.starts_with('[') {
            return Err(MALFORMED);
        }
        Ok(Self {
            send_time,
            payload: payload.ok_or(MALFORMED)?,
            first: first.map(Body::first).transpose()?,
            wants_vote,
            target,
            key: key.ok_or(MALFORMED)?,
        })
    }
}

/// JavaScript's idea of whether a value is something.
fn truthy(value: Raw<'_>) -> bool {
    match value.as_str() {
        "null" | "false" | "\"\"" => false,
        _ => value.as_f64() != Some(0.0),
    }
}

fn positive(value: Raw<'_>) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite() && *number > 0.0)
}

fn whole_u32(number: f64) -> Option<u32> {
    (number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number))
        .then_some(number as u32)
}

/// Raw JSON of a value that is used as it is.
fn limited(value: Option<Raw<'_>>, bytes_max: usize) -> Result<Option<&str>, Close> {
    let text = value.map(|value| value.as_str());
    if text.is_some_and(|text| text.len() > bytes_max) { Err(MALFORMED) } else { Ok(text) }
}

fn string(value: Option<Raw<'_>>) -> Option<Cow<'_, str>> {
    value?.to_string_value()
}

/// A string that names something; an empty one is as good as none.
fn named(value: Option<Raw<'_>>) -> Result<Option<Cow<'_, str>>, Close> {
    let name = string(value).filter(|name| !name.is_empty());
    if name.as_ref().is_some_and(|name| name.len() > NAME_BYTES_MAX) {
        return Err(MALFORMED);
    }
    Ok(name)
}

/// A string that is only shown to people: cut where it gets too long.
fn shown(value: Option<Raw<'_>>) -> Option<Cow<'_, str>> {
    let text = string(value)?;
    if text.len() <= SHOWN_BYTES_MAX {
        return Some(text);
    }
    let end = text.floor_char_boundary(SHOWN_BYTES_MAX);
    Some(Cow::Owned(text[..end].to_owned()))
}

/// The URL of something uploaded.
fn announced_url(value: Option<Raw<'_>>) -> Option<Cow<'_, str>> {
    string(value).filter(|url| !url.is_empty() && url.len() <= URL_BYTES_MAX)
}

/// Clients prefix the session's name with the application's.
fn session_name<'a>(name: Cow<'a, str>, app_id: Option<&str>) -> Cow<'a, str> {
    let bare = app_id.and_then(|app_id| name.strip_prefix(app_id)?.strip_prefix('/'));
    match bare {
        Some(bare) => Cow::Owned(bare.to_owned()),
        None => name,
    }
}
