//! What an operator tells of the world: its avatars, what it is called, and its sprites.
//!
//! All of it comes from one JSON file, which stands for the original's database: an array of avatars,
//! or an object with any of `avatars`, `world` and `atlas`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::metadata::LAYERS;
use super::{NAME_UNITS_MAX, WORLD_TEXT_UNITS_MAX};
use crate::codec::json::{self, Raw, write_string};
use crate::protocol::js;
use crate::session::map::GuardedMap;

/// Largest file, in bytes.
pub const FILE_BYTES_MAX: usize = 16 << 20;
/// Deepest nesting in it.
const DEPTH_MAX: usize = 64;

/// Why a file of avatars cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogueError {
    /// It is not JSON, or not of this form.
    #[error("{0}")]
    Form(#[from] serde_json::Error),
    /// It is nested too deep.
    #[error("{0}")]
    Depth(#[from] json::JsonError),
    /// It is too large.
    #[error("it has more than {FILE_BYTES_MAX} bytes")]
    Size,
}

/// What is known of the world.
#[derive(Debug)]
pub struct Catalogue {
    avatars: GuardedMap<Box<str>, Avatar>,
    /// `world` of a snapshot, as JSON.
    pub(super) world: Box<str>,
    /// `spriteAtlas` of a snapshot, as JSON.
    pub(super) atlas: Box<str>,
}

/// An avatar.
#[derive(Debug)]
pub(super) struct Avatar {
    pub(super) name: Option<Box<str>>,
    pub(super) layers: [Option<Box<str>>; LAYERS],
    /// Its sprite and the sprite's id, as JSON.
    pub(super) sprite: Option<(Box<str>, Box<str>)>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct File<'a> {
    #[serde(borrow)]
    avatars: Vec<AvatarInFile<'a>>,
    world: WorldInFile,
    #[serde(borrow)]
    atlas: AtlasInFile<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AvatarInFile<'a> {
    id: Box<str>,
    name: Option<Box<str>>,
    layer_hair: Option<Box<str>>,
    layer_face: Option<Box<str>>,
    layer_outfit: Option<Box<str>>,
    layer_shoes: Option<Box<str>>,
    #[serde(borrow, default)]
    sprite_asset: Option<SpriteInFile<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpriteInFile<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow, default = "null")]
    name: &'a RawValue,
    #[serde(borrow, default = "null")]
    category: &'a RawValue,
    #[serde(borrow, default = "null")]
    image_url: &'a RawValue,
    #[serde(borrow, default = "null")]
    metadata: &'a RawValue,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WorldInFile {
    id: Box<str>,
    name: Box<str>,
    description: Box<str>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct AtlasInFile<'a> {
    version: Option<f64>,
    updated_at: Option<Box<str>>,
    #[serde(borrow)]
    sprites: Vec<&'a RawValue>,
}

impl Default for Catalogue {
    fn default() -> Self {
        File::default().into()
    }
}

impl Catalogue {
    /// Reads the content of a file.
    ///
    /// # Errors
    /// The file is none of this form.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        if text.len() > FILE_BYTES_MAX {
            return Err(CatalogueError::Size);
        }
        let whole = json::parse(text, DEPTH_MAX)?;
        let file = if whole.is_array() {
            File { avatars: serde_json::from_str(whole.as_str())?, ..File::default() }
        } else {
            serde_json::from_str(whole.as_str())?
        };
        Ok(file.into())
    }

    /// The avatar of this id.
    pub(super) fn get(&self, id: &str) -> Option<&Avatar> {
        self.avatars.get(id)
    }
}

impl From<File<'_>> for Catalogue {
    fn from(file: File<'_>) -> Self {
        Self {
            avatars: file.avatars.into_iter().map(AvatarInFile::into_entry).collect(),
            world: file.world.to_json().into(),
            atlas: file.atlas.to_json().into(),
        }
    }
}

impl AvatarInFile<'_> {
    fn into_entry(self) -> (Box<str>, Avatar) {
        let sprite =
            self.sprite_asset.map(|sprite| (sprite.to_json().into(), sprite.id.get().into()));
        let layers = [self.layer_hair, self.layer_face, self.layer_outfit, self.layer_shoes];
        (self.id, Avatar { name: self.name, layers, sprite })
    }
}

impl SpriteInFile<'_> {
    fn to_json(&self) -> String {
        format!(
            "{{\"id\":{},\"name\":{},\"category\":{},\"imageUrl\":{},\"metadata\":{}}}",
            self.id, self.name, self.category, self.image_url, self.metadata
        )
    }
}

fn null<'a>() -> &'a RawValue {
    RawValue::NULL
}

impl WorldInFile {
    fn to_json(&self) -> String {
        let text = |own: &str, default: &str, units| {
            let own = js::cut(js::trim(own), units);
            quoted(if own.is_empty() { default } else { own })
        };
        let id = text(&self.id, "hello-world", WORLD_TEXT_UNITS_MAX);
        let name = text(&self.name, "Hello World", NAME_UNITS_MAX);
        let description = text(&self.description, "A world to meet in", WORLD_TEXT_UNITS_MAX);
        format!("{{\"id\":{id},\"name\":{name},\"description\":{description}}}")
    }
}

impl AtlasInFile<'_> {
    fn to_json(&self) -> String {
        let (mut sprites, mut lookup) = (Vec::new(), Vec::new());
        for sprite in &self.sprites {
            let raw = json::parse(sprite.get(), DEPTH_MAX).ok();
            sprites.push(sprite.get());
            let [id] = super::payload::pick(raw, &["id"]);
            if let Some(id) = id.filter(|id| js::truthy(*id)).map(key) {
                lookup.push(format!("{id}:{}", sprite.get()));
            }
        }
        let mut version = Vec::new();
        let finite = self.version.filter(|version| version.is_finite());
        js::write_number(&mut version, finite.unwrap_or(1.0));
        let updated = self.updated_at.as_deref().map_or_else(|| "null".to_owned(), quoted);
        format!(
            "{{\"version\":{},\"updatedAt\":{updated},\"sprites\":[{}],\"lookup\":{{{}}}}}",
            String::from_utf8_lossy(&version),
            sprites.join(","),
            lookup.join(",")
        )
    }
}

/// A value as the key of an object.
fn key(value: Raw<'_>) -> String {
    quoted(&js::text(Some(value)))
}

fn quoted(text: &str) -> String {
    let mut out = Vec::new();
    write_string(&mut out, text);
    String::from_utf8_lossy(&out).into_owned()
}
