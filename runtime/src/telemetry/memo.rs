//! The span of a memoized call and the events in it.

use std::time::{Duration, Instant};

use tracing::span::EnteredSpan;
use tracing::{Level, Span};

use super::callsite::{NamedSpan, Naming};
use super::metrics;
use super::stats::{CacheResult, Stats};
use crate::error::Error;
use crate::exchange::Ttl;

const TARGET: &str = "memocached::memo";

/// In the order in which [`SiteTelemetry::open`] gives their values.
const FIELDS: &[&str] =
    &["cache.name", "cache.key.template", "cache.key", "cache.hit", "cache.result", "cache.ttl", "cache.item_size"];

/// Why a value had to be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MissReason {
    /// There was no value.
    Absent,
    /// There was a value of another type, version or codec.
    Schema,
    /// There were bytes that could not be decoded, or damaged ones.
    DecodeError,
    /// The cache could not be asked.
    Unavailable,
    /// There was a value, and the caller wanted a new one.
    Refresh,
    /// The cache was not to be asked.
    Bypass,
}

impl MissReason {
    fn as_str(self) -> &'static str {
        match self {
            MissReason::Absent => "absent",
            MissReason::Schema => "schema",
            MissReason::DecodeError => "decode_error",
            MissReason::Unavailable => "unavailable",
            MissReason::Refresh => "refresh",
            MissReason::Bypass => "bypass",
        }
    }

    fn result(self) -> CacheResult {
        match self {
            MissReason::Absent | MissReason::Schema | MissReason::DecodeError | MissReason::Refresh => {
                CacheResult::Miss
            }
            MissReason::Unavailable => CacheResult::Error,
            MissReason::Bypass => CacheResult::Bypass,
        }
    }
}

/// What telemetry keeps for one site.
#[derive(Debug)]
pub(crate) struct SiteTelemetry {
    span: &'static NamedSpan,
    template: &'static str,
    pub(crate) stats: &'static Stats,
}

impl SiteTelemetry {
    pub(crate) fn new(
        function: &'static str,
        name: &'static str,
        template: &'static str,
        place: (&'static str, u32),
    ) -> Self {
        let span = NamedSpan::leak(Naming { name: function, target: TARGET, place: Some(place), fields: FIELDS });
        SiteTelemetry { span, template, stats: Stats::of(name) }
    }

    pub(crate) fn open(&self) -> CallSpan {
        let started = Instant::now();
        let span = self.span.open(&[Some(&self.stats.name), Some(&self.template), None, None, None, None, None]);
        CallSpan { span, started, stats: self.stats }
    }
}

/// The span of one call.
#[derive(Debug)]
pub(crate) struct CallSpan {
    span: Span,
    started: Instant,
    stats: &'static Stats,
}

impl CallSpan {
    /// Makes this the current span until the guard is dropped.
    pub(crate) fn enter(&self) -> impl Sized + use<'_> {
        self.span.enter()
    }

    /// The cache is not asked.
    pub(crate) fn bypassed(&self) {
        let _entered = self.span.enter();
        self.miss(MissReason::Bypass);
    }

    /// Makes this the current span whenever `call` is polled.
    #[cfg(feature = "tokio")]
    pub(crate) fn within<F: Future>(&self, call: F) -> impl Future<Output = F::Output> + use<F> {
        tracing::Instrument::instrument(call, self.span.clone())
    }

