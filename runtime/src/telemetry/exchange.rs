//! The CLIENT span and the metric record of one exchange with a node.

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use tracing::Span;
use tracing::field::Value;

use super::callsite::{NamedSpan, Naming};
use super::metrics::{self, Successes, no_successes};
use super::names::{attributes, targets};
use crate::error::Error;
use crate::exchange::{Outcome, Reply, Verb};
use crate::sync::lock;

const TARGET: &str = targets::CLIENT;

/// In the order in which [`Peer::begin`] gives their values; after the OpenTelemetry
/// semantic conventions for database clients.
const FIELDS: &[&str] = &[
    "otel.kind",
    attributes::DB_SYSTEM,
    attributes::DB_OPERATION,
    attributes::SERVER_ADDRESS,
    attributes::SERVER_PORT,
    attributes::PEER_ADDRESS,
    attributes::DB_KEYS,
    "otel.status_code",
    attributes::ERROR_TYPE,
    attributes::DB_STATUS,
];

/// A node as telemetry knows it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: &'static str,
    pub(crate) port: Option<u16>,
    /// Address and port, as people write it.
    pub(crate) place: String,
    /// Callers who waited for a connection in vain.
    pub(crate) gave_up: AtomicU64,
    pub(crate) successes: Successes,
    spans: Spans,
}

/// All peers ever seen: caches come and go, names of spans stay.
static PEERS: Mutex<Vec<&'static Peer>> = Mutex::new(Vec::new());

impl Peer {
    /// The peer at this address, made on first use.
    pub(crate) fn at(address: &str, port: Option<u16>) -> &'static Peer {
        let mut peers = lock(&PEERS);
        if let Some(known) = peers.iter().find(|peer| peer.address == address && peer.port == port) {
            return known;
        }
        let place = match port {
            Some(port) if address.contains(':') => format!("[{address}]:{port}"),
            Some(port) => format!("{address}:{port}"),
            None => address.to_owned(),
        };
        let address = address.to_owned().leak();
        let (gave_up, successes, spans) = (AtomicU64::new(0), no_successes(), no_spans());
        let peer = Box::leak(Box::new(Peer { address, port, place, gave_up, successes, spans }));
        peers.push(peer);
        peer
    }

    /// All peers so far.
    pub(crate) fn every() -> Vec<&'static Peer> {
        lock(&PEERS).clone()
    }

    /// Begins an exchange; it is told once, however it ends.
    pub(crate) fn begin(&'static self, verb: Verb) -> Exchange {
        Exchange::begin(Some(self), verb, self.open(verb, "client"))
    }

    /// Begins this peer's part in an exchange with several, whose span is the
    /// current one. It is not counted as a call of its own.
    pub(crate) fn take_part(&'static self, verb: Verb) -> Part {
        Part(self.open(verb, "internal"))
    }

    fn open(&self, verb: Verb, kind: &'static str) -> Span {
        let name = || format!("{} {}", verb.as_str(), self.place);
        let port = self.port.map(i64::from);
        named(&self.spans[verb as usize], name).open(&[
            Some(&kind),
            Some(&"memcached"),
            Some(&verb.as_str()),
            Some(&self.address),
            port.as_ref().map(|port| port as &dyn Value),
            None,
            None,
            None,
            None,
            None,
        ])
    }
}

