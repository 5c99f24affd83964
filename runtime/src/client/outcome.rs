//! What the client's verbs return, and how replies become that.
//!
//! It sends nothing, and knows only the names of keys and nodes.

use std::collections::{BTreeMap, HashMap};
use std::iter::Map;
use std::{slice, vec};

use crate::codec::Codec;
use crate::error::Error;
use crate::exchange::{Item, Outcome, Reply, found};
use crate::value::flags::bare;
use crate::value::item::{FromItem, RawItem};

/// A value with the number of its write, for [`Client::cas`](crate::Client::cas).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Versioned<T> {
    /// The value.
    pub value: T,
    /// Changes with each write (memcached's *CAS unique*).
    pub cas: u64,
}

/// The outcome of a compare-and-swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CasOutcome {
    /// The value is stored.
    Stored,
    /// It is not: another client has written in the meantime.
    Changed,
    /// It is not: there is no value any more.
    Missing,
}

/// The outcome of asking for several keys.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct Many<T> {
    /// The values of the keys that have one.
    pub values: HashMap<String, T>,
    /// The keys that could not be asked for, or whose value could not be read.
    pub failed: Failures,
}

/// A server, as [`Client::nodes`](crate::Client::nodes) lists it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct NodeInfo {
    /// `host:port`, or the path of a socket.
    pub name: String,
    /// Whether it is asked, and not left alone because it has failed.
    pub is_up: bool,
}

/// The keys for which something could not be done, each with the reason.
///
/// ```
/// use std::time::Duration;
///
/// # fn main() -> Result<(), memocached::Error> {
/// let client = memocached::Client::builder().build()?;
/// let minute = Duration::from_secs(60);
/// let failures = client.set_many([("good", 1), ("a bad key", 2)], minute);
/// for (key, error) in &failures {
///     println!("{key} is not stored: {error}");
/// }
/// assert!(failures.get("a bad key").is_some());
/// assert_eq!(failures.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Failures(Vec<(String, Error)>);

/// An answer from each node, with its name.
///
/// ```
/// # fn main() -> Result<(), memocached::Error> {
/// let client = memocached::Client::builder().build()?;
/// for (node, version) in client.version() {
///     println!("{node} has version {}", version?);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct PerNode<T>(Vec<(String, Result<T, Error>)>);

impl Failures {
    /// Returns how many keys failed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether no key failed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the first key that failed, with the reason.
    #[must_use]
    pub fn first(&self) -> Option<(&str, &Error)> {
        self.iter().next()
    }

    /// Returns why this key failed, if it did.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Error> {
        self.iter().find_map(|(name, error)| (name == key).then_some(error))
    }

    /// Iterates over the keys, with the reasons.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Error)> + DoubleEndedIterator + Clone {
        self.into_iter()
    }

    /// Turns the failures into a result.
    ///
    /// # Errors
    ///
    /// If a key failed: the error of the first one.
    pub fn into_result(self) -> Result<(), Error> {
        self.0.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    pub(crate) fn push(&mut self, name: String, error: Error) {
        self.0.push((name, error));
    }
}

impl<T> PerNode<T> {
    pub(crate) fn new(answers: Vec<(String, Result<T, Error>)>) -> Self {
        PerNode(answers)
    }

    /// Returns how many nodes were asked.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether no node was asked, because there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the answer of the node with this name.
    #[must_use]
    pub fn get(&self, node: &str) -> Option<Result<&T, &Error>> {
        self.iter().find_map(|(name, answer)| (name == node).then_some(answer))
    }

    /// Iterates over the nodes' names, with their answers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Result<&T, &Error>)> + DoubleEndedIterator + Clone {
        self.into_iter()
    }
}

impl IntoIterator for Failures {
    type Item = (String, Error);
    type IntoIter = vec::IntoIter<(String, Error)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Failures {
    type Item = (&'a str, &'a Error);
    type IntoIter = Map<slice::Iter<'a, (String, Error)>, fn(&'a (String, Error)) -> (&'a str, &'a Error)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(name, error)| (name, error))
    }
}

impl<T> IntoIterator for PerNode<T> {
    type Item = (String, Result<T, Error>);
    type IntoIter = vec::IntoIter<(String, Result<T, Error>)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a PerNode<T> {
    type Item = (&'a str, Result<&'a T, &'a Error>);
    type IntoIter = Map<
        slice::Iter<'a, (String, Result<T, Error>)>,
        fn(&'a (String, Result<T, Error>)) -> (&'a str, Result<&'a T, &'a Error>),
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(name, answer)| (name, answer.as_ref()))
    }
}

/// Fails every name with the same error.
pub(crate) fn all_failed(names: impl IntoIterator<Item = impl AsRef<str>>, error: &Error) -> Failures {
    Failures(names.into_iter().map(|name| (name.as_ref().to_owned(), error.alike())).collect())
}

/// Lists the nodes by name, with whether each is up.
pub(crate) fn nodes(nodes: Vec<(String, bool)>) -> Vec<NodeInfo> {
    nodes.into_iter().map(|(name, is_up)| NodeInfo { name, is_up }).collect()
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
    item.map(|item| {
        codec.decode(&bare(&item.bytes, item.flags, codec.flags(), |bytes, flags| codec.payload(bytes, flags))?)
    })
    .transpose()
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

/// Returns whether the server did what it was asked to do.
pub(crate) fn done(outcome: Outcome) -> Result<bool, Error> {
    outcome.map(|reply| reply == Reply::Done)
}

/// Returns how a compare-and-swap ended.
pub(crate) fn swapped(outcome: Outcome) -> Result<CasOutcome, Error> {
    outcome.map(|reply| match reply {
        Reply::Done => CasOutcome::Stored,
        Reply::Absent => CasOutcome::Missing,
        _ => CasOutcome::Changed,
    })
}

/// Returns the new number, if there was one to count.
pub(crate) fn number(outcome: Outcome) -> Result<Option<u64>, Error> {
    match outcome? {
        Reply::Number(number) => Ok(Some(number)),
        _ => Ok(None),
    }
}

/// Returns a node's counters by name.
pub(crate) fn counters(reply: Reply) -> BTreeMap<String, String> {
    match reply {
        Reply::Counters(counters) => counters.into_iter().collect(),
        _ => BTreeMap::new(),
    }
}

/// Returns a node's version.
pub(crate) fn version(reply: Reply) -> String {
    match reply {
        Reply::Text(version) => version,
        _ => String::new(),
    }
}
