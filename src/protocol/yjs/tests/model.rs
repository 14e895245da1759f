//! Pages that behave as those of y-websocket do, come and go, type, lose their connection, while the
//! disk fails and the process dies, in any order: what must hold, from printed seeds.

use std::collections::BTreeMap;

use yrs::updates::decoder::Decode;
use yrs::{Doc, GetString, ID, IdSet, ReadTxn, Snapshot, StateVector, Transact};

use super::harness::{Heard, Luck, Name, World, Writer};
use crate::protocol::yjs::UNAVAILABLE;
use crate::seeds::Seeds;

const SEEDS: u64 = 1_000;
const STEPS: usize = 250;
/// The client that comes last.
const LATE: u64 = 1 << 32;
const PAGES_MAX: usize = 5;
/// Pages look at each other's states so often (y-protocols), in milliseconds.
const TICK_MS: u64 = 3_000;
const RENEW_MS: u64 = 15_000;
const FORGET_MS: u64 = 30_000;

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

/// What a page knows of a client.
#[derive(Clone, Debug)]
struct Known {
    clock: u32,
    state: Option<String>,
    seen_ms: u64,
}

/// A page: a document, and the awareness of y-protocols.
struct Page {
    client: u64,
    writer: Writer,
    /// What it has typed and was sent.
    has: Changes,
    seat: Option<Name>,
    /// It comes by Zeal's Socket.IO form.
    is_socket: bool,
    clients: BTreeMap<u64, Known>,
}

impl Page {
    fn new(client: u64, is_socket: bool) -> Self {
        Self {
            client,
            is_socket,
            writer: Writer::new(client),
            has: Changes::default(),
            seat: None,
            clients: BTreeMap::new(),
        }
    }

    fn state(&self) -> Option<&str> {
        self.clients.get(&self.client)?.state.as_deref()
    }

    /// Who is there, as far as the page knows.
    fn present(&self) -> BTreeMap<u64, String> {
        let there = |(&id, known): (&u64, &Known)| Some((id, known.state.clone()?));
        self.clients.iter().filter_map(there).collect()
    }

    /// Sets its own state; to say to the others.
    fn looks_at(&mut self, state: Option<String>, now_ms: u64) {
        let clock = self.clients.get(&self.client).map_or(0, |own| own.clock + 1);
        self.clients.insert(self.client, Known { clock, state, seen_ms: now_ms });
    }

    /// Takes in what the server says of who is there (`applyAwarenessUpdate`); whom it concerns.
    fn hears(&mut self, entries: Vec<(u64, u32, Option<String>)>, now_ms: u64) -> Vec<u64> {
        let mut changed = Vec::new();
        for (client, mut clock, state) in entries {
            let is_new = self.clients.get(&client).is_none_or(|known| {
                known.clock < clock
                    || known.clock == clock && state.is_none() && known.state.is_some()
            });
            if !is_new {
                continue;
            }
            let mut becomes = state;
            if becomes.is_none() && client == self.client && self.state().is_some() {
                // Nobody but itself removes its own state.
                clock += 1;
                becomes = self.state().map(str::to_owned);
            }
            self.clients.insert(client, Known { clock, state: becomes, seen_ms: now_ms });
            changed.push(client);
        }
        changed
    }

    /// What y-protocols does every three seconds; whom it concerns.
    fn tick(&mut self, now_ms: u64) -> Vec<u64> {
        let mut changed = Vec::new();
        let own = self.clients.get(&self.client);
        if own.is_some_and(|own| own.state.is_some() && own.seen_ms + RENEW_MS <= now_ms) {
            self.looks_at(self.state().map(str::to_owned), now_ms);
            changed.push(self.client);
        }
        for (&id, known) in &mut self.clients {
            let is_silent = known.seen_ms + FORGET_MS <= now_ms;
            if id != self.client && is_silent && known.state.take().is_some() {
                changed.push(id);
            }
        }
        changed
    }
}

