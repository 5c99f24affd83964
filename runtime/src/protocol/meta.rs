//! The meta protocol: `mg`, `ms`, `md`, `ma`.
//!
//! Requests that it has no command for, those for several keys and those about
//! the node itself, are left to the classic protocol on the same connection.

use super::classic;
use super::expiry::expiry;
use super::life::Life;
use super::refusal::{is_clean, refusal};
use super::scan::{self, ALIEN};
use super::ticket::{Answer, Expect, Malformed, Progress, Ticket};
use super::words::say;
use crate::error::ErrorKind;
use crate::exchange::{Direction, Grant, Guard, Item, Note, Reply, Request, Token, Ttl, Write};

/// Appends a request to `out`, under a number that its reply will carry.
pub(super) fn encode(request: &Request<'_>, life: Life, number: u32, out: &mut Vec<u8>) {
    let mut begin = |command: &str, key: &str| say!(out, command, " ", key);
    match *request {
        Request::Lookup { key, lease, refresh } => {
            begin("mg", key);
            say!(out, " O", number, " v f c t N", lease.as_secs().max(1));
            if !refresh.is_zero() {
                // Like a ttl, a long window is sent as a point in time.
                say!(out, " R", expiry(Ttl::For(refresh)));
            }
            say!(out, "\r\n");
        }
        Request::Peek { key } | Request::Get { key } => {
            begin("mg", key);
            say!(out, " O", number, " v f c t\r\n");
        }
        Request::GetAndTouch { key, ttl } => {
            begin("mg", key);
            say!(out, " O", number, " T", expiry(ttl), " v f c t\r\n");
        }
        Request::Touch { key, ttl } => {
            begin("mg", key);
            say!(out, " O", number, " T", expiry(ttl), "\r\n");
        }
        Request::Store { key, value, flags, ttl, how, guard } => {
            begin("ms", key);
            say!(out, " ", value.len(), " O", number, " F", flags, " T", expiry(ttl), mode(how));
            guarded(guard, life, out);
            say!(out, "\r\n", value, "\r\n");
        }
        Request::Renew { key, cas, note, lease } => {
            begin("ms", key);
            let ttl = expiry(Ttl::For(lease));
            say!(out, " 0 O", number, " F", note.flags(), " T", ttl, " C", life.cas(cas), " c\r\n\r\n");
        }
        Request::Delete { key, guard } => {
            begin("md", key);
            say!(out, " O", number);
            guarded(guard, life, out);
            say!(out, "\r\n");
        }
        Request::Invalidate { key, guard, ttl } => {
            begin("md", key);
            say!(out, " O", number, " I");
            if let Some(ttl) = ttl {
                say!(out, " T", expiry(Ttl::For(ttl)));
            }
            guarded(guard, life, out);
            say!(out, "\r\n");
        }
        Request::Count { key, by, direction } => {
            begin("ma", key);
            let direction = match direction {
                Direction::Up => "I",
                Direction::Down => "D",
            };
            say!(out, " O", number, " v D", by, " M", direction, "\r\n");
        }
        Request::PeekMany { .. }
        | Request::Stats { .. }
        | Request::Version
        | Request::Servers
        | Request::FlushAll { .. }
        | Request::MemoryLimit { .. } => {
            let spoken = classic::encode(request, out);
            debug_assert!(spoken.is_ok(), "the classic protocol can express these requests");
        }
    }
}

fn mode(how: Write) -> &'static str {
    match how {
        Write::Set => "",
        Write::Add => " ME",
        Write::Replace => " MR",
        Write::Append => " MA",
        Write::Prepend => " MP",
    }
}

fn guarded(guard: Guard, life: Life, out: &mut Vec<u8>) {
    match guard {
        Guard::None => {}
        Guard::Unchanged(cas) => say!(out, " C", cas),
        Guard::Held(number) => say!(out, " C", life.cas(number)),
    }
}

/// Reads a reply, as far as it has arrived.
pub(super) fn decode(ticket: Ticket, input: &[u8]) -> Result<Progress, Malformed> {
    if matches!(ticket.expect, Expect::Counters | Expect::Version | Expect::Servers | Expect::Okay) {
        return classic::decode(ticket, input);
    }
    let Some((line, head)) = scan::line(input)? else { return Ok(Progress::More) };
    let mut words = scan::words(line);
    let Some(code) = Code::read(words.next().unwrap_or_default()) else {
        return match refusal(line) {
            Some(kind) if is_clean(kind) => Ok(Progress::Done(Err(kind), head)),
            Some(kind) => Err(Malformed(kind)),
            None => Err(ALIEN),
        };
    };
    let size = match code {
        Code::Va => Some(scan::size(words.next().unwrap_or_default())?),
        _ => None,
    };
    let flags = Flags::read(words);
    // Servers before 1.6.18 send no number with a miss.
    if flags.number != Some(ticket.number) && !(flags.number.is_none() && code == Code::En) {
        return Err(ALIEN);
    }
    let (value, length) = match size {
        None => (&[][..], 0),
        Some(size) => match scan::value(&input[head..], size)? {
            Some(value) => value,
            None => return Ok(Progress::More),
        },
    };
    let answer = interpret(ticket.expect, code, &flags, value)?;
    Ok(Progress::Done(answer, head + length))
}

