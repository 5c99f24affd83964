//! The stamp of a group: what tells on each node whether a value has been invalidated
//! with all of its group.
//!
//! A stamp is an item of two random numbers, each of eight bytes. A value carries a hash
//! of the stamps of its groups, as they were before it was computed. Once a number is
//! another, the value is out of date (the first one), or stale (the second one). An item
//! that is gone is made anew with other numbers, so what was stored under it is out of
//! date as well. Time plays no part.

use std::hash::{BuildHasher, RandomState};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::exchange::Item;

/// The client flags of a stamp.
pub(crate) const FLAGS: u32 = 0x6D6B_0001;

/// The stamp of one group on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    hard: u64,
    soft: u64,
}

impl Stamp {
    /// Draws a stamp that was never there before.
    pub(crate) fn new() -> Self {
        let draw = || RandomState::new().hash_one(std::process::id());
        Stamp { hard: draw(), soft: draw() }
    }

    /// Returns the stamp that makes values stale that were stored under this one.
    pub(crate) fn softened(self) -> Self {
        Stamp { soft: Self::new().soft, ..self }
    }

    /// Reads a stamp, if the item is one.
    pub(crate) fn read(item: &Item) -> Option<Self> {
        let [hard, soft] = item.value.as_chunks().0 else { return None };
        let is_one = item.flags == FLAGS && item.value.len() == 16;
        is_one.then(|| Stamp { hard: u64::from_le_bytes(*hard), soft: u64::from_le_bytes(*soft) })
    }

    /// Returns the number under which values are current.
    pub(crate) fn hard(self) -> u64 {
        self.hard
    }

    /// Returns the bytes of its item.
    pub(crate) fn bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.hard.to_le_bytes());
        bytes[8..].copy_from_slice(&self.soft.to_le_bytes());
        bytes
    }
}

/// What the stamps of all groups of a value come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamps {
    /// What was stored under another one is out of date.
    pub(crate) hard: u64,
    /// What was stored under another one is stale.
    pub(crate) soft: u64,
}

impl Stamps {
    /// Returns the stamps of the groups, in the order in which the function names them.
    pub(crate) fn of(stamps: &[Stamp]) -> Self {
        let hash = |number: fn(&Stamp) -> u64| {
            stamps.iter().fold(0, |hash, stamp| xxh3_64_with_seed(&number(stamp).to_le_bytes(), hash))
        };
        Stamps { hard: hash(|stamp| stamp.hard), soft: hash(|stamp| stamp.soft) }
    }

    /// Returns one number for both.
    pub(crate) fn mix(self) -> u64 {
        xxh3_64_with_seed(&self.soft.to_le_bytes(), self.hard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(value: Vec<u8>, flags: u32) -> Item {
        Item { value, flags, ..Item::default() }
    }

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let stamp = Stamp::new();
        assert_eq!(Stamp::read(&item(stamp.bytes().to_vec(), FLAGS)), Some(stamp));
        assert_eq!(Stamp::read(&item(stamp.bytes().to_vec(), FLAGS - 1)), None);
        assert_eq!(Stamp::read(&item(stamp.bytes()[1..].to_vec(), FLAGS)), None);
    }

    #[test]
    fn each_number_of_each_group_counts() {
        let [one, other] = [Stamp::new(), Stamp::new()];
        let both = Stamps::of(&[one, other]);
        assert_eq!(both, Stamps::of(&[one, other]));
        assert_ne!(both.hard, Stamps::of(&[other, one]).hard);
        let softened = Stamps::of(&[one, other.softened()]);
        assert_eq!((softened.hard, softened.soft == both.soft), (both.hard, false));
        assert_ne!(Stamps::of(&[one, Stamp::new()]).hard, both.hard);
    }
}
