//! Waiting that counts only the time in which this process looked.
//!
//! A runtime that is busy with other tasks, or a process that does not get the
//! CPU, notices a reply late though it has been there for long. So a wait is made
//! of short looks, and one that comes late counts as a short one. Before a timer
//! fires, the runtime has asked the system what has arrived.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

#[cfg(all(feature = "testing", not(test)))]
use super::paused::{self, Standstill};
use crate::time::reminder::Reminder;

/// The longest time between two looks.
pub(crate) const LOOK: Duration = Duration::from_millis(10);

/// The time that is left to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    left: Duration,
    waited: Duration,
    /// The last look.
    since: Instant,
}

impl Patience {
    /// Returns a patience of this length that begins now.
    pub(crate) fn new(limit: Duration, now: Instant) -> Self {
        Patience { left: limit, waited: Duration::ZERO, since: now }
    }

    /// Counts a look that found nothing, and returns how much time that was.
    pub(crate) fn look(&mut self, now: Instant) -> Duration {
        let waited = now.saturating_duration_since(self.since).min(LOOK);
        self.left = self.left.saturating_sub(waited);
        self.waited += waited;
        self.since = now;
        waited
    }

    /// Returns the time that has been counted so far.
    pub(crate) fn waited(&self) -> Duration {
        self.waited
    }

    /// Returns when to look next.
    pub(crate) fn next(&self) -> Instant {
        self.since + self.left.min(LOOK)
    }

    /// Returns whether the patience is at an end, by a timer that goes off at some
    /// time before the next look and is set again then: to set it for each wait
    /// costs more than to wake up for nothing now and then.
    pub(crate) fn is_over(&mut self, timer: &mut Reminder, context: &mut Context<'_>) -> bool {
        if timer.due() > self.next() {
            timer.reset(self.next());
        }
        while timer.poll(context).is_ready() {
            self.look(now());
            if self.left.is_zero() {
                return true;
            }
            timer.reset(self.next());
        }
        false
    }

    /// Returns what comes of this work, if it ends before the patience does.
    pub(crate) async fn lasts<T>(&mut self, timer: &mut Reminder, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if self.is_over(timer, context) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}

/// Returns the time that I/O goes by: that of the runtime's clock, but not of one that
/// users' tests have paused.
pub(crate) fn now() -> Instant {
    #[cfg(all(feature = "testing", not(test)))]
    return Instant::now();
    #[cfg(not(all(feature = "testing", not(test))))]
    tokio::time::Instant::now().into_std()
}

/// Runs I/O. A clock that a test has paused does not move meanwhile.
#[cfg(all(feature = "testing", not(test)))]
pub(crate) async fn in_real_time<F: Future>(work: F) -> F::Output {
    let _still = paused::is_paused().then(Standstill::begin);
    work.await
}

/// Runs I/O.
#[cfg(not(all(feature = "testing", not(test))))]
pub(crate) fn in_real_time<F: Future>(work: F) -> F {
    work
}

/// Returns what comes of this work, if it ends in time.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut patience = Patience::new(limit, now());
    let mut timer = Reminder::at(patience.next());
    patience.lasts(&mut timer, work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn a_look_that_comes_late_counts_as_a_short_one() {
        let start = Instant::now();
        let mut patience = Patience::new(25 * MILLISECOND, start);
        assert_eq!(patience.next(), start + LOOK);
        assert_eq!(patience.look(start + 500 * MILLISECOND), LOOK);
        assert_eq!(patience.look(start + 900 * MILLISECOND), LOOK);
        assert_eq!(patience.next(), start + 905 * MILLISECOND);
        assert_eq!(patience.look(start + 902 * MILLISECOND), 2 * MILLISECOND);
        assert_eq!(patience.look(start + 905 * MILLISECOND), 3 * MILLISECOND);
        assert_eq!((patience.left, patience.waited()), (Duration::ZERO, 25 * MILLISECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_with_the_work_or_with_the_patience() {
        let begun = now();
        assert_eq!(within(Duration::from_secs(9), std::future::ready(1)).await, Some(1));
        assert_eq!(within(95 * MILLISECOND, std::future::pending::<()>()).await, None);
        assert!((95..100).contains(&(now() - begun).as_millis()), "{:?}", now() - begun);
    }

    /// The work is done by then, but the runtime has had no time for it.
    #[tokio::test]
    async fn a_runtime_that_was_busy_does_not_end_a_wait() {
        let (done, ended) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            std::thread::sleep(20 * MILLISECOND);
            let _ = done.send(());
        });
        let busy = async {
            for _ in 0..3 {
                std::thread::sleep(100 * MILLISECOND);
                tokio::task::yield_now().await;
            }
            ended.await
        };
        assert_eq!(within(50 * MILLISECOND, busy).await, Some(Ok(())));
    }
}