/// What was met, to see that it was.
#[derive(Debug, Default)]
struct Met {
    told: usize,
    crashes: usize,
    recoveries: usize,
    unavailable: usize,
    lost: usize,
    denials: usize,
    corrections: usize,
    ends: usize,
    checks: usize,
    sockets: usize,
    socket_events: usize,
}

struct Model {
    random: Random,
    world: World,
    durable: bool,
    pages: Vec<Page>,
    clients: u64,
    now_ms: u64,
    /// All that anybody has typed.
    written: Changes,
    /// All that anybody was sent.
    told: Changes,
    /// A session ended that only the journal has: it cannot be opened in this process.
    is_lost: bool,
    /// A page is gone for good.
    has_died: bool,
    /// A load may have failed.
    may_be_unavailable: bool,
    met: Met,
}

impl Model {
    fn new(seed: u64) -> Self {
        let durable = !seed.is_multiple_of(4);
        let mut world = if durable { World::durable() } else { World::new() };
        world.holds = true;
        Self {
            random: Random(seed),
            world,
            durable,
            pages: Vec::new(),
            clients: 0,
            now_ms: 0,
            written: Changes::default(),
            told: Changes::default(),
            is_lost: false,
            has_died: false,
            may_be_unavailable: false,
            met: Met::default(),
        }
    }

    fn step(&mut self) {
        if self.pages.is_empty() || self.random.below(12) == 0 && self.pages.len() < PAGES_MAX {
            self.clients += 1;
            let is_socket = self.random.below(3) == 0;
            self.pages.push(Page::new(self.clients, is_socket));
        }
        let at = self.random.below(self.pages.len());
        match self.random.below(32) {
            0..=3 => self.connect(at),
            4 => self.leave(at),
            5 => {
                // Never to be seen again, with whatever only it has.
                self.leave(at);
                self.pages.swap_remove(at);
                self.has_died = true;
            }
            6..=13 => self.types(at),
            14..=18 => {
                self.pump(at);
            }
            19 => self.asks(at),
            20 => self.tells_all(at),
            21 => {
                let is_there = self.random.below(4) > 0;
                let state = is_there.then(|| format!("{{\"at\":{}}}", self.random.below(100)));
                self.pages[at].looks_at(state, self.now_ms);
                self.announce(at, &[self.pages[at].client]);
            }
            22..=24 => {
                let ms = [1, 40, 60, 900, 4_000, 20_000, 70_000][self.random.below(7)];
                self.pass(ms);
            }
            25..=27 => self.answer(),
            28 => self.world.checkpoint(),
            29 if self.random.below(4) == 0 => self.world.read_only = !self.world.read_only,
            30 if self.random.below(3) == 0 => self.crash(),
            31 if self.random.below(4) == 0 => self.check(),
            _ => {}
        }
        self.follow_up();
    }

    /// What a shard does with a session that is over, and pages when they are closed.
    fn follow_up(&mut self) {
        for page in &mut self.pages {
            if let Some(close) = page.seat.and_then(|name| self.world.closed(name)) {
                assert_eq!(close, UNAVAILABLE);
                assert!(self.may_be_unavailable, "nothing has failed");
                self.met.unavailable += 1;
            }
        }
        for at in 0..self.pages.len() {
            if self.pages[at].seat.is_some_and(|name| !self.world.is_seated(name)) {
                self.cut(at);
            }
        }
        if !self.is_lost && self.world.is_over() && !self.world.is_waiting() {
            self.met.ends += 1;
            if self.world.is_needed() {
                assert!(self.may_be_unavailable, "a session ended that was not stored");
                self.met.lost += 1;
                self.is_lost = true;
                return;
            }
            self.world.reopen();
            self.may_be_unavailable = false;
            if !self.durable {
                // Half an hour nobody was there.
                self.told = Changes::default();
            }
        }
    }

    /// The connection ends: the page forgets who else was there (y-websocket).
    fn cut(&mut self, at: usize) {
        let page = &mut self.pages[at];
        if let Some(name) = page.seat.take() {
            let heard = self.world.heard(name);
            self.note(&heard, None);
            let page = &mut self.pages[at];
            let own = page.client;
            page.clients.retain(|&id, _| id == own);
        }
    }

