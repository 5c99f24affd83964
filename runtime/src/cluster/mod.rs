//! The nodes of a cluster: exchanges with the one that a key belongs to, or
//! with several at once.
//!
//! A node that fails keeps its keys, unless `failover` says otherwise: they are
//! computed until it is back, so that no other node collects values nobody
//! invalidates.

pub(crate) mod discovery;
pub(crate) mod failover;
pub(crate) mod members;
pub(crate) mod ring;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock, Weak};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use crate::cluster::discovery::Discovery;
use crate::cluster::failover::route::Route;
use crate::cluster::members::{Member, Members, Rules};
use crate::error::{Error, ErrorKind};
use crate::exchange::{Errand, Outcome, Request, Verb};
use crate::key::prefix;
use crate::net::endpoint::{Access, Endpoint};
use crate::node::breaker::Pauses;
use crate::node::{Node, Pending, Standby};
use crate::protocol::Dialect;
use crate::server::{Distribution, Failover, Server};
use crate::sync::{read, write};
use crate::telemetry;
use crate::telemetry::exchange::NodeSpan;
use crate::telemetry::nodes::{self, NodeState, Watched};
use crate::telemetry::peer::Peer;
use crate::time::budget::{Budget, Deadline};

/// Several nodes, or one.
pub(crate) struct Cluster {
    members: RwLock<Arc<Members>>,
    /// The number of the next member.
    next: AtomicUsize,
    plan: Plan,
}

/// How a cluster is to be.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) servers: Vec<Server>,
    pub(crate) distribution: Distribution,
    pub(crate) failover: Failover,
    pub(crate) namespace: String,
    pub(crate) pool_size: usize,
    pub(crate) pauses: Pauses,
    pub(crate) access: Access,
    pub(crate) discovery: Option<Discovery>,
}

impl Plan {
    fn member(&self, server: &Server) -> Result<Member, Error> {
        self.access.check(server)?;
        let endpoint = Endpoint::new(server.clone(), self.access.clone());
        let peer = Peer::at(server.host(), server.port());
        Ok(Member { node: Node::new(endpoint, self.pool_size, self.pauses, self.failover, peer), peer })
    }
}

impl Cluster {
    /// Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// If a server wants TLS and that has not been set up.
    pub(crate) fn new(plan: Plan) -> Result<Arc<Self>, Error> {
        let members = plan.servers.iter().map(|server| plan.member(server)).collect::<Result<Vec<_>, _>>()?;
        let members: BTreeMap<_, _> = members.into_iter().enumerate().collect();
        let Plan { distribution, failover, .. } = plan;
        let rules = Rules { distribution, failover, prefix: prefix(&plan.namespace).concat() };
        let cluster = Arc::new(Cluster {
            next: AtomicUsize::new(members.len()),
            members: RwLock::new(Arc::new(Members::new(members, rules))),
            plan,
        });
        let weak = Arc::downgrade(&cluster);
        nodes::watch(weak as Weak<dyn Watched>);
        if let Some(discovery) = &cluster.plan.discovery {
            discovery::start(Arc::downgrade(&cluster), discovery.clone());
        }
        Ok(cluster)
    }

    /// A connection to a server of this cluster's kind, outside of the pools.
    pub(crate) fn endpoint(&self, server: &Server) -> Endpoint {
        Endpoint::new(server.clone(), self.plan.access.clone())
    }

    /// Who is in the cluster now.
    pub(crate) fn members(&self) -> Arc<Members> {
        Arc::clone(&read(&self.members))
    }

    /// Adds a server, unless it is there; whether it did.
    ///
    /// # Errors
    ///
    /// If it wants TLS and that has not been set up.
    pub(crate) fn add(&self, server: &Server) -> Result<bool, Error> {
        let mut members = write(&self.members);
        if members.find(server).is_some() {
            return Ok(false);
        }
        let member = self.plan.member(server)?;
        *members = Arc::new(members.with(self.next.fetch_add(1, Ordering::Relaxed), member));
        Ok(true)
    }

