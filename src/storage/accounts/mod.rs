//! Accounts: who may say to be whom, by e-mail and password.
//!
//! Hashing a password takes tens of milliseconds on purpose ([`password`]), so all of it is on a
//! thread of its own: a shard submits a [`Request`] without waiting and gets an [`Answer`]. That
//! thread alone knows the accounts ([`book`]), which is why no two of one name come into being.
//!
//! Invariants:
//! - An account that was answered with is on disk, synced, and found again after a crash.
//! - No password is kept, logged or shown; what is kept is its Argon2id hash.
//! - Whether an address has an account cannot be told from how a login fails, nor from how long that
//!   takes.
//! - Requests that wait are bounded ([`REQUESTS_QUEUED_MAX`]), and tries from one network address in
//!   a minute ([`Limits::tries_per_minute_max`]). Looking up who somebody is waits for no more than
//!   one password.
//!
//! Deliberately absent: changing and deleting accounts, mail, sessions (tokens are signed by who
//! asks), clocks.

mod book;
mod log;
mod password;
#[cfg(test)]
mod tests;
mod tries;

use std::fmt;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use serde::{Deserialize, Serialize};

use super::request::Ticket;
use book::{Book, Denied};
use log::Log;
use password::Hash;
use tries::Tries;

/// Requests of each kind that may wait: with passwords, and without. Each of the former takes some
/// 20 to 50 ms.
pub const REQUESTS_QUEUED_MAX: usize = 64;

/// A password as somebody typed it. Never shown.
pub struct Password(pub String);

/// What is known of somebody. As JSON also what clients are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Unique for ever.
    pub id: String,
    /// Unique but for upper and lower case.
    pub username: String,
    /// Unique but for upper and lower case.
    pub email: String,
}

/// What is wanted.
pub enum Wish {
    /// A new account.
    Register {
        /// How others see it.
        username: String,
        /// How it is found.
        email: String,
        /// What its owner knows.
        password: Password,
    },
    /// To be who an account says.
    LogIn {
        /// Whose.
        email: String,
        /// What its owner knows.
        password: Password,
    },
    /// To know who this is.
    Find {
        /// The id.
        id: String,
    },
}

/// One wish.
pub struct Request {
    /// Comes back with the answer.
    pub ticket: Ticket,
    /// Who wishes, as the network tells.
    pub from: IpAddr,
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// What.
    pub wish: Wish,
}

/// What became of a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Somebody new.
    Registered(User),
    /// The password was right, or the id is known.
    Is(User),
    /// There is an account of that username or e-mail.
    Taken,
    /// There is no such account, or its password is another.
    Unknown,
    /// Too many tries from there: see [`Limits::tries_per_minute_max`].
    TooMany,
    /// No more accounts are made: see [`Limits::accounts_max`].
    Full,
    /// The disk, or the server itself; the log tells.
    Failed,
}

/// What became of a [`Request`].
#[derive(Clone, Debug)]
pub struct Answer {
    /// The request's.
    pub ticket: Ticket,
    /// What became of it.
    pub outcome: Outcome,
}

/// How much is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Accounts.
    pub accounts_max: usize,
    /// Passwords tried from one network address in a minute, right or wrong.
    pub tries_per_minute_max: u32,
}

/// Submits requests. Cheap to clone; the thread ends when the last clone is dropped.
#[derive(Clone)]
pub struct Client {
    finds: Sender<Request>,
    hashings: Sender<Request>,
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client").field("queued", &self.hashings.len()).finish_non_exhaustive()
    }
}

/// Too many requests wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

impl Client {
    /// Submits a request without waiting.
    pub fn submit(&self, request: Request) -> Result<(), Busy> {
        let queue = match request.wish {
            Wish::Find { .. } => &self.finds,
            Wish::Register { .. } | Wish::LogIn { .. } => &self.hashings,
        };
        queue.try_send(request).map_err(|_| Busy)
    }
}

