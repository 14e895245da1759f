//! Does what recorded clients did, and compares what they are told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};

use super::Difference;
use super::compare::{Answer, compare, rows};
use super::recording::{Holdings, Line, Packet, Recording, Step};
use super::rules::{Due, Rules};
use crate::codec::rljson::{EMPTY_ROOT, Hash, Node, Row, blob_id};
use crate::protocol::rljson::tests::forest::{Contents, Forest};
use crate::protocol::rljson::tests::harness::{Name, Request, Shard};
use crate::protocol::rljson::tests::rpc::{ROUTE, by_hash, shard, table_of};

/// A ref that crossed another, by the line that announced it, and the tree that all are told of
/// instead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Crossing {
    pub(super) line: u64,
    /// Path, content, and time of writing in milliseconds.
    pub(super) files: &'static [(&'static str, &'static str, i64)],
}

/// A recording that is done again.
struct Replay {
    shard: Shard,
    now_ms: u64,
    names: BTreeMap<String, Name>,
    holdings: BTreeMap<String, Holdings>,
    rules: Rules,
    /// Events that a client was told and that were not compared yet.
    told: BTreeMap<String, VecDeque<(String, Value)>>,
    /// Acknowledgements and bootstraps that were not compared with the rules yet.
    fresh: BTreeMap<String, Vec<(String, Value)>>,
    /// Requests that were answered, until the answer was compared.
    asked: BTreeMap<(String, u64), ((String, Value), Answer)>,
    /// From whom our hub has what it asked for.
    fetched: BTreeMap<String, String>,
    /// What was announced, in order.
    announced: Vec<String>,
    /// What was told instead of what was announced, and on which line that was.
    instead: BTreeMap<String, (String, u64)>,
    /// Of what was announced, what only its sender was answered, as it brought nothing new.
    stale: BTreeSet<String>,
    differences: BTreeSet<Difference>,
}

/// Does a recording again; it must differ from the original in just these ways.
pub(super) fn replay(recording: &str, differences: &[Difference], crossings: &[Crossing]) {
    let Recording { lines, holdings } = Recording::read(recording);
    let mut replay = Replay {
        shard: shard(),
        now_ms: 0,
        names: BTreeMap::new(),
        holdings,
        rules: Rules::default(),
        told: BTreeMap::new(),
        fresh: BTreeMap::new(),
        asked: BTreeMap::new(),
        fetched: BTreeMap::new(),
        announced: Vec::new(),
        instead: BTreeMap::new(),
        stale: BTreeSet::new(),
        differences: BTreeSet::new(),
    };
    for line in &lines {
        replay.pass(line.at_ms);
        replay.step(line);
    }
    replay.finish(crossings);
    let expected: BTreeSet<Difference> = differences.iter().copied().collect();
    let unlike = replay.differences.symmetric_difference(&expected);
    let unlike: Vec<String> = unlike.map(|difference| difference.describe()).collect();
    assert_eq!(unlike, [""; 0], "expected {expected:?}, and saw {:?}", replay.differences);
}

impl Replay {
    fn step(&mut self, line: &Line) {
        let client = &*line.client;
        match &line.step {
            Step::Connects => {
                self.names.insert(client.to_owned(), self.shard.connect());
                self.rules.connect(client, self.now_ms);
            }
            // What it answered it answers when our hub asks for it.
            Step::Says(Packet { is_answer: true, .. }) => {}
            Step::Says(packet) => match packet.ack {
                Some(ack) => self.ask(client, ack, packet),
                None => self.say(client, packet, line.number),
            },
            Step::Hears(packet) => match (packet.is_answer, packet.ack) {
                (true, Some(ack)) => self.compare_answer(client, ack, Some(packet)),
                (false, None) => self.compare_event(client, packet, line.number),
                _ => self.compare_request(client, packet, line.number),
            },
            Step::Ends => {
                let name = self.names.remove(client).expect("is there");
                self.shard.end(name);
                let due = self.rules.leave(client, self.now_ms);
                self.expect(due);
            }
        }
    }

