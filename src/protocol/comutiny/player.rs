//! A player's record, and how what clients say becomes one (specs: comutiny §2, §3).

use super::fault::Fault;
use super::metadata::Metadata;
use super::payload::{is_object, pick, text};
use super::{ANIMATION_BYTES_MAX, NAME_UNITS_MAX};
use crate::codec::json::{Raw, write_string};
use crate::protocol::js::{self, something};
use crate::protocol::socketio::Socket;
use crate::session::Class;

const IDLE: &str = "idle";
const DIRECTIONS: [&str; 4] = ["up", "down", "left", "right"];
const AXES: [&str; 3] = ["x", "y", "z"];

/// A player.
#[derive(Debug)]
pub(super) struct Player {
    pub(super) id: Box<str>,
    pub(super) name: Box<str>,
    position: [f64; 3],
    animation: Box<str>,
    pub(super) metadata: Metadata,
    later: Later,
    /// Who plays it.
    pub(super) owner: Socket,
    /// Its updates replace each other; a new one with each join, so that they never replace those
    /// of an earlier owner.
    pub(super) class: Class,
    /// The others have not been told of its newest state.
    pub(super) is_untold: bool,
}

/// What only clients of the original's last versions say, and are told.
#[derive(Debug, Default)]
struct Later {
    alias: Option<Box<str>>,
    direction: Option<&'static str>,
    sprite: Option<Box<str>>,
}

/// The fields of a join or an update.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said<'a> {
    pub(super) name: Option<Raw<'a>>,
    position: Option<Raw<'a>>,
    animation: Option<Raw<'a>>,
    pub(super) metadata: Option<Raw<'a>>,
    alias: Option<Raw<'a>>,
    direction: Option<Raw<'a>>,
    sprite: Option<Raw<'a>>,
}

impl<'a> Said<'a> {
    /// Finds them.
    pub(super) fn of(payload: Option<Raw<'a>>) -> Self {
        let keys = ["name", "position", "animation", "metadata", "alias", "direction", "sprite"];
        let [name, position, animation, metadata, alias, direction, sprite] = pick(payload, &keys);
        Self { name, position, animation, metadata, alias, direction, sprite }
    }
}

impl Player {
    /// The player that joins so; `named` is its avatar's name.
    pub(super) fn joined(
        id: &str,
        said: Said<'_>,
        named: Option<&str>,
        metadata: Metadata,
        owner: Socket,
        class: Class,
    ) -> Result<Self, Fault> {
        let alias = text(said.alias).map(|text| name_of(&text));
        let name = match text(said.name) {
            Some(text) => name_of(&text),
            None => match named.map(name_of).filter(|name| !name.is_empty()) {
                Some(name) => name,
                None => alias.clone().unwrap_or_else(|| name_of_player(id)),
            },
        };
        let mut player = Self {
            id: id.into(),
            name,
            position: position(said.position),
            animation: IDLE.into(),
            metadata,
            later: Later { alias, ..Later::default() },
            owner,
            class,
            is_untold: false,
        };
        animation(said.animation, &mut player.animation)?;
        player.later.update(said);
        Ok(player)
    }

    /// Takes over what is said, but for the metadata.
    pub(super) fn update(&mut self, said: Said<'_>) -> Result<(), Fault> {
        if something(said.animation).is_some() {
            animation(said.animation, &mut self.animation)?;
        }
        if something(said.position).is_some() {
            self.position = position(said.position);
        }
        let (alias, name) = (text(said.alias), text(said.name));
        if let Some(text) = alias.as_ref().or(name.as_ref()) {
            replace(&mut self.name, js::cut(js::trim(text), NAME_UNITS_MAX));
        }
        if alias.is_some() {
            self.later.alias = Some(self.name.clone());
        }
        self.later.update(said);
        Ok(())
    }

    /// Appends the record as JSON.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"id\":");
        write_string(out, &self.id);
        out.extend_from_slice(b",\"name\":");
        write_string(out, &self.name);
        out.extend_from_slice(b",\"position\":{\"x\":");
        js::write_number(out, self.position[0]);
        out.extend_from_slice(b",\"y\":");
        js::write_number(out, self.position[1]);
        out.extend_from_slice(b",\"z\":");
        js::write_number(out, self.position[2]);
        out.extend_from_slice(b"},\"animation\":");
        write_string(out, &self.animation);
        out.extend_from_slice(b",\"metadata\":");
        self.metadata.write(out);
        self.later.write(out);
        out.push(b'}');
    }
}

impl Later {
    fn update(&mut self, said: Said<'_>) {
        if let Some(text) = text(said.direction) {
            let known = |own: &&&str| own.eq_ignore_ascii_case(js::trim(&text));
            self.direction = DIRECTIONS.iter().find(known).copied().or(self.direction);
        }
        if let Some(text) = text(said.sprite) {
            let text = js::cut(js::trim(&text), NAME_UNITS_MAX);
            if self.sprite.as_deref() != Some(text) {
                self.sprite = Some(text.into());
            }
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let fields = [
            (&b",\"alias\":"[..], self.alias.as_deref()),
            (b",\"direction\":", self.direction),
            (b",\"sprite\":", self.sprite.as_deref()),
        ];
        for (key, text) in fields {
            if let Some(text) = text {
                out.extend_from_slice(key);
                write_string(out, text);
            }
        }
    }
}

/// The name of a player that has told none.
pub(super) fn name_of_player(id: &str) -> Box<str> {
    format!("Player {id}").into()
}

/// A name as it is kept.
pub(super) fn name_of(text: &str) -> Box<str> {
    js::cut(js::trim(text), NAME_UNITS_MAX).into()
}

fn position(said: Option<Raw<'_>>) -> [f64; 3] {
    let axes = pick(said.filter(is_object), &AXES);
    axes.map(|axis| axis.and_then(js::finite).unwrap_or(0.0))
}

fn animation(said: Option<Raw<'_>>, into: &mut Box<str>) -> Result<(), Fault> {
    let text = text(said);
    let animation = text.as_deref().map_or(IDLE, js::trim);
    if animation.len() > ANIMATION_BYTES_MAX {
        return Err(Fault::LongAnimation);
    }
    replace(into, animation);
    Ok(())
}

/// Allocates only if it changes.
fn replace(own: &mut Box<str>, text: &str) {
    if **own != *text {
        *own = text.into();
    }
}
