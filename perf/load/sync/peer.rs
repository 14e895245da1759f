//! Clients of the hub without their sockets: one has a folder and gives of it what it is asked for,
//! others read all of it, one request after the other, as those of @rljson do.

use lockstep::codec::rljson::Hash;
use serde_json::Value;

use super::folder::Folder;
use crate::protocol::socketio::PONG;

/// Most bytes of a file that are asked for at once.
const RANGE_BYTES_MAX: usize = 4 << 20;

/// What a client says: messages of Socket.IO, each with what is attached.
pub(super) type Said = Vec<(String, Option<Vec<u8>>)>;

/// What is common to all.
pub(super) struct Place<'a> {
    pub(super) folder: &'a Folder,
    /// The route, which is also the table with a slash before it.
    pub(super) route: &'a str,
}

impl Place<'_> {
    fn table(&self) -> &str {
        &self.route[1..]
    }
}

/// What is to be read next.
#[derive(Clone, Debug, PartialEq)]
enum Job {
    Configs,
    Row(Hash),
    Blob(Hash, usize),
}

/// A client.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// Whether it has the folder.
    pub(super) is_owner: bool,
    pub(super) is_connected: bool,
    /// It has read everything.
    pub(super) is_done: bool,
    /// Requests it answered, or made.
    pub(super) requests: u64,
    jobs: Vec<Job>,
    blobs: Vec<Hash>,
    asked: Option<(u64, Job)>,
    rows: usize,
    /// What is to be attached to the answer that came.
    attached: Option<Value>,
}

impl Peer {
    /// The one that has the folder.
    pub(super) fn owner() -> Self {
        Self { is_owner: true, ..Self::default() }
    }

    /// How far it is, for people.
    pub(super) fn told(&self) -> String {
        match &self.asked {
            Some((id, job)) => format!("request {id} ({job:?}) waits"),
            None => format!("{} requests", self.requests),
        }
    }

    /// Hears a text; what is wrong with it, if anything is.
    pub(super) fn hear(
        &mut self,
        text: &str,
        at: &Place<'_>,
        said: &mut Said,
    ) -> Result<(), String> {
        match text.as_bytes() {
            [b'0', ..] => said.push((format!("40{{\"route\":\"{}\"}}", at.route), None)),
            b"2" => said.push((String::from_utf8_lossy(PONG).into_owned(), None)),
            [b'4', b'0', ..] => self.is_connected = true,
            [b'4', b'2', ..] => return self.hear_event(&text[2..], at, said),
            [b'4', b'3', ..] => {
                let (id, body) = numbered(&text[2..]);
                return self.hear_answer(id, &body, None, at, said);
            }
            [b'4', b'6', ..] => {
                let rest = text[2..].split_once('-').map_or("", |(_, rest)| rest);
                let (id, body) = numbered(rest);
                self.attached = Some(Value::from(vec![Value::from(id), body]));
            }
            _ => return Err(format!("not understood: {text:.80}")),
        }
        Ok(())
    }

    /// Hears what is attached to the answer before.
    pub(super) fn hear_bytes(
        &mut self,
        bytes: &[u8],
        at: &Place<'_>,
        said: &mut Said,
    ) -> Result<(), String> {
        let Some(answer) = self.attached.take() else { return Err("bytes of nothing".to_owned()) };
        self.hear_answer(answer[0].as_u64(), &answer[1], Some(bytes), at, said)
    }

    fn hear_event(&mut self, text: &str, at: &Place<'_>, said: &mut Said) -> Result<(), String> {
        let (id, body) = numbered(text);
        let name = body[0].as_str().unwrap_or_default();
        match id {
            Some(id) if self.is_owner => {
                self.requests += 1;
                said.push(give(id, name, &body, at));
            }
            // It has nothing.
            Some(id) => said.push((format!("43{id}[null,{{\"message\":\"not found\"}}]"), None)),
            None if name == at.route && !self.is_owner => {
                let root = body[1]["r"].as_str().and_then(Hash::new);
                self.jobs.push(Job::Row(root.ok_or("a ref that is none")?));
                self.ask_next(at, said);
            }
            None => {}
        }
        Ok(())
    }

