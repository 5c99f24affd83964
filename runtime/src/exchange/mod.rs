//! The requests to a store and its replies.
//!
//! memcached and the embedded store accept the same requests and give the same
//! replies. How they execute them is not described here.

mod keys;
mod note;
mod ttl;

use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::named::named;
pub(crate) use keys::{Items, Keys};
pub(crate) use note::Note;
pub use ttl::Ttl;

/// One request to one node.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request<'a> {
    /// Reads an item. On a miss, one caller wins a lease and may store. One caller
    /// also wins an item that is stale or expires in less than `refresh`.
    Lookup { key: &'a str, lease: Duration, refresh: Duration },
    /// Reads an item or which lease there is, without winning anything.
    Peek { key: &'a str },
    /// Reads an item for a client, which sees the server's own number.
    Get { key: &'a str },
    /// Reads several items at once.
    PeekMany { keys: &'a Keys },
    /// Reads an item and resets its ttl.
    GetAndTouch { key: &'a str, ttl: Ttl },
    /// Writes an item, if the kind of write and the guard allow. The client flags
    /// tell readers the format of the bytes.
    Store { key: &'a str, value: &'a [u8], flags: u32, ttl: Ttl, how: Write, guard: Guard },
    /// Renews or takes over the lease with this number, for `lease` from now on: it
    /// gets another number and this note.
    Renew { key: &'a str, cas: u64, note: Note, lease: Duration },
    /// Removes an item, if the guard allows.
    Delete { key: &'a str, guard: Guard },
    /// Marks an item as stale, if the guard allows: the next caller wins it, and a
    /// previous winner may no longer store. Resets the ttl if there is one.
    Invalidate { key: &'a str, guard: Guard, ttl: Option<Duration> },
    /// Adds to a decimal number, or subtracts from it, down to zero.
    Count { key: &'a str, by: u64, direction: Direction },
    /// Resets an item's ttl.
    Touch { key: &'a str, ttl: Ttl },
    /// Reads the node's statistics: those of a group such as `items`, or the general
    /// ones if the group is empty.
    Stats { group: &'a str },
    /// Reads the node's version.
    Version,
    /// Reads the servers of the node's cluster, from services that publish them.
    Servers,
    /// Removes all items after a delay.
    FlushAll { delay: Duration },
    /// Sets the node's memory limit.
    MemoryLimit { mebibytes: u64 },
}

/// Where a request and its reply name items by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Numbering {
    None,
    Received,
    Sent,
}

/// The requests that one node gets at once.
#[derive(Debug)]
pub(crate) struct NodeBatch<'a> {
    /// The node's index in the list of nodes.
    pub(crate) node: usize,
    pub(crate) requests: Vec<Request<'a>>,
}

impl NodeBatch<'_> {
    /// Whether sending the requests may block until the node reads some of them.
    pub(crate) fn is_long(&self) -> bool {
        self.requests.iter().map(Request::length).sum::<usize>() > SURE_TO_FIT / 2
    }
}

/// Returns the first of these requests: those that may be sent before their replies are read.
/// A server that cannot send its replies reads no further, so either the requests or their
/// replies must fit into what the sockets hold.
pub(crate) fn portion<'r, 'a>(requests: &'r [Request<'a>]) -> &'r [Request<'a>] {
    let by_length = fitting(requests, Request::length);
    if by_length == requests.len() {
        return requests;
    }
    // One alone has no replies before it.
    &requests[..by_length.max(fitting(requests, Request::reply_length)).max(1)]
}

/// Returns how many of the requests are not too long together, by this length.
fn fitting<'a>(requests: &[Request<'a>], length: impl Fn(&Request<'a>) -> usize) -> usize {
    let mut total = 0;
    let exceeds = |request: &Request<'a>| {
        total += length(request);
        total > SURE_TO_FIT
    };
    requests.iter().position(exceeds).unwrap_or(requests.len())
}

/// What sockets hold of requests that are not read, or of replies, in bytes.
const SURE_TO_FIT: usize = 64 * 1024;

/// The effect of a write on an existing item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// Writes whether or not there is an item.
    Set,
    /// Writes only if there is no item.
    Add,
    /// Writes only if there is an item.
    Replace,
    /// Appends to the item, which keeps its flags and ttl.
    Append,
    /// Prepends to the item, which keeps its flags and ttl.
    Prepend,
}

impl Write {
    /// Returns the verb that names a write without a guard.
    pub(crate) fn verb(self) -> Verb {
        match self {
            Write::Set => Verb::Set,
            Write::Add => Verb::Add,
            Write::Replace => Verb::Replace,
            Write::Append => Verb::Append,
            Write::Prepend => Verb::Prepend,
        }
    }
}

/// The direction of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Up,
    Down,
}

/// The condition on an item for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// No condition.
    None,
    /// The item still has this number (memcached's *CAS unique*): it has been
    /// neither written nor deleted since the number was read.
    Unchanged(u64),
    /// The item still has the number that a lookup or a renewal has told, and its
    /// server has not started again meanwhile.
    Held(u64),
}

