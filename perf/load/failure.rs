//! What can go wrong, said to the person at the terminal.

use std::io;

/// Why a run ended without a result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Failure {
    /// A system call or a file failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The request cannot be carried out as asked.
    #[error("{0}")]
    Setup(String),
    /// The server did not do what the protocol promises.
    #[error("the server {0}")]
    Server(String),
    /// A result is worse than was asked for.
    #[error("not good enough: {0}")]
    Missed(String),
}

/// Adds what was being done to a system error.
pub(crate) trait While<T> {
    /// Turns the error into a [`Failure`] that names the action.
    fn while_doing(self, doing: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> While<T> for Result<T, E> {
    fn while_doing(self, doing: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::Io { doing: doing(), source: error.into() })
    }
}
