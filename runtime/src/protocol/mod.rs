//! Requests to bytes and bytes to replies: memcached's protocols, without a
//! socket.
//!
//! [`Session`] keeps what a connection needs to keep; blocking and async
//! connections move its bytes. Two dialects are spoken: the *meta* protocol
//! (1.6.10 and later), where each reply carries its request's number, and the
//! *classic* text protocol, which everything that calls itself memcached
//! understands.

mod buffer;
mod classic;
#[cfg(all(test, feature = "tokio"))]
mod differential_tests;
mod greeting;
mod meta;
mod scan;
#[cfg(any(test, fuzzing))]
pub(crate) mod stream_tests;

mod words;

use std::time::{SystemTime, UNIX_EPOCH};

use xxhash_rust::xxh3::xxh3_64;

use crate::error::ErrorKind;
use crate::exchange::{Reply, Request, Ttl};
use buffer::Buffer;

/// What the server understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Meta,
    Classic,
}

/// One connection's side of the conversation.
#[derive(Debug)]
pub(crate) struct Session {
    dialect: Dialect,
    requests: u32,
    output: Vec<u8>,
    input: Buffer,
    /// The items of a reply that has not ended yet.
    items: classic::List,
    counters: Vec<(String, String)>,
}

/// What is needed to read the reply to a request that has been written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    expect: Expect,
    /// Comes back with the reply, in the dialect that has it.
    number: u32,
    /// Of the key that comes back, in the dialect that has no number.
    key: u64,
}

/// The kind of reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// An item, from a caller who wants the lease if there is none.
    Lease,
    Item,
    Items,
    Written,
    Deleted,
    Number,
    Touched,
    Counters,
    Version,
    Servers,
    Okay,
    Welcome,
    Dialect,
}

/// A reply, or a refusal after which the connection is as good as before.
pub(crate) type Answer = Result<Reply, ErrorKind>;

/// What was received is no reply to what was asked. The connection is of no
/// more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) ErrorKind);

/// What a dialect makes of the bytes so far.
enum Progress {
    /// It takes more of them.
    More,
    /// These are the first of several parts, which have been read.
    Items(usize),
    Counter(String, String, usize),
    /// This is the whole of it, in so many bytes.
    Done(Answer, usize),
}

/// This request cannot be said in the dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unspeakable;

impl Session {
    pub(crate) fn new(dialect: Dialect) -> Self {
        let (output, input) = (Vec::with_capacity(512), Buffer::new());
        Session { dialect, requests: 0, output, input, items: classic::List::default(), counters: Vec::new() }
    }

    /// Appends a request to what is to be sent. Its key and value have been
    /// checked.
    pub(crate) fn write(&mut self, request: &Request<'_>) -> Result<Ticket, Unspeakable> {
        self.requests = self.requests.wrapping_add(1);
        if let Request::PeekMany { keys } = request {
            self.items.reserve(keys);
        }
        encode(self.dialect, self.requests, request, &mut self.output)
    }

    /// What is to be sent.
    pub(crate) fn output(&self) -> &[u8] {
        &self.output
    }

    /// Takes note that all of it has been sent.
    pub(crate) fn sent(&mut self) {
        self.output.clear();
        self.output.shrink_to(KEPT);
    }

