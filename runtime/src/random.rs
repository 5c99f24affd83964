//! Random fractions derived from the time, so that they repeat under a manual
//! clock. They are unfit for secrets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::time::clock::Clock;

/// A source of random fractions for one cache.
#[derive(Debug)]
pub(crate) struct Random {
    clock: Clock,
    begun: Instant,
    draws: AtomicU64,
    /// Secret and different in each process, unless the clock is manual.
    seed: u64,
}

impl Random {
    pub(crate) fn new(clock: Clock) -> Self {
        use std::hash::{BuildHasher, RandomState};
        let seed = if clock.is_stopped() { 0 } else { RandomState::new().hash_one(()) };
        Random { begun: clock.now(), clock, draws: AtomicU64::new(0), seed }
    }

    /// Draws a fraction, uniformly distributed over (0, 1].
    #[allow(clippy::cast_precision_loss, reason = "53 bits convert without loss")]
    pub(crate) fn draw(&self, key: &str) -> f64 {
        let nanos = self.clock.now().saturating_duration_since(self.begun).as_nanos() as u64;
        let draw = self.draws.fetch_add(1, Ordering::Relaxed);
        let moment = (u128::from(nanos) << 64 | u128::from(draw)).to_le_bytes();
        let bits = xxh3_64_with_seed(&moment, xxh3_64_with_seed(key.as_bytes(), self.seed)) >> 11;
        (bits + 1) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_uniform_and_repeat_under_a_manual_clock() {
        let draws = |random: &Random| (0..10_000).map(|_| random.draw("k")).collect::<Vec<_>>();
        let first = draws(&Random::new(Clock::manual()));
        assert_eq!(first, draws(&Random::new(Clock::manual())));
        assert!(first.iter().all(|draw| *draw > 0.0 && *draw <= 1.0));
        let mut counts = [0_u32; 10];
        first.iter().for_each(|draw| counts[(draw * 10.0).min(9.0) as usize] += 1);
        let chi_square: f64 = counts.iter().map(|count| (f64::from(*count) - 1_000.0).powi(2) / 1_000.0).sum();
        assert!(chi_square < 21.7, "{counts:?}");
    }
}
