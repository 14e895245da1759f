//! The client and the threads behind it.

use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};

use super::*;

const LONG: Duration = Duration::from_secs(60);

fn settings(place: Place) -> Settings {
    Settings {
        place,
        file_bytes_max: FILE_MAX,
        files_bytes_max: QUOTA,
        blobs_bytes_max: BLOBS_QUOTA,
    }
}

fn spawned(place: Place) -> (Client, Receiver<(usize, Answer)>) {
    let (sender, answers) = unbounded();
    let settings = settings(place);
    let client = spawn(settings, move |shard, answer| {
        let _ = sender.send((shard, answer));
    });
    (client.unwrap(), answers)
}

fn ticket(shard: u16) -> Ticket {
    Ticket { shard, owner: 1 << 40, number: 7 }
}

fn submit(client: &Client, shard: u16, operation: Operation) -> Result<(), Busy> {
    client.submit(Request { ticket: ticket(shard), operation })
}

#[test]
fn answers_carry_the_ticket_and_go_to_the_shard_that_asked() {
    let scratch = Scratch::new();
    for place in [Place::Disk(scratch.data_dir()), Place::Memory(Box::new(|| WALL_MS))] {
        let (client, answers) = spawned(place);
        let begin =
            Operation::PutBegin { area: Area::Files, path: "f".to_owned(), length_hint: None };
        submit(&client, 3, begin).unwrap();
        let (shard, answer) = answers.recv_timeout(LONG).unwrap();
        assert_eq!((shard, answer.ticket), (3, ticket(3)));
        let Outcome::Begun(Ok(upload)) = answer.outcome else { panic!("{answer:?}") };
        submit(&client, 3, Operation::PutChunk { upload, bytes: b"abc".to_vec() }).unwrap();
        submit(&client, 4, Operation::PutCommit { upload }).unwrap();
        assert!(client.drain(LONG));
        let outcomes: Vec<_> = answers.try_iter().collect();
        assert!(matches!(&outcomes[0].1.outcome, Outcome::Written { result: Ok(()), .. }));
        let committed = &outcomes[1];
        assert_eq!(committed.0, 4);
        assert!(matches!(committed.1.outcome, Outcome::Committed(Ok(Committed::Created))));
    }
}

#[test]
fn everything_submitted_is_done_before_the_storage_ends() {
    let scratch = Scratch::new();
    let (client, answers) = spawned(Place::Disk(scratch.data_dir()));
    for number in 0..50 {
        let record = record(&[&format!("r{number}")]);
        submit(&client, 0, Operation::Store { record, content: vec![1] }).unwrap();
    }
    drop(client);
    let stored = answers
        .iter()
        .filter(|(_, answer)| matches!(answer.outcome, Outcome::Stored { result: Ok(()), .. }));
    assert_eq!(stored.count(), 50);
    // The answers end after the storage, and the storage takes the lock with it.
    assert!(DataDir::open(&scratch.0).is_ok());
}

#[test]
fn a_full_queue_gives_the_request_back_and_never_waits() {
    let (hold, held) = crossbeam_channel::bounded::<()>(0);
    let settings = settings(Place::Memory(Box::new(|| WALL_MS)));
    let client = spawn(settings, move |_, _| {
        let _ = held.recv();
    })
    .unwrap();
    let stat = |number: u32| Request {
        ticket: Ticket { number, ..ticket(0) },
        operation: Operation::Stat { area: Area::Files, path: "f".to_owned() },
    };
    let refused = (0..).find_map(|number| client.submit(stat(number)).err().map(|it| (number, it)));
    let (number, Busy(request)) = refused.unwrap();
    assert!((1_024..=1_026).contains(&number), "{number}");
    assert_eq!(request.ticket.number, number);
    assert!(matches!(request.operation, Operation::Stat { .. }));
    // Giving up does not queue behind it.
    let abort = Operation::PutAbort { upload: request::UploadId(1) };
    assert!(submit(&client, 0, abort).is_ok());
    assert!(!client.drain(Duration::from_millis(10)));
    drop(hold);
    assert!(client.drain(LONG));
}

#[test]
fn a_panic_is_answered_and_the_next_request_is_served() {
    let clock = || -> u64 { panic!("a clock that fails") };
    let (client, answers) = spawned(Place::Memory(Box::new(clock)));
    let begin =
        || Operation::PutBegin { area: Area::Files, path: "f".to_owned(), length_hint: Some(1) };
    submit(&client, 0, begin()).unwrap();
    let (_, answer) = answers.recv_timeout(LONG).unwrap();
    let Outcome::Begun(Ok(upload)) = answer.outcome else { panic!("{answer:?}") };
    submit(&client, 0, Operation::PutCommit { upload }).unwrap();
    let (_, answer) = answers.recv_timeout(LONG).unwrap();
    assert!(matches!(answer.outcome, Outcome::Committed(Err(FileError::Internal))), "{answer:?}");
    submit(&client, 0, begin()).unwrap();
    assert!(matches!(answers.recv_timeout(LONG).unwrap().1.outcome, Outcome::Begun(Ok(_))));
}

#[test]
fn posts_do_not_delay_the_storage() {
    // A host that accepts and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let (client, answers) = spawned(Place::Memory(Box::new(|| WALL_MS)));
    submit(&client, 0, Operation::Post { url, body: "{}".to_owned() }).unwrap();
    let (connection, _) = silent.accept().unwrap();
    submit(&client, 1, Operation::Stat { area: Area::Files, path: "f".to_owned() }).unwrap();
    assert_eq!(answers.recv_timeout(LONG).unwrap().0, 1);
    drop(connection);
    let (shard, answer) = answers.recv_timeout(LONG).unwrap();
    assert_eq!(shard, 0);
    assert!(matches!(answer.outcome, Outcome::Posted(Err(_))), "{answer:?}");
}
