//! The span of a memoized call and the events in it.

use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use tracing::field::Value;
use tracing::span::EnteredSpan;
use tracing::{Level, Span};

use super::callsite::{NamedSpan, Naming, fields};
use super::names::{attributes, spans, targets};
use super::series::{Kept, Series};
use super::stats::{CacheResult, Stats};
use crate::error::Error;
use crate::exchange::Ttl;

const TARGET: &str = targets::MEMO;

fields! {
    /// The fields of a call's span.
    struct CallFields {
        name => attributes::CACHE_NAME,
        template => attributes::KEY_TEMPLATE,
        key => attributes::KEY,
        hit => attributes::HIT,
        result => attributes::RESULT,
        ttl => attributes::TTL,
        size => attributes::ITEM_SIZE,
        value => attributes::VALUE,
    }
}

/// Why a value had to be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MissReason {
    /// There was no value.
    Absent,
    /// There was a value, and its time is over.
    Expired,
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
            MissReason::Expired => "expired",
            MissReason::Schema => "schema",
            MissReason::DecodeError => "decode_error",
            MissReason::Unavailable => "unavailable",
            MissReason::Refresh => "refresh",
            MissReason::Bypass => "bypass",
        }
    }

    fn result(self) -> CacheResult {
        match self {
            MissReason::Absent
            | MissReason::Expired
            | MissReason::Schema
            | MissReason::DecodeError
            | MissReason::Refresh => CacheResult::Miss,
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
    computations: Kept<Series<f64>>,
    sizes: Kept<Series<u64>>,
    pub(crate) stats: &'static Stats,
}

impl SiteTelemetry {
    pub(crate) fn new(
        function: &'static str,
        name: &'static str,
        template: &'static str,
        location: (&'static str, u32),
    ) -> Self {
        let span = NamedSpan::leak(Naming {
            name: function,
            target: TARGET,
            location: Some(location),
            fields: CallFields::NAMES,
        });
        SiteTelemetry { span, template, computations: Kept::none(), sizes: Kept::none(), stats: Stats::of(name) }
    }

    pub(crate) fn open(&'static self) -> CallSpan {
        self.begin(NamedSpan::open)
    }

    fn begin(&'static self, open: fn(&'static NamedSpan, &[Option<&dyn Value>]) -> Span) -> CallSpan {
        let started = self.stats.times_next_hit().then(Instant::now);
        let fields =
            CallFields { name: Some(&self.stats.name), template: Some(&self.template), ..CallFields::default() };
        let span = open(self.span, &fields.values());
        CallSpan { span, started, ttl: None, site: self, stats: self.stats }
    }

    /// Records the size of a stored value.
    fn sized(&self, size: usize) {
        self.sizes.with(
            |instruments| Series::of(&instruments.size, named(self.stats.name)),
            |series| series.record(size as u64),
        );
    }

    /// A value was at hand in this process, which is only counted; `cost` is
    /// what it took to compute, in nanoseconds.
    pub(crate) fn near_hit(&self, cost: u64) {
        self.stats.count(CacheResult::Hit);
        self.stats.save(cost);
    }
}

/// A value that a call has found and that is to be computed anew.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    pub(crate) reason: MissReason,
    pub(crate) size: usize,
    /// What it took to compute, in nanoseconds.
    pub(crate) cost: u64,
}

/// The span of one call.
#[derive(Clone, Debug)]
pub(crate) struct CallSpan {
    span: Span,
    /// If a hit's time is to be taken.
    started: Option<Instant>,
    ttl: Option<Ttl>,
    site: &'static SiteTelemetry,
    stats: &'static Stats,
}

impl CallSpan {
    /// The span of computing this call's value anew, after the call: it is
    /// linked to the call's, and no child of it.
    #[cfg(feature = "tokio")]
    pub(crate) fn refresh(&self) -> CallSpan {
        let refresh = self.site.begin(NamedSpan::open_root);
        refresh.span.follows_from(self.span.id());
        refresh.span.record(attributes::RESULT, "refresh");
        refresh
    }

    /// What tells the span to others, as long as it is open.
    pub(crate) fn id(&self) -> Option<u64> {
        self.span.id().map(|id| id.into_u64())
    }

    /// Links the span to that of the call whose value it waits for.
    pub(crate) fn follows(&self, leader: Option<u64>) {
        if let Some(leader) = leader {
            self.span.follows_from(tracing::Id::from_u64(leader));
        }
    }

