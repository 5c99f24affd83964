//! What a call does next, decided from what has happened: the one place that
//! fails open, waits, and serves a stale value.
//!
//! A [`Machine`] knows everything about a call but the type of its value. It
//! says by an [`Effect`] what to wait for, and takes the [`Event`] that follows.

pub(crate) mod batch;
mod decide;
mod found;
pub(crate) mod groups;
mod holder;
pub(crate) mod idle;
mod question;
pub(crate) mod stamped;
mod store;
pub(crate) mod wait;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::freshness::{self, Freshness, SingleFlight};
use super::mode::Mode;
use super::sibling::Sibling;
use crate::cache::Cache;
use crate::cache::near::{Holds, Since};
use crate::exchange::{Item, Note, Outcome};
use crate::key::Key;
#[cfg(feature = "tokio")]
use crate::singleflight::drive::Drive;
use crate::singleflight::lease::{Io, Lease};
use crate::singleflight::pace::{Pace, Payment};
use crate::singleflight::places::{Admitted, PlaceTurn, Places, TakenPlace};
use crate::singleflight::{Computation, FlightId, Flights, Lead, Role, Waited, Waiter, WantedFlight};
use crate::telemetry::call::{CallSpan, Due, MissReason};
use crate::telemetry::observing::FoundValue;
use crate::time::budget::Budget;
use crate::value::envelope::{Refusal, Times};
use crate::value::record::{Found, Record};
use crate::value::stamp::Stamps;
use groups::Groups;
use holder::Holder;
pub(crate) use store::Packing;

/// One call at its cache and key.
pub(crate) struct Machine {
    pub(crate) cache: Cache,
    pub(crate) key: Key,
    pub(crate) freshness: Freshness,
    groups: Groups,
    mode: Mode,
    pace: &'static Pace,
    /// The places of the function's bodies, if this call has a body of its own.
    places: Option<&'static Places>,
    /// This call's place, until its body runs.
    place: Option<TakenPlace>,
    /// When the call began, by the flights' clock.
    begun: Instant,
    /// How long the computation was driven, once it has ended.
    driven: Option<Duration>,
    budget: Budget,
    io: Io,
    /// Where this version keeps its value, if another version's is under the key.
    sibling: Option<Sibling>,
    claim: Claim,
    /// The computation that this call's flights are part of, if other calls share it.
    shared: Option<Computation>,
    /// This call's lead of a flight, if it computes for other callers too.
    lead: Option<Lead<Lease>>,
    effect: Effect,
    /// The state of the near tier before the value was looked for.
    since: Since,
    /// The process that is waited for, if one is.
    holder: Option<Holder>,
    /// What this call leaves in the lease that it takes over.
    note: Option<Note>,
    /// How taking the lease over was paid for, until this call stores.
    payment: Option<Payment>,
    /// Which computation to join when the cache cannot be asked.
    trouble: WantedFlight,
    /// Whether this call is to remove what is stored, having nothing to put there.
    removes: bool,
    /// Whether this call has held an election for a value whose group was invalidated.
    has_reopened: bool,
    /// The value that is replaced, if the body wants it.
    pub(crate) replaced: Option<Replaced>,
    keeps_replaced: bool,
    /// The value that was found, if its end is to be pushed forward.
    push: Option<Push>,
    /// What this process holds of a value, if it keeps one near.
    holds_of_value: Holds,
}

/// A stored value that a call replaces.
pub(crate) struct Replaced {
    pub(crate) record: Arc<Record>,
    /// How old it is, where that is known.
    pub(crate) age: Option<Duration>,
}

/// A value whose end is pushed forward.
pub(crate) struct Push {
    /// The value as it was found.
    pub(crate) found: Record,
    /// What its envelope is to say of its time.
    pub(crate) times: Times,
    cas: u64,
}

/// What the lookup has entitled this call to.
enum Claim {
    /// To nothing: there is nowhere to store.
    Nothing,
    /// To nothing: another call stores.
    Lost,
    /// To nothing: a writer is at work, so that what this call reads may be old.
    Marked,
    /// To store if no other caller has by then: the server knows no leases.
    First,
    /// To store under a lease.
    Lease(Lease),
    /// To replace the item with this number, which is of no use.
    Replace(u64),
}

/// What the call does to learn more.
enum Effect {
    /// Looks the value up.
    Ask,
    /// Pauses until another process may have stored, then asks.
    Pause(Duration),
    /// Runs for the election to refresh a value that is kept for this long.
    Elect(Duration),
    /// Takes the lease with this number over from a holder that takes too long or
    /// died, and leaves this note.
    TakeOver(u64, Note),
    /// Reopens the election for the item with this number, which is kept for so long, then
    /// asks.
    Reopen(u64, Option<Duration>),
    /// Waits for a flight of this process.
    Join(Waiter<Lease>),
    /// Waits for a place for its body, which is to run for this reason.
    Queue(PlaceTurn, MissReason),
    /// Looks whether the value is there, after the wait for a place.
    LookAgain(MissReason),
}