/// Starts the thread. Accounts are kept in the file at `path`, or in memory.
///
/// `reply` gets every answer and the index of the shard it is for, on that thread. Fails with a text
/// for people if the file cannot be read or written, or no thread can be started.
pub fn spawn(
    path: Option<PathBuf>,
    limits: Limits,
    reply: impl Fn(usize, Answer) + Send + 'static,
) -> Result<Client, String> {
    let (log, accounts) = match path {
        Some(path) => Log::open(path)?,
        None => (Log::memory(), Vec::new()),
    };
    let mut desk = Desk::new(Book::new(log, accounts, limits.accounts_max), limits)?;
    let (finds, found) = bounded(REQUESTS_QUEUED_MAX);
    let (hashings, hashed) = bounded(REQUESTS_QUEUED_MAX);
    let body = move || serve(&mut desk, &found, &hashed, &reply);
    let started = thread::Builder::new().name("accounts".to_owned()).spawn(body);
    started.map_err(|error| format!("cannot start the thread accounts: {error}"))?;
    Ok(Client { finds, hashings })
}

/// Carries out requests until the last client is gone. Those without a password go first.
fn serve(
    desk: &mut Desk,
    finds: &Receiver<Request>,
    hashings: &Receiver<Request>,
    reply: &impl Fn(usize, Answer),
) {
    loop {
        let next = finds.try_recv().ok().or_else(|| {
            select! {
                recv(finds) -> request => request.ok(),
                recv(hashings) -> request => request.ok(),
            }
        });
        let Some(Request { ticket, from, now_ms, wish }) = next else { return };
        let done = catch_unwind(AssertUnwindSafe(|| desk.perform(wish, from, now_ms)));
        let outcome = done.unwrap_or_else(|_| {
            ::log::error!(scope = "accounts", event = "panic"; "a wish failed");
            Outcome::Failed
        });
        reply(usize::from(ticket.shard), Answer { ticket, outcome });
    }
}

/// Where wishes are granted.
struct Desk {
    book: Book,
    tries: Tries,
    /// Compared with where there is no account, so that it takes as long.
    nobody: Hash,
}

impl Desk {
    fn new(book: Book, limits: Limits) -> Result<Self, String> {
        let nobody = Hash::new(&Password(String::new())).map_err(|error| error.to_string())?;
        Ok(Self { book, tries: Tries::new(limits.tries_per_minute_max), nobody })
    }

    fn perform(&mut self, wish: Wish, from: IpAddr, now_ms: u64) -> Outcome {
        match wish {
            Wish::Find { id } => self.book.of_id(&id).map_or(Outcome::Unknown, Outcome::Is),
            _ if !self.tries.allow(from, now_ms) => Outcome::TooMany,
            Wish::LogIn { email, password } => self.log_in(&email, &password),
            Wish::Register { username, email, password } => {
                self.register(username, email, &password, now_ms)
            }
        }
    }

    fn log_in(&self, email: &str, password: &Password) -> Outcome {
        let account = self.book.of_email(email);
        let hash = account.map_or(&self.nobody, |account| &account.password);
        let is_right = hash.is_of(password);
        let known = account.filter(|_| is_right);
        known.map_or(Outcome::Unknown, |account| Outcome::Is(account.user.clone()))
    }

    fn register(
        &mut self,
        username: String,
        email: String,
        password: &Password,
        now_ms: u64,
    ) -> Outcome {
        match self.book.is_free(&username, &email) {
            Ok(()) => {}
            Err(Denied::Taken) => return Outcome::Taken,
            Err(Denied::Full) => return Outcome::Full,
        }
        let made = Hash::new(password).and_then(|hash| {
            let user = User { id: password::random_id()?, username, email };
            self.book.add(user, hash, now_ms)
        });
        made.map_or_else(
            |error| {
                ::log::error!(scope = "accounts", event = "failed"; "no account was made: {error}");
                Outcome::Failed
            },
            Outcome::Registered,
        )
    }
}
