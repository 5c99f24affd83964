//! What follows from an item that was found: whether it is refused, fresh, stale
//! or dead.

use std::sync::Arc;
use std::time::Duration;

use super::super::freshness::{Age, Ahead, Grace, is_early};
use super::super::mode::Mode;
use super::super::sibling::Sibling;
use super::holder::LeaseSign;
use super::{Claim, Decision, Effect, Machine, Opener, Readable, Replaced, Step};
use crate::exchange::{Item, Outcome, Reply, Token};
use crate::singleflight::lease::{LEASE, On, Won, fingerprint};
use crate::telemetry::call::{CallSpan, Due, MissReason};
use crate::telemetry::observing::FoundValue;
use crate::value::envelope::Refusal;
use crate::value::mark;
use crate::value::record::{self, Record};

/// Which question the item answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// What the value is.
    Lookup,
    /// Whether this call is elected to refresh it.
    Election,
}

impl Machine {
    /// Decides about an item that was found.
    pub(super) fn found(&mut self, item: Item, asked: Asked, open: &mut Opener<'_>, span: &CallSpan) -> Decision {
        if self.mode == Mode::Refresh {
            return self.supersede(&item, span);
        }
        let item = match self.released(item) {
            Ok(item) => item,
            // The item that it stood beside is gone, so it no longer counts.
            Err(item) => return self.discard(&item, MissReason::Schema, span),
        };
        let opened = match span.try_deserialize(|| open(&item.value, item.flags)) {
            Ok(opened) => opened,
            Err(refusal) => return self.refused(&item, refusal, span),
        };
        self.show(&item.value, item.flags, span);
        let is_older = self.is_older_than_its_groups(&opened);
        if is_older.is_some() && !item.stale && self.reopens(&item, &opened) {
            return Step::Wait;
        }
        let decision = match is_older.unwrap_or_else(|| self.age(&item, &opened)) {
            Age::Fresh(left) => self.fresh(item, &opened, left, asked, span),
            Age::Stale if asked == Asked::Lookup && self.elects_stale(&item) => Step::Wait,
            Age::Stale => self.stale(item, &opened, span),
            Age::Dead => {
                self.replaces(&item, &opened);
                self.dead(&item, span)
            }
        };
        self.pace.found(Duration::from_nanos(opened.cost));
        decision
    }

    /// Decides, once the body has a place, whether it is still needed: another caller may
    /// have stored meanwhile.
    pub(super) fn looked_again(
        &mut self,
        outcome: Outcome,
        reason: MissReason,
        open: &mut Opener<'_>,
        span: &CallSpan,
    ) -> Decision {
        if self.mode != Mode::Refresh
            && let Ok(Reply::Found(item)) = outcome
            && !mark::is_mark(&item)
            && self.groups.allow_storing()
            && let Ok(item) = self.released(item)
            && let Ok(opened) = span.try_deserialize(|| open(&item.value, item.flags))
            && self.is_older_than_its_groups(&opened).is_none()
            && let Age::Fresh(left) = self.age(&item, &opened)
        {
            self.place = None;
            self.show(&item.value, item.flags, span);
            span.coalesced(opened.shown(&item, left));
            return self.keep(item, &opened, left);
        }
        self.compute(reason, span)
    }

    /// Decides about an item that is not this call's value.
    fn refused(&mut self, item: &Item, refusal: Refusal, span: &CallSpan) -> Decision {
        match refusal {
            Refusal::OtherVersion { mark } if self.leaves(item) => {
                self.sibling = Some(Sibling::of(self.key.wire(), mark, item));
                span.moved_to(self.stored_key());
                // The process that was waited for has stored this item.
                self.holder = None;
                Step::Wait
            }
            Refusal::Foreign | Refusal::OtherVersion { .. } => self.discard(item, MissReason::Schema, span),
            Refusal::Corrupt => {
                span.undecodable();
                self.discard(item, MissReason::DecodeError, span)
            }
        }
    }