    /// Removes a server; whether it was there.
    ///
    /// # Errors
    ///
    /// If it is the last.
    pub(crate) fn remove(&self, server: &Server) -> Result<bool, Error> {
        let mut members = write(&self.members);
        let Some(number) = members.find(server) else { return Ok(false) };
        if members.all().count() == 1 {
            return Err(nobody_left());
        }
        *members = Arc::new(members.without(number));
        Ok(true)
    }

    /// Has exactly these servers from one moment to the next; those that stay
    /// keep their connections.
    pub(crate) fn change_to(&self, servers: &[Server]) -> Result<(), Error> {
        let mut members = write(&self.members);
        let has = |members: &BTreeMap<usize, Member>, server: &Server| {
            members.values().any(|member| member.node.endpoint.server == *server)
        };
        let stay = members.all().filter(|(_, member)| servers.contains(&member.node.endpoint.server));
        let mut by_number: BTreeMap<_, _> = stay.map(|(number, member)| (number, member.clone())).collect();
        for server in servers {
            if !has(&by_number, server) {
                by_number.insert(self.next.fetch_add(1, Ordering::Relaxed), self.plan.member(server)?);
            }
        }
        if by_number.is_empty() {
            return Err(nobody_left());
        }
        if !by_number.keys().copied().eq(members.all().map(|(number, _)| number)) {
            *members = Arc::new(members.changed_to(by_number));
        }
        Ok(())
    }

    /// Whether the node of a key tells how long items are kept, as far as is
    /// known.
    pub(crate) fn tells_time(&self, key: &str) -> bool {
        let members = self.members();
        let member = members.get(members.place(key));
        member.is_none_or(|member| member.node.endpoint.dialect() != Some(Dialect::Classic))
    }

    /// The way to the member to ask.
    fn route(&self, request: &Request<'_>) -> Result<Route, Error> {
        let members = self.members();
        let number = match request.key() {
            Some(key) => members.place(key),
            None => members.all().next().map_or(0, |(number, _)| number),
        };
        self.route_to(members, number, std::slice::from_ref(request)).ok_or_else(gone)
    }

