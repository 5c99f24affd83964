//! One computation of a value in this process, however many callers ask for it.
//!
//! The leader of a [flight](Lead) computes. A [waiter](Waiter) gets what the
//! flight lands with, takes over, or goes on alone. What is computed is no
//! business of this folder.

mod deadlock;
pub(crate) mod drive;
#[cfg(feature = "tokio")]
pub(crate) mod driving;
mod held;
pub(crate) mod lease;
pub(crate) mod liveness;
pub(crate) mod pace;
pub(crate) mod places;
pub(crate) mod renewal;
#[cfg(test)]
mod shuttle_tests;
mod state;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
#[cfg(feature = "tokio")]
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[cfg(feature = "tokio")]
use crate::detached;
use crate::sync as locks;
use crate::sync::{lock, share_of};
use crate::time::clock::Clock;
#[cfg(feature = "tokio")]
use crate::time::timer;
use crate::value::record::Record;
pub(crate) use deadlock::{Computation, Entered};
use drive::Drive;
use pace::{Pace, Payment};
use state::{FlightState, Left, Wakeup};

/// The flights of one cache, by key. `B` is the baton that entitles a leader to
/// store. A clone is another handle of the same flights.
pub(crate) struct Flights<B> {
    shards: Arc<[Shard<B>; SHARDS]>,
    /// The computation of all flights that begin by this handle, if it is one.
    shared: Option<Computation>,
    clock: Clock,
}

type Shard<B> = Mutex<HashMap<Box<str>, Arc<Flight<B>>>>;

const SHARDS: usize = 16;

/// What a flight lands with: the value that was found or computed, if it was
/// kept.
pub(crate) type Landing = Option<Arc<Record>>;

/// Tells one computation of a key from another: by the number of the lease it
/// runs under, by the item that its value will stand beside, and by its groups' stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlightId {
    lease: u64,
    /// Stands for that item and those stamps; 0 where there are none.
    beside: u64,
}

impl FlightId {
    pub(crate) fn new(lease: u64, beside: u64) -> Self {
        FlightId { lease, beside }
    }

    /// Returns both in one number, as a flight keeps them; 0 stands for no flight.
    fn number(self) -> u64 {
        self.lease ^ self.beside
    }

    /// Returns the same computation after its lease was renewed.
    fn renewed(self, lease: u64) -> Self {
        FlightId { lease, ..self }
    }
}

/// The numbers of the lease that a flight runs under: the present one, and the one
/// before it. A reply that passed a renewal on its way still shows that one.
#[derive(Debug, Default)]
struct Numbers {
    now: AtomicU64,
    before: AtomicU64,
}

impl Numbers {
    /// Returns whether the flight runs under this lease. It is under none at first.
    fn contain(&self, id: FlightId) -> bool {
        [&self.now, &self.before].iter().any(|number| number.load(Ordering::Relaxed) == id.number())
    }

    /// Notes that the flight runs under this lease from now on.
    fn note(&self, id: FlightId) {
        let before = self.now.swap(id.number(), Ordering::Relaxed);
        if before != id.number() {
            self.before.store(before, Ordering::Relaxed);
        }
    }
}

/// Keeps callers in this process informed of the number that a lease has now.
#[derive(Debug)]
pub(crate) struct Announced {
    numbers: Arc<Numbers>,
    id: FlightId,
}

impl Announced {
    /// Announces the number that a renewal gave the lease.
    pub(crate) fn renewed(&self, lease: u64) {
        self.numbers.note(self.id.renewed(lease));
    }
}

struct Flight<B> {
    key: Box<str>,
    computation: Computation,
    begun: Instant,
    /// The numbers of its [`FlightId`]s.
    numbers: Arc<Numbers>,
    /// Names the leader's span to telemetry.
    leader: Option<u64>,
    state: FlightState<B, Landing>,
}

