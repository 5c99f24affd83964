//! The idle connections of async callers to one node.
//!
//! A tokio connection belongs to the runtime that opened it, so each is kept
//! with its runtime's id and lent to callers on that runtime only.

use std::sync::Mutex;

use tokio::runtime::{Handle, Id};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::budget::Deadline;
use crate::sync::lock;
use crate::wire::AsyncConnection;

/// At most `limit` connections in use at once, and as many idle.
pub(crate) struct AsyncPool {
    idle: Mutex<Vec<(Id, AsyncConnection)>>,
    places: Semaphore,
    limit: usize,
}

/// The runtime this is running on, if any.
pub(crate) fn runtime() -> Option<Id> {
    Handle::try_current().ok().map(|handle| handle.id())
}

impl AsyncPool {
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.max(1);
        AsyncPool { idle: Mutex::default(), places: Semaphore::new(limit), limit }
    }

    pub(crate) async fn checkout(&self, deadline: Deadline) -> Option<SemaphorePermit<'_>> {
        if let Ok(permit) = self.places.try_acquire() {
            return Some(permit);
        }
        tokio::time::timeout_at(deadline.instant().into(), self.places.acquire()).await.ok()?.ok()
    }

    pub(crate) fn take_idle(&self, runtime: Id) -> Option<AsyncConnection> {
        let mut idle = lock(&self.idle);
        let place = idle.iter().rposition(|(owner, _)| *owner == runtime)?;
        Some(idle.remove(place).1)
    }

    pub(crate) fn give_back(&self, runtime: Id, connection: AsyncConnection) {
        let mut idle = lock(&self.idle);
        if idle.len() >= self.limit {
            // The oldest goes, which may be one of a runtime that has ended.
            idle.remove(0);
        }
        idle.push((runtime, connection));
    }

    pub(crate) fn clear(&self) {
        let idle = std::mem::take(&mut *lock(&self.idle));
        drop(idle);
    }
}
