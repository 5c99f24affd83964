//! The idle connections of async callers to one node.
//!
//! A tokio connection belongs to the runtime that opened it, so each is kept
//! with its runtime's id and lent to callers on that runtime only. A runtime
//! that has ended leaves broken connections behind, which go as others come.
//! Opens none and sends nothing.

use std::sync::Mutex;

use tokio::runtime::{Handle, Id};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::net::async_connection::AsyncConnection;
use crate::node::observer::Connections;
use crate::sync::lock;
use crate::time::budget::Deadline;

/// At most `limit` connections in use at once, and as many idle.
pub(crate) struct AsyncPool {
    idle: Mutex<Vec<(Id, AsyncConnection)>>,
    permits: Semaphore,
    limit: usize,
}

/// The right to have one connection open.
#[must_use]
pub(crate) struct AsyncPermit<'a> {
    pool: &'a AsyncPool,
    runtime: Id,
    _permit: SemaphorePermit<'a>,
}

/// The runtime that the caller runs on, if any.
pub(crate) fn runtime() -> Option<Id> {
    Handle::try_current().ok().map(|handle| handle.id())
}

impl AsyncPool {
    /// An empty pool.
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.max(1);
        AsyncPool { idle: Mutex::default(), permits: Semaphore::new(limit), limit }
    }

    /// A permit, if there is one.
    pub(crate) fn try_checkout(&self, runtime: Id) -> Option<AsyncPermit<'_>> {
        let permit = self.permits.try_acquire().ok()?;
        Some(AsyncPermit { pool: self, runtime, _permit: permit })
    }

    /// Waits for a permit, but no longer than until the deadline.
    pub(crate) async fn checkout(&self, runtime: Id, deadline: Deadline) -> Option<AsyncPermit<'_>> {
        let permit = tokio::time::timeout_at(deadline.instant().into(), self.permits.acquire()).await.ok()?.ok()?;
        Some(AsyncPermit { pool: self, runtime, _permit: permit })
    }

    /// How many connections are in use.
    pub(crate) fn in_use(&self) -> usize {
        self.limit - self.permits.available_permits()
    }

    /// The connections that are open now.
    pub(crate) fn connections(&self) -> Connections {
        Connections { idle: lock(&self.idle).len(), used: self.in_use() }
    }

    /// Closes every idle connection: the node has gone, and they with it.
    pub(crate) fn clear(&self) {
        drop(self.take_all());
    }

    /// All idle connections.
    pub(crate) fn take_all(&self) -> Vec<AsyncConnection> {
        std::mem::take(&mut *lock(&self.idle)).into_iter().map(|(_, connection)| connection).collect()
    }
}

impl AsyncPermit<'_> {
    /// An idle connection of this runtime's: the one used last, which is most
    /// likely to be alive.
    pub(crate) fn idle(&self) -> Option<AsyncConnection> {
        let mut idle = lock(&self.pool.idle);
        let position = idle.iter().rposition(|(owner, _)| *owner == self.runtime)?;
        Some(idle.remove(position).1)
    }

    /// Gives a connection back after a complete exchange.
    pub(crate) fn give_back(&self, connection: AsyncConnection) {
        let mut idle = lock(&self.pool.idle);
        if idle.len() >= self.pool.limit {
            // The oldest goes, which may be one of a runtime that has ended.
            idle.remove(0);
        }
        idle.push((self.runtime, connection));
    }
}
