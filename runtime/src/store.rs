//! Where values are: the embedded store, or a cluster of nodes.
//!
//! Each request is one exchange with one of them, told by one CLIENT span.

use crate::budget::Budget;
use crate::embedded::Embedded;
use crate::exchange::{Outcome, Request};
use crate::telemetry::client::Peer;

#[cfg(feature = "memcache")]
use crate::cluster::Cluster;

/// The one store of a cache.
pub(crate) enum Store {
    Embedded(Box<Embedded>, &'static Peer),
    #[cfg(feature = "memcache")]
    Cluster(std::sync::Arc<Cluster>),
}

impl Store {
    pub(crate) fn embedded(store: Embedded) -> Self {
        Store::Embedded(Box::new(store), Peer::at("embedded", None))
    }

    pub(crate) fn ask(&self, request: &Request<'_>, budget: &Budget) -> Outcome {
        match self {
            Store::Embedded(store, peer) => {
                let exchange = peer.begin(request.verb());
                let outcome = exchange.span.in_scope(|| store.ask(request));
                budget.spend(exchange.end(&outcome));
                outcome
            }
            #[cfg(feature = "memcache")]
            Store::Cluster(cluster) => cluster.ask(request, budget),
        }
    }

    #[cfg(feature = "tokio")]
    pub(crate) async fn ask_async(&self, request: &Request<'_>, budget: &Budget) -> Outcome {
        match self {
            // Nothing to wait for.
            Store::Embedded(..) => self.ask(request, budget),
            #[cfg(feature = "memcache")]
            Store::Cluster(cluster) => cluster.ask_async(request, budget).await,
        }
    }
}
