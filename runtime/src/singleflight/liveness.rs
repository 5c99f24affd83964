//! Whether whoever has been elected to write a stale value anew is still at it.
//!
//! The server elects one caller, for as long as the item stays the same. Who
//! lives renews that, which changes the item's number; one that stays the same
//! for longer than a lease belongs to somebody who died.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::sync::lock;
use crate::time::clock::Clock;

/// The stale values that others have been elected for, by key.
pub(crate) struct Vigil {
    seen: Mutex<HashMap<Box<str>, Sighting>>,
    clock: Clock,
}

#[derive(Clone, Copy)]
struct Sighting {
    cas: u64,
    since: Instant,
}

/// Beyond this many keys, the watch begins anew.
const MOST: usize = 4_096;

impl Vigil {
    pub(crate) fn new(clock: Clock) -> Self {
        Vigil { seen: Mutex::default(), clock }
    }

    /// Whether the item has had this number for as long as `patience`.
    pub(crate) fn is_dead(&self, key: &str, cas: u64, patience: Duration) -> bool {
        let now = self.clock.now();
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
        let vigil = Vigil::new(clock.clone());
        assert!(!vigil.is_dead("k", 1, patience));
        clock.advance(patience);
        assert!(!vigil.is_dead("k", 1, patience));
        assert!(!vigil.is_dead("k", 2, patience));
        clock.advance(patience + Duration::from_millis(1));
        assert!(vigil.is_dead("k", 2, patience));
        assert!(!vigil.is_dead("k", 2, patience));
    }

    #[test]
    fn only_so_many_keys_are_watched() {
        let vigil = Vigil::new(Clock::manual());
        for i in 0..3 * MOST {
            vigil.is_dead(&i.to_string(), 1, Duration::ZERO);
        }
        assert!(lock(&vigil.seen).len() <= MOST);
    }
}
