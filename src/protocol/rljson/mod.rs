//! The hub of rljson (specs: rljson §7, §8): what a server has to know of its clients' trees so that
//! nothing they announced gets lost. All of it pure, and none of it speaks Socket.IO.
//!
//! | module | what |
//! |---|---|
//! | [`merge`] | two trees that crossed, and the one both come from, into one |
//! | [`route`] | what is announced on a route, by whom, and what everybody is told |
//! | [`shelf`] | rows and blobs by their hashes: what is kept, where, and for how long |
//!
//! How they are put together: a ref is read ([`route::Payload`]), its rows are fetched onto the shelf
//! as far as they are missing, then [`route::Route::announce`] says whether it is a fast-forward. If
//! not, [`merge::merge`] makes one tree of two, and the rows it made go onto the shelf.

pub mod merge;
pub mod route;
pub mod shelf;
#[cfg(test)]
mod tests;
