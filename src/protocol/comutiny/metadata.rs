//! What clients say of their players beyond what the server understands.
//!
//! Values are kept as the text they came as. Two keys are cleaned: `avatarId` is a trimmed text, and
//! `appearance` has certain keys only, whose values are short texts or `null`.

use std::borrow::Cow;

use super::METADATA_KEYS_MAX;
use super::avatars::Avatar;
use super::fault::Fault;
use super::payload::{entries, is_object, pick};
use crate::codec::json::{Raw, write_string};
use crate::protocol::js;

/// Keys of an appearance. The first are those of an avatar's layers.
pub(super) const LOOKS: [&str; 8] =
    ["hair", "face", "outfit", "shoes", "texture", "mesh", "visorColor", "accentColor"];
/// How many of them are layers.
pub(super) const LAYERS: usize = 4;
/// Longest value in an appearance, in UTF-16 units; beyond it, it is cut.
const LOOK_UNITS_MAX: usize = 100;
/// What a key costs beside its text and value, in bytes.
const KEY_OVERHEAD: usize = 4;

/// A value in an appearance.
#[derive(Clone, Debug, Default, PartialEq)]
enum Look {
    #[default]
    Absent,
    Null,
    Is(Box<str>),
}

/// A player's metadata.
#[derive(Clone, Debug, Default)]
pub(super) struct Metadata {
    avatar_id: Option<Box<str>>,
    looks: [Look; LOOKS.len()],
    /// Keys and JSON values, in the order they were first said.
    fields: Vec<(Box<str>, String)>,
}

impl Metadata {
    /// What a client joins with. An avatar that is known fills in what the client leaves open.
    pub(super) fn joined(said: Option<Raw<'_>>, avatar: Option<(&str, &Avatar)>) -> Self {
        let said = said.filter(is_object);
        let mut metadata = Self::default();
        if let Some(said) = said {
            metadata.merge(said);
        }
        if let Some((id, avatar)) = avatar {
            metadata.avatar_id = Some(id.into());
            metadata.dress(said, avatar);
        }
        metadata
    }

    fn dress(&mut self, said: Option<Raw<'_>>, avatar: &Avatar) {
        let [appearance] = pick(said, &["appearance"]);
        let said: [_; LOOKS.len()] = pick(appearance, &LOOKS);
        for ((look, said), layer) in self.looks.iter_mut().zip(said).zip(&avatar.layers) {
            if said.is_none_or(Raw::is_null) {
                match layer {
                    Some(layer) => look.set(layer),
                    None => *look = Look::Null,
                }
            }
        }
        if let Some((sprite, id)) = &avatar.sprite {
            self.set("sprite".into(), sprite);
            self.set("spriteAssetId".into(), id);
        }
    }

    /// By how many bytes and keys this would grow at most, if `said` were merged into it.
    pub(super) fn growth(&self, said: Raw<'_>) -> (usize, usize) {
        let (mut bytes, mut keys) = (0, 0);
        for (key, value) in entries(said) {
            let len = value.as_str().len();
            match (&*key, self.get(&key)) {
                ("appearance", _) => {}
                (_, Some(old)) => bytes += len.saturating_sub(old.len()),
                (_, None) => {
                    bytes += key.len() + len + KEY_OVERHEAD;
                    keys += 1;
                }
            }
        }
        (bytes, keys)
    }

    /// Whether it is within the limits.
    pub(super) fn check(&self, bytes_max: usize) -> Result<(), Fault> {
        within(self.bytes(), self.fields.len(), bytes_max)
    }

    /// Whether it would be after having grown so much.
    pub(super) fn check_growth(
        &self,
        (bytes, keys): (usize, usize),
        bytes_max: usize,
    ) -> Result<(), Fault> {
        within(self.bytes() + bytes, self.fields.len() + keys, bytes_max)
    }

    /// What it takes in memory, but for what has a bound of its own, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let fields = self.fields.iter().map(|(key, value)| key.len() + value.len() + KEY_OVERHEAD);
        fields.sum::<usize>() + self.avatar_id.as_ref().map_or(0, |id| id.len())
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| **own == *key).map(|(_, value)| value.as_str())
    }

    /// Takes over what `said`, an object or array, has, key by key.
    pub(super) fn merge(&mut self, said: Raw<'_>) {
        let (mut avatar_id, mut appearance) = (None, None);
        for (key, value) in entries(said) {
            match &*key {
                "avatarId" => avatar_id = Some(value),
                "appearance" => appearance = Some(value),
                _ => self.set(key, value.as_str()),
            }
        }
        if let Some(id) = super::payload::text(avatar_id) {
            let id = js::trim(&id);
            if self.avatar_id.as_deref() != Some(id) {
                self.avatar_id = Some(id.into());
            }
        }
        for (look, value) in self.looks.iter_mut().zip(pick(appearance, &LOOKS)) {
            match value {
                Some(value) if value.is_null() => *look = Look::Null,
                Some(value) => value.to_string_value().into_iter().for_each(|text| look.set(&text)),
                None => {}
            }
        }
    }

    fn set(&mut self, key: Cow<'_, str>, json: &str) {
        match self.fields.iter_mut().find(|(own, _)| **own == *key) {
            Some((_, value)) if value == json => {}
            Some((_, value)) => {
                value.clear();
                value.push_str(json);
            }
            None => self.fields.push((key.into(), json.to_owned())),
        }
    }

    /// Appends it as JSON.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        if let Some(id) = &self.avatar_id {
            out.extend_from_slice(b"\"avatarId\":");
            write_string(out, id);
        }
        self.write_appearance(out);
        for (key, value) in &self.fields {
            comma(out, b'{');
            write_string(out, key);
            out.push(b':');
            out.extend_from_slice(value.as_bytes());
        }
        out.push(b'}');
    }

    fn write_appearance(&self, out: &mut Vec<u8>) {
        if self.looks.iter().all(|look| *look == Look::Absent) {
            return;
        }
        comma(out, b'{');
        out.extend_from_slice(b"\"appearance\":{");
        for (key, look) in LOOKS.iter().zip(&self.looks) {
            if *look == Look::Absent {
                continue;
            }
            comma(out, b'{');
            write_string(out, key);
            out.push(b':');
            match look {
                Look::Is(text) => write_string(out, text),
                _ => out.extend_from_slice(b"null"),
            }
        }
        out.push(b'}');
    }
}

impl Look {
    fn set(&mut self, text: &str) {
        let text = js::cut(js::trim(text), LOOK_UNITS_MAX);
        match self {
            Self::Is(own) if **own == *text => {}
            _ if text.is_empty() => *self = Self::Null,
            _ => *self = Self::Is(text.into()),
        }
    }
}

fn within(bytes: usize, keys: usize, bytes_max: usize) -> Result<(), Fault> {
    if keys > METADATA_KEYS_MAX {
        return Err(Fault::ManyKeys);
    }
    if bytes > bytes_max { Err(Fault::LongMetadata(bytes_max)) } else { Ok(()) }
}

/// Appends a comma, unless the container has just begun.
fn comma(out: &mut Vec<u8>, open: u8) {
    if out.last() != Some(&open) {
        out.push(b',');
    }
}
