//! The idle connections of async callers to one node.
//!
//! A tokio connection belongs to the runtime that opened it, so each is kept
//! with its runtime's id and lent to callers on that runtime only. A runtime
//! that has ended leaves broken connections behind, which go as others come.
//! Opens none and sends nothing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use tokio::runtime::{Handle, Id};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::net::async_connection::AsyncConnection;
use crate::node::observer::Connections;
use crate::node::pool::SCARCITY;
use crate::sync::lock;
use crate::time::budget::Deadline;
use crate::time::patience::within;

/// At most `limit` connections in use at once, and as many idle.
pub(crate) struct AsyncPool {
    idle: Mutex<Idle>,
    permits: Semaphore,
    limit: usize,
    /// How many connections of callers are open.
    held: AtomicUsize,
    /// How many permits are kept back, as the server takes no more connections.
    kept: AtomicUsize,
    /// Until when.
    scarcity: Mutex<Option<Instant>>,
}

/// The connections that are not in use, with the runtimes that opened them.
struct Idle {
    connections: Vec<(Id, AsyncConnection)>,
    fork: forkguard::Guard,
}

/// The right to have one connection open.
#[must_use]
pub(crate) struct AsyncPermit<'a> {
    pool: &'a AsyncPool,
    runtime: Id,
    /// Whether a connection is open under it.
    is_held: AtomicBool,
    /// `None` once it has been kept back.
    permit: Option<SemaphorePermit<'a>>,
}

/// Returns the runtime that the caller runs on, if any.
pub(crate) fn runtime() -> Option<Id> {
    Handle::try_current().ok().map(|handle| handle.id())
}

impl AsyncPool {
    /// Creates an empty pool.
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.max(1);
        let permits = Semaphore::new(limit);
        let (held, kept) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let idle = Mutex::new(Idle { connections: Vec::new(), fork: forkguard::new() });
        AsyncPool { idle, permits, limit, held, kept, scarcity: Mutex::default() }
    }

    /// Takes a permit, if there is one.
    pub(crate) fn try_checkout(&self, runtime: Id) -> Option<AsyncPermit<'_>> {
        if self.kept.load(Ordering::Relaxed) > 0
            && lock(&self.scarcity).take_if(|until| *until <= Instant::now()).is_some()
        {
            self.permits.add_permits(self.kept.swap(0, Ordering::Relaxed));
        }
        let permit = self.permits.try_acquire().ok()?;
        Some(AsyncPermit { pool: self, runtime, is_held: AtomicBool::new(false), permit: Some(permit) })
    }

    /// Waits for a permit, but no longer than until the deadline.
    pub(crate) async fn checkout(&self, runtime: Id, deadline: Deadline) -> Option<AsyncPermit<'_>> {
        let permit = within(deadline.left()?, self.permits.acquire()).await?.ok()?;
        Some(AsyncPermit { pool: self, runtime, is_held: AtomicBool::new(false), permit: Some(permit) })
    }

    /// Returns how many connections are in use.
    pub(crate) fn in_use(&self) -> usize {
        self.limit.saturating_sub(self.permits.available_permits() + self.kept.load(Ordering::Relaxed))
    }

    /// Opens no more connections for a while, as the server takes no more; false if
    /// there is none that could be waited for.
    pub(crate) fn make_do(&self) -> bool {
        let open = self.held.load(Ordering::Relaxed) + self.idle().connections.len();
        let mut scarcity = lock(&self.scarcity);
        if open == 0 {
            *scarcity = None;
            self.permits.add_permits(self.kept.swap(0, Ordering::Relaxed));
            return false;
        }
        let spare = self.limit.saturating_sub(self.kept.load(Ordering::Relaxed) + open);
        self.kept.fetch_add(self.permits.forget_permits(spare), Ordering::Relaxed);
        *scarcity = Some(Instant::now() + SCARCITY);
        true
    }

    /// Returns the connections that are open now.
    pub(crate) fn connections(&self) -> Connections {
        Connections { idle: self.idle().connections.len(), used: self.in_use() }
    }

    /// Locks the idle connections. After a fork they are the parent's, and are left alone:
    /// closing them would also remove them from what the parent's runtime listens to.
    fn idle(&self) -> MutexGuard<'_, Idle> {
        let mut idle = lock(&self.idle);
        if idle.fork.detected_fork() {
            std::mem::forget(std::mem::take(&mut idle.connections));
        }
        idle
    }

    /// Closes every idle connection: the node has gone, and they with it.
    pub(crate) fn clear(&self) {
        drop(self.take_all());
    }

    /// Takes all idle connections.
    pub(crate) fn take_all(&self) -> Vec<AsyncConnection> {
        std::mem::take(&mut self.idle().connections).into_iter().map(|(_, connection)| connection).collect()
    }
}

impl Drop for AsyncPool {
    fn drop(&mut self) {
        // What is the parent's is not dropped here either.
        drop(self.idle());
    }
}

impl AsyncPermit<'_> {
    /// Takes an idle connection of this runtime: the one used last, which is most likely to
    /// be alive.
    pub(crate) fn idle(&self) -> Option<AsyncConnection> {
        let idle = &mut self.pool.idle().connections;
        let position = idle.iter().rposition(|(owner, _)| *owner == self.runtime)?;
        self.hold();
        Some(idle.remove(position).1)
    }

    /// Keeps the permit back, as there is no connection for it, and the server takes
    /// no more.
    pub(crate) fn keep_back(mut self) {
        if let Some(permit) = self.permit.take() {
            self.pool.kept.fetch_add(1, Ordering::Relaxed);
            permit.forget();
        }
    }

    /// Notes that a connection is open under this permit.
    pub(crate) fn hold(&self) {
        if !self.is_held.swap(true, Ordering::Relaxed) {
            self.pool.held.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives a connection back after a complete exchange.
    pub(crate) fn give_back(&self, connection: AsyncConnection) {
        let idle = &mut self.pool.idle().connections;
        if idle.len() >= self.pool.limit {
            // The oldest goes, which may be one of a runtime that has ended.
            idle.remove(0);
        }
        idle.push((self.runtime, connection));
    }
}

impl Drop for AsyncPermit<'_> {
    fn drop(&mut self) {
        if *self.is_held.get_mut() {
            self.pool.held.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
