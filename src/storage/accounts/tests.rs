use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use crossbeam_channel::Receiver;

use super::*;
use crate::storage::tests::Scratch;

const LIMITS: Limits = Limits { accounts_max: 100, tries_per_minute_max: 1_000 };
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Office {
    client: Client,
    answers: Receiver<Answer>,
}

impl Office {
    fn new(path: Option<PathBuf>, limits: Limits) -> Self {
        let (send, answers) = bounded(100);
        let client = spawn(path, limits, move |_, answer| drop(send.send(answer))).unwrap();
        Self { client, answers }
    }

    fn ask(&self, wish: Wish) -> Outcome {
        let ticket = Ticket::default();
        self.client.submit(Request { ticket, from: HERE, now_ms: 0, wish }).unwrap();
        self.answers.recv().unwrap().outcome
    }

    fn register(&self, username: &str, email: &str, password: &str) -> Outcome {
        let [username, email] = [username, email].map(str::to_owned);
        self.ask(Wish::Register { username, email, password: Password(password.to_owned()) })
    }

    fn log_in(&self, email: &str, password: &str) -> Outcome {
        let password = Password(password.to_owned());
        self.ask(Wish::LogIn { email: email.to_owned(), password })
    }

    fn find(&self, id: &str) -> Outcome {
        self.ask(Wish::Find { id: id.to_owned() })
    }
}

fn user(outcome: Outcome) -> User {
    match outcome {
        Outcome::Registered(user) | Outcome::Is(user) => user,
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_registers_can_log_in() {
    let office = Office::new(None, LIMITS);
    let ann = user(office.register("Ann", "Ann@example.org", "secret"));
    assert_eq!((&*ann.username, &*ann.email), ("Ann", "Ann@example.org"));
    assert_eq!(office.log_in("ann@EXAMPLE.org", "secret"), Outcome::Is(ann.clone()));
    assert_eq!(office.find(&ann.id), Outcome::Is(ann.clone()));
    assert_eq!(office.log_in("ann@example.org", "Secret"), Outcome::Unknown);
    assert_eq!(office.log_in("bob@example.org", "secret"), Outcome::Unknown);
    assert_eq!(office.log_in("bob@example.org", ""), Outcome::Unknown, "nobody's own password");
    assert_eq!(office.find("nobody"), Outcome::Unknown);
    assert_ne!(user(office.register("Bob", "bob@example.org", "secret")).id, ann.id);
}

#[test]
fn names_are_taken_whatever_their_case() {
    let office = Office::new(None, LIMITS);
    user(office.register("Ann", "ann@example.org", "1"));
    assert_eq!(office.register("aNN", "other@example.org", "2"), Outcome::Taken);
    assert_eq!(office.register("Other", "ANN@example.org", "2"), Outcome::Taken);
    assert!(matches!(office.log_in("ann@example.org", "1"), Outcome::Is(_)), "unchanged");
}

#[test]
fn accounts_and_tries_are_limited() {
    let office = Office::new(None, Limits { accounts_max: 1, tries_per_minute_max: 3 });
    let ann = user(office.register("a", "a", "1"));
    assert_eq!(office.register("b", "b", "1"), Outcome::Full);
    assert_eq!(office.log_in("a", "2"), Outcome::Unknown);
    assert_eq!(office.log_in("a", "1"), Outcome::TooMany, "right or wrong");
    assert_eq!(office.register("c", "c", "1"), Outcome::TooMany);
    assert_eq!(office.find(&ann.id), Outcome::Is(ann), "is no try");
}

#[test]
fn too_many_may_not_wait() {
    let (started, has_started) = bounded(1);
    let (go_on, goes_on) = bounded::<()>(0);
    let hold = move |_: usize, _: Answer| {
        let _ = started.try_send(());
        let _ = goes_on.recv();
    };
    let client = spawn(None, LIMITS, hold).unwrap();
    let wish = || Wish::LogIn { email: String::new(), password: Password(String::new()) };
    let submit = || {
        let ticket = Ticket::default();
        client.submit(Request { ticket, from: HERE, now_ms: 0, wish: wish() })
    };
    submit().unwrap();
    has_started.recv().unwrap();
    (0..REQUESTS_QUEUED_MAX).for_each(|_| submit().unwrap());
    assert_eq!(submit(), Err(Busy));
    drop(go_on);
}

#[test]
fn accounts_outlive_the_process() {
    let directory = Scratch::new();
    let path = directory.0.join("accounts");
    let ann = user(Office::new(Some(path.clone()), LIMITS).register("Ann", "a@b", "secret"));
    let office = Office::new(Some(path.clone()), LIMITS);
    assert_eq!(office.log_in("a@b", "secret"), Outcome::Is(ann.clone()));
    assert_eq!(office.find(&ann.id), Outcome::Is(ann));
    assert_eq!(office.register("Ann", "c@d", "secret"), Outcome::Taken);
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("secret") && text.contains("$argon2id$"), "{text}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

/// Three accounts, and where each line ends.
fn three(path: &Path) -> (Vec<User>, Vec<u8>, Vec<usize>) {
    let office = Office::new(Some(path.to_owned()), LIMITS);
    let register = |name: &str| user(office.register(name, name, name));
    let users = vec![register("a"), register("b"), register("c")];
    let bytes = fs::read(path).unwrap();
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let ends = ends.collect();
    (users, bytes, ends)
}

fn accounts_in(path: &Path) -> Vec<String> {
    let (_, accounts) = Log::open(path.to_owned()).unwrap();
    accounts.into_iter().map(|account| account.user.username).collect()
}

#[test]
fn a_line_that_was_cut_is_none() {
    let directory = Scratch::new();
    let path = directory.0.join("accounts");
    let (_, bytes, ends) = three(&path);
    for length in 0..=bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        let whole = ends.iter().filter(|end| **end <= length).count();
        assert_eq!(accounts_in(&path), ["a", "b", "c"][..whole], "{length}");
        let left = fs::metadata(&path).unwrap().len();
        assert_eq!(left, whole.checked_sub(1).map_or(0, |last| ends[last]) as u64);
    }
    // What follows is whole again.
    fs::write(&path, &bytes[..ends[1] + 5]).unwrap();
    let office = Office::new(Some(path.clone()), LIMITS);
    user(office.register("d", "d", "d"));
    drop(office);
    assert_eq!(accounts_in(&path), ["a", "b", "d"]);
}

#[test]
fn a_line_that_was_damaged_costs_no_other() {
    let directory = Scratch::new();
    let path = directory.0.join("accounts");
    let (_, bytes, ends) = three(&path);
    for at in ends[0]..ends[1] - 1 {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        fs::write(&path, &damaged).unwrap();
        assert_eq!(accounts_in(&path), ["a", "c"], "{at}");
        assert_eq!(fs::read(&path).unwrap(), damaged, "left as it is");
    }
    // Longer than any line of ours.
    let long = vec![b'x'; 3 << 14];
    fs::write(&path, [&bytes[..ends[0]], &long, b"\n", &bytes[ends[1]..]].concat()).unwrap();
    assert_eq!(accounts_in(&path), ["a", "c"]);
    let mut torn = fs::OpenOptions::new().append(true).open(&path).unwrap();
    torn.write_all(&long).unwrap();
    assert_eq!(accounts_in(&path), ["a", "c"]);
}
