//! The HTTP side of CoMutiNy's accounts (specs: comutiny §7): a body is collected, its wish handed to
//! the thread that keeps accounts, and the answer awaited.

use std::net::IpAddr;

use super::Shard;
use super::effects::asker_of;
use super::http::{Exchange, PROGRESS_MAX, State, Step};
use crate::codec::http1::{BodyLength, BodyReader, Request};
use crate::net::Transport;
use crate::protocol::comutiny::accounts::{self, Accounts, BODY_BYTES_MAX, Page, Reply};
use crate::storage::accounts::{Answer, Request as Asking, Wish};

/// A request about accounts: its body comes in, or its answer is awaited.
#[derive(Debug)]
pub(super) struct Visit {
    page: Page,
    body: BodyReader,
    bytes: Vec<u8>,
    complete: bool,
    /// Who asks.
    from: IpAddr,
    /// The origin whose pages may read the answer.
    origin: Option<String>,
}

impl Visit {
    /// Whether more bytes can be used.
    pub(super) fn wants_input(&self) -> bool {
        !self.complete
    }
}

impl<T: Transport> Shard<T> {
    /// A request for one of the pages; nothing is there unless there are accounts.
    pub(super) fn on_account_request(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        request: &Request<'_>,
        page: Page,
    ) {
        let protocols = std::sync::Arc::clone(&self.config.protocols);
        let config = &protocols.comutiny;
        let Some(accounts) = &config.accounts else {
            self.skip_body_of(index, exchange, request);
            return self.answer_nothing(index, exchange);
        };
        let origin = accounts::origins(config).allow(request.header("origin")).map(str::to_owned);
        let method = request.method;
        if method == page.method() || method == "HEAD" && page == Page::Me {
            let from = self.asker(index, request);
            let (body, bytes) = (BodyReader::new(BodyLength::None), Vec::new());
            let visit = Visit { page, body, bytes, complete: false, from, origin };
            return self.begin_visit(index, exchange, request, visit, accounts);
        }
        self.skip_body_of(index, exchange, request);
        let allowed = [("Allow", page.method())];
        if method == "OPTIONS" {
            let preflight = [
                ("Access-Control-Allow-Methods", page.method()),
                ("Access-Control-Allow-Headers", "Authorization, Content-Type"),
                ("Access-Control-Max-Age", "600"),
            ];
            self.answer_visit(index, exchange, origin.as_deref(), 204, &preflight, b"");
        } else {
            let Reply { body, .. } = Reply::error(405, "Method not allowed");
            let body = body.as_bytes();
            self.answer_visit(index, exchange, origin.as_deref(), 405, &allowed, body);
        }
    }