    /// Asks for what is next: rows before files, and what tables there are before each row.
    fn ask_next(&mut self, at: &Place<'_>, said: &mut Said) {
        let job = match self.jobs.pop() {
            Some(Job::Row(row)) => {
                self.jobs.push(Job::Row(row));
                Job::Configs
            }
            Some(job) => job,
            None => match self.blobs.pop() {
                Some(blob) => Job::Blob(blob, 0),
                None => {
                    self.is_done = true;
                    return;
                }
            },
        };
        self.ask(job, at, said);
    }

    fn ask(&mut self, job: Job, at: &Place<'_>, said: &mut Said) {
        let id = self.requests;
        self.requests += 1;
        let text = match &job {
            Job::Configs => format!("42{id}[\"rawTableCfgs\"]"),
            Job::Row(row) => format!(
                "42{id}[\"readRows\",{{\"table\":\"{}\",\"where\":{{\"_hash\":\"{row}\"}}}}]",
                at.table()
            ),
            Job::Blob(blob, _) if at.folder.file_bytes() <= RANGE_BYTES_MAX => {
                format!("42{id}[\"getBlob\",\"{blob}\",null]")
            }
            Job::Blob(blob, start) => {
                let end = start + RANGE_BYTES_MAX;
                let range = format!("{{\"range\":{{\"start\":{start},\"end\":{end}}}}}");
                format!("42{id}[\"getBlob\",\"{blob}\",{range}]")
            }
        };
        self.asked = Some((id, job));
        said.push((text, None));
    }

    fn hear_answer(
        &mut self,
        id: Option<u64>,
        body: &Value,
        bytes: Option<&[u8]>,
        at: &Place<'_>,
        said: &mut Said,
    ) -> Result<(), String> {
        let Some((_, job)) = self.asked.take_if(|(asked, _)| Some(*asked) == id) else {
            return Err(format!("an answer to nothing: {body}"));
        };
        match job {
            Job::Configs => {
                let next = self.jobs.pop();
                if let Some(next) = next {
                    self.ask(next, at, said);
                }
                return Ok(());
            }
            Job::Row(row) => {
                let found = &body[0][at.table()]["_data"][0];
                let own = at.folder.row(&row).and_then(|row| serde_json::from_str(row).ok());
                if own.as_ref() != Some(found) {
                    return Err(format!("row {row} is answered by {body}"));
                }
                self.take_row(found);
            }
            Job::Blob(blob, start) => {
                let end = start + bytes.map_or(0, <[u8]>::len);
                if at.folder.read(&blob, start..start + RANGE_BYTES_MAX).as_deref() != bytes {
                    return Err(format!("blob {blob} from {start} is answered by {body}"));
                }
                if end < at.folder.file_bytes() {
                    self.ask(Job::Blob(blob, end), at, said);
                    return Ok(());
                }
            }
        }
        self.ask_next(at, said);
        Ok(())
    }

    fn take_row(&mut self, row: &Value) {
        self.rows += 1;
        let children = row["children"].as_array().into_iter().flatten();
        let children = children.filter_map(|child| Hash::new(child.as_str()?));
        self.jobs.extend(children.map(Job::Row));
        self.blobs.extend(row["meta"]["blobId"].as_str().and_then(Hash::new));
    }
}

