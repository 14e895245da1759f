//! A tree that a client reads from the hub, to put it in the place of its folder.

use serde_json::{Value, json};

use super::super::socketio::Socket;
use crate::codec::rljson::{Hash, Node, Row, blob_id, parse_row, verify};
use crate::protocol::rljson::tests::forest::Forest;

pub(super) struct Fetch {
    pub(super) root: Hash,
    /// Rows and blobs that were asked for.
    out: usize,
    read: Forest,
}

/// What a client has asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    Row(Hash),
    Blob(Hash),
}

impl Fetch {
    /// Asks for the root.
    pub(super) fn begin(root: Hash) -> Self {
        Self { root, out: 0, read: Forest::default() }
    }

    /// All of it, if it is there.
    pub(super) fn take(&mut self) -> Option<Forest> {
        (self.out == 0).then(|| std::mem::take(&mut self.read))
    }

    /// Asks for a row of it.
    pub(super) fn ask_row(&mut self, table: &str, hash: Hash, socket: &mut Socket) -> (u64, Asked) {
        self.out += 1;
        let argument = json!({ "table": table, "where": { "_hash": hash.as_str() } });
        (socket.ask("readRows", &[argument]), Asked::Row(hash))
    }

    /// A row has come; what else is needed is asked for.
    pub(super) fn take_row(
        &mut self,
        table: &str,
        hash: Hash,
        body: &str,
        socket: &mut Socket,
    ) -> Vec<(u64, Asked)> {
        let answer: Value = serde_json::from_str(body).expect("answers are JSON");
        let rows = answer[0][table]["_data"].as_array().map_or(&[][..], Vec::as_slice);
        let [row] = rows else { panic!("row {hash} of {} cannot be read: {body}", self.root) };
        let text = row.to_string();
        assert_eq!(verify(parse_row(&text).expect("a row")), Ok(hash));
        self.out -= 1;
        let mut asked = Vec::new();
        let row = Row::read(hash, &text).expect("a row of a tree");
        for child in row.children() {
            asked.push(self.ask_row(table, *child, socket));
        }
        if let Node::File { blob: Some(blob), .. } = row.node {
            self.out += 1;
            let number = socket.ask("getBlob", &[json!(blob.as_str()), Value::Null]);
            asked.push((number, Asked::Blob(blob)));
        }
        self.read.rows.insert(hash, text);
        asked
    }

    /// A blob has come.
    pub(super) fn take_blob(&mut self, blob: Hash, body: &str, mut attached: Vec<Vec<u8>>) {
        let bytes = attached.pop();
        let bytes =
            bytes.unwrap_or_else(|| panic!("{blob} of {} cannot be read: {body}", self.root));
        assert_eq!(blob_id(&bytes), blob);
        self.out -= 1;
        self.read.blobs.insert(blob, bytes);
    }
}
