//! The generation of a namespace that can be flushed: a number in memcached
//! that stands in front of each key, so that another number makes all keys new.
//!
//! Asked for once a second at most. It is random, so that a number that was
//! lost (evicted, or its server restarted) is not followed by one that has been
//! there before.

use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::exchange::{Item, Outcome, Reply};
use crate::sync::lock;
use crate::value::item::{FromItem, RawItem};

/// How long a number is used without asking.
const FRESH: Duration = Duration::from_secs(1);

/// One namespace's.
#[derive(Debug)]
pub(crate) struct Generation {
    namespace: String,
    known: Mutex<Option<(u64, Instant)>>,
}

impl Generation {
    pub(crate) fn new(namespace: &str) -> Self {
        Generation { namespace: namespace.to_owned(), known: Mutex::default() }
    }

    /// Where the number is kept. No other key looks like this: behind the
    /// namespace, they begin with digits.
    pub(crate) fn key(&self) -> String {
        format!("{}:@generation", self.namespace)
    }

    /// What stands in front of keys, if the number was asked for lately.
    pub(crate) fn fresh(&self) -> Option<String> {
        let known = *lock(&self.known);
        known.filter(|(_, since)| since.elapsed() < FRESH).map(|(number, _)| self.prefix(number))
    }

    /// Takes note of the number.
    pub(crate) fn learn(&self, number: u64) -> String {
        *lock(&self.known) = Some((number, Instant::now()));
        self.prefix(number)
    }

    /// The number in a reply, or `None` if there is none yet. While it cannot
    /// be asked for, the last one known is as good: to change it takes the same
    /// server.
    ///
    /// # Errors
    ///
    /// If none is known, or what is stored is no number.
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
    number.map_err(|error| Error::new(ErrorKind::Decode, "the namespace's generation is no number").with_source(error))
}

/// A number that has not been there before.
pub(crate) fn another() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
