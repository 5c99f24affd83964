//! Several calls that are made together: what they ask and store goes out in one
//! exchange per node.
//!
//! Each call is decided by its own [`Machine`]. The calls have one cache.

use std::borrow::Cow;
#[cfg(feature = "tokio")]
use std::sync::Arc;

use super::groups::Answered;
use super::holder::Holder;
#[cfg(feature = "tokio")]
use super::question::unclaimed;
use super::stamped::{self, Inquiry};
use super::store::Packing;
use super::{Claim, Effect, Machine};
use crate::cache::Cache;
use crate::cache::near::Since;
#[cfg(feature = "tokio")]
use crate::detached::{self, Resolute, Work};
use crate::exchange::{Guard, Outcome, Request, Verb};
#[cfg(feature = "tokio")]
use crate::singleflight::drive::Drive;
use crate::singleflight::lease::Forfeit;
use crate::singleflight::{Computation, Lead};
#[cfg(feature = "tokio")]
use crate::telemetry;
use crate::telemetry::call::{CallSpan, MissReason};
use crate::time::budget::Budget;

impl Machine {
    /// Makes the call's flights part of a computation that it shares with others.
    pub(crate) fn shares(&mut self, computation: Computation) {
        self.shared = Some(computation);
        // The body is the batch's.
        self.places = None;
    }

    /// Returns whether the call asks about another process.
    pub(crate) fn waits_for_another(&self) -> bool {
        self.holder.is_some()
    }

    /// Waits no longer: the value is computed beside the other computation, and stored
    /// if this call may.
    pub(crate) fn give_up_waiting(&mut self, span: &CallSpan) {
        self.effect = Effect::Ask;
        self.holder = None;
        self.compute(MissReason::Absent, span);
    }

    /// Takes the lease over that the call waits for, if it has waited for long enough.
    /// Another call of the same computation has paid for that.
    pub(crate) fn takes_over_too(&mut self) {
        let is_overdue = self.holder.as_ref().is_some_and(|holder| holder.is_overdue(self.pace));
        if let (Effect::Pause(_), true, Some(cas)) = (&self.effect, is_overdue, self.holder.as_ref().map(Holder::cas)) {
            self.effect = self.take_over(cas);
        }
    }

    /// Returns whether the call is about to take a lease over.
    pub(crate) fn takes_over(&self) -> bool {
        matches!(self.effect, Effect::TakeOver(..))
    }

    /// Notes the polls of the computation here from now on.
    #[cfg(feature = "tokio")]
    pub(crate) fn driven_by(&mut self, drive: &Arc<Drive>) {
        if let Some(lead) = &mut self.lead {
            lead.driven_by(drive);
        }
        if let Claim::Lease(lease) = &self.claim {
            lease.driven_by(Arc::clone(drive));
        }
    }

    /// Ends a lease that is not used.
    pub(super) fn forfeit(&self) -> Option<Forfeit> {
        if let Claim::Lease(lease) = &self.claim { lease.forfeit() } else { None }
    }

    /// Ends the lease, unless other callers wait: one of them succeeds to it.
    fn forfeit_unawaited(&self) -> Option<Forfeit> {
        if self.lead.as_ref().is_some_and(Lead::is_awaited) { None } else { self.forfeit() }
    }
}

/// Asks what these calls need to know.
pub(crate) fn ask(calls: &[&Machine], budget: &Budget) -> Vec<Answered> {
    let Some(first) = calls.first() else { return Vec::new() };
    if calls.iter().any(|call| !call.groups.is_empty()) {
        let asked: Vec<_> = calls.iter().map(|call| Inquiry::by(call)).collect();
        return stamped::ask(first.cache.store(), &asked, budget);
    }
    let requests: Vec<_> = calls.iter().map(|call| call.question().about(call.stored_key())).collect();
    first.cache.store().ask_each(Verb::GetMany, &requests, budget).into_iter().map(Answered::from).collect()
}

