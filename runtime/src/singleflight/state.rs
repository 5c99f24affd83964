//! What passes between the leader of a flight and its waiters: one protocol for
//! threads and tasks.
//!
//! A flight has a leader until it lands. A leader that leaves earlier, because
//! its future was dropped, puts its baton down, and one of the waiters picks it
//! up. When the leader takes too long, one waiter begins to compute as well, and
//! the others are patient for twice as long again: the leader may be waiting for
//! one of them.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::locks::{Condvar, Mutex, MutexGuard, lock};

/// The state of one flight. `B` entitles a leader to more than computing, `L` is
/// what the flight lands with.
#[derive(Debug)]
pub(super) struct FlightState<B, L> {
    state: Mutex<Shared<B, L>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Shared<B, L> {
    /// Callers that compute.
    leaders: usize,
    /// Put down by a leader that left, and not picked up yet.
    baton: Option<B>,
    landed: Option<L>,
    /// Threads and tasks that wait.
    waiting: usize,
    /// Wakers of waiting tasks, by the tasks' numbers.
    wakers: HashMap<u64, Waker>,
    /// How long the next caller that begins will be waited for.
    patience: Duration,
    until: Instant,
    /// When the timer wakes the tasks because of that.
    armed: Option<Instant>,
}

/// Why a waiter wakes up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wakeup<B, L> {
    /// The flight is over.
    Landed(L),
    /// This waiter leads now: the leader left, perhaps with its baton put down.
    Succeeds(Option<B>),
    /// This waiter leads now, beside a leader that takes too long.
    Overtakes,
}

/// What becomes of a flight that a caller leaves.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left<B> {
    /// It goes on.
    Open,
    /// It goes on under other leaders, which need no baton.
    Returned(Option<B>),
    /// It is over: no caller is left.
    Closed(Option<B>),
}

impl<B, L: Clone> FlightState<B, L> {
    /// Begins a flight with one leader, which is waited for this long.
    pub(super) fn new(patience: Duration) -> Self {
        let state = Shared {
            leaders: 1,
            baton: None,
            landed: None,
            waiting: 0,
            wakers: HashMap::new(),
            patience,
            until: Instant::now() + patience,
            armed: None,
        };
        FlightState { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Begins a wait that [`FlightState::wait`], [`FlightState::poll`] or
    /// [`FlightState::leave`] ends.
    pub(super) fn join(&self) {
        self.state().waiting += 1;
    }

    /// Blocks until there is something to do.
    pub(super) fn wait(&self) -> Wakeup<B, L> {
        let mut state = self.state();
        loop {
            let now = Instant::now();
            if let Some(wakeup) = state.wakeup(now) {
                return wakeup;
            }
            let patience = state.until - now;
            state = self.changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Polls for the task with this number. Calls `arm` with the instant at which
    /// [`FlightState::wake`] is due.
    pub(super) fn poll(&self, task: u64, waker: &Waker, arm: impl FnOnce(Instant)) -> Poll<Wakeup<B, L>> {
        let mut state = self.state();
        if let Some(wakeup) = state.wakeup(Instant::now()) {
            state.wakers.remove(&task);
            return Poll::Ready(wakeup);
        }
        state.wakers.insert(task, waker.clone());
        let until = state.until;
        let armed = state.armed.replace(until) == Some(until);
        drop(state);
        if !armed {
            arm(until);
        }
        Poll::Pending
    }

    /// Ends a wait early. The last waiter to leave a flight without a leader ends
    /// it with `closed`.
    pub(super) fn leave(&self, task: u64, closed: L) -> Left<B> {
        let mut state = self.state();
        state.wakers.remove(&task);
        state.waiting -= 1;
        if state.waiting > 0 || state.leaders > 0 || state.landed.is_some() {
            return Left::Open;
        }
        state.landed = Some(closed);
        Left::Closed(state.baton.take())
    }

    /// Ends the flight, unless it has ended already.
    pub(super) fn land(&self, with: L) {
        let mut state = self.state();
        state.landed.get_or_insert(with);
        self.tell(&mut state);
    }

    /// Leaves the lead and puts the baton down. Without a waiter the flight ends
    /// with `closed`.
    pub(super) fn retire(&self, baton: Option<B>, closed: L) -> Left<B> {
        let mut state = self.state();
        state.leaders -= 1;
        if state.leaders > 0 || state.landed.is_some() {
            return Left::Returned(baton);
        }
        if state.waiting == 0 {
            state.landed = Some(closed);
            return Left::Closed(baton);
        }
        state.baton = baton;
        self.tell(&mut state);
        Left::Open
    }

    /// Wakes all tasks to look again.
    pub(super) fn wake(&self) {
        self.tell(&mut self.state());
    }

    /// Whether a waiter needs what the flight lands with.
    pub(super) fn is_awaited(&self) -> bool {
        self.state().waiting > 0
    }

    #[cfg(all(test, feature = "memcache"))]
    pub(super) fn waiting(&self) -> usize {
        self.state().waiting
    }

    fn tell(&self, state: &mut Shared<B, L>) {
        self.changed.notify_all();
        state.wakers.drain().for_each(|(_, waker)| waker.wake());
    }

    fn state(&self) -> MutexGuard<'_, Shared<B, L>> {
        lock(&self.state)
    }
}

impl<B, L: Clone> Shared<B, L> {
    fn wakeup(&mut self, now: Instant) -> Option<Wakeup<B, L>> {
        let wakeup = if let Some(landed) = &self.landed {
            Wakeup::Landed(landed.clone())
        } else if self.leaders == 0 {
            Wakeup::Succeeds(self.baton.take())
        } else if now >= self.until {
            self.patience = self.patience.saturating_mul(2);
            Wakeup::Overtakes
        } else {
            return None;
        };
        if !matches!(wakeup, Wakeup::Landed(_)) {
            self.leaders += 1;
            self.until = now + self.patience;
        }
        self.waiting -= 1;
        Some(wakeup)
    }
}
