//! What a room remembers (specs: gallery §3–§5). It changes in [`State::apply`] only, by values that
//! could be written down and replayed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::DEPTH_MAX;
use super::decode::quoted;
use crate::codec::json::{self, Raw};
use crate::session::Instant;
use crate::session::journal::Position;

/// Largest version: the largest integer that JavaScript counts exactly.
const VERSION_MAX: f64 = 9_007_199_254_740_991.0;
/// How far a version may jump: whoever jumped to the largest would stop the room for good.
const VERSION_JUMP_MAX: u64 = 1 << 32;
/// Most annotations.
const ANNOTATIONS_MAX: usize = 10_000;
/// Most focus points.
const FOCUS_POINTS_MAX: usize = 1_000;
/// Most keys of a state beside those that are known.
const OTHERS_MAX: usize = 256;

const SETTINGS: &str =
    r#"{"avatarsVisible":true,"syncCameraFraming":false,"allowAnnotations":true}"#;
/// Keys whose values are kept as they come, and their values in a new room.
const PLAIN: [(&str, &str); 4] = [
    ("sceneUrl", "\"\""),
    ("sceneLoaded", "false"),
    ("treeViewState", "{}"),
    ("sessionSettings", SETTINGS),
];
const SCENE_URL: usize = 0;
const SCENE_LOADED: usize = 1;
const TREE_VIEW: usize = 2;
const SESSION_SETTINGS: usize = 3;

/// A room's state.
#[derive(Debug, Default)]
pub(super) struct State {
    version: u64,
    /// Raw JSON by the index in [`PLAIN`]; empty for the default.
    plain: [Box<str>; PLAIN.len()],
    annotations: Vec<Annotation>,
    focus_points: Vec<FocusPoint>,
    /// Raw JSON of all other keys and values.
    others: BTreeMap<Box<str>, Box<str>>,
    /// All raw JSON together.
    bytes: usize,
}

#[derive(Debug)]
struct Annotation {
    id: Box<str>,
    /// The user who may remove it.
    owner: Box<str>,
    json: Box<str>,
}

#[derive(Debug)]
struct FocusPoint {
    owner: Box<str>,
    json: Box<str>,
    until: Option<Instant>,
}

/// A part of a state, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patch<'a> {
    plain: [Option<Raw<'a>>; PLAIN.len()],
    annotations: Option<Raw<'a>>,
    focus_points: Option<Raw<'a>>,
    whole: Option<Raw<'a>>,
}

/// One change.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change<'a> {
    /// Takes on the values of a patch; a full one resets what it does not mention.
    Update { version: u64, is_full: bool, patch: Patch<'a> },
    /// Adds an annotation, or replaces the one of this id.
    Annotate { id: &'a str, owner: &'a str, json: Raw<'a> },
    /// Removes the annotation of this id.
    Erase { id: &'a str },
    /// Sets the one focus point of a user.
    Focus { owner: &'a str, json: Raw<'a> },
    /// Removes the focus point of a user.
    Unfocus { owner: &'a str },
    /// Time passes.
    Expire,
}

/// Why a change has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The state would be too large.
    TooLarge,
    /// A value is not of the kind it has to be.
    Malformed,
}

/// What a version in an update means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Next(u64),
    Stale,
    Invalid,
}

impl<'a> Patch<'a> {
    /// Opens the data of an update; what is missing changes nothing.
    pub(super) fn decode(data: Option<Raw<'a>>) -> Result<Self, Refused> {
        let Some(whole) = data.filter(|data| !data.is_null()) else {
            return Ok(Self {
                plain: [None; 4],
                annotations: None,
                focus_points: None,
                whole: None,
            });
        };
        let names = PLAIN.map(|(name, _)| name);
        let [url, loaded, tree, settings] = names;
        let names = [url, loaded, tree, settings, "annotations", "focusPoints"];
        let found = json::object_fields(whole.as_str(), &names, DEPTH_MAX);
        let [url, loaded, tree, settings, annotations, focus_points] =
            found.map_err(|_| Refused::Malformed)?;
        let well_formed = url.is_none_or(Raw::is_string)
            && loaded.is_none_or(|loaded| loaded.as_bool().is_some())
            && tree.is_none_or(Raw::is_object)
            && settings.is_none_or(Raw::is_object)
            && annotations.is_none_or(Raw::is_array)
            && focus_points.is_none_or(Raw::is_array);
        let plain = [url, loaded, tree, settings];
        let patch = Self { plain, annotations, focus_points, whole: Some(whole) };
        if well_formed { Ok(patch) } else { Err(Refused::Malformed) }
    }

    /// The same but for what is in focus.
    pub(super) fn without_focus(self) -> Self {
        Self { focus_points: None, ..self }
    }

    /// The data it was opened from, if there was any.
    pub(super) fn whole(&self) -> Option<Raw<'a>> {
        self.whole
    }

    pub(super) fn has_scene(&self) -> bool {
        self.plain[SCENE_URL].or(self.plain[SCENE_LOADED]).is_some()
    }

    pub(super) fn has_tree_view(&self) -> bool {
        self.plain[TREE_VIEW].is_some()
    }

    pub(super) fn has_annotations(&self) -> bool {
        self.annotations.is_some()
    }

    pub(super) fn has_settings(&self) -> bool {
        self.plain[SESSION_SETTINGS].is_some()
    }

    /// Whether anything is named that nobody else is asked about.
    pub(super) fn has_others(&self) -> bool {
        self.focus_points.is_some() || self.others().next().is_some()
    }

    fn others(&self) -> impl Iterator<Item = (Raw<'a>, Raw<'a>)> {
        let known = |key: &Raw<'_>| {
            let rest = ["annotations", "focusPoints", "version"];
            PLAIN.iter().map(|(name, _)| *name).chain(rest).any(|name| key.is_string_of(name))
        };
        self.whole.into_iter().flat_map(Raw::fields).filter(move |(key, _)| !known(key))
    }
}

