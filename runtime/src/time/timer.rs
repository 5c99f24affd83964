//! Wakes tasks at their time, whichever runtime they run on and whether or not
//! it has timers.
//!
//! One thread for the process, which only calls what is to be woken.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::sync::lock;

/// Calls `ring` once it is `at`; at once where no thread can be had for it.
pub(crate) fn set(at: Instant, ring: impl FnOnce() + Send + 'static) {
    let clock = alarm_clock();
    if !clock.runs {
        return ring();
    }
    lock(&clock.alarms).push(Reverse(Alarm { at, ring: Box::new(ring) }));
    clock.changed.notify_one();
}

/// Completes this much later.
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

struct AlarmClock {
    alarms: Mutex<BinaryHeap<Reverse<Alarm>>>,
    changed: Condvar,
    runs: bool,
}

struct Alarm {
    at: Instant,
    ring: Box<dyn FnOnce() + Send>,
}

fn alarm_clock() -> &'static AlarmClock {
    static CLOCK: OnceLock<AlarmClock> = OnceLock::new();
    CLOCK.get_or_init(|| {
        let thread = std::thread::Builder::new().name("memocached-alarm".into());
        // It waits here until the clock is there.
        let runs = thread.spawn(|| run(alarm_clock())).is_ok();
        AlarmClock { alarms: Mutex::default(), changed: Condvar::new(), runs }
    })
}

fn run(clock: &AlarmClock) -> ! {
    let mut alarms = lock(&clock.alarms);
    loop {
        let now = Instant::now();
        let wait = alarms.peek().map(|Reverse(first)| first.at.saturating_duration_since(now));
        alarms = match wait {
            None => clock.changed.wait(alarms).unwrap_or_else(PoisonError::into_inner),
            Some(Duration::ZERO) => {
                let due = alarms.pop();
                drop(alarms);
                if let Some(Reverse(alarm)) = due {
                    (alarm.ring)();
                }
                lock(&clock.alarms)
            }
            Some(wait) => clock.changed.wait_timeout(alarms, wait).unwrap_or_else(PoisonError::into_inner).0,
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
