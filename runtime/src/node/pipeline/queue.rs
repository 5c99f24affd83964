//! The queue between the callers of a shared connection and its driver.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::exchange::Request;
use crate::net::fault::Fault;
use crate::protocol::{self, Answer, Dialect, Ticket, Unspeakable};
use crate::sync::lock;
use crate::time::budget::Deadline;

/// Requests under way on one connection.
const MOST_REQUESTS: usize = 1024;
/// Values that have not been sent, in bytes.
const MOST_BYTES: usize = 256 * 1024;
/// A caller with less time than this says nothing about the connection.
const SHORTEST_LIMIT: Duration = Duration::from_millis(20);

/// What callers have put in and the driver has not taken out yet.
pub(crate) struct Queue {
    dialect: Dialect,
    pub(crate) peer: Option<SocketAddr>,
    /// How many replies have not come yet.
    pub(super) requests: AtomicUsize,
    /// How many they were when something was sent last.
    pub(super) company: AtomicUsize,
    pub(super) state: Mutex<Queued>,
}

/// What the driver takes out next.
#[derive(Default)]
pub(super) struct Queued {
    pub(super) bytes: Vec<u8>,
    pub(super) waiting: Vec<PendingReply>,
    number: u32,
    pub(super) is_closed: bool,
    /// Set while the driver sleeps.
    pub(super) driver: Option<Waker>,
}

/// A reply that a caller waits for.
pub(super) struct PendingReply {
    pub(super) ticket: Ticket,
    /// By when there must be a reply.
    pub(super) limit: Instant,
    pub(super) caller: oneshot::Sender<Delivery>,
}

/// An answer, or the fault that the connection has ended with.
pub(crate) type Delivery = Result<Answer, Fault>;

impl Queue {
    /// An empty queue.
    pub(super) fn new(dialect: Dialect, peer: Option<SocketAddr>) -> Self {
        Queue { dialect, peer, requests: AtomicUsize::new(0), company: AtomicUsize::new(0), state: Mutex::default() }
    }

    /// Puts a request behind the others; `None` if there is no room.
    pub(crate) fn push(
        &self,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<Option<oneshot::Receiver<Delivery>>, Unspeakable> {
        let mut state = lock(&self.state);
        let value = if let Request::Store { value, .. } = request { value.len() } else { 0 };
        let is_full = self.requests.load(Ordering::Relaxed) >= MOST_REQUESTS || state.bytes.len() + value > MOST_BYTES;
        if state.is_closed || is_full {
            return Ok(None);
        }
        state.number = state.number.wrapping_add(1);
        let number = state.number;
        let ticket = protocol::encode(self.dialect, number, request, &mut state.bytes)?;
        let limit = deadline.instant().max(deadline.begun() + SHORTEST_LIMIT);
        let (caller, receiver) = oneshot::channel();
        state.waiting.push(PendingReply { ticket, limit, caller });
        self.requests.fetch_add(1, Ordering::Relaxed);
        let driver = state.driver.take();
        drop(state);
        driver.into_iter().for_each(Waker::wake);
        Ok(Some(receiver))
    }

    /// Whether the queue refuses requests.
    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).is_closed
    }

    /// Refuses further requests; those in the queue are still answered.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.is_closed = true;
        let driver = state.driver.take();
        drop(state);
        driver.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{Guard, Ttl, Write};
    use crate::time::budget::Budget;

    const MINUTE: Duration = Duration::from_secs(60);

    fn push(queue: &Queue, value: &[u8]) -> Option<oneshot::Receiver<Delivery>> {
        let (how, guard) = (Write::Set, Guard::None);
        let request = Request::Store { key: "key", value, flags: 0, ttl: Ttl::Forever, how, guard };
        queue.push(&request, Budget::new(MINUTE, MINUTE).deadline()).expect("it can be said")
    }

    #[test]
    fn a_queue_has_room_for_so_many_requests() {
        let queue = Queue::new(Dialect::Meta, None);
        let pushed = (0..2 * MOST_REQUESTS).map_while(|_| push(&queue, b"1"));
        assert_eq!(pushed.count(), MOST_REQUESTS);
    }

    #[test]
    fn a_queue_has_room_for_so_many_bytes() {
        let queue = Queue::new(Dialect::Meta, None);
        assert!(push(&queue, &vec![0; MOST_BYTES + 1]).is_none());
        let pushed = (0..100).map_while(|_| push(&queue, &vec![0; MOST_BYTES / 10]));
        assert_eq!(pushed.count(), 9);
    }

    #[test]
    fn a_closed_queue_takes_nothing() {
        let queue = Queue::new(Dialect::Meta, None);
        queue.close();
        assert!(push(&queue, b"1").is_none());
    }
}
