//! Pages with a Yjs document, as y-websocket's clients and in Zeal's two forms. Whatever happens: whatever anybody was told of a
//! document is in what the next newcomer is given, in this process and the next, and nothing that nobody
//! wrote; whoever is there has the same document in the end, and knows who else is there. The documents
//! are yrs's, as is what reads the messages.

mod link;

use std::collections::BTreeMap;

use yrs::sync::{Message, SyncMessage};
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{Doc, GetString, ID, IdSet, ReadTxn, Text, Transact, Update};

use super::Play;
use super::line::Line;
use super::stage::Stage;
use crate::codec::ysync::write_entry;
use link::{Heard, Link};

const ROOMS: u64 = 2;
const PAGES_MAX: usize = 5;
const TEXT: &str = "text";
/// How often a page says again that it is there (y-protocols), in milliseconds.
const RENEW_MS: u64 = 15_000;

/// Clocks of what was inserted and deleted. Documents do not tell: where something is missing before
/// it, yrs may show what Yjs does not.
#[derive(Clone, Debug, Default, PartialEq)]
struct Changes {
    inserted: IdSet,
    deleted: IdSet,
}

/// A document, as the test knows it.
#[derive(Default)]
struct Room {
    /// All that anybody was told of it.
    told: Changes,
    /// All that anybody wrote.
    written: Changes,
    /// Somebody who had nothing was given it, in this process.
    was_given: bool,
}

/// What a page knows of who is there.
type Present = BTreeMap<u64, (u32, Option<String>)>;

struct Page {
    /// None while it is not connected.
    link: Option<Link>,
    client: u64,
    room: usize,
    doc: Doc,
    clock: u32,
    renewed_ms: u64,
    present: Present,
    /// What it has written and was sent.
    has: Changes,
    /// Updates that its document does not show: something is missing before them.
    waiting: Vec<Vec<u8>>,
    /// It came with nothing and has not been given anything.
    is_new: bool,
    /// What had been told when it came.
    floor: Changes,
    /// How often it was told what it lacks since then.
    answers: usize,
}

#[derive(Default)]
pub(super) struct Yjs {
    rooms: Vec<Room>,
    pages: Vec<Page>,
    clients: u64,
}

fn doc(client: u64) -> Doc {
    let client = yrs::block::ClientID::new(client);
    Doc::with_options(yrs::Options::with_guid_and_client_id("".into(), client))
}

fn apply(doc: &Doc, update: &[u8]) {
    let update = Update::decode_v1(update).expect("an update");
    doc.transact_mut().apply_update(update).expect("an update that fits");
}

/// What a document comes to.
fn contents(doc: &Doc) -> (yrs::Snapshot, String) {
    let text = doc.get_or_insert_text(TEXT);
    let transaction = doc.transact();
    (transaction.snapshot(), text.get_string(&transaction))
}

impl Changes {
    fn add(&mut self, update: &[u8]) {
        let update = Update::decode_v1(update).expect("an update");
        self.inserted.merge_with(update.insertions(true));
        self.deleted.merge_with(update.delete_set().clone());
    }

    fn are_in(&self, others: &Self) -> bool {
        self.inserted.diff(&others.inserted).is_empty()
            && self.deleted.diff(&others.deleted).is_empty()
    }

    /// Whether these are of a document that shows all of them: nothing is missing before any.
    fn are_shown_by(&self, doc: &Doc) -> bool {
        let mut shown = IdSet::new();
        for (&client, &clock) in doc.transact().snapshot().state_map.iter() {
            shown.insert(ID::new(client, 0), clock);
        }
        self.inserted.diff(&shown).is_empty() && self.deleted.diff(&shown).is_empty()
    }
}

fn is_shown(update: &[u8], doc: &Doc) -> bool {
    let mut changes = Changes::default();
    changes.add(update);
    changes.are_shown_by(doc)
}

impl Page {
    fn say(&mut self, said: SyncMessage) {
        if let Some(link) = &mut self.link {
            link.say(Message::Sync(said).encode_v1());
        }
    }

