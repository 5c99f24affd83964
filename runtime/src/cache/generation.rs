//! The generation of a namespace that can be flushed: a number, kept in
//! memcached, that is part of every key. Replacing it flushes the namespace.
//!
//! A process reads it at most once a second. The numbers are random, so that one
//! lost to an eviction or a restart is not followed by one that was used before.

use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::exchange::{Item, Outcome, Reply};
use crate::sync::lock;
use crate::value::item::{FromItem, RawItem};

/// How long a number is used before it is read again.
const FRESH: Duration = Duration::from_secs(1);

/// The generation of one namespace, as far as this process knows it.
#[derive(Debug)]
pub(crate) struct Generation {
    namespace: String,
    known: Mutex<Option<(u64, Instant)>>,
}

impl Generation {
    pub(crate) fn new(namespace: &str) -> Self {
        Generation { namespace: namespace.to_owned(), known: Mutex::default() }
    }

    /// Returns the key that holds the number. It collides with no other key:
    /// all others have digits after the namespace.
    pub(crate) fn key(&self) -> String {
        format!("{}:@generation", self.namespace)
    }

    /// Returns the prefix of keys, if the number was read recently.
    pub(crate) fn fresh(&self) -> Option<String> {
        let known = *lock(&self.known);
        known.filter(|(_, since)| since.elapsed() < FRESH).map(|(number, _)| self.prefix(number))
    }

    /// Remembers a number that was read no earlier than `since`, unless a newer one is known.
    /// Returns the prefix of keys.
    pub(crate) fn learn(&self, number: u64, since: Instant) -> String {
        let mut known = lock(&self.known);
        if known.is_none_or(|(_, read)| read <= since) {
            *known = Some((number, since));
        }
        self.prefix(known.map_or(number, |(number, _)| number))
    }

    /// Reads the number from a reply; `None` if there is none yet. While its server
    /// does not answer, the last known number remains valid, because changing it
    /// takes the same server.
    ///
    /// # Errors
    ///
    /// If no number is known, or if the stored value is not a number.
    pub(crate) fn read(&self, outcome: Outcome) -> Result<Option<u64>, Error> {
        match outcome {
            Ok(Reply::Found(item)) => number(item).map(Some),
            Ok(_) => Ok(None),
            Err(error) => lock(&self.known).map(|(number, _)| Some(number)).ok_or(error),
        }
    }

    fn prefix(&self, number: u64) -> String {
        format!("{}:{number}:", self.namespace)
    }
}

fn number(item: Item) -> Result<u64, Error> {
    let number = u64::from_item(RawItem::from(item));
    number
        .map_err(|error| Error::new(ErrorKind::Decode, "the namespace's generation is not a number").with_source(error))
}

/// Draws a number that has not been used before.
pub(crate) fn another() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
