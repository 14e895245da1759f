//! Clients of the sync hub of @rljson, over Socket.IO. Each session is a route, named on connecting.
//! One member announces refs, each the root of a tree of one row of its own, and serves that row when
//! it is asked for it, as real clients do; all others are told. The payload is one more member of what
//! is announced, which hubs hand on as it came.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io::Write;

use lockstep::codec::json;
use lockstep::codec::rljson::{Hash, ROW_DEPTH_MAX, hash};
use serde::Deserialize;

use super::socketio::{PONG, Packet, QUERY};
use super::{Incoming, Manner, Protocol, Seat};
use crate::failure::Failure;

/// Roots that can still be asked for. Whoever asks does so at once.
const ROOTS_KEPT: usize = 8192;
/// Refs a second that a hub takes of one client without being told to take more.
pub(super) const RATE_MAX_HZ: f64 = 20.0;

/// A client of a hub.
#[derive(Debug)]
pub(super) struct Rljson {
    manner: Manner,
    roots: RefCell<Roots>,
}

/// What was announced lately, by whom, and as which of its messages.
#[derive(Debug, Default)]
struct Roots {
    known: BTreeMap<Hash, (u32, u32)>,
    order: VecDeque<Hash>,
}

#[derive(Deserialize)]
struct Where {
    #[serde(rename = "_hash")]
    hash: Option<String>,
}

#[derive(Deserialize)]
struct Query {
    #[serde(rename = "where")]
    columns: Option<Where>,
    #[serde(default)]
    hashes: Vec<String>,
}

impl Rljson {
    /// A client with these manners.
    pub(super) fn new(manner: Manner) -> Result<Self, Failure> {
        if manner.senders > 1 {
            return Err(Failure::Setup(
                "what several announce on a route is merged, not relayed: say --senders 1"
                    .to_owned(),
            ));
        }
        Ok(Self { manner, roots: RefCell::default() })
    }

    /// The table that a route's refs name rows of. The route is the same with a slash.
    fn table(&self, session: u32) -> String {
        format!("perf{:x}x{session}Tree", self.manner.nonce)
    }

    /// The row of a root that no other message announces, and its hash.
    fn root(&self, session: u32, number: u32) -> (Hash, String) {
        let meta = format!(
            "\"name\":\".\",\"type\":\"directory\",\"relativePath\":\".\",\"mtime\":{number},\
             \"run\":\"{:x}-{session}\"",
            self.manner.nonce
        );
        let (own, meta) = hashed(&meta);
        debug_assert!(meta.contains(own.as_str()));
        hashed(&format!("\"id\":\".\",\"isParent\":false,\"meta\":{meta}"))
    }

    /// What is announced.
    fn push_ref(&self, seat: Seat, number: u32, root: Hash, payload: &[u8], out: &mut Vec<u8>) {
        let Seat { session, member } = seat;
        let (nonce, seq) = (self.manner.nonce, u64::from(number) + 1);
        // Writing to a vector cannot fail.
        let _ = write!(
            out,
            "[\"/{}\",{{\"o\":\"1767225600000:{nonce:x}-{member}\",\"r\":\"{root}\",\
             \"c\":\"client_{nonce:x}x{session}x{member}\",\"seq\":{seq},\"stamp\":\"",
            self.table(session)
        );
        out.extend_from_slice(payload);
        out.extend_from_slice(b"\"}]");
    }

