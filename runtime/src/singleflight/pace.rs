//! How long computing takes at one site, and how much waiters may do about a
//! leader that takes longer.
//!
//! The estimate is the time within which four in five of the last computations of this
//! process ended, counting only the time in which they were driven: it ignores outliers,
//! and notices within four computations that they have become slower, within twelve that
//! they have become faster. No wait ever feeds it. The budget keeps overtaking from adding
//! load to a service that is slow because it is loaded: one token for each overtaker, a
//! tenth back for each computation that ends, and the token itself if the overtaker ends
//! first.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::sync::lock;

/// The computations that the estimate is made of.
const SAMPLES: usize = 15;
/// What waiters are patient for while no computation has ended here.
const UNKNOWN: Duration = Duration::from_secs(5);
/// A leader is never overtaken earlier.
const SHORTEST: Duration = Duration::from_millis(1);
/// An overtaker's price, in tenths.
const TOKEN: u32 = 10;
const MOST_TENTHS: u32 = 10 * TOKEN;
/// From this multiple of the patience on, overtaking is free.
const FREE: u32 = 16;

/// The pace of one site's computations.
#[derive(Debug)]
pub(crate) struct Pace {
    measured: Mutex<Measured>,
    /// Whether there is an estimate.
    is_known: AtomicBool,
}

#[derive(Debug)]
struct Measured {
    /// Nanoseconds, the oldest at `next` once all are there.
    samples: [u64; SAMPLES],
    len: usize,
    next: usize,
    /// What other processes say that computing takes, for want of samples.
    hearsay: u64,
    tenths: u32,
}

impl Pace {
    /// Creates the pace of a site that has not been called yet.
    pub(crate) const fn new() -> Self {
        let measured = Measured { samples: [0; SAMPLES], len: 0, next: 0, hearsay: 0, tenths: MOST_TENTHS };
        Pace { measured: Mutex::new(measured), is_known: AtomicBool::new(false) }
    }

    /// Returns how long computing usually takes, if that is known.
    pub(crate) fn estimate(&self) -> Option<Duration> {
        lock(&self.measured).estimate()
    }

    /// Returns how long a leader is waited for before the first waiter overtakes it.
    pub(crate) fn patience(&self) -> Duration {
        self.estimate().map_or(UNKNOWN, |estimate| (estimate.saturating_mul(3) / 2).max(SHORTEST))
    }

    /// Takes in a computation that ended here after being driven for this long.
    pub(crate) fn ended(&self, driven: Duration) {
        self.is_known.store(true, Ordering::Relaxed);
        let mut measured = lock(&self.measured);
        let next = measured.next;
        measured.samples[next] = nanos(driven);
        measured.next = (next + 1) % SAMPLES;
        measured.len = (measured.len + 1).min(SAMPLES);
        measured.tenths = (measured.tenths + 1).min(MOST_TENTHS);
    }

    /// Takes in what another process says that computing takes.
    pub(crate) fn heard(&self, cost: Duration) {
        self.is_known.store(true, Ordering::Relaxed);
        lock(&self.measured).hearsay = nanos(cost);
    }

    /// Takes in what a stored value has cost, if nothing else is known.
    pub(crate) fn found(&self, cost: Duration) {
        if !cost.is_zero() && !self.is_known.load(Ordering::Relaxed) {
            self.heard(cost);
        }
    }

    /// Pays for an overtaker of a flight that has been under way for `age`, if there is a
    /// token or none is needed.
    pub(crate) fn pay(&self, age: Duration) -> Option<Payment> {
        if age >= self.free_after() {
            return Some(Payment::Free);
        }
        let mut measured = lock(&self.measured);
        measured.tenths = measured.tenths.checked_sub(TOKEN)?;
        Some(Payment::Token)
    }

    /// Gives a token back: the overtaker ended before the leader.
    pub(crate) fn refund(&self) {
        let mut measured = lock(&self.measured);
        measured.tenths = (measured.tenths + TOKEN).min(MOST_TENTHS);
    }

    /// Returns when overtaking becomes free, counted from the beginning of a flight.
    pub(crate) fn free_after(&self) -> Duration {
        self.patience().saturating_mul(FREE)
    }
}

/// How an overtaker was paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payment {
    Token,
    Free,
}

impl Measured {
    fn estimate(&self) -> Option<Duration> {
        if self.len == 0 {
            return Some(Duration::from_nanos(self.hearsay)).filter(|cost| !cost.is_zero());
        }
        let mut samples = self.samples;
        let samples = &mut samples[..self.len];
        // Of two the shorter: one computation that stood still must not be the estimate.
        let (_, estimate, _) = samples.select_nth_unstable((self.len - 1) * 4 / 5);
        Some(Duration::from_nanos(*estimate))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn patience_is_half_as_long_again_as_computing_and_five_seconds_while_nothing_is_known() {
        let pace = Pace::new();
        assert_eq!(pace.patience(), UNKNOWN);
        pace.found(Duration::ZERO);
        assert_eq!(pace.patience(), UNKNOWN);
        pace.found(50 * MS);
        pace.found(10 * MS);
        assert_eq!(pace.patience(), 75 * MS);
        pace.heard(40 * MS);
        assert_eq!(pace.patience(), 60 * MS);
        for millis in [30, 5_000, 30] {
            pace.ended(millis * MS);
        }
        assert_eq!(pace.patience(), 45 * MS);
        assert_eq!(Pace::new().estimate(), None);
    }

    #[test]
    fn four_slow_computations_are_believed_and_a_dozen_fast_ones() {
        let pace = Pace::new();
        (0..15).for_each(|_| pace.ended(5 * MS));
        (0..3).for_each(|_| pace.ended(500 * MS));
        assert_eq!(pace.estimate(), Some(5 * MS));
        pace.ended(500 * MS);
        assert_eq!(pace.estimate(), Some(500 * MS));
        (0..11).for_each(|_| pace.ended(5 * MS));
        assert_eq!(pace.estimate(), Some(500 * MS));
        pace.ended(5 * MS);
        assert_eq!(pace.estimate(), Some(5 * MS));
    }

    #[test]
    fn ten_overtakers_are_paid_for_and_computations_pay_tokens_back() {
        let pace = Pace::new();
        pace.ended(10 * MS);
        for _ in 0..10 {
            assert_eq!(pace.pay(20 * MS), Some(Payment::Token));
        }
        assert_eq!(pace.pay(20 * MS), None);
        assert_eq!(pace.pay(16 * 15 * MS), Some(Payment::Free));
        (0..9).for_each(|_| pace.ended(10 * MS));
        assert_eq!(pace.pay(20 * MS), None);
        pace.ended(10 * MS);
        assert_eq!(pace.pay(20 * MS), Some(Payment::Token));
        pace.refund();
        assert_eq!(pace.pay(20 * MS), Some(Payment::Token));
    }

    #[test]
    fn a_short_computation_is_waited_for_a_millisecond() {
        let pace = Pace::new();
        pace.ended(Duration::from_micros(5));
        assert_eq!(pace.patience(), MS);
    }
}
