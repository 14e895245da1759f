//! How shards talk: one bounded inbox each, filled by any thread with `try_send` and a kick, emptied
//! by its owner once a turn.
//!
//! A message in steady state never passes here: connections move to the shard of their session, and
//! stay.

use std::sync::{Arc, Weak};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::handoff::{Adoption, Reroute};
use super::tell::Tell;
use super::transfer::Arrival;
use crate::net::ring::Socket;
use crate::net::wakeup::Wakeup;
use crate::protocol;
use crate::storage;
use crate::storage::journal::Done;

/// Items an inbox holds; beyond it new connections are refused.
pub const INBOX_ITEMS_MAX: usize = 4096;

/// What one thread can tell a shard.
#[derive(Debug)]
pub enum Item<S = Socket> {
    /// Take over this connection.
    Adopt(Box<Adoption<S>>),
    /// Answer the request of this connection.
    Reroute(Box<Reroute<S>>),
    /// Let this member enter a session.
    Arrive(Box<Arrival<S>>),
    /// Tell a session something.
    Tell(Box<Tell>),
    /// Answer a question about this shard's sessions.
    Ask(Ask),
    /// The answer to a question of this shard.
    Answer {
        /// Which question, as its asker numbered it.
        question: u64,
        /// Status of the response; of several parts the last one's counts.
        status: u16,
        /// The text for this shard's part.
        text: String,
    },
    /// Blocking work was done.
    Storage(storage::Answer),
    /// A wish about accounts was granted or not.
    Account(storage::accounts::Answer),
    /// The journal was synced, or read.
    Journal(Done),
    /// Settings that files tell have changed.
    Configure(Arc<protocol::Config>),
    /// Stop: accept no more, tell the members, and end when they are gone.
    Drain,
}

/// A question about sessions, answered by the shard that owns them.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Who asks.
    pub from: usize,
    /// Numbered by the asker.
    pub question: u64,
    /// What is asked.
    pub about: About,
}

/// What can be asked about sessions.
#[derive(Clone, Debug)]
pub enum About {
    /// A line for each session of this protocol.
    Sessions(&'static str),
    /// JSON array of the users of one session, by its full name.
    Users(String),
    /// What became of the wish to remove something (the second) that the session of this full name
    /// knows.
    Remove(String, String),
}

/// The sending side of a shard's inbox.
#[derive(Debug)]
pub struct Outlet<S = Socket> {
    /// The inbox has the only lasting hold of it: with that gone, nothing comes in any more.
    queue: Weak<Sender<Item<S>>>,
    wakeup: Wakeup,
}

impl<S> Clone for Outlet<S> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), wakeup: self.wakeup.clone() }
    }
}

impl<S> Outlet<S> {
    /// Puts an item into the inbox and wakes the shard; gives it back if the inbox is full or the
    /// shard is gone.
    #[allow(clippy::result_large_err)] // the item is the caller's to answer for
    pub fn send(&self, item: Item<S>) -> Result<(), Item<S>> {
        self.try_send(item).map_err(TrySendError::into_inner)
    }

    /// Like [`Outlet::send`], but tells an inbox that is full from a shard that is gone.
    #[allow(clippy::result_large_err)] // likewise, the item goes back to the caller
    pub(super) fn try_send(&self, item: Item<S>) -> Result<(), TrySendError<Item<S>>> {
        let Some(queue) = self.queue.upgrade() else {
            return Err(TrySendError::Disconnected(item));
        };
        queue.try_send(item)?;
        self.wakeup.kick();
        Ok(())
    }

    /// Like [`Outlet::send`], but waits for room. For threads that may block: never a shard.
    pub fn send_waiting(&self, item: Item<S>) {
        if self.queue.upgrade().is_some_and(|queue| queue.send(item).is_ok()) {
            self.wakeup.kick();
        }
    }
}

/// A shard's inbox.
#[derive(Debug)]
pub struct Inbox<S = Socket> {
    queue: Receiver<Item<S>>,
    open: Option<Arc<Sender<Item<S>>>>,
}

impl<S> Inbox<S> {
    /// The next item, if any.
    pub fn next(&self) -> Option<Item<S>> {
        self.queue.try_recv().ok()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Closes it: what is sent from now on goes back to its sender, what had come is the answer's.
    /// Nothing is lost in between.
    pub fn close(&mut self) -> impl Iterator<Item = Item<S>> {
        self.open = None;
        // It ends when whoever was about to send has done so.
        self.queue.iter()
    }
}

/// An inbox and its outlet.
pub fn inbox<S>(wakeup: Wakeup) -> (Outlet<S>, Inbox<S>) {
    let (sender, receiver) = bounded(INBOX_ITEMS_MAX);
    let sender = Arc::new(sender);
    let outlet = Outlet { queue: Arc::downgrade(&sender), wakeup };
    (outlet, Inbox { queue: receiver, open: Some(sender) })
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_is_sent_to_a_closing_inbox_comes_in_or_goes_back() {
        for round in 0..500 {
            let wakeup = Wakeup::new().expect("an eventfd can be made");
            let (outlet, mut inbox) = inbox::<()>(wakeup);
            let send = || {
                let outlet = outlet.clone();
                move || (0..100).filter(|_| outlet.send(Item::Drain).is_ok()).count()
            };
            let senders = [(); 2].map(|()| thread::spawn(send()));
            for _ in 0..round % 50 {
                thread::yield_now();
            }
            let came = inbox.close().count();
            let sent: usize = senders.map(|sender| sender.join().expect("it sends")).iter().sum();
            assert_eq!(came, sent);
            assert!(outlet.send(Item::Drain).is_err());
            assert_eq!(inbox.close().count(), 0);
        }
    }
}
