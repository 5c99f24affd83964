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
use crate::store::{Placement, Store};
use crate::value::flags;
use crate::value::item::ToItem;

/// Several keys that are asked for at once.
#[derive(Default)]
pub(crate) struct Lookups {
    /// How many bytes of each key are not its name.
    prefix: usize,
    len: usize,
    plan: Keyed,
    /// One list for each reply.
    found: Vec<Items>,
    failed: Failures,
}

/// Keys by node.
#[derive(Default)]
pub(crate) struct Keyed {
    groups: Vec<(usize, Keys)>,
    /// Keys to come.
    expected: usize,
    how: How,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum How {
    #[default]
    Together,
    OneByOne,
}

impl Keyed {
    fn add(&mut self, node: usize, key: &str) {
        let index = self.groups.iter().position(|(other, _)| *other == node).unwrap_or_else(|| {
            self.groups.push((node, Keys::with_capacity(self.expected)));
            self.groups.len() - 1
        });
        self.groups[index].1.push(key);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(crate) fn by_node(&self) -> Vec<NodeBatch<'_>> {
        let mut batches = Vec::with_capacity(self.groups.len());
        for (node, keys) in &self.groups {
            let requests = match self.how {
                How::Together => vec![Request::PeekMany { keys }],
                How::OneByOne => keys.iter().map(|key| Request::Peek { key }).collect(),
            };
            batches.push(NodeBatch { node: *node, requests });
        }
        batches
    }
}

impl Lookups {
    /// Keys that cannot be used fail at once.
    pub(crate) fn new(prefix: &Prefix<'_>, store: &Store, names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let (places, names) = (store.placement(), names.into_iter());
        let plan = Keyed { expected: names.size_hint().0, ..Keyed::default() };
        let mut lookups = Lookups { prefix: prefix.len(), plan, ..Lookups::default() };
        for name in names {
            lookups.len += 1;
            let key = prefix.key(name.as_ref());
            match check_key(&key) {
                Ok(()) => lookups.plan.add(places.node_of(&key), &key),
                Err(error) => lookups.failed.push(name.as_ref().to_owned(), error),
            }
        }
        lookups
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// What to ask first.
    pub(crate) fn first(&mut self) -> Keyed {
        std::mem::take(&mut self.plan)
    }

    /// Takes the replies to a plan. What they leave in doubt is to be asked
    /// again: in a list, a lease looks like an empty value.
    pub(crate) fn take(&mut self, plan: &Keyed, replies: Vec<Vec<Outcome>>) -> Keyed {
        let mut doubtful = Keyed { how: How::OneByOne, ..Keyed::default() };
        for ((node, keys), outcomes) in plan.groups.iter().zip(replies) {
            match plan.how {
                How::Together => {
                    for outcome in outcomes {
                        self.take_list(*node, keys, outcome, &mut doubtful);
                    }
                }
                How::OneByOne => {
                    for (key, outcome) in keys.iter().zip(outcomes) {
                        match outcome {
                            Ok(Reply::Found(item)) => self.found.push(Items::from_iter([(key, item)])),
                            Ok(_) => {}
                            Err(error) => self.failed(key, error),
                        }
                    }
                }
            }
        }
        doubtful
    }

    fn take_list(&mut self, node: usize, keys: &Keys, outcome: Outcome, doubtful: &mut Keyed) {
        let mut items = match outcome {
            Ok(Reply::FoundMany(items)) => items,
            // There is no other reply to a list.
            Ok(_) => return,
            Err(error) => return keys.iter().for_each(|key| self.failed(key, error.alike())),
        };
        items.retain(|key, item| {
            let is_doubtful = item.value.is_empty() && item.flags == 0;
            if is_doubtful {
                doubtful.add(node, key);
            }
            !is_doubtful
        });
        self.found.push(items);
    }

    fn failed(&mut self, key: &str, error: Error) {
        self.failed.push(key[self.prefix..].to_owned(), error);
    }

    pub(crate) fn error(&self) -> Option<&Error> {
        self.failed.first().map(|(_, error)| error)
    }

    /// The values of what was found.
    pub(crate) fn read<T>(self, read: impl Fn(Item) -> Result<T, Error>) -> Many<T> {
        let Lookups { prefix, found, mut failed, .. } = self;
        let mut values = HashMap::with_capacity(found.iter().map(Items::len).sum());
        for items in found {
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
}

/// Several writes, or several removals.
pub(crate) struct Batch {
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

impl Batch {
    /// Writes these values.
    pub(crate) fn stores<K: AsRef<str>, V: ToItem>(
        prefix: &Prefix<'_>,
        backend: &Backend,
        items: impl IntoIterator<Item = (K, V)>,
        ttl: Ttl,
    ) -> Self {
        let places = backend.store().placement();
        let mut batch = Batch::new(Some(ttl), backend.settings().item_limit);
        for (name, value) in items {
            let (value, flags) = value.to_item();
            let (value, flags) = flags::compressed(value, flags, backend.settings().compress);
            batch.add(&places, prefix, name.as_ref(), value.into_owned(), flags);
        }
        batch
    }

    /// Removes these values.
    pub(crate) fn deletes(
        prefix: &Prefix<'_>,
        store: &Store,
        names: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Self {
        let places = store.placement();
        let mut batch = Batch::new(None, ItemLimit::default());
        for name in names {
            batch.add(&places, prefix, name.as_ref(), Vec::new(), 0);
        }
        batch
    }

    fn new(ttl: Option<Ttl>, limit: ItemLimit) -> Self {
        Batch { ttl, limit, groups: BTreeMap::new(), failed: Failures::default(), len: 0 }
    }

    fn add(&mut self, places: &Placement, prefix: &Prefix<'_>, name: &str, value: Vec<u8>, flags: u32) {
        self.len += 1;
        let key = prefix.key(name).into_owned();
        let part = Part { name: name.to_owned(), key, value, flags };
        match self.request(&part).check(self.limit) {
            Ok(()) => self.groups.entry(places.node_of(&part.key)).or_default().push(part),
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

    /// The keys that failed, from the replies to the batches.
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
