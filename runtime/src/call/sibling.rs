//! Sibling keys: a second key for a value whose own key holds another version's
//! value.
//!
//! Two versions of a program may run at once, each storing its own type under the
//! same key. The first to store gets the key itself. The other stores its value under
//! a sibling key, derived from the key and the type, with an anchor that identifies
//! the item under the key itself. Once either version deletes, replaces or
//! invalidates that item, the sibling no longer counts.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::exchange::{Item, MAX_KEY};

/// The sibling key of one version's value, and the item that the value depends on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sibling {
    key: String,
    /// Identifies the item under the key itself.
    anchor: u64,
}

/// The length of the anchor in front of the bytes.
const ANCHOR: usize = 8;

impl Sibling {
    /// Returns the sibling of `item`, which is another version's value under `key`.
    /// `mark` distinguishes this version from others.
    pub(crate) fn of(key: &str, mark: u64, item: &Item) -> Self {
        Sibling { key: name(key, mark), anchor: anchor(item) }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Puts the anchor in front of bytes to be stored.
    pub(crate) fn anchored(&self, bytes: &[u8]) -> Vec<u8> {
        [&self.anchor.to_le_bytes()[..], bytes].concat()
    }

    /// Strips the anchor that [`Sibling::anchored`] added. If the item was stored
    /// beside another one, it is returned unchanged as the error.
    pub(crate) fn released(&self, mut item: Item) -> Result<Item, Item> {
        if !item.value.starts_with(&self.anchor.to_le_bytes()) {
            return Err(item);
        }
        item.value.drain(..ANCHOR);
        Ok(item)
    }

    /// Returns the number that identifies the item under the key itself.
    pub(crate) fn anchor(&self) -> u64 {
        self.anchor
    }

    /// Returns the number of bytes that the anchor adds.
    pub(crate) fn overhead(&self) -> usize {
        ANCHOR
    }
}

/// Names the sibling key. If two keys share a name by chance, the envelope tells them
/// apart.
fn name(key: &str, mark: u64) -> String {
    const MARK: usize = 17;
    if key.len() + MARK <= MAX_KEY {
        return format!("{key}@{mark:016x}");
    }
    // A long key is cut, so a hash of all of it stands in for its end.
    format!("{}#{:016x}@{mark:016x}", &key[..MAX_KEY - 2 * MARK], xxh3_64(key.as_bytes()))
}

/// Identifies an item by its bytes and its CAS number. A server never reuses a number
/// while it runs. After a restart it may, but not for the same bytes: they contain
/// the time that computing took, in nanoseconds.
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
    fn each_key_and_version_has_a_valid_name_of_its_own() {
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
    fn a_value_counts_only_beside_the_item_it_was_stored_with() {
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