/// A caller's role in a flight.
pub(crate) enum Role<B: Clone> {
    Lead(Lead<B>),
    Wait(Waiter<B>),
    /// None: the caller would wait for itself.
    Alone,
}

impl<B: Clone> Flights<B> {
    pub(crate) fn new(clock: Clock) -> Self {
        Flights { shards: Arc::new(std::array::from_fn(|_| Mutex::default())), shared: None, clock }
    }

    /// Returns a handle by which all flights that begin are one computation.
    pub(crate) fn of(&self, computation: Computation) -> Self {
        Flights { shared: Some(computation), ..self.clone() }
    }

    /// Returns the time that flights begin by.
    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Joins the flight for a key that `wanted` describes, or begins one. `leader`
    /// names the caller's span to telemetry.
    pub(crate) fn join(&self, key: &str, wanted: WantedFlight, pace: &'static Pace, leader: Option<u64>) -> Role<B> {
        let mut flights = lock(self.shard(key));
        match flights.get(key) {
            Some(flight) if flight.computation.is_own() => Role::Alone,
            Some(flight) if wanted.is(flight) => {
                flight.state.join();
                Role::Wait(Waiter::new(flight, self))
            }
            _ => Role::Lead(self.begin(&mut flights, key, wanted.id(), pace, leader)),
        }
    }

    /// Begins a flight that later callers join, in place of the one before.
    pub(crate) fn lead(&self, key: &str, id: FlightId, pace: &'static Pace, leader: Option<u64>) -> Lead<B> {
        self.begin(&mut lock(self.shard(key)), key, Some(id), pace, leader)
    }

    /// Keeps later callers out of the flight that is under way.
    pub(crate) fn detach(&self, key: &str) {
        lock(self.shard(key)).remove(key);
    }

    /// Keeps later callers out of all flights that are under way.
    pub(crate) fn detach_all(&self) {
        self.shards.iter().for_each(|shard| lock(shard).clear());
    }

    /// Counts the callers that wait for the leader under this key.
    #[cfg(all(test, feature = "servers"))]
    pub(crate) fn waiting(&self, key: &str) -> usize {
        lock(self.shard(key)).get(key).map_or(0, |flight| flight.state.waiting())
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn begin(
        &self,
        flights: &mut HashMap<Box<str>, Arc<Flight<B>>>,
        key: &str,
        id: Option<FlightId>,
        pace: &'static Pace,
        leader: Option<u64>,
    ) -> Lead<B> {
        let drive = Arc::new(Drive::new());
        let flight = Arc::new(Flight {
            key: key.into(),
            computation: self.shared.unwrap_or_else(Computation::new),
            begun: self.now(),
            numbers: Arc::default(),
            leader,
            state: FlightState::new(pace, Arc::clone(&drive)),
        });
        if let Some(id) = id {
            flight.numbers.note(id);
        }
        flights.insert(key.into(), Arc::clone(&flight));
        Lead { flight, flights: self.clone(), drive, payment: None, over: false }
    }

    fn shard(&self, key: &str) -> &Shard<B> {
        share_of(&*self.shards, key)
    }

    /// Removes a flight that is over, unless another has replaced it.
    fn remove(&self, flight: &Arc<Flight<B>>) {
        let mut flights = lock(self.shard(&flight.key));
        if flights.get(&flight.key).is_some_and(|current| Arc::ptr_eq(current, flight)) {
            flights.remove(&flight.key);
        }
    }
}

/// Which flight a caller joins: another's value may be out of date.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WantedFlight {
    /// The computation with this id.
    Id(FlightId),
    /// Any that began after this instant: nothing was changed since.
    Since(Instant),
    /// Any.
    Any,
}

impl WantedFlight {
    fn is<B>(self, flight: &Flight<B>) -> bool {
        match self {
            WantedFlight::Id(id) => flight.numbers.contain(id),
            WantedFlight::Since(instant) => flight.begun > instant,
            WantedFlight::Any => true,
        }
    }

