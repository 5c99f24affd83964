//! Durations counted in buckets, for medians without keeping samples.
//!
//! These serve `report`; OpenTelemetry's histograms are in `instruments`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The number of buckets for each power of two of nanoseconds, itself as a power of
/// two. With four, a quantile is at most 12.5 % off.
const SPLIT: u32 = 2;
const BUCKETS: usize = 64 << SPLIT;

/// A histogram of durations.
#[derive(Debug)]
pub(crate) struct Latency {
    buckets: [AtomicU64; BUCKETS],
}

impl Latency {
    pub(crate) const fn new() -> Self {
        Latency { buckets: [const { AtomicU64::new(0) }; BUCKETS] }
    }

    pub(crate) fn record(&self, nanos: u64) {
        self.buckets[bucket(nanos)].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the median, as the middle of its bucket; `None` without samples.
    pub(crate) fn median(&self) -> Option<Duration> {
        let counts = self.buckets.each_ref().map(|count| count.load(Ordering::Relaxed));
        let total: u64 = counts.iter().sum();
        let mut seen = 0;
        let bucket = counts.iter().position(|count| {
            seen += count;
            total > 0 && seen * 2 >= total
        });
        bucket.map(|bucket| Duration::from_nanos(middle(bucket)))
    }
}

/// Returns the bucket of a duration: its exponent and the bits after it, as one
/// number.
fn bucket(nanos: u64) -> usize {
    let nanos = nanos.max(1 << SPLIT);
    let exponent = nanos.ilog2();
    let fraction = (nanos >> (exponent - SPLIT)) as usize & ((1 << SPLIT) - 1);
    ((exponent as usize) << SPLIT) | fraction
}

/// Returns the middle of a bucket in nanoseconds.
fn middle(bucket: usize) -> u64 {
    let exponent = bucket >> SPLIT;
    let width = (1_u64 << exponent) >> SPLIT;
    (1 << exponent) + width * (bucket as u64 & ((1 << SPLIT) - 1)) + width / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_within_an_eighth() {
        for nanos in [4, 5, 999, 1_000, 35_000, 7_000_000, 60_000_000_000, u64::MAX / 2] {
            let latency = Latency::new();
            latency.record(nanos);
            let median = latency.median().unwrap().as_nanos() as f64;
            assert!((median / nanos as f64 - 1.0).abs() <= 0.125, "{nanos} became {median}");
        }
    }

    #[test]
    fn half_of_the_samples_are_below_the_median() {
        let latency = Latency::new();
        assert_eq!(latency.median(), None);
        for micros in [10, 10, 20, 1_000, 1_000_000] {
            latency.record(micros * 1_000);
        }
        let median = latency.median().unwrap();
        assert!(median > Duration::from_micros(17) && median < Duration::from_micros(23), "{median:?}");
    }
}
