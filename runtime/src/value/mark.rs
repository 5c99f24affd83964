//! What stands under a key while a writer changes the data behind it: a *mark*, which
//! keeps readers from storing what they compute.
//!
//! A mark is a list of random numbers of eight bytes each: one that is drawn anew with
//! each change of the mark, and then the *token* of each writer at work. It has client
//! flags of its own, so that nothing else is taken for one.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::exchange::Item;

/// The client flags of a mark.
pub(crate) const FLAGS: u32 = 0x6D6B_0000;

/// A random number that stands for one change of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nonce(u64);

impl Nonce {
    /// Draws a number that no other process draws.
    pub(crate) fn new() -> Self {
        Nonce(RandomState::new().hash_one(std::process::id()))
    }
}

/// What stands for one writer: 48 random bits, and for how many seconds it stands unless
/// it is replaced by another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WriterToken(u64);

impl WriterToken {
    /// Draws a token that stands for so long, in whole seconds.
    pub(crate) fn new(stands: Duration) -> Self {
        let seconds = stands.as_secs().saturating_add(u64::from(stands.subsec_nanos() > 0));
        WriterToken(Nonce::new().0 << 16 | seconds.min(u64::from(u16::MAX)))
    }

    /// Returns how long it stands from when it was written.
    pub(crate) fn stands(self) -> Duration {
        Duration::from_secs(self.0 & u64::from(u16::MAX))
    }
}

/// The writers at work on what stands under a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark(Vec<WriterToken>);

impl Mark {
    /// Creates the mark of one writer.
    pub(crate) fn of(token: WriterToken) -> Self {
        Mark(vec![token])
    }

    /// Reads a mark, if the item is one, and the number of its last change.
    pub(crate) fn read(item: &Item) -> Option<(Self, Nonce)> {
        if !is_mark(item) {
            return None;
        }
        let number = |bytes: &[u8]| Some(u64::from_le_bytes(bytes.try_into().ok()?));
        let mut numbers = item.value.chunks_exact(8).filter_map(number);
        let change = Nonce(numbers.next()?);
        Some((Mark(numbers.map(WriterToken).collect()), change))
    }

    /// Returns the bytes of its item after this change.
    pub(crate) fn bytes(&self, change: Nonce) -> Vec<u8> {
        let numbers = std::iter::once(change.0).chain(self.0.iter().map(|token| token.0));
        numbers.flat_map(u64::to_le_bytes).collect()
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = WriterToken> {
        self.0.iter().copied()
    }

    pub(crate) fn has(&self, token: WriterToken) -> bool {
        self.0.contains(&token)
    }

    pub(crate) fn with(mut self, token: WriterToken) -> Self {
        self.0.push(token);
        self
    }

    /// Whether no writer is at work any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<WriterToken> for Mark {
    fn from_iter<I: IntoIterator<Item = WriterToken>>(tokens: I) -> Self {
        Mark(tokens.into_iter().collect())
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
        let [one, other] = [1, 2].map(|seconds| WriterToken::new(Duration::from_secs(seconds)));
        let (both, change) = (Mark::of(one).with(other), Nonce::new());
        assert_eq!(Mark::read(&item(both.bytes(change), FLAGS)), Some((both.clone(), change)));
        assert_eq!(both.tokens().map(|token| token.stands().as_secs()).collect::<Vec<_>>(), [1, 2]);
        assert_ne!(one, WriterToken::new(Duration::from_secs(1)));
        assert_eq!(WriterToken::new(Duration::from_millis(1_001)).stands().as_secs(), 2);
        assert_eq!(WriterToken::new(Duration::MAX).stands().as_secs(), 65_535);
    }

    #[test]
    fn other_items_are_no_marks() {
        let bytes = Mark::of(WriterToken::new(Duration::ZERO)).bytes(Nonce::new());
        for flags in [0, 2, 8, 16, super::super::envelope::CLIENT_FLAGS, FLAGS | 8] {
            assert_eq!(Mark::read(&item(bytes.clone(), flags)), None);
        }
        assert_eq!(Mark::read(&item(Vec::new(), FLAGS)), None);
    }
}
