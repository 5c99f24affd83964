//! The spans within a call: of the function's body, and of waiting for another.

use std::time::{Duration, Instant};

use tracing::span::EnteredSpan;
use tracing::{Level, Span};

use super::call::{CallSpan, nanos_since, signed};
use super::names::{attributes, spans};
use super::observing::{Observation, RecordingIn};
use super::series::Series;
use super::site::{TARGET, named};

/// The span of a call that waits.
#[derive(Clone, Debug)]
pub(crate) struct Wait(Span);

impl Wait {
    /// Returns a span that is disabled.
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

/// The function's own body while it runs. If it panics, dropping this guard closes
/// its span.
pub(crate) struct Computing<'a> {
    call: &'a CallSpan,
    started: Instant,
    span: EnteredSpan,
    /// Records the calls that the body makes, if the call is observed.
    _calls: Option<RecordingIn>,
}

impl Computing<'_> {
    /// Closes the span of a body that has returned, and returns its cost in
    /// nanoseconds.
    pub(crate) fn end(self) -> u64 {
        let _span = self.span.exit();
        self.call.computed(self.started)
    }
}

impl CallSpan {
    /// Opens the span of waiting for another call.
    pub(crate) fn wait(&self) -> Wait {
        if self.span.is_disabled() {
            return Wait::none();
        }
        Wait(tracing::span!(target: TARGET, parent: &self.span, Level::INFO, spans::WAIT))
    }

    /// Opens the span of waiting until the function's body may run.
    pub(crate) fn wait_for_place(&self) -> Wait {
        if self.span.is_disabled() {
            return Wait::none();
        }
        Wait(tracing::span!(target: TARGET, parent: &self.span, Level::INFO, spans::WAIT_FOR_PLACE))
    }

    /// Opens the span of the function's own body, and times it.
    pub(crate) fn computing(&self) -> Computing<'_> {
        self.computing_in(compute_span())
    }

    /// Opens the span of a body that computes this many values, and times it.
    pub(crate) fn computing_several(&self, values: usize) -> Computing<'_> {
        self.computing_in(compute_span_of(values))
    }

    fn computing_in(&self, span: Span) -> Computing<'_> {
        let calls = self.observation.as_ref().map(Observation::enter);
        Computing { call: self, started: Instant::now(), span: span.entered(), _calls: calls }
    }

    /// Runs an async body in a span of its own. It is told how many values the body
    /// computes, if that may be several. No further function is around the body:
    /// recursion pays for each.
    #[cfg(feature = "tokio")]
    pub(crate) fn compute_async<F: Future>(
        &self,
        values: Option<usize>,
        body: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        tracing::Instrument::instrument(body, values.map_or_else(compute_span, compute_span_of))
    }

    /// Records a computation that began then, and returns its cost in nanoseconds.
    pub(crate) fn computed(&self, started: Instant) -> u64 {
        let nanos = nanos_since(started);
        self.stats.computed(nanos);
        self.observe(|call| call.computed(nanos));
        self.site.computations.with(
            |instruments| Series::of(&instruments.compute, named(self.stats.name)),
            |series| series.record(Duration::from_nanos(nanos).as_secs_f64()),
        );
        nanos
    }
}

fn compute_span() -> Span {
    tracing::span!(target: TARGET, Level::INFO, spans::COMPUTE)
}

fn compute_span_of(values: usize) -> Span {
    tracing::span!(target: TARGET, Level::INFO, spans::COMPUTE, { attributes::KEYS } = signed(values as u64))
}
