//! memcached's protocols: encodes requests and decodes replies.
//!
//! This folder does no I/O: blocking and async connections move the bytes of a
//! [`Session`]. There are two dialects: the *meta* protocol (memcached 1.6.10
//! and later), where each reply carries its request's number, and the *classic*
//! text protocol, which every memcached-compatible server understands.

mod buffer;
mod classic;
#[cfg(all(test, feature = "tokio"))]
mod differential_tests;
mod expiry;
mod greeting;
mod life;
mod meta;
mod numbers;
mod refusal;
mod scan;
#[cfg(any(test, fuzzing))]
pub(crate) mod stream_tests;
mod ticket;
mod words;

use xxhash_rust::xxh3::xxh3_64;

use crate::exchange::{Numbering, Reply, Request};
use buffer::Buffer;
pub(crate) use buffer::KEPT;
pub(crate) use life::{Life, Lives};
pub(crate) use numbers::RequestNumbers;
pub(crate) use ticket::{Answer, Dialect, Malformed, Ticket, Unspeakable};
use ticket::{Expect, Progress, expectation};

/// A key that is read to check that the server speaks the classic protocol.
const HELLO: &str = "memocached:hello";

/// How a connection words its requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wording {
    pub(crate) dialect: Dialect,
    /// What the numbers in requests and replies belong to.
    pub(crate) life: Life,
}

impl From<Dialect> for Wording {
    fn from(dialect: Dialect) -> Self {
        Wording { dialect, life: Life::UNKNOWN }
    }
}

/// The protocol state of one connection.
#[derive(Debug)]
pub(crate) struct Session {
    wording: Wording,
    /// Where the server's life is noted.
    lives: Lives,
    /// Whether the server has been asked for its life.
    has_asked: bool,
    /// The request for the server's life, which no caller waits for.
    unread: Option<Ticket>,
    numbers: RequestNumbers,
    output: Vec<u8>,
    input: Buffer,
    /// The items of a reply that has not arrived in full.
    items: classic::List,
    counters: Vec<(String, String)>,
}

impl Session {
    /// Creates a session. The numbers are for the requests that are written with it.
    pub(crate) fn new(dialect: Dialect, numbers: RequestNumbers, lives: Lives) -> Self {
        Session {
            wording: dialect.into(),
            lives,
            has_asked: false,
            unread: None,
            numbers,
            output: Vec::with_capacity(512),
            input: Buffer::new(),
            items: classic::List::default(),
            counters: Vec::new(),
        }
    }

    /// Appends a request to the output. The caller has checked its key and value.
    pub(crate) fn write(&mut self, request: &Request<'_>) -> Result<Ticket, Unspeakable> {
        if let Request::PeekMany { keys } = request {
            self.items.reserve(keys);
        }
        encode(self.wording, self.numbers.take(), request, &mut self.output)
    }

    /// Appends several requests.
    pub(crate) fn write_all(&mut self, requests: &[Request<'_>]) -> Result<Vec<Ticket>, Unspeakable> {
        let mut tickets = Vec::with_capacity(requests.len());
        for request in requests {
            tickets.push(self.write(request)?);
        }
        Ok(tickets)
    }

    /// Creates the session of a connection that is the only one.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn alone(dialect: Dialect) -> Self {
        Self::new(dialect, RequestNumbers::from_one(), Lives::default())
    }

    /// Writes the greeting that precedes any request: the credentials, and a probe
    /// of the dialect unless that `is_known`. The caller reads a reply for each
    /// ticket and may ignore its content.
    pub(crate) fn greet(
        &mut self,
        credentials: Option<(&str, &str)>,
        is_known: bool,
    ) -> Result<Vec<Ticket>, Unspeakable> {
        let mut tickets = Vec::new();
        if let Some((username, password)) = credentials {
            let secret = format!("{username} {password}");
            self.output.extend_from_slice(format!("set auth 0 0 {}\r\n{secret}\r\n", secret.len()).as_bytes());
            tickets.push(Ticket { expect: Expect::Welcome, number: 0, key: 0 });
        }
        match (is_known, self.dialect()) {
            (true, _) => {}
            (false, Dialect::Meta) => {
                self.output.extend_from_slice(b"mn\r\n");
                tickets.push(Ticket { expect: Expect::Dialect, number: 0, key: 0 });
            }
            (false, Dialect::Classic) => tickets.push(self.write(&Request::Peek { key: HELLO })?),
        }
        Ok(tickets)
    }

    /// Asks which life the server is in, before the first requests to which that matters.
    /// A ticket stands for a reply that the caller waits for before it writes them.
    pub(crate) fn ask_life(&mut self, numbering: Numbering) -> Option<Ticket> {
        if self.has_asked || numbering == Numbering::None || self.dialect() == Dialect::Classic {
            return None;
        }
        self.has_asked = true;
        let number = self.numbers.take();
        Life::ask(number, &mut self.output);
        let ticket = Ticket { expect: Expect::Life, number, key: 0 };
        if numbering == Numbering::Sent {
            return Some(ticket);
        }
        self.unread = Some(ticket);
        None
    }

