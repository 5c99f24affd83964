//! What calls came to, and how long they took.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Each power of two of nanoseconds has so many classes.
const CLASSES: u64 = 16;

pub(crate) struct Figures {
    wrong: AtomicU64,
    hits: AtomicU64,
    /// Calls by the class of their duration.
    durations: Vec<AtomicU64>,
}

impl Default for Figures {
    fn default() -> Self {
        let durations = (0..64 * CLASSES).map(|_| AtomicU64::new(0)).collect();
        Figures { wrong: AtomicU64::new(0), hits: AtomicU64::new(0), durations }
    }
}

impl Figures {
    pub(crate) fn called(&self, took: Duration, is_right: bool, has_computed: bool) {
        self.wrong.fetch_add(u64::from(!is_right), Ordering::Relaxed);
        self.hits.fetch_add(u64::from(!has_computed), Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(CLASSES);
        let power = u64::from(nanos.ilog2());
        let class = power * CLASSES + (nanos >> (power - CLASSES.ilog2() as u64)) - CLASSES;
        self.durations[usize::try_from(class).unwrap()].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn calls(&self) -> u64 {
        self.durations.iter().map(|class| class.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    pub(crate) fn wrong(&self) -> u64 {
        self.wrong.load(Ordering::Relaxed)
    }

    /// The duration that this share of all calls did not exceed, to within a
    /// sixteenth.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let wanted = self.calls() as f64 * share;
        let mut seen = 0.0;
        for (class, count) in (0..).zip(&self.durations) {
            seen += count.load(Ordering::Relaxed) as f64;
            if seen >= wanted && seen > 0.0 {
                let (power, step): (u64, u64) = (class / CLASSES, class % CLASSES);
                return Duration::from_nanos((CLASSES + step + 1) << (power - CLASSES.ilog2() as u64));
            }
        }
        Duration::ZERO
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} calls, {} hits, {} wrong", self.calls(), self.hits(), self.wrong())?;
        let [half, most, nearly, all] = [0.5, 0.99, 0.999, 1.0].map(|share| self.quantile(share));
        write!(f, "; p50 {half:?}, p99 {most:?}, p99.9 {nearly:?}, longest {all:?}")
    }
}
