//! Reads a recording: lines of what was said, and what each client has to answer with.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::codec::rljson::{Hash, blob_id, parse_row, verify};

/// A packet: an event or a request, with arguments after its name; or an answer.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) is_answer: bool,
    pub(super) ack: Option<u64>,
    /// As it was on the wire, without what stands before the array.
    pub(super) body: String,
    pub(super) attachments: Vec<Vec<u8>>,
}

impl Packet {
    /// Panics if it is none that occurs in recordings.
    fn read(text: &str, attachments: Vec<Vec<u8>>) -> Self {
        let (kind, rest) = text.split_at(1);
        let rest = rest.strip_prefix("1-").unwrap_or(rest);
        let (ack, body) = rest.split_at(rest.find('[').expect("an array"));
        let ack = (!ack.is_empty()).then(|| ack.parse().expect("a number"));
        let is_answer = matches!(kind, "3" | "6");
        assert!(is_answer || kind == "2", "{text}");
        Self { is_answer, ack, body: body.to_owned(), attachments }
    }

    /// The values of its array.
    pub(super) fn values(&self) -> Vec<Value> {
        serde_json::from_str(&self.body).expect("an array")
    }

    /// What an event or a request is called, and its first argument.
    pub(super) fn event(&self) -> (String, Value) {
        let values = self.values();
        let name = values[0].as_str().expect("a name").to_owned();
        (name, values.get(1).cloned().unwrap_or(Value::Null))
    }
}

/// What happened.
#[derive(Debug)]
pub(super) enum Step {
    Connects,
    Says(Packet),
    Hears(Packet),
    Ends,
}

/// A line of a recording.
#[derive(Debug)]
pub(super) struct Line {
    /// Its number where it was recorded in full.
    pub(super) number: u64,
    pub(super) at_ms: u64,
    pub(super) client: String,
    pub(super) step: Step,
}

/// What a client answers with.
#[derive(Clone, Debug, Default)]
pub(super) struct Holdings {
    /// Answers by the hashes of the rows in them.
    pub(super) rows: BTreeMap<String, String>,
    /// Answers and contents by ids.
    pub(super) blobs: BTreeMap<String, (String, Vec<u8>)>,
    /// What it was asked for when it was recorded, and had.
    pub(super) gave: BTreeSet<String>,
    /// Its tables.
    pub(super) tables: BTreeSet<String>,
}

impl Holdings {
    /// An answer with a row.
    pub(super) fn add_row(&mut self, body: &str) -> Option<String> {
        let row = super::compare::rows(body).first().map(|row| (*row).to_owned())?;
        let hash = verify(parse_row(&row).expect("a row")).expect("its hash is right");
        self.rows.entry(hash.to_string()).or_insert_with(|| body.to_owned());
        Some(hash.to_string())
    }

    fn add_known_row(&mut self, row: &str) {
        let body = format!("[{{\"sharedTree\":{{\"_type\":\"trees\",\"_data\":[{row}]}}}},null]");
        self.add_row(&body);
    }

    /// An answer with a blob.
    pub(super) fn add_blob(&mut self, body: &str, bytes: &[u8]) -> String {
        let id = blob_id(bytes).to_string();
        assert!(body.contains(&id), "{body} is of another blob than {id}");
        self.blobs.entry(id.clone()).or_insert_with(|| (body.to_owned(), bytes.to_vec()));
        id
    }

    fn add_known_blob(&mut self, bytes: &[u8]) {
        let id: Hash = blob_id(bytes);
        let properties = json!({ "blobId": id.as_str(), "size": bytes.len(),
            "createdAt": "2026-11-20T11:45:00.000Z" });
        let content = json!({ "_placeholder": true, "num": 0 });
        let body = json!([null, { "content": content, "properties": properties }]);
        self.add_blob(&body.to_string(), bytes);
    }

    /// An answer as it was recorded.
    fn learn(&mut self, answer: &Packet) {
        if let [bytes] = &answer.attachments[..] {
            let id = self.add_blob(&answer.body, bytes);
            self.gave.insert(id);
        } else if answer.values()[0].is_array() {
            self.tables.extend(names(&answer.values()[0]));
        } else if let Some(hash) = self.add_row(&answer.body) {
            self.gave.insert(hash);
        }
    }
}

/// A recording.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) lines: Vec<Line>,
    pub(super) holdings: BTreeMap<String, Holdings>,
}

impl Recording {
    pub(super) fn read(text: &str) -> Self {
        let mut recording = Self { lines: Vec::new(), holdings: BTreeMap::new() };
        text.lines().for_each(|line| recording.take(&serde_json::from_str(line).expect("JSON")));
        recording
    }

    fn take(&mut self, line: &Value) {
        let client = line["client"].as_str().expect("a name").to_owned();
        let holdings = self.holdings.entry(client.clone()).or_default();
        if let Some(row) = line["row"].as_str() {
            return holdings.add_known_row(row);
        }
        if line["blob"].is_array() {
            return holdings.add_known_blob(&bytes(&line["blob"]));
        }
        if line["mark"].is_string() {
            return;
        }
        let attachments = line["attachments"].as_array().into_iter().flatten().map(bytes);
        let step = match (line["dir"].as_str(), line["text"].as_str()) {
            (Some("c>s"), Some("0")) => Step::Connects,
            (Some("c>s"), Some(text)) => Step::Says(Packet::read(text, attachments.collect())),
            (Some("s>c"), Some(text)) => Step::Hears(Packet::read(text, attachments.collect())),
            (Some("c>s"), None) if line["close"].is_u64() => Step::Ends,
            _ => panic!("{line}"),
        };
        if let Step::Says(answer @ Packet { is_answer: true, .. }) = &step {
            holdings.learn(answer);
        }
        let number = |name: &str| line[name].as_u64().expect("a number");
        let (number, at_ms) = (number("n"), number("t"));
        self.lines.push(Line { number, at_ms, client, step });
    }
}

/// The texts in an array.
pub(super) fn names(array: &Value) -> impl Iterator<Item = String> {
    let names = array.as_array().into_iter().flatten();
    names.map(|name| name.as_str().expect("a name").to_owned())
}

fn bytes(array: &Value) -> Vec<u8> {
    serde_json::from_value(array.clone()).expect("bytes")
}
