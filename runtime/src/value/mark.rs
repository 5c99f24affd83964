//! What stands under a key while a writer changes the data behind it: a *mark*, which
//! keeps readers from storing what they compute.
//!
//! A mark is a list of random numbers of eight bytes each: one that is drawn anew with
//! each change of the mark, and then the *token* of each writer at work. It has client
//! flags of its own, so that nothing else is taken for one.

use std::hash::{BuildHasher, RandomState};

use crate::exchange::Item;

/// The client flags of a mark.
pub(crate) const FLAGS: u32 = 0x6D6B_0000;

/// A random number that stands for one writer, or for one change of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Nonce(u64);

impl Nonce {
    /// Draws a number that no other process draws.
    pub(crate) fn new() -> Self {
        Nonce(RandomState::new().hash_one(std::process::id()))
    }
}

/// The writers at work on what stands under a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark(Vec<Nonce>);

impl Mark {
    /// The mark of one writer.
    pub(crate) fn of(token: Nonce) -> Self {
        Mark(vec![token])
    }

    /// Reads a mark, if the item is one, and the number of its last change.
    pub(crate) fn read(item: &Item) -> Option<(Self, Nonce)> {
        if !is_mark(item) {
            return None;
        }
        let number = |bytes: &[u8]| Some(Nonce(u64::from_le_bytes(bytes.try_into().ok()?)));
        let mut numbers = item.value.chunks_exact(8).filter_map(number);
        let change = numbers.next()?;
        Some((Mark(numbers.collect()), change))
    }

    /// The bytes of its item after this change.
    pub(crate) fn bytes(&self, change: Nonce) -> Vec<u8> {
        std::iter::once(&change).chain(&self.0).flat_map(|token| token.0.to_le_bytes()).collect()
    }

    pub(crate) fn has(&self, token: Nonce) -> bool {
        self.0.contains(&token)
    }

    pub(crate) fn with(mut self, token: Nonce) -> Self {
        if !self.has(token) {
            self.0.push(token);
        }
        self
    }

    pub(crate) fn without(mut self, token: Nonce) -> Self {
        self.0.retain(|other| *other != token);
        self
    }

    /// Whether no writer is at work any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether the item is a mark, and no value.
pub(crate) fn is_mark(item: &Item) -> bool {
    item.flags == FLAGS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(bytes: Vec<u8>, flags: u32) -> Item {
        Item { value: bytes, flags, ..Item::default() }
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let [one, other, change] = [(); 3].map(|()| Nonce::new());
        let both = Mark::of(one).with(other).with(one);
        assert_eq!(Mark::read(&item(both.bytes(change), FLAGS)), Some((both.clone(), change)));
        assert_eq!(both.clone().without(one), Mark::of(other));
        assert!(both.without(one).without(other).is_empty());
    }

    #[test]
    fn other_items_are_no_marks() {
        let bytes = Mark::of(Nonce::new()).bytes(Nonce::new());
        for flags in [0, 2, 8, 16, super::super::envelope::CLIENT_FLAGS, FLAGS | 8] {
            assert_eq!(Mark::read(&item(bytes.clone(), flags)), None);
        }
        assert_eq!(Mark::read(&item(Vec::new(), FLAGS)), None);
    }
}
