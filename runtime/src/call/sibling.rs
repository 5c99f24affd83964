//! A second key for a value, beside another version's value of the same key.
//!
//! Two versions of a program may run at once, each with a type of its own for
//! what it keeps under one key. The first to store has the key itself. The other
//! stores its value under a sibling key, which is made of the key and the type,
//! and notes which item it stands beside. Once either version deletes, replaces
//! or invalidates that item, the sibling no longer counts.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::exchange::{Item, MAX_KEY};

/// Where one version keeps its value beside another version's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sibling {
    key: String,
    /// Stands for the item that the value is beside.
    anchor: u64,
}

/// The anchor stands in front of the bytes.
const ANCHOR: usize = 8;

impl Sibling {
    /// The sibling of `item`, which is another version's value under `key`. `mark`
    /// tells this version from others.
    pub(crate) fn of(key: &str, mark: u64, item: &Item) -> Self {
        Sibling { key: name(key, mark), anchor: anchor(item) }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// What to store of these bytes.
    pub(crate) fn anchored(&self, bytes: &[u8]) -> Vec<u8> {
        [&self.anchor.to_le_bytes()[..], bytes].concat()
    }

    /// The item as it was before it was [anchored](Sibling::anchored), or the
    /// item itself if it stood beside another one.
    pub(crate) fn released(&self, mut item: Item) -> Result<Item, Item> {
        if !item.value.starts_with(&self.anchor.to_le_bytes()) {
            return Err(item);
        }
        item.value.drain(..ANCHOR);
        Ok(item)
    }

    /// Stands for the item that the value is beside.
    pub(crate) fn anchor(&self) -> u64 {
        self.anchor
    }

    /// How many more bytes are stored.
    pub(crate) fn overhead(&self) -> usize {
        ANCHOR
    }
}

/// Names the sibling key. The envelope tells keys apart that share a name by
/// chance.
fn name(key: &str, mark: u64) -> String {
    const MARK: usize = 17;
    if key.len() + MARK <= MAX_KEY {
        return format!("{key}@{mark:016x}");
    }
    // A long key differs from others at its end.
    format!("{}#{:016x}@{mark:016x}", &key[..MAX_KEY - 2 * MARK], xxh3_64(key.as_bytes()))
}

/// Stands for an item. A server gives no number twice while it runs. A restarted
/// one may, but not to the same bytes: they hold the nanoseconds that computing
/// took.
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
        let sibling = Sibling::of("k", 1, &item(b"theirs", 7));
        let stored = item(&sibling.anchored(b"mine"), 8);
        assert_eq!(sibling.released(stored.clone()).unwrap().value, b"mine");
        for other in [item(b"theirs", 9), item(b"their", 7), item(b"", 7)] {
            assert!(Sibling::of("k", 1, &other).released(stored.clone()).is_err());
        }
        assert!(sibling.released(item(b"mine", 8)).is_err());
        assert!(sibling.released(item(b"", 8)).is_err());
    }
}
