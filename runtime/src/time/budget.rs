//! The time that one call may spend on cache I/O. Computing does not count.
//!
//! Enforcing a deadline is up to the I/O that gets it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The limits that each call's budget starts with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For all cache I/O of one call.
    pub(crate) total: Duration,
    /// For opening one connection, which also counts towards the total.
    pub(crate) connect: Duration,
}

impl Limits {
    /// Returns an unspent budget.
    pub(crate) fn budget(self) -> Budget {
        Budget::new(self.total, self.connect)
    }
}

/// A server that has not answered within this time has had a fair share of it:
/// memcached answers within microseconds.
const FAIR: Duration = Duration::from_millis(20);

/// The time left to one call for cache I/O.
#[derive(Debug)]
pub(crate) struct Budget {
    /// In nanoseconds. A call does one exchange at a time; this is atomic so that a
    /// future holding a budget can move between threads.
    left: AtomicU64,
    connect: Duration,
    /// What is a fair share, by the limits of the call as a whole.
    fair: Duration,
    is_of_polls: bool,
}

impl Budget {
    pub(crate) fn new(total: Duration, connect: Duration) -> Self {
        Budget {
            left: AtomicU64::new(nanos(total)),
            connect,
            fair: FAIR.min(total / 2).min(connect / 2),
            is_of_polls: false,
        }
    }

    /// Makes this the budget of polls: questions that are asked again and again, and say
    /// nothing about the server if they are not answered.
    pub(crate) fn of_polls(self) -> Self {
        Budget { is_of_polls: true, ..self }
    }

    /// Returns a copy for another task to spend, to be taken back with
    /// [`Budget::become_of`].
    pub(crate) fn lend(&self) -> Self {
        Budget { left: AtomicU64::new(self.left.load(Ordering::Relaxed)), ..*self }
    }

    /// Takes over what is left of a lent budget.
    #[cfg(feature = "tokio")]
    pub(crate) fn become_of(&self, lent: &Budget) {
        self.left.store(lent.left.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Returns the deadline of an exchange that starts now.
    pub(crate) fn deadline(&self) -> Deadline {
        self.deadline_from(Instant::now())
    }

    /// Returns the deadline of an exchange that starts at `now`, which saves a look
    /// at the clock.
    pub(crate) fn deadline_from(&self, now: Instant) -> Deadline {
        let left = Duration::from_nanos(self.left.load(Ordering::Relaxed));
        let Budget { connect, fair, is_of_polls, .. } = *self;
        Deadline { begun: now, at: now + left, connect, fair, is_of_poll: is_of_polls }
    }

    /// Deducts the time that an exchange took.
    pub(crate) fn spend(&self, elapsed: Duration) {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(nanos(elapsed)), Ordering::Relaxed);
    }
}

/// Converts a limit to nanoseconds, capped at a day so that no instant overflows.
fn nanos(duration: Duration) -> u64 {
    const DAY: Duration = Duration::from_secs(86_400);
    u64::try_from(duration.min(DAY).as_nanos()).unwrap_or(u64::MAX)
}

/// The time by which an exchange must end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    begun: Instant,
    at: Instant,
    connect: Duration,
    fair: Duration,
    is_of_poll: bool,
}

impl Deadline {
    /// Whether it is a poll's.
    pub(crate) fn is_of_poll(&self) -> bool {
        self.is_of_poll
    }

    /// Returns the time at which the exchange started.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// Returns the time left; `None` once there is none.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// Returns the time left for connecting, which also has its own limit.
    pub(crate) fn left_to_connect(&self) -> Option<Duration> {
        self.left().map(|left| left.min(self.connect))
    }

    /// Whether this was a fair share of the time: silence for less says nothing
    /// about a server.
    pub(crate) fn is_fair(&self, share: Duration) -> bool {
        share >= self.fair
    }

    /// Returns the time left, and at least a fair share.
    #[cfg(feature = "tokio")]
    pub(crate) fn patience(&self) -> Duration {
        self.left().unwrap_or_default().max(self.fair)
    }

    /// Returns the deadline, put off so far that it leaves a fair share of the time.
    #[cfg(feature = "tokio")]
    pub(crate) fn at_least_fair(self) -> Self {
        Deadline { at: self.at.max(Instant::now() + self.fair), ..self }
    }

    /// Returns the earlier of this deadline and `patience` from now.
    pub(crate) fn or_after(self, patience: Duration) -> Self {
        Deadline { at: self.at.min(Instant::now() + patience), ..self }
    }

    /// Returns the deadline itself.
    pub(crate) fn instant(&self) -> Instant {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exchanges_of_a_call_share_its_budget() {
        let second = Duration::from_secs(1);
        let budget = Budget::new(100 * second, 200 * second);
        budget.spend(60 * second);
        let left = budget.deadline().left().unwrap();
        assert!(left <= 40 * second && left > 39 * second);
        budget.spend(60 * second);
        assert_eq!(budget.deadline().left(), None);
    }
}
