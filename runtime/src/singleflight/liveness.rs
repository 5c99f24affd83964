//! Whether the caller that was elected to refresh a stale value is still alive.
//!
//! The server elects one caller for as long as the item stays the same. A living
//! one renews its lease, which changes the item's number. A number that stays
//! the same for longer than a lease belongs to a caller that died.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::sync::lock;
use crate::time::clock::Clock;

/// The stale values that other callers were elected for, by key.
pub(crate) struct Liveness {
    seen: Mutex<HashMap<Box<str>, Sighting>>,
    clock: Clock,
}

#[derive(Clone, Copy)]
struct Sighting {
    cas: u64,
    since: Instant,
}

/// With more keys than this, observation begins anew.
const MOST: usize = 4_096;

impl Liveness {
    pub(crate) fn new(clock: Clock) -> Self {
        Liveness { seen: Mutex::default(), clock }
    }

    /// Whether the item has had this number for as long as `patience`.
    pub(crate) fn is_dead(&self, key: &str, cas: u64, patience: Duration) -> bool {
        let now = self.clock.steady();
        let mut seen = lock(&self.seen);
        match seen.get(key) {
            Some(sighting) if sighting.cas == cas => {
                let dead = now.saturating_duration_since(sighting.since) > patience;
                if dead {
                    seen.remove(key);
                }
                dead
            }
            known => {
                if known.is_none() && seen.len() >= MOST {
                    seen.clear();
                }
                seen.insert(key.into(), Sighting { cas, since: now });
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_changes_nothing_for_too_long_is_dead() {
        let (clock, patience) = (Clock::manual(), Duration::from_secs(4));
        let liveness = Liveness::new(clock.clone());
        assert!(!liveness.is_dead("k", 1, patience));
        clock.advance(patience);
        assert!(!liveness.is_dead("k", 1, patience));
        assert!(!liveness.is_dead("k", 2, patience));
        clock.advance(patience + Duration::from_millis(1));
        assert!(liveness.is_dead("k", 2, patience));
        assert!(!liveness.is_dead("k", 2, patience));
    }

    #[test]
    fn only_so_many_keys_are_watched() {
        let liveness = Liveness::new(Clock::manual());
        for i in 0..3 * MOST {
            liveness.is_dead(&i.to_string(), 1, Duration::ZERO);
        }
        assert!(lock(&liveness.seen).len() <= MOST);
    }
}
