//! The work of several keys: names to keys, keys to nodes, and replies back to
//! names.
//!
//! Asks nothing: it says what to ask, and takes the replies.

use std::collections::{BTreeMap, HashMap};

use crate::cache::backend::Backend;
use crate::client::namespace::Prefix;
use crate::client::outcome::{Failures, Many};
use crate::error::Error;
use crate::exchange::{Guard, Item, ItemLimit, Items, Keys, NodeBatch, Outcome, Reply, Request, Ttl, Write, check_key};
use crate::store::Store;
use crate::store::spread::Placement;
use crate::value::flags;
use crate::value::item::ToItem;

/// Several keys that are asked for at once.
#[derive(Default)]
pub(crate) struct Lookups {
    /// How many bytes of each key are not its name.
    prefix: usize,
    len: usize,
    plan: Keyed,
    /// One list for each reply, with the index of each item among all keys.
    found: Vec<(Vec<usize>, Items)>,
    failed: Failures,
}

/// Keys by node.
#[derive(Default)]
pub(crate) struct Keyed {
    /// The lines for each node.
    groups: Vec<(usize, Vec<KeyLine>)>,
    /// Keys to come.
    expected: usize,
    how: How,
}

/// Keys that are asked for in one line, and their indexes among all.
struct KeyLine {
    keys: Keys,
    indexes: Vec<usize>,
}

/// No longer than this: some managed services refuse commands over 16 KB.
const LONGEST_LINE: usize = 8 * 1024;

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum How {
    #[default]
    Together,
    OneByOne,
}

impl Keyed {
    fn add(&mut self, node: usize, key: &str, index: usize) {
        let group = self.groups.iter().position(|(other, _)| *other == node).unwrap_or_else(|| {
            self.groups.push((node, Vec::new()));
            self.groups.len() - 1
        });
        let lines = &mut self.groups[group].1;
        if lines.last().is_none_or(|line| line.keys.as_str().len() + key.len() >= LONGEST_LINE) {
            let expected = self.expected.min(LONGEST_LINE / 24);
            lines.push(KeyLine { keys: Keys::with_capacity(expected), indexes: Vec::with_capacity(expected) });
        }
        if let Some(line) = lines.last_mut() {
            line.keys.push(key);
            line.indexes.push(index);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(crate) fn by_node(&self) -> Vec<NodeBatch<'_>> {
        let mut batches = Vec::with_capacity(self.groups.len());
        for (node, lines) in &self.groups {
            let requests = match self.how {
                How::Together => lines.iter().map(|line| Request::PeekMany { keys: &line.keys }).collect(),
                How::OneByOne => {
                    lines.iter().flat_map(|line| line.keys.iter()).map(|key| Request::Get { key }).collect()
                }
            };
            batches.push(NodeBatch { node: *node, requests });
        }
        batches
    }
}

impl Lookups {
    /// Plans the lookups. Keys that cannot be used fail at once.
    pub(crate) fn new(prefix: &Prefix<'_>, store: &Store, names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let (placement, names) = (store.placement(), names.into_iter());
        let plan = Keyed { expected: names.size_hint().0, ..Keyed::default() };
        let mut lookups = Lookups { prefix: prefix.len(), plan, ..Lookups::default() };
        for (index, name) in names.enumerate() {
            lookups.len += 1;
            let key = prefix.key(name.as_ref());
            match check_key(&key) {
                Ok(()) => lookups.plan.add(placement.node_of(&key), &key, index),
                Err(error) => lookups.failed.push(name.as_ref().to_owned(), error),
            }
        }
        lookups
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns what to ask first.
    pub(crate) fn first(&mut self) -> Keyed {
        std::mem::take(&mut self.plan)
    }

    /// Takes the replies to a plan. What they leave in doubt is to be asked
    /// again: in a list, a lease looks like an empty value.
    pub(crate) fn take(&mut self, plan: &Keyed, replies: Vec<Vec<Outcome>>) -> Keyed {
        let mut doubtful = Keyed { how: How::OneByOne, ..Keyed::default() };
        for ((node, lines), outcomes) in plan.groups.iter().zip(replies) {
            match plan.how {
                How::Together => {
                    for (line, outcome) in lines.iter().zip(outcomes) {
                        self.take_list(*node, line, outcome, &mut doubtful);
                    }
                }
                How::OneByOne => {
                    let asked = lines.iter().flat_map(|line| line.keys.iter().zip(&line.indexes));
                    for ((key, index), outcome) in asked.zip(outcomes) {
                        match outcome {
                            Ok(Reply::Found(item)) => self.found.push((vec![*index], Items::from_iter([(key, item)]))),
                            Ok(_) => {}
                            Err(error) => self.failed(key, error),
                        }
                    }
                }
            }
        }
        doubtful
    }

    fn take_list(&mut self, node: usize, line: &KeyLine, outcome: Outcome, doubtful: &mut Keyed) {
        let mut items = match outcome {
            Ok(Reply::FoundMany(items)) => items,
            // There is no other reply to a list.
            Ok(_) => return,
            Err(error) => return line.keys.iter().for_each(|key| self.failed(key, error.alike())),
        };
        // Servers keep the order of the keys.
        let mut asked = line.keys.iter().zip(&line.indexes);
        let mut indexes = Vec::with_capacity(items.len());
        items.retain(|key, item| {
            let Some((_, index)) = asked.find(|(asked, _)| *asked == key) else { return false };
            let is_doubtful = item.value.is_empty() && item.flags == 0;
            if is_doubtful {
                doubtful.add(node, key, *index);
            } else {
                indexes.push(*index);
            }
            !is_doubtful
        });
        self.found.push((indexes, items));
    }

    fn failed(&mut self, key: &str, error: Error) {
        self.failed.push(key[self.prefix..].to_owned(), error);
    }

    pub(crate) fn error(&self) -> Option<&Error> {
        self.failed.first().map(|(_, error)| error)
    }

    /// Returns the values of what was found.
    pub(crate) fn read<T>(self, read: impl Fn(Item) -> Result<T, Error>) -> Many<T> {
        let Lookups { prefix, found, mut failed, .. } = self;
        let mut values = HashMap::with_capacity(found.iter().map(|(_, items)| items.len()).sum());
        for (_, items) in found {
            items.for_each(|key, item| {
                let name = key[prefix..].to_owned();
                match read(item) {
                    Ok(value) => drop(values.insert(name, value)),
                    Err(error) => failed.push(name, error),
                }
            });
        }
        Many { values, failed }
    }

    /// Reads the values of what was found, in the order of the keys.
    ///
    /// # Errors
    ///
    /// If a key has failed.
    pub(crate) fn in_order<T>(self, read: impl Fn(Item) -> Result<T, Error>) -> Result<Vec<Option<T>>, Error> {
        self.failed.into_result()?;
        let mut values: Vec<Option<T>> = (0..self.len).map(|_| None).collect();
        let mut done = Ok(());
        for (indexes, items) in self.found {
            let mut indexes = indexes.into_iter();
            items.for_each(|_, item| match (read(item), indexes.next()) {
                (Ok(value), Some(index)) => values[index] = Some(value),
                (Err(error), _) => done = Err(error),
                (Ok(_), None) => {}
            });
        }
        done.map(|()| values)
    }
}

/// Several writes, or several removals.
pub(crate) struct Changes {
    /// How long values are kept; none: they are removed.
    ttl: Option<Ttl>,
    limit: ItemLimit,
    groups: BTreeMap<usize, Vec<Part>>,
    failed: Failures,
    len: usize,
}

struct Part {
    name: String,
    key: String,
    value: Vec<u8>,
    flags: u32,
}

impl Changes {
    /// Writes these values.
    pub(crate) fn stores<K: AsRef<str>, V: ToItem>(
        prefix: &Prefix<'_>,
        backend: &Backend,
        items: impl IntoIterator<Item = (K, V)>,
        ttl: Ttl,
    ) -> Self {
        let placement = backend.store().placement();
        let mut batch = Changes::new(Some(ttl), backend.settings().item_limit);
        for (name, value) in items {
            match value.to_item() {
                Ok((value, flags)) => {
                    let (value, flags) = flags::compressed(value, flags, backend.settings().compress);
                    batch.add(&placement, prefix, name.as_ref(), value.into_owned(), flags);
                }
                Err(error) => {
                    batch.len += 1;
                    batch.failed.push(name.as_ref().to_owned(), error);
                }
            }
        }
        batch
    }

