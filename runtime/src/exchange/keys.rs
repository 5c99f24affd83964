//! The keys of a request for several items, and the items of its reply.
//!
//! How keys are grouped by node is up to the cluster.

use std::ops::Range;

use super::Item;

/// Keys separated by spaces, as a request for all of them contains them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    text: String,
    len: usize,
}

impl Keys {
    /// Creates an empty list with room for this many keys of usual length.
    pub(crate) fn with_capacity(keys: usize) -> Self {
        Keys { text: String::with_capacity(keys * 24), len: 0 }
    }

    /// Appends a key. The caller has checked it, so it contains no space.
    pub(crate) fn push(&mut self, key: &str) {
        if self.len > 0 {
            self.text.push(' ');
        }
        self.text.push_str(key);
        self.len += 1;
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.text.split_ascii_whitespace()
    }

    /// Returns whether `some` is a subsequence of the keys, in the same order.
    pub(crate) fn include<'a>(&self, mut some: impl Iterator<Item = &'a str>) -> bool {
        let mut rest = self.text.as_str();
        some.all(|key| {
            while !rest.is_empty() {
                let behind = rest.strip_prefix(key).filter(|behind| behind.is_empty() || behind.starts_with(' '));
                let is_found = behind.is_some();
                rest = match behind {
                    Some(behind) => behind.get(1..).unwrap_or_default(),
                    None => rest.split_once(' ').map_or("", |(_, rest)| rest),
                };
                if is_found {
                    return true;
                }
            }
            false
        })
    }

    /// Returns all keys, separated by spaces.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

/// The items found of those requested, in the same order. Their keys share one
/// string, since there may be many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Items {
    keys: String,
    list: Vec<(Range<usize>, Item)>,
}

impl Items {
    /// Builds the list from the joined keys and, for each item, the range of its key.
    pub(crate) fn new(keys: String, list: Vec<(Range<usize>, Item)>) -> Self {
        Items { keys, list }
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Item)> {
        self.list.iter().map(|(range, item)| (&self.keys[range.clone()], item))
    }

    pub(crate) fn retain(&mut self, mut wanted: impl FnMut(&str, &Item) -> bool) {
        self.list.retain(|(range, item)| wanted(&self.keys[range.clone()], item));
    }

    pub(crate) fn for_each(self, mut take: impl FnMut(&str, Item)) {
        self.list.into_iter().for_each(|(range, item)| take(&self.keys[range], item));
    }
}

impl<K: AsRef<str>> FromIterator<(K, Item)> for Items {
    fn from_iter<I: IntoIterator<Item = (K, Item)>>(items: I) -> Self {
        let mut all = Items::default();
        for (key, item) in items {
            let start = all.keys.len();
            all.keys.push_str(key.as_ref());
            all.list.push((start..all.keys.len(), item));
        }
        all
    }
}
