//! A timer for tasks, independent of their runtime and its timers.
//!
//! One thread serves the process. It only calls the callbacks: they must be
//! short and must not block.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::sync::lock;
use crate::time::servant::{Servant, Service, survive};

/// Calls `ring` at the time `at`, or immediately if the timer's thread could not be
/// started.
pub(crate) fn set(at: Instant, ring: impl FnOnce() + Send + 'static) {
    match THREAD.ensure("memocached-alarm", run) {
        Service::Ongoing => {}
        // What a parent process waits for is not this one's to wake.
        Service::Begun => std::mem::forget(std::mem::take(&mut *lock(&ALARMS))),
        Service::Denied => return ring(),
    }
    lock(&ALARMS).push(Reverse(Alarm { at, ring: Box::new(ring) }));
    CHANGED.notify_one();
}

/// Completes after the pause.
pub(crate) async fn sleep(pause: Duration) {
    let state: Arc<Mutex<(bool, Option<Waker>)>> = Arc::default();
    let rung = Arc::clone(&state);
    set(Instant::now() + pause, move || {
        let mut state = lock(&rung);
        state.0 = true;
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    });
    poll_fn(|context| {
        let mut state = lock(&state);
        if state.0 {
            return Poll::Ready(());
        }
        state.1 = Some(context.waker().clone());
        Poll::Pending
    })
    .await;
}

/// The pending alarms of the process.
static ALARMS: Mutex<BinaryHeap<Reverse<Alarm>>> = Mutex::new(BinaryHeap::new());
static CHANGED: Condvar = Condvar::new();
static THREAD: Servant = Servant::new();

struct Alarm {
    at: Instant,
    ring: Box<dyn FnOnce() + Send>,
}

fn run() {
    let mut alarms = lock(&ALARMS);
    loop {
        let now = Instant::now();
        let wait = alarms.peek().map(|Reverse(first)| first.at.saturating_duration_since(now));
        alarms = match wait {
            None => CHANGED.wait(alarms).unwrap_or_else(PoisonError::into_inner),
            Some(Duration::ZERO) => {
                let due = alarms.pop();
                drop(alarms);
                if let Some(Reverse(alarm)) = due {
                    survive(alarm.ring);
                }
                lock(&ALARMS)
            }
            Some(wait) => CHANGED.wait_timeout(alarms, wait).unwrap_or_else(PoisonError::into_inner).0,
        };
    }
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Alarm {}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}