    /// Whether the server still is in the life that this connection has found it in, as
    /// far as others know.
    pub(crate) fn is_of_this_life(&self) -> bool {
        self.wording.life == Life::UNKNOWN || self.wording.life == self.lives.now()
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn wording(&self) -> Wording {
        self.wording
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.wording.dialect
    }

    /// Returns the bytes to send.
    pub(crate) fn output(&self) -> &[u8] {
        &self.output
    }

    /// Records that the whole output has been sent.
    pub(crate) fn sent(&mut self) {
        self.output.clear();
        self.output.shrink_to(KEPT);
    }

    /// Returns room for received bytes, which is never empty.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        self.input.space()
    }

    /// Records that this many bytes have been received.
    pub(crate) fn received(&mut self, bytes: usize) {
        self.input.filled(bytes);
    }

    /// Whether all received bytes have been decoded.
    pub(crate) fn is_drained(&self) -> bool {
        self.input.is_empty()
    }

    /// Returns the reply to the ticket's request once all of it has arrived.
    /// Tickets must be presented in the order of their requests.
    pub(crate) fn reply(&mut self, ticket: Ticket) -> Result<Option<Answer>, Malformed> {
        if let Some(unread) = self.unread {
            if self.next(unread)?.is_none() {
                return Ok(None);
            }
            self.unread = None;
        }
        self.next(ticket)
    }

    fn next(&mut self, ticket: Ticket) -> Result<Option<Answer>, Malformed> {
        while !self.input.is_empty() {
            let input = self.input.bytes();
            let progress = match (ticket.expect, self.dialect()) {
                (Expect::Welcome | Expect::Dialect, _) => greeting::decode(ticket.expect, input)?,
                (Expect::Items, _) => self.items.read(input)?,
                (_, Dialect::Meta) => meta::decode(ticket, input)?,
                (_, Dialect::Classic) => classic::decode(ticket, input)?,
            };
            match progress {
                Progress::More => return Ok(None),
                Progress::Items(consumed) => self.input.consume(consumed),
                Progress::Counter(name, value, consumed) => {
                    self.counters.push((name, value));
                    self.input.consume(consumed);
                }
                Progress::Done(mut answer, consumed) => {
                    self.input.consume(consumed);
                    self.complete(ticket.expect, &mut answer)?;
                    return Ok(Some(answer));
                }
            }
        }
        Ok(None)
    }

    /// Completes an answer with the parts that arrived before its end, gives the item that
    /// a lookup has found its number within this process, and takes note of what the
    /// answer says of the server.
    #[inline]
    fn complete(&mut self, expect: Expect, answer: &mut Answer) -> Result<(), Malformed> {
        match (expect, &mut *answer) {
            (Expect::Lease | Expect::Item | Expect::Renewed, Ok(reply)) => self.wording.life.renumber(reply),
            (_, Ok(Reply::FoundMany(items))) => *items = self.items.take()?,
            (_, Ok(Reply::Counters(counters))) => *counters = std::mem::take(&mut self.counters),
            (Expect::Dialect, Ok(Reply::Absent)) => self.wording.dialect = Dialect::Classic,
            (Expect::Life, Ok(Reply::Number(token))) => {
                self.wording.life = Life::read(*token);
                self.lives.note(self.wording.life);
            }
            (_, Ok(_)) => {}
            // A refusal may come after the first parts of a reply.
            (_, Err(_)) => {
                self.items.clear();
                self.counters.clear();
            }
        }
        Ok(())
    }
}

/// Appends a request to `out`. The number must differ from those of pending
/// requests, and the caller has checked key and value.
pub(crate) fn encode(
    wording: Wording,
    number: u32,
    request: &Request<'_>,
    out: &mut Vec<u8>,
) -> Result<Ticket, Unspeakable> {
    let Wording { dialect, life } = wording;
    let key = match (dialect, request.key()) {
        (Dialect::Classic, Some(key)) => xxh3_64(key.as_bytes()),
        _ => 0,
    };
    match dialect {
        Dialect::Meta => meta::encode(request, life, number, out),
        Dialect::Classic => classic::encode(request, out)?,
    }
    Ok(Ticket { expect: expectation(dialect, request), number, key })
}

/// Sent before a connection is closed.
pub(crate) const GOODBYE: &[u8] = b"quit\r\n";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_delay_over_thirty_days_becomes_a_timestamp() {
        let says = |days: u64| {
            let mut session = Session::alone(Dialect::Meta);
            session.write(&Request::FlushAll { delay: Duration::from_secs(days * 86_400) }).unwrap();
            String::from_utf8(session.output().to_vec()).unwrap()
        };
        assert_eq!((says(0).as_str(), says(30).as_str()), ("flush_all\r\n", "flush_all 2592000\r\n"));
        assert!(says(31).len() == "flush_all 1700000000\r\n".len());
    }

    #[test]
    fn items_before_a_refusal_are_not_part_of_the_next_reply() {
        let mut session = Session::alone(Dialect::Meta);
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
