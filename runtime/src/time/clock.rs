//! A clock that tests can advance by hand. It wakes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A point in time with a resolution of a few milliseconds.
pub(crate) use coarsetime::Instant as Tick;

/// A monotonic clock: the system's, or a manual one.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// How far a manual clock has been advanced, in milliseconds.
    manual: Option<Arc<AtomicU64>>,
}

impl Clock {
    pub(crate) fn system() -> Self {
        Clock { start: Instant::now(), manual: None }
    }

    #[cfg(test)]
    pub(crate) fn manual() -> Self {
        Clock { start: Instant::now(), manual: Some(Arc::default()) }
    }

    /// Whether this is a manual clock, which moves only when advanced.
    pub(crate) fn is_set(&self) -> bool {
        self.manual.is_some()
    }

    pub(crate) fn now(&self) -> Instant {
        match &self.manual {
            None => Instant::now(),
            Some(millis) => self.start + Duration::from_millis(millis.load(Ordering::Relaxed)),
        }
    }

    /// Returns the time of the last tick of the system's timer, a few milliseconds
    /// ago. Reading it takes a fifth of the time of [`Clock::now`].
    pub(crate) fn tick(&self) -> Tick {
        match &self.manual {
            None => Tick::now_without_cache_update(),
            Some(millis) => Tick::from_ticks(0) + Duration::from_millis(millis.load(Ordering::Relaxed)).into(),
        }
    }

    /// Moves a manual clock forward.
    #[cfg(test)]
    pub(crate) fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).expect("a test's duration");
        self.manual.as_ref().expect("a manual clock").fetch_add(millis, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_advance_with_the_time() {
        const RESOLUTION: Duration = Duration::from_millis(20);
        let clock = Clock::system();
        let (outer, from) = (clock.now(), clock.tick());
        let inner = clock.now();
        std::thread::sleep(Duration::from_millis(100));
        let at_least = inner.elapsed();
        let between = Duration::from(clock.tick().duration_since(from));
        assert!((at_least - RESOLUTION..outer.elapsed() + RESOLUTION).contains(&between), "{between:?}");
    }

    #[test]
    fn a_manual_clock_advances_instants_and_ticks() {
        let clock = Clock::manual();
        let (now, tick) = (clock.now(), clock.tick());
        clock.advance(Duration::from_millis(1_500));
        assert_eq!(clock.now() - now, Duration::from_millis(1_500));
        assert_eq!(Duration::from(clock.tick().duration_since(tick)), Duration::from_millis(1_500));
    }
}