impl State {
    /// What a version that comes with an update means here (§5).
    pub(super) fn version(&self, version: Option<Raw<'_>>) -> Version {
        match version.and_then(Raw::as_f64) {
            Some(number) if number.fract() != 0.0 || number.abs() > VERSION_MAX => Version::Invalid,
            Some(number) if number <= self.version as f64 => Version::Stale,
            Some(number) if number as u64 - self.version > VERSION_JUMP_MAX => Version::Invalid,
            Some(number) => Version::Next(number as u64),
            None => Version::Invalid,
        }
    }

    /// Whether a full update to `patch` leaves the settings of the session as they are.
    pub(super) fn keeps_settings(&self, patch: &Patch<'_>) -> bool {
        let next = patch.plain[SESSION_SETTINGS].map_or(SETTINGS, Raw::as_str);
        next == self.plain(SESSION_SETTINGS)
    }

    /// Whether the session's settings allow annotations.
    pub(super) fn allows_annotations(&self) -> bool {
        let settings = self.plain(SESSION_SETTINGS);
        let found = json::object_fields(settings, &["allowAnnotations"], DEPTH_MAX);
        found.is_ok_and(|[allows]| allows.is_none_or(crate::protocol::js::truthy))
    }

    /// Who may remove the annotation of this id.
    pub(super) fn owner_of(&self, id: &str) -> Option<&str> {
        self.annotations.iter().find(|one| *one.id == *id).map(|one| &*one.owner)
    }

