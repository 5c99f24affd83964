//! The clock of a cache, which tests can take in hand. It wakes nothing.

#[cfg(any(test, feature = "testing"))]
use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(any(test, feature = "testing"))]
use std::sync::{Arc, OnceLock};
#[cfg(any(test, feature = "testing"))]
use std::time::Duration;
use std::time::Instant;

/// A point in time with a resolution of a few milliseconds.
pub(crate) use coarsetime::Instant as Tick;

/// The clock of one cache, which stands still and moves only when it is advanced.
///
/// [`Cache::clock`](crate::Cache::clock) returns it.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "testing"), allow(unreachable_pub, reason = "tests alone take a clock in hand"))]
pub struct Clock {
    #[cfg(any(test, feature = "testing"))]
    hand: Arc<Hand>,
}

/// What a test does to a clock.
#[cfg(any(test, feature = "testing"))]
#[derive(Debug)]
struct Hand {
    start: Instant,
    /// When the clock was stopped.
    stopped: OnceLock<Instant>,
    /// How far it has been advanced since, in nanoseconds.
    advanced: AtomicU64,
}

impl Clock {
    /// Creates a clock that shows the system's time.
    #[cfg(not(any(test, feature = "testing")))]
    pub(crate) fn system() -> Self {
        Clock {}
    }

    /// Returns the time.
    #[cfg(not(any(test, feature = "testing")))]
    pub(crate) fn now(&self) -> Instant {
        Instant::now()
    }

    /// Returns the time of the last tick of the system's timer, a few milliseconds
    /// ago. Reading it takes a fifth of the time of [`Clock::now`].
    #[cfg(not(any(test, feature = "testing")))]
    pub(crate) fn tick(&self) -> Tick {
        Tick::now_without_cache_update()
    }

    /// Whether a test has taken the clock in hand.
    #[cfg(not(any(test, feature = "testing")))]
    pub(crate) fn is_stopped(&self) -> bool {
        false
    }

    /// Returns the time by which leases end, which a test does not move: a holder that
    /// computes is alive, however far the clock leaps. Unit tests move it, too.
    pub(crate) fn steady(&self) -> Instant {
        if cfg!(test) { self.now() } else { Instant::now() }
    }
}

#[cfg(any(test, feature = "testing"))]
impl Clock {
    /// Creates a clock that runs until it is stopped.
    pub(crate) fn system() -> Self {
        Clock { hand: Arc::new(Hand { start: running(), stopped: OnceLock::new(), advanced: AtomicU64::new(0) }) }
    }

    /// Creates a clock that stands still from the start.
    #[cfg(test)]
    pub(crate) fn manual() -> Self {
        let clock = Clock::system();
        let _ = clock.hand.stopped.set(clock.hand.start);
        clock
    }

    /// Makes the clock stand still, unless it does.
    #[cfg(feature = "testing")]
    pub(crate) fn stop(&self) {
        self.hand.stopped.get_or_init(running);
    }

    /// Moves the clock forward. What has reached its end by then is gone or stale.
    ///
    /// Other clones of the cache move with it, and nothing else does: no other cache,
    /// and no timer.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use memocached::testing::{assert_hit, assert_miss, with_cache};
    /// use memocached::{Cache, memcached};
    ///
    /// #[memcached(key = "rate:<currency>", ttl = 60)]
    /// fn rate(currency: &str) -> u32 {
    ///     currency.len() as u32
    /// }
    ///
    /// let cache = Cache::embedded();
    /// let clock = cache.clock();
    /// with_cache(&cache, || {
    ///     assert_miss!(rate("EUR"));
    ///     clock.advance(Duration::from_secs(59));
    ///     assert_hit!(rate("EUR"));
    ///     clock.advance(Duration::from_secs(1));
    ///     assert_miss!(rate("EUR"));
    /// });
    /// ```
    #[cfg_attr(not(feature = "testing"), allow(unreachable_pub, reason = "unit tests advance it"))]
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        let further = |advanced: u64| Some(advanced.saturating_add(nanos));
        let _ = self.hand.advanced.fetch_update(Ordering::Relaxed, Ordering::Relaxed, further);
    }

    /// Whether a test has taken the clock in hand.
    pub(crate) fn is_stopped(&self) -> bool {
        self.hand.stopped.get().is_some()
    }

    /// Returns the time.
    pub(crate) fn now(&self) -> Instant {
        match self.hand.stopped.get() {
            None => running(),
            Some(stopped) => {
                let advanced = Duration::from_nanos(self.hand.advanced.load(Ordering::Relaxed));
                stopped.checked_add(advanced).unwrap_or(*stopped)
            }
        }
    }

    /// Returns the time, with the resolution that the system's ticks have without a
    /// test.
    pub(crate) fn tick(&self) -> Tick {
        if cfg!(test) && !self.is_stopped() {
            return Tick::now_without_cache_update();
        }
        Tick::from_ticks(0) + self.now().saturating_duration_since(self.hand.start).into()
    }
}

/// Returns the time that no test has stopped, but that of a runtime whose clock it has
/// paused.
#[cfg(any(test, feature = "testing"))]
fn running() -> Instant {
    #[cfg(all(feature = "tokio", not(test)))]
    return tokio::time::Instant::now().into_std();
    #[cfg(not(all(feature = "tokio", not(test))))]
    Instant::now()
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
