//! Clients of the hub of rljson: folder agents (`protocol/rljson/tests/agent.rs`) that announce their
//! trees, serve them, and put in place what they are told of. Whatever happens: whatever anybody is told
//! of can be read, row by row and blob by blob; each announcement is told to everybody else at most
//! once, in the order of its run, and acknowledged; nobody is told of what it has; and in the end all
//! have the latest tree, in which nothing is missing that anybody was told of, in this process or an
//! earlier one, but for what users have thrown away.
//!
//! These agents are more careful than real ones: between reading a root and having put its tree in
//! place they announce nothing. What the hub makes of those that are not depends on how fast the network
//! is; `protocol/rljson/tests/model` has them.

mod client;
mod fetch;
mod ledger;

use std::collections::BTreeSet;

use super::Play;
use super::line::Line;
use super::stage::Stage;
use client::Client;
use ledger::Ledger;

const ROUTES: u64 = 2;
const CLIENTS_MAX: usize = 5;

#[derive(Default)]
pub(super) struct Rljson {
    ledger: Ledger,
    clients: Vec<Client>,
    names: u64,
}

impl Rljson {
    fn enter(&mut self, route: u64, stage: &mut Stage) {
        self.names += 1;
        let mut client = Client::new(self.names, route);
        client.connect(stage);
        self.clients.push(client);
    }
}

impl Play for Rljson {
    fn act(&mut self, stage: &mut Stage) {
        if self.clients.is_empty() || self.clients.len() < CLIENTS_MAX && stage.random.one_in(8) {
            let route = stage.random.below(ROUTES);
            return self.enter(route, stage);
        }
        let at = stage.random.below(self.clients.len() as u64) as usize;
        let client = &mut self.clients[at];
        match stage.random.below(12) {
            0..6 => client.edit(&mut self.ledger, stage),
            6..9 => client.announce(&mut self.ledger, stage),
            9 => client.connect(stage),
            10 if stage.random.one_in(4) => client.stall(stage),
            11 if stage.random.one_in(8) => drop(self.clients.swap_remove(at)),
            _ => {}
        }
    }

    fn listen(&mut self, all: bool, stage: &mut Stage) {
        for client in &mut self.clients {
            if all || stage.random.one_in(2) {
                let bytes = if all { usize::MAX } else { stage.random.below(3_000) as usize };
                client.listen(bytes, &mut self.ledger, stage);
            }
        }
    }

    fn rally(&mut self, stage: &mut Stage) {
        for client in &mut self.clients {
            client.edit(&mut self.ledger, stage);
            client.announce(&mut self.ledger, stage);
        }
        let routes: BTreeSet<u64> = self.clients.iter().map(|client| client.route).collect();
        routes.into_iter().for_each(|route| self.enter(route, stage));
    }

    fn check(&mut self, stage: &mut Stage) {
        for route in 0..ROUTES {
            let there: Vec<&Client> =
                self.clients.iter().filter(|it| it.route == route && it.is_there()).collect();
            // Who came last came with nothing, and need not be told of that.
            let Some(last) = there.last() else { continue };
            if !self.ledger.has_told(route) {
                continue;
            }
            let latest = last.agent.tree();
            self.ledger.check(route, latest);
            for client in there {
                client.check(latest, &self.ledger);
                stage.met.rljson[0] += 1;
            }
        }
    }

    fn cut(&mut self, stage: &mut Stage) {
        self.clients.iter_mut().for_each(Client::disconnect);
        if stage.random.one_in(2) {
            // Nobody brings anything again.
            self.clients.clear();
        }
    }

    fn lines(&mut self) -> Vec<&mut Line> {
        self.clients.iter_mut().flat_map(Client::lines).collect()
    }
}
