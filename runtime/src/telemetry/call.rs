//! The span of a memoized call and the events in it.
//!
//! The methods report what has happened; deciding what happens next is left to
//! `call`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry::trace::get_active_span;
use tracing::field::Value;
use tracing::{Level, Span};

use super::callsite::NamedSpan;
use super::names::{attributes, spans};
use super::observed::{BatchCounts, CallOutcome};
use super::observing::{FoundValue, Observation};
use super::outage;
use super::site::{CallFields, SiteTelemetry, TARGET};
pub(crate) use super::stats::MissReason;
use super::stats::{BYPASS, CacheResult, Stats};
use crate::error::{Error, ErrorKind};
use crate::exchange::Ttl;

/// Annotates the current span, and writes the same to the log at level DEBUG. The line
/// has no span if OpenTelemetry's has the annotation: the trace would show it twice.
macro_rules! annotate {
    ($call:expr, $name:literal, $text:literal, $($key:expr => $value:expr),+) => {
        if $call.tally.is_some() {
            // The span of several calls counts them.
        } else if $call.annotated($text, || vec![$(KeyValue::new($key, $value)),+]) {
            tracing::event!(
                name: $name,
                target: TARGET,
                parent: None,
                Level::DEBUG,
                { attributes::CACHE_NAME } = $call.stats.name,
                $({ $key } = $value,)+
                $text
            );
        } else {
            tracing::event!(name: $name, target: TARGET, Level::DEBUG, $({ $key } = $value,)+ $text);
        }
    };
}

impl SiteTelemetry {
    /// Opens the span of a call.
    pub(crate) fn open(&'static self) -> CallSpan {
        self.open_observed(self.observe())
    }

    /// Opens the span of a call whose record has begun, if it is observed.
    pub(crate) fn open_observed(&'static self, observation: Option<Observation>) -> CallSpan {
        CallSpan { observation, ..self.begin(NamedSpan::open) }
    }

    fn begin(&'static self, open: fn(&'static NamedSpan, &[Option<&dyn Value>]) -> Span) -> CallSpan {
        let started = self.stats.times_next_hit().then(Instant::now);
        let fields =
            CallFields { name: Some(&self.stats.name), template: Some(&self.template), ..CallFields::default() };
        let span = open(self.span, &fields.values());
        CallSpan { span, started, ttl: None, site: self, stats: self.stats, tally: None, observation: None }
    }

    /// Opens the span of several calls that are made together.
    pub(crate) fn open_for_several(&'static self) -> CallSpan {
        let observation = Observation::begin(self.stats.name, self.template, Some(BatchCounts::default()));
        CallSpan { tally: Some(Arc::default()), observation, ..self.begin(NamedSpan::open) }
    }
}

/// A value that a call found and that is due for a refresh.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    pub(crate) reason: MissReason,
    pub(crate) value: FoundValue,
}

impl Due {
    /// Whether its ttl is over.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_old(&self) -> bool {
        self.reason != MissReason::Refresh
    }
}

/// The span of one call.
#[derive(Clone, Debug)]
pub(crate) struct CallSpan {
    pub(super) span: Span,
    /// Set if a hit is to be timed.
    started: Option<Instant>,
    ttl: Option<Ttl>,
    pub(super) site: &'static SiteTelemetry,
    pub(super) stats: &'static Stats,
    /// How the calls ended, if the span is that of several.
    tally: Option<Arc<Tally>>,
    /// The call's record, if it is observed.
    pub(super) observation: Option<Observation>,
}

/// How several calls ended that were made together.
#[derive(Debug, Default)]
struct Tally {
    hits: AtomicU64,
    misses: AtomicU64,
    /// Whether it has been told that old values are served because of an error.
    stale_on_error: AtomicBool,
}

