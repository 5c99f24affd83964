//! The classic text protocol: `get`, `set`, `delete` and so on.
//!
//! Replies carry no request number. An item's key is compared with the request's,
//! and anything unexpected is malformed, so that the connection is closed.
//! Closing it is the connection's task.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use super::expiry::expiry;
use super::refusal::{is_clean, refusal};
use super::scan::{self, ALIEN};
use super::ticket::{Expect, Malformed, Progress, Ticket, Unspeakable};
use super::words::say;
use crate::error::ErrorKind;
use crate::exchange::{Direction, Grant, Guard, Item, Items, Keys, Note, Reply, Request, Ttl, Write};

/// Appends a request to `out`.
pub(super) fn encode(request: &Request<'_>, out: &mut Vec<u8>) -> Result<(), Unspeakable> {
    match *request {
        Request::Lookup { key, .. } | Request::Peek { key } | Request::Get { key } => say!(out, "gets ", key, "\r\n"),
        Request::PeekMany { keys } => {
            say!(out, "gets ", keys.as_str(), "\r\n");
        }
        Request::GetAndTouch { key, ttl } => say!(out, "gats ", expiry(ttl), " ", key, "\r\n"),
        Request::Touch { key, ttl } => say!(out, "touch ", key, " ", expiry(ttl), "\r\n"),
        Request::Store { key, value, flags, ttl, how, guard } => {
            let command = match (guard, how) {
                (Guard::None, how) => command(how),
                (Guard::Unchanged(_) | Guard::Held(_), Write::Set) => "cas",
                (Guard::Unchanged(_) | Guard::Held(_), _) => return Err(Unspeakable),
            };
            say!(out, command, " ", key, " ", flags, " ", expiry(ttl), " ", value.len());
            if let Guard::Unchanged(cas) | Guard::Held(cas) = guard {
                say!(out, " ", cas);
            }
            say!(out, "\r\n", value, "\r\n");
        }
        Request::Delete { key, guard: Guard::None } => say!(out, "delete ", key, "\r\n"),
        // There is no delete under a number: an item that has ended takes its place.
        Request::Delete { key, guard: Guard::Unchanged(cas) | Guard::Held(cas) } => {
            say!(out, "cas ", key, " 0 -1 0 ", cas, "\r\n\r\n");
        }
        // This protocol has no stale items: what is to be stale for a time is deleted.
        Request::Invalidate { key, guard: Guard::None, .. } | Request::Invalidate { key, ttl: Some(_), .. } => {
            say!(out, "delete ", key, "\r\n");
        }
        Request::Renew { key, cas, note, lease } => {
            say!(out, "cas ", key, " ", note.flags(), " ", expiry(Ttl::For(lease)), " 0 ", cas, "\r\n\r\n");
        }
        Request::Invalidate { .. } => return Err(Unspeakable),
        Request::Count { key, by, direction: Direction::Up } => say!(out, "incr ", key, " ", by, "\r\n"),
        Request::Count { key, by, direction: Direction::Down } => say!(out, "decr ", key, " ", by, "\r\n"),
        Request::Stats { group: "" } => say!(out, "stats\r\n"),
        Request::Stats { group } => say!(out, "stats ", group, "\r\n"),
        Request::Version => say!(out, "version\r\n"),
        Request::Servers => say!(out, "config get cluster\r\n"),
        Request::FlushAll { delay } if delay.is_zero() => say!(out, "flush_all\r\n"),
        Request::FlushAll { delay } => say!(out, "flush_all ", expiry(Ttl::For(delay)), "\r\n"),
        Request::MemoryLimit { mebibytes } => say!(out, "cache_memlimit ", mebibytes, "\r\n"),
    }
    Ok(())
}

fn command(how: Write) -> &'static str {
    match how {
        Write::Set => "set",
        Write::Add => "add",
        Write::Replace => "replace",
        Write::Append => "append",
        Write::Prepend => "prepend",
    }
}

/// Reads a reply, as far as it has arrived.
pub(super) fn decode(ticket: Ticket, input: &[u8]) -> Result<Progress, Malformed> {
    let Some((line, head)) = scan::line(input)? else { return Ok(Progress::More) };
    if let Some(kind) = refusal(line) {
        // Without a number, a refusal is a reply only if its text says so, or if the
        // request was one line: newer servers say `ERROR` to some memory limits.
        let is_reply = is_clean(kind) || (ticket.expect, line) == (Expect::Okay, &b"ERROR"[..]);
        return if is_reply { Ok(Progress::Done(Err(kind), head)) } else { Err(Malformed(kind)) };
    }
    let done = |reply| Ok(Progress::Done(Ok(reply), head));
    match (ticket.expect, line) {
        (Expect::Lease | Expect::Item | Expect::OwnItem, b"END") => done(Reply::Missing(Grant::Free)),
        (Expect::Counters, b"END" | b"RESET") => done(Reply::Counters(Vec::new())),
        (Expect::Lease | Expect::Item | Expect::OwnItem, line) => item(ticket, line, head, input),
        (Expect::Written, b"STORED")
        | (Expect::Deleted, b"DELETED")
        | (Expect::Touched, b"TOUCHED")
        | (Expect::Okay, b"OK") => done(Reply::Done),
        (Expect::Written, b"NOT_STORED") => done(Reply::NotStored),
        (Expect::Written, b"EXISTS") => done(Reply::Changed),
        (Expect::Written | Expect::Deleted | Expect::Touched | Expect::Number, b"NOT_FOUND") => done(Reply::Absent),
        // Some servers pad a number that has become shorter.
        (Expect::Number, line) => match scan::number(line.trim_ascii_end()) {
            Some(number) => done(Reply::Number(number)),
            None => Err(ALIEN),
        },
        (Expect::Counters, line) => match line.strip_prefix(b"STAT ") {
            Some(rest) => {
                let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
                let value = rest.get(end + 1..).unwrap_or_default();
                Ok(Progress::Counter(scan::text(&rest[..end]), scan::text(value), head))
            }
            None => Err(ALIEN),
        },
        (Expect::Servers, line) => servers(line, head, input),
        // The server rejects this memory limit as too small or too large.
        (Expect::Okay, line) if line.starts_with(b"MEMLIMIT_") => Ok(Progress::Done(Err(ErrorKind::Rejected), head)),
        (Expect::Version, line) => match line.strip_prefix(b"VERSION ") {
            Some(version) => done(Reply::Text(scan::text(version))),
            None => Err(ALIEN),
        },
        _ => Err(ALIEN),
    }
}

