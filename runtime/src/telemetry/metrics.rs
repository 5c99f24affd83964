//! OpenTelemetry instruments, bound to a meter provider when asked.
//!
//! Counters live in this crate's own atomics and are observed, because an
//! instrument made before the application installs its provider stays silent
//! for ever. Histograms record from [`enable_metrics_views`] on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{OnceLock, RwLock};
use std::time::Duration;

use opentelemetry::metrics::{Histogram, Meter};
use opentelemetry::{KeyValue, global};

use super::client::{CANCELLED, Peer};
use super::names::{attributes, metrics};
use super::nodes;
use super::stats::{CacheResult, Stats};
use crate::error::ErrorKind;
use crate::exchange::Verb;
use crate::sync::{read, write};

/// Calls by verb and `error.type` (last: none; before: cancelled).
static CALLS: [[AtomicU64; ERRORS.len() + 1]; Verb::ALL.len()] =
    [const { [const { AtomicU64::new(0) }; ERRORS.len() + 1] }; Verb::ALL.len()];

const ERRORS: [&str; ErrorKind::ALL.len() + 1] = error_types();

static BOUND: RwLock<Option<Bound>> = RwLock::new(None);

/// Whether there is something bound: cheaper to ask than the lock.
static IS_BOUND: AtomicBool = AtomicBool::new(false);

/// The instruments that record at once.
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
    nodes::observe(&meter);
    *write(&BOUND) = Some(bind(&meter));
    IS_BOUND.store(true, Ordering::Release);
}

/// Counts an exchange.
pub(crate) fn exchanged(peer: Option<&Peer>, verb: Verb, error: Option<&'static str>, took: Duration) {
    let place = error.map_or(ERRORS.len(), |error| ERRORS.iter().position(|known| *known == error).unwrap_or(0));
    CALLS[verb as usize][place].fetch_add(1, Ordering::Relaxed);
    record(|bound| {
        let seconds = took.as_secs_f64();
        match (peer, error) {
            (Some(peer), None) => {
                bound.operation.record(seconds, peer.labels.of(verb, || attributes(Some(peer), verb, None)));
            }
            _ => bound.operation.record(seconds, &attributes(peer, verb, error)),
        }
        match error {
            None => bound.latency.record(seconds * 1e3, SEED_LABELS.of(verb, || seed_attributes(verb, None))),
            Some(_) => bound.latency.record(seconds * 1e3, &seed_attributes(verb, error)),
        }
    });
}

pub(crate) fn computed(name: &'static str, nanos: u64) {
    record(|bound| bound.compute.record(seconds(nanos), &[KeyValue::new(attributes::CACHE_NAME, name)]));
}

pub(crate) fn item_size(name: &'static str, size: usize) {
    record(|bound| bound.size.record(size as u64, &[KeyValue::new(attributes::CACHE_NAME, name)]));
}

/// Records, if there is anywhere to.
pub(super) fn record(record: impl FnOnce(&Bound)) {
    if IS_BOUND.load(Ordering::Acquire)
        && let Some(bound) = &*read(&BOUND)
    {
        record(bound);
    }
}

/// The attributes of what went well, by verb: nearly all there is to record.
#[derive(Debug)]
pub(crate) struct Labels([OnceLock<Vec<KeyValue>>; Verb::ALL.len()]);

static SEED_LABELS: Labels = Labels::none();

impl Labels {
    pub(crate) const fn none() -> Self {
        Labels([const { OnceLock::new() }; Verb::ALL.len()])
    }

    fn of(&self, verb: Verb, make: impl FnOnce() -> Vec<KeyValue>) -> &[KeyValue] {
        self.0[verb as usize].get_or_init(make)
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
