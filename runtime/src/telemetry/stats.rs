//! The counts of each function, from its first call on.
//!
//! They are plain atomics, so that nothing is lost before a meter provider is
//! installed. `metrics` shows them to OpenTelemetry, `report` to people.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use super::latency::Latency;
use crate::sync::lock;

macro_rules! results {
    ($($(#[$doc:meta])* $result:ident $name:literal,)*) => {
        /// How a call ended, from the cache's point of view.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum CacheResult {
            $($(#[$doc])* $result,)*
        }

        impl CacheResult {
            /// Every result, in the order of its declaration.
            pub(crate) const ALL: [CacheResult; [$($name),*].len()] = [$(CacheResult::$result),*];

            /// Returns the value of `cache.result`.
            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(CacheResult::$result => $name,)*
                }
            }
        }
    };
}

results! {
    /// A fresh value was served.
    Hit "hit",
    /// A value past its ttl was served.
    Stale "stale",
    /// There was no usable value.
    Miss "miss",
    /// The call waited for another caller's computation.
    Coalesced "coalesced",
    /// The cache was not used: it is off, or the call has no key.
    Bypass "bypass",
    /// The cache was unavailable.
    Error "error",
}

/// The number of first hits that are all timed.
const TIMED_AT_FIRST: u64 = 100;
/// The interval between timed hits after that: a prime, so that it does not fall in
/// step with calls that repeat.
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
    /// Returns the counts of `name`, shared by all sites of that name.
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

    /// Returns all counts so far, by name.
    pub(crate) fn every() -> Vec<&'static Stats> {
        lock(all()).values().copied().collect()
    }

    /// Counts a call.
    pub(crate) fn count(&self, result: CacheResult) {
        self.results[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of calls with this result.
    pub(crate) fn counted(&self, result: CacheResult) -> u64 {
        self.results[result as usize].load(Ordering::Relaxed)
    }

    /// Whether the next hit is timed. Reading the clock costs more than all other
    /// counting, and a sample of the hits is enough for a median.
    pub(crate) fn times_next_hit(&self) -> bool {
        let hits = self.counted(CacheResult::Hit);
        hits < TIMED_AT_FIRST || hits.is_multiple_of(TIMED_LATER)
    }

    /// Adds computation time that a hit has saved.
    pub(crate) fn save(&self, nanos: u64) {
        self.saved_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Returns the computation time that hits have saved.
    pub(crate) fn saved_nanos(&self) -> u64 {
        self.saved_nanos.load(Ordering::Relaxed)
    }

    /// Records a computation.
    pub(crate) fn computed(&self, nanos: u64) {
        self.computations.record(nanos);
        let before = self.longest_nanos.load(Ordering::Relaxed);
        self.longest_nanos.store(nanos.max(before - before / 8), Ordering::Relaxed);
    }

    /// Returns about the longest of this process's recent computations. An outlier
    /// fades with each one that follows.
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
    fn the_first_hits_are_timed_and_then_a_sample() {
        let stats = Stats::of("the_first_hits_are_timed_and_then_a_sample");
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