    /// When a focus point is next to go.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.focus_points.iter().filter_map(|point| point.until).min()
    }

    /// Changes the state, or leaves it as it is.
    pub(super) fn apply(
        &mut self,
        change: Change<'_>,
        now: Instant,
        bytes_max: usize,
    ) -> Result<(), Refused> {
        match change {
            Change::Update { version, is_full, patch } => {
                self.update(version, is_full, &patch, now, bytes_max)?;
            }
            Change::Annotate { id, owner, json } => {
                let known = self.annotations.iter().position(|one| *one.id == *id);
                let before = known.map_or(0, |at| self.annotations[at].json.len());
                let room = known.is_some() || self.annotations.len() < ANNOTATIONS_MAX;
                self.resize(before, json.as_str().len(), room, bytes_max)?;
                let one = Annotation::new(id, owner, json);
                match known {
                    Some(at) => self.annotations[at] = one,
                    None => self.annotations.push(one),
                }
            }
            Change::Erase { id } => {
                if let Some(at) = self.annotations.iter().position(|one| *one.id == *id) {
                    self.bytes -= self.annotations.remove(at).json.len();
                }
            }
            Change::Focus { owner, json } => {
                let known = self.focus_points.iter().position(|point| *point.owner == *owner);
                let before = known.map_or(0, |at| self.focus_points[at].json.len());
                let room = known.is_some() || self.focus_points.len() < FOCUS_POINTS_MAX;
                self.resize(before, json.as_str().len(), room, bytes_max)?;
                let point = FocusPoint::new(owner, json, now);
                match known {
                    Some(at) => self.focus_points[at] = point,
                    None => self.focus_points.push(point),
                }
            }
            Change::Unfocus { owner } => self.retain_focus(|point| *point.owner != *owner),
            Change::Expire => self.retain_focus(|point| point.until.is_none_or(|at| at > now)),
        }
        Ok(())
    }

    /// As JSON.
    pub(super) fn write(&self, out: &mut String) {
        let list = |json: &mut String, name: &str, items: &mut dyn Iterator<Item = &Box<str>>| {
            let _ = write!(json, ",\"{name}\":[");
            for (at, item) in items.enumerate() {
                json.push_str(if at > 0 { "," } else { "" });
                json.push_str(item);
            }
            json.push(']');
        };
        let _ = write!(out, "{{\"version\":{}", self.version);
        for index in [SCENE_URL, SCENE_LOADED, TREE_VIEW] {
            let _ = write!(out, ",\"{}\":{}", PLAIN[index].0, self.plain(index));
        }
        list(out, "annotations", &mut self.annotations.iter().map(|one| &one.json));
        list(out, "focusPoints", &mut self.focus_points.iter().map(|point| &point.json));
        let _ = write!(out, ",\"{}\":{}", PLAIN[SESSION_SETTINGS].0, self.plain(SESSION_SETTINGS));
        for (key, value) in &self.others {
            let _ = write!(out, ",{key}:{value}");
        }
        out.push('}');
    }

    /// As a record, which names the room it is of, the last entry of the journal that is part of it,
    /// and the owners of its annotations.
    pub(super) fn stored(&self, epoch: u64, recorded: Position) -> Vec<u8> {
        let mut out = format!("{{\"epoch\":{epoch},\"journal\":{recorded},\"state\":");
        self.write(&mut out);
        out.push_str(",\"owners\":[");
        for (at, one) in self.annotations.iter().enumerate() {
            let _ = write!(out, "{}{}", if at > 0 { "," } else { "" }, quoted(&one.owner));
        }
        out.push_str("]}");
        out.into_bytes()
    }

    /// A state as it was stored: its JSON, and the owners of its annotations. Nobody is there, so
    /// nothing is in focus.
    pub(super) fn restored(state: Raw<'_>, owners: Raw<'_>, now: Instant) -> Option<Self> {
        let found = json::object_fields(state.as_str(), &["version"], json::DEPTH_MAX);
        let version = found.ok()?[0]?.as_str().parse().ok()?;
        let patch = Patch::decode(Some(state)).ok()?.without_focus();
        let mut restored = Self::default();
        let update = Change::Update { version, is_full: true, patch };
        restored.apply(update, now, usize::MAX).ok()?;
        for (one, owner) in restored.annotations.iter_mut().zip(owners.elements()) {
            one.owner = owner.to_string_value()?.into();
        }
        Some(restored)
    }

    /// What must hold between any two calls.
    #[cfg(test)]
    pub(super) fn invariants(&self) {
        let lists = self.annotations.iter().map(|one| one.json.len());
        let points = self.focus_points.iter().map(|point| point.json.len());
        let others = self.others.iter().map(|(key, value)| key.len() + value.len());
        let plain = self.plain.iter().map(|json| json.len());
        assert_eq!(self.bytes, lists.chain(points).chain(others).chain(plain).sum::<usize>());
    }

    fn plain(&self, index: usize) -> &str {
        if self.plain[index].is_empty() { PLAIN[index].1 } else { &self.plain[index] }
    }

    fn update(
        &mut self,
        version: u64,
        is_full: bool,
        patch: &Patch<'_>,
        now: Instant,
        bytes_max: usize,
    ) -> Result<(), Refused> {
        let annotations = patch.annotations.map(Annotation::list).transpose()?;
        let annotations = annotations.or_else(|| is_full.then(Vec::new));
        let points = patch.focus_points.map(|list| FocusPoint::list(list, now)).transpose()?;
        let points = points.or_else(|| is_full.then(Vec::new));
        let mut bytes = self.bytes;
        for (index, value) in patch.plain.iter().enumerate() {
            if value.is_some() || is_full {
                bytes = bytes - self.plain[index].len() + value.map_or(0, |raw| raw.as_str().len());
            }
        }
        if let Some(list) = &annotations {
            bytes -= self.annotations.iter().map(|one| one.json.len()).sum::<usize>();
            bytes += list.iter().map(|one| one.json.len()).sum::<usize>();
        }
        if let Some(list) = &points {
            bytes -= self.focus_points.iter().map(|point| point.json.len()).sum::<usize>();
            bytes += list.iter().map(|point| point.json.len()).sum::<usize>();
        }
        let others = self.others_with(patch, &mut bytes)?;
        if bytes > bytes_max {
            return Err(Refused::TooLarge);
        }
        (self.version, self.bytes) = (version, bytes);
        for (slot, value) in self.plain.iter_mut().zip(patch.plain) {
            if value.is_some() || is_full {
                *slot = value.map_or_else(Box::default, |raw| raw.as_str().into());
            }
        }
        self.annotations = annotations.unwrap_or_else(|| std::mem::take(&mut self.annotations));
        self.focus_points = points.unwrap_or_else(|| std::mem::take(&mut self.focus_points));
        self.others.extend(others);
        Ok(())
    }

    /// The keys and values of a patch that are not known; counts what they change in `bytes`.
    fn others_with(
        &self,
        patch: &Patch<'_>,
        bytes: &mut usize,
    ) -> Result<BTreeMap<Box<str>, Box<str>>, Refused> {
        let mut others: BTreeMap<Box<str>, Box<str>> = BTreeMap::new();
        for (key, value) in patch.others() {
            let key = quoted(&key.to_string_value().unwrap_or_default());
            others.insert(key, value.as_str().into());
            if others.len() > OTHERS_MAX {
                return Err(Refused::TooLarge);
            }
        }
        let new = others.keys().filter(|key| !self.others.contains_key(*key)).count();
        for (key, value) in &others {
            match self.others.get(key) {
                Some(old) => *bytes = *bytes - old.len() + value.len(),
                None => *bytes += key.len() + value.len(),
            }
        }
        if self.others.len() + new > OTHERS_MAX { Err(Refused::TooLarge) } else { Ok(others) }
    }

    /// Accounts for `before` bytes that become `after`.
    fn resize(
        &mut self,
        before: usize,
        after: usize,
        has_room: bool,
        bytes_max: usize,
    ) -> Result<(), Refused> {
        let bytes = self.bytes - before + after;
        if bytes > bytes_max || !has_room {
            return Err(Refused::TooLarge);
        }
        self.bytes = bytes;
        Ok(())
    }

    fn retain_focus(&mut self, keeps: impl Fn(&FocusPoint) -> bool) {
        let bytes = &mut self.bytes;
        self.focus_points.retain(|point| {
            let stays = keeps(point);
            *bytes -= if stays { 0 } else { point.json.len() };
            stays
        });
    }
}