    /// The way to a member; a write that goes elsewhere than home is noted
    /// there.
    fn route_to(&self, members: Arc<Members>, number: usize, requests: &[Request<'_>]) -> Option<Route> {
        let member = members.get(number)?.clone();
        let mut detour = None;
        if self.plan.failover == Failover::Next {
            for (request, key) in requests.iter().flat_map(|request| request.keys().map(move |key| (request, key))) {
                let home = members.home(key);
                if home == number {
                    continue;
                }
                detour = detour.or_else(|| members.detour());
                if let Some(home) = members.get(home).filter(|_| !request.only_reads()) {
                    home.node.journal.note(key);
                }
            }
        }
        Some(Route { member, number, members, detour })
    }

    pub(crate) fn ask(&self, verb: Verb, request: &Request<'_>, budget: &Budget) -> Outcome {
        let route = self.route(request)?;
        let Member { node, peer } = &route.member;
        let exchange = peer.begin(verb);
        let outcome = exchange.span.in_scope(|| route.ask(request, budget.deadline_from(exchange.started)));
        exchange.reached(|| node.endpoint.peer());
        budget.spend(exchange.end(&outcome));
        announce(node, request);
        outcome
    }

    #[cfg(feature = "tokio")]
    pub(crate) async fn ask_async(&self, verb: Verb, request: &Request<'_>, budget: &Budget) -> Outcome {
        let route = self.route(request)?;
        let Member { node, peer } = &route.member;
        let exchange = peer.begin(verb);
        let outcome = exchange.within(route.ask_async(request, budget.deadline_from(exchange.started))).await;
        exchange.reached(|| node.endpoint.peer());
        budget.spend(exchange.end(&outcome));
        announce(node, request);
        outcome
    }

    /// Asks several nodes at once. The outcomes are in the order of the
    /// requests of each errand.
    pub(crate) fn ask_several(&self, verb: Verb, errands: &[Errand<'_>], budget: &Budget) -> Vec<Vec<Outcome>> {
        let deadline = budget.deadline();
        let assigned = self.assign(errands);
        let mut outcomes = self.exchange_several(verb, &assigned, deadline);
        for ((errand, route), outcomes) in assigned.iter().zip(&mut outcomes) {
            if let Some(route) = route {
                route.sift(&errand.requests, outcomes, deadline);
            }
        }
        outcomes
    }

    fn exchange_several(
        &self,
        verb: Verb,
        assigned: &[(&Errand<'_>, Option<Route>)],
        deadline: Deadline,
    ) -> Vec<Vec<Outcome>> {
        let several = assigned.len() > 1;
        std::thread::scope(|scope| {
            let mut begun = Vec::with_capacity(assigned.len());
            for (errand, route) in assigned {
                let Some(route) = route else {
                    begun.push(Begun::Over(failed(errand, &gone())));
                    continue;
                };
                if let Err(error) = route.prepare(&errand.requests, deadline) {
                    begun.push(Begun::Over(failed(errand, &error)));
                    continue;
                }
                let Member { node, peer } = &route.member;
                let part = peer.take_part(verb);
                // Who has a connection is sent to now, and read from when all
                // have been sent to. Opening one may take its time, and
                // sending much too, and so a thread.
                let standby = if errand.is_long() { None } else { node.standby(deadline) };
                begun.push(if !several || standby.is_some() {
                    send(part, errand, node, standby, deadline).map_or_else(Begun::Over, Begun::Here)
                } else {
                    elsewhere(scope, move || {
                        let sent = send(part, errand, node, None, deadline);
                        sent.map_or_else(|outcomes| outcomes, |begun| begun.end(deadline))
                    })
                });
            }
            // Who takes long to answer is waited for elsewhere, so that others
            // are not late as well, whose answers may be there by now.
            let read = |begun| match begun {
                Begun::Here(mut here) => {
                    let is_late = several && here.pending.is_late(deadline.or_after(PROMPT));
                    let end = move || here.end(deadline);
                    if is_late { elsewhere(scope, end) } else { Begun::Over(end()) }
                }
                begun => begun,
            };
            let read: Vec<_> = begun.into_iter().map(read).collect();
            read.into_iter().map(|begun| begun.end(deadline)).collect()
        })
    }

    /// As [`Cluster::ask_several`].
    #[cfg(feature = "tokio")]
    pub(crate) async fn ask_several_async(
        &self,
        verb: Verb,
        errands: &[Errand<'_>],
        budget: &Budget,
    ) -> Vec<Vec<Outcome>> {
        let deadline = budget.deadline();
        let run = async |(errand, route): (&Errand<'_>, Option<Route>)| {
            let Some(route) = route else { return failed(errand, &gone()) };
            let Member { node, peer } = &route.member;
            let part = peer.take_part(verb);
            let exchange = async {
                route.prepare_async(&errand.requests, deadline).await?;
                let mut outcomes = node.ask_all_async(&errand.requests, deadline).await?;
                route.sift_async(&errand.requests, &mut outcomes, deadline).await;
                Ok(outcomes)
            };
            let outcomes = part.within(exchange).await;
            end(part, errand, outcomes)
        };
        crate::detached::all(self.assign(errands).into_iter().map(run)).await
    }

    /// The errands with the ways to the members that they are for.
    fn assign<'a, 'b>(&self, errands: &'a [Errand<'b>]) -> Vec<(&'a Errand<'b>, Option<Route>)> {
        let members = self.members();
        let route = |errand: &Errand<'_>| self.route_to(Arc::clone(&members), errand.node, &errand.requests);
        errands.iter().map(|errand| (errand, route(errand))).collect()
    }
}

/// memcached answers within microseconds, and so do most networks.
const PROMPT: Duration = Duration::from_millis(4);

/// An errand under way.
enum Begun<'scope, 'a> {
    Here(BegunHere<'a>),
    Elsewhere(ScopedJoinHandle<'scope, Vec<Outcome>>),
    /// When nothing else is left to do.
    Later(Box<dyn FnOnce() -> Vec<Outcome> + 'scope>),
    Over(Vec<Outcome>),
}

impl Begun<'_, '_> {
    fn end(self, deadline: Deadline) -> Vec<Outcome> {
        match self {
            Begun::Here(here) => here.end(deadline),
            Begun::Elsewhere(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Begun::Later(work) => work(),
            Begun::Over(outcomes) => outcomes,
        }
    }
}

/// Does the rest of an errand on a thread of its own, or later where none can be
/// had.
fn elsewhere<'scope, 'a, W>(scope: &'scope Scope<'scope, '_>, work: W) -> Begun<'scope, 'a>
where
    W: FnOnce() -> Vec<Outcome> + Send + 'scope,
{
    // What a thread was to begin with is gone if it cannot be had, and so the
    // work is handed to it afterwards.
    let (hand, handed) = std::sync::mpsc::channel::<W>();
    let run = telemetry::carried(move || handed.recv().map_or_else(|_| Vec::new(), |work| work()));
    match std::thread::Builder::new().name("memocached-errand".into()).spawn_scoped(scope, run) {
        Ok(thread) => {
            _ = hand.send(work);
            Begun::Elsewhere(thread)
        }
        Err(_) => Begun::Later(Box::new(work)),
    }
}

struct BegunHere<'a> {
    errand: &'a Errand<'a>,
    part: NodeSpan,
    pending: Box<Pending<'a>>,
}

fn send<'a>(
    part: NodeSpan,
    errand: &'a Errand<'a>,
    node: &'a Node,
    standby: Option<Standby<'a>>,
    deadline: Deadline,
) -> Result<BegunHere<'a>, Vec<Outcome>> {
    match part.0.in_scope(|| node.begin(standby, &errand.requests, deadline)) {
        Ok(pending) => Ok(BegunHere { errand, part, pending: Box::new(pending) }),
        Err(error) => Err(end(part, errand, Err(error))),
    }
}

impl BegunHere<'_> {
    fn end(self, deadline: Deadline) -> Vec<Outcome> {
        end(self.part, self.errand, Ok(self.pending.finish(deadline)))
    }
}

/// One outcome for each request, also where none could be asked.
fn end(part: NodeSpan, errand: &Errand<'_>, outcomes: Result<Vec<Outcome>, Error>) -> Vec<Outcome> {
    let outcomes = outcomes.unwrap_or_else(|error| failed(errand, &error));
    part.end(outcomes.iter().find_map(|outcome| outcome.as_ref().err()));
    outcomes
}

fn failed(errand: &Errand<'_>, error: &Error) -> Vec<Outcome> {
    errand.requests.iter().map(|_| Err(error.alike())).collect()
}

fn nobody_left() -> Error {
    Error::new(ErrorKind::Configuration, "the last server of a cluster cannot be removed")
}

/// The member has been removed, or all have.
fn gone() -> Error {
    Error::new(ErrorKind::Connect, "the cluster has no such server any more")
}

/// Tells once that a server which is asked for leases has none.
fn announce(node: &Node, request: &Request<'_>) {
    if matches!(request, Request::Lookup { .. }) && node.endpoint.is_news_that_it_is_classic() {
        telemetry::announce_without_leases(&node.endpoint.server.to_string());
    }
}

impl Watched for Cluster {
    fn nodes(&self) -> Vec<NodeState> {
        let state = |(_, Member { node, peer }): (_, &Member)| NodeState {
            peer,
            is_up: node.is_up(),
            connections: node.connections(),
        };
        self.members().all().map(state).collect()
    }
}
