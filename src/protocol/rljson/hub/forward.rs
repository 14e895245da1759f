//! Asking clients for what the hub has not got, and handing on what they answer.

use std::collections::{BTreeMap, VecDeque};

use smallvec::smallvec;

use super::answer::{self, Form, Table};
use super::fetch::Missed;
use super::peers::Batches;
use super::pulls::{Asked, How, Pull, PullId, Scope, Step, TARGETS_MAX, Waiter, Want};
use super::reads::not_found;
use super::verdict::{Found, Verdict, has_tables};
use super::{BUSY, Hub};
use crate::codec::json::write_string;
use crate::codec::rljson::Hash;
use crate::protocol::socketio::{AckId, Io, Socket, Unanswered, Values};

/// Rows that a client is asked for at once.
pub(super) const BATCH_ROWS_MAX: usize = 64;

/// Rows that clients are about to be asked for, by client and table.
type Batched = BTreeMap<(Socket, Box<str>), Vec<(PullId, Hash)>>;

impl Hub {
    /// Asks others on behalf of a client's request.
    pub(super) fn pull_for(
        &mut self,
        who: (Socket, AckId),
        form: Form,
        want: Want,
        io: &mut Io<'_, '_>,
    ) {
        let is_waiting =
            self.may_wait(who.0) && self.pull(who.0, want, Waiter::Client(who.0, who.1), io);
        if is_waiting {
            self.count_waiting(who.0);
        } else {
            answer::refuse(io, who, form, BUSY);
        }
    }

    /// Asks those who share a route with a client. Whether there is room.
    pub(super) fn pull(
        &mut self,
        socket: Socket,
        want: Want,
        waiter: Waiter,
        io: &mut Io<'_, '_>,
    ) -> bool {
        let scope = self.peers.get(&socket).map(super::Peer::scope).unwrap_or_default();
        self.pull_from(scope, None, want, waiter, io)
    }

    /// Asks this client first, and then the others of these routes.
    pub(super) fn pull_from(
        &mut self,
        scope: Scope,
        first: Option<Socket>,
        want: Want,
        waiter: Waiter,
        io: &mut Io<'_, '_>,
    ) -> bool {
        match self.pulls.join(&scope, &want, waiter) {
            None => false,
            Some(true) => true,
            Some(false) => {
                let targets = self.targets(&scope, first, &want);
                self.pulls.begin(scope, want, waiter, targets, io.at())
            }
        }
    }

    /// Whom to ask, in order.
    fn targets(&self, scope: &Scope, first: Option<Socket>, want: &Want) -> VecDeque<Socket> {
        let row = match want {
            Want::Row(_, hash) => Some(hash),
            _ => None,
        };
        let mut targets: VecDeque<Socket> = VecDeque::new();
        let fetch = match want {
            Want::Blob(id, _) => self.blobs.fetches.get(id),
            _ => None,
        };
        let waits = |socket| fetch.is_some_and(|fetch| fetch.is_for(socket));
        let mut add = |socket: Socket| {
            if targets.len() < TARGETS_MAX && !targets.contains(&socket) && !waits(socket) {
                targets.push_back(socket);
            }
        };
        first.into_iter().for_each(&mut add);
        for lane in scope.iter().filter_map(|lane| self.lanes.get(*lane)) {
            lane.likely(row).take(2 * TARGETS_MAX).for_each(&mut add);
        }
        if scope.is_empty() {
            let unplaced = self.peers.iter().filter(|(_, peer)| peer.lanes.is_empty());
            unplaced.take(TARGETS_MAX).for_each(|(socket, _)| add(*socket));
        }
        targets
    }

