//! How much is known of what is stored of a session, whose records are loaded when somebody comes.

/// `W` is what waits until it is there.
#[derive(Debug)]
pub(super) enum Phase<W> {
    /// Nothing yet.
    New,
    /// It was asked for.
    Loading(W),
    /// All of it.
    Open,
    /// It cannot be read: nothing may be changed, so that nothing is stored over it.
    Unavailable,
}