    /// Says that it is there, and how it looks.
    fn announce(&mut self, stage: &Stage) {
        self.clock += 1;
        self.renewed_ms = stage.world.now.at.as_millis();
        let state = format!("{{\"at\":{}}}", self.clock);
        let mut update = vec![1];
        write_entry(&mut update, self.client, self.clock, Some(&state));
        self.present.insert(self.client, (self.clock, Some(state)));
        let mut message = vec![1];
        crate::codec::lib0::write_varbuf(&mut message, &update);
        if let Some(link) = &mut self.link {
            link.say(message);
        }
    }

    fn connect(&mut self, room: &Room, stage: &mut Stage) {
        self.link = Some(Link::dial(self.room, stage));
        (self.answers, self.floor) = (0, room.told.clone());
        // What is behind the first answer, since something is missing before it, comes before the second.
        for _ in 0..2 {
            let vector = self.doc.transact().state_vector();
            self.say(SyncMessage::SyncStep1(vector));
        }
        self.present.clear();
        self.announce(stage);
    }

    fn edits(&mut self, room: &mut Room, stage: &mut Stage) {
        let text = self.doc.get_or_insert_text(TEXT);
        let update = {
            let mut transaction = self.doc.transact_mut();
            let len = text.len(&transaction);
            let at = stage.random.below(u64::from(len) + 1) as u32;
            if at < len && stage.random.one_in(3) {
                text.remove_range(&mut transaction, at, 1);
            } else {
                let size = if stage.random.one_in(30) { 3_000 } else { 3 };
                let typed = "abcdefghijkl".repeat(1 + stage.random.below(size) as usize / 12);
                text.insert(&mut transaction, at, &typed);
            }
            transaction.encode_update_v1()
        };
        room.written.add(&update);
        self.has.add(&update);
        self.say(SyncMessage::Update(update));
    }

    fn hear(&mut self, message: &[u8], room: &mut Room, stage: &mut Stage) {
        stage.trace(|| format!("yjs {}: {message:?}", self.client));
        match Message::decode_v1(message).expect("a message of Yjs") {
            Message::Sync(SyncMessage::SyncStep1(vector)) => {
                // What waits goes as it came: yrs would merge it, and get clocks wrong behind gaps.
                let lacks = self.doc.transact().encode_diff_v1(&vector);
                self.say(SyncMessage::SyncStep2(lacks));
                self.waiting.retain(|update| !is_shown(update, &self.doc));
                for update in self.waiting.clone() {
                    self.say(SyncMessage::Update(update));
                }
            }
            Message::Sync(SyncMessage::SyncStep2(update)) => self.take(&update, true, room, stage),
            Message::Sync(SyncMessage::Update(update)) => self.take(&update, false, room, stage),
            Message::Auth(_) => stage.met.yjs[2] += 1,
            Message::Awareness(update) => {
                for (client, entry) in update.clients {
                    self.look(client.get(), entry.clock, &entry.json, stage);
                }
            }
            other => panic!("a page does not expect {other:?}"),
        }
    }

    fn take(&mut self, update: &[u8], is_answer: bool, room: &mut Room, stage: &mut Stage) {
        apply(&self.doc, update);
        if !is_shown(update, &self.doc) {
            self.waiting.push(update.to_vec());
        }
        self.has.add(update);
        room.told.add(update);
        stage.met.yjs[0] += 1;
        self.answers += usize::from(is_answer);
        if is_answer && self.answers == 2 {
            assert!(self.floor.are_in(&self.has), "something is lost that was told");
            if std::mem::take(&mut self.is_new) && !room.was_given {
                // Nobody who knew more has come to this process before.
                stage.met.yjs[1] += usize::from(self.floor != Changes::default());
                room.was_given = true;
            }
        }
    }

    fn look(&mut self, client: u64, clock: u32, json: &str, stage: &Stage) {
        let state = (json != "null").then(|| json.to_owned());
        let known = self.present.get(&client);
        let is_new = known.is_none_or(|(known, before)| {
            *known < clock || *known == clock && state.is_none() && before.is_some()
        });
        if client == self.client {
            if is_new && state.is_none() {
                // Nobody but itself removes its own state.
                self.clock = self.clock.max(clock);
                self.announce(stage);
            }
        } else if is_new {
            self.present.insert(client, (clock, state));
        }
    }

