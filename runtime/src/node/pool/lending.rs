//! The idle connections to one node, and how many may be open at once.
//!
//! A connection is lent out by value and given back only after a complete
//! exchange; anything else that happens to it (an error, a panic) closes it. A
//! forked process leaves its parent's connections alone. What a connection is,
//! it does not know.

use std::time::{Duration, Instant};

use super::locks::{Condvar, Mutex, MutexGuard, lock};
use crate::node::observer::Connections;

/// How long a server that takes no more connections is not asked for another.
pub(crate) const SCARCITY: Duration = Duration::from_secs(5);

/// Connections of type `C`, at most `limit` open at once.
#[derive(Debug)]
pub(crate) struct Pool<C> {
    state: Mutex<Stock<C>>,
    freed: Condvar,
    limit: usize,
}

/// What is lent, and what is not.
#[derive(Debug)]
struct Stock<C> {
    idle: Vec<C>,
    lent: usize,
    /// Callers that wait for a permit.
    waiting: usize,
    /// Until when no more are opened, as the server takes no more.
    scarcity: Option<Instant>,
    fork: forkguard::Guard,
}

/// The right to have one connection open.
#[must_use]
pub(crate) struct Permit<'a, C> {
    pool: &'a Pool<C>,
    /// An idle connection that came with the permit, and stays idle unless it
    /// is taken out.
    pub(crate) idle: Option<C>,
}

impl<C> Pool<C> {
    /// Creates an empty pool.
    pub(crate) fn new(limit: usize) -> Self {
        let state = Stock { idle: Vec::new(), lent: 0, waiting: 0, scarcity: None, fork: forkguard::new() };
        Pool { state: Mutex::new(state), freed: Condvar::new(), limit: limit.max(1) }
    }

    /// Takes a permit, if there is one.
    pub(crate) fn try_checkout(&self) -> Option<Permit<'_, C>> {
        let mut state = self.state();
        (!self.is_exhausted(&mut state)).then(|| self.lend(&mut state))
    }

    /// Waits for a permit, but no longer than `patience`.
    pub(crate) fn checkout(&self, patience: Duration) -> Option<Permit<'_, C>> {
        let mut state = self.state();
        state.waiting += 1;
        let waited = self.freed.wait_timeout_while(state, patience, |state| self.is_exhausted(state));
        let (mut state, timeout) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        state.waiting -= 1;
        (!timeout.timed_out()).then(|| self.lend(&mut state))
    }

    /// Locks the stock, and empties it after a fork: two processes on one
    /// connection would read each other's replies.
    fn state(&self) -> MutexGuard<'_, Stock<C>> {
        let mut state = lock(&self.state);
        if state.fork.detected_fork() {
            // The callers that had the others, and those that waited, stayed in
            // the other process.
            (state.idle, state.lent, state.waiting, state.scarcity) = (Vec::new(), 0, 0, None);
        }
        state
    }

    /// Whether a caller has to wait.
    fn is_exhausted(&self, state: &mut Stock<C>) -> bool {
        if state.scarcity.is_some_and(|until| until <= Instant::now()) {
            state.scarcity = None;
        }
        let must_reuse = state.scarcity.is_some() && state.lent > 0;
        state.lent >= self.limit || must_reuse && state.idle.is_empty()
    }

    /// Lends only connections that are open, for a while, as the server takes no
    /// more; false if there is none that could be waited for.
    pub(crate) fn make_do(&self) -> bool {
        let mut state = self.state();
        let are_some = state.lent > 0 || !state.idle.is_empty();
        if are_some {
            state.scarcity = Some(Instant::now() + SCARCITY);
        }
        are_some
    }

    /// Lends one more.
    fn lend(&self, state: &mut Stock<C>) -> Permit<'_, C> {
        state.lent += 1;
        // The one used last is most likely to be alive.
        Permit { pool: self, idle: state.idle.pop() }
    }

    /// Returns the connections that are open now.
    pub(crate) fn connections(&self) -> Connections {
        let state = lock(&self.state);
        Connections { idle: state.idle.len(), used: state.lent }
    }

    /// Closes every idle connection: the node has gone, and they with it.
    pub(crate) fn clear(&self) {
        drop(self.take_all());
    }

    /// Takes all idle connections.
    pub(crate) fn take_all(&self) -> Vec<C> {
        std::mem::take(&mut self.state().idle)
    }
}

impl<C> Permit<'_, C> {
    /// Gives a connection back after a complete exchange.
    pub(crate) fn give_back(mut self, connection: C) {
        self.idle = Some(connection);
    }
}

impl<C> Drop for Permit<'_, C> {
    fn drop(&mut self) {
        let mut state = lock(&self.pool.state);
        state.lent = state.lent.saturating_sub(1);
        state.idle.extend(self.idle.take());
        let is_waited_for = state.waiting > 0;
        drop(state);
        // Waking takes a system call even if no thread sleeps.
        if is_waited_for {
            self.pool.freed.notify_one();
        }
    }
}
