//! What follows from what has come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Arrival, Claim, Next, Open, Opened, Place, Verdict, patience};
use crate::cache::near::Holds;
use crate::call::freshness::{Age, Ahead, SingleFlight, is_early};
use crate::call::mode::Mode;
use crate::call::sibling::Aside;
use crate::error::Error;
use crate::exchange::{Item, Lease as Granted, Reply, Token};
use crate::singleflight::lease::{LEASE, Lease, On, SILENCE};
use crate::singleflight::{Part, Waited};
use crate::telemetry::call::{CallSpan, Due, MissReason, Wait};
use crate::value::envelope::Refusal;
use crate::value::record::{self, Record};

const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

impl Place {
    /// Decides what follows from `arrival`; `open` opens what was found.
    ///
    /// # Errors
    ///
    /// If the cache could not be asked.
    pub(crate) fn judge(&mut self, arrival: Arrival, open: &mut Open<'_>, span: &CallSpan) -> Result<Verdict, Error> {
        let verdict = match arrival {
            Arrival::Reply(Ok(Reply::Found(item))) => self.found(item, open, false, span),
            Arrival::Election(Ok(Reply::Found(item))) => self.found(item, open, true, span),
            Arrival::Reply(Ok(reply)) | Arrival::Election(Ok(reply)) => self.missing(&reply, span),
            Arrival::Reply(Err(error)) | Arrival::Election(Err(error)) => {
                span.unavailable(&error);
                return Err(error);
            }
            Arrival::Waited(waited) => self.waited(waited, open, span),
            Arrival::GoOn => self.compute_with_others(None, MissReason::Unavailable, span),
        };
        if !matches!(verdict, Verdict::Wait) {
            self.holder = None;
        }
        Ok(verdict)
    }

    fn missing(&mut self, reply: &Reply, span: &CallSpan) -> Verdict {
        let reason = if self.aside.is_some() { MissReason::Schema } else { MissReason::Absent };
        match reply {
            Reply::Missing(Granted::Won(cas)) => {
                self.won(*cas, On::Nothing, span);
                self.compute(reason, span)
            }
            Reply::Missing(Granted::Lost { cas, renewed }) => self.lost(*cas, *renewed, reason, span),
            _ => {
                self.claim(Claim::First);
                self.compute_with_others(None, reason, span)
            }
        }
    }

    /// Something is stored.
    fn found(&mut self, item: Item, open: &mut Open<'_>, elected: bool, span: &CallSpan) -> Verdict {
        if self.mode == Mode::Refresh {
            self.replace(&item, span);
            return self.compute(MissReason::Refresh, span);
        }
        let item = match self.released(item) {
            Ok(item) => item,
            // What it stood beside is gone, and so it counts no more.
            Err(item) => {
                self.replace(&item, span);
                return self.compute_with_others(Some(item.cas), MissReason::Schema, span);
            }
        };
        let opened = match span.try_deserialize(|| open(&item.value, item.flags)) {
            Ok(opened) => opened,
            Err(Refusal::OtherVersion { mark }) if self.leaves(&item) => {
                self.aside = Some(Aside::of(self.key.wire(), mark, &item));
                // Who was waited for has stored what was found.
                self.holder = None;
                return Verdict::Wait;
            }
            Err(refusal) => {
                let reason = match refusal {
                    Refusal::Foreign | Refusal::OtherVersion { .. } => MissReason::Schema,
                    Refusal::Corrupt => {
                        span.undecodable();
                        MissReason::DecodeError
                    }
                };
                self.replace(&item, span);
                return self.compute_with_others(Some(item.cas), reason, span);
            }
        };
        self.show(&item.value, item.flags, span);
        match self.age(&item, &opened) {
            Age::Fresh(left) => match item.token {
                Token::Won if !opened.negative => {
                    self.won(item.cas, On::Fresh, span);
                    due(MissReason::Refresh, &item, &opened)
                }
                _ if !elected && self.is_early(left, &opened) => {
                    self.next = Next::Elect(Duration::from_secs(left.unwrap_or(0)));
                    Verdict::Wait
                }
                _ => self.hit(item, &opened, left, span),
            },
            Age::Stale => match item.token {
                Token::Won => {
                    self.won(item.cas, On::Stale, span);
                    due(MissReason::Expired, &item, &opened)
                }
                Token::Lost if self.cache.vigil().is_dead(self.slot(), item.cas, LEASE) => {
                    self.next = Next::Reopen(item.cas);
                    Verdict::Wait
                }
                _ => {
                    span.stale(item.value.len(), opened.cost);
                    self.land(Some(Arc::new(record(item))));
                    Verdict::Use
                }
            },
            Age::Dead => match item.token {
                Token::Won => {
                    self.won(item.cas, On::Stale, span);
                    self.compute(MissReason::Expired, span)
                }
                Token::Lost => self.lost(item.cas, true, MissReason::Expired, span),
                Token::None => {
                    self.claim(Claim::Replace(item.cas));
                    self.compute_with_others(Some(item.cas), MissReason::Expired, span)
                }
            },
        }
    }

