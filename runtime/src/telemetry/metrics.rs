//! Exposes this crate's metrics to OpenTelemetry.
//!
//! Counters live in this crate's own atomics and are observed from there.
//! Histograms start with [`enable_metrics_views`].

use opentelemetry::metrics::Meter;
use opentelemetry::{KeyValue, global};

use super::names::{attributes, metrics};
#[cfg(feature = "memcache")]
use super::nodes;
use super::stats::{CacheResult, Stats};
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
                    let count = stats.counted(result);
                    if count > 0 {
                        let name = KeyValue::new(attributes::CACHE_NAME, stats.name);
                        observer.observe(count, &[name, KeyValue::new(attributes::RESULT, result.as_str())]);
                    }
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

#[allow(clippy::cast_precision_loss, reason = "a sum of durations for people to read")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