    /// Answers what a hub asks a client for: the rows it has announced, and nothing else.
    fn answer(&self, id: &str, body: &str, session: u32, reply: &mut Vec<u8>) {
        let name = body.strip_prefix("[\"").and_then(|rest| rest.split_once('"'));
        let (name, rest) = name.unwrap_or_default();
        let query = rest.strip_prefix(',').and_then(|rest| rest.strip_suffix(']'));
        let query = query.and_then(|query| serde_json::from_str::<Query>(query).ok());
        let _ = match (name, query) {
            ("readRows" | "readRowsByHashes", Some(Query { columns, hashes })) => {
                let asked = columns.and_then(|columns| columns.hash).into_iter().chain(hashes);
                let rows: Vec<String> = asked.filter_map(|hash| self.row(&hash, session)).collect();
                let (table, rows) = (self.table(session), rows.join(","));
                let found = format!("{{\"{table}\":{{\"_data\":[{rows}],\"_type\":\"trees\"}}}}");
                write!(reply, "43{id}[{found},null]")
            }
            ("getBlob" | "blobExists" | "getBlobProperties", _) => {
                write!(reply, "43{id}[{{\"message\":\"Blob not found\"}}]")
            }
            _ => write!(
                reply,
                "43{id}[null,{{\"message\":\"Method \\\"{name}\\\" not found on Io instance\"}}]"
            ),
        };
    }

    fn row(&self, hash: &str, session: u32) -> Option<String> {
        let (own, number) = *self.roots.borrow().known.get(&Hash::new(hash)?)?;
        (own == session).then(|| self.root(session, number).1)
    }
}

impl Roots {
    fn note(&mut self, root: Hash, session: u32, number: u32) {
        if self.order.len() == ROOTS_KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(root, (session, number));
        self.order.push_back(root);
    }
}

/// An object of these members with its hash, and the hash.
fn hashed(members: &str) -> (Hash, String) {
    let object = format!("{{{members}}}");
    let read = json::parse(&object, ROW_DEPTH_MAX).expect("it was written as JSON");
    let own = hash(read).expect("it has nothing that cannot be hashed");
    (own, format!("{{{members},\"_hash\":\"{own}\"}}"))
}

/// Bytes of a delivery with a payload of `payload_bytes`.
pub(super) fn delivery_bytes(manner: &Manner) -> usize {
    let manner = Manner { nonce: 0xffff, senders: 1, ..manner.clone() };
    let client = Rljson { manner, roots: RefCell::default() };
    let (seat, mut out) = (Seat { session: 0, member: 0 }, b"42".to_vec());
    let payload = vec![b'x'; client.manner.payload_bytes];
    client.push_ref(seat, 999, client.root(0, 999).0, &payload, &mut out);
    out.len() + ",\"__origin\":\"client_1_k3j9x2ab\"".len()
}

impl Protocol for Rljson {
    fn path(&self, _seat: Seat) -> String {
        format!("{}/{QUERY}", self.manner.prefix)
    }

    /// The server opens.
    fn join(&self, _seat: Seat) -> Vec<Vec<u8>> {
        Vec::new()
    }

    fn is_echoed(&self) -> bool {
        false
    }

    fn payload_bytes(&self) -> usize {
        self.manner.payload_bytes
    }

    fn message(&self, seat: Seat, number: u32, payload: &[u8], out: &mut Vec<u8>) {
        let (root, _) = self.root(seat.session, number);
        self.roots.borrow_mut().note(root, seat.session, number);
        out.extend_from_slice(b"42");
        self.push_ref(seat, number, root, payload, out);
    }

    fn read<'a>(&self, seat: Seat, text: &'a [u8], reply: &mut Vec<u8>) -> Incoming<'a> {
        match Packet::read(text) {
            Packet::Open => {
                let _ = write!(reply, "40{{\"route\":\"/{}\"}}", self.table(seat.session));
                Incoming::Notice { order: None }
            }
            Packet::Ping => {
                reply.extend_from_slice(PONG);
                Incoming::Tick
            }
            Packet::Connected => Incoming::Joined { order: None },
            Packet::Event { body } if body.starts_with(b"[\"/") => on_route(body),
            Packet::Event { body } => match std::str::from_utf8(body) {
                Ok(body) if body.starts_with(|first: char| first.is_ascii_digit()) => {
                    let end = body.find('[').unwrap_or(body.len());
                    let (id, body) = body.split_at(end);
                    self.answer(id, body, seat.session, reply);
                    Incoming::Notice { order: None }
                }
                _ => Incoming::Notice { order: None },
            },
            Packet::Ack { .. } => Incoming::Notice { order: None },
            Packet::Ended => Incoming::Refused { reason: text },
            Packet::Unknown => Incoming::Unknown,
        }
    }
}

