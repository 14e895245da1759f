//! Documents, as their members and the disk see them.

mod aware;
mod edit;
mod harness;
mod keep;
mod limits;
mod model;
mod socketio;
mod socketio_lobby;