    fn id(self) -> Option<FlightId> {
        match self {
            WantedFlight::Id(id) => Some(id),
            WantedFlight::Since(_) | WantedFlight::Any => None,
        }
    }
}

impl<B> Clone for Flights<B> {
    fn clone(&self) -> Self {
        Flights { shards: Arc::clone(&self.shards), shared: self.shared, clock: self.clock.clone() }
    }
}

/// The role of the caller that computes. Dropping it before it has landed, as a
/// panic does, lets the waiters go on alone.
#[must_use]
pub(crate) struct Lead<B: Clone> {
    flight: Arc<Flight<B>>,
    flights: Flights<B>,
    drive: Arc<Drive>,
    /// How its overtaking was paid for, if it overtook a leader.
    payment: Option<Payment>,
    over: bool,
}

impl<B: Clone> Lead<B> {
    /// Returns the computation to enter while computing, so that waiting for oneself is noticed.
    pub(crate) fn computation(&self) -> Computation {
        self.flight.computation
    }

    /// Lets callers that know this id join. Where another caller computes as well it may have
    /// begun before, so that leader keeps the flight, and this one begins another.
    pub(crate) fn runs_as(&mut self, id: FlightId) {
        let Flight { key, numbers, leader, state, .. } = &*self.flight;
        if numbers.contain(id) || !state.leave_to_others() {
            return numbers.note(id);
        }
        let lead = self.flights.lead(key, id, state.pace(), *leader);
        // It has left already.
        std::mem::replace(self, lead).over = true;
    }

    /// Gives the holder of the lease that the flight runs under the means to announce
    /// renewals.
    pub(crate) fn announces(&self, id: FlightId) -> Announced {
        Announced { numbers: Arc::clone(&self.flight.numbers), id }
    }

    /// Returns where the polls of the computation are noted.
    pub(crate) fn drive(&self) -> Arc<Drive> {
        Arc::clone(&self.drive)
    }

    /// Notes the polls of the computation here from now on.
    #[cfg(feature = "tokio")]
    pub(crate) fn driven_by(&mut self, drive: &Arc<Drive>) {
        self.drive = Arc::clone(drive);
        self.flight.state.driven_by(drive);
    }

    /// Lets a caller that takes over or overtakes store under the same right.
    pub(crate) fn share(&self, baton: B) {
        self.flight.state.lay_down(baton);
    }

    /// Notes that the leader begins to compute. The time of one that overtook
    /// another does not count anew.
    pub(crate) fn begin(&self) {
        if self.payment.is_none() {
            self.flight.state.begin();
        }
    }

    /// Notes that the leader does not compute for this long: it looks the value up,
    /// stores it, or pauses before it asks about another process again.
    pub(crate) fn pause(&self, pause: Duration) {
        self.flight.state.pause(pause);
    }

    /// Notes whether the leader waits for a place for its body.
    pub(crate) fn queue(&self, is_queued: bool) {
        self.flight.state.queue(is_queued);
    }

    /// Whether the flight is over: another leader was faster.
    pub(crate) fn has_landed(&self) -> bool {
        self.flight.state.has_landed()
    }

    /// Whether a caller waits for what the flight lands with.
    pub(crate) fn is_awaited(&self) -> bool {
        self.flight.state.is_awaited()
    }

    /// Hands the waiters what they wait for. Later callers look for themselves.
    pub(crate) fn land(mut self, landing: Landing) {
        self.end(landing);
    }

    /// Lets one of the waiters take over, with the baton.
    pub(crate) fn pass_on(mut self) {
        self.over = true;
        if let Left::Closed(_) = self.flight.state.retire(None, self.payment) {
            self.flights.remove(&self.flight);
        }
    }

    fn end(&mut self, landing: Landing) {
        self.over = true;
        // In this order a later caller either looks for itself or gets the same, and no
        // caller waits until the baton is given back.
        let _baton = self.flight.state.land(landing, self.payment);
        self.flights.remove(&self.flight);
    }
}