/// What a reply begins with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Code {
    /// Done, with no value.
    Hd,
    /// A value follows.
    Va,
    /// A lookup found nothing.
    En,
    /// A change found nothing.
    Nf,
    /// Not stored, since something is there or nothing is.
    Ns,
    /// Another CAS unique is there.
    Ex,
}

impl Code {
    fn read(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"HD" => Code::Hd,
            b"VA" => Code::Va,
            b"EN" => Code::En,
            b"NF" => Code::Nf,
            b"NS" => Code::Ns,
            b"EX" => Code::Ex,
            _ => return None,
        })
    }
}

/// Turns a return code, its flags and its value into a reply of the expected kind.
fn interpret(expect: Expect, code: Code, flags: &Flags, value: &[u8]) -> Result<Answer, Malformed> {
    let reply = match (expect, code) {
        // An empty item with client flags 0 and a token is a lease, and so is one
        // that is marked as renewed.
        (Expect::Lease | Expect::Item | Expect::OwnItem, Code::Va)
            if value.is_empty()
                && (flags.note().is_some() || flags.client == Some(0) && flags.token != Token::None) =>
        {
            let note = flags.note();
            Reply::Missing(match (expect, flags.token, flags.cas.ok_or(ALIEN)?) {
                (Expect::OwnItem, ..) => Grant::Free,
                (Expect::Item, _, cas) => Grant::Lost { cas, note },
                // A renewed lease is short-lived, so a lookup with an early
                // refresh seems to win it; only an invalidated one is really won.
                (_, Token::Won, cas) if note.is_none() || flags.stale => Grant::Won(cas),
                (_, _, cas) => Grant::Lost { cas, note },
            })
        }
        (Expect::Lease | Expect::Item | Expect::OwnItem, Code::Va) => Reply::Found(flags.item(value).ok_or(ALIEN)?),
        (Expect::Lease | Expect::Item | Expect::OwnItem, Code::En) => Reply::Missing(Grant::Free),
        (Expect::Renewed, Code::Hd) if flags.cas.is_some() => Reply::Renewed(flags.cas.unwrap_or_default()),
        (Expect::Written | Expect::Renewed | Expect::Deleted | Expect::Touched, Code::Hd) => Reply::Done,
        (Expect::Written | Expect::Life, Code::Ns) => Reply::NotStored,
        (Expect::Written | Expect::Renewed | Expect::Deleted, Code::Ex) => Reply::Changed,
        (Expect::Written | Expect::Renewed | Expect::Deleted | Expect::Number | Expect::Life, Code::Nf)
        | (Expect::Touched, Code::En) => Reply::Absent,
        (Expect::Number | Expect::Life, Code::Va) => match scan::number(value) {
            Some(number) => Reply::Number(number),
            None => return Ok(Err(ErrorKind::NotANumber)),
        },
        _ => return Err(ALIEN),
    };
    Ok(Ok(reply))
}

/// The flags of a reply.
#[derive(Default)]
struct Flags {
    number: Option<u32>,
    client: Option<u32>,
    cas: Option<u64>,
    /// `None` if absent, `Some(None)` for -1, which means forever.
    seconds_left: Option<Option<u64>>,
    stale: bool,
    token: Token,
}

impl Flags {
    fn read<'a>(words: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut flags = Flags::default();
        for word in words {
            let [flag, token @ ..] = word else { continue };
            let number = scan::number(token);
            let short = number.and_then(|number| u32::try_from(number).ok());
            match (flag, token) {
                // A number that cannot be parsed must not match.
                (b'O', _) => flags.number = Some(short.unwrap_or(u32::MAX)),
                (b'f', _) => flags.client = short,
                (b'c', _) => flags.cas = number,
                (b't', b"-1") => flags.seconds_left = Some(None),
                (b't', _) => flags.seconds_left = number.map(Some),
                (b'W', []) => flags.token = Token::Won,
                (b'Z', []) => flags.token = Token::Lost,
                (b'X', []) => flags.stale = true,
                _ => {}
            }
        }
        flags
    }

    /// Returns the note of a lease that was renewed.
    fn note(&self) -> Option<Note> {
        self.client.and_then(Note::of)
    }

    /// Builds the item with this value, if the reply has all the flags asked for.
    fn item(&self, value: &[u8]) -> Option<Item> {
        Some(Item {
            value: scan::owned(value),
            flags: self.client?,
            cas: self.cas?,
            seconds_left: self.seconds_left?,
            stale: self.stale,
            token: self.token,
        })
    }
}