    fn leave(&mut self, at: usize) {
        if let Some(name) = self.pages[at].seat {
            self.world.leave(name);
            self.cut(at);
        }
    }

    fn connect(&mut self, at: usize) {
        if self.pages[at].seat.is_some() || self.is_lost {
            return;
        }
        let is_socket = self.pages[at].is_socket;
        let name = if is_socket { self.world.enter_socket(true) } else { self.world.enter() };
        self.pages[at].seat = Some(name);
        self.met.sockets += usize::from(is_socket);
        self.asks(at);
        let own = self.pages[at].client;
        if self.pages[at].state().is_some() {
            self.announce(at, &[own]);
        }
    }

    fn asks(&mut self, at: usize) {
        if let Some(name) = self.pages[at].seat {
            self.world.step1(name, &self.pages[at].writer.vector());
        }
    }

    fn tells_all(&mut self, at: usize) {
        if let Some(name) = self.pages[at].seat {
            self.world.step2(name, &self.pages[at].writer.whole());
        }
    }

    fn types(&mut self, at: usize) {
        let place = self.random.below(1_000) as u32;
        let deletes = self.random.below(4) == 0;
        let page = &self.pages[at];
        let deleted = if deletes { page.writer.deletes_at(place) } else { None };
        let update = deleted.unwrap_or_else(|| page.writer.types_at(place, "x"));
        self.written.add(&update);
        self.pages[at].has.add(&update);
        if let Some(name) = self.pages[at].seat {
            self.world.update(name, &update);
        }
    }

    /// Tells what the page knows of these clients.
    fn announce(&mut self, at: usize, clients: &[u64]) {
        let page = &self.pages[at];
        let Some(name) = page.seat else { return };
        let entry = |id: &u64| (*id, page.clients[id].clock, page.clients[id].state.as_deref());
        let entries: Vec<_> = clients.iter().map(entry).collect();
        if !entries.is_empty() {
            self.world.aware(name, &entries);
        }
    }

    /// The page takes in what it was sent; whether that was anything.
    fn pump(&mut self, at: usize) -> bool {
        let Some(name) = self.pages[at].seat else { return false };
        let heard = self.world.heard(name);
        self.note(&heard, Some(at));
        let any = !heard.is_empty();
        for heard in heard {
            let page = &mut self.pages[at];
            match heard {
                Heard::Step1(vector) => {
                    let vector = StateVector::decode_v1(&vector).expect("a vector");
                    let lacks = page.writer.doc.transact().encode_state_as_update_v1(&vector);
                    self.world.step2(name, &lacks);
                }
                Heard::Step2(update) | Heard::Update(update) => page.writer.takes(&update),
                Heard::Awareness(entries) => {
                    let own = page.client;
                    if entries.iter().any(|(id, _, state)| *id == own && state.is_none()) {
                        self.met.corrections += 1;
                    }
                    // y-websocket passes on whatever it hears.
                    let changed = page.hears(entries, self.now_ms);
                    self.announce(at, &changed);
                }
                Heard::Denied(_) => self.met.denials += 1,
                Heard::Text(text) if self.pages[at].is_socket => {
                    let joined = r#"42["crdt:joined",{"roomName":"room","clientId":"sid"}]"#;
                    let unavailable = text.contains("unavailable") && self.may_be_unavailable;
                    assert!(text == joined || unavailable, "{text}");
                    self.met.socket_events += 1;
                }
                other => panic!("a page does not expect {other:?}"),
            }
        }
        any
    }

    /// This was sent, to a page or to somebody else.
    fn note(&mut self, heard: &[Heard], page: Option<usize>) {
        for heard in heard {
            if let Heard::Step2(update) | Heard::Update(update) = heard {
                self.told.add(update);
                self.met.told += 1;
                if let Some(at) = page {
                    self.pages[at].has.add(update);
                }
            }
        }
    }

