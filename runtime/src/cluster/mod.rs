//! The nodes of a cluster: which there are, and exchanges with the one that a
//! key belongs to.
//!
//! Several nodes at once are asked in `fan_out`. A node that fails keeps its
//! keys, unless `failover` says otherwise: their values are computed until it is
//! back, so that no other node collects values that no process invalidates.

pub(crate) mod discovery;
pub(crate) mod failover;
mod fan_out;
mod leases;
pub(crate) mod members;
mod moves;
pub(crate) mod ring;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock, Weak};
use std::time::Instant;

use crate::cluster::discovery::Discovered;
use crate::cluster::failover::route::Route;
use crate::cluster::leases::Leases;
use crate::cluster::members::{Member, Members, Rules};
use crate::error::{Error, ErrorKind};
use crate::exchange::{Outcome, Request, Verb};
use crate::key::prefix;
use crate::net::endpoint::{Access, Endpoint};
use crate::node::Node;
use crate::node::breaker::Pauses;
use crate::protocol::Dialect;
use crate::server::discovery::Discovery;
use crate::server::{Distribution, Failover, Server};
use crate::sync::{read, write};
use crate::telemetry;
use crate::telemetry::nodes::{self, NodeState, Watched};
use crate::time::budget::Budget;

/// Several nodes, or one.
pub(crate) struct Cluster {
    members: RwLock<Arc<Members>>,
    /// The number of the next member.
    next: AtomicUsize,
    settings: ClusterSettings,
}

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub(crate) struct ClusterSettings {
    pub(crate) servers: Vec<Server>,
    pub(crate) distribution: Distribution,
    pub(crate) failover: Failover,
    pub(crate) namespace: String,
    pub(crate) pool_size: usize,
    pub(crate) pauses: Pauses,
    pub(crate) access: Access,
    pub(crate) discovery: Option<Discovery>,
}

impl ClusterSettings {
    /// Returns the way to a server.
    fn endpoint(&self, server: &Server) -> Endpoint {
        Endpoint::new(server.clone(), self.access.clone())
    }

    /// Creates a member for a server.
    fn member(&self, server: &Server) -> Result<Arc<Member>, Error> {
        self.access.check(server)?;
        Ok(Member::new(self.endpoint(server), self.pool_size, self.pauses, self.failover))
    }
}

impl Cluster {
    /// Creates a cluster that has not connected to any server yet.
    ///
    /// # Errors
    ///
    /// If a server wants TLS and that has not been set up.
    pub(crate) fn new(settings: ClusterSettings) -> Result<Arc<Self>, Error> {
        let members = settings.servers.iter().map(|server| settings.member(server)).collect::<Result<Vec<_>, _>>()?;
        let members: BTreeMap<_, _> = members.into_iter().enumerate().collect();
        let ClusterSettings { distribution, failover, .. } = settings;
        let rules = Rules { distribution, failover, prefix: prefix(&settings.namespace).concat() };
        let cluster = Arc::new(Cluster {
            next: AtomicUsize::new(members.len()),
            members: RwLock::new(Arc::new(Members::new(members, rules))),
            settings,
        });
        let weak = Arc::downgrade(&cluster);
        nodes::watch(weak as Weak<dyn Watched>);
        if let Some(discovery) = &cluster.settings.discovery {
            discovery::start(Arc::downgrade(&cluster), discovery.clone());
        }
        Ok(cluster)
    }

    /// Returns the members that there are now.
    pub(crate) fn members(&self) -> Arc<Members> {
        Arc::clone(&read(&self.members))
    }

    /// Adds a server, unless it is there; returns whether it has been added.
    ///
    /// # Errors
    ///
    /// If the server wants TLS and that has not been set up.
    pub(crate) fn add(&self, server: &Server) -> Result<bool, Error> {
        let mut members = write(&self.members);
        if members.find(server).is_some() {
            return Ok(false);
        }
        let member = self.settings.member(server)?;
        *members = Arc::new(members.with(self.next.fetch_add(1, Ordering::Relaxed), member));
        Ok(true)
    }

