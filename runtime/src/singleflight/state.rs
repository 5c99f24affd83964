//! What passes between those who compute a value and those who wait for it:
//! one protocol for threads and tasks.
//!
//! A flight has a leader until it lands. A leader that has to leave before
//! (its future was dropped) puts its baton down, and one of those who wait
//! takes it up. Where the leader takes too long, one of them begins as well,
//! and the others are patient for twice as long again: it may be waiting for
//! one of them.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::locks::{Condvar, Mutex, MutexGuard, lock};

/// The state of one flight. `B` is what entitles a leader to more than
/// computing, `L` what it lands with.
#[derive(Debug)]
pub(super) struct Board<B, L> {
    state: Mutex<State<B, L>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<B, L> {
    /// Until it has landed.
    leaders: usize,
    /// Put down by a leader that left, and not taken up yet.
    baton: Option<B>,
    landed: Option<L>,
    /// Threads and tasks that wait.
    waiting: usize,
    /// Of tasks that wait, by their numbers.
    wakers: HashMap<u64, Waker>,
    /// How long the next to begin will be waited for.
    patience: Duration,
    until: Instant,
    /// When tasks are to be woken because of that.
    alarm: Option<Instant>,
}

/// What waiting comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival<B, L> {
    /// The flight is over.
    Landed(L),
    /// This one leads now, in place of one that left and may have put its
    /// baton down.
    Succeeds(Option<B>),
    /// This one leads now, beside one that takes too long.
    Overtakes,
}

/// What has become of a flight that somebody leaves.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left<B> {
    /// It goes on without.
    Open,
    /// It goes on without; so did others, who need no baton.
    Returned(Option<B>),
    /// It is over, for nobody is left.
    Closed(Option<B>),
}

impl<B, L: Clone> Board<B, L> {
    /// A flight that has just begun, with one leader, which is waited for this
    /// long.
    pub(super) fn new(patience: Duration) -> Self {
        let state = State {
            leaders: 1,
            baton: None,
            landed: None,
            waiting: 0,
            wakers: HashMap::new(),
            patience,
            until: Instant::now() + patience,
            alarm: None,
        };
        Board { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Begins to wait; [`Board::wait`] or [`Board::poll`] end it, or
    /// [`Board::leave`].
    pub(super) fn join(&self) {
        self.state().waiting += 1;
    }

    /// Blocks until there is something to do.
    pub(super) fn wait(&self) -> Arrival<B, L> {
        let mut state = self.state();
        loop {
            let now = Instant::now();
            if let Some(arrival) = state.arrive(now) {
                return arrival;
            }
            let patience = state.until - now;
            state = self.changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// As [`Board::wait`], for the task with this number. `arm` is called with
    /// the instant at which [`Board::wake`] is to be called.
    pub(super) fn poll(&self, task: u64, waker: &Waker, arm: impl FnOnce(Instant)) -> Poll<Arrival<B, L>> {
        let mut state = self.state();
        if let Some(arrival) = state.arrive(Instant::now()) {
            state.wakers.remove(&task);
            return Poll::Ready(arrival);
        }
        state.wakers.insert(task, waker.clone());
        let until = state.until;
        let armed = state.alarm.replace(until) == Some(until);
        drop(state);
        if !armed {
            arm(until);
        }
        Poll::Pending
    }

    /// Waits no longer. The last to leave a flight without a leader ends it
    /// with `closed`.
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

    /// Ends the flight, unless it has ended.
    pub(super) fn land(&self, with: L) {
        let mut state = self.state();
        state.landed.get_or_insert(with);
        self.tell(&mut state);
    }

    /// Leads no longer, and puts the baton down. Where nobody waits, the flight
    /// ends with `closed`.
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

    /// Has all tasks look again.
    pub(super) fn wake(&self) {
        self.tell(&mut self.state());
    }

    /// Whether what it lands with will be of use.
    pub(super) fn is_awaited(&self) -> bool {
        self.state().waiting > 0
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.state().waiting
    }

    fn tell(&self, state: &mut State<B, L>) {
        self.changed.notify_all();
        state.wakers.drain().for_each(|(_, waker)| waker.wake());
    }

    fn state(&self) -> MutexGuard<'_, State<B, L>> {
        lock(&self.state)
    }
}

impl<B, L: Clone> State<B, L> {
    fn arrive(&mut self, now: Instant) -> Option<Arrival<B, L>> {
        let arrival = if let Some(landed) = &self.landed {
            Arrival::Landed(landed.clone())
        } else if self.leaders == 0 {
            Arrival::Succeeds(self.baton.take())
        } else if now >= self.until {
            self.patience = self.patience.saturating_mul(2);
            Arrival::Overtakes
        } else {
            return None;
        };
        if !matches!(arrival, Arrival::Landed(_)) {
            self.leaders += 1;
            self.until = now + self.patience;
        }
        self.waiting -= 1;
        Some(arrival)
    }
}
