//! What keeps the values: the embedded store, or a cluster of nodes.
//!
//! Each request is one exchange with one of them, told by one CLIENT span. What
//! the values mean is for others to know.

pub(crate) mod embedded;
#[cfg(feature = "testing")]
pub(crate) mod faults;
pub(crate) mod spread;

use std::time::Instant;

#[cfg(feature = "servers")]
use crate::error::{Error, ErrorKind};
use crate::exchange::{NodeBatch, Outcome, Request, Verb};
use crate::store::embedded::Embedded;
#[cfg(feature = "testing")]
use crate::store::faults::Faults;
use crate::store::spread::{At, Placement, Spread};
use crate::telemetry::exchange::Exchange;
#[cfg(feature = "servers")]
use crate::telemetry::exchange::Telling;
use crate::telemetry::peer::Peer;
use crate::time::budget::Budget;
#[cfg(all(feature = "servers", feature = "tokio"))]
use crate::time::patience::in_real_time;

#[cfg(feature = "servers")]
use crate::cluster::Cluster;
#[cfg(feature = "servers")]
use crate::cluster::members::Member;
#[cfg(feature = "servers")]
use crate::server::Server;

/// The one store of a cache.
pub(crate) enum Store {
    Embedded(Box<Embedded>, &'static Peer),
    #[cfg(feature = "servers")]
    Cluster(std::sync::Arc<Cluster>),
}

impl Store {
    /// Creates the store in this process.
    pub(crate) fn embedded(store: Embedded) -> Self {
        Store::Embedded(Box::new(store), Peer::at("embedded", None))
    }

    /// Returns what tests make the embedded store do wrong; `None` for a cluster.
    #[cfg(feature = "testing")]
    #[cfg_attr(not(feature = "servers"), allow(clippy::unnecessary_wraps, reason = "there is only this store"))]
    pub(crate) fn faults(&self) -> Option<Faults> {
        match self {
            Store::Embedded(store, _) => Some(store.faults.clone()),
            #[cfg(feature = "servers")]
            Store::Cluster(_) => None,
        }
    }

    /// Whether there is anything to wait for.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_remote(&self) -> bool {
        match self {
            #[cfg(all(test, feature = "tokio"))]
            Store::Embedded(store, _) => store.network.is_slow(),
            #[cfg(not(all(test, feature = "tokio")))]
            Store::Embedded(..) => false,
            #[cfg(feature = "servers")]
            Store::Cluster(_) => true,
        }
    }

    /// Sends one request and reads its reply, told under the verb of the call
    /// that makes it.
    pub(crate) fn ask(&self, verb: Verb, request: &Request<'_>, budget: &Budget) -> Outcome {
        match self {
            Store::Embedded(store, peer) => {
                let exchange = peer.begin(verb);
                let outcome = exchange.span.in_scope(|| run_one(store, request, budget));
                budget.spend(exchange.end(&outcome));
                outcome
            }
            #[cfg(feature = "servers")]
            Store::Cluster(cluster) => cluster.ask(verb, request, budget),
        }
    }

    /// Does the same for an async caller.
    #[cfg(feature = "tokio")]
    pub(crate) async fn ask_async(&self, verb: Verb, request: &Request<'_>, budget: &Budget) -> Outcome {
        match self {
            #[cfg(all(test, feature = "tokio"))]
            Store::Embedded(store, _) => {
                let ask = |request: &Request<'_>| self.ask(verb, request, budget);
                let mut outcomes = store.network.carry(&[*request], ask).await;
                outcomes.pop().unwrap_or_else(|| Err(crate::exchange::unanswered()))
            }
            // Nothing to wait for.
            #[cfg(not(all(test, feature = "tokio")))]
            Store::Embedded(..) => self.ask(verb, request, budget),
            #[cfg(feature = "servers")]
            Store::Cluster(cluster) => in_real_time(cluster.ask_async(verb, request, budget)).await,
        }
    }
}

impl Store {
    /// Returns the nodes that keys belong to now.
    pub(crate) fn placement(&self) -> Placement {
        match self {
            Store::Embedded(..) => Placement::One,
            #[cfg(feature = "servers")]
            Store::Cluster(cluster) => Placement::Among(cluster.members()),
        }
    }

    /// Returns whether the node of a key tells how long items are kept.
    pub(crate) fn tells_time(&self, key: &str) -> bool {
        match self {
            Store::Embedded(..) => true,
            #[cfg(feature = "servers")]
            Store::Cluster(cluster) => cluster.tells_time(key),
        }
    }

