//! OpenTelemetry instruments, bound to a meter provider when asked.
//!
//! Counters live in this crate's own atomics and are observed, because an
//! instrument made before the application installs its provider stays silent
//! for ever. Histograms record from [`enable_metrics_views`] on.

use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::metrics::{Histogram, Meter};
use opentelemetry::{KeyValue, global};

use super::exchange::{CANCELLED, Peer};
use super::names::{attributes, metrics};
#[cfg(feature = "memcache")]
use super::nodes;
use super::series::{Kept, Series};
use super::stats::{CacheResult, Stats};
use crate::error::ErrorKind;
use crate::exchange::Verb;
use crate::sync::{read, write};

/// Calls by verb and `error.type` (last: none; before: cancelled).
static CALLS: [[AtomicU64; ERRORS.len() + 1]; Verb::ALL.len()] =
    [const { [const { AtomicU64::new(0) }; ERRORS.len() + 1] }; Verb::ALL.len()];

const ERRORS: [&str; ErrorKind::ALL.len() + 1] = error_types();

static BOUND: RwLock<Option<Bound>> = RwLock::new(None);

/// How often something has been bound: cheaper to ask than the lock.
pub(super) static TIMES_BOUND: AtomicU64 = AtomicU64::new(0);

/// The instruments that record at once.
#[derive(Debug)]
pub(super) struct Bound {
    operation: Histogram<f64>,
    latency: Histogram<f64>,
    compute: Histogram<f64>,
    size: Histogram<u64>,
    pub(super) connection_wait: Histogram<f64>,
    pub(super) connection_create: Histogram<f64>,
}

/// Shows this crate's metrics to the current global meter provider.
///
/// Call it after `opentelemetry::global::set_meter_provider`, and again if
/// another provider is installed later. Calling it twice changes nothing.
/// Counts from before the call are there; histograms begin with it.
pub fn enable_metrics_views() {
    let meter = global::meter("memocached");
    observe_calls(&meter);
    observe_sites(&meter);
    #[cfg(feature = "memcache")]
    nodes::observe(&meter);
    *write(&BOUND) = Some(bind(&meter));
    TIMES_BOUND.fetch_add(1, Ordering::Release);
}

/// Counts an exchange.
pub(crate) fn exchanged(peer: Option<&Peer>, verb: Verb, error: Option<&'static str>, took: Duration) {
    let place = error.map_or(ERRORS.len(), |error| ERRORS.iter().position(|known| *known == error).unwrap_or(0));
    CALLS[verb as usize][place].fetch_add(1, Ordering::Relaxed);
    let seconds = took.as_secs_f64();
    if let Some(error) = error {
        return record(|bound| {
            bound.operation.record(seconds, &attributes(peer, verb, Some(error)));
            bound.latency.record(seconds * 1e3, &seed_attributes(verb, Some(error)));
        });
    }
    peer.map_or(&PLACELESS, |peer| &peer.successes)[verb as usize].with(
        |bound| Success {
            operation: Series::of(&bound.operation, attributes(peer, verb, None)),
            latency: Series::of(&bound.latency, seed_attributes(verb, None)),
        },
        |success| {
            success.operation.record(seconds);
            success.latency.record(seconds * 1e3);
        },
    );
}

/// The series of exchanges that end well.
#[derive(Debug)]
pub(crate) struct Success {
    operation: Series<f64>,
    latency: Series<f64>,
}

/// Those of one peer by verb: nearly all there is to record.
pub(crate) type Successes = [Kept<Success>; Verb::ALL.len()];

pub(crate) const fn no_successes() -> Successes {
    [const { Kept::none() }; Verb::ALL.len()]
}

/// Those of exchanges with no node, or with several.
static PLACELESS: Successes = no_successes();

pub(crate) fn computed(series: &Kept<Series<f64>>, name: &'static str, nanos: u64) {
    series.with(|bound| Series::of(&bound.compute, named(name)), |series| series.record(seconds(nanos)));
}

pub(crate) fn item_size(series: &Kept<Series<u64>>, name: &'static str, size: usize) {
    series.with(|bound| Series::of(&bound.size, named(name)), |series| series.record(size as u64));
}

fn named(name: &'static str) -> Vec<KeyValue> {
    vec![KeyValue::new(attributes::CACHE_NAME, name)]
}

/// Records, if there is anywhere to.
pub(super) fn record(record: impl FnOnce(&Bound)) {
    if TIMES_BOUND.load(Ordering::Acquire) > 0
        && let Some(bound) = &*read(&BOUND)
    {
        record(bound);
    }
}

fn attributes(peer: Option<&Peer>, verb: Verb, error: Option<&'static str>) -> Vec<KeyValue> {
    let mut attributes =
        vec![KeyValue::new(attributes::DB_OPERATION, verb.as_str()), KeyValue::new(attributes::DB_SYSTEM, "memcached")];
    attributes.extend(peer.map(|peer| KeyValue::new(attributes::SERVER_ADDRESS, peer.address)));
    attributes
        .extend(peer.and_then(|peer| peer.port).map(|port| KeyValue::new(attributes::SERVER_PORT, i64::from(port))));
    attributes.extend(error.map(|error| KeyValue::new(attributes::ERROR_TYPE, error)));
    attributes
}

fn bind(meter: &Meter) -> Bound {
    Bound {
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
        connection_wait: meter
            .f64_histogram(metrics::CONNECTION_WAIT_TIME)
            .with_unit("s")
            .with_description("Time that callers waited for a connection, where they had to")
            .build(),
        connection_create: meter
            .f64_histogram(metrics::CONNECTION_CREATE_TIME)
            .with_unit("s")
            .with_description("Time it took to open a connection")
            .build(),
    }
}

/// Milliseconds.
pub(super) const SEED_BOUNDS: [f64; 18] = [
    0.0, 5.0, 10.0, 25.0, 40.0, 50.0, 75.0, 100.0, 200.0, 400.0, 600.0, 800.0, 1000.0, 2000.0, 4000.0, 6000.0, 10000.0,
    20000.0,
];

fn observe_calls(meter: &Meter) {
    meter
        .u64_observable_counter(metrics::CLIENT_CALLS)
        .with_unit("{call}")
        .with_description("memcached calls by method, status and error")
        .with_callback(|observer| {
            for verb in Verb::ALL {
                for (place, count) in CALLS[verb as usize].iter().enumerate() {
                    let count = count.load(Ordering::Relaxed);
                    if count > 0 {
                        observer.observe(count, &seed_attributes(verb, ERRORS.get(place).copied()));
                    }
                }
            }
        })
        .build();
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

fn seed_attributes(verb: Verb, error: Option<&'static str>) -> Vec<KeyValue> {
    let status = if error.is_some() { "error" } else { "ok" };
    let mut attributes =
        vec![KeyValue::new(attributes::METHOD, verb.as_str()), KeyValue::new(attributes::STATUS, status)];
    attributes.extend(error.map(|error| KeyValue::new(attributes::ERROR, error)));
    attributes
}

const fn error_types() -> [&'static str; ErrorKind::ALL.len() + 1] {
    let mut types = [CANCELLED; ErrorKind::ALL.len() + 1];
    let mut i = 0;
    while i < ErrorKind::ALL.len() {
        types[i] = ErrorKind::ALL[i].as_str();
        i += 1;
    }
    types
}

#[allow(clippy::cast_precision_loss, reason = "a sum of durations for people to read")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
