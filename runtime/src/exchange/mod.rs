//! What is asked of a store and what it answers, whichever store it is.
//!
//! memcached behind a socket and the embedded store take the same requests and
//! give the same replies; how either does it is theirs.

mod keys;
mod ttl;

use std::time::Duration;

use crate::error::{Error, ErrorKind};
pub(crate) use keys::{Items, Keys};
pub use ttl::Ttl;

/// One request to one node.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request<'a> {
    /// Read; on a miss, one caller is told that it won and may store. So is
    /// one caller about an item that is stale, or that has less than `refresh`
    /// left.
    Lookup { key: &'a str, lease: Duration, refresh: Duration },
    /// Read, and nothing else.
    Peek { key: &'a str },
    /// Read several at once.
    PeekMany { keys: &'a Keys },
    /// Read, and have it kept for this long from now on.
    GetAndTouch { key: &'a str, ttl: Ttl },
    /// Write, if the way of writing and the guard allow. The flags tell readers
    /// what the bytes are.
    Store { key: &'a str, value: &'a [u8], flags: u32, ttl: Ttl, how: Write, guard: Guard },
    /// Remove, if the guard allows.
    Delete { key: &'a str, guard: Guard },
    /// Mark as stale, if the guard allows: the next caller wins it, and who has
    /// won it before may store no more. Kept for this long from now on, or as
    /// long as it was to be.
    Invalidate { key: &'a str, guard: Guard, ttl: Option<Duration> },
    /// Count a decimal number up, or down as far as zero.
    Count { key: &'a str, by: u64, direction: Direction },
    /// Have it kept for this long from now on.
    Touch { key: &'a str, ttl: Ttl },
    /// The node's counters: of a group such as `items`, or the general ones.
    Stats { group: &'a str },
    /// The node's version.
    Version,
    /// The servers of the node's cluster, from where that can be asked.
    Servers,
    /// Forget everything, this much later.
    FlushAll { delay: Duration },
    /// Have the node use this much memory.
    MemoryLimit { mebibytes: u64 },
}

/// What one node is to be asked at once.
#[derive(Debug)]
pub(crate) struct Errand<'a> {
    /// Its place in the list of nodes.
    pub(crate) node: usize,
    pub(crate) requests: Vec<Request<'a>>,
}

impl Errand<'_> {
    /// Whether sending it may have to wait for the node to read.
    pub(crate) fn is_long(&self) -> bool {
        const SURE_TO_FIT: usize = 16 * 1024;
        let length = |request: &Request<'_>| match *request {
            Request::PeekMany { keys } => keys.as_str().len(),
            Request::Store { key, value, .. } => key.len() + value.len(),
            request => request.key().map_or(0, str::len),
        };
        self.requests.iter().map(length).sum::<usize>() > SURE_TO_FIT
    }
}

/// What a write does with what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// Takes its place, if there is something.
    Set,
    /// Leaves it, and writes only if there is nothing.
    Add,
    /// Takes its place, and writes only if there is something.
    Replace,
    /// Goes behind it; flags and ttl stay.
    Append,
    /// Goes in front of it; flags and ttl stay.
    Prepend,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Up,
    Down,
}

/// The state an item must be in for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Any.
    None,
    /// The one with this number (memcached's *CAS unique*): nothing has
    /// written or deleted it since the number was read.
    Unchanged(u64),
}

/// A store's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// There is a value.
    Found(Item),
    /// These keys of several have values.
    FoundMany(Items),
    /// No value; and who may store one.
    Missing(Grant),
    /// Done.
    Done,
    /// Not written: for the way of writing, there is something or nothing.
    NotStored,
    /// The guard did not allow it: the item has changed.
    Changed,
    /// There was nothing to work on.
    Absent,
    /// What has been counted to.
    Number(u64),
    /// A version, or a list of servers.
    Text(String),
    /// Counters by name.
    Counters(Vec<(String, String)>),
}

/// Who may store after a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// This caller, under this number.
    Won(u64),
    /// Another caller, under this number, who may have renewed its lease.
    Lost { cas: u64, renewed: bool },
    /// Whoever likes to: none was asked for, or the server knows no leases.
    Free,
}

/// A value as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) value: Vec<u8>,
    /// What the writer said the bytes are.
    pub(crate) flags: u32,
    /// The number to write under, if nothing has been written since.
    pub(crate) cas: u64,
    /// Time left in whole seconds; none: for ever, or it was not told.
    pub(crate) seconds_left: Option<u64>,
    /// It has been marked as stale.
    pub(crate) stale: bool,
    pub(crate) token: Token,
}

/// Who is to write an item anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Token {
    /// Nobody: it is fresh, or the server knows no such thing.
    #[default]
    None,
    /// This caller.
    Won,
    /// Another caller.
    Lost,
}

