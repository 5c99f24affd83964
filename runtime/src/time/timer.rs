//! A timer for tasks, independent of their runtime and its timers.
//!
//! One thread serves the process. It only calls the callbacks: they must be
//! short and must not block.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
#[cfg(feature = "tokio")]
use std::future::poll_fn;
#[cfg(feature = "tokio")]
use std::pin::{Pin, pin};
#[cfg(feature = "tokio")]
use std::sync::Arc;
use std::sync::{Condvar, Mutex, PoisonError};
#[cfg(feature = "tokio")]
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::sync::lock;
use crate::time::servant::{Servant, Service, survive};

/// Calls `ring` at the time `at`, or immediately if the timer's thread could not be
/// started.
pub(crate) fn set(at: Instant, ring: impl FnOnce() + Send + 'static) {
    let mut timers = lock(&TIMERS);
    match THREAD.ensure("memocached-timer", run) {
        Service::Ongoing => {}
        // What a parent process waits for is not this one's to wake.
        Service::Begun => std::mem::forget(std::mem::take(&mut *timers)),
        Service::Denied => {
            drop(timers);
            return ring();
        }
    }
    timers.push(Reverse(Timer { at, ring: Box::new(ring) }));
    CHANGED.notify_one();
}

/// Returns what comes of this work, if it ends within this time.
#[cfg(feature = "tokio")]
pub(crate) async fn within<T>(limit: Duration, mut work: impl Future<Output = T> + Unpin) -> Option<T> {
    let mut limit = pin!(sleep(limit));
    poll_fn(|context| match Pin::new(&mut work).poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => limit.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// No pause is longer: the clock ends somewhere.
const LONGEST: Duration = Duration::from_secs(86_400 * 365);

/// Returns the time after this pause, however long that is.
pub(crate) fn later(now: Instant, pause: Duration) -> Instant {
    now + pause.min(LONGEST)
}

/// Completes after the pause.
#[cfg(feature = "tokio")]
pub(crate) async fn sleep(pause: Duration) {
    let state: Arc<Mutex<(bool, Option<Waker>)>> = Arc::default();
    let rung = Arc::clone(&state);
    set(later(Instant::now(), pause), move || {
        let mut state = lock(&rung);
        state.0 = true;
        let waker = state.1.take();
        // Not under the lock: a waker is other people's code.
        drop(state);
        if let Some(waker) = waker {
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

/// The pending timers of the process.
static TIMERS: Mutex<BinaryHeap<Reverse<Timer>>> = Mutex::new(BinaryHeap::new());
static CHANGED: Condvar = Condvar::new();
static THREAD: Servant = Servant::new();

struct Timer {
    at: Instant,
    ring: Box<dyn FnOnce() + Send>,
}

fn run() {
    let mut timers = lock(&TIMERS);
    loop {
        let now = Instant::now();
        let wait = timers.peek().map(|Reverse(first)| first.at.saturating_duration_since(now));
        timers = match wait {
            None => CHANGED.wait(timers).unwrap_or_else(PoisonError::into_inner),
            Some(Duration::ZERO) => {
                let first = timers.pop();
                drop(timers);
                if let Some(Reverse(due)) = first {
                    survive(due.ring);
                }
                lock(&TIMERS)
            }
            Some(wait) => CHANGED.wait_timeout(timers, wait).unwrap_or_else(PoisonError::into_inner).0,
        };
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::sync::{Barrier, mpsc};

    use super::*;

    #[test]
    fn the_first_timers_of_a_process_all_ring() {
        const ROLE: &str = "MEMOCACHED_TEST_ALARMS";
        const TEST: &str = "time::timer::tests::the_first_timers_of_a_process_all_ring";
        const THREADS: usize = 16;
        if std::env::var_os(ROLE).is_some() {
            let (barrier, (rings, rung)) = (Barrier::new(THREADS), mpsc::channel());
            std::thread::scope(|scope| {
                for rings in std::iter::repeat_n(rings, THREADS) {
                    scope.spawn(|| {
                        barrier.wait();
                        set(Instant::now(), move || rings.send(()).expect("it is awaited"));
                    });
                }
            });
            return (0..THREADS).for_each(|_| rung.recv_timeout(Duration::from_secs(10)).expect("all ring"));
        }
        let test = std::env::current_exe().expect("this program has a path");
        for _ in 0..100 {
            let mut child = Command::new(&test);
            child.args(["--exact", TEST, "--test-threads=1"]).env(ROLE, "child").stdout(Stdio::null());
            assert!(child.status().expect("it starts").success());
        }
    }
}
