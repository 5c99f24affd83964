//! Calls to memcached: how many, how they ended, and how long they took.
//!
//! The counts live in this crate's own atomics, so that none is lost before the
//! program installs its meter provider. The spans of calls are in `exchange`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use super::instruments;
use super::names::{attributes, metrics};
use super::series::{Kept, Series};
use crate::error::ErrorKind;
use crate::exchange::Verb;

/// How a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Error(ErrorKind),
    /// Its future was dropped before the reply came.
    Cancelled,
}

impl Failure {
    /// Returns the value of `error.type`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Failure::Error(kind) => kind.as_str(),
            Failure::Cancelled => "cancelled",
        }
    }
}

/// The calls of one verb, counted by how they ended.
struct Counts {
    succeeded: AtomicU64,
    cancelled: AtomicU64,
    failed: [AtomicU64; ErrorKind::ALL.len()],
}

static COUNTS: [Counts; Verb::ALL.len()] = [const { Counts::none() }; Verb::ALL.len()];

impl Counts {
    const fn none() -> Self {
        Counts {
            succeeded: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            failed: [const { AtomicU64::new(0) }; ErrorKind::ALL.len()],
        }
    }

    fn add(&self, failure: Option<Failure>) {
        let count = match failure {
            None => &self.succeeded,
            Some(Failure::Cancelled) => &self.cancelled,
            Some(Failure::Error(kind)) => &self.failed[kind as usize],
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns each count with the failure it is for, if any.
    fn every(&self) -> impl Iterator<Item = (Option<Failure>, u64)> {
        let Counts { succeeded, cancelled, failed } = self;
        let errors = ErrorKind::ALL.into_iter().map(|kind| (Some(Failure::Error(kind)), &failed[kind as usize]));
        let others = [(Some(Failure::Cancelled), cancelled), (None, succeeded)];
        errors.chain(others).map(|(failure, count)| (failure, count.load(Ordering::Relaxed)))
    }
}

/// The series of one verb's successful calls.
#[derive(Debug)]
struct Success {
    operation: Series<f64>,
    latency: Series<f64>,
}

/// The series of one node's successful calls, by verb. Nearly all records go to
/// these.
#[derive(Debug)]
pub(super) struct Successes([Kept<Success>; Verb::ALL.len()]);

impl Successes {
    pub(super) const fn none() -> Self {
        Successes([const { Kept::none() }; Verb::ALL.len()])
    }
}

/// Counts and records a call. `node` returns the attributes of the node, if a single
/// one was called.
pub(super) fn ended(
    successes: &Successes,
    verb: Verb,
    failure: Option<Failure>,
    took: Duration,
    node: impl Fn() -> Vec<KeyValue>,
) {
    let seconds = took.as_secs_f64();
    COUNTS[verb as usize].add(failure);
    if let Some(failure) = failure {
        return instruments::record(|instruments| {
            instruments.operation.record(seconds, &operation_attributes(node(), verb, Some(failure)));
            instruments.latency.record(seconds * 1e3, &seed_attributes(verb, Some(failure)));
        });
    }
    successes.0[verb as usize].with(
        |instruments| Success {
            operation: Series::of(&instruments.operation, operation_attributes(node(), verb, None)),
            latency: Series::of(&instruments.latency, seed_attributes(verb, None)),
        },
        |success| {
            success.operation.record(seconds);
            success.latency.record(seconds * 1e3);
        },
    );
}

/// Exposes the counts to this meter.
pub(super) fn observe(meter: &Meter) {
    meter
        .u64_observable_counter(metrics::CLIENT_CALLS)
        .with_unit("{call}")
        .with_description("memcached calls by method, status and error")
        .with_callback(|observer| {
            for verb in Verb::ALL {
                for (failure, count) in COUNTS[verb as usize].every() {
                    if count > 0 {
                        observer.observe(count, &seed_attributes(verb, failure));
                    }
                }
            }
        })
        .build();
}

fn operation_attributes(node: Vec<KeyValue>, verb: Verb, failure: Option<Failure>) -> Vec<KeyValue> {
    let mut attributes = node;
    attributes.push(KeyValue::new(attributes::DB_OPERATION, verb.as_str()));
    attributes.push(KeyValue::new(attributes::DB_SYSTEM, "memcached"));
    attributes.extend(failure.map(|failure| KeyValue::new(attributes::ERROR_TYPE, failure.as_str())));
    attributes
}

fn seed_attributes(verb: Verb, failure: Option<Failure>) -> Vec<KeyValue> {
    let status = if failure.is_some() { "error" } else { "ok" };
    let mut attributes =
        vec![KeyValue::new(attributes::METHOD, verb.as_str()), KeyValue::new(attributes::STATUS, status)];
    attributes.extend(failure.map(|failure| KeyValue::new(attributes::ERROR, failure.as_str())));
    attributes
}
