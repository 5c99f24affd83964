//! A concurrent map bounded by bytes, which evicts rarely used items first.
//!
//! The policy is the S3-FIFO of `quick_cache`. Expiry is up to the values. None is dropped
//! under a lock: what leaves the map is handed out.

use std::hash::{BuildHasher, Hasher};

use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A value with a known size.
pub(crate) trait Weighed: Clone {
    /// Returns the size in bytes.
    fn weight(&self) -> usize;
}

/// A map from keys to values whose total weight is bounded.
#[derive(Debug)]
pub(crate) struct Bounded<V: Weighed> {
    items: Cache<Box<str>, V, Size, Hashing, HandedOut>,
}

/// The memory of an item besides its key and value, in bytes: measured with small
/// items, including allocations and the map's tables.
const ITEM_OVERHEAD: usize = 300;
/// What the largest item weighs at least, in bytes: smaller ones make no more shards.
const LARGEST: usize = 1 << 20;
const MOST_SHARDS: usize = 64;

#[derive(Clone, Debug)]
struct Size;

impl<V: Weighed> Weighter<Box<str>, V> for Size {
    fn weight(&self, key: &Box<str>, value: &V) -> u64 {
        size(key, value)
    }
}

/// Hands out what is replaced or evicted: the first value, which is mostly the only one, and
/// the others.
#[derive(Clone, Debug)]
struct HandedOut;

impl<V> Lifecycle<Box<str>, V> for HandedOut {
    type RequestState = (Option<V>, Vec<V>);

    fn on_evict(&self, (first, others): &mut Self::RequestState, _: Box<str>, value: V) {
        match first {
            None => *first = Some(value),
            Some(_) => others.push(value),
        }
    }
}

fn size<V: Weighed>(key: &str, value: &V) -> u64 {
    (key.len() + value.weight() + ITEM_OVERHEAD) as u64
}

impl<V: Weighed> Bounded<V> {
    /// Creates a map for items that weigh at most `largest` bytes each and about
    /// `capacity` bytes in total.
    pub(crate) fn new(largest: usize, capacity: u64) -> Self {
        // A shard has only its part of the capacity, which must fit twice the largest
        // item: part of it is reserved for items that have been used again.
        let largest = largest.max(LARGEST) as u64;
        let shards = usize::try_from(capacity / (2 * largest)).unwrap_or(usize::MAX).clamp(1, MOST_SHARDS);
        let options = OptionsBuilder::new()
            .shards(1 << shards.ilog2())
            .estimated_items_capacity(usize::try_from(capacity / 1024).unwrap_or(usize::MAX).max(16))
            .weight_capacity(capacity)
            .build()
            .expect("both capacities are given");
        Bounded { items: Cache::with_options(options, Size, Hashing::new(), HandedOut) }
    }

    pub(crate) fn get(&self, key: &str) -> Option<V> {
        self.items.get(key)
    }

    /// Inserts a value, and returns those that leave the map for it.
    pub(crate) fn insert(&self, key: &str, value: V) -> impl Iterator<Item = V> + use<V> {
        let mut gone = (None, Vec::new());
        self.items.insert_with_lifecycle(key.into(), value, &mut gone);
        gone.0.into_iter().chain(gone.1)
    }

    /// Returns whether an item is small enough to be inserted.
    pub(crate) fn fits(&self, key: &str, value: &V) -> bool {
        // A little less than the part of a shard that one item may fill.
        size(key, value) <= self.items.shard_capacity() / 10 * 9
    }

    pub(crate) fn remove(&self, key: &str) -> Option<V> {
        self.items.remove(key).map(|(_, value)| value)
    }

    /// Removes all values, one by one as they are taken.
    pub(crate) fn drain(&self) -> impl Iterator<Item = V> + use<'_, V> {
        self.items.drain().map(|(_, value)| value)
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns the total weight in bytes.
    pub(crate) fn weight(&self) -> u64 {
        self.items.weight()
    }

    /// Returns the capacity in bytes.
    pub(crate) fn capacity(&self) -> u64 {
        self.items.capacity()
    }
}

/// XXH3 with a secret seed, so that an attacker cannot choose colliding keys.
#[derive(Clone, Debug)]
struct Hashing {
    seed: u64,
}

impl Hashing {
    fn new() -> Self {
        Hashing { seed: std::hash::RandomState::new().hash_one(()) }
    }
}

impl BuildHasher for Hashing {
    type Hasher = OfText;

    fn build_hasher(&self) -> OfText {
        OfText(self.seed)
    }
}

/// Hashes a single text in one go, which is twice as fast as piece by piece.
#[derive(Debug)]
struct OfText(u64);

impl Hasher for OfText {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    /// Ignores the byte that separates texts, since there is only one.
    fn write_u8(&mut self, _: u8) {}

    fn finish(&self) -> u64 {
        self.0
    }
}
