//! The time that one call may spend on cache I/O.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The limits that the budget of each call begins with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// All cache I/O of one call.
    pub(crate) total: Duration,
    /// Opening one connection, which counts towards the total.
    pub(crate) connect: Duration,
}

impl Limits {
    /// A budget that is not spent yet.
    pub(crate) fn budget(self) -> Budget {
        Budget::new(self.total, self.connect)
    }
}

/// What is left of it. Computing does not count, only talking to a store.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Nanoseconds. One call spends at one place at a time; the atomic is
    /// there so that a future holding a budget can move between threads.
    left: AtomicU64,
    connect: Duration,
}

impl Budget {
    pub(crate) fn new(total: Duration, connect: Duration) -> Self {
        Budget { left: AtomicU64::new(nanos(total)), connect }
    }

    /// One that is spent at another place meanwhile; to be put back by
    /// [`Budget::become_of`].
    #[cfg(feature = "tokio")]
    pub(crate) fn lend(&self) -> Self {
        Budget { left: AtomicU64::new(self.left.load(Ordering::Relaxed)), connect: self.connect }
    }

    /// Has no more left than one that was lent.
    #[cfg(feature = "tokio")]
    pub(crate) fn become_of(&self, lent: &Budget) {
        self.left.store(lent.left.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Begins an exchange that may use up what is left.
    pub(crate) fn deadline(&self) -> Deadline {
        self.deadline_from(Instant::now())
    }

    /// As [`Budget::deadline`], for an exchange that begins now: looking at the
    /// clock twice would be seen in a round trip.
    pub(crate) fn deadline_from(&self, now: Instant) -> Deadline {
        let left = Duration::from_nanos(self.left.load(Ordering::Relaxed));
        Deadline { begun: now, at: now + left, connect: self.connect }
    }

    /// Ends an exchange that took this long.
    pub(crate) fn spend(&self, elapsed: Duration) {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(nanos(elapsed)), Ordering::Relaxed);
    }
}

/// A limit is cut at a day, so that no instant overflows.
fn nanos(duration: Duration) -> u64 {
    const DAY: Duration = Duration::from_secs(86_400);
    u64::try_from(duration.min(DAY).as_nanos()).unwrap_or(u64::MAX)
}

/// When an exchange must have ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    begun: Instant,
    at: Instant,
    connect: Duration,
}

impl Deadline {
    /// When the exchange began.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// The time left; `None` once there is none.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// The time left for connecting, which has a limit of its own.
    pub(crate) fn left_to_connect(&self) -> Option<Duration> {
        self.left().map(|left| left.min(self.connect))
    }

    /// This deadline, or the end of this much patience.
    pub(crate) fn or_after(self, patience: Duration) -> Self {
        Deadline { at: self.at.min(Instant::now() + patience), ..self }
    }

    /// When that is.
    pub(crate) fn instant(&self) -> Instant {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanges_of_one_call_share_its_limit() {
        let second = Duration::from_secs(1);
        let budget = Budget::new(100 * second, 200 * second);
        budget.spend(60 * second);
        let left = budget.deadline().left().unwrap();
        assert!(left <= 40 * second && left > 39 * second);
        budget.spend(60 * second);
        assert_eq!(budget.deadline().left(), None);
    }
}
