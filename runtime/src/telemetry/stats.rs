//! The counts of each function, from its first call on.
//!
//! They are plain atomics, so that nothing is lost before a meter provider is
//! installed. `metrics` shows them to OpenTelemetry, `report` to people.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use super::latency::Latency;
use crate::named::named;
use crate::sync::lock;

named! {
    /// How a call ended, from the cache's point of view.
    pub(crate) enum CacheResult {
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
    /// Returns the name in telemetry.
    pub(crate) fn as_str;
}

named! {
    /// Why a value had to be computed.
    ///
    /// It is displayed as its name in metrics, such as `absent` or `decode_error`.
    #[non_exhaustive]
    pub enum MissReason {
        /// There was no value.
        Absent "absent",
        /// There was a value past its time, or a group of it was invalidated.
        Expired "expired",
        /// There was a value of another type, version or codec.
        Schema "schema",
        /// The stored bytes were damaged or could not be decoded.
        DecodeError "decode_error",
        /// There was a fresh value, but a new one was due or asked for.
        Refresh "refresh",
        /// A writer was changing the data behind the value.
        Changing "changing",
        /// The cache was unavailable.
        Unavailable "unavailable",
    }
    /// Returns the name in telemetry.
    pub(crate) fn as_str;
}

impl MissReason {
    /// Returns how the call ends that computes for this reason.
    pub(crate) fn result(self) -> CacheResult {
        match self {
            MissReason::Absent
            | MissReason::Expired
            | MissReason::Schema
            | MissReason::DecodeError
            | MissReason::Refresh
            | MissReason::Changing => CacheResult::Miss,
            MissReason::Unavailable => CacheResult::Error,
        }
    }
}

impl fmt::Display for MissReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The reason of a call that computes because the cache was bypassed, in telemetry.
pub(crate) const BYPASS: &str = CacheResult::Bypass.as_str();

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
    misses: [AtomicU64; MissReason::ALL.len()],
    not_stored: Mutex<BTreeMap<&'static str, u64>>,
    saved_nanos: AtomicU64,
    pub(crate) hits: Latency,
    pub(crate) computations: Latency,
}

impl Stats {
    /// Returns the counts of `name`, shared by all sites of that name.
    pub(crate) fn of(name: &'static str) -> &'static Stats {
        lock(all()).entry(name).or_insert_with(|| {
            Box::leak(Box::new(Stats {
                name,
                results: [const { AtomicU64::new(0) }; CacheResult::ALL.len()],
                misses: [const { AtomicU64::new(0) }; MissReason::ALL.len()],
                not_stored: Mutex::default(),
                saved_nanos: AtomicU64::new(0),
                hits: Latency::new(),
                computations: Latency::new(),
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

    /// Counts a computation by its reason.
    pub(crate) fn missed(&self, reason: MissReason) {
        self.misses[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of computations for this reason.
    pub(crate) fn misses(&self, reason: MissReason) -> u64 {
        self.misses[reason as usize].load(Ordering::Relaxed)
    }

    /// Returns the numbers of computations by the reason's name.
    pub(crate) fn every_miss(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let misses = MissReason::ALL.map(|reason| (reason.as_str(), self.misses(reason)));
        misses.into_iter().chain([(BYPASS, self.counted(CacheResult::Bypass))])
    }

    /// Counts a value that could not be stored.
    pub(crate) fn lost(&self, reason: &'static str) {
        *lock(&self.not_stored).entry(reason).or_default() += 1;
    }

    /// Returns the numbers of values that could not be stored, by reason.
    pub(crate) fn not_stored(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.not_stored).clone()
    }

    /// Returns whether the next hit is timed. Reading the clock costs more than all other
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
