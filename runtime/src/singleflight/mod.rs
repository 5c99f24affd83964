//! One computation of a value in this process, however many callers ask for it.
//!
//! The leader of a [flight](Lead) computes. A [waiter](Waiter) gets what the
//! flight lands with, takes over, or goes on alone. What is computed and where
//! it is stored is no business of this folder.

mod deadlock;
pub(crate) mod lease;
pub(crate) mod liveness;
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
use std::time::Duration;

use crate::sync as locks;
use crate::sync::{lock, share_of};
#[cfg(feature = "tokio")]
use crate::time::timer;
use crate::value::record::Record;
pub(crate) use deadlock::Computation;
use state::{FlightState, Left, Wakeup};

/// The flights of one cache, by key. `B` is the baton that a departing leader
/// passes to the next. A clone is another handle of the same flights.
pub(crate) struct Flights<B>(Arc<[Shard<B>; SHARDS]>);

type Shard<B> = Mutex<HashMap<Box<str>, Arc<Flight<B>>>>;

const SHARDS: usize = 16;

/// What a flight lands with: the value that was found or computed, if it was
/// kept.
pub(crate) type Landing = Option<Arc<Record>>;

/// Tells one computation of a key from another: by the number of the lease it
/// runs under, and by the item that its value will stand beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlightId {
    lease: u64,
    /// Stands for that item; 0 where there is none.
    beside: u64,
}

impl FlightId {
    pub(crate) fn new(lease: u64, beside: u64) -> Self {
        FlightId { lease, beside }
    }

    /// Both in one number, as a flight keeps them; 0 is no flight's.
    fn number(self) -> u64 {
        self.lease ^ self.beside
    }

    /// The same computation after its lease was renewed.
    fn renewed(self, lease: u64) -> Self {
        FlightId { lease, ..self }
    }
}

/// Keeps callers in this process informed of the number that a lease has now.
#[derive(Debug)]
pub(crate) struct Announced {
    number: Arc<AtomicU64>,
    id: FlightId,
}

impl Announced {
    /// Announces the number that a renewal gave the lease.
    pub(crate) fn renewed(&self, lease: u64) {
        self.number.store(self.id.renewed(lease).number(), Ordering::Relaxed);
    }
}

struct Flight<B> {
    key: Box<str>,
    computation: Computation,
    /// The number of its [`FlightId`]; 0 until the leader has a lease.
    id: AtomicId,
    /// Names the leader's span to telemetry.
    leader: Option<u64>,
    state: FlightState<B, Landing>,
}

type AtomicId = Arc<AtomicU64>;

/// A caller's role in a flight.
pub(crate) enum Role<B> {
    Lead(Lead<B>),
    Wait(Waiter<B>),
    /// None: the caller would wait for itself.
    Alone,
}

impl<B> Flights<B> {
    pub(crate) fn new() -> Self {
        Flights(Arc::new(std::array::from_fn(|_| Mutex::default())))
    }

    /// Joins the flight for a key, or begins one. A caller that knows the id of
    /// the computation it wants does not join another, whose value may be out
    /// of date. `leader` names the caller's span to telemetry.
    pub(crate) fn join(&self, key: &str, id: Option<FlightId>, patience: Duration, leader: Option<u64>) -> Role<B> {
        let mut flights = lock(self.shard(key));
        match flights.get(key) {
            Some(flight) if flight.computation.is_own() => Role::Alone,
            Some(flight) if id.is_none_or(|id| id.number() == flight.id.load(Ordering::Relaxed)) => {
                flight.state.join();
                Role::Wait(Waiter { flight: Arc::clone(flight), flights: self.clone(), task: task(), waits: true })
            }
            _ => Role::Lead(self.begin(&mut flights, key, id, patience, leader)),
        }
    }

    /// Begins a flight that later callers join, in place of the one before.
    pub(crate) fn lead(&self, key: &str, id: FlightId, patience: Duration, leader: Option<u64>) -> Lead<B> {
        self.begin(&mut lock(self.shard(key)), key, Some(id), patience, leader)
    }

    /// Keeps later callers out of the flight that is under way.
    pub(crate) fn detach(&self, key: &str) {
        lock(self.shard(key)).remove(key);
    }

    /// Counts the callers that wait for the leader under this key.
    #[cfg(all(test, feature = "memcache"))]
    pub(crate) fn waiting(&self, key: &str) -> usize {
        lock(self.shard(key)).get(key).map_or(0, |flight| flight.state.waiting())
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|shard| lock(shard).len()).sum()
    }

    fn begin(
        &self,
        flights: &mut HashMap<Box<str>, Arc<Flight<B>>>,
        key: &str,
        id: Option<FlightId>,
        patience: Duration,
        leader: Option<u64>,
    ) -> Lead<B> {
        let flight = Arc::new(Flight {
            key: key.into(),
            computation: Computation::new(),
            id: Arc::new(AtomicU64::new(id.map_or(0, FlightId::number))),
            leader,
            state: FlightState::new(patience),
        });
        flights.insert(key.into(), Arc::clone(&flight));
        Lead { flight, flights: self.clone(), over: false }
    }

    fn shard(&self, key: &str) -> &Shard<B> {
        share_of(&*self.0, key)
    }

    /// Removes a flight that is over, unless another has replaced it.
    fn remove(&self, flight: &Arc<Flight<B>>) {
        let mut flights = lock(self.shard(&flight.key));
        if flights.get(&flight.key).is_some_and(|current| Arc::ptr_eq(current, flight)) {
            flights.remove(&flight.key);
        }
    }
}

