//! The CLIENT span and the metric record of one exchange with a node.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use tracing::Span;
use tracing::field::Value;

use super::callsite::{NamedSpan, Naming};
use super::metrics;
use crate::error::Error;
use crate::exchange::{Outcome, Reply, Verb};
use crate::sync::lock;

const TARGET: &str = "memocached::client";

/// In the order in which [`Peer::begin`] gives their values; after the OpenTelemetry
/// semantic conventions for database clients.
const FIELDS: &[&str] = &[
    "otel.kind",
    "db.system.name",
    "db.operation.name",
    "server.address",
    "server.port",
    "otel.status_code",
    "error.type",
    "db.response.status_code",
];

/// A node as telemetry knows it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: &'static str,
    pub(crate) port: Option<u16>,
    spans: [&'static NamedSpan; Verb::ALL.len()],
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
        let spans = Verb::ALL.map(|verb| {
            let name = format!("{} {place}", verb.as_str()).leak();
            NamedSpan::leak(Naming { name, target: TARGET, place: None, fields: FIELDS })
        });
        let peer = Box::leak(Box::new(Peer { address: address.to_owned().leak(), port, spans }));
        peers.push(peer);
        peer
    }

    /// Begins an exchange; it is told once, however it ends.
    pub(crate) fn begin(&'static self, verb: Verb) -> Exchange {
        let port = self.port.map(i64::from);
        let span = self.spans[verb as usize].open(&[
            Some(&"client"),
            Some(&"memcached"),
            Some(&verb.as_str()),
            Some(&self.address),
            port.as_ref().map(|port| port as &dyn Value),
            None,
            None,
            None,
        ]);
        Exchange { peer: self, verb, span, started: Instant::now(), told: false }
    }
}

/// An exchange under way. Dropped before its end (a cancelled future), it is
/// told as cancelled.
#[derive(Debug)]
#[must_use]
pub(crate) struct Exchange {
    peer: &'static Peer,
    verb: Verb,
    pub(crate) span: Span,
    started: Instant,
    told: bool,
}

impl Exchange {
    /// Runs the exchange itself inside the span.
    #[cfg(feature = "tokio")]
    pub(crate) fn within<F: Future>(&self, exchange: F) -> impl Future<Output = F::Output> + use<F> {
        tracing::Instrument::instrument(exchange, self.span.clone())
    }

    /// Tells how the exchange ended, and how long it took.
    pub(crate) fn end(mut self, outcome: &Outcome) -> Duration {
        match outcome {
            Ok(reply) => {
                self.span.record("db.response.status_code", status(reply));
                self.tell(None);
            }
            Err(error) => self.tell(Some(error_type(error))),
        }
        self.started.elapsed()
    }

    fn tell(&mut self, error: Option<&'static str>) {
        self.told = true;
        if let Some(error) = error {
            self.span.record("error.type", error);
            self.span.record("otel.status_code", "ERROR");
        }
        metrics::exchanged(self.peer, self.verb, error, self.started.elapsed());
    }
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

fn error_type(error: &Error) -> &'static str {
    error.kind().as_str()
}

/// The meta protocol's return code for a reply.
fn status(reply: &Reply) -> &'static str {
    match reply {
        Reply::Found(_) => "VA",
        Reply::Missing { .. } => "EN",
        Reply::Done => "HD",
        Reply::Changed => "EX",
        Reply::Absent => "NF",
    }
}
