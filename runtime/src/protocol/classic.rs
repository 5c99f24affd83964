//! The classic text protocol: `get`, `set`, `delete` and so on.
//!
//! A reply carries no number here: an item's key is compared, and otherwise a
//! connection must be closed as soon as anything is out of order.

use xxhash_rust::xxh3::xxh3_64;

use super::compose::say;
use super::scan::{self, ALIEN};
use super::{Expect, Malformed, Progress, Ticket, Unspeakable, expiry, is_clean, refusal};
use crate::error::ErrorKind;
use crate::exchange::{Direction, Guard, Item, Lease, Reply, Request, Ttl, Write};

pub(super) fn encode(request: &Request<'_>, out: &mut Vec<u8>) -> Result<(), Unspeakable> {
    match *request {
        // There are no leases in this protocol.
        Request::Lookup { key, .. } | Request::Peek { key } => say!(out, "gets ", key, "\r\n"),
        Request::PeekMany { keys } => {
            say!(out, "gets ", keys.as_str(), "\r\n");
        }
        Request::GetAndTouch { key, ttl } => say!(out, "gats ", expiry(ttl), " ", key, "\r\n"),
        Request::Touch { key, ttl } => say!(out, "touch ", key, " ", expiry(ttl), "\r\n"),
        Request::Store { key, value, flags, ttl, how, guard } => {
            let command = match (guard, how) {
                (Guard::None, how) => command(how),
                (Guard::Unchanged(_), Write::Set) => "cas",
                (Guard::Unchanged(_), _) => return Err(Unspeakable),
            };
            say!(out, command, " ", key, " ", flags, " ", expiry(ttl), " ", value.len());
            if let Guard::Unchanged(cas) = guard {
                say!(out, " ", cas);
            }
            say!(out, "\r\n", value, "\r\n");
        }
        Request::Delete { key, guard: Guard::None } => say!(out, "delete ", key, "\r\n"),
        // Nothing is stale in this protocol.
        Request::Invalidate { key, guard: Guard::None, .. } => say!(out, "delete ", key, "\r\n"),
        Request::Delete { .. } | Request::Invalidate { .. } => return Err(Unspeakable),
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

pub(super) fn decode(ticket: Ticket, input: &[u8]) -> Result<Progress, Malformed> {
    let Some((line, head)) = scan::line(input)? else { return Ok(Progress::More) };
    if let Some(kind) = refusal(line) {
        // Without a number, only what says so itself is this request's reply.
        return if is_clean(kind) { Ok(Progress::Done(Err(kind), head)) } else { Err(Malformed(kind)) };
    }
    let done = |reply| Ok(Progress::Done(Ok(reply), head));
    match (ticket.expect, line) {
        (Expect::Lease | Expect::Item, b"END") => done(Reply::Missing(Lease::Free)),
        (Expect::Items, b"END") => done(Reply::FoundMany(Vec::new())),
        (Expect::Counters, b"END" | b"RESET") => done(Reply::Counters(Vec::new())),
        (Expect::Lease | Expect::Item | Expect::Items, line) => item(ticket, line, head, input),
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
        // So large or so small a memory cannot be had.
        (Expect::Okay, line) if line.starts_with(b"MEMLIMIT_") => Ok(Progress::Done(Err(ErrorKind::Rejected), head)),
        (Expect::Version, line) => match line.strip_prefix(b"VERSION ") {
            Some(version) => done(Reply::Text(scan::text(version))),
            None => Err(ALIEN),
        },
        _ => Err(ALIEN),
    }
}

/// `CONFIG cluster <flags> <bytes>`, the list, and `END`.
fn servers(line: &[u8], head: usize, input: &[u8]) -> Result<Progress, Malformed> {
    let words: Vec<&[u8]> = scan::words(line).collect();
    let [b"CONFIG", b"cluster", _, size] = words[..] else { return Err(ALIEN) };
    let Some((list, length)) = scan::value(&input[head..], scan::number(size).ok_or(ALIEN)?)? else {
        return Ok(Progress::More);
    };
    let read = head + length;
    match scan::line(&input[read..])? {
        None => Ok(Progress::More),
        Some((b"END", end)) => Ok(Progress::Done(Ok(Reply::Text(scan::text(list))), read + end)),
        Some(_) => Err(ALIEN),
    }
}

/// `VALUE <key> <flags> <bytes> [<cas>]`, and the value behind it.
fn item(ticket: Ticket, line: &[u8], head: usize, input: &[u8]) -> Result<Progress, Malformed> {
    let mut words = scan::words(line);
    let mut next = || words.next().ok_or(ALIEN);
    let (b"VALUE", key) = (next()?, next()?) else { return Err(ALIEN) };
    let flags: u32 = scan::number(next()?).ok_or(ALIEN)?;
    let size: usize = scan::number(next()?).ok_or(ALIEN)?;
    let cas = scan::number(next()?).ok_or(ALIEN)?;
    let Some((value, length)) = scan::value(&input[head..], size)? else { return Ok(Progress::More) };
    let item = || Item { value: value.to_vec(), flags, cas, ..Item::default() };
    let read = head + length;
    if ticket.expect == Expect::Items {
        let key = str::from_utf8(key).map_err(|_| ALIEN)?;
        return Ok(Progress::Item(key.to_owned(), item(), read));
    }
    if xxh3_64(key) != ticket.key {
        return Err(ALIEN);
    }
    // One item, and nothing after it.
    match scan::line(&input[read..])? {
        None => Ok(Progress::More),
        // Another client's lease looks like this, whose value is still to come.
        Some((b"END", end)) if size == 0 && flags == 0 => {
            Ok(Progress::Done(Ok(Reply::Missing(Lease::Free)), read + end))
        }
        Some((b"END", end)) => Ok(Progress::Done(Ok(Reply::Found(item())), read + end)),
        Some(_) => Err(ALIEN),
    }
}
