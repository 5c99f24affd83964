//! What the client's verbs give back, and how replies become that.
//!
//! Sends nothing, and knows nothing of keys and nodes beyond their names.

use std::collections::{BTreeMap, HashMap};

use crate::codec::Codec;
use crate::error::Error;
use crate::exchange::{Item, Outcome, Reply, found};
use crate::value::flags::bare;
use crate::value::item::{FromItem, RawItem};

/// A value with the number of its write, for [`Client::cas`](crate::Client::cas).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Versioned<T> {
    /// The value.
    pub value: T,
    /// Changes with each write (memcached's *CAS unique*).
    pub cas: u64,
}

/// The outcome of a compare-and-swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CasOutcome {
    /// The value is stored.
    Stored,
    /// It is not: another client has written in the meantime.
    Changed,
    /// It is not: there is no value any more.
    Missing,
}

/// The outcome of asking for several keys.
#[derive(Debug)]
#[must_use]
pub struct Many<T> {
    /// The values of the keys that have one.
    pub values: HashMap<String, T>,
    /// The keys that could not be asked for, or whose value could not be read.
    pub failed: Failures,
}

/// The keys that something could not be done for.
pub type Failures = Vec<(String, Error)>;

/// An answer from each node, with its name.
pub type PerNode<T> = Vec<(String, Result<T, Error>)>;

/// Fails every name with the same error.
pub(crate) fn all_failed(names: impl IntoIterator<Item = impl AsRef<str>>, error: &Error) -> Failures {
    names.into_iter().map(|name| (name.as_ref().to_owned(), error.alike())).collect()
}

impl<T> Many<T> {
    pub(crate) fn all_failed(names: impl IntoIterator<Item = impl AsRef<str>>, error: &Error) -> Self {
        Many { values: HashMap::new(), failed: all_failed(names, error) }
    }
}

/// Reads the value that was found, if one was.
pub(crate) fn value<T: FromItem>(outcome: Outcome) -> Result<Option<T>, Error> {
    found(outcome)?.map(read).transpose()
}

/// Reads the value that was found, with its number.
pub(crate) fn versioned<T: FromItem>(outcome: Outcome) -> Result<Option<Versioned<T>>, Error> {
    found(outcome)?.map(read_versioned).transpose()
}

/// Decodes the value that was found.
pub(crate) fn decoded<T, C: Codec<T>>(outcome: Outcome, codec: &C) -> Result<Option<T>, Error> {
    let item: Option<RawItem> = value(outcome)?;
    item.map(|item| codec.decode(&bare(&item.bytes, item.flags, codec.flags())?)).transpose()
}

/// Reads an item's value.
pub(crate) fn read<T: FromItem>(item: Item) -> Result<T, Error> {
    T::from_item(item.into())
}

/// Reads an item's value and keeps its number.
pub(crate) fn read_versioned<T: FromItem>(item: Item) -> Result<Versioned<T>, Error> {
    let cas = item.cas;
    read(item).map(|value| Versioned { value, cas })
}

/// Whether the server did what it was asked to do.
pub(crate) fn done(outcome: Outcome) -> Result<bool, Error> {
    outcome.map(|reply| reply == Reply::Done)
}

/// What a compare-and-swap came to.
pub(crate) fn swapped(outcome: Outcome) -> Result<CasOutcome, Error> {
    outcome.map(|reply| match reply {
        Reply::Done => CasOutcome::Stored,
        Reply::Absent => CasOutcome::Missing,
        _ => CasOutcome::Changed,
    })
}

/// The number that was counted to, if there was one.
pub(crate) fn number(outcome: Outcome) -> Result<Option<u64>, Error> {
    match outcome? {
        Reply::Number(number) => Ok(Some(number)),
        _ => Ok(None),
    }
}

/// A node's counters by name.
pub(crate) fn counters(reply: Reply) -> BTreeMap<String, String> {
    match reply {
        Reply::Counters(counters) => counters.into_iter().collect(),
        _ => BTreeMap::new(),
    }
}

/// A node's version.
pub(crate) fn version(reply: Reply) -> String {
    match reply {
        Reply::Text(version) => version,
        _ => String::new(),
    }
}
