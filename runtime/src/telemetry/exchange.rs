//! The CLIENT span and the metric record of one exchange with a node.
//!
//! Counting and recording are left to `calls`.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tracing::Span;
use tracing::field::Value;

use super::calls::{self, Failure, Successes};
use super::callsite::{NamedSpans, Naming, fields};
use super::names::{attributes, targets};
use super::peer::Peer;
use crate::error::{Error, ErrorKind};
use crate::exchange::{Outcome, Verb};

fields! {
    /// The fields of a CLIENT span, after OpenTelemetry's semantic conventions
    /// for database clients.
    struct ExchangeFields {
        kind => "otel.kind",
        system => attributes::DB_SYSTEM,
        operation => attributes::DB_OPERATION,
        server_address => attributes::SERVER_ADDRESS,
        server_port => attributes::SERVER_PORT,
        peer_address => attributes::PEER_ADDRESS,
        keys => attributes::DB_KEYS,
        status => OTEL_STATUS,
        error => attributes::ERROR_TYPE,
        response => attributes::DB_STATUS,
    }
}

const OTEL_STATUS: &str = "otel.status_code";

/// The spans of exchanges with no node, or with several.
static SPANS: NamedSpans = NamedSpans::none();

/// The series of exchanges with no node, or with several.
static SUCCESSES: Successes = Successes::none();

thread_local! {
    /// Whether this thread's exchanges have no spans.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, whose exchanges have no spans: they belong to no call, and would
/// be traces of their own. Metrics count them.
pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> T {
    struct Restored(bool);
    impl Drop for Restored {
        fn drop(&mut self) {
            IS_QUIET.set(self.0);
        }
    }
    let _restored = Restored(IS_QUIET.replace(true));
    work()
}

impl Peer {
    /// Begins an exchange, which is reported exactly once, however it ends.
    pub(crate) fn begin(&'static self, verb: Verb) -> Exchange {
        Exchange::begin(Some(self), verb, self.open(verb, "client", None))
    }

    /// Begins an exchange about this many keys of the node.
    pub(crate) fn begin_several(&'static self, verb: Verb, keys: usize) -> Exchange {
        Exchange::begin(Some(self), verb, self.open(verb, "client", Some(keys)))
    }

    /// Begins this node's part of an exchange with several nodes.
    #[cfg(feature = "servers")]
    pub(crate) fn take_part(&'static self, verb: Verb, telling: Telling, keys: usize) -> NodeSpan {
        match telling {
            Telling::Parts => NodeSpan { span: self.open(verb, "internal", None), whole: None },
            Telling::Exchanges => {
                let exchange = self.begin_several(verb, keys);
                NodeSpan { span: exchange.span.clone(), whole: Some(exchange) }
            }
        }
    }

    fn open(&self, verb: Verb, kind: &'static str, keys: Option<usize>) -> Span {
        if IS_QUIET.get() {
            return Span::none();
        }
        let port = self.port.map(i64::from);
        let keys = keys.map(signed);
        let fields = ExchangeFields {
            kind: Some(&kind),
            system: Some(&"memcached"),
            operation: Some(&verb.as_str()),
            server_address: Some(&self.address),
            server_port: port.as_ref().map(|port| port as &dyn Value),
            keys: keys.as_ref().map(|keys| keys as &dyn Value),
            ..ExchangeFields::default()
        };
        let name = || format!("{} {}", verb.as_str(), self.name);
        self.spans.get(verb, || naming(name())).open(&fields.values())
    }
}

fn naming(name: String) -> Naming {
    Naming { name: name.leak(), target: targets::CLIENT, location: None, fields: ExchangeFields::NAMES }
}

/// How an exchange with several nodes is told.
#[cfg(feature = "servers")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    /// As one, whose span is the current one. A node's part is not counted as a call
    /// of its own.
    Parts,
    /// As one with each node.
    Exchanges,
}

/// The span of one node's part in an exchange with several.
#[cfg(feature = "servers")]
#[derive(Debug)]
#[must_use]
pub(crate) struct NodeSpan {
    pub(crate) span: Span,
    /// The exchange, where the node's part is one.
    whole: Option<Exchange>,
}