    /// Whether the node of a key has been left alone since then.
    pub(crate) fn is_out_since(&self, key: &str, then: Instant) -> bool {
        match self {
            Store::Embedded(..) => false,
            #[cfg(feature = "servers")]
            Store::Cluster(cluster) => cluster.is_out_since(key, then),
        }
    }

    /// Addresses one request to every node, with the nodes' names.
    pub(crate) fn everyone<'a>(&self, request: &Request<'a>) -> Vec<(String, NodeBatch<'a>)> {
        let batch = |node| NodeBatch { node, requests: vec![*request] };
        match self {
            Store::Embedded(_, peer) => vec![(peer.address.to_owned(), batch(0))],
            #[cfg(feature = "servers")]
            Store::Cluster(cluster) => {
                let named = |(node, member): (_, &std::sync::Arc<Member>)| {
                    (member.node.endpoint.server.to_string(), batch(node))
                };
                cluster.members().all().map(named).collect()
            }
        }
    }

    /// Returns the numbers and names of all nodes.
    pub(crate) fn numbered(&self) -> Vec<(usize, String)> {
        let named = |(name, batch): (String, NodeBatch<'_>)| (batch.node, name);
        self.everyone(&Request::Version).into_iter().map(named).collect()
    }

    /// Returns the nodes' names, and whether each is up.
    pub(crate) fn nodes(&self) -> Vec<(String, bool)> {
        match self {
            #[cfg(feature = "testing")]
            Store::Embedded(store, peer) => vec![(peer.address.to_owned(), !store.faults.is_down())],
            #[cfg(not(feature = "testing"))]
            Store::Embedded(_, peer) => vec![(peer.address.to_owned(), true)],
            #[cfg(feature = "servers")]
            Store::Cluster(cluster) => {
                let node = |(_, member): (_, &std::sync::Arc<Member>)| {
                    (member.node.endpoint.server.to_string(), member.node.is_up())
                };
                cluster.members().all().map(node).collect()
            }
        }
    }

    /// Returns the name of the node to ask about a key.
    #[cfg_attr(not(feature = "servers"), allow(clippy::unnecessary_wraps, reason = "the embedded store is one node"))]
    pub(crate) fn node_name(&self, key: &str) -> Option<String> {
        match self {
            Store::Embedded(_, peer) => Some(peer.address.to_owned()),
            #[cfg(feature = "servers")]
            Store::Cluster(cluster) => cluster.node_name(key),
        }
    }

    /// Adds a node; returns whether it was not there yet.
    #[cfg(feature = "servers")]
    pub(crate) fn add_node(&self, server: &str) -> Result<bool, Error> {
        self.change(server, |cluster, server| cluster.add(server))
    }

    /// Removes a node; returns whether it was there.
    #[cfg(feature = "servers")]
    pub(crate) fn remove_node(&self, server: &str) -> Result<bool, Error> {
        self.change(server, |cluster, server| cluster.remove(server))
    }

    /// Changes the nodes of a cluster by a server that is given as text.
    #[cfg(feature = "servers")]
    fn change(
        &self,
        server: &str,
        change: impl FnOnce(&Cluster, &Server) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        let Store::Cluster(cluster) = self else {
            let message = "values are kept within the process: there are no servers to add to or to remove from";
            return Err(Error::new(ErrorKind::Configuration, message));
        };
        let server = server.parse().map_err(|why| Error::new(ErrorKind::Configuration, format!("no server: {why}")))?;
        change(cluster, &server)
    }

    /// Asks several nodes at once, as parts of one exchange.
    pub(crate) fn ask_several(
        &self,
        verb: Verb,
        exchange: &Exchange,
        batches: &[NodeBatch<'_>],
        budget: &Budget,
    ) -> Vec<Vec<Outcome>> {
        exchange.span.in_scope(|| match self {
            Store::Embedded(store, _) => batches.iter().map(|batch| run(store, batch, budget)).collect(),
            #[cfg(feature = "servers")]
            Store::Cluster(cluster) => cluster.ask_several(verb, Telling::Parts, batches, budget),
        })
    }

    /// Does the same for an async caller.
    #[cfg(feature = "tokio")]
    pub(crate) async fn ask_several_async(
        &self,
        verb: Verb,
        exchange: &Exchange,
        batches: &[NodeBatch<'_>],
        budget: &Budget,
    ) -> Vec<Vec<Outcome>> {
        match self {
            Store::Embedded(..) => self.ask_several(verb, exchange, batches, budget),
            #[cfg(feature = "servers")]
            Store::Cluster(cluster) => {
                in_real_time(exchange.within(cluster.ask_several_async(verb, Telling::Parts, batches, budget))).await
            }
        }
    }

    /// Asks each of these, with one exchange per node. The outcomes are in the order
    /// of the requests.
    pub(crate) fn ask_each(&self, verb: Verb, requests: &[Request<'_>], budget: &Budget) -> Vec<Outcome> {
        self.ask_at(verb, &At::home(requests), budget)
    }

    /// Asks one node several things, as one exchange.
    pub(crate) fn ask_node(&self, verb: Verb, batch: &NodeBatch<'_>, budget: &Budget) -> Vec<Outcome> {
        match self {
            Store::Embedded(store, peer) => {
                let exchange = peer.begin_several(verb, batch.requests.len());
                let outcomes = exchange.span.in_scope(|| run(store, batch, budget));
                budget.spend(exchange.end_all(outcomes.iter().find_map(|outcome| outcome.as_ref().err())));
                outcomes
            }
            #[cfg(feature = "servers")]
            Store::Cluster(cluster) => {
                let began = Instant::now();
                let outcomes = cluster.ask_node(verb, Telling::Exchanges, batch, budget);
                budget.spend(began.elapsed());
                outcomes
            }
        }
    }

    /// Does the same for an async caller.
    #[cfg(feature = "tokio")]
    pub(crate) async fn ask_node_async(&self, verb: Verb, batch: &NodeBatch<'_>, budget: &Budget) -> Vec<Outcome> {
        match self {
            #[cfg(all(test, feature = "tokio"))]
            Store::Embedded(store, _) if store.network.is_slow() => {
                store.network.carry(&batch.requests, |request| self.ask(verb, request, budget)).await
            }
            // Nothing to wait for.
            Store::Embedded(..) => self.ask_node(verb, batch, budget),
            #[cfg(feature = "servers")]
            Store::Cluster(cluster) => {
                let began = Instant::now();
                let outcomes = in_real_time(cluster.ask_node_async(verb, Telling::Exchanges, batch, budget)).await;
                budget.spend(began.elapsed());
                outcomes
            }
        }
    }

    /// Asks several nodes, each as an exchange of its own.
    fn ask_nodes(&self, verb: Verb, batches: &[NodeBatch<'_>], budget: &Budget) -> Vec<Vec<Outcome>> {
        match self {
            Store::Embedded(..) => batches.iter().map(|batch| self.ask_node(verb, batch, budget)).collect(),
            #[cfg(feature = "servers")]
            Store::Cluster(cluster) => {
                let began = Instant::now();
                let outcomes = cluster.ask_several(verb, Telling::Exchanges, batches, budget);
                budget.spend(began.elapsed());
                outcomes
            }
        }
    }

    /// Does the same for an async caller.
    #[cfg(feature = "tokio")]
    async fn ask_nodes_async(&self, verb: Verb, batches: &[NodeBatch<'_>], budget: &Budget) -> Vec<Vec<Outcome>> {
        match self {
            Store::Embedded(..) => {
                let mut outcomes = Vec::new();
                for batch in batches {
                    outcomes.push(self.ask_node_async(verb, batch, budget).await);
                }
                outcomes
            }
            #[cfg(feature = "servers")]
            Store::Cluster(cluster) => {
                let began = Instant::now();
                let outcomes = in_real_time(cluster.ask_several_async(verb, Telling::Exchanges, batches, budget)).await;
                budget.spend(began.elapsed());
                outcomes
            }
        }
    }

    /// Asks these where they say, with one exchange per node.
    pub(crate) fn ask_at(&self, verb: Verb, requests: &[At<'_>], budget: &Budget) -> Vec<Outcome> {
        match At::only_batch(requests) {
            Some(batch) => self.ask_node(verb, &batch, budget),
            None => {
                let spread = Spread::of(&self.placement(), requests);
                let outcomes = self.ask_nodes(verb, &spread.batches, budget);
                spread.gather(outcomes)
            }
        }
    }

    /// Does the same for an async caller.
    #[cfg(feature = "tokio")]
    pub(crate) async fn ask_each_async(&self, verb: Verb, requests: &[Request<'_>], budget: &Budget) -> Vec<Outcome> {
        self.ask_at_async(verb, &At::home(requests), budget).await
    }

    /// Asks them for an async caller.
    #[cfg(feature = "tokio")]
    pub(crate) async fn ask_at_async(&self, verb: Verb, requests: &[At<'_>], budget: &Budget) -> Vec<Outcome> {
        match At::only_batch(requests) {
            Some(batch) => self.ask_node_async(verb, &batch, budget).await,
            None => {
                let spread = Spread::of(&self.placement(), requests);
                let outcomes = self.ask_nodes_async(verb, &spread.batches, budget).await;
                spread.gather(outcomes)
            }
        }
    }

    /// Closes the connections that are not in use.
    pub(crate) fn close(&self) {
        match self {
            Store::Embedded(..) => {}
            #[cfg(feature = "servers")]
            Store::Cluster(cluster) => cluster.members().all().for_each(|(_, member)| member.node.close_idle()),
        }
    }

    /// Closes them and says goodbye to the servers.
    pub(crate) fn quit(&self) {
        match self {
            Store::Embedded(..) => {}
            #[cfg(feature = "servers")]
            Store::Cluster(cluster) => cluster.members().all().for_each(|(_, member)| member.node.quit()),
        }
    }
}

/// Runs one request on the embedded store.
#[cfg_attr(not(feature = "testing"), allow(unused_variables, reason = "it takes no time without a fault"))]
fn run_one(store: &Embedded, request: &Request<'_>, budget: &Budget) -> Outcome {
    #[cfg(feature = "testing")]
    store.faults.exchange(budget)?;
    #[cfg(all(test, feature = "tokio"))]
    if let Some(outcome) = store.network.carry_blocking(&[*request], |request| store.ask(request)).pop() {
        return outcome;
    }
    store.ask(request)
}

/// Runs a batch on the embedded store.
#[cfg_attr(not(feature = "testing"), allow(unused_variables, reason = "it takes no time without a fault"))]
fn run(store: &Embedded, batch: &NodeBatch<'_>, budget: &Budget) -> Vec<Outcome> {
    #[cfg(feature = "testing")]
    if let Err(error) = store.faults.exchange(budget) {
        return batch.requests.iter().map(|_| Err(error.alike())).collect();
    }
    #[cfg(all(test, feature = "tokio"))]
    return store.network.carry_blocking(&batch.requests, |request| store.ask(request));
    #[cfg(not(all(test, feature = "tokio")))]
    batch.requests.iter().map(|request| store.ask(request)).collect()
}

#[cfg(all(test, feature = "servers"))]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::exchange::{Direction, Grant, Guard, Item, ItemLimit, Keys, Note, Numbering, Reply, Ttl, Write};
    use crate::server::Protocol;
    use crate::time::clock::Clock;

    impl Store {
        /// One real server.
        pub(crate) fn on(server: &crate::memcached::Memcached, protocol: Protocol) -> Self {
            let servers = Server::list(&server.address()).expect("a server's address");
            let settings = crate::config::Settings { servers, protocol, pool_size: 1, ..Default::default() };
            Store::Cluster(Cluster::new(settings.plan().expect("a plan")).expect("a cluster"))
        }
    }

    /// A request whose guard is the number that the last lookup got.
    #[derive(Clone, Debug)]
    enum Step {
        Lookup { refresh: bool },
        Renew,
        Invalidate { guarded: bool, ends: bool },
        Peek,
        Get,
        PeekBoth,
        GetAndTouch,
        Touch,
        Store { value: Vec<u8>, how: Write, guarded: bool },
        Delete { guarded: bool },
        Count { by: u64, direction: Direction },
    }

    fn step() -> impl Strategy<Value = (Step, u8)> {
        let value = prop_oneof![
            // Not white space, behind which memcached reads on in what was
            // there before.
            prop::collection::vec(0x21..=0xff_u8, 1..20),
            // Above 2^63, memcached 1.6.18 takes some for negative.
            any::<u32>().prop_map(|number| number.to_string().into_bytes()),
            (0..20_u8).prop_map(|number| number.to_string().into_bytes()),
        ];
        let how = prop_oneof![
            4 => Just(Write::Set),
            1 => Just(Write::Add),
            1 => Just(Write::Replace),
            1 => Just(Write::Append),
            1 => Just(Write::Prepend),
        ];
        let direction = prop_oneof![Just(Direction::Up), Just(Direction::Down)];
        let step = prop_oneof![
            3 => any::<bool>().prop_map(|refresh| Step::Lookup { refresh }),
            1 => Just(Step::Renew),
            1 => any::<(bool, bool)>().prop_map(|(guarded, ends)| Step::Invalidate { guarded, ends }),
            1 => Just(Step::Peek),
            1 => Just(Step::Get),
            1 => Just(Step::PeekBoth),
            1 => Just(Step::GetAndTouch),
            1 => Just(Step::Touch),
            // Only plain writes have guards.
            3 => (value, how, any::<bool>())
                .prop_map(|(value, how, guarded)| Step::Store { value, how, guarded: guarded && how == Write::Set }),
            1 => any::<bool>().prop_map(|guarded| Step::Delete { guarded }),
            2 => (0..30_u64, direction).prop_map(|(by, direction)| Step::Count { by, direction }),
        ];
        (step, 0..2_u8)
    }

    /// Runs the steps; the replies without their numbers, which each store
    /// chooses for itself.
    fn replies(store: &Store, run: u32, steps: &[(Step, u8)]) -> Vec<String> {
        let budget = Budget::new(Duration::from_secs(20), Duration::from_secs(20));
        let names = [0, 1].map(|key| format!("{run}:{key}"));
        // What was read last, and the number that a lookup or a renewal has told last.
        let (mut seen, mut held) = ([Guard::Unchanged(0); 2], [0; 2]);
        let mut both = Keys::default();
        names.iter().for_each(|name| both.push(name));
        let mut replies = Vec::new();
        let note = Note::of(0x6C00_0000).expect("a note");
        for (step, key) in steps {
            let key = names[usize::from(*key)].as_str();
            let number = usize::from(key == names[1]);
            let (seen, held) = (&mut seen[number], &mut held[number]);
            let guard = |guarded| if guarded { *seen } else { Guard::None };
            let request = match step {
                Step::Lookup { refresh } => {
                    let refresh = if *refresh { Duration::from_secs(61) } else { Duration::ZERO };
                    Request::Lookup { key, lease: Duration::from_secs(60), refresh }
                }
                Step::Renew => Request::Renew { key, cas: *held, note, lease: Duration::from_secs(60) },
                Step::Invalidate { guarded, ends } => {
                    let ttl = ends.then_some(Duration::from_secs(60));
                    Request::Invalidate { key, guard: guard(*guarded), ttl }
                }
                Step::Peek => Request::Peek { key },
                Step::Get => Request::Get { key },
                Step::PeekBoth => Request::PeekMany { keys: &both },
                Step::GetAndTouch => Request::GetAndTouch { key, ttl: Ttl::Forever },
                Step::Touch => Request::Touch { key, ttl: Ttl::Forever },
                Step::Store { value, how, guarded } => {
                    let guard = guard(*guarded);
                    Request::Store { key, value, flags: 7, ttl: Ttl::Forever, how: *how, guard }
                }
                Step::Delete { guarded } => Request::Delete { key, guard: guard(*guarded) },
                Step::Count { by, direction } => Request::Count { key, by: *by, direction: *direction },
            };
            let reply = store.ask(request.verb(), &request, &budget).map_err(|error| error.kind());
            let reply = match reply {
                Ok(Reply::Found(mut item)) => {
                    let cas = std::mem::take(&mut item.cas);
                    match request.numbering() {
                        Numbering::None => *seen = Guard::Unchanged(cas),
                        Numbering::Received | Numbering::Sent => (*seen, *held) = (Guard::Held(cas), cas),
                    }
                    // Of a lease's minute; the two clocks differ by a little.
                    item.seconds_left = item.seconds_left.map(|_| 60);
                    Ok(Reply::Found(item))
                }
                Ok(Reply::FoundMany(mut items)) => {
                    // That protocol shows a lease as an empty item.
                    items.retain(|_, item| !item.value.is_empty());
                    // The classic protocol, which lists are asked for in,
                    // tells no time.
                    let bare = |(key, item): (&str, &Item)| {
                        (key.to_owned(), Item { cas: 0, seconds_left: None, ..item.clone() })
                    };
                    Ok(Reply::FoundMany(items.iter().map(bare).collect()))
                }
                Ok(Reply::Missing(Grant::Won(number))) => {
                    (*seen, *held) = (Guard::Held(number), number);
                    Ok(Reply::Missing(Grant::Won(0)))
                }
                Ok(Reply::Renewed(number)) => {
                    (*seen, *held) = (Guard::Held(number), number);
                    Ok(Reply::Renewed(0))
                }
                Ok(Reply::Missing(Grant::Lost { cas, note })) => {
                    if note.is_some() {
                        (*seen, *held) = (Guard::Held(cas), cas);
                    }
                    Ok(Reply::Missing(Grant::Lost { cas: 0, note }))
                }
                reply => reply,
            };
            replies.push(format!("{step:?} {reply:?}"));
        }
        replies
    }

    #[test]
    fn the_embedded_store_answers_as_memcached_does() {
        let server = crate::memcached::Memcached::start();
        let real = Store::on(&server, Protocol::Auto);
        let embedded = Store::embedded(Embedded::new(1 << 20, ItemLimit::default(), Clock::system()));
        let run = std::cell::Cell::new(0);
        proptest!(|(steps in prop::collection::vec(step(), 1..40))| {
            run.set(run.get() + 1);
            prop_assert_eq!(replies(&real, run.get(), &steps), replies(&embedded, run.get(), &steps));
        });
    }
}
