//! What real clients and the original server said to each other, replayed with our hub in its place
//! (specs: rljson §2–§4). Each recording is what folder agents did for a few seconds.
//!
//! A replay does what the recorded clients did, at the recorded times, and compares what our hub says
//! with what the original said: answers and refs, and rows and blobs byte for byte. Whatever our hub
//! asks of a client is answered as the client answered it then. Where our hub is meant to differ, the
//! difference has a name in [`DIFFERENCES`]; each test says which of them its recording has, and what
//! becomes of refs that cross. All else that is said is an error.
//!
//! | module | what |
//! |---|---|
//! | [`recording`] | reads a recording |
//! | [`replay`] | does it again, and compares |
//! | [`compare`] | what an answer has to be like |
//! | [`rules`] | what is to be said where the original said something else, or nothing |
//!
//! # The recordings
//!
//! `tests/transcripts/rljson` has Socket.IO packets, a line for each (`text`, and its `attachments`), and
//! `n`, the line's number where it was recorded in full: HTTP, Engine.IO and handshakes are left out, and
//! of tables' columns, which are many, only the tables' names are kept. Before them stand rows and
//! blobs that a client had, and that nobody asked it for when it was recorded, but our hub will: a
//! client announced them by their hashes, so what has these hashes is what it had.

mod compare;
mod recording;
mod replay;
mod rules;

use Difference::{Bootstraps, Cascade, Crossings, GapFill, Hangs, MoreAcks, Tables};
use replay::{Crossing, replay};

/// Where our hub differs from the original on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    Tables,
    Cascade,
    Hangs,
    Bootstraps,
    MoreAcks,
    GapFill,
    Crossings,
}

/// What they are, and the section of specs: rljson that says why.
const DIFFERENCES: [(Difference, &str, &str); 7] = [
    (
        Tables,
        "§7.2",
        "`rawTableCfgs` is answered `[]` at once: clients merge it with their own tables",
    ),
    (
        Cascade,
        "§7, §8",
        "clients are not asked for tables, nor for what they ask for themselves: rows and blobs are \
         fetched once, from who announced them",
    ),
    (
        Hangs,
        "§2, §5",
        "a request is answered that the original left open, waiting for who had left",
    ),
    (
        Bootstraps,
        "§7.6 a, b",
        "who lacks the latest ref is told it some time after it came, and again, not when it connects",
    ),
    (MoreAcks, "§7.6 c", "every ref is acknowledged, also to who does not wait for it"),
    (GapFill, "§7.6 d", "gaps are filled with nothing: old refs would be taken for new ones"),
    (
        Crossings,
        "§8",
        "a ref that crossed another is merged with it, and all are told the merged one instead; if that \
         is none but the latest, its sender alone",
    ),
];

impl Difference {
    fn describe(self) -> String {
        let (_, section, why) = DIFFERENCES[self as usize];
        format!("{self:?} ({section}): {why}")
    }
}

macro_rules! recordings {
    ($($name:ident $file:literal $differences:expr, $crossings:expr;)*) => {
        $(#[test]
        fn $name() {
            let recording = include_str!(concat!(
                "../../../../../tests/transcripts/rljson/", $file, ".jsonl"
            ));
            replay(recording, &$differences, &$crossings);
        })*
    };
}

// An empty folder is announced by who came late. Where refs cross otherwise, the merged tree is the one
// that was announced last, since files of one content are one file, and it is told as recorded.
recordings! {
    connect_init "01-connect-init" [Tables, Cascade, MoreAcks], [];
    create "02-create" [Tables, Cascade, Bootstraps, MoreAcks], [];
    change "03-change" [Tables, Cascade, Bootstraps, MoreAcks], [];
    delete "04-delete" [Tables, Cascade, Bootstraps, MoreAcks], [];
    late_joiner_from_first "05-late-joiner-from-first"
        [Tables, Cascade, Bootstraps, MoreAcks, Crossings], [Crossing {
            line: 37,
            files: &[("one.txt", "1", 1_795_175_141_972), ("sub/two.txt", "2", 1_795_175_141_972)],
        }];
    late_joiner_seed_order "06-late-joiner-seed-order"
        [Tables, Cascade, Bootstraps, MoreAcks, Crossings], [Crossing {
            line: 37,
            files: &[("one.txt", "1", 1_795_175_149_550), ("sub/two.txt", "2", 1_795_175_149_550)],
        }];
    disconnect "07-disconnect" [Tables, Cascade, Hangs, Bootstraps, MoreAcks], [];
    blob_binary "08-blob-binary" [Tables, Cascade, Bootstraps, MoreAcks], [];
    reconnect "09-reconnect" [Tables, Cascade, Hangs, Bootstraps, MoreAcks], [];
    late_joiner_listen_only "10-late-joiner-listen-only"
        [Tables, Cascade, Bootstraps, MoreAcks], [];
    sync_config_acks "11-sync-config-acks" [Tables, Cascade, Bootstraps, GapFill], [];
    server_caches_rows "12-server-caches-rows" [Tables, Cascade, Bootstraps, MoreAcks], [];
}

#[test]
fn each_difference_stands_in_its_place() {
    for (index, (difference, ..)) in DIFFERENCES.into_iter().enumerate() {
        assert_eq!(difference as usize, index);
    }
}