#[cfg(feature = "servers")]
impl NodeSpan {
    /// Runs the exchange itself inside the span.
    #[cfg(feature = "tokio")]
    pub(crate) fn within<F: Future>(&self, exchange: F) -> impl Future<Output = F::Output> + use<F> {
        tracing::Instrument::instrument(exchange, self.span.clone())
    }

    /// Ends the part, and records the error if there was one.
    pub(crate) fn end(self, error: Option<&Error>) {
        match (self.whole, error) {
            (Some(exchange), error) => drop(exchange.end_all(error)),
            (None, Some(error)) => failed(&self.span, Failure::Error(error.kind())),
            (None, None) => {}
        }
    }
}

/// An exchange in progress. If it is dropped before its end, as a cancelled future
/// is, it is reported as cancelled.
#[derive(Debug)]
#[must_use]
pub(crate) struct Exchange {
    peer: Option<&'static Peer>,
    verb: Verb,
    pub(crate) span: Span,
    pub(crate) started: Instant,
    is_reported: bool,
}

impl Exchange {
    /// Begins an exchange about this many keys with several nodes, or with none
    /// because the request cannot be sent.
    pub(crate) fn with_several(verb: Verb, keys: Option<usize>) -> Self {
        let keys = keys.map(signed);
        let fields = ExchangeFields {
            kind: Some(&"client"),
            system: Some(&"memcached"),
            operation: Some(&verb.as_str()),
            keys: keys.as_ref().map(|keys| keys as &dyn Value),
            ..ExchangeFields::default()
        };
        let open = || SPANS.get(verb, || naming(verb.as_str().to_owned())).open(&fields.values());
        Exchange::begin(None, verb, if IS_QUIET.get() { Span::none() } else { open() })
    }

    fn begin(peer: Option<&'static Peer>, verb: Verb, span: Span) -> Self {
        Exchange { peer, verb, span, started: Instant::now(), is_reported: false }
    }

    /// Runs the exchange itself inside the span.
    #[cfg(all(feature = "servers", feature = "tokio"))]
    pub(crate) fn within<F: Future>(&self, exchange: F) -> impl Future<Output = F::Output> + use<F> {
        tracing::Instrument::instrument(exchange, self.span.clone())
    }

    /// Records the address at which the node was reached.
    #[cfg(feature = "servers")]
    pub(crate) fn reached(&self, address: impl FnOnce() -> Option<std::sync::Arc<str>>) {
        if !self.span.is_disabled()
            && let Some(address) = address()
        {
            self.span.record(attributes::PEER_ADDRESS, &*address);
        }
    }

    /// Reports how the exchange ended, and returns how long it took.
    pub(crate) fn end(self, outcome: &Outcome) -> Duration {
        self.end_all(outcome.as_ref().err())
    }

    /// Reports how an exchange with several nodes ended: with this error, if any
    /// part of it had one. Returns how long it took.
    pub(crate) fn end_all(mut self, error: Option<&Error>) -> Duration {
        self.report(error.map(|error| Failure::Error(error.kind())))
    }

    fn report(&mut self, failure: Option<Failure>) -> Duration {
        self.is_reported = true;
        if let Some(failure) = failure {
            failed(&self.span, failure);
        }
        let took = self.started.elapsed();
        let successes = self.peer.map_or(&SUCCESSES, |peer| &peer.successes);
        calls::ended(successes, self.verb, failure, took, || self.peer.map(Peer::attributes).unwrap_or_default());
        took
    }
}

/// Converts a number, since OpenTelemetry has no unsigned integers.
fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn failed(span: &Span, failure: Failure) {
    span.record(attributes::ERROR_TYPE, failure.as_str());
    if let Some(status) = status(failure) {
        span.record(attributes::DB_STATUS, status);
    }
    span.record(OTEL_STATUS, "ERROR");
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.is_reported {
            self.report(Some(Failure::Cancelled));
        }
    }
}

/// Returns the word of a reply that reports a failure; most failures come without
/// one.
fn status(failure: Failure) -> Option<&'static str> {
    match failure {
        Failure::Error(ErrorKind::Server) => Some("SERVER_ERROR"),
        Failure::Error(ErrorKind::NotANumber) => Some("CLIENT_ERROR"),
        _ => None,
    }
}