/// A reply, or why there is none.
pub(crate) type Outcome = Result<Reply, Error>;

/// The item of a reply, if there is one.
pub(crate) fn found(outcome: Outcome) -> Result<Option<Item>, Error> {
    match outcome? {
        Reply::Found(item) => Ok(Some(item)),
        _ => Ok(None),
    }
}

macro_rules! verbs {
    ($($verb:ident $name:literal,)*) => {
        /// The verbs of the client, as they are told in spans and metrics.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Verb {
            $($verb,)*
        }

        impl Verb {
            pub(crate) const ALL: [Verb; [$($name),*].len()] = [$(Verb::$verb),*];

            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Verb::$verb => $name,)*
                }
            }
        }
    };
}

verbs! {
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

impl<'a> Request<'a> {
    /// The key whose node is asked; requests about a node itself have none.
    pub(crate) fn key(&self) -> Option<&'a str> {
        match *self {
            Request::Lookup { key, .. }
            | Request::Peek { key }
            | Request::GetAndTouch { key, .. }
            | Request::Store { key, .. }
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

    /// All keys that are asked about.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a str> {
        let listed = if let Request::PeekMany { keys } = *self { Some(keys.iter()) } else { None };
        self.key().into_iter().chain(listed.into_iter().flatten())
    }

    /// The verb that stands for it, where the caller has no other.
    pub(crate) fn verb(&self) -> Verb {
        match self {
            Request::Lookup { .. } | Request::Peek { .. } => Verb::Get,
            Request::PeekMany { .. } => Verb::GetMany,
            Request::GetAndTouch { .. } => Verb::Gat,
            Request::Store { how: Write::Set, .. } => Verb::Set,
            Request::Store { how: Write::Add, .. } => Verb::Add,
            Request::Store { how: Write::Replace, .. } => Verb::Replace,
            Request::Store { how: Write::Append, .. } => Verb::Append,
            Request::Store { how: Write::Prepend, .. } => Verb::Prepend,
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

    /// Whether it only reads, so that it may be asked again if the reply got
    /// lost.
    pub(crate) fn only_reads(&self) -> bool {
        matches!(
            self,
            Request::Lookup { .. }
                | Request::Peek { .. }
                | Request::PeekMany { .. }
                | Request::Stats { .. }
                | Request::Version
                | Request::Servers
        )
    }

    /// Whether a reply of the right kind could be this request's: servers keep
    /// the order of keys, and leave out what they do not have.
    pub(crate) fn is_answered_by(&self, reply: &Reply) -> bool {
        let (Request::PeekMany { keys }, Reply::FoundMany(items)) = (self, reply) else { return true };
        keys.include(items.iter().map(|(key, _)| key))
    }

    /// Refuses what no server takes before anything is sent: a bad key could
    /// be read as commands, and memcached deletes the old item when it refuses
    /// a new one for its size.
    ///
    /// # Errors
    ///
    /// If a key is none, or an item is too large.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.key().map_or(Ok(()), check_key)?;
        match self {
            Request::Store { key, value, .. } => check_size(key.len() + value.len()),
            _ => Ok(()),
        }
    }
}

/// Accepts the size of a key and its value, in bytes.
///
/// # Errors
///
/// If memcached does not take as much.
pub(crate) fn check_size(bytes: usize) -> Result<(), Error> {
    if bytes <= MAX_ITEM {
        return Ok(());
    }
    Err(Error::new(ErrorKind::TooLarge, format!("the item has {bytes} bytes; memcached takes {MAX_ITEM}")))
}

/// Accepts what memcached takes for a key.
///
/// # Errors
///
/// If it is anything else; the error does not quote it.
pub(crate) fn check_key(key: &str) -> Result<(), Error> {
    let wrong = match key.len() {
        0 => "it is empty".to_owned(),
        length if length > MAX_KEY => format!("it has {length} bytes; memcached takes {MAX_KEY}"),
        _ => match key.bytes().position(|byte| !byte.is_ascii_graphic()) {
            Some(place) => format!("byte {place} is a space or no printable ASCII character"),
            None => return Ok(()),
        },
    };
    Err(Error::new(ErrorKind::Key, format!("the key cannot be used: {wrong}")))
}

/// What an empty item is marked with that stands for a lease which its holder
/// has renewed: written under the lease's own number, it cannot be lost in
/// between.
pub(crate) const RENEWED: u32 = 0x6D63_0100;

/// memcached's limit for a key, in bytes.
pub(crate) const MAX_KEY: usize = 250;

/// Key and value of the largest item memcached takes by default (1 MiB less
/// its own header and some room for different builds).
const MAX_ITEM: usize = 1024 * 1024 - 512;

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
    fn a_list_of_other_keys_is_no_part_of_a_list() {
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
