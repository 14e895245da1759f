//! Folders of rljson: the files of a ref that somebody was told, or whose announcement was
//! acknowledged, are there afterwards, with nobody there to ask for them; or newer ones of the same
//! names that were under way. What was under way may come to be later, merged with what was
//! announced after it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lockstep::codec::rljson::{blob_id, hash, parse_row};
use serde_json::{Value, json};

use super::{LIVES_EACH, ROUNDS};
use crate::support::eventually;
use crate::support::random::Random;
use crate::support::server::{Scratch, Server};
use crate::support::websocket::{Client, Frame, Next, frame};

const ROUTES: [&str; 3] = ["one", "two", "three"];
/// Refs acknowledged in one life, at most.
const REFS_MAX: usize = 120;
/// Writers announce as fast as they are acknowledged.
const UNHURRIED: [&str; 2] = ["--rljson-refs-per-second-max", "100000"];
/// Servers that live at the same time.
const LANES: usize = 4;
/// Files of a folder.
const FILES: usize = 6;

/// A folder: its files' contents, each a number that no other content has, again and again.
type Folder = BTreeMap<String, Vec<u8>>;

fn number_of(content: &[u8]) -> u64 {
    let text = std::str::from_utf8(content).expect("digits");
    text.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

/// A folder's root, and all that belongs to it.
#[derive(Default)]
struct Tree {
    root: String,
    rows: BTreeMap<String, Value>,
    blobs: BTreeMap<String, Vec<u8>>,
}

impl Tree {
    fn of(folder: &Folder) -> Self {
        let mut tree = Self::default();
        let mut children = Vec::new();
        for (name, content) in folder {
            let id = blob_id(content).as_str().to_owned();
            let meta = json!({
                "name": name, "type": "file", "relativePath": name, "size": content.len(),
                "mtime": number_of(content), "blobId": id,
            });
            children.push(tree.add(json!({ "id": name, "isParent": false, "meta": meta })));
            tree.blobs.insert(id, content.clone());
        }
        let meta = json!({ "name": ".", "type": "directory", "relativePath": "." });
        let root = json!({ "id": ".", "isParent": true, "meta": meta, "children": children });
        tree.root = tree.add(root);
        tree
    }

    fn add(&mut self, mut row: Value) -> String {
        row["meta"]["_hash"] = json!(hashed(&row["meta"]));
        let own = hashed(&row);
        row["_hash"] = json!(own);
        self.rows.insert(own.clone(), row);
        own
    }
}

fn hashed(row: &Value) -> String {
    let text = row.to_string();
    let read = parse_row(&text).expect("it is a row");
    hash(read).expect("it can be hashed").as_str().to_owned()
}

/// A client on one route.
struct Agent {
    client: Client,
    route: String,
    /// What it serves.
    tree: Tree,
    /// Names its requests.
    asked: u64,
    /// What it was told while it waited for something else.
    told: VecDeque<Told>,
}

/// What a client was told on its route.
enum Told {
    Ref(String),
    Bootstrap(String),
    Acknowledged(String),
}

impl Agent {
    fn connect(address: SocketAddr, route: &str) -> Self {
        let target = "/rljson/socket.io/?EIO=4&transport=websocket";
        let mut client = Client::open(address, target);
        assert!(client.text().starts_with("0{"), "an Engine.IO handshake");
        client.send_text(&format!("40{}", json!({ "route": route })));
        assert!(client.text().starts_with("40{"), "it is connected");
        Self {
            client,
            route: route.to_owned(),
            tree: Tree::default(),
            asked: 0,
            told: VecDeque::new(),
        }
    }

    /// The next that it is told, while it answers what it is asked for; none when it is cut off.
    fn hear(&mut self) -> Option<Told> {
        if let Some(told) = self.told.pop_front() {
            return Some(told);
        }
        loop {
            let event = self.next_packet("42")?;
            if let Some(told) = self.read(&event) {
                return Some(told);
            }
        }
    }

    /// The rest of the next packet that begins so.
    fn next_packet(&mut self, start: &str) -> Option<String> {
        loop {
            match self.client.next() {
                Next::Frame(frame @ Frame { opcode: 1, .. }) => {
                    if let Some(rest) = frame.text().strip_prefix(start) {
                        return Some(rest.to_owned());
                    }
                    if let Some(event) = frame.text().strip_prefix("42") {
                        let told = self.read(event);
                        self.told.extend(told);
                    }
                }
                Next::Frame(Frame { opcode: 8, .. }) | Next::End | Next::Reset => return None,
                Next::Frame(_) => {}
            }
        }
    }

    fn read(&mut self, event: &str) -> Option<Told> {
        let (number, event) = event.split_at(event.find('[').expect("an array"));
        let event: Value = serde_json::from_str(event).expect("events are JSON");
        let name = event[0].as_str().expect("events have names");
        if !number.is_empty() {
            self.answer(number, name, &event[1]);
            return None;
        }
        let reference = event[1]["r"].as_str()?.to_owned();
        match name.strip_prefix(self.route.as_str())? {
            "" => {
                let heard = json!([format!("{}:ack:client", self.route), { "r": reference }]);
                self.client.try_send(&frame(true, 1, format!("42{heard}").as_bytes()));
                Some(Told::Ref(reference))
            }
            ":bootstrap" => Some(Told::Bootstrap(reference)),
            ":ack" => {
                assert_eq!(event[1]["ok"], true, "{event}");
                Some(Told::Acknowledged(reference))
            }
            _ => None,
        }
    }

    fn answer(&mut self, number: &str, name: &str, query: &Value) {
        let table = &self.route[1..];
        let mut attachment = None;
        let answer = match name {
            "readRows" => {
                let hash = query["where"]["_hash"].as_str().unwrap_or_default();
                let rows: Vec<&Value> = self.tree.rows.get(hash).into_iter().collect();
                format!(
                    "43{number}{}",
                    json!([{ table: { "_type": "trees", "_data": rows } }, null])
                )
            }
            "getBlob" => match self.tree.blobs.get(query.as_str().unwrap_or_default()) {
                Some(content) => {
                    attachment = Some(content.clone());
                    let properties = json!({
                        "blobId": query, "size": content.len(),
                        "createdAt": "2026-11-20T11:45:34.714Z",
                    });
                    let content = json!({ "_placeholder": true, "num": 0 });
                    let found = json!([null, { "content": content, "properties": properties }]);
                    format!("461-{number}{found}")
                }
                None => format!("43{number}{}", json!([{ "message": "Blob not found" }])),
            },
            _ => format!("43{number}{}", json!([null, { "message": "no such method" }])),
        };
        // Whoever is cut off will know by what it reads.
        self.client.try_send(&frame(true, 1, answer.as_bytes()));
        if let Some(content) = attachment {
            self.client.try_send(&frame(true, 2, &content));
        }
    }

    /// Reads a tree, as one who has nothing of it; none if it is cut off.
    fn pull(&mut self, root: &str) -> Option<Folder> {
        let mut folder = Folder::new();
        for child in self.row(root)?["children"].as_array().expect("files") {
            let file = self.row(child.as_str().expect("a hash"))?;
            let content = self.blob(file["meta"]["blobId"].as_str().expect("a blob"))?;
            folder.insert(file["meta"]["name"].as_str().expect("a name").to_owned(), content);
        }
        Some(folder)
    }

    fn row(&mut self, hash: &str) -> Option<Value> {
        let table = self.route[1..].to_owned();
        let request = json!(["readRows", { "table": table, "where": { "_hash": hash } }]);
        let answer = self.ask(&request)?;
        assert!(answer[1].is_null(), "{answer}");
        let row = answer[0][&table]["_data"][0].clone();
        let mut content = row.clone();
        content.as_object_mut().expect("the row is there").remove("_hash");
        assert_eq!(hashed(&content), hash, "{row}");
        Some(row)
    }

    fn blob(&mut self, id: &str) -> Option<Vec<u8>> {
        let answer = self.ask(&json!(["getBlob", id, null]))?;
        assert!(answer[0].is_null(), "{answer}");
        let Next::Frame(Frame { opcode: 2, payload, .. }) = self.client.next() else { return None };
        assert_eq!(blob_id(&payload).as_str(), id);
        Some(payload)
    }

    fn ask(&mut self, request: &Value) -> Option<Value> {
        self.asked += 1;
        let number = self.asked;
        self.client.try_send(&frame(true, 1, format!("42{number}{request}").as_bytes()));
        let is_blob = request[0] == "getBlob";
        let start = if is_blob { format!("461-{number}") } else { format!("43{number}") };
        let answer = self.next_packet(&start)?;
        Some(serde_json::from_str(&answer).expect("answers are JSON"))
    }
}

/// What is known of a route.
#[derive(Default)]
struct Known {
    /// Folders that were announced, by their roots.
    announced: BTreeMap<String, Folder>,
    /// Of each file the newest content that somebody was told of.
    told: BTreeMap<String, u64>,
    /// The newest content that there was.
    newest: u64,
}

impl Known {
    /// Somebody was told of a folder with all its files.
    fn tell(&mut self, folder: &Folder) {
        for (name, content) in folder {
            let told = self.told.entry(name.clone()).or_default();
            *told = (*told).max(number_of(content));
        }
    }

    /// A newcomer has everything that anybody was told of. The folder that it finds.
    fn check(&mut self, agent: &mut Agent) -> Folder {
        if self.told.is_empty() {
            return Folder::new();
        }
        let root = loop {
            match agent.hear().expect("the server is there") {
                Told::Bootstrap(root) | Told::Ref(root) => break root,
                Told::Acknowledged(_) => {}
            }
        };
        let folder = agent.pull(&root).expect("the server is there");
        let numbers: Vec<u64> = folder.values().map(|content| number_of(content)).collect();
        for (name, told) in &self.told {
            let present = folder.get(name).map(|content| number_of(content));
            // What was under way may have won; then what was told is there by another name.
            let is_there = present >= Some(*told) || numbers.contains(told);
            assert!(is_there, "{name}: {told} was told, {present:?} is there of {numbers:?}");
        }
        self.tell(&folder);
        folder
    }
}

/// What a writer knows when it is cut off.
#[derive(Default)]
struct Written {
    announced: BTreeMap<String, Folder>,
    /// Roots that were acknowledged.
    acknowledged: Vec<String>,
    /// Folders that it was told of.
    merged: Vec<Folder>,
    newest: u64,
}

/// Changes its folder, and announces each change when the one before is acknowledged; takes on what
/// it is told.
fn write(
    mut agent: Agent,
    mut folder: Folder,
    mut newest: u64,
    mut random: Random,
    count: &AtomicUsize,
) -> Written {
    let mut written = Written::default();
    loop {
        newest += 1;
        written.newest = newest;
        let content = format!("{newest} ").repeat(1 + random.below(1_000)).into_bytes();
        folder.insert(format!("file {}", random.below(FILES)), content);
        agent.tree = Tree::of(&folder);
        let root = agent.tree.root.clone();
        written.announced.insert(root.clone(), folder.clone());
        let said = json!([agent.route, { "o": "1767225600000:abcd", "r": root, "c": "client_a" }]);
        agent.client.try_send(&frame(true, 1, format!("42{said}").as_bytes()));
        let mut merged = None;
        loop {
            match agent.hear() {
                Some(Told::Acknowledged(heard)) if heard == root => break,
                Some(Told::Acknowledged(_)) => {}
                Some(Told::Ref(root) | Told::Bootstrap(root)) => merged = Some(root),
                None => return written,
            }
        }
        written.acknowledged.push(root);
        count.fetch_add(1, Ordering::Relaxed);
        if let Some(root) = merged {
            let Some(pulled) = agent.pull(&root) else { return written };
            written.merged.push(pulled.clone());
            folder = pulled;
        }
    }
}

/// Listens until it is cut off; the refs that it was told.
fn listen(mut agent: Agent) -> Vec<String> {
    let mut heard = Vec::new();
    while let Some(told) = agent.hear() {
        if let Told::Ref(root) | Told::Bootstrap(root) = told {
            heard.push(root);
        }
    }
    heard
}

/// What happens on a route in one life of the server: whoever comes first checks what is there.
fn visit(
    address: SocketAddr,
    route: &str,
    mut known: Known,
    random: Random,
    count: &AtomicUsize,
) -> Known {
    let mut writer = Agent::connect(address, route);
    let folder = known.check(&mut writer);
    writer.tree = Tree::of(&folder);
    let listener = Agent::connect(address, route);
    let listener = std::thread::spawn(move || listen(listener));
    let written = write(writer, folder, known.newest, random, count);
    let heard = listener.join().expect("listeners are told what is so");
    known.newest = written.newest;
    known.announced.extend(written.announced);
    for root in written.acknowledged.iter().chain(&heard) {
        // What is not known was merged.
        if let Some(folder) = known.announced.get(root).cloned() {
            known.tell(&folder);
        }
    }
    written.merged.iter().for_each(|folder| known.tell(folder));
    known
}

/// Some lives of a server; how many refs were announced.
fn lives(mut random: Random, lane: usize) -> usize {
    let data = Scratch::new(&format!("rljson-kills-{lane}"));
    let mut routes: BTreeMap<String, Known> = BTreeMap::new();
    for round in 0..ROUNDS / LANES {
        let shards = 1 + random.below(3);
        let sync = ["100ms", "1ms", "never", "always"][random.below(4)];
        let arguments = ["--log-level", "warn", "--sync", sync, UNHURRIED[0], UNHURRIED[1]];
        let server = Server::start_in(data.path(), shards, &arguments);
        let (mut counts, mut threads) = (Vec::new(), Vec::new());
        for name in ROUTES {
            let route = format!("/{name}{}Tree", round / LIVES_EACH);
            let known = routes.remove(&route).unwrap_or_default();
            let count = Arc::new(AtomicUsize::new(0));
            counts.push(Arc::clone(&count));
            let (address, random) = (server.address(), Random::from_seed(random.next()));
            threads.push(std::thread::spawn(move || {
                let known = visit(address, &route, known, random, &count);
                (route, known)
            }));
        }
        let enough = random.below(REFS_MAX);
        eventually("enough to be acknowledged", || {
            let counts = counts.iter().map(|count| count.load(Ordering::Relaxed));
            let is_over = threads.iter().any(|thread| thread.is_finished());
            is_over || counts.clone().sum::<usize>() >= enough && counts.min() > Some(0)
        });
        if random.below(10) == 0 {
            server.stop()
        } else {
            server.kill()
        }
        for thread in threads {
            let (route, known) = thread.join().expect("all are told what is so");
            routes.insert(route, known);
        }
    }
    let server = Server::start_in(data.path(), 2, &[]);
    for (route, known) in &mut routes {
        known.check(&mut Agent::connect(server.address(), route));
    }
    server.stop();
    routes.values().map(|known| known.announced.len()).sum()
}

#[test]
fn what_was_told_of_folders_survives_a_hundred_kills() {
    let mut random = Random::new();
    // A newcomer is told after a while: several servers wait at the same time.
    let lanes: Vec<_> = (0..LANES)
        .map(|lane| (lane, Random::from_seed(random.next())))
        .map(|(lane, random)| std::thread::spawn(move || lives(random, lane)))
        .collect();
    let announced = lanes.into_iter().map(|lane| lane.join().expect("nothing is lost"));
    let announced: usize = announced.sum();
    println!("{announced} refs announced over {ROUNDS} lives of servers");
    assert!(announced > ROUNDS);
}