    /// Removes a server; returns whether it was there.
    ///
    /// # Errors
    ///
    /// If the server is the last.
    pub(crate) fn remove(&self, server: &Server) -> Result<bool, Error> {
        let mut members = write(&self.members);
        let Some(number) = members.find(server) else { return Ok(false) };
        if members.all().count() == 1 {
            return Err(last_one());
        }
        *members = Arc::new(members.without(number));
        Ok(true)
    }

    /// Returns whether the node of a key tells how long items are kept, as far as is known.
    pub(crate) fn tells_time(&self, key: &str) -> bool {
        let members = self.members();
        let member = members.get(members.locate(key));
        member.is_none_or(|member| member.node.endpoint.dialect() != Some(Dialect::Classic))
    }

    /// Whether the node of a key has been left alone since then.
    pub(crate) fn is_out_since(&self, key: &str, then: Instant) -> bool {
        let members = self.members();
        members.get(members.locate(key)).is_some_and(|member| member.node.is_out_since(then))
    }

    /// Returns the name of the node to ask about a key.
    pub(crate) fn node_name(&self, key: &str) -> Option<String> {
        let members = self.members();
        members.get(members.locate(key)).map(|member| member.node.endpoint.server.to_string())
    }

    /// Returns the way to the member to ask.
    fn route(&self, request: &Request<'_>) -> Result<Route, Error> {
        let members = self.members();
        let number = match request.key() {
            Some(key) => members.locate(key),
            None => members.all().next().map_or(0, |(number, _)| number),
        };
        self.route_to(members, number, std::slice::from_ref(request))
    }

    /// Returns the way to a member. A write that goes elsewhere than to its key's own member
    /// is noted there.
    ///
    /// # Errors
    ///
    /// If there is no such member.
    fn route_to(&self, members: Arc<Members>, number: usize, requests: &[Request<'_>]) -> Result<Route, Error> {
        let member = members.get(number).cloned().ok_or_else(|| self.gone())?;
        let mut detour = None;
        if self.settings.failover == Failover::Next {
            for (request, key) in requests.iter().flat_map(|request| request.keys().map(move |key| (request, key))) {
                if members.is_home(key, number) {
                    continue;
                }
                let home = members.home(key);
                detour = detour.or_else(|| members.detour());
                if let Some(home) = members.get(home).filter(|_| !request.only_reads()) {
                    home.journal.note(key);
                }
            }
        }
        Ok(Route { member, number, members, detour })
    }

    /// Returns the error for a member that there is no longer, or not yet.
    fn gone(&self) -> Error {
        let why = match &self.settings.discovery {
            Some(Discovery { endpoint, .. }) if self.members().is_empty() => {
                format!("{endpoint} has not named the servers of the cluster yet")
            }
            _ => "the cluster has no such server any more".to_owned(),
        };
        Error::new(ErrorKind::Connect, why)
    }

    /// Sends one request and reads its reply, told under this verb.
    pub(crate) fn ask(&self, verb: Verb, request: &Request<'_>, budget: &Budget) -> Outcome {
        let route = self.route(request)?;
        let Member { node, peer, .. } = &*route.member;
        let exchange = peer.begin(verb);
        let deadline = budget.deadline_from(exchange.started);
        let outcome = exchange.span.in_scope(|| {
            let mut outcomes = [route.ask(request, deadline)];
            if let Some(leases) = Leases::of(node, std::slice::from_ref(request), &outcomes) {
                leases.grant(node.ask_all(&leases.requests(), deadline), &mut outcomes);
            }
            let [outcome] = outcomes;
            outcome
        });
        exchange.reached(|| node.endpoint.peer());
        budget.spend(exchange.end(&outcome));
        announce(node, request);
        outcome
    }

    /// Does the same for an async caller.
    #[cfg(feature = "tokio")]
    pub(crate) async fn ask_async(&self, verb: Verb, request: &Request<'_>, budget: &Budget) -> Outcome {
        let route = self.route(request)?;
        let Member { node, peer, .. } = &*route.member;
        let exchange = peer.begin(verb);
        let deadline = budget.deadline_from(exchange.started);
        let asking = async {
            let mut outcomes = [route.ask_async(request, deadline).await];
            if let Some(leases) = Leases::of(node, std::slice::from_ref(request), &outcomes) {
                let granted = node.ask_all_async(&leases.requests(), deadline).await;
                leases.grant(granted, &mut outcomes);
            }
            let [outcome] = outcomes;
            outcome
        };
        let outcome = exchange.within(asking).await;
        exchange.reached(|| node.endpoint.peer());
        budget.spend(exchange.end(&outcome));
        announce(node, request);
        outcome
    }
}

/// Returns the error for a cluster that would have no server left.
fn last_one() -> Error {
    Error::new(ErrorKind::Configuration, "the last server of a cluster cannot be removed")
}

/// Tells once that a server which is asked for leases has none.
fn announce(node: &Node, request: &Request<'_>) {
    if matches!(request, Request::Lookup { .. }) && node.endpoint.is_news_that_it_is_classic() {
        telemetry::announce_without_leases(&node.endpoint.server.to_string());
    }
}

impl Discovered for Cluster {
    fn endpoint(&self, server: &Server) -> Endpoint {
        self.settings.endpoint(server)
    }