    fn begin_visit(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        request: &Request<'_>,
        mut visit: Visit,
        accounts: &Accounts,
    ) {
        exchange.deadline = self.now.at + PROGRESS_MAX;
        if visit.page == Page::Me {
            self.skip_body_of(index, exchange, request);
            visit.complete = true;
            let (bearer, cookie) = (request.header("authorization"), request.header("cookie"));
            let wish = accounts::who_asks(accounts, bearer, cookie, self.now.wall_ms);
            return self.ask_accounts(index, exchange, visit, wish);
        }
        let is_json = request.header("content-type").is_some_and(is_json);
        let length = match request.body() {
            Ok(BodyLength::Length(bytes)) if bytes > BODY_BYTES_MAX as u64 => {
                return self.refuse_body(index, exchange, visit);
            }
            Ok(length) if is_json => length,
            // As the original, which sees no fields then. A page elsewhere cannot send JSON unasked.
            Ok(_) => {
                self.skip_body_of(index, exchange, request);
                let wish = visit.page.wish(b"");
                return self.ask_accounts(index, exchange, visit, wish);
            }
            Err(error) => {
                let (status, text) = error.status();
                return self.answer_and_close(index, status, &format!("{text}\n"));
            }
        };
        if request.has_token("expect", "100-continue") {
            self.push_raw(index, b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        visit.body = BodyReader::new(length);
        exchange.state = State::Visit(Box::new(visit));
    }

    fn refuse_body(&mut self, index: u32, exchange: &mut Exchange, visit: Visit) {
        exchange.keep_alive = false;
        self.reply(index, exchange, &visit, &Reply::error(413, "The body is too large"));
    }

    /// Collects more of a body; asks when it is complete.
    pub(super) fn feed_visit(&mut self, index: u32, exchange: &mut Exchange) -> Step {
        let State::Visit(visit) = &mut exchange.state else { return Step::Wait };
        if visit.complete {
            return Step::Wait;
        }
        let room = BODY_BYTES_MAX + 1;
        let Ok(complete) = visit.body.collect(&mut exchange.input, &mut visit.bytes, room) else {
            self.answer_and_close(index, 400, "The chunked body is malformed.\n");
            return Step::Wait;
        };
        visit.complete = complete;
        let is_too_large = visit.bytes.len() > BODY_BYTES_MAX;
        if !complete && !is_too_large {
            return Step::Wait;
        }
        let State::Visit(visit) = std::mem::replace(&mut exchange.state, State::Head) else {
            return Step::Wait;
        };
        if is_too_large {
            self.refuse_body(index, exchange, *visit);
        } else {
            let wish = visit.page.wish(&visit.bytes);
            self.ask_accounts(index, exchange, *visit, wish);
        }
        Step::Next
    }

    /// Hands a wish over, or answers at once.
    fn ask_accounts(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        visit: Visit,
        wish: Result<Wish, Reply>,
    ) {
        let reply = match (wish, &self.accounts) {
            (Err(reply), _) => reply,
            (Ok(_), None) => Reply::busy(),
            (Ok(wish), Some(accounts)) => {
                let ticket = self.ticket_of(index);
                let (from, now_ms) = (visit.from, self.now.wall_ms);
                match accounts.submit(Asking { ticket, from, now_ms, wish }) {
                    Ok(()) => {
                        exchange.deadline = self.now.at + PROGRESS_MAX;
                        exchange.state = State::Visit(Box::new(visit));
                        return;
                    }
                    Err(_) => Reply::busy(),
                }
            }
        };
        self.reply(index, exchange, &visit, &reply);
    }

    /// A wish was granted or not.
    pub(super) fn on_account_answer(&mut self, answer: Answer) {
        let Some(token) = asker_of(answer.ticket) else { return };
        if self.connections.resolve(token).is_none() {
            return;
        }
        let protocols = std::sync::Arc::clone(&self.config.protocols);
        let Some(accounts) = &protocols.comutiny.accounts else { return };
        self.with_exchange(token.index, |shard, exchange| {
            let State::Visit(visit) = std::mem::replace(&mut exchange.state, State::Head) else {
                return;
            };
            let reply = Reply::new(visit.page, answer.outcome, accounts, shard.now.wall_ms);
            shard.reply(token.index, exchange, &visit, &reply);
        });
    }

    fn reply(&mut self, index: u32, exchange: &mut Exchange, visit: &Visit, reply: &Reply) {
        let cookie = reply.cookie.as_deref().map(|cookie| ("Set-Cookie", cookie));
        let retry = (reply.status == 503 || reply.status == 429).then_some(("Retry-After", "60"));
        let headers: Vec<_> = cookie.into_iter().chain(retry).collect();
        let (origin, body) = (visit.origin.as_deref(), reply.body.as_bytes());
        self.answer_visit(index, exchange, origin, reply.status, &headers, body);
    }

    fn answer_visit(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        origin: Option<&str>,
        status: u16,
        more: &[(&str, &str)],
        body: &[u8],
    ) {
        let mut headers = vec![("Vary", "Origin"), ("Cache-Control", "no-store")];
        if let Some(origin) = origin {
            headers.push(("Access-Control-Allow-Origin", origin));
            // Browsers send no cookies where all origins are allowed.
            if origin != "*" {
                headers.push(("Access-Control-Allow-Credentials", "true"));
            }
        }
        if !body.is_empty() {
            headers.push(("Content-Type", "application/json; charset=utf-8"));
        }
        headers.extend_from_slice(more);
        self.answer_with(index, exchange, status, &headers, body);
    }

    /// Who asks, as far as that can be told: proxies on this machine say for whom.
    fn asker(&self, index: u32, request: &Request<'_>) -> IpAddr {
        let peer = self.peer_address(index).ip().to_canonical();
        let forwarded = request.header("x-forwarded-for").filter(|_| peer.is_loopback());
        // The last is the one that the proxy itself has seen.
        let told = forwarded.and_then(|all| all.rsplit(',').next()?.trim().parse().ok());
        told.unwrap_or(peer)
    }
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}