/// The kinds of spans of one peer by verb, made on first use.
type Spans = [OnceLock<&'static NamedSpan>; Verb::ALL.len()];

const fn no_spans() -> Spans {
    [const { OnceLock::new() }; Verb::ALL.len()]
}

/// Spans of exchanges with no node, or with several.
static PLACELESS: Spans = no_spans();

fn named(span: &OnceLock<&'static NamedSpan>, name: impl FnOnce() -> String) -> &'static NamedSpan {
    span.get_or_init(|| NamedSpan::leak(Naming { name: name().leak(), target: TARGET, place: None, fields: FIELDS }))
}

/// One node's part in an exchange with several.
#[derive(Debug)]
#[must_use]
pub(crate) struct Part(pub(crate) Span);

impl Part {
    /// Runs the exchange itself inside the span.
    #[cfg(feature = "tokio")]
    pub(crate) fn within<F: Future>(&self, exchange: F) -> impl Future<Output = F::Output> + use<F> {
        tracing::Instrument::instrument(exchange, self.0.clone())
    }

    /// Tells whether the node answered.
    pub(crate) fn end(self, error: Option<&Error>) {
        if let Some(error) = error {
            failed(&self.0, error.kind().as_str());
        }
    }
}

/// An exchange under way. Dropped before its end (a cancelled future), it is
/// told as cancelled.
#[derive(Debug)]
#[must_use]
pub(crate) struct Exchange {
    peer: Option<&'static Peer>,
    verb: Verb,
    pub(crate) span: Span,
    pub(crate) started: Instant,
    told: bool,
}

impl Exchange {
    /// Begins an exchange with several nodes, or with none because the request
    /// cannot be asked, about this many keys.
    pub(crate) fn with_several(verb: Verb, keys: Option<usize>) -> Self {
        let keys = keys.map(|keys| i64::try_from(keys).unwrap_or(i64::MAX));
        let span = named(&PLACELESS[verb as usize], || verb.as_str().to_owned()).open(&[
            Some(&"client"),
            Some(&"memcached"),
            Some(&verb.as_str()),
            None,
            None,
            None,
            keys.as_ref().map(|keys| keys as &dyn Value),
            None,
            None,
            None,
        ]);
        Exchange::begin(None, verb, span)
    }

    fn begin(peer: Option<&'static Peer>, verb: Verb, span: Span) -> Self {
        Exchange { peer, verb, span, started: Instant::now(), told: false }
    }

    /// Runs the exchange itself inside the span.
    #[cfg(feature = "tokio")]
    pub(crate) fn within<F: Future>(&self, exchange: F) -> impl Future<Output = F::Output> + use<F> {
        tracing::Instrument::instrument(exchange, self.span.clone())
    }

    /// Tells where the node was reached.
    #[cfg(feature = "memcache")]
    pub(crate) fn reached(&self, address: impl FnOnce() -> Option<std::sync::Arc<str>>) {
        if !self.span.is_disabled()
            && let Some(address) = address()
        {
            self.span.record(attributes::PEER_ADDRESS, &*address);
        }
    }

    /// Tells how the exchange ended, and how long it took.
    pub(crate) fn end(mut self, outcome: &Outcome) -> Duration {
        match outcome {
            Ok(reply) => {
                self.span.record(attributes::DB_STATUS, status(reply));
                self.tell(None)
            }
            Err(error) => self.tell(Some(error.kind().as_str())),
        }
    }

    /// Tells how an exchange with several ended: with this error, if any part
    /// of it had one.
    pub(crate) fn end_all(mut self, error: Option<&Error>) -> Duration {
        self.tell(error.map(|error| error.kind().as_str()))
    }

    fn tell(&mut self, error: Option<&'static str>) -> Duration {
        self.told = true;
        if let Some(error) = error {
            failed(&self.span, error);
        }
        let took = self.started.elapsed();
        metrics::exchanged(self.peer, self.verb, error, took);
        took
    }
}

fn failed(span: &Span, error: &'static str) {
    span.record(attributes::ERROR_TYPE, error);
    span.record("otel.status_code", "ERROR");
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.told {
            self.tell(Some(CANCELLED));
        }
    }
}

/// The `error.type` of a future that was dropped before its reply came.
pub(crate) const CANCELLED: &str = "cancelled";

/// The meta protocol's return code for a reply.
fn status(reply: &Reply) -> &'static str {
    match reply {
        Reply::Found(_) | Reply::FoundMany(_) | Reply::Number(_) => "VA",
        Reply::Missing(_) => "EN",
        Reply::Done | Reply::Text(_) | Reply::Counters(_) => "HD",
        Reply::NotStored => "NS",
        Reply::Changed => "EX",
        Reply::Absent => "NF",
    }
}