impl CallSpan {
    /// Opens the span of a refresh that continues after this call. It is linked to
    /// the call's span and not a child of it.
    #[cfg(feature = "tokio")]
    pub(crate) fn refresh(&self) -> CallSpan {
        let refresh = self.site.begin(NamedSpan::open_root);
        refresh.span.follows_from(self.span.id());
        refresh.span.record(attributes::RESULT, "refresh");
        // Not the caller's affair.
        let observation = self.observation.as_ref().map(Observation::unseen);
        CallSpan { tally: self.tally.as_ref().map(|_| Arc::default()), observation, ..refresh }
    }

    /// Returns the id by which other spans can link to this one while it is open.
    pub(crate) fn id(&self) -> Option<u64> {
        self.span.id().map(|id| id.into_u64())
    }

    /// Links this span to that of the call whose value it waits for.
    pub(crate) fn follows(&self, leader: Option<u64>) {
        if let Some(leader) = leader {
            self.span.follows_from(tracing::Id::from_u64(leader));
        }
    }

    /// Makes this the current span until the guard is dropped.
    pub(crate) fn enter(&self) -> impl Sized + use<'_> {
        self.span.enter()
    }

    /// Reports that the cache is bypassed.
    pub(crate) fn bypassed(&self) {
        let _entered = self.span.enter();
        self.observe(|call| call.computes(CallOutcome::Bypass));
        self.finish(CacheResult::Bypass, None);
        annotate!(
            self,
            "cache.miss",
            "Cache miss",
            attributes::MISS => true,
            attributes::MISS_REASON => BYPASS
        );
    }

    /// Makes this the current span whenever `call` is polled.
    #[cfg(feature = "tokio")]
    pub(crate) fn within<F: Future>(&self, call: F) -> impl Future<Output = F::Output> + use<F> {
        tracing::Instrument::instrument(call, self.span.clone())
    }

    /// Runs `write` in the span of rendering the key.
    pub(crate) fn serialize_key<T>(&self, write: impl FnOnce() -> T) -> T {
        if self.span.is_disabled() {
            return write();
        }
        // The call's span is not entered yet: entering it costs more than naming it.
        tracing::span!(target: TARGET, parent: &self.span, Level::DEBUG, spans::SERIALIZE_KEY).in_scope(write)
    }

    /// Runs `read` in the span of decoding a value.
    pub(crate) fn try_deserialize<T>(&self, read: impl FnOnce() -> T) -> T {
        tracing::span!(target: TARGET, Level::DEBUG, spans::TRY_DESERIALIZE).in_scope(read)
    }

    /// Runs `write` in the span of encoding a value.
    pub(crate) fn serialize_value<T>(&self, write: impl FnOnce() -> T) -> T {
        tracing::span!(target: TARGET, Level::DEBUG, spans::SERIALIZE_VALUE).in_scope(write)
    }

    pub(super) fn observe(&self, note: impl FnOnce(&Observation)) {
        if let Some(observation) = &self.observation {
            note(observation);
        }
    }

    /// Returns the call's record, if it is observed, which the calls of an async body go below.
    #[cfg(feature = "tokio")]
    pub(crate) fn observation(&self) -> Option<Observation> {
        self.observation.clone()
    }

    /// Tells the observer of the call its key, and how the store has it.
    pub(crate) fn at(&self, key: &str, stored_key: &str) {
        self.observe(|call| call.at(key, stored_key));
    }

    /// Tells the observer of the call that its value is stored under another key.
    pub(crate) fn moved_to(&self, stored_key: &str) {
        self.observe(|call| call.moved_to(stored_key));
    }

    /// Tells the observer of the call which node is asked.
    pub(crate) fn asks(&self, node: impl FnOnce() -> Option<String>) {
        self.observe(|call| call.asks(node()));
    }

    /// Records the concrete key, for operators that asked for it.
    pub(crate) fn key(&self, key: &str) {
        self.span.record(attributes::KEY, key);
    }

    /// Records the first bytes of the value, for operators that asked for them.
    pub(crate) fn value(&self, value: &str) {
        if self.tally.is_none() {
            self.span.record(attributes::VALUE, value);
        }
    }

    /// Sets the ttl, which is recorded when the call ends.
    pub(crate) fn ttl(&mut self, ttl: Ttl) {
        self.ttl = Some(ttl);
    }

    /// Reports a hit.
    pub(crate) fn hit(&self, value: FoundValue) {
        self.observe(|call| call.found(CallOutcome::Hit, value));
        self.served(value.size, value.cost);
    }

    /// Reports a hit in the near tier by one of several calls.
    pub(crate) fn near_hit(&self, cost: u64) {
        self.observe(|call| call.found(CallOutcome::NearHit, FoundValue { cost, ..FoundValue::default() }));
        self.served(0, cost);
    }

    fn served(&self, size: usize, cost: u64) {
        self.found(CacheResult::Hit, size);
        self.saved(cost);
        annotate!(self, "cache.hit", "Cache hit", attributes::HIT => true);
    }

    /// Reports that a value past its ttl is served.
    pub(crate) fn stale(&self, value: FoundValue) {
        self.observe(|call| call.found(CallOutcome::Stale, FoundValue { left: None, ..value }));
        self.found(CacheResult::Stale, value.size);
        self.saved(value.cost);
        annotate!(self, "cache.stale", "Cache stale", attributes::STALE => true);
    }

    /// Reports that a value is served which another body is to compute anew, or none for now.
    pub(crate) fn serves(&self, due: &Due) {
        match due.reason {
            MissReason::Refresh => self.hit(due.value),
            MissReason::Absent
            | MissReason::Expired
            | MissReason::Schema
            | MissReason::DecodeError
            | MissReason::Changing
            | MissReason::Unavailable => self.stale(due.value),
        }
    }

    /// Reports that this call refreshes the value it found. The outcome is reported
    /// by [`CallSpan::renewed`] or [`CallSpan::stale_on_error`].
    pub(crate) fn renews(&self, due: &Due) {
        self.observe(|call| call.renews(due.reason, due.value));
        self.missed(due.reason);
    }

    /// Reports that this call has waited for a refresh, which computed for so many
    /// nanoseconds. Its outcome is reported as above.
    #[cfg(feature = "tokio")]
    pub(crate) fn waited_for_refresh(&self, due: &Due, nanos: u64) {
        self.renews(due);
        self.observe(|call| call.computed(nanos));
    }

    /// Reports that a refresh by this call has succeeded.
    pub(crate) fn renewed(&self) {
        self.observe(Observation::renewed);
        self.finish(CacheResult::Miss, None);
    }

    /// Reports that computing failed and a stale value is served instead.
    pub(crate) fn stale_on_error(&self) {
        self.observe(Observation::fell_back);
        self.finish(CacheResult::Stale, None);
        if self.tally.as_ref().is_some_and(|tally| tally.stale_on_error.swap(true, Ordering::Relaxed)) {
            return;
        }
        tracing::event!(
            name: "cache.stale",
            target: TARGET,
            Level::WARN,
            { attributes::CACHE_NAME } = self.stats.name,
            { attributes::STALE } = true,
            { attributes::STALE_REASON } = "error",
            "Cache stale"
        );
    }

    /// Reports that a refresh in the background failed.
    pub(crate) fn refresh_failed(&self) {
        tracing::event!(
            name: "cache.refresh_failed",
            target: TARGET,
            Level::WARN,
            { attributes::CACHE_NAME } = self.stats.name,
            "Cache refresh failed"
        );
    }

    /// Reports a value that another caller computed in the meantime.
    pub(crate) fn coalesced(&self, value: FoundValue) {
        self.observe(|call| call.found(CallOutcome::Coalesced, value));
        self.found(CacheResult::Coalesced, value.size);
        annotate!(self, "cache.coalesced", "Cache coalesced", attributes::COALESCED => true);
    }

    /// Reports a miss.
    pub(crate) fn miss(&self, reason: MissReason) {
        self.observe(|call| call.computes(CallOutcome::Miss(reason)));
        self.finish(reason.result(), None);
        self.missed(reason);
    }

    fn missed(&self, reason: MissReason) {
        self.stats.missed(reason);
        annotate!(
            self,
            "cache.miss",
            "Cache miss",
            attributes::MISS => true,
            attributes::MISS_REASON => reason.as_str()
        );
    }

    /// Adds an event to OpenTelemetry's span of this call; `false` if it has none.
    fn annotated(&self, text: &'static str, with: impl FnOnce() -> Vec<KeyValue>) -> bool {
        // The active span is this call's, which is entered, unless no subscriber wants it.
        !self.span.is_disabled()
            && get_active_span(|span| {
                let is_there = span.span_context().is_valid();
                if is_there {
                    span.add_event(text, with());
                }
                is_there
            })
    }

    /// Reports that the caller gets the cache's error.
    pub(crate) fn propagated(&self) {
        self.miss(MissReason::Unavailable);
        self.observe(Observation::propagated);
    }

    /// Reports that the cache is unavailable and the function computes.
    pub(crate) fn unavailable(&self, error: &Error) {
        if error.kind() == ErrorKind::CircuitOpen {
            self.asks(|| None);
        }
        outage::failed(error);
        annotate!(self, "cache.unavailable", "Cache unavailable", attributes::ERROR_TYPE => error.kind().as_str());
    }

    /// Reports that the stored bytes could not be decoded.
    pub(crate) fn undecodable(&self) {
        tracing::event!(
            name: "cache.undecodable",
            target: TARGET,
            Level::WARN,
            { attributes::CACHE_NAME } = self.stats.name,
            "Cached value could not be decoded"
        );
    }

    /// Reports that a value of this size was stored, which is fresh for this long.
    pub(crate) fn stored(&self, size: usize, fresh: Ttl) {
        self.observe(|call| call.stored(fresh));
        self.site.sized(size);
        if !self.span.is_disabled() && self.tally.is_none() {
            self.span.record(attributes::ITEM_SIZE, signed(size as u64));
        }
    }

    /// Reports that a value could not be stored, and why.
    pub(crate) fn not_stored(&self, reason: &'static str) {
        self.stats.lost(reason);
        tracing::event!(
            name: "cache.not_stored",
            target: TARGET,
            Level::WARN,
            { attributes::CACHE_NAME } = self.stats.name,
            { attributes::NOT_STORED_REASON } = reason,
            "Result not stored"
        );
    }

    /// Reports a value that has no stored form or is too large. It is told once for each
    /// function and kind, since it would be the same for every call.
    pub(crate) fn unstorable(&self, error: &Error) {
        self.stats.lost(error.kind().as_str());
        self.not_stored_on_purpose(error.kind().as_str());
        let told = if error.kind() == ErrorKind::TooLarge { &self.site.too_large } else { &self.site.unstorable };
        self.warn_once(told, format_args!("{} does not store some of its values: {error}", self.stats.name));
    }

    /// Reports once that a batch's body returned results that do not belong to its
    /// elements.
    #[cold]
    pub(crate) fn unmatched(&self) {
        let text = "returned results that do not belong to the elements it was called with; it is called with all of the \
                    caller's elements, and nothing is stored";
        self.warn_once(&self.site.unmatched, format_args!("{} {text}", self.stats.name));
    }

    /// Reports once that `refresh_ahead` covers the whole ttl.
    #[cold]
    pub(crate) fn too_wide(&self, window: Duration, ttl: Ttl) {
        let text = "half of the ttl is used instead";
        let what = format_args!(
            "{}: `refresh_ahead` of {window:?} is not less than the ttl, {ttl:?}; {text}",
            self.stats.name
        );
        self.warn_once(&self.site.too_wide, what);
    }

    /// Reports once that a body has returned another value than the previous one, which it
    /// had said to be unchanged.
    #[cold]
    pub(crate) fn not_unchanged(&self) {
        let text = "called `unchanged` and returned another value, which is stored";
        self.warn_once(&self.site.not_unchanged, format_args!("{} {text}", self.stats.name));
    }

    /// Warns in this call's span, unless that has been told.
    fn warn_once(&self, told: &AtomicBool, what: fmt::Arguments<'_>) {
        if !told.swap(true, Ordering::Relaxed) {
            let _entered = self.span.enter();
            tracing::event!(target: TARGET, Level::WARN, { attributes::CACHE_NAME } = self.stats.name, "{what}");
        }
    }

    /// Reports that storing is left to another call, which has the right to it.
    pub(crate) fn left_to_another(&self) {
        self.not_stored_on_purpose("another call stores");
    }

    /// Reports that a writer is at work, so that what this call has read may be old.
    pub(crate) fn left_to_a_writer(&self) {
        self.not_stored_on_purpose("a writer is at work");
    }

    /// Reports that an argument, such as `store_if`, keeps the value out of the cache.
    pub(crate) fn not_wanted(&self, argument: &'static str) {
        self.not_stored_on_purpose(argument);
    }

    /// Reports a value that is left unstored on purpose, at level DEBUG.
    fn not_stored_on_purpose(&self, reason: &'static str) {
        tracing::event!(
            name: "cache.not_stored",
            target: TARGET,
            Level::DEBUG,
            { attributes::CACHE_NAME } = self.stats.name,
            { attributes::NOT_STORED_REASON } = reason,
            "Result not stored"
        );
    }

    /// Records how many calls are made together.
    pub(crate) fn several(&self, calls: usize) {
        self.observe(|call| call.several(calls));
        self.span.record(attributes::KEYS, signed(calls as u64));
    }

    /// Records how several calls have ended.
    pub(crate) fn tallied(&self) {
        self.observe(Observation::tallied);
        let Some(tally) = self.tally.as_ref().filter(|_| !self.span.is_disabled()) else { return };
        let (hits, misses) = (tally.hits.load(Ordering::Relaxed), tally.misses.load(Ordering::Relaxed));
        let (hit, result) = (misses == 0, if misses == 0 { CacheResult::Hit } else { CacheResult::Miss }.as_str());
        let (hits, misses) = (signed(hits), signed(misses));
        let fields = CallFields {
            hits: Some(&hits),
            misses: Some(&misses),
            hit: Some(&hit),
            result: Some(&result),
            ..CallFields::default()
        };
        self.site.span.record(&self.span, &fields.values());
    }

    fn saved(&self, cost: u64) {
        self.stats.save(cost);
        if let (Some(started), None) = (self.started, &self.tally) {
            self.stats.hits.record(nanos_since(started));
        }
    }

    fn found(&self, result: CacheResult, size: usize) {
        self.site.sized(size);
        self.finish(result, Some(size));
    }

    /// Records all fields at once, because subscribers do their work once per record
    /// and not once per field.
    fn finish(&self, result: CacheResult, size: Option<usize>) {
        self.stats.count(result);
        if !matches!(result, CacheResult::Error | CacheResult::Bypass) {
            outage::answered();
        }
        if let Some(tally) = &self.tally {
            return tally.count(result);
        }
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

impl Tally {
    fn count(&self, result: CacheResult) {
        let count = match result {
            CacheResult::Hit | CacheResult::Stale | CacheResult::Coalesced => &self.hits,
            CacheResult::Miss | CacheResult::Bypass | CacheResult::Error => &self.misses,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Nanoseconds since `start`; 584 years fit.
pub(super) fn nanos_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn number(number: Option<&i64>) -> Option<&dyn Value> {
    number.map(|number| number as &dyn Value)
}

/// Converts a number, since OpenTelemetry has no unsigned integers.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    /// `tracing` needs the texts of events as literals, so only this test ties them to
    /// the public constants.
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
        let mut reported = texts(include_str!("call.rs"));
        assert!(!reported.is_empty());
        let of_servers = texts(include_str!("nodes.rs")).into_iter().filter(|text| text.starts_with("Server "));
        reported.extend(of_servers);
        assert_eq!(reported, texts(names.unwrap_or_default()));
    }
}
