//! Exchanges with several nodes at once, for blocking and for async callers.
//!
//! Each node gets one batch, whose requests are for keys of its own; the
//! callers see to that.

use std::sync::Arc;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use super::{Cluster, announce};
use crate::cluster::failover::route::Route;
use crate::cluster::leases::Leases;
use crate::cluster::members::Member;
use crate::error::Error;
use crate::exchange::{NodeBatch, Outcome, Verb, unanswered};
use crate::node::{Node, Pending, Standby};
use crate::sync::{Mutex, lock};
use crate::telemetry;
use crate::telemetry::exchange::{NodeSpan, Telling};
use crate::time::budget::{Budget, Deadline};
use crate::time::servant::survive;

/// memcached answers within microseconds, and so do most networks.
const PROMPT: Duration = Duration::from_millis(4);

/// A batch, and the way to its member, or why there is none.
type Assigned<'a, 'b> = (&'a NodeBatch<'b>, Result<Route, Error>);

impl Cluster {
    /// Asks one node several things at once.
    pub(crate) fn ask_node(
        &self,
        verb: Verb,
        telling: Telling,
        batch: &NodeBatch<'_>,
        budget: &Budget,
    ) -> Vec<Outcome> {
        let deadline = budget.deadline();
        match self.route_to(self.members(), batch.node, &batch.requests) {
            Ok(route) => {
                let mut outcomes = exchange_with_one(verb, telling, batch, &route, deadline);
                conclude(batch, &route, &mut outcomes, deadline);
                outcomes
            }
            Err(error) => failed(batch, &error),
        }
    }

    /// Does the same for an async caller.
    #[cfg(feature = "tokio")]
    pub(crate) async fn ask_node_async(
        &self,
        verb: Verb,
        telling: Telling,
        batch: &NodeBatch<'_>,
        budget: &Budget,
    ) -> Vec<Outcome> {
        let deadline = budget.deadline();
        match self.route_to(self.members(), batch.node, &batch.requests) {
            Ok(route) => exchange_with_one_async(verb, telling, batch, &route, deadline).await,
            Err(error) => failed(batch, &error),
        }
    }