    fn pass(&mut self, mut ms: u64) {
        while ms > 0 {
            let step = ms.min(TICK_MS - self.now_ms % TICK_MS);
            self.world.run(step);
            self.now_ms += step;
            ms -= step;
            if self.now_ms.is_multiple_of(TICK_MS) {
                for at in 0..self.pages.len() {
                    let changed = self.pages[at].tick(self.now_ms);
                    self.announce(at, &changed);
                }
            }
        }
    }

    fn answer(&mut self) {
        let luck = match self.random.below(8) {
            0 => Luck::Bad,
            1 => Luck::Doubtful,
            _ => Luck::Good,
        };
        self.may_be_unavailable |= luck != Luck::Good;
        self.world.answer_with(luck);
    }

    /// The process ends, in good order or not, and begins again.
    fn crash(&mut self) {
        if !self.durable {
            return;
        }
        if self.random.below(3) == 0 {
            self.world.stop();
        }
        let (stored, all) = (self.random.below(2) == 0, self.random.below(2) == 0);
        self.met.recoveries += usize::from(self.world.is_needed());
        self.world.crash(stored, all);
        (self.is_lost, self.may_be_unavailable) = (false, false);
        self.met.crashes += 1;
        (0..self.pages.len()).for_each(|at| self.cut(at));
    }

    /// Somebody who has nothing is given everything that anybody was told, and nothing else.
    fn check(&mut self) {
        if self.is_lost {
            return;
        }
        let name = self.world.enter();
        self.world.step1(name, &[0]);
        let heard = self.world.heard(name);
        self.world.leave(name);
        if !heard.iter().any(|it| matches!(it, Heard::Step2(_))) {
            assert!(self.may_be_unavailable || self.world.is_waiting(), "it is told nothing");
            return;
        }
        // What waits for something that is missing comes behind the answer.
        let mut given = Changes::default();
        for heard in &heard {
            if let Heard::Step2(update) | Heard::Update(update) = heard {
                given.add(update);
            }
        }
        assert!(self.told.are_in(&given), "lost: {:?} of {given:?}", self.told);
        assert!(given.are_in(&self.written), "nobody wrote {given:?}");
        self.note(&heard, None);
        self.met.checks += 1;
    }

    /// Everything works again, and all are there.
    fn settle(&mut self) {
        self.world.read_only = false;
        if self.is_lost {
            self.crash();
        }
        self.follow_up();
        for _ in 0..8 {
            while self.world.is_waiting() {
                self.world.answer();
                self.follow_up();
            }
            for at in 0..self.pages.len() {
                self.connect(at);
            }
            while (0..self.pages.len()).fold(false, |any, at| self.pump(at) | any) {}
            self.pass(10_000);
            self.follow_up();
            if self.is_lost {
                self.crash();
            }
        }
        while (0..self.pages.len()).fold(false, |any, at| self.pump(at) | any) {}
    }

    /// Of one who leaves nobody thinks that it is there, and nobody is told so.
    fn check_leaving(&mut self) {
        let at = self.random.below(self.pages.len());
        let gone = self.pages[at].client;
        self.leave(at);
        while (0..self.pages.len()).fold(false, |any, at| self.pump(at) | any) {}
        let others = self.pages.iter().filter(|page| page.client != gone);
        others.for_each(|page| assert!(!page.present().contains_key(&gone), "{gone} is a ghost"));
        let late = self.world.enter();
        for heard in self.world.heard(late) {
            if let Heard::Awareness(entries) = heard {
                let is_there =
                    |entry: &(u64, _, Option<String>)| entry.0 == gone && entry.2.is_some();
                assert!(!entries.iter().any(is_there), "{gone} is a ghost to others");
            }
        }
        self.world.leave(late);
    }