    /// Time passes, millisecond by millisecond.
    fn pass(&mut self, until_ms: u64) {
        while self.now_ms < until_ms {
            self.now_ms += 1;
            self.shard.pass(1);
            self.serve(None);
            let due = self.rules.pass(self.now_ms);
            self.expect(due);
        }
    }

    /// A client asks for something: it is answered at once, since whoever is asked answers at once.
    fn ask(&mut self, client: &str, ack: u64, packet: &Packet) {
        let name = self.names[client];
        let question = packet.event();
        self.shard.send(name, &format!("2{ack}{}", packet.body), &[]);
        let key = question.1["where"]["_hash"].as_str().or(question.1.as_str()).map(str::to_owned);
        self.serve(key.as_deref().map(|key| (client, key)));
        let answer = self.shard.raw_answer(name, ack);
        let answer = answer.unwrap_or_else(|| panic!("{question:?} is not answered"));
        if question.0 == "readRows" && self.own(client).add_row(&answer.0).is_some() {
            self.rules.read(client, &key.unwrap_or_default());
        } else if let ("getBlob", [bytes]) = (&*question.0, &answer.1[..]) {
            self.own(client).add_blob(&answer.0, bytes);
        }
        self.asked.insert((client.to_owned(), ack), (question, answer));
        self.expect(Vec::new());
    }

    /// A client says something that needs no answer.
    fn say(&mut self, client: &str, packet: &Packet, line: u64) {
        let (event, mut payload) = packet.event();
        let reference = payload["r"].as_str().unwrap_or_default().to_owned();
        if event == "/sharedTree:ack:client"
            && let Some((told, _)) = self.instead.get(&reference)
        {
            // It would have heard of this one.
            payload["r"] = json!(told);
        }
        self.shard.say(self.names[client], &event, payload.clone());
        self.serve(None);
        let due = match &*event {
            ROUTE => self.announced(client, &reference, line),
            "/sharedTree:ack:client" => {
                let told = payload["r"].as_str().unwrap_or_default();
                self.rules.hear(client, told, self.now_ms)
            }
            "/sharedTree:gapfill:req" => Vec::new(),
            other => panic!("{other} was not recorded"),
        };
        self.expect(due);
    }

    /// What follows from a ref: if it crossed one, all are told another one instead, or its sender alone
    /// if it brings nothing new.
    fn announced(&mut self, client: &str, reference: &str, line: u64) -> Vec<Due> {
        self.collect();
        self.announced.push(reference.to_owned());
        let own = self.told.entry(client.to_owned()).or_default();
        let told = match own.back() {
            Some((event, payload)) if event == ROUTE => payload.clone(),
            _ => return self.rules.announce(client, reference, reference, self.now_ms),
        };
        own.pop_back();
        let merged = told["r"].as_str().expect("a ref");
        assert_eq!(told, json!({ "o": "__server__", "r": merged, "__origin": "__server__" }));
        let is_news = self.rules.latest.as_deref() != Some(merged);
        for other in self.names.keys().filter(|other| *other != client) {
            let last = self.told.get(other).and_then(VecDeque::back);
            let is_told = last == Some(&(ROUTE.to_owned(), told.clone()));
            assert_eq!(is_told, is_news, "line {line}: {other}");
        }
        self.differences.insert(Difference::Crossings);
        if !is_news {
            self.stale.insert(reference.to_owned());
        }
        self.instead.insert(reference.to_owned(), (merged.to_owned(), line));
        self.rules.announce(client, reference, merged, self.now_ms)
    }

    /// Clients answer what our hub asks, while one of them waits for something itself.
    fn serve(&mut self, waits: Option<(&str, &str)>) {
        loop {
            let mut requests = Vec::new();
            for (client, name) in &self.names {
                let asked = self.shard.asked(*name).into_iter();
                requests.extend(asked.map(|request| (client.clone(), request)));
            }
            if requests.is_empty() {
                return;
            }
            for (client, request) in requests {
                self.serve_one(&client, &request, waits);
            }
        }
    }

