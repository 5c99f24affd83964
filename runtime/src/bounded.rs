//! A map bounded by bytes: what has been asked for least is dropped first
//! (by `quick_cache`'s S3-FIFO).

use std::hash::{BuildHasher, Hasher};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A value that knows its size.
pub(crate) trait Weighed: Clone {
    /// In bytes.
    fn weight(&self) -> usize;
}

/// The map.
#[derive(Debug)]
pub(crate) struct Bounded<V: Weighed> {
    items: Cache<Box<str>, V, Size, Hashing>,
}

/// What an item costs beside its key and value, in bytes: measured with small
/// ones, allocations and the map's tables included.
const ITEM_OVERHEAD: usize = 300;
/// Twice what the largest item weighs, since a shard keeps a part of its room
/// for items that have been asked for again.
const LARGEST: u64 = 2 << 20;
const MOST_SHARDS: usize = 64;

#[derive(Clone, Debug)]
struct Size;

impl<V: Weighed> Weighter<Box<str>, V> for Size {
    fn weight(&self, key: &Box<str>, value: &V) -> u64 {
        (key.len() + value.weight() + ITEM_OVERHEAD) as u64
    }
}

impl<V: Weighed> Bounded<V> {
    /// A map of items that weigh about `capacity` bytes in all.
    pub(crate) fn new(capacity: u64) -> Self {
        // Each shard holds its part only, and must hold the largest item.
        let shards = usize::try_from(capacity / LARGEST).unwrap_or(usize::MAX).clamp(1, MOST_SHARDS);
        let options = OptionsBuilder::new()
            .shards(1 << shards.ilog2())
            .estimated_items_capacity(usize::try_from(capacity / 1024).unwrap_or(usize::MAX).max(16))
            .weight_capacity(capacity)
            .build()
            .expect("both capacities are given");
        Bounded { items: Cache::with_options(options, Size, Hashing::new(), DefaultLifecycle::default()) }
    }

    pub(crate) fn get(&self, key: &str) -> Option<V> {
        self.items.get(key)
    }

    pub(crate) fn insert(&self, key: &str, value: V) {
        self.items.insert(key.into(), value);
    }

    pub(crate) fn remove(&self, key: &str) {
        self.items.remove(key);
    }

    pub(crate) fn clear(&self) {
        self.items.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// In bytes.
    pub(crate) fn weight(&self) -> u64 {
        self.items.weight()
    }

    /// In bytes.
    pub(crate) fn capacity(&self) -> u64 {
        self.items.capacity()
    }
}

/// XXH3 under a secret seed, so that nobody can choose keys that collide.
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

/// Hashes one text at once, which is twice as fast as piece by piece.
#[derive(Debug)]
struct OfText(u64);

impl Hasher for OfText {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    /// What ends a text among others; here is one only.
    fn write_u8(&mut self, _: u8) {}

    fn finish(&self) -> u64 {
        self.0
    }
}
