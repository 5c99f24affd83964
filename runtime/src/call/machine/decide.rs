//! What follows from an event.

use std::time::Duration;

use super::super::freshness::SingleFlight;
use super::found::Asked;
use super::holder::Holder;
use super::{Claim, Decision, Effect, Event, Machine, Opener, Step, patience};
use crate::error::Error;
use crate::exchange::{Grant, Outcome, Reply};
use crate::singleflight::lease::{Lease, On};
use crate::singleflight::{Role, Waited};
use crate::telemetry::call::{CallSpan, MissReason};

const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

impl Machine {
    /// Decides what follows from `event`; `open` opens an item that was found.
    ///
    /// # Errors
    ///
    /// If the cache could not be asked.
    pub(crate) fn judge(&mut self, event: Event, open: &mut Opener<'_>, span: &CallSpan) -> Result<Decision, Error> {
        let decision = match event {
            Event::Reply(outcome) => self.replied(outcome, Asked::Lookup, open, span)?,
            Event::Election(outcome) => self.replied(outcome, Asked::Election, open, span)?,
            Event::Waited(waited) => self.waited(waited, open, span),
            Event::GoOn => self.compute_with_others(None, MissReason::Unavailable, span),
        };
        if !matches!(decision, Step::Wait) {
            self.holder = None;
        }
        Ok(decision)
    }

    fn replied(
        &mut self,
        outcome: Outcome,
        asked: Asked,
        open: &mut Opener<'_>,
        span: &CallSpan,
    ) -> Result<Decision, Error> {
        match outcome.inspect_err(|error| span.unavailable(error))? {
            Reply::Found(item) => Ok(self.found(item, asked, open, span)),
            reply => Ok(self.missing(&reply, span)),
        }
    }

    fn missing(&mut self, reply: &Reply, span: &CallSpan) -> Decision {
        let reason = if self.sibling.is_some() { MissReason::Schema } else { MissReason::Absent };
        match reply {
            Reply::Missing(Grant::Won(cas)) => {
                self.won(*cas, On::Nothing, span);
                self.compute(reason, span)
            }
            Reply::Missing(Grant::Lost { cas, renewed }) => self.lost(*cas, *renewed, reason, span),
            _ => {
                self.claim(Claim::First);
                self.compute_with_others(None, reason, span)
            }
        }
    }

    /// This call won the right to store.
    pub(super) fn won(&mut self, cas: u64, on: On, span: &CallSpan) {
        let id = self.flight_id(cas);
        if self.lead.is_none() && self.coordinates() {
            self.lead = Some(self.cache.flights().lead(self.key.wire(), id, patience(span), span.id()));
        }
        let (store, limits) = (self.cache.store(), self.cache.limits());
        let lease = Lease::hold(store, limits, self.stored_key(), cas, on, self.io);
        if let Some(lead) = &self.lead {
            lease.announce(lead.announces(id));
        }
        self.claim(Claim::Lease(lease));
    }

    /// Another call computes, under the lease with this number.
    pub(super) fn lost(&mut self, cas: u64, renewed: bool, reason: MissReason, span: &CallSpan) -> Decision {
        self.claim(Claim::Lost);
        if self.lead.is_none() {
            if !self.coordinates() {
                return self.compute(reason, span);
            }
            match self.join(Some(cas), span) {
                Role::Wait(waiter) => {
                    self.effect = Effect::Join(waiter);
                    return Step::Wait;
                }
                Role::Lead(lead) => self.lead = Some(lead),
                Role::Alone => return self.compute(reason, span),
            }
        }
        if let Some(lead) = &self.lead {
            lead.runs_as(self.flight_id(cas));
        }
        // The holder is in another process, which is asked about now and then.
        let holder = self.holder.get_or_insert_with(|| Holder::seen(cas, span.wait()));
        let waited = holder.waited();
        let is_shared = self.freshness.single_flight == SingleFlight::Lease;
        if !is_shared || !holder.lives(cas, renewed) || waited >= patience(span) {
            return self.compute(reason, span);
        }
        self.effect = Effect::Pause((waited / 8).clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
        Step::Wait
    }

    /// The wait for a flight ended.
    fn waited(&mut self, waited: Waited<Lease>, open: &mut Opener<'_>, span: &CallSpan) -> Decision {
        match waited {
            Waited::Landed(Some(record)) => match span.try_deserialize(|| open(&record.bytes, record.flags)) {
                Ok(_) => {
                    self.show(&record.bytes, record.flags, span);
                    span.coalesced(record.bytes.len());
                    Step::Return(())
                }
                Err(_) => self.compute(MissReason::Schema, span),
            },
            Waited::Landed(None) | Waited::InCircle => self.compute(MissReason::Absent, span),
            Waited::Succeeds(lead, Some(lease)) if lease.is_for(self.stored_key()) => {
                self.lead = Some(lead);
                self.claim(Claim::Lease(lease));
                self.compute(MissReason::Absent, span)
            }
            // The leader was only looking for the value, could not, or stores it
            // elsewhere.
            Waited::Succeeds(lead, _) => {
                self.lead = Some(lead);
                Step::Wait
            }
            Waited::Overtakes(lead) => {
                self.lead = Some(lead);
                self.compute(MissReason::Absent, span)
            }
        }
    }

    /// Computes, unless another caller in this process does.
    pub(super) fn compute_with_others(&mut self, lease: Option<u64>, reason: MissReason, span: &CallSpan) -> Decision {
        if self.lead.is_none() && self.coordinates() {
            match self.join(lease, span) {
                Role::Wait(waiter) => {
                    self.effect = Effect::Join(waiter);
                    return Step::Wait;
                }
                Role::Lead(lead) => self.lead = Some(lead),
                Role::Alone => {}
            }
        }
        self.compute(reason, span)
    }

    pub(super) fn compute(&mut self, reason: MissReason, span: &CallSpan) -> Decision {
        span.miss(reason);
        Step::Compute
    }
}