    /// Whom it knows to be there.
    fn others(&self) -> Vec<u64> {
        let there = self.present.iter().filter(|(_, (_, state))| state.is_some());
        there.map(|(&client, _)| client).collect()
    }
}

impl Yjs {
    fn connect(&mut self, at: usize, stage: &mut Stage) {
        let page = &mut self.pages[at];
        let room = &self.rooms[page.room];
        // In each process somebody comes first who has nothing.
        if page.link.is_none() && (room.was_given || page.is_new) {
            page.connect(room, stage);
        }
    }
}

impl Play for Yjs {
    fn act(&mut self, stage: &mut Stage) {
        self.rooms.resize_with(ROOMS as usize, Room::default);
        if self.pages.is_empty() || self.pages.len() < PAGES_MAX && stage.random.one_in(8) {
            self.clients += 1;
            let room = stage.random.below(ROOMS) as usize;
            self.pages.push(Page {
                link: None,
                client: 100 + self.clients,
                room,
                doc: doc(100 + self.clients),
                clock: 0,
                renewed_ms: 0,
                present: Present::new(),
                has: Changes::default(),
                waiting: Vec::new(),
                is_new: true,
                floor: Changes::default(),
                answers: 0,
            });
        }
        let at = stage.random.below(self.pages.len() as u64) as usize;
        match stage.random.below(10) {
            0..2 => self.connect(at, stage),
            2 => self.pages[at].announce(stage),
            3 if stage.random.one_in(8) => drop(self.pages.swap_remove(at)),
            _ => {
                let page = &mut self.pages[at];
                if !page.is_new {
                    page.edits(&mut self.rooms[page.room], stage);
                }
            }
        }
    }

    fn listen(&mut self, all: bool, stage: &mut Stage) {
        for page in &mut self.pages {
            if !(all || stage.random.one_in(2)) {
                continue;
            }
            let bytes = if all { usize::MAX } else { stage.random.below(3_000) as usize };
            let heard = page.link.as_mut().map_or_else(Vec::new, |link| link.hear(bytes, stage));
            for heard in heard {
                match heard {
                    Heard::Message(message) => {
                        page.hear(&message, &mut self.rooms[page.room], stage);
                    }
                    Heard::Denied => stage.met.yjs[2] += 1,
                }
            }
            if page.renewed_ms + RENEW_MS <= stage.world.now.at.as_millis() {
                page.announce(stage);
            }
            page.link.take_if(|link| link.is_over());
        }
    }

    fn rally(&mut self, stage: &mut Stage) {
        for page in self.pages.iter_mut().filter(|page| page.link.is_some()) {
            page.edits(&mut self.rooms[page.room], stage);
            page.announce(stage);
        }
    }

    fn check(&mut self, _: &mut Stage) {
        for (at, room) in self.rooms.iter().enumerate() {
            let there = || self.pages.iter().filter(|page| page.room == at && page.link.is_some());
            let mut clients: Vec<u64> = there().map(|page| page.client).collect();
            clients.sort_unstable();
            let Some(first) = there().next() else { continue };
            let same = contents(&first.doc);
            for page in there() {
                assert!(page.answers >= 2, "whoever asks is answered");
                assert!(page.has == first.has, "{} was told something else", page.client);
                let is_shown =
                    page.has.are_shown_by(&first.doc) && page.has.are_shown_by(&page.doc);
                let is_same = !is_shown || contents(&page.doc) == same;
                assert!(is_same, "{} has another document", page.client);
                assert_eq!(page.others(), clients, "whom {} sees", page.client);
            }
            assert!(room.told.are_in(&first.has), "something is lost that was told");
            assert!(room.told.are_in(&room.written), "something was told that nobody wrote");
        }
    }

    fn cut(&mut self, _: &mut Stage) {
        self.pages.iter_mut().for_each(|page| page.link = None);
        self.pages.retain(|page| !page.is_new);
        self.rooms.iter_mut().for_each(|room| room.was_given = false);
    }

    fn lines(&mut self) -> Vec<&mut Line> {
        self.pages.iter_mut().filter_map(|page| page.link.as_mut()).flat_map(Link::lines).collect()
    }
}