/// What a request is answered with by who has the folder.
fn give(id: u64, name: &str, body: &Value, at: &Place<'_>) -> (String, Option<Vec<u8>>) {
    let text = |value: &Value| value.as_str().and_then(Hash::new);
    let rows = |hashes: &mut dyn Iterator<Item = &Value>| {
        let rows: Vec<&str> = hashes.filter_map(|hash| at.folder.row(&text(hash)?)).collect();
        let (table, rows) = (at.table(), rows.join(","));
        format!("43{id}[{{\"{table}\":{{\"_data\":[{rows}],\"_type\":\"trees\"}}}},null]")
    };
    let size = at.folder.file_bytes();
    let known = text(&body[1]).filter(|blob| at.folder.read(blob, 0..0).is_some());
    let properties = known.map(|blob| {
        format!(
            "{{\"blobId\":\"{blob}\",\"size\":{size},\"createdAt\":\"2026-01-01T00:00:00.000Z\"}}"
        )
    });
    let said = match (name, known, properties) {
        ("readRows", ..) => rows(&mut std::iter::once(&body[1]["where"]["_hash"])),
        ("readRowsByHashes", ..) => rows(&mut body[1]["hashes"].as_array().into_iter().flatten()),
        ("getBlob", Some(blob), Some(properties)) => {
            let range = &body[2]["range"];
            let at_byte = |key: &str, usual| range[key].as_u64().map_or(usual, |n| n as usize);
            let bytes = at.folder.read(&blob, at_byte("start", 0)..at_byte("end", usize::MAX));
            let content = "{\"_placeholder\":true,\"num\":0}";
            let text =
                format!("461-{id}[null,{{\"content\":{content},\"properties\":{properties}}}]");
            return (text, bytes);
        }
        ("blobExists", known, _) => format!("43{id}[null,{}]", known.is_some()),
        ("getBlobProperties", _, Some(properties)) => format!("43{id}[null,{properties}]"),
        ("getBlob" | "getBlobProperties", ..) => {
            format!("43{id}[{{\"message\":\"Blob not found\"}}]")
        }
        _ => format!(
            "43{id}[null,{{\"message\":\"Method \\\"{name}\\\" not found on Io instance\"}}]"
        ),
    };
    (said, None)
}

/// The number of a packet, if it has one, and its array.
fn numbered(text: &str) -> (Option<u64>, Value) {
    let (id, body) = text.split_at(text.find('[').unwrap_or(text.len()));
    (id.parse().ok(), serde_json::from_str(body).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that has a folder and one that reads it, with nobody between them.
    #[test]
    fn what_is_given_is_what_is_read() {
        for (files, file_bytes) in [(0, 5), (120, 300), (2, RANGE_BYTES_MAX + 10)] {
            let folder = Folder::new(7, files, file_bytes);
            let at = Place { folder: &folder, route: "/aTree" };
            let mut owner = Peer::owner();
            let mut reader = Peer::default();
            let mut asked = Said::new();
            reader.hear("40{}", &at, &mut asked).unwrap();
            reader.hear("42[\"/aTree:bootstrap\",{\"r\":\"x\"}]", &at, &mut asked).unwrap();
            assert!(asked.is_empty() && reader.is_connected);
            let announced = format!("42[\"/aTree\",{{\"r\":\"{}\"}}]", folder.root);
            reader.hear(&announced, &at, &mut asked).unwrap();
            while let Some((text, _)) = asked.pop() {
                let mut given = Said::new();
                if text.contains("rawTableCfgs") {
                    let (id, _) = numbered(&text[2..]);
                    given.push((format!("43{}[[],null]", id.unwrap()), None));
                } else {
                    owner.hear(&text, &at, &mut given).unwrap();
                }
                for (text, bytes) in given {
                    reader.hear(&text, &at, &mut asked).unwrap();
                    if let Some(bytes) = bytes {
                        reader.hear_bytes(&bytes, &at, &mut asked).unwrap();
                    }
                }
            }
            assert!(reader.is_done && reader.rows == folder.rows(), "{files} files");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let folder = Folder::new(7, 1, 10);
        let at = Place { folder: &folder, route: "/aTree" };
        let mut said = Said::new();
        let mut reader = Peer::default();
        let announced = format!("42[\"/aTree\",{{\"r\":\"{}\"}}]", folder.root);
        reader.hear(&announced, &at, &mut said).unwrap();
        reader.hear("430[[],null]", &at, &mut said).unwrap();
        assert!(reader.hear("431[{\"aTree\":{\"_data\":[]}},null]", &at, &mut said).is_err());
        assert!(reader.hear("439[]", &at, &mut said).is_err());
        assert!(reader.hear("41", &at, &mut said).is_err());
        assert!(reader.hear_bytes(b"x", &at, &mut said).is_err());
        let unknown = give(3, "rawTableCfgs", &Value::Null, &at).0;
        assert!(unknown.starts_with("433[null,"), "{unknown}");
    }
}
