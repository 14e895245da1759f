//! The hub of rljson (specs: rljson §7, §8): what a server has to know of its clients' trees so that
//! nothing they announced gets lost. All of it pure, and none of it speaks Socket.IO.
//!
//! | module | what |
//! |---|---|
//! | [`merge`] | two trees that crossed, and the one both come from, into one |
//! | [`shelf`] | rows and blobs by their hashes: what is kept, where, and for how long |

pub mod merge;
pub mod shelf;
#[cfg(test)]
mod tests;
