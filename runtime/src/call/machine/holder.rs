//! Another process that holds a lease, as far as this one can see it.

use std::time::{Duration, Instant};

use crate::singleflight::lease::{LEASE, SILENCE};
use crate::telemetry::call::Wait;

/// The holder that a call waits for.
pub(super) struct Holder {
    since: Instant,
    cas: u64,
    /// Since when the lease has had this number.
    unchanged: Instant,
    pub(super) wait: Wait,
}

impl Holder {
    pub(super) fn seen(cas: u64, wait: Wait) -> Self {
        let now = Instant::now();
        Holder { since: now, cas, unchanged: now, wait }
    }

    /// How long it has been waited for.
    pub(super) fn waited(&self) -> Duration {
        self.since.elapsed()
    }

    /// Whether it still computes: a living holder renews the lease, which changes
    /// the number.
    pub(super) fn lives(&mut self, cas: u64, renewed: bool) -> bool {
        if cas != self.cas {
            (self.cas, self.unchanged) = (cas, Instant::now());
        }
        self.unchanged.elapsed() < if renewed { LEASE } else { SILENCE }
    }
}