    /// Begins to wait for another call.
    pub(crate) fn wait(&self) -> Wait {
        if self.span.is_disabled() {
            return Wait::none();
        }
        Wait(tracing::span!(target: TARGET, parent: &self.span, Level::INFO, spans::WAIT))
    }

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
        if self.span.is_disabled() {
            return write();
        }
        // The call's span is not current yet: to have it so costs more.
        tracing::span!(target: TARGET, parent: &self.span, Level::DEBUG, spans::SERIALIZE_KEY).in_scope(write)
    }

    pub(crate) fn try_deserialize<T>(&self, read: impl FnOnce() -> T) -> T {
        tracing::span!(target: TARGET, Level::DEBUG, spans::TRY_DESERIALIZE).in_scope(read)
    }

    pub(crate) fn serialize_value<T>(&self, write: impl FnOnce() -> T) -> T {
        tracing::span!(target: TARGET, Level::DEBUG, spans::SERIALIZE_VALUE).in_scope(write)
    }

    /// The concrete key, where the operator asked for it.
    pub(crate) fn key(&self, key: &str) {
        self.span.record(attributes::KEY, key);
    }

    /// What is stored of the value, where the operator asked for it.
    pub(crate) fn value(&self, value: &str) {
        self.span.record(attributes::VALUE, value);
    }

    /// Told with how the call ends.
    pub(crate) fn ttl(&mut self, ttl: Ttl) {
        self.ttl = Some(ttl);
    }

    /// A value was found; `cost` is what it took to compute, in nanoseconds.
    pub(crate) fn hit(&self, size: usize, cost: u64) {
        self.found(CacheResult::Hit, size);
        self.saved(cost);
        tracing::event!(name: "cache.hit", target: TARGET, Level::INFO, { attributes::HIT } = true, "Cache hit");
    }

    /// A value was found whose time is over, and is served all the same.
    pub(crate) fn stale(&self, size: usize, cost: u64) {
        self.found(CacheResult::Stale, size);
        self.saved(cost);
        tracing::event!(name: "cache.stale", target: TARGET, Level::INFO, { attributes::STALE } = true, "Cache stale");
    }

    /// A value was found, which this call serves while it is computed anew
    /// behind it.
    #[cfg(feature = "tokio")]
    pub(crate) fn serves(&self, due: &Due) {
        match due.reason {
            MissReason::Refresh => self.hit(due.size, due.cost),
            _ => self.stale(due.size, due.cost),
        }
    }

    /// A value was found, which this call computes anew. How that ends is told
    /// by [`CallSpan::renewed`] or [`CallSpan::stale_on_error`].
    pub(crate) fn renews(&self, due: &Due) {
        missed(due.reason);
    }

    /// There is a new value for one that was found.
    pub(crate) fn renewed(&self) {
        self.finish(CacheResult::Miss, None);
    }

    /// Computing has failed, and a stale value is served in its place.
    pub(crate) fn stale_on_error(&self) {
        self.finish(CacheResult::Stale, None);
        tracing::event!(
            name: "cache.stale",
            target: TARGET,
            Level::WARN,
            { attributes::STALE } = true,
            { attributes::STALE_REASON } = "error",
            "Cache stale"
        );
    }

    /// Computing anew has failed behind a value that was served.
    pub(crate) fn refresh_failed(&self) {
        tracing::event!(name: "cache.refresh_failed", target: TARGET, Level::WARN, "Cache refresh failed");
    }

    /// Another caller has computed the value in the meantime.
    pub(crate) fn coalesced(&self, size: usize) {
        self.found(CacheResult::Coalesced, size);
        tracing::event!(
            name: "cache.coalesced",
            target: TARGET,
            Level::INFO,
            { attributes::COALESCED } = true,
            "Cache coalesced"
        );
    }

    /// No value was found.
    pub(crate) fn miss(&self, reason: MissReason) {
        self.finish(reason.result(), None);
        missed(reason);
    }

    /// The caller gets the cache's error.
    pub(crate) fn propagated(&self) {
        self.miss(MissReason::Unavailable);
    }

    /// The cache could not answer, so the function computes.
    pub(crate) fn unavailable(&self, error: &Error) {
        tracing::event!(
            name: "cache.unavailable",
            target: TARGET,
            Level::WARN,
            { attributes::ERROR_TYPE } = error.kind().as_str(),
            "Cache unavailable"
        );
    }

    /// There were bytes, but no value in them.
    pub(crate) fn undecodable(&self) {
        tracing::event!(
            name: "cache.undecodable",
            target: TARGET,
            Level::WARN,
            "Cached value could not be decoded"
        );
    }

    fn computed(&self, started: Instant) -> u64 {
        let nanos = nanos_since(started);
        self.stats.computed(nanos);
        self.site.computations.with(
            |instruments| Series::of(&instruments.compute, named(self.stats.name)),
            |series| series.record(Duration::from_nanos(nanos).as_secs_f64()),
        );
        nanos
    }

    pub(crate) fn stored(&self, size: usize) {
        self.site.sized(size);
        if !self.span.is_disabled() {
            self.span.record(attributes::ITEM_SIZE, signed(size as u64));
        }
    }

    /// A value that was meant to be stored is not.
    pub(crate) fn not_stored(&self, reason: &str) {
        tracing::event!(
            name: "cache.not_stored",
            target: TARGET,
            Level::WARN,
            { attributes::NOT_STORED_REASON } = reason,
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

    fn saved(&self, cost: u64) {
        self.stats.save(cost);
        if let Some(started) = self.started {
            self.stats.hits.record(nanos_since(started));
        }
    }

    fn found(&self, result: CacheResult, size: usize) {
        self.site.sized(size);
        self.finish(result, Some(size));
    }

    /// All in one, since what a subscriber does is for each record and not for
    /// each value.
    fn finish(&self, result: CacheResult, size: Option<usize>) {
        self.stats.count(result);
        if self.span.is_disabled() {
            return;
        }
        let hit = matches!(result, CacheResult::Hit | CacheResult::Stale);
        let (result, size) = (result.as_str(), size.map(|size| signed(size as u64)));
        let ttl = self.ttl.map(|ttl| ttl.seconds().map_or(-1, signed));
        let fields = CallFields {
            hit: Some(&hit),
            result: Some(&result),
            ttl: number(ttl.as_ref()),
            size: number(size.as_ref()),
            ..CallFields::default()
        };
        self.site.span.record(&self.span, &fields.values());
    }
}

/// The time in which a call waits for another.
#[derive(Clone, Debug)]
pub(crate) struct Wait(Span);

impl Wait {
    pub(crate) fn none() -> Self {
        Wait(Span::none())
    }

    /// Makes this the current span until the guard is dropped.
    pub(crate) fn enter(&self) -> impl Sized + use<'_> {
        self.0.enter()
    }

    /// Makes this the current span whenever `poll` is polled.
    #[cfg(feature = "tokio")]
    pub(crate) fn within<F: Future>(self, poll: F) -> impl Future<Output = F::Output> + use<F> {
        tracing::Instrument::instrument(poll, self.0)
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
        { attributes::NOT_STORED_REASON } = reason,
        "Result not stored"
    );
}

