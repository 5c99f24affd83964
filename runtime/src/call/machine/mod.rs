//! What to do next, decided from what has come back: the one place that fails
//! open, waits and serves what is stale.
//!
//! A [`Place`] knows everything about a call but its value's type. It says what
//! to wait for and takes what comes; `call` does the waiting, blocking or not.

mod decide;
mod store;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use crate::cache::Cache;
use crate::cache::near::Since;
use crate::call::freshness::{SingleFlight, Terms};
use crate::call::mode::Mode;
use crate::call::sibling::Aside;
use crate::exchange::Outcome;
use crate::key::Key;
use crate::singleflight::lease::{Lease, Waiting};
use crate::singleflight::{Course, Lead, Part, Waited, Waiter};
use crate::telemetry::call::{CallSpan, Due};
use crate::time::budget::Budget;
use crate::value::envelope::Refusal;
use crate::value::record::Record;
use decide::Holder;
pub(crate) use store::Packing;

/// Where a call's value belongs, and what this call may do there.
pub(crate) struct Place {
    pub(crate) cache: Cache,
    pub(crate) key: Key,
    pub(crate) terms: Terms,
    mode: Mode,
    pub(crate) budget: Budget,
    pub(crate) waiting: Waiting,
    /// Where another version's value is under the key.
    aside: Option<Aside>,
    claim: Claim,
    /// This call's part in a flight, if it computes for others too.
    lead: Option<Lead<Lease>>,
    next: Next,
    /// Of the near tier, before the value was looked for.
    since: Since,
    /// The process that is waited for, if one is.
    holder: Option<Holder>,
}

/// What the lookup has entitled this call to.
enum Claim {
    /// To nothing: there is nowhere to store.
    Nothing,
    /// To nothing: another call stores.
    Lost,
    /// To store if nobody else has by then: the server knows no leases.
    First,
    /// To store under a lease.
    Lease(Lease),
    /// To replace the item with this number, which is of no use.
    Replace(u64),
}

/// What the call has to wait for next.
enum Next {
    Ask,
    /// Until another process may have stored.
    Pause(Duration),
    /// To be elected for computing a value anew that is fresh for so long.
    Elect(Duration),
    /// Has others elected for the stale item with this number, then asks.
    Reopen(u64),
    Join(Waiter<Lease>),
}

/// What has been waited for.
pub(crate) enum Arrival {
    Reply(Outcome),
    /// The answer to whether this call computes a fresh value anew.
    Election(Outcome),
    Waited(Waited<Lease>),
    /// The cache cannot be asked, and that is no answer to the caller.
    GoOn,
}

/// What a call does next.
pub(crate) enum Verdict {
    /// Uses the value that was opened last.
    Use,
    /// Computes a new value for the one that was opened last.
    Refresh(Due),
    Compute,
    /// Waits for what [`Place`] says.
    Wait,
}

/// Stored bytes that are a return value.
pub(crate) struct Opened {
    /// What it took to compute, in nanoseconds.
    pub(crate) cost: u64,
    /// It is one without a value, and has a time of its own.
    pub(crate) negative: bool,
}

/// Opens stored bytes with these flags.
type Open<'a> = dyn FnMut(&[u8], u32) -> Result<Opened, Refusal> + 'a;

/// A leader that takes less is waited for this long all the same.
const PATIENCE: Duration = Duration::from_secs(5);

impl Place {
    pub(crate) fn new(cache: Cache, key: Key, terms: Terms, mode: Mode) -> Self {
        let budget = cache.budget();
        Place {
            cache,
            key,
            terms,
            mode,
            budget,
            waiting: Waiting::Blocking,
            aside: None,
            claim: Claim::Nothing,
            lead: None,
            next: Next::Ask,
            since: Since::default(),
            holder: None,
        }
    }

    /// Begins to look for the value; where it is kept in this process, for all
    /// callers at once.
    pub(crate) fn begin(&mut self, waiting: Waiting, span: &CallSpan) {
        self.waiting = waiting;
        if self.terms.near.is_none() {
            return;
        }
        self.since = self.cache.near().since(self.key.wire());
        if self.coordinates() {
            match self.join(None, span) {
                Part::Wait(waiter) => self.next = Next::Join(waiter),
                Part::Lead(lead) => self.lead = Some(lead),
                Part::None => {}
            }
        }
    }

    /// What the store is asked for.
    fn slot(&self) -> &str {
        self.aside.as_ref().map_or(self.key.wire(), Aside::key)
    }

    fn join(&self, lease: Option<u64>, span: &CallSpan) -> Part<Lease> {
        let lease = lease.map(|cas| self.flight_of(cas));
        self.cache.flights().join(self.key.wire(), lease, patience(span), span.id())
    }

    /// What tells this process the flight under the lease with this number.
    fn flight_of(&self, cas: u64) -> u64 {
        self.aside.as_ref().map_or(cas, |aside| aside.lease(cas))
    }

    /// Whether callers in this process wait for one of them.
    fn coordinates(&self) -> bool {
        self.mode == Mode::Normal && self.terms.single_flight != SingleFlight::Off
    }

    fn claim(&mut self, claim: Claim) {
        self.claim = if self.mode == Mode::ReadOnly { Claim::Nothing } else { claim };
    }

    /// What is computed for others is computed on this course.
    pub(crate) fn course(&self) -> Option<Course> {
        self.lead.as_ref().map(Lead::course)
    }

    /// Has nobody in this process use what was found or computed before now.
    pub(crate) fn forget(&self) {
        self.cache.near().forget(self.key.wire());
        self.cache.flights().detach(self.key.wire());
    }

    /// Has others go on with what has been found or computed, or alone.
    fn land(&mut self, record: Option<Arc<Record>>) {
        if let Some(lead) = self.lead.take() {
            lead.land(record);
        }
    }
}

/// Several times what computing takes, as far as that is known.
fn patience(span: &CallSpan) -> Duration {
    span.longest_computation().map_or(PATIENCE, |longest| longest.saturating_mul(4).max(PATIENCE))
}

/// A call that ends without having computed passes its part on: its lease to
/// one of those who wait, or back to the server. After a panic, they go on
/// alone.
impl Drop for Place {
    fn drop(&mut self) {
        let claim = std::mem::replace(&mut self.claim, Claim::Nothing);
        let Some(lead) = self.lead.take() else { return };
        if std::thread::panicking() {
            return lead.land(None);
        }
        lead.pass_on(match claim {
            Claim::Lease(lease) => Some(lease),
            _ => None,
        });
    }
}
