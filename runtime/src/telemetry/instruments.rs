//! The histograms, bound to the program's meter provider.
//!
//! An instrument created before the program installs its provider stays silent
//! forever, so these exist only after
//! [`enable_metrics_views`](crate::enable_metrics_views). Counters are elsewhere,
//! beside what they count.

use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::metrics::{Histogram, Meter};

use super::names::metrics;
use crate::sync::{read, write};

static BOUND: RwLock<Option<Instruments>> = RwLock::new(None);

/// How often the instruments have been bound. Reading this is cheaper than locking.
static TIMES_BOUND: AtomicU64 = AtomicU64::new(0);

/// The histograms of this crate.
#[derive(Debug)]
pub(super) struct Instruments {
    pub(super) operation: Histogram<f64>,
    pub(super) latency: Histogram<f64>,
    pub(super) compute: Histogram<f64>,
    pub(super) size: Histogram<u64>,
    #[cfg(feature = "servers")]
    pub(super) connection_wait: Histogram<f64>,
    #[cfg(feature = "servers")]
    pub(super) connection_create: Histogram<f64>,
}

/// Binds the instruments to this meter, replacing those bound before.
pub(super) fn bind(meter: &Meter) {
    *write(&BOUND) = Some(instruments(meter));
    TIMES_BOUND.fetch_add(1, Ordering::Release);
}

/// Returns how often the instruments have been bound.
pub(super) fn times_bound() -> u64 {
    TIMES_BOUND.load(Ordering::Acquire)
}

/// Runs `record` on the instruments, if they are bound.
pub(super) fn record(record: impl FnOnce(&Instruments)) {
    if times_bound() > 0
        && let Some(instruments) = &*read(&BOUND)
    {
        record(instruments);
    }
}

fn instruments(meter: &Meter) -> Instruments {
    Instruments {
        operation: meter
            .f64_histogram(metrics::OPERATION_DURATION)
            .with_unit("s")
            .with_description("Duration of memcached operations")
            .with_boundaries(vec![0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0])
            .build(),
        latency: meter
            .f64_histogram(metrics::CLIENT_LATENCY)
            .with_unit("ms")
            .with_description("Latency of memcached calls by method, status and error")
            .with_boundaries(SEED_BOUNDS.to_vec())
            .build(),
        compute: meter
            .f64_histogram(metrics::COMPUTE_DURATION)
            .with_unit("s")
            .with_description("Time that memoized functions took to compute")
            .build(),
        size: meter
            .u64_histogram(metrics::ITEM_SIZE)
            .with_unit("By")
            .with_description("Size of stored values, header included")
            .with_boundaries((5..=20).step_by(3).map(|power| f64::from(1_u32 << power)).collect())
            .build(),
        #[cfg(feature = "servers")]
        connection_wait: meter
            .f64_histogram(metrics::CONNECTION_WAIT_TIME)
            .with_unit("s")
            .with_description("Time that callers waited for a connection, where they had to")
            .build(),
        #[cfg(feature = "servers")]
        connection_create: meter
            .f64_histogram(metrics::CONNECTION_CREATE_TIME)
            .with_unit("s")
            .with_description("Time it took to open a connection")
            .build(),
    }
}

/// Bucket boundaries in milliseconds: those of the Python client this crate descends
/// from.
pub(super) const SEED_BOUNDS: &[f64] = &[
    0.0, 5.0, 10.0, 25.0, 40.0, 50.0, 75.0, 100.0, 200.0, 400.0, 600.0, 800.0, 1000.0, 2000.0, 4000.0, 6000.0, 10000.0,
    20000.0,
];
