//! The near tier: values kept in this process, in front of memcached, each for a
//! short time.
//!
//! It is bounded by bytes. A change made by this process shows at once, one made
//! by another process after that time at the latest, counted from when the value was
//! asked for: however late the reply is, no value is served for longer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::bounded::{Bounded, Weighed};
use crate::exchange::ItemLimit;
use crate::sync::{lock, share_of};
use crate::time::clock::{Clock, Tick};
use crate::value::record::Record;

/// The near tier of one cache.
pub(crate) struct Near {
    items: Bounded<NearItem>,
    /// How often a key of each stripe has been forgotten.
    forgotten: [Mutex<u64>; STRIPES],
    clock: Clock,
}

const STRIPES: usize = 64;

/// Nothing is kept for longer; the ticks of the clock could not tell.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

#[derive(Clone)]
struct NearItem {
    record: Arc<Record>,
    holds: Holds,
    expires: Tick,
}

/// The kind of result that a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    Value,
    /// The absence of a value, or an error.
    Nothing,
}

impl Weighed for NearItem {
    fn weight(&self) -> usize {
        self.record.bytes.len()
    }
}

/// The state of a key before its value was looked up or computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Since {
    /// How often a key of its stripe had been forgotten.
    forgotten: u64,
    /// When the value is known to have been the current one.
    current: Tick,
}

impl Near {
    /// Creates a tier that holds about `capacity` bytes, in items up to the limit.
    pub(crate) fn new(capacity: u64, limit: ItemLimit, clock: Clock) -> Self {
        let forgotten = std::array::from_fn(|_| Mutex::new(0));
        Near { items: Bounded::new(limit.0, capacity), forgotten, clock }
    }

    /// Returns the record under this key, unless its time is over.
    pub(crate) fn find(&self, key: &str) -> Option<Arc<Record>> {
        Some(self.current(key)?.record)
    }

    /// Returns the record under this key if it is a [plain](Record::is_plain) value.
    #[inline]
    pub(crate) fn find_plain(&self, key: &str) -> Option<Arc<Record>> {
        let NearItem { record, holds, .. } = self.current(key)?;
        (holds == Holds::Value && record.is_plain()).then_some(record)
    }

    #[inline]
    fn current(&self, key: &str) -> Option<NearItem> {
        self.items.get(key).filter(|item| self.clock.tick() < item.expires)
    }

    /// Returns the state for [`Near::keep`], to be taken before the value is looked up.
    pub(crate) fn since(&self, key: &str) -> Since {
        // In this order the time is never too late.
        let current = self.clock.tick();
        Since { forgotten: *lock(self.stripe(key)), current }
    }

    /// Takes note that a value is the current one now, if the server stores it.
    pub(crate) fn storing(&self, since: Since) -> Since {
        Since { current: self.clock.tick(), ..since }
    }

    /// Keeps a record for `time` from when it was looked up, unless its key has been
    /// forgotten since.
    pub(crate) fn keep(&self, key: &str, record: Arc<Record>, holds: Holds, time: Duration, since: Since) {
        let forgotten = lock(self.stripe(key));
        if *forgotten == since.forgotten {
            self.insert(key, record, holds, time, since);
        }
    }

    /// Replaces the record under this key by one that is stored now, if that is to be
    /// kept, and prevents lookups already under way from keeping theirs. Its time begins
    /// when it was known to be the current one.
    pub(crate) fn replace(&self, key: &str, by: Option<(Arc<Record>, Holds, Duration)>, since: Since) {
        let mut forgotten = lock(self.stripe(key));
        self.items.remove(key);
        if let Some((record, holds, time)) = by.filter(|_| *forgotten == since.forgotten) {
            self.insert(key, record, holds, time, since);
        }
        *forgotten += 1;
    }

    fn insert(&self, key: &str, record: Arc<Record>, holds: Holds, time: Duration, since: Since) {
        let expires = since.current.saturating_add(time.min(LONGEST).into());
        if self.clock.tick() < expires {
            self.items.insert(key, NearItem { record, holds, expires });
        }
    }

    /// Drops the record under this key, and prevents lookups already under way from
    /// keeping one.
    pub(crate) fn forget(&self, key: &str) {
        let mut forgotten = lock(self.stripe(key));
        *forgotten += 1;
        self.items.remove(key);
    }

    /// Drops all records, and prevents lookups already under way from keeping one.
    pub(crate) fn forget_all(&self) {
        for forgotten in &self.forgotten {
            *lock(forgotten) += 1;
        }
        self.items.clear();
    }

    fn stripe(&self, key: &str) -> &Mutex<u64> {
        share_of(&self.forgotten, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn near() -> (Near, Clock) {
        let clock = Clock::manual();
        (Near::new(2 << 20, ItemLimit::default(), clock.clone()), clock)
    }

    fn record(bytes: &[u8]) -> Arc<Record> {
        Arc::new(Record { bytes: bytes.to_vec(), flags: 0 })
    }

    #[test]
    fn a_value_expires_with_its_time() {
        let (near, clock) = near();
        near.keep("k", record(b"v"), Holds::Value, SECOND, near.since("k"));
        clock.advance(Duration::from_millis(999));
        assert!(near.find("k").is_some());
        clock.advance(Duration::from_millis(1));
        assert!(near.find("k").is_none());
    }

    #[test]
    fn a_value_looked_up_before_its_key_was_forgotten_is_not_kept() {
        let (near, _) = near();
        let since = near.since("k");
        near.forget("k");
        near.keep("k", record(b"old"), Holds::Value, SECOND, since);
        assert!(near.find("k").is_none());
        near.keep("k", record(b"new"), Holds::Value, SECOND, near.since("k"));
        assert!(near.find("k").is_some());
        near.forget("k");
        assert!(near.find("k").is_none());
    }

    #[test]
    fn a_value_looked_up_before_another_was_stored_is_not_kept() {
        let (near, _) = near();
        let [asked, computing] = [(); 2].map(|()| near.since("k"));
        near.replace("k", Some((record(b"new"), Holds::Value, SECOND)), computing);
        near.keep("k", record(b"old"), Holds::Value, SECOND, asked);
        assert_eq!(near.find("k").expect("it is kept").bytes, b"new");
        near.replace("k", Some((record(b"older"), Holds::Value, SECOND)), computing);
        assert!(near.find("k").is_none(), "which of the two is newer is unknown");
    }

    #[test]
    fn a_value_that_arrives_late_is_kept_for_what_is_left_of_its_time() {
        let (near, clock) = near();
        let since = near.since("k");
        clock.advance(Duration::from_millis(999));
        near.keep("k", record(b"v"), Holds::Value, SECOND, since);
        assert!(near.find("k").is_some());
        clock.advance(Duration::from_millis(1));
        assert!(near.find("k").is_none());
        near.keep("k", record(b"v"), Holds::Value, SECOND, since);
        assert!(near.find("k").is_none());
    }

    #[test]
    fn many_keys_take_no_more_than_the_capacity() {
        let (near, _) = near();
        for i in 0..1_000_000 {
            let key = format!("key:{i}");
            near.keep(&key, record(&[0; 100]), Holds::Value, SECOND, near.since(&key));
        }
        assert!(near.items.weight() <= 2 << 20);
        assert!(near.items.len() > 1_000);
    }
}