/// Reads a list of servers: `CONFIG cluster <flags> <bytes>`, the list, `END`.
fn servers(line: &[u8], head: usize, input: &[u8]) -> Result<Progress, Malformed> {
    let words: Vec<&[u8]> = scan::words(line).collect();
    let [b"CONFIG", b"cluster", _, size] = words[..] else { return Err(ALIEN) };
    let Some((list, length)) = scan::value(&input[head..], scan::size(size)?)? else {
        return Ok(Progress::More);
    };
    let read = head + length;
    match scan::line(&input[read..])? {
        None => Ok(Progress::More),
        Some((b"END", end)) => Ok(Progress::Done(Ok(Reply::Text(scan::text(list))), read + end)),
        Some(_) => Err(ALIEN),
    }
}

/// Reads an item: `VALUE <key> <flags> <bytes> <cas>`, the value, `END`.
fn item(ticket: Ticket, line: &[u8], head: usize, input: &[u8]) -> Result<Progress, Malformed> {
    let Head { key, flags, size, cas } = Head::read(line).ok_or(ALIEN)?;
    let Some((value, length)) = scan::value(&input[head..], size)? else { return Ok(Progress::More) };
    if xxh3_64(key) != ticket.key {
        return Err(ALIEN);
    }
    let read = head + length;
    // Exactly one item must come before `END`.
    match scan::line(&input[read..])? {
        None => Ok(Progress::More),
        // This is another client's lease, whose value is yet to be stored. One without a note
        // looks like an empty value, which clients may have stored.
        Some((b"END", end))
            if size == 0 && (Note::of(flags).is_some() || (flags == 0 && ticket.expect != Expect::OwnItem)) =>
        {
            let grant = match ticket.expect {
                Expect::Item | Expect::Lease => Grant::Lost { cas, note: Note::of(flags) },
                _ => Grant::Free,
            };
            Ok(Progress::Done(Ok(Reply::Missing(grant)), read + end))
        }
        Some((b"END", end)) => {
            let item = Item { value: scan::owned(value), flags, cas, ..Item::default() };
            Ok(Progress::Done(Ok(Reply::Found(item)), read + end))
        }
        Some(_) => Err(ALIEN),
    }
}

/// The line before a value.
struct Head<'a> {
    key: &'a [u8],
    flags: u32,
    size: usize,
    cas: u64,
}

impl<'a> Head<'a> {
    fn read(line: &'a [u8]) -> Option<Self> {
        let line = line.strip_prefix(b"VALUE ")?;
        let (key, numbers) = line.split_at(line.iter().position(|byte| *byte == b' ')?);
        let mut numbers = scan::words(numbers).map(scan::number);
        let mut next = || numbers.next()?;
        Some(Head { key, flags: next()?.try_into().ok()?, size: next()?.try_into().ok()?, cas: next()? })
    }
}

/// The items of a reply that has not arrived in full.
#[derive(Debug, Default)]
pub(super) struct List {
    keys: Vec<u8>,
    list: Vec<(Range<usize>, Item)>,
}

impl List {
    /// Reserves memory for the items of these keys.
    pub(super) fn reserve(&mut self, keys: &Keys) {
        self.keys.reserve(keys.as_str().len());
        self.list.reserve(keys.len());
    }

    /// Reads items and the end of the reply, as far as they have arrived.
    pub(super) fn read(&mut self, input: &[u8]) -> Result<Progress, Malformed> {
        let mut read = 0;
        while let Some((line, head)) = scan::line(&input[read..])? {
            let Some(Head { key, flags, size, cas }) = Head::read(line) else {
                return Ok(match (line, refusal(line)) {
                    (b"END", _) => Progress::Done(Ok(Reply::FoundMany(Items::default())), read + head),
                    (_, Some(kind)) if is_clean(kind) => Progress::Done(Err(kind), read + head),
                    (_, Some(kind)) => return Err(Malformed(kind)),
                    _ => return Err(ALIEN),
                });
            };
            let Some((value, length)) = scan::value(&input[read + head..], size)? else { break };
            let start = self.keys.len();
            self.keys.extend_from_slice(key);
            let item = Item { value: scan::owned(value), flags, cas, ..Item::default() };
            self.list.push((start..self.keys.len(), item));
            read += head + length;
        }
        Ok(if read == 0 { Progress::More } else { Progress::Items(read) })
    }

    /// Takes the items read so far.
    pub(super) fn take(&mut self) -> Result<Items, Malformed> {
        let keys = String::from_utf8(std::mem::take(&mut self.keys)).map_err(|_| ALIEN)?;
        Ok(Items::new(keys, std::mem::take(&mut self.list)))
    }

    pub(super) fn clear(&mut self) {
        (self.keys, self.list) = Default::default();
    }
}
