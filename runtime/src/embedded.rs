//! A store in this process with memcached's semantics: the default where no
//! servers are configured, and what tests of memoized functions run on.
//!
//! Bounded by bytes (quick_cache evicts), with real expiry, CAS numbers and
//! leases. It shares nothing with other processes and performs no I/O.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use xxhash_rust::xxh3::xxh3_64;

use crate::clock::Clock;
use crate::exchange::{Guard, Item, Outcome, Reply, Request, Ttl};
use crate::sync::lock;

/// What an item is taken to cost beside its key and value, in bytes.
const ITEM_OVERHEAD: usize = 128;
const STRIPES: usize = 64;
/// Twice what the largest item weighs, since a shard keeps a part of its room
/// for items that have been asked for again.
const LARGEST: u64 = 2 << 20;
const MOST_SHARDS: usize = 64;

/// The store.
#[derive(Debug)]
pub(crate) struct Embedded {
    items: Cache<Box<str>, Slot, Size>,
    /// Writers of one key take turns; the map itself takes care of readers.
    stripes: [Mutex<()>; STRIPES],
    next_cas: AtomicU64,
    clock: Clock,
}

#[derive(Clone, Debug)]
struct Slot {
    /// `None` marks a lease that is out: somebody is computing.
    value: Option<Arc<[u8]>>,
    flags: u32,
    cas: u64,
    expires: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Size;

impl Weighter<Box<str>, Slot> for Size {
    fn weight(&self, key: &Box<str>, slot: &Slot) -> u64 {
        (key.len() + slot.value.as_ref().map_or(0, |value| value.len()) + ITEM_OVERHEAD) as u64
    }
}

impl Embedded {
    /// A store that holds about `capacity` bytes.
    pub(crate) fn new(capacity: u64, clock: Clock) -> Self {
        // Each shard holds its part only, and must hold the largest item.
        let shards = usize::try_from(capacity / LARGEST).unwrap_or(usize::MAX).clamp(1, MOST_SHARDS);
        let options = OptionsBuilder::new()
            .shards(1 << shards.ilog2())
            .estimated_items_capacity(usize::try_from(capacity / 1024).unwrap_or(usize::MAX).max(16))
            .weight_capacity(capacity)
            .build()
            .expect("both capacities are given");
        Embedded {
            items: Cache::with_options(options, Size, DefaultHashBuilder::default(), DefaultLifecycle::default()),
            stripes: std::array::from_fn(|_| Mutex::new(())),
            next_cas: AtomicU64::new(1),
            clock,
        }
    }

    pub(crate) fn ask(&self, request: &Request<'_>) -> Outcome {
        request.check_size()?;
        Ok(match *request {
            Request::Lookup { key, lease } => self.find(key).unwrap_or_else(|| self.miss(key, lease)),
            Request::Peek { key } => self.find(key).unwrap_or(Reply::Missing { won: None }),
            Request::Store { key, value, flags, ttl, guard } => {
                self.guarded(key, guard, |found| match (found, guard) {
                    (Ok(()), _) | (Err(Reply::Absent), Guard::None) => {
                        self.put(key, Some(value.into()), flags, self.expiry(ttl));
                        Reply::Done
                    }
                    // As memcached does: nothing there to compare with.
                    (Err(Reply::Absent), Guard::Unchanged(_)) => Reply::Absent,
                    (Err(other), _) => other,
                })
            }
            Request::Delete { key, guard } => self.guarded(key, guard, |found| match found {
                Ok(()) => {
                    self.items.remove(key);
                    Reply::Done
                }
                Err(other) => other,
            }),
        })
    }

    fn find(&self, key: &str) -> Option<Reply> {
        let slot = self.live(key)?;
        let left = slot.expires.map(|expires| expires.saturating_duration_since(self.clock.now()).as_secs());
        let Slot { value, flags, cas, .. } = slot;
        Some(Reply::Found(Item { value: value?.to_vec(), flags, cas, seconds_left: left }))
    }

    /// One caller gets the lease, until it stores or the lease runs out.
    fn miss(&self, key: &str, lease: Duration) -> Reply {
        let _turn = lock(self.stripe(key));
        match self.live(key) {
            // Stored by another caller in the meantime.
            Some(Slot { value: Some(_), .. }) => self.find(key).unwrap_or(Reply::Missing { won: None }),
            Some(_) => Reply::Missing { won: None },
            None => Reply::Missing { won: Some(self.put(key, None, 0, self.expiry(Ttl::For(lease)))) },
        }
    }

    /// Runs a write in its key's turn, with what the guard says about it.
    fn guarded(&self, key: &str, guard: Guard, write: impl FnOnce(Result<(), Reply>) -> Reply) -> Reply {
        let _turn = lock(self.stripe(key));
        write(match (self.live(key), guard) {
            (None, _) => Err(Reply::Absent),
            (Some(item), Guard::Unchanged(cas)) if item.cas != cas => Err(Reply::Changed),
            (Some(_), _) => Ok(()),
        })
    }

