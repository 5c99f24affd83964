//! What is asked of a store and what it answers, whichever store it is.
//!
//! memcached behind a socket and the embedded store take the same requests and
//! give the same replies; how either does it is theirs.

use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// One request for one key, which is safe to be asked twice.
#[derive(Clone, Debug)]
pub(crate) enum Request<'a> {
    /// Read; on a miss, one caller is told that it won and may store.
    Lookup { key: &'a str, lease: Duration },
    /// Read, and nothing else.
    Peek { key: &'a str },
    /// Write, if the guard allows. The flags tell readers what the bytes are.
    Store { key: &'a str, value: &'a [u8], flags: u32, ttl: Ttl, guard: Guard },
    /// Remove, if the guard allows.
    Delete { key: &'a str, guard: Guard },
}

/// The verb of a request, as it is told in spans and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Set,
    Delete,
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

/// How long an item is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ttl {
    /// Until it is evicted or deleted.
    Forever,
    /// This long, rounded up to whole seconds.
    For(Duration),
}

impl Ttl {
    /// Whole seconds, at least one; `None` for ever.
    pub(crate) fn seconds(self) -> Option<u64> {
        match self {
            Ttl::Forever => None,
            Ttl::For(duration) => {
                Some(duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0)).max(1))
            }
        }
    }
}

/// A store's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// There is a value.
    Found(Item),
    /// No value; the winner of the lease gets the number to store under.
    Missing { won: Option<u64> },
    /// Done.
    Done,
    /// The guard did not allow it: the item has changed or is gone.
    Changed,
    /// There was nothing to delete.
    Absent,
}

/// A value as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) value: Vec<u8>,
    /// What the writer said the bytes are.
    pub(crate) flags: u32,
    /// The number to write under, if nothing has been written since.
    pub(crate) cas: u64,
    /// Time left in whole seconds; none: for ever.
    pub(crate) seconds_left: Option<u64>,
}

/// A reply, or why there is none.
pub(crate) type Outcome = Result<Reply, Error>;

impl<'a> Request<'a> {
    pub(crate) fn key(&self) -> &'a str {
        match self {
            Request::Lookup { key, .. }
            | Request::Peek { key }
            | Request::Store { key, .. }
            | Request::Delete { key, .. } => key,
        }
    }

    pub(crate) fn verb(&self) -> Verb {
        match self {
            Request::Lookup { .. } | Request::Peek { .. } => Verb::Get,
            Request::Store { .. } => Verb::Set,
            Request::Delete { .. } => Verb::Delete,
        }
    }

    /// Refuses what no server takes before anything is sent: memcached deletes
    /// the old item when it refuses a new one for its size.
    pub(crate) fn check_size(&self) -> Result<(), Error> {
        match self {
            Request::Store { key, value, .. } if key.len() + value.len() > MAX_ITEM => Err(Error::new(
                ErrorKind::TooLarge,
                format!("the item has {} bytes; memcached takes {MAX_ITEM}", key.len() + value.len()),
            )),
            _ => Ok(()),
        }
    }
}

impl Verb {
    pub(crate) const ALL: [Verb; 3] = [Verb::Get, Verb::Set, Verb::Delete];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::Set => "set",
            Verb::Delete => "delete",
        }
    }
}

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
}
