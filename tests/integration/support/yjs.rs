//! A client of y-websocket as raw frames over a raw WebSocket. yrs keeps its document and reads the
//! messages: nothing here is the server's own codec.

use std::net::SocketAddr;

use yrs::sync::{Message, SyncMessage};
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{Doc, GetString, ReadTxn, StateVector, Text, Transact, Update};

use super::websocket::{Client, Frame, Next, frame};

/// The text that all type into.
const TEXT: &str = "text";

/// A member of a room, with its document.
pub struct Editor {
    client: Client,
    pub doc: Doc,
    /// Updates that it was sent.
    pub told: Vec<Vec<u8>>,
}

impl Editor {
    /// Comes with what it has of the document, and is told what it lacks.
    pub fn join(address: SocketAddr, room: &str, doc: Doc) -> Self {
        let client = Client::open(address, &format!("/yjs/{room}"));
        let mut editor = Self { client, doc, told: Vec::new() };
        let vector = editor.doc.transact().state_vector();
        assert!(editor.say(SyncMessage::SyncStep1(vector)));
        loop {
            match editor.hear() {
                Some(SyncMessage::SyncStep2(_)) => return editor,
                Some(_) => {}
                None => panic!("cut before the document came"),
            }
        }
    }

    /// Takes in the next message of the document; `None` once the server ends the connection.
    pub fn hear(&mut self) -> Option<SyncMessage> {
        let said = self.next()?;
        match &said {
            SyncMessage::SyncStep1(vector) => {
                let lacks = self.doc.transact().encode_state_as_update_v1(vector);
                self.say(SyncMessage::SyncStep2(lacks));
            }
            SyncMessage::SyncStep2(update) | SyncMessage::Update(update) => {
                apply(&self.doc, update);
                self.told.push(update.clone());
            }
        }
        Some(said)
    }

    /// Types one character at this place, as far as the text goes; whether it could be sent.
    pub fn types(&mut self, at: usize, character: char) -> bool {
        let text = self.doc.get_or_insert_text(TEXT);
        let update = {
            let mut transaction = self.doc.transact_mut();
            let at = at as u32 % (text.len(&transaction) + 1);
            text.insert(&mut transaction, at, character.encode_utf8(&mut [0; 4]));
            transaction.encode_update_v1()
        };
        self.say(SyncMessage::Update(update))
    }

    /// Deletes the character at this place; whether that could be sent. There must be one.
    pub fn deletes(&mut self, at: usize) -> bool {
        let text = self.doc.get_or_insert_text(TEXT);
        let update = {
            let mut transaction = self.doc.transact_mut();
            let len = text.len(&transaction);
            text.remove_range(&mut transaction, at as u32 % len, 1);
            transaction.encode_update_v1()
        };
        self.say(SyncMessage::Update(update))
    }

    /// Whether there is anything to delete.
    pub fn is_empty(&self) -> bool {
        let text = self.doc.get_or_insert_text(TEXT);
        text.len(&self.doc.transact()) == 0
    }

    fn say(&mut self, said: SyncMessage) -> bool {
        self.client.try_send(&frame(true, 2, &Message::Sync(said).encode_v1()))
    }

    fn next(&mut self) -> Option<SyncMessage> {
        loop {
            match self.client.next() {
                Next::Frame(Frame { opcode: 2, payload, .. }) => {
                    match Message::decode_v1(&payload).expect("a message of Yjs") {
                        Message::Sync(said) => return Some(said),
                        Message::Awareness(_) => {}
                        other => panic!("an editor does not expect {other:?}"),
                    }
                }
                Next::Frame(Frame { opcode: 9 | 10, .. }) => {}
                Next::Frame(Frame { opcode: 8, .. }) | Next::End | Next::Reset => return None,
                other => panic!("a message was expected, not {other:?}"),
            }
        }
    }
}

/// Takes an update in; everything that it depends on must be there.
pub fn apply(doc: &Doc, update: &[u8]) {
    let update = Update::decode_v1(update).expect("an update");
    let mut transaction = doc.transact_mut();
    transaction.apply_update(update).expect("an update that fits");
    assert!(!transaction.has_missing_updates(), "it depends on what was never told");
}

/// The whole document as an update.
pub fn whole(doc: &Doc) -> Vec<u8> {
    doc.transact().encode_state_as_update_v1(&StateVector::default())
}

/// All there is to know of a document: what was inserted and deleted, and what it comes to.
pub fn contents(doc: &Doc) -> (yrs::Snapshot, String) {
    let text = doc.get_or_insert_text(TEXT);
    let transaction = doc.transact();
    (transaction.snapshot(), text.get_string(&transaction))
}
