//! Clients, a route, and what is on its way between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;

use super::super::agent::{Agent, Files, PATHS};
use super::super::forest::{Contents, File, Folder, Forest};
use super::super::route::{at, ms, payload, socket};
use crate::codec::rljson::Hash;
use crate::protocol::rljson::merge::Conflicts;
use crate::protocol::rljson::route::{
    Crossing, HURRIED, Outcome, PACE, Route, SETTLED, Said, Work,
};

const CLIENTS_MAX: usize = 4;
/// How long after reading a root a client announces what it had noticed before.
const NOTICED_BEFORE: Duration = Duration::from_millis(300);

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// A tree that a client is fetching.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Fetch {
    root: Hash,
    /// When its root was read.
    read_ms: Option<u64>,
}

pub(super) struct Client {
    number: u32,
    pub(super) agent: Agent,
    online: bool,
    /// On its way to the server, each with what it was made from.
    announced: VecDeque<(Hash, Option<Hash>)>,
    /// On its way to the client.
    told: VecDeque<Hash>,
    fetch: Option<Fetch>,
    /// By then has arrived what it announces shortly after reading.
    arrives_by: Option<u64>,
}

/// What was met, to see that it was.
#[derive(Debug, Default)]
pub(super) struct Met {
    pub(super) forwards: usize,
    pub(super) merges: usize,
    pub(super) choices: usize,
    pub(super) applied: usize,
    pub(super) bootstraps: usize,
    pub(super) reconnects: usize,
    pub(super) copies: usize,
    pub(super) deaf: usize,
}

impl Met {
    pub(super) fn add(&mut self, other: &Self) {
        self.forwards += other.forwards;
        self.merges += other.merges;
        self.choices += other.choices;
        self.applied += other.applied;
        self.bootstraps += other.bootstraps;
        self.reconnects += other.reconnects;
        self.copies += other.copies;
        self.deaf += other.deaf;
    }
}

pub(super) struct Model {
    random: Random,
    pub(super) route: Route,
    pub(super) forest: Forest,
    pub(super) clients: Vec<Client>,
    now_ms: u64,
    files: Files,
    /// Contents that reached the server.
    pub(super) arrived: BTreeSet<Hash>,
    /// Contents that a user deleted, or wrote over.
    pub(super) thrown_away: BTreeSet<Hash>,
    /// What each root that was announced was made from.
    made_from: BTreeMap<Hash, Option<Hash>>,
    latest: Option<Hash>,
    /// Where contents went that nobody threw away.
    pub(super) drops: Vec<String>,
    /// What was planted, and looked into, before.
    roots: BTreeMap<Folder, Hash>,
    contents_of: BTreeMap<Hash, Rc<Contents>>,
    pub(super) met: Met,
}

