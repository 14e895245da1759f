//! The players that a client of the world knows, from what it is shown and told.

use std::collections::BTreeMap;

use serde_json::Value;

/// They are to be those of the world at any time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Players {
    known: BTreeMap<String, Value>,
    /// The client's own, once it plays.
    own: Option<String>,
}

impl Players {
    /// The players of a snapshot; its reader plays none.
    pub(crate) fn of(snapshot: &Value) -> Self {
        let mut players = Self::default();
        players.show(snapshot);
        players
    }

    /// The world is shown.
    pub(crate) fn show(&mut self, snapshot: &Value) {
        let players = snapshot["players"].as_array().expect("players").iter();
        self.known = players.map(|player| (id_of(player), player.clone())).collect();
    }

    /// Something is told. Whether it is about a player.
    pub(crate) fn hear(&mut self, event: &str, value: &Value) -> bool {
        if !matches!(event, "player:joined" | "player:updated" | "player:left") {
            return false;
        }
        let id = id_of(value);
        assert_ne!(self.own.as_ref(), Some(&id), "{event} is for the others");
        let before = match event {
            "player:left" => self.known.remove(&id),
            _ => self.known.insert(id.clone(), value.clone()),
        };
        assert!(event == "player:joined" || before.is_some(), "{id} never joined, but {event}");
        true
    }

    /// The client joined.
    pub(crate) fn join(&mut self, player: &Value) {
        self.own = Some(id_of(player));
    }

    /// The client's own is this now.
    pub(crate) fn update(&mut self, player: &Value) {
        let id = id_of(player);
        assert_eq!(self.own.as_ref(), Some(&id), "it is answered for another");
        self.known.insert(id, player.clone());
    }

    /// The client plays no more. It is not told that its player is gone: it knows.
    pub(crate) fn leave(&mut self) {
        if let Some(id) = self.own.take() {
            self.known.remove(&id);
        }
    }

    /// The client's own.
    pub(crate) fn own(&self) -> Option<&String> {
        self.own.as_ref()
    }

    /// All of them, by their ids.
    pub(crate) fn known(&self) -> &BTreeMap<String, Value> {
        &self.known
    }
}

fn id_of(player: &Value) -> String {
    player["id"].as_str().expect("an id").to_owned()
}