/// What has happened.
pub(crate) enum Event {
    /// The store answered the lookup.
    Reply(Outcome),
    /// The store answered whether this call refreshes a fresh value.
    Election(Outcome),
    /// The store answered whether this call has taken the lease over.
    TakenOver(Outcome),
    /// The wait for a flight ended.
    Waited(Waited<Lease>),
    /// The store answered what has come of the value while the call waited for a place.
    LookedAgain(Outcome, MissReason),
    /// The cache cannot be asked, and the caller is not told so.
    GoOn,
}

/// What a call does next. `R` is what it returns, `V` the value it refreshes.
pub(crate) enum Step<R, V> {
    /// Returns what was opened last.
    Return(R),
    /// Computes a new value for the one that was opened last.
    Refresh(V, Due),
    /// Computes.
    Compute,
    /// Waits for the next event.
    Wait,
}

/// A step of the machine, which has no values.
type Decision = Step<(), ()>;

/// What a return value is to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReturnKind {
    Value,
    /// A return value without a value, which has a time of its own.
    Negative,
}

/// Stored bytes that are a return value.
pub(crate) struct Readable {
    /// What it took to compute, in nanoseconds.
    pub(crate) cost: u64,
    /// What its envelope says of its time, if it has one.
    times: Option<Times>,
    kind: ReturnKind,
}

impl Readable {
    /// Returns what the machine needs to know of a value that was found.
    pub(crate) fn of<V>(found: &Found<V>, kind: ReturnKind) -> Self {
        Readable { cost: found.cost(), times: found.times, kind }
    }

    fn is_negative(&self) -> bool {
        self.kind == ReturnKind::Negative
    }

    /// Returns how long the item is kept past its ttl, in seconds, if it says so.
    fn grace(&self) -> Option<u32> {
        self.times.map(|times| times.grace)
    }

    /// Returns how old the value is, where that is known: when an item is invalidated its
    /// time changes.
    fn age(&self, item: &Item) -> Option<Duration> {
        let (times, left) = self.times.zip(item.seconds_left).filter(|_| !item.stale)?;
        freshness::age(times, left)
    }

    /// Returns what is told of it. It stays fresh for so many seconds, if that is known.
    fn shown(&self, item: &Item, left: Option<u64>) -> FoundValue {
        FoundValue { size: item.value.len(), cost: self.cost, left, age: self.age(item) }
    }

    /// Returns the stamps of its groups, as they were before it was computed.
    fn stamps(&self) -> Option<Stamps> {
        self.times.and_then(|times| times.stamps)
    }
}

/// Opens stored bytes with these flags.
type Opener<'a> = dyn FnMut(&[u8], u32) -> Result<Readable, Refusal> + 'a;

impl Machine {
    pub(crate) fn new(
        cache: Cache,
        key: Key,
        freshness: Freshness,
        groups: Groups,
        mode: Mode,
        pace: &'static Pace,
        holds_of_value: Holds,
    ) -> Self {
        let (budget, begun) = (cache.budget(), cache.flights().now());
        Machine {
            cache,
            key,
            freshness,
            groups,
            mode,
            pace,
            places: None,
            place: None,
            begun,
            driven: None,
            budget,
            io: Io::Blocking,
            sibling: None,
            claim: Claim::Nothing,
            shared: None,
            lead: None,
            effect: Effect::Ask,
            since: Since::default(),
            holder: None,
            note: None,
            payment: None,
            trouble: WantedFlight::Any,
            removes: false,
            has_reopened: false,
            replaced: None,
            keeps_replaced: false,
            push: None,
            holds_of_value,
        }
    }

    /// Keeps the value that this call replaces.
    pub(crate) fn keeps_replaced(&mut self, keeps: bool) {
        self.keeps_replaced = keeps;
    }

    /// Begins to look for the value. Where the near tier keeps it, one caller
    /// looks for all.
    pub(crate) fn begin(&mut self, io: Io, span: &CallSpan) {
        self.io = io;
        let Some(near) = self.freshness.near else { return };
        if self.coordinates() {
            // A value that began to be looked for earlier would be older than the
            // near tier may keep it.
            let wanted = WantedFlight::Since(self.begun.checked_sub(near).unwrap_or(self.begun));
            if !self.joins(wanted, span) {
                self.pause_for_io();
            }
        }
    }

    /// Keeps the waiters from computing while this call looks the value up or stores
    /// it, which may take longer than computing.
    fn pause_for_io(&self) {
        self.lead.iter().for_each(|lead| lead.pause(self.cache.limits().total));
    }

    /// Returns the kind of what is kept near.
    fn holds(&self, kind: ReturnKind) -> Holds {
        match kind {
            ReturnKind::Value => self.holds_of_value,
            ReturnKind::Negative => Holds::Nothing,
        }
    }

    /// Returns the key that the store is asked for.
    fn stored_key(&self) -> &str {
        self.sibling.as_ref().map_or(self.key.wire(), Sibling::key)
    }