    /// Sends what can be asked now.
    pub(super) fn drive(&mut self, io: &mut Io<'_, '_>) {
        let mut batches = Batched::new();
        while let Some(id) = self.pulls.next_ready() {
            let peers = &self.peers;
            match self.pulls.step(id, |socket| peers.contains_key(&socket)) {
                Step::Wait => {}
                Step::Over => self.give_up(id, false, io),
                Step::Ask(target) => {
                    let Some(pull) = self.pulls.get(id) else { continue };
                    let batches_there = self.peers.get(&target).map(|peer| peer.batches);
                    if let Want::Row(table, hash) = &pull.want
                        && batches_there == Some(Batches::Yes)
                    {
                        let (key, row) = ((target, table.clone()), (id, *hash));
                        let rows = batches.entry(key.clone()).or_default();
                        rows.push(row);
                        if rows.len() == BATCH_ROWS_MAX {
                            let rows = std::mem::take(rows);
                            self.ask_batch(key, &rows, How::Batch, io);
                        }
                    } else {
                        self.ask_one(id, target, io);
                    }
                }
            }
        }
        for (key, rows) in batches.into_iter().filter(|(_, rows)| !rows.is_empty()) {
            self.ask_batch(key, &rows, How::Batch, io);
        }
    }

    fn ask_one(&mut self, id: PullId, target: Socket, io: &mut Io<'_, '_>) {
        let Some(pull) = self.pulls.get(id) else { return };
        let want = pull.want.clone();
        if let Want::Row(table, hash) = &want
            && let Some(peer) = self.peers.get_mut(&target)
            && peer.batches == Batches::Unknown
        {
            // First, so that who can answer it is asked for more than one from then on.
            peer.batches = Batches::Probing;
            self.ask_batch((target, table.clone()), &[(id, *hash)], How::Probe, io);
        }
        let (name, arguments) = request(&want);
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        io.fx.counters.rljson_forwarded.increment();
        let request = io.request(target, name, &arguments, want.within());
        self.pulls.sent(target, request, Asked { pulls: smallvec![id], how: How::One });
    }

    fn ask_batch(
        &mut self,
        (target, table): (Socket, Box<str>),
        rows: &[(PullId, Hash)],
        how: How,
        io: &mut Io<'_, '_>,
    ) {
        let mut argument = b"{\"table\":".to_vec();
        write_string(&mut argument, &table);
        argument.extend_from_slice(b",\"hashes\":[");
        for (index, (_, hash)) in rows.iter().enumerate() {
            argument.extend_from_slice(if index > 0 { b",\"" } else { b"\"" });
            argument.extend_from_slice(hash.as_bytes());
            argument.push(b'"');
        }
        argument.extend_from_slice(b"]}");
        let within = super::pulls::ANSWER_WITHIN;
        io.fx.counters.rljson_forwarded.increment();
        let request = io.request(target, "readRowsByHashes", &[&argument], within);
        let pulls = match how {
            How::Probe => smallvec![],
            _ => rows.iter().map(|(id, _)| *id).collect(),
        };
        self.pulls.sent(target, request, Asked { pulls, how });
    }

    /// Somebody has answered, or will not.
    pub(super) fn take_answer(
        &mut self,
        socket: Socket,
        request: u64,
        answer: Result<Values<'_>, Unanswered>,
        io: &mut Io<'_, '_>,
    ) {
        let Some(asked) = self.pulls.answered(socket, request) else { return };
        if answer.is_ok()
            && let Some(peer) = self.peers.get_mut(&socket)
        {
            peer.answered_at = io.at();
        }
        match (asked.how, answer) {
            (How::Probe, answer) => {
                let is_there = answer.is_ok_and(|values| has_tables(&values));
                if let Some(peer) = self.peers.get_mut(&socket) {
                    peer.batches = if is_there { Batches::Yes } else { Batches::No };
                }
            }
            (_, Err(Unanswered::TimedOut)) => {
                asked.pulls.iter().for_each(|id| self.pulls.silent(*id, socket));
            }
            (_, Err(Unanswered::Gone)) => {
                asked.pulls.iter().for_each(|id| self.pulls.missed(*id, socket, false, None));
            }
            (How::One, Ok(values)) => {
                asked.pulls.iter().for_each(|id| self.take_one(*id, socket, &values, io));
            }
            (How::Batch, Ok(values)) => self.take_batch(&asked.pulls, socket, &values, io),
        }
    }

