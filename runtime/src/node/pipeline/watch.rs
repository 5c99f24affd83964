//! How long a server has kept its callers waiting: the time in which this process
//! looked, less the time in which it was busy itself.
//!
//! A runtime that never rests reads replies late and sends requests late, whatever
//! the server does. What follows from the time is the driver's to say.

use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeMetrics};

use crate::time::patience::LOOK;

/// Even a process that never rests notices after so many times the limit that a
/// server is dead.
const MOST_LIMITS: u32 = 10;

/// The watch on one connection.
pub(super) struct Watch {
    runtime: RuntimeMetrics,
    /// How long each of the runtime's workers had been busy at the last look.
    busy: Duration,
    looked: Instant,
    waited: Duration,
    silent: Duration,
}

impl Watch {
    /// Begins a watch on a connection of the current runtime.
    pub(super) fn new(now: Instant) -> Self {
        let runtime = Handle::current().metrics();
        let (waited, silent) = (Duration::ZERO, Duration::ZERO);
        Watch { busy: busy(&runtime), runtime, looked: now, waited, silent }
    }

    /// Begins anew, after a time in which there was nothing to wait for.
    pub(super) fn begin(&mut self, now: Instant) {
        (self.looked, self.busy, self.silent) = (now, busy(&self.runtime), Duration::ZERO);
    }

    /// Learns that a reply has come.
    pub(super) fn heard(&mut self) {
        self.silent = Duration::ZERO;
    }

    /// Counts the time since the last look.
    pub(super) fn look(&mut self, now: Instant) {
        let (passed, busy) = (now.saturating_duration_since(self.looked), busy(&self.runtime));
        self.count(passed, busy.saturating_sub(self.busy));
        (self.looked, self.busy) = (now, busy);
    }

    /// Counts time of which this much was busy.
    fn count(&mut self, passed: Duration, busy: Duration) {
        let idle = passed.saturating_sub(busy).min(LOOK);
        self.waited += idle;
        self.silent += idle.max(passed.min(LOOK) / MOST_LIMITS);
    }

    /// Returns how long there has been something to wait for, and the process at rest.
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }

    /// Returns how long the server has said nothing.
    pub(super) fn silent(&self) -> Duration {
        self.silent
    }
}

/// Returns how long each worker of a runtime has been busy so far, on average.
#[cfg(target_has_atomic = "64")]
fn busy(runtime: &RuntimeMetrics) -> Duration {
    let workers = runtime.num_workers();
    let all: Duration = (0..workers).map(|worker| runtime.worker_total_busy_duration(worker)).sum();
    all / u32::try_from(workers).unwrap_or(u32::MAX).max(1)
}

/// Returns how long that is where the runtime cannot tell.
#[cfg(not(target_has_atomic = "64"))]
fn busy(_: &RuntimeMetrics) -> Duration {
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn time_of_the_process_itself_is_not_the_servers() {
        let mut watch = Watch::new(Instant::now());
        watch.count(10 * MILLISECOND, Duration::ZERO);
        watch.count(10 * MILLISECOND, 4 * MILLISECOND);
        assert_eq!((watch.waited(), watch.silent()), (16 * MILLISECOND, 16 * MILLISECOND));
        watch.heard();
        watch.count(10 * MILLISECOND, 10 * MILLISECOND);
        watch.count(500 * MILLISECOND, 600 * MILLISECOND);
        assert_eq!((watch.waited(), watch.silent()), (16 * MILLISECOND, 2 * MILLISECOND), "never is a long time");
        watch.count(500 * MILLISECOND, Duration::ZERO);
        assert_eq!(watch.waited(), 26 * MILLISECOND, "a look that comes late counts as a short one");
    }
}
