//! The nodes and the ring over them: which node a key belongs to, and one
//! exchange with it.
//!
//! A node that fails keeps its keys: they are computed until it is back, so
//! that no other node collects values nobody invalidates.

use std::sync::{Arc, Weak};

use crate::budget::Budget;
use crate::exchange::{Outcome, Request};
use crate::key::prefix;
use crate::node::Node;
use crate::ring::{Distribution, Ring};
use crate::server::Server;
use crate::telemetry::client::Peer;
use crate::telemetry::metrics::{self, Health};

/// Several nodes, or one.
pub(crate) struct Cluster {
    nodes: Vec<(Node, &'static Peer)>,
    ring: Ring,
    /// The namespace as keys have it in front.
    prefix: String,
}

impl Cluster {
    /// Connects to nothing yet.
    pub(crate) fn new(servers: &[Server], distribution: Distribution, namespace: &str, pool_size: usize) -> Arc<Self> {
        let node = |server: &Server| (Node::new(server.clone(), pool_size), Peer::at(server.host(), server.port()));
        let ring = Ring::new(distribution, servers.iter().enumerate());
        let cluster =
            Arc::new(Cluster { nodes: servers.iter().map(node).collect(), ring, prefix: prefix(namespace).concat() });
        let weak = Arc::downgrade(&cluster);
        metrics::watch(weak as Weak<dyn Health>);
        cluster
    }

    pub(crate) fn ask(&self, request: &Request<'_>, budget: &Budget) -> Outcome {
        let (node, peer) = self.place(request.key());
        let exchange = peer.begin(request.verb());
        let outcome = exchange.span.in_scope(|| node.ask(request, budget.deadline()));
        budget.spend(exchange.end(&outcome));
        outcome
    }

    #[cfg(feature = "tokio")]
    pub(crate) async fn ask_async(&self, request: &Request<'_>, budget: &Budget) -> Outcome {
        let (node, peer) = self.place(request.key());
        let exchange = peer.begin(request.verb());
        let outcome = exchange.within(node.ask_async(request, budget.deadline())).await;
        budget.spend(exchange.end(&outcome));
        outcome
    }

    fn place(&self, key: &str) -> (&Node, &'static Peer) {
        // libmemcached and pymemcache do not hash their key prefixes either.
        let hashed = key.strip_prefix(&self.prefix).unwrap_or(key);
        let (node, peer) = &self.nodes[self.ring.place(hashed.as_bytes())];
        (node, peer)
    }
}

impl Health for Cluster {
    fn up_and_down(&self) -> (u64, u64) {
        let up = self.nodes.iter().filter(|(node, _)| node.is_up()).count();
        (up as u64, (self.nodes.len() - up) as u64)
    }
}