    fn fresh(&mut self, item: Item, opened: &Readable, left: Option<u64>, asked: Asked, span: &CallSpan) -> Decision {
        if item.token == Token::Won && !opened.is_negative() && self.may_begin() {
            self.elected(&item, opened, On::Fresh);
            return due(MissReason::Refresh, opened.shown(&item, left));
        }
        if asked == Asked::Lookup && self.is_early(left, opened) {
            self.effect = Effect::Elect(Duration::from_secs(item.seconds_left.unwrap_or(0)));
            return Step::Wait;
        }
        self.hit(item, opened, left, span)
    }

    /// Returns whether this call runs for the election to refresh a stale value. Where the
    /// value itself says when it became stale, the lookup could not do that.
    fn elects_stale(&mut self, item: &Item) -> bool {
        let elects = self.freshness.grace == Grace::OfValue
            && item.token == Token::None
            && !item.stale
            && self.mode == Mode::Normal
            && self.cache.numbers(self.stored_key());
        if elects {
            self.effect = Effect::Elect(Duration::from_secs(item.seconds_left.unwrap_or(0)));
        }
        elects
    }

    /// Serves the value, which one caller refreshes.
    fn stale(&mut self, item: Item, opened: &Readable, span: &CallSpan) -> Decision {
        match item.token {
            Token::Won if self.may_begin() => {
                self.elected(&item, opened, On::Stale);
                due(MissReason::Expired, opened.shown(&item, None))
            }
            Token::Lost if self.cache.liveness().is_dead(self.stored_key(), item.cas, LEASE) => {
                self.effect = Effect::Reopen(item.cas, None);
                Step::Wait
            }
            // Without a place the value stays as it is, until another caller is elected.
            Token::None | Token::Lost | Token::Won => {
                span.stale(opened.shown(&item, None));
                self.land(Some(Arc::new(record(item))));
                Step::Return(())
            }
        }
    }

    /// Lets this call refresh the value. Callers that waited for its lookup get the value
    /// that there is, and no later caller waits for the new one.
    fn elected(&mut self, item: &Item, opened: &Readable, on: On) {
        self.replaces(item, opened);
        self.land(Some(Arc::new(record(item.clone()))));
        self.hold(won(item, on));
    }

    /// Keeps a value that this call may replace, if the body wants it.
    fn replaces(&mut self, item: &Item, opened: &Readable) {
        if self.keeps_replaced && !opened.is_negative() {
            let age = opened.age(item);
            self.replaced = Some(Replaced { record: Arc::new(record(item.clone())), age });
        }
    }

    /// Decides about a value that may not be served.
    fn dead(&mut self, item: &Item, span: &CallSpan) -> Decision {
        match item.token {
            Token::Won => {
                self.won(won(item, On::Stale), span);
                self.compute(MissReason::Expired, span)
            }
            Token::Lost => self.lost(item.cas, LeaseSign::OnStale, MissReason::Expired, span),
            Token::None => {
                self.claim(Claim::Replace(item.cas));
                self.compute_with_others(self.flight_under(item.cas), MissReason::Expired, span)
            }
        }
    }

    /// Whether a group of the value was invalidated after it was computed, or before it was
    /// found out.
    fn is_older_than_its_groups(&self, opened: &Readable) -> Option<Age> {
        if self.groups.is_empty() {
            return None;
        }
        let has_grace = || !self.freshness.grace.of(opened.grace()).is_zero() && !opened.is_negative();
        match (opened.stamps(), self.groups.stamps()) {
            (Some(then), Some(now)) if then == now => None,
            (Some(then), Some(now)) if then.hard == now.hard && has_grace() => Some(Age::Stale),
            _ => Some(Age::Dead),
        }
    }

    /// Sees to it that one caller is elected to replace a value of an invalidated group,
    /// where the server can do that.
    fn reopens(&mut self, item: &Item, opened: &Readable) -> bool {
        let can = self.mode != Mode::ReadOnly
            && item.cas != 0
            && self.groups.allow_storing()
            && self.cache.store().tells_time(self.stored_key());
        if !can || self.has_reopened {
            return false;
        }
        self.has_reopened = true;
        // It is served for no longer than grace from now on.
        let grace = self.freshness.grace.of(opened.grace());
        let is_longer = item.seconds_left.is_none_or(|left| Duration::from_secs(left) > grace);
        self.effect = Effect::Reopen(item.cas, (!grace.is_zero() && is_longer).then_some(grace));
        true
    }

