//! One computation of a value in this process, however many ask for it.
//!
//! Who leads a [flight](Lead) computes; who [waits](Waiter) gets what it lands
//! with, or goes on alone. What is computed and stored is none of its
//! business.

mod deadlock;
#[cfg(feature = "tokio")]
mod landing;
pub(crate) mod lease;
pub(crate) mod liveness;
pub(crate) mod renewal;
#[cfg(test)]
mod shuttle_tests;
mod state;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::sync as locks;
use crate::sync::{lock, share_of};
use crate::value::record::Record;
pub(crate) use deadlock::{Course, Entered};
use state::{Arrival, Board, Left};

/// The flights of one cache, by key. `B` is what a leader that leaves can pass
/// on to the next. A clone is another handle of the same flights.
pub(crate) struct Flights<B>(Arc<[Shard<B>; SHARDS]>);

type Shard<B> = Mutex<HashMap<Box<str>, Arc<Flight<B>>>>;

const SHARDS: usize = 16;

/// What a flight lands with: what was found or computed, if that was kept.
pub(crate) type Landing = Option<Arc<Record>>;

struct Flight<B> {
    key: Box<str>,
    course: Course,
    /// The number of the lease it computes under or waits for; 0: none.
    lease: Arc<AtomicU64>,
    /// Whatever tells its leader to telemetry.
    leader: Option<u64>,
    board: Board<B, Landing>,
}

/// A caller's part in a flight.
pub(crate) enum Part<B> {
    Lead(Lead<B>),
    Wait(Waiter<B>),
    /// To wait would be to wait for itself.
    None,
}

impl<B> Flights<B> {
    pub(crate) fn new() -> Self {
        Flights(Arc::new(std::array::from_fn(|_| Mutex::default())))
    }

    /// Takes part in the flight for a key, or begins one. A caller who knows
    /// the lease that the value is computed under does not take part in a
    /// flight of another: what that one computes may be out of date. `leader`
    /// tells this caller to telemetry.
    pub(crate) fn join(&self, key: &str, lease: Option<u64>, patience: Duration, leader: Option<u64>) -> Part<B> {
        let mut flights = lock(self.shard(key));
        match flights.get(key) {
            Some(flight) if flight.course.is_own() => Part::None,
            Some(flight) if lease.is_none_or(|lease| lease == flight.lease.load(Ordering::Relaxed)) => {
                flight.board.join();
                Part::Wait(Waiter { flight: Arc::clone(flight), flights: self.clone(), task: task(), waits: true })
            }
            _ => Part::Lead(self.begin(&mut flights, key, lease, patience, leader)),
        }
    }

    /// Begins a flight that later callers take part in, even if there is one.
    pub(crate) fn lead(&self, key: &str, lease: Option<u64>, patience: Duration, leader: Option<u64>) -> Lead<B> {
        self.begin(&mut lock(self.shard(key)), key, lease, patience, leader)
    }

    /// Has later callers take no part in a flight that is under way.
    pub(crate) fn detach(&self, key: &str) {
        lock(self.shard(key)).remove(key);
    }

    /// Callers who wait for the leader under this key.
    #[cfg(test)]
    pub(crate) fn waiting(&self, key: &str) -> usize {
        lock(self.shard(key)).get(key).map_or(0, |flight| flight.board.waiting())
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|shard| lock(shard).len()).sum()
    }

    fn begin(
        &self,
        flights: &mut HashMap<Box<str>, Arc<Flight<B>>>,
        key: &str,
        lease: Option<u64>,
        patience: Duration,
        leader: Option<u64>,
    ) -> Lead<B> {
        let flight = Arc::new(Flight {
            key: key.into(),
            course: Course::new(),
            lease: Arc::new(AtomicU64::new(lease.unwrap_or(0))),
            leader,
            board: Board::new(patience),
        });
        flights.insert(key.into(), Arc::clone(&flight));
        Lead { flight, flights: self.clone(), over: false }
    }

    fn shard(&self, key: &str) -> &Shard<B> {
        share_of(&*self.0, key)
    }

    /// Takes a flight that is over out of the table, unless another has taken
    /// its place.
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

/// The part of who computes. Dropped before it has landed, as by a panic, it
/// has the others go on alone.
#[must_use]
pub(crate) struct Lead<B> {
    flight: Arc<Flight<B>>,
    flights: Flights<B>,
    over: bool,
}

impl<B> Lead<B> {
    /// Computing is to be done within its course, so that waiting for oneself
    /// is noticed.
    pub(crate) fn course(&self) -> Course {
        self.flight.course
    }

    /// Callers who know of this lease may take part.
    pub(crate) fn is_under(&self, lease: u64) {
        self.flight.lease.store(lease, Ordering::Relaxed);
    }

    /// Where that is kept, for who renews the lease.
    pub(crate) fn number(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.flight.lease)
    }

    /// Whether somebody waits for what it lands with.
    pub(crate) fn is_awaited(&self) -> bool {
        self.flight.board.is_awaited()
    }

    /// Hands the others what they wait for; later callers look for themselves.
    pub(crate) fn land(mut self, landing: Landing) {
        self.end(landing);
    }

    /// Has one of the others take over, with the baton. Without any, that is
    /// dropped.
    pub(crate) fn pass_on(mut self, baton: Option<B>) {
        self.over = true;
        if let Left::Closed(_) = self.flight.board.retire(baton, None) {
            self.flights.remove(&self.flight);
        }
    }

    fn end(&mut self, landing: Landing) {
        self.over = true;
        // In this order, later callers see to themselves or get the same.
        self.flight.board.land(landing);
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

/// The part of who waits.
#[must_use]
pub(crate) struct Waiter<B> {
    flight: Arc<Flight<B>>,
    flights: Flights<B>,
    task: u64,
    waits: bool,
}

/// What waiting comes to.
pub(crate) enum Waited<B> {
    Landed(Landing),
    /// This one leads now, in place of one that left and may have had a baton.
    Succeeds(Lead<B>, Option<B>),
    /// This one leads now, beside one that takes too long.
    Overtakes(Lead<B>),
    /// The leader waits for this one.
    InCircle,
}

impl<B> Waiter<B> {
    /// What tells the leader to telemetry.
    pub(crate) fn leader(&self) -> Option<u64> {
        self.flight.leader
    }

    pub(crate) fn wait(mut self) -> Waited<B> {
        let Some(_blocked) = self.flight.course.block() else { return Waited::InCircle };
        let arrival = self.flight.board.wait();
        self.arrived(arrival)
    }

    fn arrived(&mut self, arrival: Arrival<B, Landing>) -> Waited<B> {
        self.waits = false;
        let lead = || Lead { flight: Arc::clone(&self.flight), flights: self.flights.clone(), over: false };
        match arrival {
            Arrival::Landed(landing) => Waited::Landed(landing),
            Arrival::Succeeds(baton) => Waited::Succeeds(lead(), baton),
            Arrival::Overtakes => Waited::Overtakes(lead()),
        }
    }
}

/// A waiter that is gone must not be the one to take over. A baton that nobody
/// is left to take up is dropped.
impl<B> Drop for Waiter<B> {
    fn drop(&mut self) {
        if self.waits
            && let Left::Closed(_) = self.flight.board.leave(self.task, None)
        {
            self.flights.remove(&self.flight);
        }
    }
}

fn task() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