    /// Asks several nodes at once. The outcomes are in the order of the
    /// requests of each batch.
    pub(crate) fn ask_several(
        &self,
        verb: Verb,
        telling: Telling,
        batches: &[NodeBatch<'_>],
        budget: &Budget,
    ) -> Vec<Vec<Outcome>> {
        let deadline = budget.deadline();
        let assigned = self.assign(batches);
        let mut outcomes = exchange(verb, telling, &assigned, deadline);
        for ((batch, route), outcomes) in assigned.iter().zip(&mut outcomes) {
            if let Ok(route) = route {
                conclude(batch, route, outcomes, deadline);
            }
        }
        outcomes
    }

    /// Asks several nodes at once, for an async caller.
    #[cfg(feature = "tokio")]
    pub(crate) async fn ask_several_async(
        &self,
        verb: Verb,
        telling: Telling,
        batches: &[NodeBatch<'_>],
        budget: &Budget,
    ) -> Vec<Vec<Outcome>> {
        let deadline = budget.deadline();
        let run = async |(batch, route): Assigned<'_, '_>| {
            let route = match route {
                Ok(route) => route,
                Err(error) => return failed(batch, &error),
            };
            exchange_with_one_async(verb, telling, batch, &route, deadline).await
        };
        crate::detached::all(self.assign(batches).into_iter().map(run)).await
    }

    /// Returns the batches with the ways to their members.
    fn assign<'a, 'b>(&self, batches: &'a [NodeBatch<'b>]) -> Vec<Assigned<'a, 'b>> {
        let members = self.members();
        let route = |batch: &NodeBatch<'_>| self.route_to(Arc::clone(&members), batch.node, &batch.requests);
        batches.iter().map(|batch| (batch, route(batch))).collect()
    }
}

/// Runs the batches: all are sent before the first is read.
fn exchange(verb: Verb, telling: Telling, assigned: &[Assigned<'_, '_>], deadline: Deadline) -> Vec<Vec<Outcome>> {
    if let [(batch, Ok(route))] = assigned {
        return vec![exchange_with_one(verb, telling, batch, route, deadline)];
    }
    std::thread::scope(|scope| {
        let all = FanOut { scope, verb, telling, deadline };
        let begun: Vec<_> = assigned.iter().map(|(batch, route)| all.begin(batch, route)).collect();
        let read: Vec<_> =
            begun.into_iter().map(|begun| begun.map_or_else(|branch| branch, |running| all.read(running))).collect();
        read.into_iter().map(Branch::end).collect()
    })
}

/// Runs the only batch on this thread.
fn exchange_with_one(
    verb: Verb,
    telling: Telling,
    batch: &NodeBatch<'_>,
    route: &Route,
    deadline: Deadline,
) -> Vec<Outcome> {
    if let Err(error) = route.prepare(&batch.requests, deadline) {
        return failed(batch, &error);
    }
    let Member { node, peer, .. } = &*route.member;
    let part = peer.take_part(verb, telling, batch.requests.len());
    let pending = part.span.in_scope(|| node.begin(None, &batch.requests, deadline));
    end(part, batch, pending.map(|pending| pending.finish(deadline)))
}

/// Runs the only batch, for an async caller.
#[cfg(feature = "tokio")]
async fn exchange_with_one_async(
    verb: Verb,
    telling: Telling,
    batch: &NodeBatch<'_>,
    route: &Route,
    deadline: Deadline,
) -> Vec<Outcome> {
    let Member { node, peer, .. } = &*route.member;
    let part = peer.take_part(verb, telling, batch.requests.len());
    let exchange = async {
        route.prepare_async(&batch.requests, deadline).await?;
        let mut outcomes = node.ask_all_async(&batch.requests, deadline).await?;
        route.sift_async(&batch.requests, &mut outcomes, deadline).await;
        if let Some(leases) = Leases::of(node, &batch.requests, &outcomes) {
            let granted = node.ask_all_async(&leases.requests(), deadline).await;
            leases.grant(granted, &mut outcomes);
        }
        Ok(outcomes)
    };
    let outcomes = part.within(exchange).await;
    announce_first(node, batch);
    end(part, batch, outcomes)
}

/// Does what follows from a node's outcomes.
fn conclude(batch: &NodeBatch<'_>, route: &Route, outcomes: &mut [Outcome], deadline: Deadline) {
    let node = &route.member.node;
    route.sift(&batch.requests, outcomes, deadline);
    if let Some(leases) = Leases::of(node, &batch.requests, outcomes) {
        let granted = node.ask_all(&leases.requests(), deadline);
        leases.grant(granted, outcomes);
    }
    announce_first(node, batch);
}

/// Batches under way at once.
struct FanOut<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    verb: Verb,
    telling: Telling,
    deadline: Deadline,
}

/// One batch that this thread does not read.
enum Branch<'scope> {
    /// Left to another thread.
    Elsewhere(&'scope NodeBatch<'scope>, ScopedJoinHandle<'scope, Option<Vec<Outcome>>>),
    /// Left for when nothing else remains to be done.
    Later(Rest<'scope>),
    Over(Vec<Outcome>),
}

/// What is still to be done for a batch.
type Rest<'scope> = Box<dyn FnOnce() -> Vec<Outcome> + Send + 'scope>;

/// A batch that has been sent.
struct Running<'a> {
    batch: &'a NodeBatch<'a>,
    part: NodeSpan,
    pending: Box<Pending<'a>>,
}

