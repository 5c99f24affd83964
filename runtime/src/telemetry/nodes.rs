//! The metrics of nodes and their connections, across all clusters of this process,
//! and the events of their outages.
//!
//! The calls to nodes are counted in `calls`.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, Weak};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use tracing::Level;

use super::instruments::record;
use super::names::{attributes, metrics, targets};
use super::peer::Peer;
use crate::error::Error;
use crate::node::observer::{Connections, LeftAlone, Observer};
use crate::sync::lock;

/// A cluster whose nodes are observed.
pub(crate) trait Watched: Send + Sync {
    /// Returns the current state of each node.
    fn nodes(&self) -> Vec<NodeState>;
}

/// A node as one cluster sees it.
pub(crate) struct NodeState {
    pub(crate) peer: &'static Peer,
    /// Whether it gets requests, as opposed to being left alone after failures.
    pub(crate) is_up: bool,
    pub(crate) connections: Connections,
}

static CLUSTERS: Mutex<Vec<Weak<dyn Watched>>> = Mutex::new(Vec::new());

/// Observes the nodes of a cluster for as long as it lives.
pub(crate) fn watch(cluster: Weak<dyn Watched>) {
    let mut clusters = lock(&CLUSTERS);
    clusters.retain(|cluster| cluster.strong_count() > 0);
    clusters.push(cluster);
}

fn every() -> Vec<NodeState> {
    let clusters: Vec<_> = lock(&CLUSTERS).iter().filter_map(Weak::upgrade).collect();
    clusters.iter().flat_map(|cluster| cluster.nodes()).collect()
}

/// Returns one state for each node. A node of several clusters is up only if it is
/// up for all of them.
fn by_name() -> BTreeMap<&'static str, NodeState> {
    let mut nodes: BTreeMap<&'static str, NodeState> = BTreeMap::new();
    for node in every() {
        match nodes.get_mut(node.peer.name.as_str()) {
            Some(known) => {
                known.is_up &= node.is_up;
                known.connections = known.connections + node.connections;
            }
            None => {
                nodes.insert(&node.peer.name, node);
            }
        }
    }
    nodes
}

impl Observer for Peer {
    fn waited(&self, took: Duration) {
        record(|instruments| instruments.connection_wait.record(took.as_secs_f64(), &[pool(&self.name)]));
    }

    fn gave_up(&self) {
        self.gave_up.fetch_add(1, Ordering::Relaxed);
    }

    fn opened(&self, took: Duration) {
        record(|instruments| instruments.connection_create.record(took.as_secs_f64(), &[pool(&self.name)]));
    }

    fn left_alone(&self, outage: &LeftAlone<'_>) {
        tracing::event!(
            target: targets::CLIENT,
            Level::WARN,
            server.address = self.address,
            server.port = self.port.map(i64::from),
            db.operation.name = outage.verb.as_str(),
            error.type = outage.error.kind().as_str(),
            error.message = causes(outage.error),
            next_look = format!("in {:.1?}", outage.pause),
            "Server left alone"
        );
    }
}

impl Peer {
    /// Announces that the node is asked again.
    pub(crate) fn announce_back(&self) {
        tracing::event!(
            target: targets::CLIENT,
            Level::INFO,
            server.address = self.address,
            server.port = self.port.map(i64::from),
            "Server asked again"
        );
    }
}

/// Returns what an error says, and all its causes; some of that may come from the server.
fn causes(error: &Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn StdError), |error| (*error).source());
    let causes: Vec<_> = causes.map(ToString::to_string).collect();
    causes.join(": ").replace(char::is_control, " ")
}

fn pool(name: &str) -> KeyValue {
    KeyValue::new(attributes::POOL_NAME, name.to_owned())
}

/// Exposes nodes and connections to this meter.
pub(super) fn observe(meter: &Meter) {
    observe_nodes(meter);
    observe_connections(meter);
}

fn observe_nodes(meter: &Meter) {
    meter
        .u64_observable_gauge(metrics::RING_NODES)
        .with_unit("{node}")
        .with_description("memcached nodes by state")
        .with_callback(|observer| {
            let (up, down): (Vec<_>, Vec<_>) = every().into_iter().partition(|node| node.is_up);
            observer.observe(up.len() as u64, &[KeyValue::new(attributes::STATE, "up")]);
            observer.observe(down.len() as u64, &[KeyValue::new(attributes::STATE, "down")]);
        })
        .build();
    meter
        .u64_observable_gauge(metrics::NODE_UP)
        .with_description("Whether a memcached node is asked (1), or left alone because it failed (0)")
        .with_callback(|observer| {
            for NodeState { peer, is_up, .. } in by_name().into_values() {
                observer.observe(u64::from(is_up), &peer.attributes());
            }
        })
        .build();
}

fn observe_connections(meter: &Meter) {
    meter
        .i64_observable_up_down_counter(metrics::CONNECTION_COUNT)
        .with_unit("{connection}")
        .with_description("Connections to a memcached node, by state")
        .with_callback(|observer| {
            for (name, NodeState { connections: Connections { idle, used }, .. }) in by_name() {
                for (state, count) in [("idle", idle), ("used", used)] {
                    let state = KeyValue::new(attributes::CONNECTION_STATE, state);
                    observer.observe(i64::try_from(count).unwrap_or(i64::MAX), &[pool(name), state]);
                }
            }
        })
        .build();
    meter
        .u64_observable_counter(metrics::CONNECTION_TIMEOUTS)
        .with_unit("{timeout}")
        .with_description("Callers that waited for a connection in vain")
        .with_callback(|observer| {
            let in_use = by_name();
            for peer in Peer::every() {
                let count = peer.gave_up.load(Ordering::Relaxed);
                // A node in use is shown from zero on, so that rates have a starting point.
                if count > 0 || in_use.contains_key(peer.name.as_str()) {
                    observer.observe(count, &[pool(&peer.name)]);
                }
            }
        })
        .build();
}