    fn live(&self, key: &str) -> Option<Slot> {
        self.items.get(key).filter(|item| item.expires.is_none_or(|expires| self.clock.now() < expires))
    }

    fn put(&self, key: &str, value: Option<Arc<[u8]>>, flags: u32, expires: Option<Instant>) -> u64 {
        let cas = self.next_cas.fetch_add(1, Ordering::Relaxed);
        self.items.insert(key.into(), Slot { value, flags, cas, expires });
        cas
    }

    fn expiry(&self, ttl: Ttl) -> Option<Instant> {
        // A ttl too long for the clock is as good as none.
        ttl.seconds().and_then(|seconds| self.clock.now().checked_add(Duration::from_secs(seconds)))
    }

    fn stripe(&self, key: &str) -> &Mutex<()> {
        // In range: there are fewer stripes than a `usize` counts.
        &self.stripes[(xxh3_64(key.as_bytes()) % STRIPES as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    fn store() -> (Embedded, Clock) {
        let clock = Clock::manual();
        (Embedded::new(1 << 20, clock.clone()), clock)
    }

    fn lookup(store: &Embedded) -> Reply {
        store.ask(&Request::Lookup { key: "k", lease: LEASE }).unwrap()
    }

    fn set(store: &Embedded, value: &[u8], guard: Guard) -> Reply {
        let ttl = Ttl::For(Duration::from_secs(60));
        store.ask(&Request::Store { key: "k", value, flags: 1, ttl, guard }).unwrap()
    }

    fn delete(store: &Embedded, guard: Guard) -> Reply {
        store.ask(&Request::Delete { key: "k", guard }).unwrap()
    }

    fn won(reply: Reply) -> u64 {
        match reply {
            Reply::Missing { won: Some(cas) } => cas,
            other => panic!("no lease: {other:?}"),
        }
    }

    fn found(reply: Reply) -> Vec<u8> {
        match reply {
            Reply::Found(item) => item.value,
            other => panic!("no value: {other:?}"),
        }
    }

    #[test]
    fn a_miss_has_one_winner_who_may_store() {
        let (store, _) = store();
        let cas = won(lookup(&store));
        assert_eq!(lookup(&store), Reply::Missing { won: None });
        assert_eq!(set(&store, b"v", Guard::Unchanged(cas)), Reply::Done);
        assert_eq!(found(lookup(&store)), b"v");
    }

    #[test]
    fn a_delete_during_the_computation_wins() {
        let (store, _) = store();
        let cas = won(lookup(&store));
        assert_eq!(delete(&store, Guard::None), Reply::Done);
        assert_eq!(set(&store, b"old", Guard::Unchanged(cas)), Reply::Absent);
        assert!(matches!(lookup(&store), Reply::Missing { won: Some(_) }));
    }

    #[test]
    fn a_write_during_the_computation_wins() {
        let (store, _) = store();
        let cas = won(lookup(&store));
        set(&store, b"new", Guard::None);
        assert_eq!(set(&store, b"old", Guard::Unchanged(cas)), Reply::Changed);
        assert_eq!(found(lookup(&store)), b"new");
    }

    #[test]
    fn an_item_ends_with_its_ttl_and_a_lease_with_its_time() {
        let (store, clock) = store();
        won(lookup(&store));
        clock.advance(LEASE);
        let cas = won(lookup(&store));
        set(&store, b"v", Guard::Unchanged(cas));
        clock.advance(Duration::from_millis(59_999));
        assert_eq!(found(lookup(&store)), b"v");
        clock.advance(Duration::from_millis(1));
        won(lookup(&store));
    }

    #[test]
    fn a_lease_is_given_back_only_by_its_holder() {
        let (store, _) = store();
        let cas = won(lookup(&store));
        assert_eq!(delete(&store, Guard::Unchanged(cas + 1)), Reply::Changed);
        assert_eq!(delete(&store, Guard::Unchanged(cas)), Reply::Done);
        assert_eq!(delete(&store, Guard::None), Reply::Absent);
    }

    #[test]
    fn the_largest_item_is_kept_however_the_store_is_divided() {
        for capacity in [2 << 20, 64 << 20, 1 << 30] {
            let store = Embedded::new(capacity, Clock::manual());
            let value = vec![0; 1_000_000];
            assert_eq!(set(&store, &value, Guard::None), Reply::Done);
            assert_eq!(found(lookup(&store)).len(), value.len(), "of {capacity} bytes");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let (store, _) = store();
        for i in 0..10_000 {
            let (key, value) = (format!("key:{i}"), [0; 1_000]);
            store
                .ask(&Request::Store { key: &key, value: &value, flags: 1, ttl: Ttl::Forever, guard: Guard::None })
                .unwrap();
        }
        assert!(store.items.weight() <= 1 << 20);
        assert!(store.items.len() > 500);
    }
}