    /// Records what is stored in the span, where the operator wants that.
    pub(super) fn show(&self, bytes: &[u8], flags: u32, span: &CallSpan) {
        if self.cache.records_values() {
            span.value(&record::shown(bytes, flags));
        }
    }

    /// Returns the item as this version stored it.
    fn released(&self, item: Item) -> Result<Item, Item> {
        match &self.sibling {
            Some(sibling) => sibling.released(item),
            None => Ok(item),
        }
    }

    /// Returns whether another version's item stays where it is. An item that this call was
    /// elected to rewrite does not, nor one without a number to tell it by.
    fn leaves(&self, item: &Item) -> bool {
        self.sibling.is_none() && item.token != Token::Won && item.cas != 0
    }

    /// Returns the item's age. A return value without a value has no grace.
    fn age(&self, item: &Item, opened: &Readable) -> Age {
        match self.freshness.age(item, opened.grace()) {
            Age::Stale if opened.is_negative() => Age::Dead,
            age => age,
        }
    }

    fn is_early(&self, left: Option<u64>, opened: &Readable) -> bool {
        let (Ahead::Auto, Some(left), false) = (self.freshness.ahead, left, opened.is_negative()) else { return false };
        let chance = self.cache.random().draw(self.key.wire());
        self.mode == Mode::Normal && is_early(Duration::from_nanos(opened.cost), Duration::from_secs(left), chance)
    }

    fn hit(&mut self, item: Item, opened: &Readable, left: Option<u64>, span: &CallSpan) -> Decision {
        if self.holder.is_some() {
            span.coalesced(opened.shown(&item, left));
        } else {
            span.hit(opened.shown(&item, left));
        }
        self.push(&item, opened);
        self.keep(item, opened, left)
    }

    /// Keeps the value that was found in this process, and hands it to its waiters.
    fn keep(&mut self, item: Item, opened: &Readable, left: Option<u64>) -> Decision {
        let near = self.freshness.near.filter(|_| self.mode == Mode::Normal);
        if near.is_none() && self.lead.is_none() {
            return Step::Return(());
        }
        let record = Arc::new(record(item));
        let left = match left {
            // The second that is under way may be over.
            Some(left) => Some(Duration::from_secs(left.saturating_sub(1))),
            // Kept for ever, if the server could tell otherwise.
            None => self.cache.store().tells_time(self.stored_key()).then_some(Duration::MAX),
        };
        if let (Some(near), Some(left)) = (near, left) {
            let holds = self.holds(opened.kind);
            self.cache.near().keep(self.key.wire(), Arc::clone(&record), holds, near.min(left), self.since);
        }
        self.land(Some(record));
        Step::Return(())
    }

    /// Computes in place of an item that is of no use.
    fn discard(&mut self, item: &Item, reason: MissReason, span: &CallSpan) -> Decision {
        self.replace(item, span);
        self.compute_with_others(self.flight_under(item.cas), reason, span)
    }

    /// Computes in place of an item, whatever it is. Another caller that was elected to
    /// replace a stale one may have begun to compute before a change that this call is to
    /// show, so the election is held again.
    fn supersede(&mut self, item: &Item, span: &CallSpan) -> Decision {
        if item.token == Token::Lost && !matches!(self.freshness.age(item, None), Age::Fresh(_)) {
            self.effect = Effect::Reopen(item.cas, None);
            return Step::Wait;
        }
        self.replace(item, span);
        self.compute(MissReason::Refresh, span)
    }

    fn replace(&mut self, item: &Item, span: &CallSpan) {
        match item.token {
            Token::Won => self.won(won(item, if item.stale { On::Stale } else { On::Fresh }), span),
            Token::None | Token::Lost => self.claim(Claim::Replace(item.cas)),
        }
    }
}

fn due(reason: MissReason, value: FoundValue) -> Decision {
    Step::Refresh((), Due { reason, value })
}

pub(super) fn won(item: &Item, on: On) -> Won {
    Won { cas: item.cas, on, value: fingerprint(&item.value) }
}

fn record(item: Item) -> Record {
    Record { bytes: item.value, flags: item.flags }
}
