//! Exposes this crate's metrics to OpenTelemetry.
//!
//! Counters live in this crate's own atomics and are observed from there.
//! Histograms start with [`enable_metrics_views`].

use opentelemetry::metrics::{AsyncInstrument, Meter};
use opentelemetry::{KeyValue, global};

use super::names::{attributes, metrics};
#[cfg(feature = "memcache")]
use super::nodes;
use super::stats::{CacheResult, MissReason, Stats};
use super::{calls, instruments};

/// Exposes this crate's metrics to the current global meter provider.
///
/// Call it after `opentelemetry::global::set_meter_provider`, and again if another
/// provider is installed later. Calling it twice changes nothing. Counters include
/// what happened before the call; histograms start with it.
pub fn enable_metrics_views() {
    let meter = global::meter("memocached");
    calls::observe(&meter);
    observe_sites(&meter);
    #[cfg(feature = "memcache")]
    nodes::observe(&meter);
    instruments::bind(&meter);
}

fn observe_sites(meter: &Meter) {
    meter
        .u64_observable_counter(metrics::CACHE_REQUESTS)
        .with_unit("{request}")
        .with_description("Calls of memoized functions by result")
        .with_callback(|observer| {
            for stats in Stats::every() {
                for result in CacheResult::ALL {
                    observe_nonzero(observer, stats, stats.counted(result), (attributes::RESULT, result.as_str()));
                }
            }
        })
        .build();
    meter
        .u64_observable_counter(metrics::CACHE_MISSES)
        .with_unit("{miss}")
        .with_description("Calls that had to compute, by reason")
        .with_callback(|observer| {
            for stats in Stats::every() {
                for reason in MissReason::ALL {
                    observe_nonzero(observer, stats, stats.misses(reason), (attributes::MISS_REASON, reason.as_str()));
                }
            }
        })
        .build();
    meter
        .u64_observable_counter(metrics::CACHE_NOT_STORED)
        .with_unit("{value}")
        .with_description("Values that could not be stored, by reason")
        .with_callback(|observer| {
            for stats in Stats::every() {
                for (reason, count) in stats.not_stored() {
                    observe_nonzero(observer, stats, count, (attributes::NOT_STORED_REASON, reason));
                }
            }
        })
        .build();
    meter
        .f64_observable_counter(metrics::COMPUTE_SAVED)
        .with_unit("s")
        .with_description("Time that hits did not have to compute again")
        .with_callback(|observer| {
            for stats in Stats::every() {
                observer.observe(seconds(stats.saved_nanos()), &[KeyValue::new(attributes::CACHE_NAME, stats.name)]);
            }
        })
        .build();
}

/// Observes one of a function's counts, told apart by an attribute.
fn observe_nonzero(
    observer: &dyn AsyncInstrument<u64>,
    stats: &Stats,
    count: u64,
    (key, value): (&'static str, &'static str),
) {
    if count > 0 {
        observer.observe(count, &[KeyValue::new(attributes::CACHE_NAME, stats.name), KeyValue::new(key, value)]);
    }
}

#[allow(clippy::cast_precision_loss, reason = "a sum of durations for people to read")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
