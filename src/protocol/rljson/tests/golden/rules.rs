//! What clients are to be told of refs beside the refs themselves, where the original said something
//! else, or nothing: acknowledgements and bootstraps, from what happened on the only route (specs:
//! rljson §4, §7).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::protocol::rljson::route::{ACK_WITHIN, PACE};

/// What a client is to be told.
pub(super) type Due = (String, &'static str, Value);

/// A client.
#[derive(Debug, Default)]
struct Client {
    /// Since when it is on the route; it is on none until something was announced.
    since_ms: Option<u64>,
    /// The ref that it announced or read last.
    has: Option<String>,
}

/// An acknowledgement that is still to come.
#[derive(Debug)]
struct Open {
    to: String,
    reference: String,
    /// What the others were told for it.
    told: String,
    waits_for: BTreeSet<String>,
    received_by: usize,
    total: usize,
    until_ms: u64,
}

/// All that happened.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) latest: Option<String>,
    /// All that were the latest one.
    known: BTreeSet<String>,
    clients: BTreeMap<String, Client>,
    open: Vec<Open>,
}

impl Rules {
    pub(super) fn connect(&mut self, client: &str, now_ms: u64) {
        let since_ms = self.latest.is_some().then_some(now_ms);
        self.clients.insert(client.to_owned(), Client { since_ms, has: None });
    }

    /// A client announced a ref, for which all were told `told`.
    pub(super) fn announce(
        &mut self,
        from: &str,
        reference: &str,
        told: &str,
        now_ms: u64,
    ) -> Vec<Due> {
        for client in self.clients.values_mut() {
            client.since_ms.get_or_insert(now_ms);
        }
        if let Some(client) = self.clients.get_mut(from) {
            client.has = Some(reference.to_owned());
        }
        let others = self.clients.keys().filter(|client| *client != from).cloned();
        let waits_for: BTreeSet<String> = others.collect();
        let total = waits_for.len();
        if [reference, told].contains(&self.latest.as_deref().unwrap_or_default()) {
            return vec![ack(from, reference, true, total, total)];
        }
        self.latest = Some(told.to_owned());
        self.known.insert(told.to_owned());
        let (to, reference, told) = (from.to_owned(), reference.to_owned(), told.to_owned());
        let until_ms = now_ms + ACK_WITHIN.as_millis() as u64;
        self.open.push(Open { to, reference, told, waits_for, received_by: 0, total, until_ms });
        self.answer(now_ms)
    }

    /// A client says that it has heard of a ref.
    pub(super) fn hear(&mut self, client: &str, told: &str, now_ms: u64) -> Vec<Due> {
        for open in self.open.iter_mut().filter(|open| open.told == told) {
            open.received_by += usize::from(open.waits_for.remove(client));
        }
        self.answer(now_ms)
    }

    /// A client read a row, or said that it has it.
    pub(super) fn read(&mut self, client: &str, hash: &str) {
        if let Some(client) = self.clients.get_mut(client).filter(|_| self.known.contains(hash)) {
            client.has = Some(hash.to_owned());
        }
    }

    pub(super) fn leave(&mut self, client: &str, now_ms: u64) -> Vec<Due> {
        self.clients.remove(client);
        self.open.retain(|open| open.to != client);
        for open in &mut self.open {
            open.waits_for.remove(client);
        }
        self.answer(now_ms)
    }

    /// A millisecond has passed.
    pub(super) fn pass(&mut self, now_ms: u64) -> Vec<Due> {
        let mut due = self.answer(now_ms);
        let Some(latest) = &self.latest else { return due };
        for (name, client) in &self.clients {
            let after_ms = client.since_ms.map(|since_ms| now_ms - since_ms);
            let is_time = PACE.iter().any(|pace| Some(pace.as_millis() as u64) == after_ms);
            if is_time && client.has.as_ref() != Some(latest) {
                let payload = json!({ "o": "__server__", "r": latest });
                due.push((name.clone(), "/sharedTree:bootstrap", payload));
            }
        }
        due
    }

    /// Acknowledgements that are complete, or that nobody waits for any longer.
    fn answer(&mut self, now_ms: u64) -> Vec<Due> {
        let mut due = Vec::new();
        self.open.retain(|open| {
            let ok = open.waits_for.is_empty();
            let is_due = ok || open.until_ms <= now_ms;
            if is_due {
                due.push(ack(&open.to, &open.reference, ok, open.received_by, open.total));
            }
            !is_due
        });
        due
    }
}

fn ack(to: &str, reference: &str, ok: bool, received_by: usize, total: usize) -> Due {
    let payload = json!({ "r": reference, "ok": ok, "receivedBy": received_by,
        "totalClients": total });
    (to.to_owned(), "/sharedTree:ack", payload)
}
