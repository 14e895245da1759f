//! A folder agent and its connection.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::line::Line;
use super::super::socketio::Socket;
use super::super::stage::Stage;
use super::fetch::{Asked, Fetch};
use super::ledger::Ledger;
use crate::codec::rljson::Hash;
use crate::protocol::rljson::tests::agent::{Agent, PATHS};
use crate::protocol::rljson::tests::forest::Forest;
use crate::protocol::rljson::tests::serve;
use crate::protocol::socketio::said::Said;

const PATH: &str = "/rljson/socket.io/";
/// How long a client may answer nothing but pings, in milliseconds.
const STALL_MS: u64 = 8_000;

pub(super) struct Client {
    pub(super) route: u64,
    pub(super) agent: Agent,
    name: u64,
    /// Which run of it that is: it was started again on its folder.
    run: u64,
    /// What it serves.
    forest: Forest,
    /// Numbers what it announces; and the last of that.
    said: u64,
    last: Option<Hash>,
    /// The last of that, if it was lost with its connection: nobody may have heard it.
    unheard: Option<Hash>,
    /// The last announcement of each run of a client that it was told of. Those of another run may come
    /// before or after: each numbers its own (specs: rljson §4).
    told: BTreeMap<String, u64>,
    /// What is to be fetched next, also on the next connection.
    next: Option<Hash>,
    connection: Option<Connection>,
}

/// What is over when the connection is.
struct Connection {
    socket: Socket,
    /// It was let in.
    is_in: bool,
    /// What it has announced, by number, and what of that was not acknowledged.
    announced: BTreeSet<u64>,
    open: BTreeMap<Hash, u32>,
    /// The root that the hub knows that it has, unless it has said something since.
    has: Option<Hash>,
    /// It was told that something of it was not taken up in time: that may be still.
    is_unsure: bool,
    asked: BTreeMap<u64, Asked>,
    fetch: Option<Fetch>,
    /// Requests of the hub that it has not answered.
    requests: Vec<(u64, String, Vec<Value>)>,
    stalls_until_ms: u64,
}

impl Client {
    /// One with an empty folder.
    pub(super) fn new(name: u64, route: u64) -> Self {
        Self {
            route,
            agent: Agent::default(),
            name,
            run: 1,
            forest: Forest::default(),
            said: 0,
            last: None,
            unheard: None,
            told: BTreeMap::new(),
            next: None,
            connection: None,
        }
    }

    fn table(&self) -> String {
        format!("{}Tree", ["a", "b"][self.route as usize])
    }

    fn event(&self) -> String {
        format!("/{}", self.table())
    }

    /// Names its run.
    fn origin(&self) -> String {
        format!("{}.{}", self.name, self.run)
    }

    /// Connects, if it is not there; perhaps as one that was started again.
    pub(super) fn connect(&mut self, stage: &mut Stage) {
        if self.connection.is_some() {
            return;
        }
        if stage.random.one_in(4) {
            self.run += 1;
            (self.agent.known, self.agent.heard, self.next) = (None, None, None);
        }
        let auth = json!({ "route": self.event() }).to_string();
        self.connection = Some(Connection {
            socket: Socket::dial(stage, PATH, &auth),
            is_in: false,
            announced: BTreeSet::new(),
            open: BTreeMap::new(),
            has: None,
            is_unsure: false,
            asked: BTreeMap::new(),
            fetch: None,
            requests: Vec::new(),
            stalls_until_ms: 0,
        });
    }

    pub(super) fn disconnect(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        self.unheard = self.last.filter(|last| connection.open.contains_key(last)).or(self.unheard);
        self.next = self.next.or_else(|| connection.fetch.map(|fetch| fetch.root));
    }

    pub(super) fn lines(&mut self) -> impl Iterator<Item = &mut Line> {
        self.connection.iter_mut().flat_map(|connection| connection.socket.wire.lines())
    }

