//! All accounts, found by id, e-mail and username.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use super::User;
use super::log::Log;
use super::password::Hash;

/// One account, as it is kept.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Account {
    /// Whose it is.
    #[serde(flatten)]
    pub(super) user: User,
    /// What its owner knows.
    pub(super) password: Hash,
    /// When it was made, in milliseconds since 1970.
    pub(super) created_ms: u64,
}

/// Why no account can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// There is one of that username or e-mail.
    Taken,
    /// There are as many as there may be.
    Full,
}

/// The accounts there are.
pub(super) struct Book {
    log: Log,
    accounts: Vec<Account>,
    accounts_max: usize,
    /// Places among the accounts.
    by_id: BTreeMap<Box<str>, u32>,
    by_email: BTreeMap<Box<str>, u32>,
    by_username: BTreeMap<Box<str>, u32>,
}

impl Book {
    /// A book with what its log says. Of two of one name the first counts.
    pub(super) fn new(log: Log, accounts: Vec<Account>, accounts_max: usize) -> Self {
        let mut book = Self {
            log,
            accounts: Vec::new(),
            accounts_max,
            by_id: BTreeMap::new(),
            by_email: BTreeMap::new(),
            by_username: BTreeMap::new(),
        };
        accounts.into_iter().for_each(|account| book.enter(account));
        book
    }

    /// Who has this id.
    pub(super) fn of_id(&self, id: &str) -> Option<User> {
        self.by_id.get(id).map(|&at| self.accounts[at as usize].user.clone())
    }

    /// The account of this e-mail.
    pub(super) fn of_email(&self, email: &str) -> Option<&Account> {
        self.by_email.get(&*folded(email)).map(|&at| &self.accounts[at as usize])
    }

    /// Whether an account of these names may be made.
    pub(super) fn is_free(&self, username: &str, email: &str) -> Result<(), Denied> {
        if self.by_email.contains_key(&*folded(email))
            || self.by_username.contains_key(&*folded(username))
        {
            return Err(Denied::Taken);
        }
        if self.accounts.len() < self.accounts_max { Ok(()) } else { Err(Denied::Full) }
    }

    /// Makes an account whose names are free; it is on disk when this returns.
    pub(super) fn add(&mut self, user: User, password: Hash, now_ms: u64) -> io::Result<User> {
        let account = Account { user: user.clone(), password, created_ms: now_ms };
        self.log.append(&account)?;
        self.enter(account);
        Ok(user)
    }

    fn enter(&mut self, account: Account) {
        let at = self.accounts.len() as u32;
        let User { id, username, email } = &account.user;
        self.by_id.entry(id.as_str().into()).or_insert(at);
        self.by_email.entry(folded(email)).or_insert(at);
        self.by_username.entry(folded(username)).or_insert(at);
        self.accounts.push(account);
    }
}

/// What upper and lower case have in common.
fn folded(name: &str) -> Box<str> {
    name.to_lowercase().into()
}
