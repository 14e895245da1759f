mod bases;
mod order;
mod stored;
mod told;

use serde_json::{Value, json};

use crate::codec::json;
use crate::codec::rljson::{Hash, blob_id};
use crate::protocol::rljson::merge::{Base, Trust};
use crate::protocol::rljson::route::*;
use crate::protocol::socketio::Socket;
use crate::session::{Instant, MemberId};

pub(super) fn socket(member: u32) -> Socket {
    Socket { member: MemberId(member), namespace: 0 }
}

pub(super) fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn root(number: u32) -> Hash {
    blob_id(&number.to_le_bytes())
}

pub(super) fn payload(value: Value) -> Payload {
    Payload::read(json::parse(&value.to_string(), 32).unwrap()).unwrap()
}

fn route() -> Route {
    Route::new(PACE)
}

/// Announces a root, and merges it if that is asked for.
fn announce(route: &mut Route, from: u32, origin: &str, number: u32, ms: u64) -> Option<Work> {
    let payload = payload(json!({ "o": origin, "r": root(number).as_str() }));
    match route.announce(socket(from), payload, at(ms)) {
        Announced::Queued => Some(route.next_work().unwrap()),
        Announced::Repeated => None,
        Announced::Refused => panic!("refused"),
    }
}

/// What a client announced on an earlier connection, and was asked for on this one.
fn left_behind(from: u32, payload: Payload, number: u64) -> Announcement {
    Announcement { is_orphan: true, ..Announcement::new(socket(from), payload, at(1), number) }
}

fn is_forwarded(work: Option<Work>) -> bool {
    matches!(work, Some(Work::Forwarded(_)))
}

fn crossing(work: Option<Work>) -> Crossing {
    match work {
        Some(Work::Merge(crossing)) => crossing,
        other => panic!("{other:?}"),
    }
}

fn sure(number: u32) -> Base {
    Base { root: Some(root(number)), trust: Trust::Likely }
}

fn unsure(number: u32) -> Base {
    Base { trust: Trust::Open, ..sure(number) }
}

fn unlikely(number: u32) -> Base {
    Base { trust: Trust::Unlikely, ..sure(number) }
}

const NOTHING: Base = Base { root: None, trust: Trust::Likely };

pub(super) fn ms(duration: std::time::Duration) -> u64 {
    duration.as_millis() as u64
}

/// A route on which client 2 announced 1, then client 1 announced 2, and client 2 read that.
fn after_reading(read_ms: u64) -> Route {
    let mut route = route();
    announce(&mut route, 2, "b", 1, 0);
    crossing(announce(&mut route, 1, "a", 2, 0));
    route.finish(Outcome::Impossible);
    route.read(socket(2), root(2), at(read_ms));
    route
}

fn refs(said: &[Said]) -> Vec<(Vec<u32>, Value)> {
    let told = |said: &Said| match said {
        Said::Ref { to, payload } => Some((
            to.iter().map(|to| to.member.0).collect(),
            serde_json::from_str(payload).unwrap(),
        )),
        _ => None,
    };
    said.iter().filter_map(told).collect()
}

fn acks(said: &[Said]) -> Vec<(u32, bool, usize, usize)> {
    let told = |said: &Said| match said {
        Said::Ack(ack) => Some((ack.to.member.0, ack.ok, ack.received_by, ack.total_clients)),
        _ => None,
    };
    said.iter().filter_map(told).collect()
}

fn bootstraps(said: &[Said]) -> Vec<(u32, Value)> {
    let told = |said: &Said| match said {
        Said::Bootstrap { to, payload, .. } => {
            Some((to.member.0, serde_json::from_str(payload).unwrap()))
        }
        _ => None,
    };
    said.iter().filter_map(told).collect()
}
fn say(route: &mut Route, from: u32, origin: &str, number: u32, at_ms: u64) -> Announced {
    let payload = payload(json!({ "o": origin, "r": root(number).as_str() }));
    route.announce(socket(from), payload, at(at_ms))
}
