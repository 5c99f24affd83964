//! The queue between the callers of a shared connection and its driver.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::exchange::Request;
use crate::net::fault::Fault;
use crate::protocol::{self, Answer, Life, RequestNumbers, Ticket, Unspeakable, Wording};
use crate::sync::lock;
use crate::time::budget::Deadline;

/// Requests under way on one connection.
const MOST_REQUESTS: usize = 65_536;
/// What has not been sent, in bytes.
const MOST_BYTES: usize = 8 << 20;
/// A value that would keep the others waiting, in bytes.
const LARGE: usize = 256 << 10;

/// What callers have put in and the driver has not taken out yet.
pub(crate) struct Queue {
    wording: Wording,
    pub(crate) peer: Option<SocketAddr>,
    /// How many replies have not come yet.
    pub(super) requests: AtomicUsize,
    /// How many they were when something was sent last.
    pub(super) company: AtomicUsize,
    /// Whether the server has answered at all.
    pub(super) is_answered: AtomicBool,
    pub(super) state: Mutex<Queued>,
}

/// What the driver takes out next.
pub(super) struct Queued {
    pub(super) bytes: Vec<u8>,
    /// How many bytes have been taken out and not been sent.
    pub(super) unsent: usize,
    pub(super) waiting: Vec<PendingReply>,
    numbers: RequestNumbers,
    pub(super) is_closed: bool,
    /// Set while the driver sleeps.
    pub(super) driver: Option<Waker>,
    /// What the connection has ended with, if all callers that waited had gone.
    pub(super) untold: Option<Fault>,
}

/// A reply that a caller waits for.
pub(super) struct PendingReply {
    pub(super) ticket: Ticket,
    /// How long its request is, in bytes.
    pub(super) len: usize,
    /// How long the caller waits for the server.
    pub(super) patience: Duration,
    /// When the driver took the request, by its own clock.
    pub(super) since: Duration,
    /// `None` once the caller has been told.
    pub(super) caller: Option<oneshot::Sender<Delivery>>,
}

/// An answer, or the fault that the connection has ended with.
pub(crate) type Delivery = Result<Answer, Fault>;

impl Queue {
    /// Creates an empty queue.
    pub(super) fn new(wording: Wording, numbers: RequestNumbers, peer: Option<SocketAddr>) -> Self {
        let (bytes, waiting) = (Vec::new(), Vec::new());
        let state = Queued { bytes, unsent: 0, waiting, numbers, is_closed: false, driver: None, untold: None };
        Queue {
            wording,
            peer,
            requests: AtomicUsize::new(0),
            company: AtomicUsize::new(0),
            is_answered: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    /// Puts a request behind the others; `None` if there is no room.
    pub(crate) fn push(
        &self,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<Option<oneshot::Receiver<Delivery>>, Unspeakable> {
        let patience = deadline.patience();
        let mut state = lock(&self.state);
        let value = if let Request::Store { value, .. } = request { value.len() } else { 0 };
        let before = state.bytes.len();
        let unsent = state.unsent + before;
        let is_full = self.requests.load(Ordering::Relaxed) >= MOST_REQUESTS || unsent + value > MOST_BYTES;
        if state.is_closed || is_full || value > LARGE {
            return Ok(None);
        }
        let number = state.numbers.take();
        let ticket = protocol::encode(self.wording, number, request, &mut state.bytes)?;
        let (caller, receiver) = oneshot::channel();
        let (since, caller) = (Duration::ZERO, Some(caller));
        let len = state.bytes.len() - before;
        state.waiting.push(PendingReply { ticket, len, patience, since, caller });
        self.requests.fetch_add(1, Ordering::Relaxed);
        let driver = state.driver.take();
        drop(state);
        driver.into_iter().for_each(Waker::wake);
        Ok(Some(receiver))
    }

    /// Takes out what the connection has ended with, if no caller has been told.
    pub(super) fn take_untold(&self) -> Option<Fault> {
        lock(&self.state).untold.take()
    }

    /// Whether the connection has worked before.
    pub(crate) fn has_worked(&self) -> bool {
        self.is_answered.load(Ordering::Relaxed)
    }

    /// Whether the connection has found the server in this life, if it could tell.
    pub(crate) fn is_of_life(&self, life: Life) -> bool {
        [Life::UNKNOWN, life].contains(&self.wording.life)
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
    use crate::protocol::Dialect;
    use crate::time::budget::Budget;

    const MINUTE: Duration = Duration::from_secs(60);

    fn push(queue: &Queue, value: &[u8]) -> Option<oneshot::Receiver<Delivery>> {
        let (how, guard) = (Write::Set, Guard::None);
        let request = Request::Store { key: "key", value, flags: 0, ttl: Ttl::Forever, how, guard };
        queue.push(&request, Budget::new(MINUTE, MINUTE).deadline()).expect("it can be said")
    }

    #[test]
    fn a_queue_has_room_for_so_many_requests() {
        let queue = Queue::new(Dialect::Meta.into(), RequestNumbers::from_one(), None);
        let pushed = (0..MOST_REQUESTS).map_while(|_| push(&queue, b"1"));
        assert_eq!(pushed.count(), MOST_REQUESTS);
        assert!(push(&queue, b"1").is_none());
    }

    #[test]
    fn a_queue_has_room_for_so_many_bytes() {
        let queue = Queue::new(Dialect::Meta.into(), RequestNumbers::from_one(), None);
        assert!(push(&queue, &vec![0; LARGE + 1]).is_none());
        let pushed = (0..100).map_while(|_| push(&queue, &vec![0; LARGE]));
        assert_eq!(pushed.count(), MOST_BYTES / LARGE - 1);
    }

    #[test]
    fn a_closed_queue_takes_nothing() {
        let queue = Queue::new(Dialect::Meta.into(), RequestNumbers::from_one(), None);
        queue.close();
        assert!(push(&queue, b"1").is_none());
    }
}
