//! Calls of memcached: how many, how they ended, and how long they took.
//!
//! The counts live in this crate's own atomics and are observed, so that none is
//! lost before the program installs its meter provider.

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
    const COUNT: usize = ErrorKind::ALL.len() + 1;

    /// The `error.type`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Failure::Error(kind) => kind.as_str(),
            Failure::Cancelled => "cancelled",
        }
    }

    fn index(self) -> usize {
        match self {
            Failure::Error(kind) => kind as usize,
            Failure::Cancelled => ErrorKind::ALL.len(),
        }
    }

    fn all() -> impl Iterator<Item = Failure> {
        ErrorKind::ALL.into_iter().map(Failure::Error).chain([Failure::Cancelled])
    }
}

/// The calls of one verb.
struct Counts {
    succeeded: AtomicU64,
    failed: [AtomicU64; Failure::COUNT],
}

static COUNTS: [Counts; Verb::ALL.len()] =
    [const { Counts { succeeded: AtomicU64::new(0), failed: [const { AtomicU64::new(0) }; Failure::COUNT] } };
        Verb::ALL.len()];

/// The series of one verb's calls that succeed.
#[derive(Debug)]
struct Success {
    operation: Series<f64>,
    latency: Series<f64>,
}

/// The series of one node's calls that succeed, by verb: nearly all there is to
/// record.
#[derive(Debug)]
pub(super) struct Successes([Kept<Success>; Verb::ALL.len()]);

impl Successes {
    pub(super) const fn none() -> Self {
        Successes([const { Kept::none() }; Verb::ALL.len()])
    }
}

/// Counts and records a call. `node` gives the attributes of the node, if it was
/// one.
pub(super) fn ended(
    successes: &Successes,
    verb: Verb,
    failure: Option<Failure>,
    took: Duration,
    node: impl Fn() -> Vec<KeyValue>,
) {
    let seconds = took.as_secs_f64();
    let counts = &COUNTS[verb as usize];
    if let Some(failure) = failure {
        counts.failed[failure.index()].fetch_add(1, Ordering::Relaxed);
        return instruments::record(|instruments| {
            instruments.operation.record(seconds, &operation_attributes(node(), verb, Some(failure)));
            instruments.latency.record(seconds * 1e3, &seed_attributes(verb, Some(failure)));
        });
    }
    counts.succeeded.fetch_add(1, Ordering::Relaxed);
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

/// Shows the counts to this meter.
pub(super) fn observe(meter: &Meter) {
    meter
        .u64_observable_counter(metrics::CLIENT_CALLS)
        .with_unit("{call}")
        .with_description("memcached calls by method, status and error")
        .with_callback(|observer| {
            for verb in Verb::ALL {
                let Counts { succeeded, failed } = &COUNTS[verb as usize];
                let failed = Failure::all().map(|failure| (Some(failure), &failed[failure.index()]));
                for (failure, count) in failed.chain([(None, succeeded)]) {
                    let count = count.load(Ordering::Relaxed);
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
