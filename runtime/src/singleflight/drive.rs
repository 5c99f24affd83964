//! Whether a computation is driven: polled soon after it is woken.
//!
//! A future that lost a `select!`, or that lies in a stream that is not polled, stands
//! still without being dropped. Its waker tells: it was woken, and no poll
//! followed. A busy runtime polls late as well. So a future is taken to stand
//! still only after its runtime has run other tasks that were spawned later, and
//! after a time that is short beside what it has taken so far.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A poll that follows a wake-up later than this is late.
pub(crate) const PROMPT: Duration = Duration::from_millis(10);
/// No future is taken to stand still that was woken less than this ago, or than a
/// quarter of the time until then: a worker of a busy machine may be away for long.
const LATE: Duration = Duration::from_millis(50);
/// Wake-ups of a computation that has completed mean nothing.
const OVER: u64 = u64::MAX;
/// So many probes, one after the other, must have run meanwhile.
const PROBES: u32 = 3;
/// The bit of a probe that is under way.
#[cfg(feature = "tokio")]
const UNDER_WAY: u32 = 1;
/// A probe that has been under way for longer tells that its runtime runs nothing.
#[cfg(feature = "tokio")]
const STUCK: Duration = Duration::from_secs(1);
/// A late poll on an executor that cannot be probed.
const LATE_UNPROBED: Duration = Duration::from_millis(200);

/// What is known of one computation's polls.
#[derive(Debug)]
pub(crate) struct Drive {
    begun: Instant,
    /// When it was woken and not polled since, in nanoseconds since it began;
    /// 0 while it is polled or not woken, [`OVER`] once it has completed.
    woken: AtomicU64,
    /// The sum of what polls were late, in nanoseconds.
    stood_still: AtomicU64,
    /// Probes that have run since it was woken; one is under way if the first bit
    /// is set.
    probes: AtomicU32,
    /// When the last one began, in nanoseconds since the computation did.
    #[cfg(feature = "tokio")]
    probed: AtomicU64,
    #[cfg(feature = "tokio")]
    runtime: std::sync::OnceLock<tokio::runtime::Handle>,
}

impl Drive {
    /// Creates the drive of a computation that begins now.
    pub(crate) fn new() -> Self {
        Drive {
            begun: Instant::now(),
            woken: AtomicU64::new(0),
            stood_still: AtomicU64::new(0),
            probes: AtomicU32::new(0),
            #[cfg(feature = "tokio")]
            probed: AtomicU64::new(0),
            #[cfg(feature = "tokio")]
            runtime: std::sync::OnceLock::new(),
        }
    }

    /// Whether it was woken this long ago or longer, and not polled since.
    pub(crate) fn is_late(&self, now: Instant, by: Duration) -> bool {
        match self.woken.load(Ordering::Relaxed) {
            0 | OVER => false,
            woken => (self.begun + Duration::from_nanos(woken)) + by <= now,
        }
    }

    /// Returns whether it stands still, on a machine on which anything may be late by
    /// `allowance`. While that is uncertain this probes its runtime, so ask again.
    pub(crate) fn stands_still(self: &Arc<Self>, now: Instant, allowance: Duration) -> bool {
        if !self.is_late(now, PROMPT) {
            return false;
        }
        let until_then = Duration::from_nanos(self.woken.load(Ordering::Relaxed));
        let is_probed = self.is_probed(now);
        let late = if is_probed.is_some() { LATE } else { LATE_UNPROBED };
        is_probed.unwrap_or(true) && self.is_late(now, late.max(until_then / 4) + allowance)
    }

    /// Whether enough probes have run by now; `None` where none can.
    #[cfg(feature = "tokio")]
    fn is_probed(self: &Arc<Self>, now: Instant) -> Option<bool> {
        let runtime = self.runtime.get()?;
        let now = nanos(now.saturating_duration_since(self.begun));
        if self.probes.load(Ordering::Acquire) & UNDER_WAY == 0 {
            self.probed.store(now, Ordering::Release);
        }
        let probes = self.probes.fetch_or(UNDER_WAY, Ordering::AcqRel);
        if probes & UNDER_WAY == 0 {
            let probe = RuntimeProbe(Arc::clone(self));
            runtime.spawn(async move { drop(probe) });
        } else if now.saturating_sub(self.probed.load(Ordering::Acquire)) > nanos(STUCK) {
            return None;
        }
        Some(probes >> 1 >= PROBES)
    }

    #[cfg(not(feature = "tokio"))]
    fn is_probed(self: &Arc<Self>, _: Instant) -> Option<bool> {
        None
    }