/// A store's reply to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The item.
    Found(Item),
    /// The items found of several keys.
    FoundMany(Items),
    /// There is no item; the grant tells whether this caller may store one.
    Missing(Grant),
    /// The request was carried out.
    Done,
    /// The lease was renewed, and has this number now.
    Renewed(u64),
    /// The kind of write did not allow it: `add` found an item, or another none.
    NotStored,
    /// The guard did not allow it: the item has changed.
    Changed,
    /// The request needs an item, and there is none.
    Absent,
    /// The number after counting.
    Number(u64),
    /// A version, or a list of servers.
    Text(String),
    /// Statistics by name.
    Counters(Vec<(String, String)>),
}

/// The caller that may store after a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// This caller, whose lease has this number.
    Won(u64),
    /// Another caller, whose lease has this number. The note is there once it was
    /// renewed.
    Lost { cas: u64, note: Option<Note> },
    /// Any caller: no lease was requested, or the server does not support leases.
    Free,
}

/// A stored value with its metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) value: Vec<u8>,
    /// The client flags, by which the writer tells the format of the bytes.
    pub(crate) flags: u32,
    /// The number for [`Guard::Unchanged`].
    pub(crate) cas: u64,
    /// The time to live in whole seconds; `None` if unlimited or unknown.
    pub(crate) seconds_left: Option<u64>,
    /// Whether the item has been marked as stale.
    pub(crate) stale: bool,
    pub(crate) token: Token,
}

/// The caller that is to refresh an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Token {
    /// No caller: the item is fresh, or the server has no such tokens.
    #[default]
    None,
    /// This caller.
    Won,
    /// Another caller.
    Lost,
}

/// A reply, or the reason why there is none.
pub(crate) type Outcome = Result<Reply, Error>;

/// Returns the error of a request without an outcome, which should not happen.
pub(crate) fn unanswered() -> Error {
    Error::new(ErrorKind::Protocol, "a request has no outcome")
}

/// Extracts the item of a reply, if there is one.
pub(crate) fn found(outcome: Outcome) -> Result<Option<Item>, Error> {
    match outcome? {
        Reply::Found(item) => Ok(Some(item)),
        _ => Ok(None),
    }
}

named! {
    /// The client's verbs, as spans and metrics name them.
    pub(crate) enum Verb {
        Get "get",
        GetMany "get_many",
        Gets "gets",
        GetsMany "gets_many",
        Gat "gat",
        Gats "gats",
        Set "set",
        SetMany "set_many",
        Add "add",
        Replace "replace",
        Append "append",
        Prepend "prepend",
        Cas "cas",
        Delete "delete",
        DeleteMany "delete_many",
        Incr "incr",
        Decr "decr",
        Touch "touch",
        Stats "stats",
        Version "version",
        FlushAll "flush_all",
        CacheMemlimit "cache_memlimit",
        Quit "quit",
        Close "close",
    }
    /// Returns the name in telemetry.
    pub(crate) fn as_str;
}