    fn take_one(&mut self, id: PullId, socket: Socket, values: &Values<'_>, io: &mut Io<'_, '_>) {
        // It may be over already: somebody else was faster.
        let Some(pull) = self.pulls.get(id) else { return };
        let want = pull.want.clone();
        match self.judge(&want, values, io) {
            Verdict::Found(found) => self.found(id, Some(socket), &found, io),
            Verdict::Empty => self.pulls.missed(id, socket, true, None),
            Verdict::Refused(text) => self.pulls.missed(id, socket, false, Some(&text)),
            Verdict::Rubbish => self.take_rubbish(id, socket, io),
        }
    }

    fn take_rubbish(&mut self, id: PullId, socket: Socket, io: &mut Io<'_, '_>) {
        io.fx.counters.rljson_rubbish.increment();
        self.pulls.missed(id, socket, false, Some("the answer is not what was asked for"));
    }

    /// Several rows were answered together.
    fn take_batch(
        &mut self,
        pulls: &[PullId],
        socket: Socket,
        values: &Values<'_>,
        io: &mut Io<'_, '_>,
    ) {
        if !has_tables(values) {
            // It cannot be asked so, though it could.
            if let Some(peer) = self.peers.get_mut(&socket) {
                peer.batches = Batches::No;
            }
            return pulls.iter().for_each(|id| self.pulls.retry(*id, socket));
        }
        let result = values.values.clone().next();
        for id in pulls {
            let Some(pull) = self.pulls.get(*id) else { continue };
            let Want::Row(table, hash) = pull.want.clone() else { continue };
            match self.row_of(result, &table, &hash, io) {
                Verdict::Found(found) => self.found(*id, Some(socket), &found, io),
                Verdict::Rubbish => self.take_rubbish(*id, socket, io),
                _ => self.pulls.missed(*id, socket, true, None),
            }
        }
    }

    /// Something was found: everybody who waits gets it.
    pub(super) fn found(
        &mut self,
        id: PullId,
        by: Option<Socket>,
        found: &Found<'_>,
        io: &mut Io<'_, '_>,
    ) {
        let Some(pull) = self.pulls.end(id) else { return };
        for lane in &pull.scope {
            if let (Some(lane), Some(by)) = (self.lanes.get_mut(*lane), by)
                && lane.sockets.values().any(|socket| *socket == by)
            {
                lane.helper = Some(by);
            }
        }
        for waiter in &pull.waiters {
            match *waiter {
                Waiter::Client(socket, ack) => {
                    self.waited(socket);
                    self.give(&pull.want, (socket, ack), found, io);
                }
                Waiter::Group(_, group) => {
                    if let Found::Row(hash, text) = found {
                        self.group_found(group, *hash, text, io);
                    }
                }
                Waiter::Fill(id) => self.fill_got(id, &pull.want),
                Waiter::Bootstrap(lane, socket) => {
                    if let Found::Row(root, _) = found {
                        self.has_root(lane, socket, root, io);
                    }
                }
                Waiter::Merge(lane, run) => self.merge_got(lane, run),
                Waiter::Fetch(blob) => {
                    if let Found::Blob(properties, bytes) = found {
                        self.fetched(blob, *properties, bytes, io);
                    }
                }
            }
        }
    }