impl Model {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            route: Route::new(PACE),
            forest: Forest::default(),
            clients: Vec::new(),
            now_ms: 0,
            files: Files::default(),
            arrived: BTreeSet::new(),
            thrown_away: BTreeSet::new(),
            made_from: BTreeMap::new(),
            latest: None,
            drops: Vec::new(),
            roots: BTreeMap::new(),
            contents_of: BTreeMap::new(),
            met: Met::default(),
        }
    }

    pub(super) fn step(&mut self) {
        let elapsed = self.random.below(200) as u64;
        self.pass(elapsed);
        if self.clients.is_empty() || self.clients.len() < CLIENTS_MAX && self.random.below(20) == 0
        {
            self.join();
        }
        let who = self.random.below(self.clients.len());
        match self.random.below(16) {
            0..=3 => self.edit(who),
            4..=6 => self.announce(who),
            7 | 8 => self.arrive(who),
            9 | 10 => self.hear(who),
            11 => self.read(who),
            12 => self.apply(who),
            13 if self.random.below(4) == 0 => self.disconnect(who),
            13 => self.work(),
            14 => self.connect(who),
            15 if self.random.below(4) == 0 => self.rest(),
            _ => {}
        }
        self.route.on_deadline(at(self.now_ms));
        self.deliver();
    }

    /// Time passes, in which arrives what is about to.
    fn pass(&mut self, elapsed_ms: u64) {
        let later = self.now_ms + elapsed_ms;
        for who in 0..self.clients.len() {
            let client = &mut self.clients[who];
            if client.online && client.arrives_by.take_if(|by| *by <= later).is_some() {
                self.arrive_all(who);
            }
        }
        self.now_ms = later;
    }

    /// Time passes in which clients put in place what they have read.
    fn rest(&mut self) {
        for who in 0..self.clients.len() {
            self.arrive_all(who);
            self.apply(who);
        }
        self.work();
        self.now_ms += ms(SETTLED);
    }

    fn join(&mut self) {
        let mut agent = Agent::default();
        if self.random.below(2) == 0 {
            let file = self.files.make(self.random.below(20) as u32);
            agent.edit(PATHS[self.random.below(PATHS.len())], Some(file));
        }
        self.clients.push(Client {
            number: self.clients.len() as u32,
            agent,
            online: true,
            announced: VecDeque::new(),
            told: VecDeque::new(),
            fetch: None,
            arrives_by: None,
        });
        self.route.join(socket(self.clients.len() as u32 - 1), at(self.now_ms));
    }

    /// A user changes a file: what it was is thrown away on purpose.
    fn edit(&mut self, who: usize) {
        let path = PATHS[self.random.below(PATHS.len())];
        let makes = self.random.below(3) > 0;
        let file = makes.then(|| self.files.make(self.random.below(20) as u32));
        let gone = self.clients[who].agent.edit(path, file);
        self.thrown_away.extend(gone.into_iter().map(File::blob));
    }

    fn announce(&mut self, who: usize) {
        let client = &mut self.clients[who];
        let read_ms = client.fetch.and_then(|fetch| fetch.read_ms);
        if read_ms.is_some_and(|read_ms| self.now_ms > read_ms + ms(NOTICED_BEFORE)) {
            return;
        }
        let root = *self
            .roots
            .entry(client.agent.folder.clone())
            .or_insert_with_key(|folder| self.forest.plant(folder));
        // Also while it is offline: then it waits.
        if let Some(made_from) = client.agent.announce(root) {
            client.announced.push_back((root, made_from));
        }
    }

    fn arrive(&mut self, who: usize) {
        let client = &mut self.clients[who];
        if !client.online {
            return;
        }
        let Some((root, made_from)) = client.announced.pop_front() else { return };
        let number = client.number;
        let value = json!({ "o": format!("run{number}"), "r": root.as_str() });
        let blobs = self.blobs(root);
        self.arrived.extend(blobs);
        self.made_from.insert(root, made_from);
        self.route.announce(socket(number), payload(value), at(self.now_ms));
        // Or it waits, as if others were being merged.
        if self.random.below(4) > 0 {
            self.work();
        }
    }

    fn arrive_all(&mut self, who: usize) {
        while self.clients[who].online && !self.clients[who].announced.is_empty() {
            self.arrive(who);
        }
    }

    /// The server takes up what was announced.
    fn work(&mut self) {
        while let Some(work) = self.route.next_work() {
            match work {
                Work::Forwarded(change) => {
                    self.met.forwards += 1;
                    self.note_latest(Hash::new(change.latest()).unwrap(), None);
                }
                Work::Merge(crossing) => {
                    self.met.merges += 1;
                    self.met.choices += usize::from(crossing.bases.len() > 1);
                    let forest = &self.forest;
                    let lookup = |hash: &Hash| forest.row(hash);
                    let merged = crossing.merge(Conflicts::KeepBoth, lookup).unwrap();
                    self.forest.take(&merged.rows);
                    self.note_latest(merged.root, Some(&crossing));
                    self.route.finish(Outcome::Merged(merged.root)).unwrap();
                }
            }
        }
        self.deliver();
    }

    pub(super) fn contents(&mut self, root: Hash) -> Rc<Contents> {
        let contents = self.contents_of.entry(root);
        Rc::clone(contents.or_insert_with(|| Rc::new(self.forest.contents(root))))
    }

    pub(super) fn blobs(&mut self, root: Hash) -> BTreeSet<Hash> {
        self.contents(root).values().flatten().map(|(blob, _)| *blob).collect()
    }

    /// Another tree is the latest: what did that cost?
    fn note_latest(&mut self, root: Hash, crossing: Option<&Crossing>) {
        let before = self.latest.replace(root).into_iter();
        let sides: Vec<Hash> = before.chain(crossing.map(|crossing| crossing.announced)).collect();
        let kept = self.blobs(root);
        for side in sides {
            for blob in self.blobs(side).difference(&kept) {
                if self.arrived.contains(blob) && !self.thrown_away.contains(blob) {
                    let announced = crossing.map_or(root, |crossing| crossing.announced);
                    let made_from = self.made_from.get(&announced);
                    let (at, bases) = (self.now_ms, crossing.map(|crossing| &crossing.bases));
                    self.drops.push(format!(
                        "{at} ms: {blob} of {side} not in {root}: {announced} made from \
                         {made_from:?}, bases {bases:?}",
                    ));
                }
            }
        }
    }

    /// What the server says goes on its way.
    fn deliver(&mut self) {
        for said in self.route.take_said() {
            let (to, payload) = match said {
                Said::Ref { to, payload } => (to, payload),
                Said::Bootstrap { to, payload, .. } => {
                    self.met.bootstraps += 1;
                    (vec![to], payload)
                }
                Said::Ack(_) => continue,
            };
            let payload: serde_json::Value = serde_json::from_str(&payload).unwrap();
            let root = Hash::new(payload["r"].as_str().unwrap()).unwrap();
            for to in to {
                self.clients[to.member.0 as usize].told.push_back(root);
            }
        }
    }

    fn hear(&mut self, who: usize) {
        let client = &mut self.clients[who];
        if client.fetch.is_some_and(|fetch| fetch.read_ms.is_some()) {
            return;
        }
        if let Some(root) = client.told.pop_front()
            && client.agent.hear(root)
        {
            client.fetch = Some(Fetch { root, read_ms: None });
        }
    }

    fn read(&mut self, who: usize) {
        // In the order in which it was said.
        self.arrive_all(who);
        let client = &mut self.clients[who];
        if let Some(fetch) = client.fetch.as_mut().filter(|_| client.online) {
            fetch.read_ms = Some(self.now_ms);
            client.arrives_by = Some(self.now_ms + ms(HURRIED));
            self.route.read(socket(client.number), fetch.root, at(self.now_ms));
        }
    }

    /// Puts the tree in place that was read, and deletes all else.
    fn apply(&mut self, who: usize) {
        let client = &mut self.clients[who];
        let Some(fetch) = client.fetch.filter(|fetch| fetch.read_ms.is_some()) else { return };
        client.fetch = None;
        self.met.applied += 1;
        let contents = self.contents(fetch.root);
        self.met.copies += contents.keys().filter(|path| path.contains("conflict")).count();
        self.clients[who].agent.apply(fetch.root, &contents, &self.files);
    }

    fn disconnect(&mut self, who: usize) {
        let client = &mut self.clients[who];
        if std::mem::take(&mut client.online) {
            client.told.clear();
            self.route.leave(socket(client.number), at(self.now_ms));
        }
    }

    fn connect(&mut self, who: usize) {
        let client = &mut self.clients[who];
        if !std::mem::replace(&mut client.online, true) {
            self.met.reconnects += 1;
            self.route.join(socket(client.number), at(self.now_ms));
            self.arrive_all(who);
        }
    }

    fn state(&self) -> Vec<(Option<Hash>, Option<Hash>)> {
        self.clients.iter().map(|client| (self.latest, client.agent.known)).collect()
    }

    /// Lets all that is under way come to its end.
    pub(super) fn settle(&mut self) {
        let mut quiet = 0;
        for round in 0.. {
            assert!(round < 100, "it does not come to its end");
            let before = self.state();
            self.rest();
            for who in 0..self.clients.len() {
                self.connect(who);
                (0..self.clients[who].told.len()).for_each(|_| self.hear(who));
                self.read(who);
                self.apply(who);
                if round > 0 {
                    self.announce(who);
                }
                self.arrive_all(who);
            }
            self.work();
            self.route.on_deadline(at(self.now_ms));
            self.deliver();
            quiet = if self.state() == before { quiet + 1 } else { 0 };
            if round > 1 && quiet == 3 {
                return;
            }
        }
    }
}