    /// Removes these values.
    pub(crate) fn deletes(
        prefix: &Prefix<'_>,
        store: &Store,
        names: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Self {
        let placement = store.placement();
        let mut batch = Changes::new(None, ItemLimit::default());
        for name in names {
            batch.add(&placement, prefix, name.as_ref(), Vec::new(), 0);
        }
        batch
    }

    fn new(ttl: Option<Ttl>, limit: ItemLimit) -> Self {
        Changes { ttl, limit, groups: BTreeMap::new(), failed: Failures::default(), len: 0 }
    }

    fn add(&mut self, placement: &Placement, prefix: &Prefix<'_>, name: &str, value: Vec<u8>, flags: u32) {
        self.len += 1;
        let key = prefix.key(name).into_owned();
        let part = Part { name: name.to_owned(), key, value, flags };
        match self.request(&part).check(self.limit) {
            Ok(()) => self.groups.entry(placement.node_of(&part.key)).or_default().push(part),
            Err(error) => self.failed.push(part.name, error),
        }
    }

    fn request<'a>(&self, part: &'a Part) -> Request<'a> {
        let Part { key, value, flags, .. } = part;
        match self.ttl {
            Some(ttl) => Request::Store { key, value, flags: *flags, ttl, how: Write::Set, guard: Guard::None },
            None => Request::Delete { key, guard: Guard::None },
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn by_node(&self) -> Vec<NodeBatch<'_>> {
        let mut batches = Vec::with_capacity(self.groups.len());
        for (node, parts) in &self.groups {
            batches.push(NodeBatch { node: *node, requests: parts.iter().map(|part| self.request(part)).collect() });
        }
        batches
    }

    /// Returns the keys that failed, from the replies to the batches.
    pub(crate) fn failures(self, replies: Vec<Vec<Outcome>>) -> Failures {
        let mut failed = self.failed;
        for (part, outcome) in self.groups.into_values().flatten().zip(replies.into_iter().flatten()) {
            if let Err(error) = outcome {
                failed.push(part.name, error);
            }
        }
        failed
    }
}