    /// Where to put what is received; never empty.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        self.input.space()
    }

    /// Takes note of how much has been received.
    pub(crate) fn received(&mut self, bytes: usize) {
        self.input.filled(bytes);
    }

    /// Whether everything received has been read.
    pub(crate) fn is_drained(&self) -> bool {
        self.input.is_empty()
    }

    /// The reply that the ticket stands for, once all of it is there. Tickets
    /// are to be asked for in the order in which they were given.
    pub(crate) fn reply(&mut self, ticket: Ticket) -> Result<Option<Answer>, Malformed> {
        while !self.input.is_empty() {
            let input = self.input.bytes();
            let progress = match (ticket.expect, self.dialect) {
                (Expect::Welcome | Expect::Dialect, _) => greeting::decode(ticket.expect, input)?,
                (Expect::Items, _) => self.items.read(input)?,
                (_, Dialect::Meta) => meta::decode(ticket, input)?,
                (_, Dialect::Classic) => classic::decode(ticket, input)?,
            };
            let (answer, consumed) = match progress {
                Progress::More => return Ok(None),
                Progress::Items(consumed) => (None, consumed),
                Progress::Counter(name, value, consumed) => {
                    self.counters.push((name, value));
                    (None, consumed)
                }
                Progress::Done(answer, consumed) => (Some(answer), consumed),
            };
            self.input.consume(consumed);
            if ticket.expect == Expect::Dialect && answer == Some(Ok(Reply::Absent)) {
                self.dialect = Dialect::Classic;
            }
            if let Some(answer) = answer {
                let answer = match answer {
                    Ok(reply) => Ok(self.whole(reply)?),
                    refused => refused,
                };
                // A refusal may come after the first parts of a reply.
                self.items.clear();
                self.counters.clear();
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// A reply with the parts that came before its end.
    fn whole(&mut self, reply: Reply) -> Result<Reply, Malformed> {
        Ok(match reply {
            Reply::FoundMany(_) => Reply::FoundMany(self.items.take()?),
            Reply::Counters(_) => Reply::Counters(std::mem::take(&mut self.counters)),
            reply => reply,
        })
    }
}

/// Appends a request under a number, which differs from those of the requests
/// before it. Its key and value have been checked.
pub(crate) fn encode(
    dialect: Dialect,
    number: u32,
    request: &Request<'_>,
    out: &mut Vec<u8>,
) -> Result<Ticket, Unspeakable> {
    let key = match (dialect, request.key()) {
        (Dialect::Classic, Some(key)) => xxh3_64(key.as_bytes()),
        _ => 0,
    };
    match dialect {
        Dialect::Meta => meta::encode(request, number, out),
        Dialect::Classic => classic::encode(request, out)?,
    }
    Ok(Ticket { expect: expectation(request), number, key })
}

/// Said before a connection is closed.
pub(crate) const GOODBYE: &[u8] = b"quit\r\n";

/// Buffers larger than this are given back after use.
pub(crate) const KEPT: usize = 64 * 1024;

fn expectation(request: &Request<'_>) -> Expect {
    match request {
        Request::Lookup { .. } => Expect::Lease,
        Request::Peek { .. } | Request::GetAndTouch { .. } => Expect::Item,
        Request::PeekMany { .. } => Expect::Items,
        Request::Store { .. } => Expect::Written,
        Request::Delete { .. } | Request::Invalidate { .. } => Expect::Deleted,
        Request::Count { .. } => Expect::Number,
        Request::Touch { .. } => Expect::Touched,
        Request::Stats { .. } => Expect::Counters,
        Request::Version => Expect::Version,
        Request::Servers => Expect::Servers,
        Request::FlushAll { .. } | Request::MemoryLimit { .. } => Expect::Okay,
    }
}

/// memcached reads a larger number of seconds as a point in time.
const LONGEST_RELATIVE_TTL: u64 = 30 * 24 * 3_600;
/// memcached keeps points in time in 32 bits, with a sign.
const LATEST_EXPIRY: u64 = i32::MAX as u64;

/// A ttl as memcached reads it: 0 for ever, seconds up to 30 days, then a
/// point in time.
fn expiry(ttl: Ttl) -> u64 {
    match ttl.seconds() {
        None => 0,
        Some(seconds) if seconds <= LONGEST_RELATIVE_TTL => seconds,
        Some(seconds) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
            now.saturating_add(seconds).min(LATEST_EXPIRY)
        }
    }
}

/// What kind of error a line is, if it is one: `ERROR`, `CLIENT_ERROR …` and
/// `SERVER_ERROR …`. What it says is not repeated: it could be anything.
fn refusal(line: &[u8]) -> Option<ErrorKind> {
    let says = |what: &[u8]| line.windows(what.len()).any(|window| window == what);
    if line.starts_with(b"SERVER_ERROR") {
        return Some(if says(b"too large") { ErrorKind::TooLarge } else { ErrorKind::Server });
    }
    let client = line.starts_with(b"CLIENT_ERROR");
    if client && says(b"non-numeric") {
        return Some(ErrorKind::NotANumber);
    }
    // In place of an answer, or in answer to user and password.
    if client && says(b"authenticat") {
        return Some(ErrorKind::Unauthenticated);
    }
    (client || line == b"ERROR").then_some(ErrorKind::Rejected)
}

/// Whether a server goes on after this refusal as if nothing had been. Of most
/// `CLIENT_ERROR`s one cannot know what the server took for the next command.
fn is_clean(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Server | ErrorKind::TooLarge | ErrorKind::NotANumber)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_ttl_over_thirty_days_is_a_point_in_time() {
        let days = |days: u64| expiry(Ttl::For(Duration::from_secs(days * 86_400)));
        assert_eq!(expiry(Ttl::Forever), 0);
        assert_eq!(days(30), 2_592_000);
        assert!(days(31) > 1_700_000_000);
        assert_eq!(days(1_000_000), LATEST_EXPIRY);
    }

    #[test]
    fn a_delay_over_thirty_days_is_a_point_in_time_too() {
        let says = |days: u64| {
            let mut session = Session::new(Dialect::Meta);
            session.write(&Request::FlushAll { delay: Duration::from_secs(days * 86_400) }).unwrap();
            String::from_utf8(session.output().to_vec()).unwrap()
        };
        assert_eq!((says(0).as_str(), says(30).as_str()), ("flush_all\r\n", "flush_all 2592000\r\n"));
        assert!(says(31).len() == "flush_all 1700000000\r\n".len());
    }

    #[test]
    fn an_error_is_told_by_its_kind() {
        assert_eq!(refusal(b"ERROR"), Some(ErrorKind::Rejected));
        assert_eq!(refusal(b"CLIENT_ERROR bad data chunk"), Some(ErrorKind::Rejected));
        assert_eq!(refusal(b"CLIENT_ERROR unauthenticated"), Some(ErrorKind::Unauthenticated));
        assert_eq!(refusal(b"CLIENT_ERROR bad authentication token format"), Some(ErrorKind::Unauthenticated));
        assert_eq!(
            refusal(b"CLIENT_ERROR cannot increment or decrement non-numeric value"),
            Some(ErrorKind::NotANumber)
        );
        assert_eq!(refusal(b"SERVER_ERROR object too large for cache"), Some(ErrorKind::TooLarge));
        assert_eq!(refusal(b"SERVER_ERROR out of memory"), Some(ErrorKind::Server));
        assert_eq!(refusal(b"ERRORS"), None);
        assert_eq!(refusal(b"HTTP/1.1 400 Bad Request"), None);
    }

    #[test]
    fn what_came_before_a_refusal_is_not_in_the_next_reply() {
        let mut session = Session::new(Dialect::Meta);
        let mut keys = crate::exchange::Keys::default();
        keys.push("k");
        let tickets = [(); 2].map(|()| session.write(&Request::PeekMany { keys: &keys }).unwrap());
        let received = b"VALUE k 0 3 1\r\nold\r\nSERVER_ERROR out of memory writing get response\r\nEND\r\n";
        session.space()[..received.len()].copy_from_slice(received);
        session.received(received.len());
        assert_eq!(session.reply(tickets[0]), Ok(Some(Err(ErrorKind::Server))));
        assert_eq!(session.reply(tickets[1]), Ok(Some(Ok(Reply::FoundMany(crate::exchange::Items::default())))));
    }
}