    /// Has the span show what is stored, if that is wanted.
    pub(super) fn show(&self, bytes: &[u8], flags: u32, span: &CallSpan) {
        if self.cache.records_values() {
            span.value(&record::shown(bytes, flags));
        }
    }

    /// The item as this version has stored it.
    fn released(&self, item: Item) -> Result<Item, Item> {
        match &self.aside {
            Some(aside) => aside.released(item),
            None => Ok(item),
        }
    }

    /// Whether another version's item is left where it is. One that this call
    /// is the one to write anew is not, nor one that has no number to be told
    /// by.
    fn leaves(&self, item: &Item) -> bool {
        self.aside.is_none() && item.token != Token::Won && item.cas != 0
    }

    /// One without a value has no grace behind its time.
    pub(super) fn age(&self, item: &Item, opened: &Opened) -> Age {
        match self.terms.age(item) {
            Age::Stale if opened.negative && !item.stale => Age::Fresh(item.seconds_left),
            Age::Stale if opened.negative => Age::Dead,
            age => age,
        }
    }

    fn is_early(&self, left: Option<u64>, opened: &Opened) -> bool {
        let (Ahead::Auto, Some(left), false) = (self.terms.ahead, left, opened.negative) else { return false };
        let chance = self.cache.chance().draw(self.key.wire());
        self.mode == Mode::Normal && is_early(Duration::from_nanos(opened.cost), Duration::from_secs(left), chance)
    }

    fn hit(&mut self, item: Item, opened: &Opened, left: Option<u64>, span: &CallSpan) -> Verdict {
        if self.holder.is_some() {
            span.coalesced(item.value.len());
        } else {
            span.hit(item.value.len(), opened.cost);
        }
        let near = self.terms.near.filter(|_| self.mode == Mode::Normal);
        if near.is_none() && self.lead.is_none() {
            return Verdict::Use;
        }
        let record = Arc::new(record(item));
        if let (Some(near), Some(left)) = (near, left) {
            // The second that is under way may be over.
            let left = Duration::from_secs(left.saturating_sub(1));
            let holds = if opened.negative { Holds::Nothing } else { Holds::Value };
            self.cache.near().keep(self.key.wire(), Arc::clone(&record), holds, near.min(left), self.since);
        }
        self.land(Some(record));
        Verdict::Use
    }

    /// This call is the one to store.
    fn won(&mut self, cas: u64, on: On, span: &CallSpan) {
        let number = self.flight_of(cas);
        if let Some(lead) = &self.lead {
            lead.is_under(number);
        } else if self.coordinates() {
            let flights = self.cache.flights();
            self.lead = Some(flights.lead(self.key.wire(), Some(number), patience(span), span.id()));
        }
        let lease = Lease::hold(self.cache.store(), self.cache.limits(), self.slot(), cas, on, self.waiting);
        if let Some(lead) = &self.lead {
            lease.tells(lead.number(), cas ^ number);
        }
        self.claim(Claim::Lease(lease));
    }

    fn replace(&mut self, item: &Item, span: &CallSpan) {
        match item.token {
            Token::Won => self.won(item.cas, if item.stale { On::Stale } else { On::Fresh }, span),
            Token::None | Token::Lost => self.claim(Claim::Replace(item.cas)),
        }
    }

