//! The hub of rljson (specs: rljson §7, §8): what a server has to know of its clients' trees so that
//! nothing they announced gets lost. All of it pure, and none of it speaks Socket.IO.

pub mod merge;
#[cfg(test)]
mod tests;
