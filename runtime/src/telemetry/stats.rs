//! What has been counted for each function, from its first call on.
//!
//! Plain atomics, so that nothing is lost before a meter provider is there;
//! `metrics` shows them to OpenTelemetry, `report` to people.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use super::latency::Latency;
use crate::sync::lock;

/// How a call ended, seen from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CacheResult {
    Hit,
    /// A value was served whose time is over.
    Stale,
    Miss,
    /// Another caller's computation was waited for.
    Coalesced,
    /// The cache was not asked: it is off, or the call has no key.
    Bypass,
    /// The cache was asked and could not answer.
    Error,
}

impl CacheResult {
    pub(crate) const ALL: [CacheResult; 6] = [
        CacheResult::Hit,
        CacheResult::Stale,
        CacheResult::Miss,
        CacheResult::Coalesced,
        CacheResult::Bypass,
        CacheResult::Error,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            CacheResult::Hit => "hit",
            CacheResult::Stale => "stale",
            CacheResult::Miss => "miss",
            CacheResult::Coalesced => "coalesced",
            CacheResult::Bypass => "bypass",
            CacheResult::Error => "error",
        }
    }
}

const TIMED_AT_FIRST: u64 = 100;
/// One in so many; a prime, for calls come in rounds.
const TIMED_LATER: u64 = 13;

/// The counts of one cache name.
#[derive(Debug)]
pub(crate) struct Stats {
    pub(crate) name: &'static str,
    results: [AtomicU64; CacheResult::ALL.len()],
    saved_nanos: AtomicU64,
    pub(crate) hits: Latency,
    pub(crate) computations: Latency,
    longest_nanos: AtomicU64,
}

impl Stats {
    /// The counts of `name`, shared by all sites that bear it.
    pub(crate) fn of(name: &'static str) -> &'static Stats {
        lock(all()).entry(name).or_insert_with(|| {
            Box::leak(Box::new(Stats {
                name,
                results: [const { AtomicU64::new(0) }; CacheResult::ALL.len()],
                saved_nanos: AtomicU64::new(0),
                hits: Latency::new(),
                computations: Latency::new(),
                longest_nanos: AtomicU64::new(0),
            }))
        })
    }

    /// Everything counted so far, by name.
    pub(crate) fn every() -> Vec<&'static Stats> {
        lock(all()).values().copied().collect()
    }

    pub(crate) fn count(&self, result: CacheResult) {
        self.results[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counted(&self, result: CacheResult) -> u64 {
        self.results[result as usize].load(Ordering::Relaxed)
    }

    /// Whether the next hit's time is taken: to look at the clock costs more
    /// than all else that is counted, and a median needs no more than some.
    pub(crate) fn times_next_hit(&self) -> bool {
        let hits = self.counted(CacheResult::Hit);
        hits < TIMED_AT_FIRST || hits.is_multiple_of(TIMED_LATER)
    }

    pub(crate) fn save(&self, nanos: u64) {
        self.saved_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn saved_nanos(&self) -> u64 {
        self.saved_nanos.load(Ordering::Relaxed)
    }

    pub(crate) fn computed(&self, nanos: u64) {
        self.computations.record(nanos);
        let before = self.longest_nanos.load(Ordering::Relaxed);
        self.longest_nanos.store(nanos.max(before - before / 8), Ordering::Relaxed);
    }

    /// About the longest of this process's latest computations: an outlier is
    /// forgotten by and by.
    pub(crate) fn longest_nanos(&self) -> u64 {
        self.longest_nanos.load(Ordering::Relaxed)
    }
}

fn all() -> &'static Mutex<BTreeMap<&'static str, &'static Stats>> {
    static ALL: OnceLock<Mutex<BTreeMap<&'static str, &'static Stats>>> = OnceLock::new();
    ALL.get_or_init(Mutex::default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_hits_are_timed_and_some_of_the_later() {
        let stats = Stats::of("the_first_hits_are_timed_and_some_of_the_later");
        let timed = |hits| {
            let timed = |_: &u64| {
                let timed = stats.times_next_hit();
                stats.count(CacheResult::Hit);
                timed
            };
            (0..hits).filter(timed).count()
        };
        assert_eq!(timed(TIMED_AT_FIRST), 100);
        assert_eq!(timed(13_000), 1_000);
    }
}
