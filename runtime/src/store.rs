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

    /// Whether there is anything to wait for.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_remote(&self) -> bool {
        !matches!(self, Store::Embedded(..))
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

#[cfg(all(test, feature = "memcache"))]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::Clock;
    use crate::exchange::{Guard, Reply, Ttl};

    /// A request whose guard is the number that the last lookup got.
    #[derive(Clone, Debug)]
    enum Step {
        Lookup,
        Peek,
        Store { value: Vec<u8>, guarded: bool },
        Delete { guarded: bool },
    }

    fn step() -> impl Strategy<Value = (Step, u8)> {
        let value = prop::collection::vec(any::<u8>(), 1..20);
        let step = prop_oneof![
            3 => Just(Step::Lookup),
            1 => Just(Step::Peek),
            2 => (value, any::<bool>()).prop_map(|(value, guarded)| Step::Store { value, guarded }),
            1 => any::<bool>().prop_map(|guarded| Step::Delete { guarded }),
        ];
        (step, 0..2_u8)
    }

    /// Runs the steps; the replies without their numbers, which each store
    /// chooses for itself.
    fn replies(store: &Store, run: u32, steps: &[(Step, u8)]) -> Vec<String> {
        let budget = Budget::new(Duration::from_secs(20), Duration::from_secs(20));
        let mut seen = [0; 2];
        let mut replies = Vec::new();
        for (step, key) in steps {
            let name = format!("{run}:{key}");
            let seen = &mut seen[usize::from(*key)];
            let guard = |guarded| if guarded { Guard::Unchanged(*seen) } else { Guard::None };
            let request = match step {
                Step::Lookup => Request::Lookup { key: &name, lease: Duration::from_secs(60) },
                Step::Peek => Request::Peek { key: &name },
                Step::Store { value, guarded } => {
                    Request::Store { key: &name, value, flags: 7, ttl: Ttl::Forever, guard: guard(*guarded) }
                }
                Step::Delete { guarded } => Request::Delete { key: &name, guard: guard(*guarded) },
            };
            let mut reply = store.ask(&request, &budget).expect("a reply");
            match &mut reply {
                Reply::Found(item) => *seen = std::mem::take(&mut item.cas),
                Reply::Missing { won: Some(number) } => *seen = std::mem::take(number),
                _ => {}
            }
            replies.push(format!("{step:?} {reply:?}"));
        }
        replies
    }

    #[test]
    fn the_embedded_store_answers_as_memcached_does() {
        let server = crate::memcached::Memcached::start();
        let servers = crate::server::Server::list(&server.address()).unwrap();
        let real = Store::Cluster(Cluster::new(&servers, crate::ring::Distribution::default(), "", 1));
        let embedded = Store::embedded(Embedded::new(1 << 20, Clock::system()));
        let run = std::cell::Cell::new(0);
        proptest!(|(steps in prop::collection::vec(step(), 1..40))| {
            run.set(run.get() + 1);
            prop_assert_eq!(replies(&real, run.get(), &steps), replies(&embedded, run.get(), &steps));
        });
    }
}