impl Annotation {
    fn new(id: &str, owner: &str, json: Raw<'_>) -> Self {
        Self { id: id.into(), owner: owner.into(), json: json.as_str().into() }
    }

    fn list(list: Raw<'_>) -> Result<Vec<Self>, Refused> {
        let mut all = Vec::new();
        for json in list.elements() {
            let found = json::object_fields(json.as_str(), &["id", "userId"], DEPTH_MAX);
            let [id, owner] = found.map_err(|_| Refused::Malformed)?;
            let id = id.and_then(Raw::to_string_value).ok_or(Refused::Malformed)?;
            let owner = owner.and_then(Raw::to_string_value).unwrap_or_default();
            all.push(Self::new(&id, &owner, json));
            if all.len() > ANNOTATIONS_MAX {
                return Err(Refused::TooLarge);
            }
        }
        Ok(all)
    }
}

impl FocusPoint {
    fn new(owner: &str, json: Raw<'_>, now: Instant) -> Self {
        let found = json::object_fields(json.as_str(), &["duration"], DEPTH_MAX);
        let duration_ms = found.ok().and_then(|[duration]| duration?.as_f64());
        // Longer than anybody lives is as long as can be.
        let ms = duration_ms.filter(|ms| *ms > 0.0).map(|ms| ms.min(1e12) as u64);
        let until = ms.map(|ms| now + Duration::from_millis(ms));
        Self { owner: owner.into(), json: json.as_str().into(), until }
    }

    fn list(list: Raw<'_>, now: Instant) -> Result<Vec<Self>, Refused> {
        let mut all = Vec::new();
        for json in list.elements() {
            let found = json::object_fields(json.as_str(), &["userId"], DEPTH_MAX);
            let [owner] = found.map_err(|_| Refused::Malformed)?;
            let owner = owner.and_then(Raw::to_string_value).ok_or(Refused::Malformed)?;
            all.push(Self::new(&owner, json, now));
            if all.len() > FOCUS_POINTS_MAX {
                return Err(Refused::TooLarge);
            }
        }
        Ok(all)
    }
}
