//! The rules of specs: gallery, by section, over a hall and rooms that talk like sessions on shards.

mod harness;
mod identity;
mod journal;
mod messages;
mod races;
mod rooms;
mod storage;