/// What is said on a route: refs are deliveries; what goes by a name derived from it is not.
fn on_route(body: &[u8]) -> Incoming<'_> {
    let name = body[2..].split(|byte| *byte == b'"').next().unwrap_or_default();
    // One that was taken is not acknowledged by receivers here, and in the end told so, with how many
    // there were.
    let says = |what: &[u8]| memchr::memmem::find(body, what).is_some();
    if name.ends_with(b":ack") && says(b"\"ok\":false") && says(b"\"totalClients\":0") {
        return Incoming::Refused { reason: b"a ref was not taken: too many a second?" };
    }
    if name.contains(&b':') {
        return Incoming::Notice { order: None };
    }
    Incoming::Deliveries { bytes: body }
}

#[cfg(test)]
mod tests {
    use lockstep::codec::rljson::{Row, verify};
    use serde_json::{Value, json};

    use super::*;
    use crate::ledger::Stamp;

    const SEAT: Seat = Seat { session: 3, member: 0 };
    const ROUTE: &str = "/perf9x3Tree";

    fn client() -> Rljson {
        Rljson::new(super::super::manner()).unwrap()
    }

    fn reply(client: &Rljson, text: &str) -> (Incoming<'static>, String) {
        let mut reply = Vec::new();
        let text = text.to_owned().leak();
        let incoming = client.read(SEAT, text.as_bytes(), &mut reply);
        (incoming, String::from_utf8(reply).unwrap())
    }

    fn said(client: &Rljson, number: u32) -> (Value, Stamp) {
        let stamp = Stamp { sender: 5, number, due_ns: 7 };
        let (mut payload, mut text) = (Vec::new(), Vec::new());
        stamp.write(64, &mut payload);
        client.message(SEAT, number, &payload, &mut text);
        (serde_json::from_slice(text.strip_prefix(b"42").unwrap()).unwrap(), stamp)
    }

    #[test]
    fn a_client_names_its_route_and_is_a_member_when_it_is_connected() {
        let client = client();
        assert_eq!(client.path(SEAT), "/prefix/?EIO=4&transport=websocket");
        let (notice, connect) = reply(&client, "0{\"sid\":\"x\"}");
        assert_eq!(notice, Incoming::Notice { order: None });
        assert_eq!(connect, format!("40{{\"route\":\"{ROUTE}\"}}"));
        assert_eq!(reply(&client, "40{\"sid\":\"y\"}").0, Incoming::Joined { order: None });
        assert_eq!(reply(&client, "2"), (Incoming::Tick, "3".to_owned()));
        let refused = "44{\"message\":\"unauthorized\"}";
        assert_eq!(reply(&client, refused).0, Incoming::Refused { reason: refused.as_bytes() });
    }

    #[test]
    fn a_ref_is_found_again_with_what_a_hub_adds_and_nothing_derived_from_it_counts() {
        let client = client();
        let (message, stamp) = said(&client, 6);
        assert_eq!((&message[0], &message[1]["seq"]), (&json!(ROUTE), &json!(7)));
        let mut payload = message[1].clone();
        payload["__origin"] = json!("client_1_abc");
        let text = format!("42[\"{ROUTE}\",{payload}]");
        let Incoming::Deliveries { bytes } = reply(&client, &text).0 else { panic!("{text}") };
        assert_eq!(Stamp::find(bytes).collect::<Vec<_>>(), [stamp]);
        let notice = Incoming::Notice { order: None };
        let derived = format!("42[\"{ROUTE}:bootstrap\",{payload}]");
        assert_eq!(reply(&client, &derived), (notice, String::new()));
        let ack = |ok: bool, total: u32| {
            let counts = format!("\"ok\":{ok},\"receivedBy\":0,\"totalClients\":{total}");
            format!("42[\"{ROUTE}:ack\",{{\"r\":\"x\",{counts}}}]")
        };
        for (ok, total) in [(true, 0), (true, 7), (false, 7)] {
            assert_eq!(reply(&client, &ack(ok, total)).0, notice);
        }
        assert!(matches!(reply(&client, &ack(false, 0)).0, Incoming::Refused { .. }));
    }