    /// Another call computes, under the lease with this number.
    fn lost(&mut self, cas: u64, renewed: bool, reason: MissReason, span: &CallSpan) -> Verdict {
        self.claim(Claim::Lost);
        if self.lead.is_none() {
            if !self.coordinates() {
                return self.compute(reason, span);
            }
            match self.join(Some(cas), span) {
                Part::Wait(waiter) => {
                    self.next = Next::Join(waiter);
                    return Verdict::Wait;
                }
                Part::Lead(lead) => self.lead = Some(lead),
                Part::None => return self.compute(reason, span),
            }
        }
        if let Some(lead) = &self.lead {
            lead.is_under(self.flight_of(cas));
        }
        // In another process, which is asked about now and then.
        let holder = self.holder.get_or_insert_with(|| Holder::seen(cas, span.wait()));
        let waited = holder.since.elapsed();
        if self.terms.single_flight != SingleFlight::Lease || !holder.lives(cas, renewed) || waited >= patience(span) {
            return self.compute(reason, span);
        }
        self.next = Next::Pause((waited / 8).clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
        Verdict::Wait
    }

    /// Waiting for a flight has come to this.
    fn waited(&mut self, waited: Waited<Lease>, open: &mut Open<'_>, span: &CallSpan) -> Verdict {
        match waited {
            Waited::Landed(Some(record)) => match span.try_deserialize(|| open(&record.bytes, record.flags)) {
                Ok(_) => {
                    self.show(&record.bytes, record.flags, span);
                    span.coalesced(record.bytes.len());
                    Verdict::Use
                }
                Err(_) => self.compute(MissReason::Schema, span),
            },
            Waited::Landed(None) | Waited::InCircle => self.compute(MissReason::Absent, span),
            Waited::Succeeds(lead, Some(lease)) if lease.is_for(self.slot()) => {
                self.lead = Some(lead);
                self.claim(Claim::Lease(lease));
                self.compute(MissReason::Absent, span)
            }
            // Whoever led was only looking for the value, or could not, or had
            // another place for it.
            Waited::Succeeds(lead, _) => {
                self.lead = Some(lead);
                Verdict::Wait
            }
            Waited::Overtakes(lead) => {
                self.lead = Some(lead);
                self.compute(MissReason::Absent, span)
            }
        }
    }

    /// Computes, unless another caller in this process does.
    fn compute_with_others(&mut self, lease: Option<u64>, reason: MissReason, span: &CallSpan) -> Verdict {
        if self.lead.is_none() && self.coordinates() {
            match self.join(lease, span) {
                Part::Wait(waiter) => {
                    self.next = Next::Join(waiter);
                    return Verdict::Wait;
                }
                Part::Lead(lead) => self.lead = Some(lead),
                Part::None => {}
            }
        }
        self.compute(reason, span)
    }

    fn compute(&mut self, reason: MissReason, span: &CallSpan) -> Verdict {
        span.miss(reason);
        Verdict::Compute
    }
}

/// Another process that holds the lease, as far as it can be seen.
pub(super) struct Holder {
    since: Instant,
    cas: u64,
    /// Since when the lease has had this number.
    unchanged: Instant,
    pub(super) wait: Wait,
}

impl Holder {
    fn seen(cas: u64, wait: Wait) -> Self {
        let now = Instant::now();
        Holder { since: now, cas, unchanged: now, wait }
    }

    /// Whether it is still at it: who is renews the lease, which changes its
    /// number.
    fn lives(&mut self, cas: u64, renewed: bool) -> bool {
        if cas != self.cas {
            (self.cas, self.unchanged) = (cas, Instant::now());
        }
        self.unchanged.elapsed() < if renewed { LEASE } else { SILENCE }
    }
}

fn due(reason: MissReason, item: &Item, opened: &Opened) -> Verdict {
    Verdict::Refresh(Due { reason, size: item.value.len(), cost: opened.cost })
}

fn record(item: Item) -> Record {
    Record { bytes: item.value, flags: item.flags }
}
