//! Turns facts into spans, events and instruments. No other module names `tracing`
//! or `opentelemetry`.
//!
//! Other layers report what happened through the methods of [`call::CallSpan`] and
//! [`exchange::Exchange`]. Nothing here decides anything about caching.

pub(crate) mod call;
mod calls;
mod callsite;
pub(crate) mod computing;
pub(crate) mod exchange;
mod instruments;
pub(crate) mod invalidations;
mod latency;
pub(crate) mod metrics;
pub mod names;
#[cfg(feature = "servers")]
pub(crate) mod nodes;
pub(crate) mod observed;
pub(crate) mod observing;
mod outage;
pub(crate) mod peer;
pub(crate) mod report;
mod series;
pub(crate) mod site;
mod stats;
#[cfg(feature = "views")]
pub mod views;

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::Level;

use crate::error::Error;

/// Announces that results are kept in this process only.
pub(crate) fn announce_embedded() {
    tracing::event!(
        target: "memocached::memo",
        Level::INFO,
        "MEMCACHED_SERVERS is not set: results are kept in this process only"
    );
}

/// Announces that the process-wide cache cannot be set up: as an event, or on
/// standard error if the program has no subscriber yet.
pub(crate) fn announce_unusable(error: &Error) {
    if tracing::dispatcher::has_been_set() {
        tracing::event!(target: "memocached::memo", Level::ERROR, "nothing is cached: {error}");
    } else {
        write_error(format_args!("nothing is cached: {error}"));
    }
}

/// Announces that a variable has no effect: as an event, or on standard error if the
/// program has no subscriber yet.
pub(crate) fn announce_strange_variable(what: &str) {
    if tracing::dispatcher::has_been_set() {
        tracing::event!(target: "memocached::memo", Level::WARN, "{what}");
    } else {
        write_error(format_args!("{what}"));
    }
}

/// Writes a line to standard error, unless that is closed or full.
fn write_error(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "memocached: {line}");
}

/// Announces that a server speaks the classic protocol only.
pub(crate) fn announce_without_leases(server: &str) {
    tracing::event!(
        target: "memocached::client",
        Level::WARN,
        server.address = server,
        "{server} does not speak the meta protocol: a miss takes an exchange more, and `grace` and `refresh_ahead` have no effect"
    );
}

/// Announces that a cluster's servers could not be discovered.
pub(crate) fn announce_undiscovered(error: &Error) {
    tracing::event!(target: "memocached::client", Level::WARN, "auto-discovery failed, so the servers stay as they are: {error}");
}

/// Announces that a configuration endpoint names other servers under a version that
/// is not higher than the one before.
#[cfg(feature = "servers")]
pub(crate) fn announce_renumbered(endpoint: &str, version: u64) {
    tracing::event!(
        target: "memocached::client",
        Level::WARN,
        server.address = endpoint,
        "{endpoint} names other servers under version {version}, which is not higher than before: they are used"
    );
}

/// Announces once that a body has set a tag of too many bytes.
pub(crate) fn tag_too_long(bytes: usize, most: usize) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if !TOLD.swap(true, Ordering::Relaxed) {
        tracing::event!(
            target: "memocached::memo",
            Level::WARN,
            "a tag of {bytes} bytes is not kept; a tag has at most {most} bytes"
        );
    }
}

/// Announces that two functions have the same key template.
pub(crate) fn announce_shared_template(template: &str, first: &str, second: &str) {
    tracing::event!(
        target: "memocached::memo",
        Level::WARN,
        cache.key.template = template,
        "{first} and {second} have the same key template: they share entries"
    );
}

/// Makes `work` report to this thread's subscriber, even if it runs on another
/// thread.
pub(crate) fn carried<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let subscriber = tracing::dispatcher::get_default(Clone::clone);
    move || tracing::dispatcher::with_default(&subscriber, work)
}

/// Runs `work` inside the span that is current now.
#[cfg(feature = "tokio")]
pub(crate) fn within_current<F: Future>(work: F) -> impl Future<Output = F::Output> + use<F> {
    tracing::Instrument::in_current_span(work)
}