    fn serve_one(&mut self, client: &str, request: &Request, waits: Option<(&str, &str)>) {
        let (name, ack) = (self.names[client], request.ack);
        let wanted = match &*request.name {
            "readRows" => &request.args[0]["where"]["_hash"],
            "getBlob" => &request.args[0],
            other => panic!("{client} is asked for {other}"),
        };
        let key = wanted.as_str().expect("a hash");
        assert_ne!(waits, Some((client, key)), "who asks is asked");
        let holdings = &self.holdings[client];
        let has = if request.name == "getBlob" {
            assert_eq!(request.args[1]["range"]["start"], 0, "all are small");
            match holdings.blobs.get(key) {
                Some((body, bytes)) => self.shard.send(name, &format!("61-{ack}{body}"), &[bytes]),
                None => self.shard.reply(name, ack, &[json!({})]),
            }
            holdings.blobs.contains_key(key)
        } else {
            assert_eq!(request.args, [by_hash(&Hash::new(key).expect("a hash"))]);
            let body = holdings.rows.get(key);
            let none = || json!([table_of(&[]), null]).to_string();
            let body = body.cloned().unwrap_or_else(none);
            self.shard.send(name, &format!("3{ack}{body}"), &[]);
            holdings.rows.contains_key(key)
        };
        if has {
            if self.fetched.contains_key(key) {
                // Before a bootstrap it is asked whether it has the root.
                assert_eq!(self.rules.latest.as_deref(), Some(key), "{key} is fetched twice");
                self.rules.read(client, key);
            } else {
                self.fetched.insert(key.to_owned(), client.to_owned());
            }
        }
    }

    /// What clients were told since the last time.
    fn collect(&mut self) {
        for (client, name) in &self.names {
            for (event, payload) in self.shard.events(*name) {
                let is_due = matches!(&*event, "/sharedTree:ack" | "/sharedTree:bootstrap");
                if is_due {
                    let fresh = self.fresh.entry(client.clone()).or_default();
                    fresh.push((event.clone(), payload.clone()));
                }
                self.told.entry(client.clone()).or_default().push_back((event, payload));
            }
        }
    }

    /// Of acknowledgements and bootstraps clients were told these since the last time, and no more.
    fn expect(&mut self, due: Vec<Due>) {
        self.collect();
        let mut expected: BTreeMap<String, Vec<(String, Value)>> = BTreeMap::new();
        for (client, event, payload) in due {
            expected.entry(client).or_default().push((event.to_owned(), payload));
        }
        assert_eq!(std::mem::take(&mut self.fresh), expected, "{} ms", self.now_ms);
    }

    fn own(&mut self, client: &str) -> &mut Holdings {
        self.holdings.entry(client.to_owned()).or_default()
    }

    fn compare_answer(&mut self, client: &str, ack: u64, recorded: Option<&Packet>) {
        let asked = self.asked.remove(&(client.to_owned(), ack));
        let (question, answer) = asked.expect("was asked");
        let own = &self.holdings[client];
        self.differences.extend(compare(&question, own, recorded, &answer));
    }

    /// What a client was asked for then our hub has by now, from whoever has it.
    fn compare_request(&mut self, client: &str, packet: &Packet, line: u64) {
        self.differences.insert(Difference::Cascade);
        let (name, argument) = packet.event();
        let key = match &*name {
            "rawTableCfgs" => return,
            "readRows" => argument["where"]["_hash"].as_str(),
            _ => argument.as_str(),
        };
        let key = key.expect("a hash");
        let has = self.fetched.contains_key(key) || key == EMPTY_ROOT.as_str();
        assert!(has, "line {line}: {client} is asked for {key}, which our hub has not got");
    }