    /// Joins the computation that is wanted, or leads one, unless the call would wait for
    /// itself. Returns whether it waits.
    fn joins(&mut self, wanted: WantedFlight, span: &CallSpan) -> bool {
        match self.flights().join(self.key.wire(), wanted, self.pace, span.id()) {
            Role::Wait(waiter) => {
                self.effect = Effect::Join(waiter);
                return true;
            }
            Role::Lead(lead) => self.lead = Some(lead),
            Role::Alone => {}
        }
        false
    }

    fn flights(&self) -> Cow<'_, Flights<Lease>> {
        let flights = self.cache.flights();
        self.shared.map_or(Cow::Borrowed(flights), |computation| Cow::Owned(flights.of(computation)))
    }

    /// Whether the value is in groups.
    pub(crate) fn is_grouped(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Identifies the flight under the lease with this number.
    fn flight_id(&self, cas: u64) -> FlightId {
        FlightId::new(cas, self.sibling.as_ref().map_or(0, Sibling::anchor) ^ self.groups.mix())
    }

    /// Returns which computation is under way where this call has seen the item with this
    /// number. Without a number, or without the stamps of the value's groups, nothing tells
    /// it from one that began before a change.
    fn flight_under(&self, cas: u64) -> WantedFlight {
        match cas == 0 || self.groups.are_unknown() {
            true => WantedFlight::Since(self.begun),
            false => WantedFlight::Id(self.flight_id(cas)),
        }
    }

    /// Lets callers that have seen the item with this number wait for this call.
    fn runs_under(&mut self, cas: u64) {
        if let (WantedFlight::Id(id), Some(lead)) = (self.flight_under(cas), &mut self.lead) {
            lead.runs_as(id);
        }
    }

    /// Returns whether callers in this process wait for one of them.
    fn coordinates(&self) -> bool {
        self.mode == Mode::Normal && self.freshness.single_flight != SingleFlight::Off
    }

    fn claim(&mut self, claim: Claim) {
        self.claim = if self.mode == Mode::ReadOnly { Claim::Nothing } else { claim };
    }

    /// Runs the body only where one of these places is free.
    pub(crate) fn limited(mut self, places: Option<&'static Places>) -> Self {
        self.places = places;
        self
    }

    /// Returns the place that this call has for its body.
    pub(crate) fn take_place(&mut self) -> Option<TakenPlace> {
        self.place.take()
    }

    /// Whether the body may begin, and none that came first waits.
    fn may_begin(&mut self) -> bool {
        match self.places.filter(|_| self.place.is_none()).map(|places| places.admit(self.pace)) {
            Some(Admitted::Later(_)) => return false,
            Some(Admitted::Now(place)) => self.place = Some(place),
            Some(Admitted::Free) | None => {}
        }
        true
    }

    /// Notes whether this call waits for a place for its body.
    pub(crate) fn queues(&self, is_queued: bool) {
        self.lead.iter().for_each(|lead| lead.queue(is_queued));
    }

    /// Returns the computation that others wait for, if this call leads one.
    pub(crate) fn computation(&self) -> Option<Computation> {
        self.lead.as_ref().map(Lead::computation)
    }

    /// Learns how long the computation was driven until it ended, if that is known. If
    /// another caller has overtaken it, it may have waited for that caller, so it
    /// tells nothing about computing.
    pub(crate) fn computed(&mut self, driven: Option<Duration>) {
        self.driven = driven.filter(|_| !self.lead.as_ref().is_some_and(Lead::has_landed));
    }

    /// Returns where the polls of the computation are noted.
    #[cfg(feature = "tokio")]
    pub(crate) fn drive(&self) -> Arc<Drive> {
        match (&self.lead, &self.claim) {
            (Some(lead), _) => lead.drive(),
            (None, Claim::Lease(lease)) => lease.drive(),
            (None, _) => Arc::new(Drive::new()),
        }
    }

    /// Forgets in this process what was found or computed before now.
    pub(crate) fn forget(&self) {
        self.cache.backend().forget(self.key.wire());
    }

    /// Lets the waiters go on with what was found or computed, or alone.
    fn land(&mut self, record: Option<Arc<Record>>) {
        if let Some(lead) = self.lead.take() {
            lead.land(record);
        }
        // Not earlier, or the waiters would be less patient with the storing.
        if let Some(driven) = self.driven.take() {
            self.pace.ended(driven);
        }
    }
}

/// Passes the role of a call that ends without having computed on: its lease
/// goes to one of the waiters, or back to the server. After a panic the waiters
/// go on alone.
impl Drop for Machine {
    fn drop(&mut self) {
        let claim = std::mem::replace(&mut self.claim, Claim::Nothing);
        let Some(lead) = self.lead.take() else { return };
        if std::thread::panicking() {
            return lead.land(None);
        }
        self.refund();
        // The lease lies with the flight, so a waiter takes it up.
        drop(claim);
        lead.pass_on();
    }
}