    /// Begins the function's own body.
    pub(crate) fn computing(&self) -> Computing<'_> {
        let (span, started) = (compute_span(), Instant::now());
        Computing { call: self, started, span: span.entered() }
    }

    /// As [`CallSpan::computing`], for a body that is a future.
    #[cfg(feature = "tokio")]
    pub(crate) async fn compute_async<F: Future>(&self, body: F) -> (F::Output, u64) {
        let (span, started) = (compute_span(), Instant::now());
        let returned = tracing::Instrument::instrument(body, span).await;
        (returned, self.computed(started))
    }

    /// The longest that this function has taken in this process, if it has
    /// computed at all.
    pub(crate) fn longest_computation(&self) -> Option<Duration> {
        Some(self.stats.longest_nanos()).filter(|nanos| *nanos > 0).map(Duration::from_nanos)
    }

    pub(crate) fn serialize_key<T>(&self, write: impl FnOnce() -> T) -> T {
        self.span.in_scope(|| tracing::span!(target: TARGET, Level::DEBUG, "serialize-key").in_scope(write))
    }

    pub(crate) fn try_deserialize<T>(&self, read: impl FnOnce() -> T) -> T {
        tracing::span!(target: TARGET, Level::DEBUG, "try-deserialize").in_scope(read)
    }

    pub(crate) fn serialize_value<T>(&self, write: impl FnOnce() -> T) -> T {
        tracing::span!(target: TARGET, Level::DEBUG, "serialize-value").in_scope(write)
    }

    /// The concrete key, where the operator asked for it.
    pub(crate) fn key(&self, key: &str) {
        self.span.record("cache.key", key);
    }

    pub(crate) fn ttl(&self, ttl: Ttl) {
        if !self.span.is_disabled() {
            self.span.record("cache.ttl", ttl.seconds().map_or(-1, signed));
        }
    }

    /// A value was found; `cost` is what it took to compute, in nanoseconds.
    pub(crate) fn hit(&self, size: usize, cost: u64) {
        self.finish(CacheResult::Hit);
        self.stats.save(cost);
        self.stats.hits.record(nanos_since(self.started));
        self.item_size(size);
        tracing::event!(name: "cache.hit", target: TARGET, Level::INFO, cache.hit = true, "Cache hit");
    }

    /// No value was found.
    pub(crate) fn miss(&self, reason: MissReason) {
        self.finish(reason.result());
        tracing::event!(
            name: "cache.miss",
            target: TARGET,
            Level::INFO,
            cache.miss = true,
            cache.miss.reason = reason.as_str(),
            "Cache miss"
        );
    }

    /// The cache could not answer, so the function computes.
    pub(crate) fn unavailable(&self, error: &Error) {
        tracing::event!(
            name: "cache.unavailable",
            target: TARGET,
            Level::WARN,
            error.type = error.kind().as_str(),
            "Cache unavailable"
        );
        self.miss(MissReason::Unavailable);
    }

    /// There were bytes, but no value in them.
    pub(crate) fn undecodable(&self) {
        tracing::event!(
            name: "cache.undecodable",
            target: TARGET,
            Level::WARN,
            "Cached value could not be decoded"
        );
        self.miss(MissReason::DecodeError);
    }

    fn computed(&self, started: Instant) -> u64 {
        let nanos = nanos_since(started);
        self.stats.computed(nanos);
        metrics::computed(self.stats.name, nanos);
        nanos
    }

    pub(crate) fn stored(&self, size: usize) {
        self.item_size(size);
    }

    /// A value that was meant to be stored is not.
    pub(crate) fn not_stored(&self, reason: &str) {
        tracing::event!(
            name: "cache.not_stored",
            target: TARGET,
            Level::WARN,
            cache.not_stored.reason = reason,
            "Result not stored"
        );
    }

    /// Another call has the right to store, or took it.
    pub(crate) fn left_to_another(&self) {
        not_stored_on_purpose("another call stores");
    }

    /// `store_if` said no.
    pub(crate) fn not_wanted(&self) {
        not_stored_on_purpose("store_if");
    }

    fn item_size(&self, size: usize) {
        metrics::item_size(self.stats.name, size);
        if !self.span.is_disabled() {
            self.span.record("cache.item_size", signed(size as u64));
        }
    }

    fn finish(&self, result: CacheResult) {
        self.stats.count(result);
        self.span.record("cache.hit", result == CacheResult::Hit);
        self.span.record("cache.result", result.as_str());
    }
}

/// The function's own body, while it runs; it ends with the guard if it panics.
pub(crate) struct Computing<'a> {
    call: &'a CallSpan,
    started: Instant,
    span: EnteredSpan,
}

impl Computing<'_> {
    /// The body has returned; gives its cost in nanoseconds.
    pub(crate) fn end(self) -> u64 {
        let _span = self.span.exit();
        self.call.computed(self.started)
    }
}

/// That is no trouble.
fn not_stored_on_purpose(reason: &'static str) {
    tracing::event!(
        name: "cache.not_stored",
        target: TARGET,
        Level::DEBUG,
        cache.not_stored.reason = reason,
        "Result not stored"
    );
}

fn compute_span() -> Span {
    tracing::span!(target: TARGET, Level::INFO, "compute")
}

/// Nanoseconds since `start`; 584 years fit.
fn nanos_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// OpenTelemetry has no unsigned integers.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
