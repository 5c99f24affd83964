//! What follows from an event.

use std::sync::Arc;

use super::super::freshness::SingleFlight;
use super::super::mode::Mode;
use super::found::{Asked, won};
use super::groups::KnownStamps;
use super::holder::{Holder, HolderVerdict, LeaseSign};
use super::{Claim, Decision, Effect, Event, Machine, Opener, Step};
use crate::error::{Error, ErrorKind};
use crate::exchange::{Grant, Item, Note, Outcome, Reply, Token};
use crate::singleflight::drive::Drive;
use crate::singleflight::lease::{Job, Lease, On, Won};
use crate::singleflight::pace::Payment;
use crate::singleflight::places::Admitted;
use crate::singleflight::{Lead, Waited, WantedFlight};
use crate::telemetry::call::{CallSpan, MissReason};
use crate::telemetry::observing::FoundValue;
use crate::value::mark;

impl Machine {
    /// Decides what follows from `event`; `open` opens an item that was found.
    ///
    /// # Errors
    ///
    /// If the cache could not be asked.
    pub(crate) fn judge(&mut self, event: Event, open: &mut Opener<'_>, span: &CallSpan) -> Result<Decision, Error> {
        let decision = match event {
            Event::Reply(Err(error)) if self.polls_again(&error) => Step::Wait,
            Event::Reply(outcome) => self.replied(outcome, Asked::Lookup, open, span)?,
            Event::Election(outcome) => self.replied(outcome, Asked::Election, open, span)?,
            Event::TakenOver(outcome) => self.taken_over(outcome, span)?,
            Event::Waited(waited) => self.waited(waited, open, span),
            Event::LookedAgain(outcome, reason) => self.looked_again(outcome, reason, open, span),
            Event::GoOn => self.compute_with_others(self.trouble, MissReason::Unavailable, span),
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
        let reply = self.answered(outcome, span)?;
        if let KnownStamps::Marked(_) = self.groups.known {
            return Ok(self.group_marked(reply, span));
        }
        match reply {
            Reply::Found(item) if mark::is_mark(&item) => Ok(self.marked(item.cas, span)),
            Reply::Found(item) => Ok(self.found(item, asked, open, span)),
            reply => Ok(self.missing(&reply, span)),
        }
    }

    /// Returns whether this call asks about another process once more, since this poll was
    /// only late.
    fn polls_again(&mut self, error: &Error) -> bool {
        let holder = self.holder.as_mut().filter(|_| is_late(error));
        let Some(pause) = holder.and_then(|holder| holder.unanswered(self.pace)) else { return false };
        self.lead.iter().for_each(|lead| lead.pause(pause));
        self.effect = Effect::Pause(pause);
        true
    }

    /// Returns the reply, or notes why there is none.
    fn answered(&mut self, outcome: Outcome, span: &CallSpan) -> Result<Reply, Error> {
        outcome.inspect_err(|error| {
            span.unavailable(error);
            // A reply that was late or lost may have hidden a change by another
            // process, so what this process computes since before the call will
            // not do. Where the server was left alone before there is nothing to hide.
            let is_away = error.kind() == ErrorKind::CircuitOpen
                && self.cache.store().is_out_since(self.stored_key(), self.begun);
            self.trouble = if is_away { WantedFlight::Any } else { WantedFlight::Since(self.begun) };
        })
    }

    /// Decides after the attempt to take over a lease.
    fn taken_over(&mut self, outcome: Outcome, span: &CallSpan) -> Result<Decision, Error> {
        match self.answered(outcome, span)? {
            Reply::Renewed(cas) => {
                self.won(Won { cas, on: On::Nothing, value: 0 }, span);
                Ok(self.compute(MissReason::Absent, span))
            }
            // The holder has stored, or another process was first.
            _ => {
                self.refund();
                Ok(Step::Wait)
            }
        }
    }

    /// Takes back what this call paid for overtaking a holder.
    pub(super) fn refund(&mut self) {
        if self.payment.take() == Some(Payment::Token) {
            self.pace.refund();
        }
    }

    /// Computes and does not store, since a writer is at work. Calls that have found the mark
    /// under this number do so together: each writer that ends gives it another number.
    fn marked(&mut self, cas: u64, span: &CallSpan) -> Decision {
        self.claim(Claim::Marked);
        self.runs_under(cas);
        self.compute_with_others(self.flight_under(cas), MissReason::Changing, span)
    }

    /// Computes and does not store, since a writer is at work on a whole group. What this
    /// call has won is given back when it ends.
    fn group_marked(&mut self, reply: Reply, span: &CallSpan) -> Decision {
        match reply {
            Reply::Missing(Grant::Won(cas)) if cas != 0 => {
                self.won(Won { cas, on: On::Nothing, value: 0 }, span);
                self.compute(MissReason::Changing, span)
            }
            Reply::Found(item) if item.token == Token::Won && !mark::is_mark(&item) => {
                self.won(won(&item, On::Stale), span);
                self.compute(MissReason::Changing, span)
            }
            Reply::Found(Item { cas, .. }) | Reply::Missing(Grant::Lost { cas, .. }) if cas != 0 => {
                self.marked(cas, span)
            }
            // Nothing tells this computation from one that began before.
            _ => {
                self.claim(Claim::Marked);
                self.compute(MissReason::Changing, span)
            }
        }
    }

    fn missing(&mut self, reply: &Reply, span: &CallSpan) -> Decision {
        let reason = if self.sibling.is_some() { MissReason::Schema } else { MissReason::Absent };
        match reply {
            // The leases of a server that numbers nothing cannot be held.
            Reply::Missing(Grant::Won(0) | Grant::Lost { cas: 0, .. }) => {
                self.cache.has_no_numbers(self.stored_key());
                self.claim(Claim::Lost);
                self.compute_with_others(WantedFlight::Since(self.begun), reason, span)
            }
            Reply::Missing(Grant::Won(cas)) => {
                self.won(Won { cas: *cas, on: On::Nothing, value: 0 }, span);
                self.compute(reason, span)
            }
            // A server that did not tell the number of the lease taken over.
            Reply::Missing(Grant::Lost { cas, note }) if note.is_some() && *note == self.note => {
                self.won(Won { cas: *cas, on: On::Nothing, value: 0 }, span);
                self.compute(reason, span)
            }
            // The holder may have begun to compute before a change that this call is to
            // show.
            Reply::Missing(Grant::Lost { cas, .. }) if self.mode == Mode::Refresh => {
                self.effect = self.take_over(*cas);
                Step::Wait
            }
            Reply::Missing(Grant::Lost { cas, note }) if self.cache.numbers(self.stored_key()) => {
                self.lost(*cas, LeaseSign::of(*note), reason, span)
            }
            // The lease that this call had added was gone again: there is nothing to store under.
            Reply::Missing(Grant::Free) if self.cache.numbers(self.stored_key()) => {
                self.claim(Claim::Lost);
                self.compute_with_others(WantedFlight::Since(self.begun), reason, span)
            }
            _ => {
                self.claim(Claim::First);
                // Nothing tells an older computation from one that began after a change.
                self.compute_with_others(WantedFlight::Since(self.begun), reason, span)
            }
        }
    }

    /// Takes the right to store, which this call won, and leads the callers in this process.
    pub(super) fn won(&mut self, won: Won, span: &CallSpan) {
        if self.lead.is_none() && self.coordinates() {
            let id = self.flight_id(won.cas);
            self.lead = Some(self.flights().lead(self.key.wire(), id, self.pace, span.id()));
        }
        self.hold(won);
    }

    /// Holds the lease that this call won.
    pub(super) fn hold(&mut self, won: Won) {
        self.runs_under(won.cas);
        let drive = self.lead.as_ref().map_or_else(|| Arc::new(Drive::new()), |lead| lead.drive());
        let job = Job { pace: self.pace, drive, note: self.note.take() };
        let lease = Lease::hold(self.cache.store(), self.cache.limits(), self.stored_key(), won, self.io, job);
        if let Some(lead) = &self.lead {
            lease.announce(lead.announces(self.flight_id(won.cas)));
            lead.share(lease.clone());
        }
        self.claim(Claim::Lease(lease));
    }

    /// Decides while another call computes, under the lease with this number.
    pub(super) fn lost(&mut self, cas: u64, sign: LeaseSign, reason: MissReason, span: &CallSpan) -> Decision {
        self.claim(Claim::Lost);
        if self.lead.is_none() {
            if self.coordinates() && self.joins(self.flight_under(cas), span) {
                return Step::Wait;
            }
            if self.lead.is_none() {
                return self.compute(reason, span);
            }
        }
        self.runs_under(cas);
        // The holder is in another process, which is asked about now and then.
        if self.freshness.single_flight != SingleFlight::Lease {
            return self.compute(reason, span);
        }
        if let Some(estimate) = sign.estimate() {
            self.pace.heard(estimate);
        }
        let holder = self.holder.get_or_insert_with(|| Holder::seen(cas, sign, span.wait()));
        self.effect = match holder.judge(cas, sign, self.pace) {
            HolderVerdict::Pause(pause) => {
                self.lead.iter().for_each(|lead| lead.pause(pause));
                Effect::Pause(pause)
            }
            HolderVerdict::TakeOver(payment) => {
                self.payment = Some(payment);
                self.take_over(cas)
            }
        };
        Step::Wait
    }

    pub(super) fn take_over(&mut self, cas: u64) -> Effect {
        Effect::TakeOver(cas, *self.note.insert(Note::new(self.pace.estimate())))
    }

    /// Decides after the wait for a flight.
    fn waited(&mut self, waited: Waited<Lease>, open: &mut Opener<'_>, span: &CallSpan) -> Decision {
        match waited {
            Waited::Landed(Some(record)) => match span.try_deserialize(|| open(&record.bytes, record.flags)) {
                Ok(opened) => {
                    self.show(&record.bytes, record.flags, span);
                    span.coalesced(FoundValue { size: record.bytes.len(), cost: opened.cost, ..FoundValue::default() });
                    Step::Return(())
                }
                Err(_) => self.compute(MissReason::Schema, span),
            },
            Waited::Landed(None) | Waited::InCircle => self.compute(MissReason::Absent, span),
            Waited::Succeeds(lead, Some(lease)) if lease.is_for(self.stored_key()) => {
                lease.driven_by(lead.drive());
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
            // Whichever leader ends first stores, under the same lease.
            Waited::Overtakes(lead, lease) => {
                let drive = lead.drive();
                self.lead = Some(lead);
                if let Some(lease) = lease.filter(|lease| lease.is_for(self.stored_key())) {
                    lease.driven_by(drive);
                    self.claim(Claim::Lease(lease));
                }
                self.compute(MissReason::Absent, span)
            }
        }
    }

    /// Computes, unless another caller in this process does.
    pub(super) fn compute_with_others(
        &mut self,
        wanted: WantedFlight,
        reason: MissReason,
        span: &CallSpan,
    ) -> Decision {
        if self.lead.is_none() && self.coordinates() && self.joins(wanted, span) {
            return Step::Wait;
        }
        self.compute(reason, span)
    }

    /// Computes, once there is a place for the body.
    pub(super) fn compute(&mut self, reason: MissReason, span: &CallSpan) -> Decision {
        if let (Some(places), None) = (self.places, &self.place) {
            match places.admit(self.pace) {
                Admitted::Free => {}
                Admitted::Now(place) => self.place = Some(place),
                Admitted::Later(turn) => {
                    // A caller waiting for the value would only wait for a place as well.
                    self.lead.iter().for_each(|lead| lead.pause(self.pace.free_after()));
                    self.queues(true);
                    self.effect = Effect::Queue(turn, reason);
                    return Step::Wait;
                }
            }
        }
        self.lead.iter().for_each(Lead::begin);
        span.miss(reason);
        Step::Compute
    }
}

/// Whether there was no answer in time.
fn is_late(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Timeout | ErrorKind::OutOfTime)
}