    /// Replaces the members from one moment to the next; those that stay keep
    /// their connections.
    fn change_to(&self, servers: &[Server]) -> Result<(), Error> {
        let mut members = write(&self.members);
        let has = |members: &BTreeMap<usize, Arc<Member>>, server: &Server| {
            members.values().any(|member| member.node.endpoint.server == *server)
        };
        let stay = members.all().filter(|(_, member)| servers.contains(&member.node.endpoint.server));
        let mut by_number: BTreeMap<_, _> = stay.map(|(number, member)| (number, Arc::clone(member))).collect();
        for server in servers {
            if !has(&by_number, server) {
                by_number.insert(self.next.fetch_add(1, Ordering::Relaxed), self.settings.member(server)?);
            }
        }
        if by_number.is_empty() {
            return Err(last_one());
        }
        if !by_number.keys().copied().eq(members.all().map(|(number, _)| number)) {
            *members = Arc::new(members.changed_to(by_number));
        }
        Ok(())
    }

    fn settle(&self) {
        let mut members = write(&self.members);
        if let Some(settled) = members.settled() {
            *members = Arc::new(settled);
        }
    }
}

impl Watched for Cluster {
    fn nodes(&self) -> Vec<NodeState> {
        let state = |(_, member): (_, &Arc<Member>)| NodeState {
            peer: member.peer,
            is_up: member.node.is_up(),
            connections: member.node.connections(),
        };
        self.members().all().map(state).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::exchange::NodeBatch;
    use crate::memcached::Memcached;
    use crate::telemetry::exchange::Telling;

    #[test]
    fn what_was_assigned_to_a_member_before_it_left_is_answered() {
        let servers = [Memcached::start(), Memcached::start()];
        let list = servers.each_ref().map(|server| server.address().parse::<Server>().expect("a server"));
        let settings = ClusterSettings {
            servers: list.to_vec(),
            distribution: Distribution::default(),
            failover: Failover::default(),
            namespace: String::new(),
            pool_size: 1,
            pauses: Pauses::default(),
            access: Access::default(),
            discovery: None,
        };
        let cluster = Cluster::new(settings).expect("a cluster");
        let batch = NodeBatch { node: 0, requests: vec![Request::Version] };
        let budget = || Budget::new(Duration::from_secs(20), Duration::from_secs(20));
        let ask = || cluster.ask_node(Verb::Version, Telling::Exchanges, &batch, &budget()).remove(0);
        cluster.change_to(&list[1..]).expect("a list");
        assert!(ask().is_ok() && cluster.members().all().all(|(number, _)| number == 1));
        cluster.settle();
        assert_eq!(ask().map_err(|error| error.kind()), Err(ErrorKind::Connect));
    }
}
