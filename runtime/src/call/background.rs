//! Refreshes in the background: how many run at once, and which functions are
//! not refreshed there.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::detached;
use crate::telemetry::site::SiteTelemetry;
use crate::time::servant::survive;

/// Refreshes under way in the background, of all functions of the process.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// A function whose body panics in the background so many times in a row is not
/// refreshed there again.
const PANICS: u32 = 2;

/// How a function's refreshes in the background have gone.
#[derive(Debug)]
pub(crate) struct Refreshes {
    /// How many of the last ones panicked.
    panics: AtomicU32,
}

impl Refreshes {
    pub(crate) const fn new() -> Self {
        Refreshes { panics: AtomicU32::new(0) }
    }

    /// Whether the function is refreshed in the background, here and now.
    pub(crate) fn are_possible(&self) -> bool {
        detached::is_possible() && self.panics.load(Ordering::Relaxed) < PANICS
    }

    /// Begins a refresh, unless so many are under way.
    pub(crate) fn begin(&'static self, telemetry: &'static SiteTelemetry, most: usize) -> Option<Refresh> {
        let one_more = |running| (running < most).then_some(running + 1);
        RUNNING.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Refresh { refreshes: self, telemetry })
    }
}

/// A refresh under way in the background.
pub(crate) struct Refresh {
    refreshes: &'static Refreshes,
    telemetry: &'static SiteTelemetry,
}

impl Refresh {
    /// Ends the refresh, whose body has not panicked.
    pub(crate) fn end(self) {
        self.refreshes.panics.store(0, Ordering::Relaxed);
    }
}

impl Drop for Refresh {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
        if std::thread::panicking() && self.refreshes.panics.fetch_add(1, Ordering::Relaxed) + 1 == PANICS {
            // A second panic would end the process.
            survive(|| self.telemetry.panics_in_background());
        }
    }
}