    #[test]
    fn the_row_of_a_root_is_served_and_is_one_of_a_tree() {
        let client = client();
        let roots: Vec<String> =
            [0, 1].map(|n| said(&client, n).0[1]["r"].as_str().unwrap().to_owned()).to_vec();
        assert_ne!(roots[0], roots[1]);
        for (ask, count) in [
            (
                format!(
                    "\"readRows\",{{\"table\":\"t\",\"where\":{{\"_hash\":\"{}\"}}}}",
                    roots[1]
                ),
                1,
            ),
            (format!("\"readRowsByHashes\",{{\"table\":\"t\",\"hashes\":{}}}", json!(roots)), 2),
            ("\"readRows\",{\"table\":\"t\",\"where\":{\"_hash\":\"x\"}}".to_owned(), 0),
        ] {
            let (incoming, answer) = reply(&client, &format!("4217[{ask}]"));
            assert_eq!(incoming, Incoming::Notice { order: None });
            let answer: Value = serde_json::from_str(answer.strip_prefix("4317").unwrap()).unwrap();
            assert!(answer[1].is_null());
            let rows = answer[0]["perf9x3Tree"]["_data"].as_array().unwrap();
            assert_eq!(rows.len(), count, "{ask}");
            for row in rows {
                let text = row.to_string();
                let own = verify(json::parse(&text, ROW_DEPTH_MAX).unwrap()).unwrap();
                assert!(roots.iter().any(|root| root == own.as_str()));
                assert!(Row::read(own, &text).unwrap().is_root());
            }
        }
        let other = Seat { session: 4, member: 0 };
        let ask = format!("420[\"readRows\",{{\"where\":{{\"_hash\":\"{}\"}}}}]", roots[0]);
        let mut none = Vec::new();
        client.read(other, ask.as_bytes(), &mut none);
        assert!(String::from_utf8(none).unwrap().contains("\"_data\":[]"), "it is another's");
    }

    #[test]
    fn everything_else_that_is_asked_for_is_refused() {
        let client = client();
        let blob = reply(&client, "425[\"getBlob\",\"x\",null]").1;
        assert_eq!(blob, "435[{\"message\":\"Blob not found\"}]");
        let other = reply(&client, "426[\"rawTableCfgs\"]").1;
        let message = "Method \"rawTableCfgs\" not found on Io instance";
        assert_eq!(other, format!("436{}", json!([null, { "message": message }])));
    }

    #[test]
    fn several_senders_are_refused() {
        assert!(Rljson::new(Manner { senders: 2, ..super::super::manner() }).is_err());
    }

    #[test]
    fn no_more_roots_are_kept_than_can_be_asked_for() {
        let client = client();
        (0..ROOTS_KEPT as u32 + 10).for_each(|number| drop(said(&client, number)));
        let roots = client.roots.borrow();
        assert_eq!((roots.known.len(), roots.order.len()), (ROOTS_KEPT, ROOTS_KEPT));
    }

    #[test]
    fn the_nominal_size_is_that_of_a_ref_as_it_arrives() {
        let client = Rljson::new(Manner { nonce: 0xffff, ..super::super::manner() }).unwrap();
        let mut heard = Vec::new();
        client.message(Seat { session: 0, member: 0 }, 999, &[b'p'; 64], &mut heard);
        let text = String::from_utf8(heard).unwrap();
        let text = text.replace("}]", ",\"__origin\":\"client_1_k3j9x2ab\"}]");
        assert_eq!(delivery_bytes(&client.manner), text.len());
    }
}