/// A call that has ended, and what it stores.
pub(crate) struct Ended {
    pub(crate) machine: Machine,
    pub(crate) packing: Option<Packing>,
}

/// A call that stores.
struct ToStore {
    machine: Machine,
    packing: Packing,
    /// What storing is guarded by; `None` if the call may not any more.
    guard: Option<Guard>,
    /// The bytes to store, if they are not the record's.
    bytes: Option<Vec<u8>>,
    /// The state of the near tier before the request was sent.
    sent: Since,
}

impl ToStore {
    fn new(machine: Machine, packing: Packing) -> Self {
        machine.pause_for_io();
        let bytes = match machine.anchored(&packing.record) {
            Cow::Owned(bytes) => Some(bytes),
            Cow::Borrowed(_) => None,
        };
        ToStore { machine, packing, guard: None, bytes, sent: Since::default() }
    }

    fn request(&self) -> Option<Request<'_>> {
        let bytes = self.bytes.as_deref().unwrap_or(&self.packing.record.bytes);
        Some(self.machine.storing(&self.packing, bytes, self.guard?))
    }
}

/// What several calls leave to be done at their end.
pub(crate) struct Settlement {
    cache: Cache,
    storing: Vec<ToStore>,
    /// Calls that remove what is stored.
    removing: Vec<Machine>,
    forfeits: Vec<Forfeit>,
    budget: Budget,
    span: CallSpan,
}

impl Settlement {
    /// Ends these calls; what is left takes an exchange.
    pub(crate) fn of(ended: Vec<Ended>, cache: Cache, budget: Budget, span: CallSpan) -> Self {
        let (mut storing, mut removing, mut forfeits) = (Vec::new(), Vec::new(), Vec::new());
        for Ended { mut machine, packing } in ended {
            match packing {
                Some(packing) if packing.stores => storing.push(ToStore::new(machine, packing)),
                None if machine.removes => removing.push(machine),
                packing => {
                    forfeits.extend(machine.forfeit());
                    machine.settle(packing, &span);
                }
            }
        }
        Settlement { cache, storing, removing, forfeits, budget, span }
    }

    /// Leaves calls that end without having computed: their leases go to callers that
    /// wait, or back to the server.
    pub(crate) fn leaving(calls: &[Machine], cache: Cache, span: CallSpan) -> Self {
        let forfeits = calls.iter().filter_map(Machine::forfeit_unawaited).collect();
        let budget = cache.budget();
        Settlement { cache, storing: Vec::new(), removing: Vec::new(), forfeits, budget, span }
    }

    /// Whether nothing is left.
    pub(crate) fn is_done(&self) -> bool {
        self.storing.is_empty() && self.removing.is_empty() && self.forfeits.is_empty()
    }

    /// Stores and gives back without a caller that waits, if there is a runtime for
    /// that.
    pub(crate) fn leave(self) {
        #[cfg(feature = "tokio")]
        if self.cache.store().is_remote() && detached::is_possible() {
            return detached::run(telemetry::within_current(self.run_async()));
        }
        self.run();
    }

    /// Stores and gives back, blocking.
    pub(crate) fn run(mut self) {
        for storing in &mut self.storing {
            storing.guard = match &storing.machine.claim {
                Claim::Lease(lease) => lease.end(&self.budget),
                claim => Some(claim.guard()),
            };
        }
        self.note_sent();
        let (store, budget) = (self.cache.store(), &self.budget);
        let stored = self.aligned(store.ask_each(Verb::SetMany, &self.stores(), budget));
        let _ = store.ask_each(Verb::DeleteMany, &self.removals(&stored), budget);
        self.stored(stored);
    }