    pub(super) fn is_there(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.socket.wire.is_well())
    }

    /// Answers nothing for a while.
    pub(super) fn stall(&mut self, stage: &mut Stage) {
        if let Some(connection) = &mut self.connection {
            let now_ms = stage.world.now.at.as_millis();
            connection.stalls_until_ms = now_ms + stage.random.below(STALL_MS);
        }
    }

    /// A user changes a file, or deletes it.
    pub(super) fn edit(&mut self, ledger: &mut Ledger, stage: &mut Stage) {
        let path = PATHS[stage.random.below(PATHS.len() as u64) as usize];
        let later_ms = stage.random.below(20) as u32;
        let file = (!stage.random.one_in(4)).then(|| ledger.files.make(later_ms));
        ledger.throw_away(self.agent.edit(path, file));
    }

    /// Announces its folder, if that has changed.
    pub(super) fn announce(&mut self, ledger: &mut Ledger, stage: &Stage) {
        let (event, origin) = (self.event(), self.origin());
        let Some(connection) = &mut self.connection else { return };
        if connection.fetch.is_some() || self.next.is_some() {
            return;
        }
        let root = self.forest.plant(&self.agent.folder);
        if self.agent.announce(root).is_none() {
            return;
        }
        ledger.know(&self.forest);
        self.said += 1;
        self.last = Some(root);
        stage.trace(|| format!("rljson {}: announces {root} as {}", self.name, self.said));
        let payload = json!({ "o": origin, "r": root.as_str(), "c": self.name, "seq": self.said });
        connection.socket.emit(&event, &[payload]);
        connection.announced.insert(self.said);
        *connection.open.entry(root).or_default() += 1;
        connection.has = None;
    }

    /// Reads, and does what follows from it.
    pub(super) fn listen(&mut self, bytes: usize, ledger: &mut Ledger, stage: &mut Stage) {
        let Some(connection) = &mut self.connection else { return };
        for said in connection.socket.hear(bytes, stage) {
            stage.trace(|| format!("rljson {}: {said:?}", self.name));
            self.hear(said, ledger, stage);
        }
        self.serve(bytes == usize::MAX, stage);
        self.fetch(ledger, stage);
        if self.connection.as_ref().is_some_and(|it| it.socket.wire.is_over()) {
            self.disconnect();
        }
    }

    fn hear(&mut self, said: Said, ledger: &mut Ledger, stage: &mut Stage) {
        let (event, table) = (self.event(), self.table());
        let Some(connection) = &mut self.connection else { return };
        match said {
            Said::Connected => connection.is_in = true,
            Said::Event { name, args, ack: Some(ack) } => {
                connection.requests.push((ack, name, args));
            }
            Said::Event { name, args, ack: None } => {
                let root = Hash::new(args[0]["r"].as_str().expect("a ref")).expect("a root");
                match name.strip_prefix(&event).expect("it is on no other route") {
                    ":ack" => self.on_ack(root, &args[0], ledger),
                    ":bootstrap" => self.on_bootstrap(root, ledger, stage),
                    "" => self.on_ref(root, &args[0], ledger, stage),
                    _ => panic!("{name} is never said"),
                }
            }
            Said::Answer { ack, body, attachments } => {
                let asked = connection.asked.remove(&ack).expect("answers come once");
                let fetch = connection.fetch.as_mut().expect("it is still reading");
                match asked {
                    Asked::Row(hash) => {
                        let more = fetch.take_row(&table, hash, &body, &mut connection.socket);
                        connection.asked.extend(more);
                        stage.met.rljson[1] += 1;
                        if hash == fetch.root && connection.open.is_empty() {
                            connection.has = Some(hash);
                        }
                    }
                    Asked::Blob(blob) => fetch.take_blob(blob, &body, attachments),
                }
            }
            _ => panic!("a client does not expect {said:?}"),
        }
    }

    fn on_ack(&mut self, root: Hash, ack: &Value, ledger: &mut Ledger) {
        let Some(connection) = &mut self.connection else { return };
        if let Some(open) = connection.open.get_mut(&root) {
            *open -= 1;
        }
        connection.open.retain(|_, open| *open > 0);
        connection.is_unsure |= ack["ok"] != true;
        // Of others it is true that newer ones came in their place. One that was announced twice is
        // acknowledged twice, and nobody knows which comes first.
        if ack["ok"] == true && self.last == Some(root) && !connection.open.contains_key(&root) {
            ledger.tell(self.route, root);
            // What it reads meanwhile it puts in place over that.
            let is_in_place = self.agent.known == Some(root) && connection.fetch.is_none();
            if connection.open.is_empty() && is_in_place {
                connection.has = Some(root);
            }
        }
    }

    fn on_bootstrap(&mut self, root: Hash, ledger: &mut Ledger, stage: &mut Stage) {
        let connection = self.connection.as_ref().expect("it hears");
        assert!(connection.is_unsure || connection.has != Some(root), "it has {root}");
        stage.met.rljson[2] += 1;
        self.learn(root, ledger);
    }

    fn on_ref(&mut self, root: Hash, payload: &Value, ledger: &mut Ledger, stage: &mut Stage) {
        let (heard, origin) = (format!("{}:ack:client", self.event()), self.origin());
        let connection = self.connection.as_mut().expect("it hears");
        let run = payload["o"].as_str().expect("it names its run");
        if let Some(number) = payload["seq"].as_u64() {
            let is_own = run == origin && connection.announced.contains(&number);
            assert!(!is_own, "{root} is its own");
            let before = self.told.insert(run.to_owned(), number);
            assert!(before < Some(number), "told twice or out of order: {payload}");
            stage.met.rljson[3] += 1;
        } else {
            stage.met.rljson[4] += 1;
        }
        if run == origin {
            // As real ones do (specs: rljson §4).
            return;
        }
        connection.socket.emit(&heard, &[json!({ "r": root.as_str() })]);
        self.learn(root, ledger);
    }

    fn learn(&mut self, root: Hash, ledger: &mut Ledger) {
        ledger.tell(self.route, root);
        if self.agent.hear(root) {
            self.next = Some(root);
        }
    }

    /// Answers what it is asked, unless it stalls.
    fn serve(&mut self, all: bool, stage: &Stage) {
        let Some(connection) = &mut self.connection else { return };
        if !all && stage.world.now.at.as_millis() < connection.stalls_until_ms {
            return;
        }
        for (ack, name, args) in connection.requests.drain(..) {
            match name.as_str() {
                "getBlob" => {
                    let (values, part) = serve::blob(&args, &self.forest);
                    connection.socket.answer(ack, &values, part.as_deref());
                }
                // Half of them know what is new.
                "readRowsByHashes" if self.name.is_multiple_of(2) => {}
                "readRows" | "readRowsByHashes" => {
                    connection.socket.answer(ack, &serve::rows(&args[0], &self.forest), None);
                }
                _ => panic!("clients are not asked for {name}"),
            }
        }
    }

    /// Reads on in what it was told of, and puts it in place when all of it is there.
    fn fetch(&mut self, ledger: &mut Ledger, stage: &Stage) {
        let table = self.table();
        let Some(connection) = &mut self.connection else { return };
        if let Some(read) = connection.fetch.as_mut().and_then(Fetch::take) {
            let root = connection.fetch.take().map(|fetch| fetch.root).expect("it was read");
            ledger.know(&read);
            self.forest.rows.extend(read.rows);
            self.forest.blobs.extend(read.blobs);
            stage.trace(|| format!("rljson {}: puts {root} in place", self.name));
            self.agent.apply(root, &ledger.contents(root), &ledger.files);
        }
        if connection.fetch.is_none()
            && let Some(root) = self.next.take()
        {
            let mut fetch = Fetch::begin(root);
            connection.asked.extend([fetch.ask_row(&table, root, &mut connection.socket)]);
            connection.fetch = Some(fetch);
        }
    }

    /// Everything was said and told: it has the latest tree.
    pub(super) fn check(&self, latest: Hash, ledger: &Ledger) {
        let Some(connection) = &self.connection else { return };
        let (name, asked) = (self.name, &connection.asked);
        assert!(asked.is_empty(), "{name} was not answered: {asked:?}");
        let open = &connection.open;
        assert!(open.is_empty(), "{open:?} of {name} were not acknowledged");
        // Whoever put an older tree over what it had announced ignores that for ever.
        let known = self.agent.tree();
        let is_deaf = self.agent.heard == Some(latest) && known != latest;
        // Nor is who brought the latest told of it, though it has changed its folder since: it would put
        // that over its change.
        let is_ahead = self.unheard == Some(known) && self.forest.row(&latest).is_some();
        let is_same = is_deaf || is_ahead || ledger.contents(known) == ledger.contents(latest);
        assert!(is_same, "{name} has {known}, and {latest} is the latest");
    }
}
