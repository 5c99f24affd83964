//! Tells when the cache begins to fail calls and when that is over: two lines,
//! however many calls there are.
//!
//! What a single call met with is an annotation of its span, see `call`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tracing::Level;

use super::names::{attributes, targets};
use crate::error::Error;
use crate::sync::lock;

/// How long no call must have failed before the end is told. Where one of several
/// nodes is out, other calls succeed all the time.
const QUIET: Duration = Duration::from_secs(5);

static OUTAGE: Mutex<Option<Failing>> = Mutex::new(None);
/// Whether there is an outage; reading this is cheaper than locking. It changes only under
/// the lock.
static IS_UNDER_WAY: AtomicBool = AtomicBool::new(false);

/// Calls that fail, none long after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failing {
    began: Instant,
    last: Instant,
    calls: u64,
}

impl Failing {
    fn begin(now: Instant) -> Self {
        Failing { began: now, last: now, calls: 1 }
    }

    fn goes_on(&mut self, now: Instant) {
        self.last = now;
        self.calls += 1;
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= QUIET
    }
}

/// Notes a call that goes on without the cache.
pub(super) fn failed(error: &Error) {
    let now = Instant::now();
    {
        let mut outage = lock(&OUTAGE);
        if let Some(outage) = &mut *outage {
            return outage.goes_on(now);
        }
        *outage = Some(Failing::begin(now));
        IS_UNDER_WAY.store(true, Ordering::Relaxed);
    }
    tracing::event!(
        target: targets::MEMO,
        Level::WARN,
        { attributes::ERROR_TYPE } = error.kind().as_str(),
        "calls go on without the cache, and this is told once: {error}"
    );
}

/// Notes a call that the cache has answered.
#[inline]
pub(super) fn answered() {
    if IS_UNDER_WAY.load(Ordering::Relaxed) {
        end(Instant::now());
    }
}

#[cold]
fn end(now: Instant) {
    let over = {
        let mut outage = lock(&OUTAGE);
        let over = outage.take_if(|outage| outage.is_over(now));
        IS_UNDER_WAY.store(outage.is_some(), Ordering::Relaxed);
        over
    };
    let Some(Failing { began, last, calls }) = over else { return };
    let lasted = last.saturating_duration_since(began).as_secs_f64();
    // No call may have asked for long.
    let ago = now.saturating_duration_since(last).as_secs_f64();
    tracing::event!(
        target: targets::MEMO,
        Level::INFO,
        "the cache answers again; {calls} calls went on without it within {lasted:.1} s, the last of them {ago:.1} s ago"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_over_once_no_call_has_failed_for_a_while() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut outage = Failing::begin(start);
        assert!(!outage.is_over(after(4)));
        outage.goes_on(after(4));
        assert!(!outage.is_over(after(8)));
        assert!(outage.is_over(after(9)));
        assert_eq!(outage.calls, 2);
    }

    #[test]
    fn a_call_that_fails_while_an_outage_ends_begins_another() {
        use crate::error::ErrorKind;

        let (error, later) =
            (Error::new(ErrorKind::Timeout, "on purpose"), Instant::now() + Duration::from_secs(3_600));
        std::thread::scope(|scope| {
            let fails = scope.spawn(|| {
                for _ in 0..20_000 {
                    failed(&error);
                    end(later);
                }
            });
            while !fails.is_finished() {
                let outage = lock(&OUTAGE);
                assert_eq!(IS_UNDER_WAY.load(Ordering::Relaxed), outage.is_some());
            }
        });
    }
}