    /// Does the same without blocking, as work that is to run to its end.
    #[cfg(feature = "tokio")]
    pub(crate) fn run_async(mut self) -> Work<'static, ()> {
        Box::pin(async move {
            for storing in &mut self.storing {
                storing.guard = match &storing.machine.claim {
                    Claim::Lease(lease) => lease.end_async(&self.budget).await,
                    claim => Some(claim.guard()),
                };
            }
            self.note_sent();
            let (store, budget) = (self.cache.store(), &self.budget);
            let stored = self.aligned(store.ask_each_async(Verb::SetMany, &self.stores(), budget).await);
            let _ = store.ask_each_async(Verb::DeleteMany, &self.removals(&stored), budget).await;
            self.stored(stored);
        })
    }

    fn stores(&self) -> Vec<Request<'_>> {
        self.storing.iter().filter_map(ToStore::request).collect()
    }

    fn note_sent(&mut self) {
        for storing in &mut self.storing {
            storing.sent = storing.machine.sent();
        }
    }

    /// Returns how storing ended for each call that may still store.
    fn aligned(&self, outcomes: Vec<Outcome>) -> Vec<Option<Outcome>> {
        let mut outcomes = outcomes.into_iter();
        self.storing.iter().map(|storing| storing.guard.and_then(|_| outcomes.next())).collect()
    }

    /// Returns what is given back, and what is removed because it could not be replaced.
    fn removals(&self, stored: &[Option<Outcome>]) -> Vec<Request<'_>> {
        let superseded = self.storing.iter().zip(stored);
        let superseded = superseded.filter(|(storing, outcome)| storing.machine.supersedes(outcome.as_ref()));
        let superseded = superseded.map(|(storing, _)| storing.machine.removing());
        let removed = self.removing.iter().map(Machine::removing);
        self.forfeits.iter().map(Forfeit::request).chain(superseded).chain(removed).collect()
    }

    /// Takes in how storing ended, and lands the flights.
    fn stored(self, outcomes: Vec<Option<Outcome>>) {
        for (ToStore { mut machine, packing, sent, .. }, outcome) in self.storing.into_iter().zip(outcomes) {
            machine.stored(outcome, &packing, sent, &self.span);
            machine.land(Some(packing.record));
        }
        for mut machine in self.removing {
            machine.forget();
            machine.end();
        }
    }
}

/// Asks what these calls need to know, yielding. What is won for a caller that has
/// gone meanwhile is given back.
#[cfg(feature = "tokio")]
pub(crate) async fn ask_async(calls: &[&Machine], budget: &Budget) -> Vec<Answered> {
    let Some(first) = calls.first() else { return Vec::new() };
    if !first.cache.store().is_remote() {
        return ask(calls, budget);
    }
    let (cache, lent) = (first.cache.clone(), budget.lend());
    let asked: Vec<_> = calls.iter().map(|call| Inquiry::by(call)).collect();
    let work = Box::pin(async move {
        let answers = stamped::ask_async(cache.store(), &asked, &lent).await;
        Replies { answers, asked, cache, budget: lent }
    });
    let replies = Resolute::new(work, |work| {
        detached::run(telemetry::within_current(async { work.await.forsake().await }));
    });
    let Replies { answers, budget: lent, .. } = replies.await;
    budget.become_of(&lent);
    answers
}

/// The store's answers to what several calls have asked.
#[cfg(feature = "tokio")]
struct Replies {
    answers: Vec<Answered>,
    asked: Vec<Inquiry>,
    cache: Cache,
    budget: Budget,
}

#[cfg(feature = "tokio")]
impl Replies {
    /// Gives back the leases that were won, because the caller is gone.
    async fn forsake(self) {
        let won = |(asked, answer): (&Inquiry, &Answered)| {
            unclaimed(&answer.outcome, asked.freshness).map(|won| Forfeit::won(&asked.key, won))
        };
        let forfeits: Vec<_> = self.asked.iter().zip(&self.answers).filter_map(won).collect();
        let requests: Vec<_> = forfeits.iter().map(Forfeit::request).collect();
        let _ = self.cache.store().ask_each_async(Verb::DeleteMany, &requests, &self.cache.budget()).await;
    }
}