impl<B> Clone for Flights<B> {
    fn clone(&self) -> Self {
        Flights(Arc::clone(&self.0))
    }
}

/// The role of the caller that computes. Dropping it before it has landed, as a
/// panic does, lets the waiters go on alone.
#[must_use]
pub(crate) struct Lead<B> {
    flight: Arc<Flight<B>>,
    flights: Flights<B>,
    over: bool,
}

impl<B> Lead<B> {
    /// The computation to enter while computing, so that waiting for oneself is
    /// noticed.
    pub(crate) fn computation(&self) -> Computation {
        self.flight.computation
    }

    /// Lets callers that know this id join.
    pub(crate) fn runs_as(&self, id: FlightId) {
        self.flight.id.store(id.number(), Ordering::Relaxed);
    }

    /// Runs under a lease from now on, and gives its holder the means to
    /// announce renewals.
    pub(crate) fn announces(&self, id: FlightId) -> Announced {
        self.runs_as(id);
        Announced { number: Arc::clone(&self.flight.id), id }
    }

    /// Whether a caller waits for what the flight lands with.
    pub(crate) fn is_awaited(&self) -> bool {
        self.flight.state.is_awaited()
    }

    /// Hands the waiters what they wait for. Later callers look for themselves.
    pub(crate) fn land(mut self, landing: Landing) {
        self.end(landing);
    }

    /// Lets one of the waiters take over, with the baton. Without a waiter the
    /// baton is dropped.
    pub(crate) fn pass_on(mut self, baton: Option<B>) {
        self.over = true;
        if let Left::Closed(_) = self.flight.state.retire(baton, None) {
            self.flights.remove(&self.flight);
        }
    }

    fn end(&mut self, landing: Landing) {
        self.over = true;
        // In this order a later caller either looks for itself or gets the same.
        self.flight.state.land(landing);
        self.flights.remove(&self.flight);
    }
}

impl<B> Drop for Lead<B> {
    fn drop(&mut self) {
        if !self.over {
            self.end(None);
        }
    }
}

/// The role of a caller that waits.
#[must_use]
pub(crate) struct Waiter<B> {
    flight: Arc<Flight<B>>,
    flights: Flights<B>,
    task: u64,
    waits: bool,
}

/// What a wait ended with.
pub(crate) enum Waited<B> {
    Landed(Landing),
    /// This caller leads now: the leader left, perhaps with a baton for it.
    Succeeds(Lead<B>, Option<B>),
    /// This caller leads now, beside a leader that takes too long.
    Overtakes(Lead<B>),
    /// The leader waits for this caller.
    InCircle,
}

impl<B> Waiter<B> {
    /// Names the leader's span to telemetry.
    pub(crate) fn leader(&self) -> Option<u64> {
        self.flight.leader
    }

    /// Waits, blocking the thread.
    pub(crate) fn wait(mut self) -> Waited<B> {
        let Some(_blocked) = self.flight.computation.block() else { return Waited::InCircle };
        let wakeup = self.flight.state.wait();
        self.woken(wakeup)
    }

    fn woken(&mut self, wakeup: Wakeup<B, Landing>) -> Waited<B> {
        self.waits = false;
        let lead = || Lead { flight: Arc::clone(&self.flight), flights: self.flights.clone(), over: false };
        match wakeup {
            Wakeup::Landed(landing) => Waited::Landed(landing),
            Wakeup::Succeeds(baton) => Waited::Succeeds(lead(), baton),
            Wakeup::Overtakes => Waited::Overtakes(lead()),
        }
    }
}

#[cfg(feature = "tokio")]
impl<B: Send + 'static> Waiter<B> {
    /// Waits as [`Waiter::wait`] does, yielding to the runtime.
    pub(crate) async fn wait_async(mut self) -> Waited<B> {
        let Some(_blocked) = self.flight.computation.block() else { return Waited::InCircle };
        let Waiter { flight, task, .. } = &self;
        let wakeup = poll_fn(|context| {
            flight.state.poll(*task, context.waker(), |at| {
                let flight = Arc::downgrade(flight);
                timer::set(at, move || {
                    if let Some(flight) = flight.upgrade() {
                        flight.state.wake();
                    }
                });
            })
        })
        .await;
        self.woken(wakeup)
    }
}

/// Makes sure that a waiter which is gone is not the one to take over. A baton
/// that no waiter is left to take is dropped.
impl<B> Drop for Waiter<B> {
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