impl<B: Clone> Drop for Lead<B> {
    fn drop(&mut self) {
        if !self.over {
            self.end(None);
        }
    }
}

/// The role of a caller that waits.
#[must_use]
pub(crate) struct Waiter<B: Clone> {
    flight: Arc<Flight<B>>,
    flights: Flights<B>,
    task: u64,
    /// Its own polls, should it lead.
    drive: Arc<Drive>,
    waits: bool,
}

/// What a wait ended with.
pub(crate) enum Waited<B: Clone> {
    Landed(Landing),
    /// This caller leads now: the leader left, perhaps with a baton for it.
    Succeeds(Lead<B>, Option<B>),
    /// This caller leads now, beside a leader that takes too long or stands still.
    Overtakes(Lead<B>, Option<B>),
    /// The leader waits for this caller.
    InCircle,
}

impl<B: Clone> Waiter<B> {
    fn new(flight: &Arc<Flight<B>>, flights: &Flights<B>) -> Self {
        let (flight, drive) = (Arc::clone(flight), Arc::new(Drive::new()));
        Waiter { flight, flights: flights.clone(), task: task(), drive, waits: true }
    }

    /// Names the leader's span to telemetry.
    pub(crate) fn leader(&self) -> Option<u64> {
        self.flight.leader
    }

    /// Waits, blocking the thread. A worker of a runtime is handed over.
    pub(crate) fn wait(mut self) -> Waited<B> {
        let Some(_blocked) = self.flight.computation.block() else { return Waited::InCircle };
        let wait = || self.flight.state.wait(&self.drive);
        #[cfg(feature = "tokio")]
        let wakeup = detached::hand_over(wait);
        #[cfg(not(feature = "tokio"))]
        let wakeup = wait();
        self.woken(wakeup)
    }

    fn woken(&mut self, wakeup: Wakeup<B, Landing>) -> Waited<B> {
        self.waits = false;
        let lead = |payment| Lead {
            flight: Arc::clone(&self.flight),
            flights: self.flights.clone(),
            drive: Arc::clone(&self.drive),
            payment,
            over: false,
        };
        match wakeup {
            Wakeup::Landed(landing) => Waited::Landed(landing),
            Wakeup::Succeeds(baton) => Waited::Succeeds(lead(None), baton),
            Wakeup::Overtakes(baton, payment) => Waited::Overtakes(lead(Some(payment)), baton),
        }
    }
}

#[cfg(feature = "tokio")]
impl<B: Clone + Send + 'static> Waiter<B> {
    /// Waits as [`Waiter::wait`] does, yielding to the runtime.
    pub(crate) async fn wait_async(mut self) -> Waited<B> {
        let Some(_blocked) = self.flight.computation.block() else { return Waited::InCircle };
        let Waiter { flight, task, drive, .. } = &self;
        let wakeup = poll_fn(|context| flight.state.poll(*task, context.waker(), drive, |at| watch(flight, at))).await;
        self.woken(wakeup)
    }
}

/// Looks at a flight's leader at this instant, and again as long as it is needed.
#[cfg(feature = "tokio")]
fn watch<B: Clone + Send + 'static>(flight: &Arc<Flight<B>>, at: Instant) {
    let flight = Arc::downgrade(flight);
    timer::set(at, move || {
        if let Some(flight) = flight.upgrade()
            && let Some(again) = flight.state.tick(at)
        {
            watch(&flight, again);
        }
    });
}

/// Makes sure that a waiter which is gone is not the one to take over. A baton
/// that no waiter is left to take is dropped.
impl<B: Clone> Drop for Waiter<B> {
    fn drop(&mut self) {
        if self.waits
            && let Left::Closed(_) = self.flight.state.leave(self.task, None)
        {
            self.flights.remove(&self.flight);
        }
    }
}

fn task() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