    fn give(&mut self, want: &Want, who: (Socket, AckId), found: &Found<'_>, io: &mut Io<'_, '_>) {
        match (want, found) {
            (Want::Row(table, _), Found::Row(hash, text)) => {
                let mut rows = Table::default();
                rows.add(*hash, text);
                self.give_rows(who, table, &rows, io);
            }
            (Want::Rows(table, _), Found::Rows(rows)) => self.give_rows(who, table, rows, io),
            (Want::Table(_), _) => answer::succeed(io, who, Form::Io, b"true"),
            (Want::BlobExists(_), _) => answer::succeed(io, who, Form::Bs, b"true"),
            (Want::Properties(id), Found::Properties(properties)) => {
                let mut out = Vec::new();
                answer::write_properties(&mut out, id, *properties);
                answer::succeed(io, who, Form::Bs, &out);
            }
            _ => debug_assert!(false, "what was found is what was asked for"),
        }
    }

    /// Nobody had it, or not in time.
    pub(super) fn give_up(&mut self, id: PullId, is_late: bool, io: &mut Io<'_, '_>) {
        let Some(pull) = self.pulls.end(id) else { return };
        let is_late = is_late || pull.is_late;
        let why = if is_late { Missed::Late } else { Missed::Lost };
        for waiter in &pull.waiters {
            match *waiter {
                Waiter::Client(socket, ack) => {
                    self.waited(socket);
                    self.disappoint(&pull, (socket, ack), is_late, io);
                }
                Waiter::Group(_, group) => self.group_missed(group, pull.is_empty, io),
                Waiter::Fill(id) => self.fill_missed(id, is_late),
                Waiter::Bootstrap(lane, socket) => self.bootstrap(lane, socket, is_late, io),
                Waiter::Merge(lane, run) => self.merge_got(lane, run),
                Waiter::Fetch(blob) => self.fetch_missed(blob, why, io),
            }
        }
    }

    fn disappoint(
        &mut self,
        pull: &Pull,
        who: (Socket, AckId),
        is_late: bool,
        io: &mut Io<'_, '_>,
    ) {
        match &pull.want {
            Want::Table(_) => answer::succeed(io, who, Form::Io, b"false"),
            Want::BlobExists(_) => answer::succeed(io, who, Form::Bs, b"false"),
            Want::Blob(id, _) | Want::Properties(id) => {
                answer::refuse(io, who, Form::Bs, &format!("Blob not found: {id}"));
            }
            Want::Row(table, _) | Want::Rows(table, _) => {
                let is_nowhere = pull.refusal.is_none() && !is_late && self.knows(table);
                if pull.is_empty || is_nowhere {
                    self.give_rows(who, table, &Table::default(), io);
                } else if let Some(text) = &pull.refusal {
                    answer::refuse(io, who, Form::Io, text);
                } else if is_late {
                    let ms = pull.want.within().as_millis();
                    answer::refuse(io, who, Form::Io, &format!("Timeout after {ms} ms"));
                } else {
                    answer::refuse(io, who, Form::Io, &not_found(table));
                }
            }
        }
    }
}

/// What to ask a client.
fn request(want: &Want) -> (&'static str, Vec<Vec<u8>>) {
    let quoted = |text: &str| {
        let mut out = Vec::new();
        write_string(&mut out, text);
        out
    };
    let read_rows = |table: &str, filter: &str| {
        let mut out = b"{\"table\":".to_vec();
        write_string(&mut out, table);
        out.extend_from_slice(format!(",\"where\":{filter}}}").as_bytes());
        vec![out]
    };
    match want {
        Want::Row(table, hash) => {
            ("readRows", read_rows(table, &format!("{{\"_hash\":\"{hash}\"}}")))
        }
        Want::Rows(table, filter) => ("readRows", read_rows(table, filter)),
        Want::Table(table) => ("tableExists", vec![quoted(table)]),
        Want::Blob(id, range) => {
            let (start, end) = range;
            let options = format!("{{\"range\":{{\"start\":{start},\"end\":{end}}}}}");
            ("getBlob", vec![quoted(id.as_str()), options.into_bytes()])
        }
        Want::BlobExists(id) => ("blobExists", vec![quoted(id.as_str())]),
        Want::Properties(id) => ("getBlobProperties", vec![quoted(id.as_str())]),
    }
}
