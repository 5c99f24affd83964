//! What telemetry keeps for one annotated function.
//!
//! The spans of its calls are in `call`.

use std::sync::atomic::AtomicBool;

use opentelemetry::KeyValue;
#[cfg(feature = "tokio")]
use tracing::Level;
use tracing::field::Value;

use super::callsite::{NamedSpan, Naming, fields};
use super::names::{attributes, targets};
use super::observed::CallOutcome;
use super::observing::{FoundValue, Observation};
use super::series::{Kept, Series};
use super::stats::{CacheResult, Stats};

pub(super) const TARGET: &str = targets::MEMO;

fields! {
    /// The fields of a call's span.
    struct CallFields {
        name => attributes::CACHE_NAME,
        template => attributes::KEY_TEMPLATE,
        key => attributes::KEY,
        keys => attributes::KEYS,
        hits => attributes::HITS,
        misses => attributes::MISSES,
        hit => attributes::HIT,
        result => attributes::RESULT,
        ttl => attributes::TTL,
        size => attributes::ITEM_SIZE,
        value => attributes::VALUE,
    }
}

/// The telemetry of one site.
#[derive(Debug)]
pub(crate) struct SiteTelemetry {
    pub(super) span: &'static NamedSpan,
    pub(super) template: &'static str,
    pub(super) computations: Kept<Series<f64>>,
    pub(super) sizes: Kept<Series<u64>>,
    pub(crate) stats: &'static Stats,
    /// Whether it has been told that a value has no stored form.
    pub(super) unstorable: AtomicBool,
    pub(super) too_large: AtomicBool,
    /// Whether it has been told that a batch's results do not belong to its elements.
    pub(super) unmatched: AtomicBool,
    /// Whether it has been told that `refresh_ahead` covers the whole ttl.
    pub(super) too_wide: AtomicBool,
    /// Whether it has been told that a body called `unchanged` and returned another value.
    pub(super) not_unchanged: AtomicBool,
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
        SiteTelemetry {
            span,
            template,
            computations: Kept::none(),
            sizes: Kept::none(),
            stats: Stats::of(name),
            unstorable: AtomicBool::new(false),
            too_large: AtomicBool::new(false),
            unmatched: AtomicBool::new(false),
            too_wide: AtomicBool::new(false),
            not_unchanged: AtomicBool::new(false),
        }
    }

    /// Reports that the function is not refreshed in the background any more.
    #[cfg(feature = "tokio")]
    pub(crate) fn panics_in_background(&self) {
        tracing::event!(
            target: TARGET,
            Level::WARN,
            { attributes::CACHE_NAME } = self.stats.name,
            "{} panicked twice in the background; from now on calls that find its value stale compute it themselves",
            self.stats.name
        );
    }

    /// Begins the record of a call, if it is observed. It comes before the call's span,
    /// or in its place.
    #[inline]
    pub(crate) fn observe(&self) -> Option<Observation> {
        Observation::begin(self.stats.name, self.template, None)
    }

    /// Records the size of a stored value.
    pub(super) fn sized(&self, size: usize) {
        self.sizes.with(
            |instruments| Series::of(&instruments.size, named(self.stats.name)),
            |series| series.record(size as u64),
        );
    }

    /// Counts a hit in the near tier, which opens no span. The value took `cost`
    /// nanoseconds to compute.
    pub(crate) fn near_hit(&self, cost: u64, observation: Option<&Observation>) {
        self.stats.count(CacheResult::Hit);
        self.stats.save(cost);
        if let Some(observation) = observation {
            observation.found(CallOutcome::NearHit, FoundValue { cost, ..FoundValue::default() });
        }
    }
}

pub(super) fn named(name: &'static str) -> Vec<KeyValue> {
    vec![KeyValue::new(attributes::CACHE_NAME, name)]
}
