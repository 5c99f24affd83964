//! Counts the entries that writers have removed or replaced, by how that went.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use tracing::Level;

use super::names::{attributes, metrics, targets};
use crate::named::named;

named! {
    /// How an entry was removed.
    pub(crate) enum Invalidation {
        /// Before the writer went on.
        Done "done",
        /// Later, since its node did not answer.
        Late "late",
        /// Not at all: its node did not answer for too long, or too many others were late.
        Lost "lost",
    }
    /// Returns the name in telemetry.
    pub(crate) fn as_str;
}

impl Invalidation {
    fn count(self) -> &'static AtomicU64 {
        static COUNTS: [AtomicU64; Invalidation::ALL.len()] = [const { AtomicU64::new(0) }; Invalidation::ALL.len()];
        &COUNTS[self as usize]
    }

    /// Counts one more.
    pub(crate) fn happened(self) {
        self.count().fetch_add(1, Ordering::Relaxed);
        static IS_TOLD: AtomicBool = AtomicBool::new(false);
        if self == Invalidation::Lost && !IS_TOLD.swap(true, Ordering::Relaxed) {
            tracing::event!(
                target: targets::MEMO,
                Level::WARN,
                "an entry could not be removed after its data was changed, and this is told once: its node has not \
                 answered for too long, so callers may get the old value until its ttl is over"
            );
        }
    }
}

/// Exposes the counts.
pub(super) fn observe(meter: &Meter) {
    meter
        .u64_observable_counter(metrics::INVALIDATIONS)
        .with_unit("{entry}")
        .with_description("Entries that writers removed or replaced, by how that went")
        .with_callback(|observer| {
            for invalidation in Invalidation::ALL {
                let count = invalidation.count().load(Ordering::Relaxed);
                if count > 0 {
                    observer.observe(count, &[KeyValue::new(attributes::RESULT, invalidation.as_str())]);
                }
            }
        })
        .build();
}