    fn compare_event(&mut self, client: &str, packet: &Packet, line: u64) {
        let (event, mut recorded) = packet.event();
        if event == "/sharedTree:bootstrap" {
            assert_eq!(recorded["o"], "__server__", "line {line}");
            let latest = recorded["r"].as_str().expect("a ref");
            let latest = self.instead.get(latest).map_or(latest, |(merged, _)| merged);
            assert_eq!(self.rules.latest.as_deref(), Some(latest), "line {line}");
            self.differences.insert(Difference::Bootstraps);
            return;
        }
        if event == ROUTE && recorded["r"].as_str().is_some_and(|told| self.stale.contains(told)) {
            return;
        }
        let told = self.told.entry(client.to_owned()).or_default();
        let place = told.iter().position(|(own, _)| *own == event);
        let place = place.unwrap_or_else(|| panic!("line {line}: {client} is told no {event}"));
        let (_, mut payload) = told.remove(place).expect("is there");
        match &*event {
            ROUTE => {
                let reference = recorded["r"].as_str().expect("a ref");
                if let Some((merged, _)) = self.instead.get(reference) {
                    recorded = json!({ "o": "__server__", "r": merged, "__origin": "__server__" });
                } else {
                    let origin = payload["__origin"].as_str().expect("who it is from");
                    assert!(origin.starts_with("client_"), "line {line}: {origin}");
                    payload["__origin"] = recorded["__origin"].clone();
                }
            }
            "/sharedTree:gapfill:res" => {
                recorded["refs"] = json!([]);
                self.differences.insert(Difference::GapFill);
            }
            _ => {}
        }
        assert_eq!(payload, recorded, "line {line}: {client}");
    }

    /// Everybody is gone.
    fn finish(&mut self, crossings: &[Crossing]) {
        assert_eq!(self.names, BTreeMap::new());
        assert_eq!(self.shard.counters.rljson_rubbish.get(), 0, "what clients answer is in order");
        let unanswered: Vec<(String, u64)> = self.asked.keys().cloned().collect();
        unanswered.iter().for_each(|(client, ack)| self.compare_answer(client, *ack, None));
        for (event, payload) in self.told.values().flatten() {
            self.differences.insert(match &**event {
                "/sharedTree:ack" => Difference::MoreAcks,
                "/sharedTree:bootstrap" => Difference::Bootstraps,
                _ => panic!("nobody was told {event} {payload}"),
            });
        }
        for (client, holdings) in &self.holdings {
            for key in holdings.gave.iter().filter(|key| **key != EMPTY_ROOT.as_str()) {
                assert_eq!(self.fetched.get(key), Some(client), "{key}");
            }
        }
        let told = self.instead.values().map(|(merged, _)| merged);
        let roots: BTreeSet<Hash> =
            self.announced.iter().chain(told).map(|root| Hash::new(root).unwrap()).collect();
        let forest = self.read_all(&roots);
        let mut merged: Vec<(u64, Contents)> = Vec::new();
        for (root, line) in self.instead.values() {
            let mut contents = forest.contents(Hash::new(root).unwrap());
            contents.retain(|_, what| what.is_some());
            merged.push((*line, contents));
        }
        merged.sort();
        let expected: Vec<(u64, Contents)> = crossings.iter().map(Crossing::contents).collect();
        assert_eq!(merged, expected);
    }

    /// Reads trees and blobs as one who comes when all others have left; they are as those had them.
    fn read_all(&mut self, roots: &BTreeSet<Hash>) -> Forest {
        let late = self.shard.connect();
        let mut forest = Forest::default();
        let mut ahead: Vec<Hash> = roots.iter().copied().collect();
        while let Some(hash) = ahead.pop() {
            let ack = self.shard.begin(late, "readRows", &[by_hash(&hash)]);
            let (body, _) = self.shard.raw_answer(late, ack).expect("is answered");
            let [row] = rows(&body)[..] else { panic!("{hash}: {body}") };
            let known = self.holdings.values().filter_map(|own| own.rows.get(hash.as_str()));
            known.for_each(|known| assert_eq!(rows(known), [row]));
            forest.take(&[(hash, row.to_owned())]);
            let parsed = Row::read(hash, row).expect("a row of a tree");
            ahead.extend(parsed.children());
            if let Node::File { blob: Some(blob), .. } = parsed.node {
                let ack = self.shard.begin(late, "getBlob", &[json!(blob.as_str()), Value::Null]);
                let (_, bytes) = self.shard.raw_answer(late, ack).expect("is answered");
                assert_eq!(bytes.iter().map(|bytes| blob_id(bytes)).collect::<Vec<_>>(), [blob]);
            }
        }
        forest
    }
}

impl Crossing {
    fn contents(&self) -> (u64, Contents) {
        let files = self.files.iter().map(|(path, content, mtime_ms)| {
            ((*path).to_owned(), Some((blob_id(content.as_bytes()), mtime_ms * 1_000)))
        });
        (self.line, files.collect())
    }
}
