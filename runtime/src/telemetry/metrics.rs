//! Exposes this crate's metrics to OpenTelemetry.
//!
//! Counters live in this crate's own atomics and are observed from there.
//! Histograms start with [`enable_metrics_views`].

use opentelemetry::metrics::{AsyncInstrumentBuilder, Meter, ObservableCounter};
use opentelemetry::{KeyValue, global};

use super::names::{attributes, metrics};
#[cfg(feature = "servers")]
use super::nodes;
use super::stats::{CacheResult, Stats};
use super::{calls, instruments, invalidations};

/// Exposes this crate's metrics to the current global meter provider.
///
/// Call it after `opentelemetry::global::set_meter_provider`, and again if another
/// provider is installed later. Calling it twice changes nothing. Counters include
/// what happened before the call; histograms start with it.
pub fn enable_metrics_views() {
    let meter = global::meter("memocached");
    calls::observe(&meter);
    observe_sites(&meter);
    invalidations::observe(&meter);
    #[cfg(feature = "servers")]
    nodes::observe(&meter);
    instruments::bind(&meter);
}

fn observe_sites(meter: &Meter) {
    let requests = builder(meter, metrics::CACHE_REQUESTS, "{request}", "Calls of memoized functions by result");
    observe_counts(requests, attributes::RESULT, |stats| {
        CacheResult::ALL.map(|result| (result.as_str(), stats.counted(result)))
    });
    let misses = builder(meter, metrics::CACHE_MISSES, "{miss}", "Calls that had to compute, by reason");
    observe_counts(misses, attributes::MISS_REASON, Stats::every_miss);
    let not_stored = builder(meter, metrics::CACHE_NOT_STORED, "{value}", "Values that could not be stored, by reason");
    observe_counts(not_stored, attributes::NOT_STORED_REASON, Stats::not_stored);
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

type Counter<'a> = AsyncInstrumentBuilder<'a, ObservableCounter<u64>, u64>;

fn builder<'a>(meter: &'a Meter, name: &'static str, unit: &'static str, description: &'static str) -> Counter<'a> {
    meter.u64_observable_counter(name).with_unit(unit).with_description(description)
}

/// Observes those of each function's counts that are not zero, told apart by an
/// attribute.
fn observe_counts<C>(counter: Counter<'_>, key: &'static str, counts: fn(&Stats) -> C)
where
    C: IntoIterator<Item = (&'static str, u64)> + 'static,
{
    counter
        .with_callback(move |observer| {
            for stats in Stats::every() {
                for (value, count) in counts(stats).into_iter().filter(|(_, count)| *count > 0) {
                    let attributes = [KeyValue::new(attributes::CACHE_NAME, stats.name), KeyValue::new(key, value)];
                    observer.observe(count, &attributes);
                }
            }
        })
        .build();
}

#[allow(clippy::cast_precision_loss, reason = "a sum of durations for people to read")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