impl<'scope> FanOut<'scope, '_> {
    /// Sends a batch, for this thread to read, or begins to.
    fn begin(
        &self,
        batch: &'scope NodeBatch<'scope>,
        route: &'scope Result<Route, Error>,
    ) -> Result<Running<'scope>, Branch<'scope>> {
        let over = |error: &Error| Branch::Over(failed(batch, error));
        let route = route.as_ref().map_err(over)?;
        let deadline = self.deadline;
        route.prepare(&batch.requests, deadline).map_err(|error| over(&error))?;
        let Member { node, peer, .. } = &*route.member;
        let part = peer.take_part(self.verb, self.telling, batch.requests.len());
        // A node with an idle connection is sent to now, and read from when all
        // have been sent to. To open a connection may take time, and so may
        // sending much; that is done on a thread.
        let standby = if batch.is_long() { None } else { node.standby(deadline) };
        if standby.is_some() {
            return send(part, batch, node, standby, deadline).map_err(Branch::Over);
        }
        let work = move || {
            let sent = send(part, batch, node, None, deadline);
            sent.map_or_else(|outcomes| outcomes, |running| running.end(deadline))
        };
        Err(self.elsewhere(batch, Box::new(work)))
    }

    /// Reads a batch's replies. A node that takes long to answer is waited for
    /// elsewhere, so that the others, whose answers may be there by now, are not
    /// late as well.
    fn read(&self, mut running: Running<'scope>) -> Branch<'scope> {
        let deadline = self.deadline;
        let is_late = running.pending.is_late(deadline.or_after(PROMPT));
        let batch = running.batch;
        let end = move || running.end(deadline);
        if is_late { self.elsewhere(batch, Box::new(end)) } else { Branch::Over(end()) }
    }

    /// Does the rest of a batch on a thread of its own, or later if none can
    /// be had.
    fn elsewhere(&self, batch: &'scope NodeBatch<'scope>, work: Rest<'scope>) -> Branch<'scope> {
        // A closure is lost with the thread that cannot be had, and so the work stays here
        // until the thread takes it.
        let left = Arc::new(Mutex::new(Some(work)));
        let take = {
            let left = Arc::clone(&left);
            move || lock(&left).take()
        };
        let run = telemetry::carried(move || take().map_or_else(Vec::new, |work| work()));
        let thread = std::thread::Builder::new().name("memocached-batch".into());
        match thread.spawn_scoped(self.scope, || survive(run)) {
            Ok(thread) => Branch::Elsewhere(batch, thread),
            Err(_) => lock(&left).take().map_or_else(|| Branch::Over(Vec::new()), Branch::Later),
        }
    }
}

impl Branch<'_> {
    /// Waits for the outcomes.
    fn end(self) -> Vec<Outcome> {
        match self {
            // A panic is that of other people's code beside the exchange.
            Branch::Elsewhere(batch, thread) => {
                thread.join().ok().flatten().unwrap_or_else(|| failed(batch, &unanswered()))
            }
            Branch::Later(work) => work(),
            Branch::Over(outcomes) => outcomes,
        }
    }
}

/// Sends a batch; on failure, its outcomes.
fn send<'a>(
    part: NodeSpan,
    batch: &'a NodeBatch<'a>,
    node: &'a Node,
    standby: Option<Standby<'a>>,
    deadline: Deadline,
) -> Result<Running<'a>, Vec<Outcome>> {
    match part.span.in_scope(|| node.begin(standby, &batch.requests, deadline)) {
        Ok(pending) => Ok(Running { batch, part, pending: Box::new(pending) }),
        Err(error) => Err(end(part, batch, Err(error))),
    }
}

impl Running<'_> {
    /// Reads the replies.
    fn end(self, deadline: Deadline) -> Vec<Outcome> {
        end(self.part, self.batch, Ok(self.pending.finish(deadline)))
    }
}

/// Ends a part; one outcome for each request, even if none could be asked.
fn end(part: NodeSpan, batch: &NodeBatch<'_>, outcomes: Result<Vec<Outcome>, Error>) -> Vec<Outcome> {
    let outcomes = outcomes.unwrap_or_else(|error| failed(batch, &error));
    part.end(outcomes.iter().find_map(|outcome| outcome.as_ref().err()));
    outcomes
}

/// Tells once that a server which is asked for leases has none.
fn announce_first(node: &Node, batch: &NodeBatch<'_>) {
    if let Some(request) = batch.requests.first() {
        announce(node, request);
    }
}

/// Returns one error for all requests of a batch.
fn failed(batch: &NodeBatch<'_>, error: &Error) -> Vec<Outcome> {
    batch.requests.iter().map(|_| Err(error.alike())).collect()
}
