//! Gallery Viewer rooms over the wire, with one shard and with rooms on two: every rule that clients
//! can see (specs: gallery).

mod ghosts;
mod process;
mod rooms;
mod state;
mod talk;

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::gallery::Visitor;

/// The state of a room that nobody has changed.
fn new_state() -> Value {
    json!({
        "version": 0, "sceneUrl": "", "sceneLoaded": false, "treeViewState": {},
        "annotations": [], "focusPoints": [],
        "sessionSettings":
            {"avatarsVisible": true, "syncCameraFraming": false, "allowAnnotations": true},
    })
}

/// A host and a viewer who have both heard of each other.
fn pair(address: SocketAddr, room: &str) -> [Visitor; 2] {
    let [mut host, mut viewer] = ["host", "viewer"].map(|id| Visitor::connect(address, id));
    host.join(room, "host");
    viewer.join(room, "viewer");
    host.hear_joined("viewer");
    [host, viewer]
}

/// Takes the named times out of an object and checks that they are of this century.
fn take_times(object: &mut Value, names: &[&str]) {
    for name in names {
        let at = object[name].take().as_u64().expect("a time in ms");
        assert!((1_500_000_000_000..4_200_000_000_000).contains(&at), "{name} is {at}");
        object.as_object_mut().expect("an object").remove(*name);
    }
}