impl<'a> Request<'a> {
    /// Returns the key that selects the node, for requests of a single key.
    pub(crate) fn key(&self) -> Option<&'a str> {
        match *self {
            Request::Lookup { key, .. }
            | Request::Peek { key }
            | Request::Get { key }
            | Request::GetAndTouch { key, .. }
            | Request::Store { key, .. }
            | Request::Renew { key, .. }
            | Request::Delete { key, .. }
            | Request::Invalidate { key, .. }
            | Request::Count { key, .. }
            | Request::Touch { key, .. } => Some(key),
            Request::PeekMany { .. }
            | Request::Stats { .. }
            | Request::Version
            | Request::Servers
            | Request::FlushAll { .. }
            | Request::MemoryLimit { .. } => None,
        }
    }

    /// Returns all keys of the request.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a str> {
        let listed = if let Request::PeekMany { keys } = *self { Some(keys.iter()) } else { None };
        self.key().into_iter().chain(listed.into_iter().flatten())
    }

    /// About what a request has beside its key and its value, and no less than a reply without
    /// an item, in bytes.
    const OVERHEAD: usize = 64;

    /// Returns about how long the request is, in bytes.
    fn length(&self) -> usize {
        let text = match *self {
            Request::PeekMany { keys } => keys.as_str().len(),
            Request::Store { key, value, .. } => key.len() + value.len(),
            request => request.key().map_or(0, str::len),
        };
        Self::OVERHEAD + text
    }

    /// Returns about how long the reply may be, in bytes: as much as sockets hold, if there is
    /// an item in it.
    fn reply_length(&self) -> usize {
        match self {
            Request::Store { .. }
            | Request::Renew { .. }
            | Request::Delete { .. }
            | Request::Invalidate { .. }
            | Request::Count { .. }
            | Request::Touch { .. }
            | Request::FlushAll { .. }
            | Request::MemoryLimit { .. } => Self::OVERHEAD,
            Request::Lookup { .. }
            | Request::Peek { .. }
            | Request::Get { .. }
            | Request::PeekMany { .. }
            | Request::GetAndTouch { .. }
            | Request::Stats { .. }
            | Request::Version
            | Request::Servers => SURE_TO_FIT,
        }
    }

    /// Returns the verb that names the request where the caller has no other.
    pub(crate) fn verb(&self) -> Verb {
        match self {
            Request::Lookup { .. } | Request::Peek { .. } | Request::Get { .. } => Verb::Get,
            Request::PeekMany { .. } => Verb::GetMany,
            Request::GetAndTouch { .. } => Verb::Gat,
            Request::Store { how, .. } => how.verb(),
            Request::Renew { .. } => Verb::Touch,
            Request::Delete { .. } | Request::Invalidate { .. } => Verb::Delete,
            Request::Count { direction: Direction::Up, .. } => Verb::Incr,
            Request::Count { direction: Direction::Down, .. } => Verb::Decr,
            Request::Touch { .. } => Verb::Touch,
            Request::Stats { .. } | Request::Servers => Verb::Stats,
            Request::Version => Verb::Version,
            Request::FlushAll { .. } => Verb::FlushAll,
            Request::MemoryLimit { .. } => Verb::CacheMemlimit,
        }
    }

    /// Returns whether the request only reads, so that it can be repeated if the reply is lost.
    pub(crate) fn only_reads(&self) -> bool {
        matches!(
            self,
            Request::Lookup { .. }
                | Request::Peek { .. }
                | Request::Get { .. }
                | Request::PeekMany { .. }
                | Request::Stats { .. }
                | Request::Version
                | Request::Servers
        )
    }

    /// Returns where the request and its reply name items by numbers that are valid for one
    /// life of the server.
    pub(crate) fn numbering(&self) -> Numbering {
        match self {
            Request::Store { guard, .. } | Request::Delete { guard, .. } | Request::Invalidate { guard, .. } => {
                match guard {
                    Guard::Held(_) => Numbering::Sent,
                    Guard::None | Guard::Unchanged(_) => Numbering::None,
                }
            }
            Request::Renew { .. } => Numbering::Sent,
            Request::Lookup { .. } | Request::Peek { .. } => Numbering::Received,
            Request::Get { .. }
            | Request::PeekMany { .. }
            | Request::GetAndTouch { .. }
            | Request::Count { .. }
            | Request::Touch { .. }
            | Request::Stats { .. }
            | Request::Version
            | Request::Servers
            | Request::FlushAll { .. }
            | Request::MemoryLimit { .. } => Numbering::None,
        }
    }

    /// Whether a reply of the right kind can belong to this request: servers keep
    /// the order of the keys and leave out those they do not have.
    pub(crate) fn is_answered_by(&self, reply: &Reply) -> bool {
        let (Request::PeekMany { keys }, Reply::FoundMany(items)) = (self, reply) else { return true };
        keys.include(items.iter().map(|(key, _)| key))
    }

    /// Checks the request before anything is sent: an invalid key could be read as
    /// commands, and memcached deletes the old item when it refuses a new one for
    /// its size.
    ///
    /// # Errors
    ///
    /// If the key is invalid or the item is too large.
    pub(crate) fn check(&self, limit: ItemLimit) -> Result<(), Error> {
        self.key().map_or(Ok(()), check_key)?;
        match self {
            Request::Store { key, value, .. } => limit.check(key.len() + value.len()),
            Request::Lookup { .. }
            | Request::Peek { .. }
            | Request::Get { .. }
            | Request::PeekMany { .. }
            | Request::GetAndTouch { .. }
            | Request::Renew { .. }
            | Request::Delete { .. }
            | Request::Invalidate { .. }
            | Request::Count { .. }
            | Request::Touch { .. }
            | Request::Stats { .. }
            | Request::Version
            | Request::Servers
            | Request::FlushAll { .. }
            | Request::MemoryLimit { .. } => Ok(()),
        }
    }
}

