//! Facts → spans, events and instruments; the only module that names
//! `tracing` and `opentelemetry`.
//!
//! Other layers report what happened by the methods of [`call::CallSpan`] and
//! [`exchange::Exchange`]; nothing here decides anything about caching.

pub(crate) mod call;
mod calls;
mod callsite;
pub(crate) mod exchange;
mod instruments;
mod latency;
pub(crate) mod metrics;
pub mod names;
#[cfg(feature = "memcache")]
pub(crate) mod nodes;
pub(crate) mod peer;
pub(crate) mod report;
mod series;
mod stats;
#[cfg(feature = "views")]
pub mod views;

use tracing::Level;

/// Tells, once for each process and reason, what an operator should know.
pub(crate) fn announce_embedded() {
    tracing::event!(
        target: "memocached::memo",
        Level::INFO,
        "MEMCACHED_SERVERS is not set: results are kept in this process only"
    );
}

/// Tells that the process-wide cache cannot be set up. Where nobody listens to
/// events yet, on standard error.
pub(crate) fn announce_unusable(error: &crate::Error) {
    if tracing::dispatcher::has_been_set() {
        tracing::event!(target: "memocached::memo", Level::ERROR, "nothing is cached: {error}");
    } else {
        eprintln!("memocached: nothing is cached: {error}");
    }
}

/// Tells that a variable does nothing. Where nobody listens to events yet, on
/// standard error.
pub(crate) fn announce_strange_variable(what: &str) {
    if tracing::dispatcher::has_been_set() {
        tracing::event!(target: "memocached::memo", Level::WARN, "{what}");
    } else {
        eprintln!("memocached: {what}");
    }
}

/// Tells that callers on several machines are not coordinated.
pub(crate) fn announce_without_leases(server: &str) {
    tracing::event!(
        target: "memocached::client",
        Level::WARN,
        server.address = server,
        "{server} does not speak the meta protocol: without its leases, callers that miss the same key all store"
    );
}

/// Tells that a cluster's servers could not be asked for.
pub(crate) fn announce_undiscovered(error: &crate::Error) {
    tracing::event!(target: "memocached::client", Level::WARN, "auto-discovery failed, the servers stay: {error}");
}

/// Tells that two functions have the same key template.
pub(crate) fn announce_shared_template(template: &str, first: &str, second: &str) {
    tracing::event!(
        target: "memocached::memo",
        Level::WARN,
        cache.key.template = template,
        "{first} and {second} have the same key template: they share entries"
    );
}

/// Has work on another thread told to the subscriber of this one, which may be
/// this thread's own.
pub(crate) fn carried<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let subscriber = tracing::dispatcher::get_default(Clone::clone);
    move || tracing::dispatcher::with_default(&subscriber, work)
}

/// Makes the span that is current now the current one of `work` as well.
#[cfg(feature = "tokio")]
pub(crate) fn within_current<F: Future>(work: F) -> impl Future<Output = F::Output> + use<F> {
    tracing::Instrument::in_current_span(work)
}
