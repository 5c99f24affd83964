//! A second place for a value, beside another version's of the same key.
//!
//! Two versions of a program may run at once and each have a type of its own
//! for what they keep under one key. The first to store has the key itself.
//! The other keeps its value aside, under a name that its type is part of, and
//! says with it which item it stands beside. As soon as that item is deleted,
//! replaced or invalidated, by whichever version, what stands beside it counts
//! no more.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::exchange::{Item, MAX_KEY};

/// Where one version keeps its value beside another's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Aside {
    key: String,
    /// Stands for the item that the value is beside.
    anchor: u64,
}

/// The anchor stands in front of the bytes.
const ANCHOR: usize = 8;

impl Aside {
    /// The place beside `item`, which is another version's under `key`. `mark`
    /// tells this version from others.
    pub(crate) fn of(key: &str, mark: u64, item: &Item) -> Self {
        Aside { key: name(key, mark), anchor: anchor(item) }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// What to store of these bytes.
    pub(crate) fn anchored(&self, bytes: &[u8]) -> Vec<u8> {
        [&self.anchor.to_le_bytes()[..], bytes].concat()
    }

    /// The item as it was before it was [anchored](Aside::anchored); `None` if
    /// that was beside anything else.
    pub(crate) fn released(&self, mut item: Item) -> Result<Item, Item> {
        if !item.value.starts_with(&self.anchor.to_le_bytes()) {
            return Err(item);
        }
        item.value.drain(..ANCHOR);
        Ok(item)
    }

    /// Tells this process what is computed under the lease with this number:
    /// beside another item it is something else.
    pub(crate) fn lease(&self, cas: u64) -> u64 {
        cas ^ self.anchor
    }

    /// How many bytes more are stored.
    pub(crate) fn overhead(&self) -> usize {
        ANCHOR
    }
}

/// Two keys that get one name by chance are told apart by the envelope.
fn name(key: &str, mark: u64) -> String {
    const MARK: usize = 17;
    if key.len() + MARK <= MAX_KEY {
        return format!("{key}@{mark:016x}");
    }
    // What tells a long key from others is at its end.
    format!("{}#{:016x}@{mark:016x}", &key[..MAX_KEY - 2 * MARK], xxh3_64(key.as_bytes()))
}

/// A server gives no number twice while it runs. A new one may, but not to the
/// same bytes: they hold the nanoseconds that computing took.
fn anchor(item: &Item) -> u64 {
    xxh3_64_with_seed(&item.value, item.cas)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(value: &[u8], cas: u64) -> Item {
        Item { value: value.to_vec(), cas, ..Item::default() }
    }

    #[test]
    fn the_name_is_a_key_and_another_for_each_key_and_version() {
        let long = "k".repeat(MAX_KEY);
        let longer = format!("{}x", "k".repeat(MAX_KEY - 1));
        let mut names: Vec<_> = ["k", "l", &long[..MAX_KEY - 17], &long[..MAX_KEY - 16], &long, &longer]
            .iter()
            .flat_map(|key| [1, u64::MAX].map(|mark| name(key, mark)))
            .collect();
        assert!(names.iter().all(|name| crate::exchange::check_key(name).is_ok()), "{names:?}");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 12);
    }

    #[test]
    fn a_value_counts_only_beside_the_item_it_was_stored_beside() {
        let aside = Aside::of("k", 1, &item(b"theirs", 7));
        let stored = item(&aside.anchored(b"mine"), 8);
        assert_eq!(aside.released(stored.clone()).unwrap().value, b"mine");
        for other in [item(b"theirs", 9), item(b"their", 7), item(b"", 7)] {
            assert!(Aside::of("k", 1, &other).released(stored.clone()).is_err());
        }
        assert!(aside.released(item(b"mine", 8)).is_err());
        assert!(aside.released(item(b"", 8)).is_err());
    }
}
