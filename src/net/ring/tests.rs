//! Two rings of one thread on a real socket.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;
use crate::net::listen::listen;

fn ring(listeners: Vec<OwnedFd>) -> Ring {
    let size = PoolSize { buffers: 8, buffer_bytes: 4096 };
    Ring::new(Ring::io_uring().unwrap(), size, 8, listeners, &Wakeup::new().unwrap()).unwrap()
}

/// Everything that happens until `last` has.
fn events_until(
    ring: &mut Ring,
    last: impl Fn(&Event<Socket, Lease>) -> bool,
) -> Vec<Event<Socket, Lease>> {
    let mut events = Vec::new();
    for _ in 0..1_000 {
        ring.poll(&mut events);
        if events.iter().any(&last) {
            return events;
        }
        ring.wait(Duration::from_millis(10));
    }
    panic!("it does not happen: {events:?}");
}

fn received(events: &[Event<Socket, Lease>]) -> Vec<u8> {
    let bytes = events.iter().filter_map(|event| match event {
        Event::Received { bytes, .. } => Some(&**bytes),
        _ => None,
    });
    bytes.flatten().copied().collect()
}

#[test]
fn a_socket_goes_from_ring_to_ring_and_loses_nothing() {
    let (address, mut listeners) = listen(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap();
    let (mut old, mut new) = (ring(vec![listeners.remove(0)]), ring(Vec::new()));
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let accepted = events_until(&mut old, |event| matches!(event, Event::Accepted { .. }));
    let Some(Event::Accepted { mut socket, .. }) = accepted.into_iter().next() else {
        panic!("nothing else happens before");
    };
    let (before, after) = (Token { index: 1, generation: 1 }, Token { index: 7, generation: 3 });
    let has_bytes = |event: &Event<Socket, Lease>| matches!(event, Event::Received { .. });

    old.receive(&mut socket, before, Receive::Stream);
    client.write_all(b"one ").unwrap();
    let mut bytes = received(&events_until(&mut old, has_bytes));
    client.write_all(b"two ").unwrap();
    old.stop_receiving(before);
    let is_stopped = |event: &Event<Socket, Lease>| matches!(event, Event::Ended { token, why: End::Stopped } if *token == before);
    bytes.extend(received(&events_until(&mut old, is_stopped)));
    assert!(socket.registered.is_some());
    old.release(&mut socket);
    assert!(socket.registered.is_none());

    new.receive(&mut socket, after, Receive::Stream);
    client.write_all(b"three").unwrap();
    while bytes.len() < b"one two three".len() {
        bytes.extend(received(&events_until(&mut new, has_bytes)));
    }
    assert_eq!(String::from_utf8_lossy(&bytes), "one two three");
    let slices = [IoSlice::new(b"bye")];
    new.send(&[Send { socket: &socket, first: 0, count: 1 }], &slices, &mut Vec::new());
    new.end(socket);
    let mut rest = String::new();
    new.poll(&mut Vec::new());
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "bye");
}

/// The window is far longer than any test: what ends the sleep is what happened, or `at_most`.
#[test]
fn what_is_gathered_comes_at_once_and_nothing_is_lost() {
    let (address, mut listeners) = listen(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap();
    let mut ring = ring(vec![listeners.remove(0)]);
    if !ring.gather(Duration::from_secs(3600)) {
        // Not on this kernel: sleeping is as before.
        assert_eq!(ring.gather_us, None);
    }
    let mut clients: Vec<TcpStream> = Vec::new();
    let mut sockets = Vec::new();
    for _ in 0..3 {
        clients.push(TcpStream::connect(address).unwrap());
        let accepted = events_until(&mut ring, |event| matches!(event, Event::Accepted { .. }));
        sockets.extend(accepted.into_iter().filter_map(|event| match event {
            Event::Accepted { socket, .. } => Some(socket),
            _ => None,
        }));
    }
    for (index, socket) in (1..).zip(&mut sockets) {
        ring.receive(socket, Token { index, generation: 1 }, Receive::Stream);
    }
    clients.iter_mut().for_each(|client| client.write_all(b"x").unwrap());
    let mut events = Vec::new();
    ring.poll(&mut events); // submits
    while received(&events).len() < clients.len() {
        ring.wait(Duration::from_millis(20));
        ring.poll(&mut events);
    }
    assert!(ring.gather(Duration::ZERO) && ring.gather_us.is_none());
    sockets.into_iter().for_each(|socket| ring.end(socket));
}