    fn check_the_end(&mut self) {
        let checks = self.met.checks;
        self.check();
        assert_eq!(self.met.checks, checks + 1, "a late one is let in");
        let all = self.world.whole();
        let there: BTreeMap<u64, String> = self
            .pages
            .iter()
            .filter_map(|page| Some((page.client, page.state()?.to_owned())))
            .collect();
        let late = Writer::new(LATE);
        late.takes(&all);
        let (all, before_gaps) = (Changes::of(&all), Changes::before_gaps(&late.doc));
        // What one had typed who is gone may depend on what it had no time to say. Nobody sees such,
        // and yrs tells it only to those who have nothing.
        let is_whole = all.are_in(&before_gaps);
        assert!(is_whole || self.has_died, "something is missing");
        assert!(self.has_died || all == self.written, "something never arrived");
        for page in &self.pages {
            assert!(page.seat.is_some(), "all are there");
            assert!(before_gaps.are_in(&page.has), "client {} was not told", page.client);
            if is_whole {
                let (has, expected) = (contents(&page.writer.doc), contents(&late.doc));
                assert_eq!(has, expected, "client {}", page.client);
            }
            assert_eq!(page.present(), there, "client {}", page.client);
        }
        self.check_leaving();
        if self.durable {
            (0..self.pages.len()).for_each(|at| self.leave(at));
            self.world.holds = false;
            self.pass(40 * 60_000);
            assert!(self.world.is_over() && !self.world.is_needed(), "it is stored");
            self.world.reopen();
            assert_eq!(Changes::of(&self.world.whole()), all, "what is stored");
        }
    }
}

/// Clocks of what was inserted and deleted. Documents do not tell: where something is missing before
/// it, yrs may show what Yjs does not.
#[derive(Debug, Default, PartialEq)]
struct Changes {
    inserted: IdSet,
    deleted: IdSet,
}

impl Changes {
    fn of(update: &[u8]) -> Self {
        let mut changes = Self::default();
        changes.add(update);
        changes
    }

    fn add(&mut self, update: &[u8]) {
        let update = yrs::Update::decode_v1(update).expect("an update");
        self.inserted.merge_with(update.insertions(true));
        self.deleted.merge_with(update.delete_set().clone());
    }

    /// What a document has of clients as far as nothing is missing, and what is deleted.
    fn before_gaps(doc: &Doc) -> Self {
        let snapshot = doc.transact().snapshot();
        let mut inserted = IdSet::new();
        for (&client, &clock) in snapshot.state_map.iter() {
            inserted.insert(ID::new(client, 0), clock);
        }
        Self { inserted, deleted: snapshot.delete_set }
    }

    fn are_in(&self, others: &Self) -> bool {
        self.inserted.diff(&others.inserted).is_empty()
            && self.deleted.diff(&others.deleted).is_empty()
    }
}

fn contents(doc: &Doc) -> (Snapshot, String) {
    let text = doc.get_or_insert_text("text");
    let transaction = doc.transact();
    (transaction.snapshot(), text.get_string(&transaction))
}

#[test]
fn nothing_that_was_told_is_lost_and_all_agree_in_the_end() {
    let Seeds { range, alone } = Seeds::of_run(SEEDS);
    let mut met = Met::default();
    for seed in range {
        // Shown if the test fails.
        println!("LOCKSTEP_SEED={seed}");
        let mut model = Model::new(seed);
        (0..STEPS).for_each(|_| model.step());
        model.settle();
        model.check_the_end();
        met.add(model.met);
    }
    // What is never met is not tested.
    println!("{met:?}");
    assert!(alone || met.all().iter().all(|times| **times > 100));
}

impl Met {
    fn add(&mut self, mut other: Self) {
        self.all().into_iter().zip(other.all()).for_each(|(all, one)| *all += *one);
    }

    fn all(&mut self) -> [&mut usize; 11] {
        [
            &mut self.told,
            &mut self.crashes,
            &mut self.recoveries,
            &mut self.unavailable,
            &mut self.lost,
            &mut self.denials,
            &mut self.corrections,
            &mut self.ends,
            &mut self.checks,
            &mut self.sockets,
            &mut self.socket_events,
        ]
    }
}