/// The largest item that the servers accept, in bytes: their option `-I`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ItemLimit(pub(crate) usize);

impl Default for ItemLimit {
    fn default() -> Self {
        ItemLimit(1 << 20)
    }
}

impl ItemLimit {
    /// The bounds of memcached's option.
    pub(crate) const SMALLEST: usize = 1 << 10;
    pub(crate) const LARGEST: usize = 1 << 30;
    /// What the server's own header takes of an item, with some margin for different
    /// builds.
    const HEADER: usize = 512;

    /// Checks the size of a key and its value together, in bytes.
    ///
    /// # Errors
    ///
    /// If it exceeds the limit.
    pub(crate) fn check(self, bytes: usize) -> Result<(), Error> {
        let most = self.0 - Self::HEADER;
        if bytes <= most {
            return Ok(());
        }
        let message = format!("the item has {bytes} bytes; the limit is {most} (MEMCACHED_ITEM_LIMIT)");
        Err(Error::new(ErrorKind::TooLarge, message))
    }
}

/// What begins the key of an item that each node has: it belongs to no node in
/// particular.
pub(crate) const EVERYWHERE: &str = "memocached:group";

/// Checks that memcached accepts the key.
///
/// # Errors
///
/// If it does not; the error does not quote the key.
pub(crate) fn check_key(key: &str) -> Result<(), Error> {
    let wrong = match key.len() {
        0 => "it is empty".to_owned(),
        length if length > MAX_KEY => format!("it has {length} bytes; memcached accepts at most {MAX_KEY}"),
        _ => match key.bytes().position(|byte| !byte.is_ascii_graphic()) {
            Some(index) => format!("byte {index} is a space or not a printable ASCII character"),
            None => return Ok(()),
        },
    };
    Err(Error::new(ErrorKind::Key, format!("the key cannot be used: {wrong}")))
}

/// memcached's limit on the length of a key, in bytes.
pub(crate) const MAX_KEY: usize = 250;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_never_zero_seconds_and_never_shorter_than_asked() {
        let seconds = |millis| Ttl::For(Duration::from_millis(millis)).seconds();
        assert_eq!(seconds(0), Some(1));
        assert_eq!(seconds(1), Some(1));
        assert_eq!(seconds(1_000), Some(1));
        assert_eq!(seconds(1_001), Some(2));
        assert_eq!(Ttl::For(Duration::MAX).seconds(), Some(u64::MAX));
        assert_eq!(Ttl::Forever.seconds(), None);
    }

    #[test]
    fn a_portion_has_requests_or_replies_that_sockets_can_hold() {
        let value = &[0; 100_000][..];
        let (how, guard, ttl) = (Write::Set, Guard::None, Ttl::Forever);
        let set = Request::Store { key: "key", value, flags: 0, ttl, how, guard };
        let get = Request::Get { key: &"k".repeat(36) };
        let length = |requests: &[Request<'_>]| portion(requests).len();
        assert_eq!(length(&[]), 0);
        assert_eq!([length(&[get; 500]), length(&[set; 500])], [500; 2]);
        assert_eq!([length(&[get; 10_000]), length(&[set; 10_000])], [655, 1_024]);
        assert_eq!(length(&[get, set, set]), 1, "a reply that may be long would not be read");
        assert_eq!(length(&[set, set, get]), 2);
    }

    #[test]
    fn only_a_subsequence_of_the_keys_is_included() {
        let mut keys = Keys::default();
        ["a", "ab", "b", "c", "c"].iter().for_each(|key| keys.push(key));
        let include = |some: &[&str]| keys.include(some.iter().copied());
        assert!(include(&["a", "c"]) && include(&["ab", "c", "c"]) && include(&[]));
        for alien in [&["c", "a"][..], &["a", "a"], &["d"], &["a", ""], &[""], &["a b"], &["c", "c", "c"]] {
            assert!(!include(alien), "{alien:?}");
        }
    }

    #[test]
    fn a_key_is_printable_and_short() {
        let kind = |key: &str| check_key(key).map_err(|error| error.kind());
        assert_eq!(kind("fib:30"), Ok(()));
        assert_eq!(kind(&"x".repeat(250)), Ok(()));
        for key in ["", "a b", "a\r\nflush_all", "a\0", "é", &"x".repeat(251)] {
            assert_eq!(kind(key), Err(ErrorKind::Key), "{key:?}");
        }
    }
}