fn missed(reason: MissReason) {
    tracing::event!(
        name: "cache.miss",
        target: TARGET,
        Level::INFO,
        { attributes::MISS } = true,
        { attributes::MISS_REASON } = reason.as_str(),
        "Cache miss"
    );
}

fn named(name: &'static str) -> Vec<KeyValue> {
    vec![KeyValue::new(attributes::CACHE_NAME, name)]
}

fn compute_span() -> Span {
    tracing::span!(target: TARGET, Level::INFO, spans::COMPUTE)
}

/// Nanoseconds since `start`; 584 years fit.
fn nanos_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn number(number: Option<&i64>) -> Option<&dyn Value> {
    number.map(|number| number as &dyn Value)
}

/// OpenTelemetry has no unsigned integers.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    /// `tracing` wants the texts of events as literals.
    #[test]
    fn the_texts_of_events_are_the_public_ones() {
        let texts = |source: &'static str| {
            let code = source.split("#[cfg(test)]").next().unwrap_or_default();
            let literals = code.split('"').skip(1).step_by(2);
            let mut texts: Vec<_> = literals.filter(|text| text.starts_with(|c: char| c.is_uppercase())).collect();
            texts.sort_unstable();
            texts.dedup();
            texts
        };
        let names = include_str!("names.rs").split("pub mod events").nth(1).and_then(|rest| rest.split("\n}").next());
        let told = texts(include_str!("call.rs"));
        assert!(!told.is_empty());
        assert_eq!(told, texts(names.unwrap_or_default()));
    }
}