    /// Returns the sum of what polls were late.
    #[cfg(feature = "tokio")]
    pub(super) fn stood_still(&self) -> Duration {
        Duration::from_nanos(self.stood_still.load(Ordering::Relaxed))
    }

    /// Notes that it is polled.
    #[cfg(feature = "tokio")]
    pub(super) fn polled(&self) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let _ = self.runtime.set(runtime);
        }
        let woken = self.woken.swap(0, Ordering::Relaxed);
        if woken > 0 {
            // One that is under way still counts, for the next time.
            self.probes.fetch_and(UNDER_WAY, Ordering::AcqRel);
            let late = self.now().saturating_sub(woken).saturating_sub(nanos(PROMPT));
            self.stood_still.fetch_add(late, Ordering::Relaxed);
        }
    }

    /// Notes that it has completed.
    #[cfg(feature = "tokio")]
    pub(super) fn completed(&self) {
        self.woken.store(OVER, Ordering::Relaxed);
    }

    /// Notes that it is woken.
    #[cfg(feature = "tokio")]
    pub(super) fn woken(&self) {
        let _ = self.woken.compare_exchange(0, self.now().max(1), Ordering::Relaxed, Ordering::Relaxed);
    }

    #[cfg(feature = "tokio")]
    fn now(&self) -> u64 {
        nanos(self.begun.elapsed())
    }
}

/// A probe under way. A runtime that has ended drops it, which tells as much.
#[cfg(feature = "tokio")]
struct RuntimeProbe(Arc<Drive>);

#[cfg(feature = "tokio")]
impl Drop for RuntimeProbe {
    fn drop(&mut self) {
        // Counts itself and clears the bit.
        self.0.probes.fetch_add(UNDER_WAY, Ordering::AcqRel);
    }
}

#[cfg(feature = "tokio")]
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(all(test, feature = "tokio"))]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::singleflight::driving;

    #[test]
    fn a_future_that_is_woken_and_not_polled_stands_still() {
        let drive = Arc::new(Drive::new());
        let mut waker = None;
        let mut polls = 0;
        let body = poll_fn(|context: &mut Context<'_>| {
            polls += 1;
            waker = Some(context.waker().clone());
            if polls > 1 { Poll::Ready(()) } else { Poll::Pending }
        });
        let context = &mut Context::from_waker(Waker::noop());
        {
            let driven = driving::Driven::new(Box::pin(body), Box::default(), Some(Arc::clone(&drive)), None);
            let mut driven = pin!(driven);
            assert!(driven.as_mut().poll(context).is_pending());
            // It waits for something: that is no standing still.
            let later = Instant::now() + Duration::from_secs(60);
            assert!(!drive.is_late(later, PROMPT));
            drive.woken();
            assert!(drive.is_late(later, PROMPT));
            // No runtime can be probed here, so that takes longer to be sure of.
            assert!(drive.stands_still(later, Duration::ZERO));
            assert!(!drive.stands_still(Instant::now(), Duration::ZERO));
            assert!(driven.as_mut().poll(context).is_ready());
            drive.woken();
            assert!(!drive.is_late(later, PROMPT));
        }
        assert!(waker.is_some());
    }

    /// Polled once on this runtime, and woken since.
    fn kept(runtime: &tokio::runtime::Runtime) -> Arc<Drive> {
        let drive = Arc::new(Drive::new());
        let _inside = runtime.enter();
        drive.polled();
        drive.woken();
        drive
    }

    /// Whether it stands still: looks so many times, at this instant.
    fn is_found_out(drive: &Arc<Drive>, looks: u32, at: Instant) -> bool {
        (0..looks).any(|_| drive.stands_still(at, Duration::ZERO))
    }

    #[test]
    fn a_future_whose_runtime_is_gone_stands_still() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        let drive = kept(&runtime);
        drop(runtime);
        assert!(is_found_out(&drive, PROBES + 1, Instant::now() + Duration::from_secs(60)));
    }

    #[test]
    fn a_future_whose_runtime_is_not_driven_stands_still_in_the_end() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let drive = kept(&runtime);
        let later = Instant::now() + Duration::from_secs(60);
        assert!(!is_found_out(&drive, 10, later));
        assert!(!is_found_out(&drive, 10, later + STUCK));
        assert!(is_found_out(&drive, 1, later + STUCK + PROMPT));
        // It runs the probe at last, and is trusted again.
        runtime.block_on(tokio::task::yield_now());
        assert!(!is_found_out(&drive, 1, later + 2 * STUCK));
    }
}
