//! What tests make the embedded store do wrong, as far as its callers can tell.
//!
//! Nothing sleeps here: time that a slow store takes is only counted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::sync::lock;
use crate::time::budget::Budget;

/// Makes the store of an embedded cache fail, as servers do.
///
/// [`Cache::faults`](crate::Cache::faults) returns it. One fault is there at a time, and
/// stays until the next or until it [heals](Faults::heal); what the store holds is kept.
///
/// Callers see what they would see of a server: the same kinds of errors in spans, metrics
/// and [`ObservedCall`](crate::ObservedCall)s. But a server that goes on failing is left
/// alone for a while, which is told as
/// [`ErrorKind::CircuitOpen`](crate::ErrorKind::CircuitOpen); the embedded store is asked
/// each time.
///
/// ```
/// use memocached::testing::{assert_hit, assert_miss, with_cache};
/// use memocached::{Cache, memcached};
///
/// #[memcached(key = "name:<id>", ttl = 60)]
/// fn name(id: u64) -> String {
///     format!("user {id}")
/// }
///
/// let cache = Cache::embedded();
/// with_cache(&cache, || {
///     name(7);
///     cache.faults().down();
///     assert_eq!(assert_miss!(name(7)), "user 7");
///     cache.faults().heal();
///     assert_hit!(name(7));
/// });
/// ```
#[derive(Clone, Debug)]
pub struct Faults(Arc<FaultState>);

#[derive(Debug, Default)]
struct FaultState {
    fault: Mutex<StoreFault>,
    /// Whether all items go before the next request.
    evicts: AtomicBool,
}

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum StoreFault {
    #[default]
    None,
    Down,
    Slow(Duration),
    DropsWrites,
    Full,
}

impl Faults {
    /// Refuses connections: each request fails with
    /// [`ErrorKind::Connect`](crate::ErrorKind::Connect).
    pub fn down(&self) {
        self.set(StoreFault::Down);
    }

    /// Takes this long for each exchange. The time counts towards the call's limit for
    /// cache I/O (see [`timeout`](crate::Builder::timeout), 100 ms by default), but no call
    /// waits for it, and the cache's clock does not move. An exchange that would exceed the
    /// limit fails with [`ErrorKind::Timeout`](crate::ErrorKind::Timeout), and does nothing.
    pub fn slow(&self, each: Duration) {
        self.set(StoreFault::Slow(each));
    }

    /// Accepts what is stored, and loses it at once.
    pub fn drops_writes(&self) {
        self.set(StoreFault::DropsWrites);
    }

    /// Refuses what is stored, for lack of memory, with
    /// [`ErrorKind::Server`](crate::ErrorKind::Server). What was there under the key goes.
    pub fn full(&self) {
        self.set(StoreFault::Full);
    }

    /// Loses all that is stored now, like a server that needs the room or was started
    /// again. Copies that the cache keeps near stay. What is stored afterwards is kept, and a
    /// fault that is there stays.
    pub fn evict_all(&self) {
        self.0.evicts.store(true, Ordering::Release);
    }

    /// Ends the fault.
    pub fn heal(&self) {
        self.set(StoreFault::None);
    }

    /// Begins without a fault.
    pub(super) fn none() -> Self {
        Faults(Arc::default())
    }

    fn set(&self, fault: StoreFault) {
        *lock(&self.0.fault) = fault;
    }

    /// Returns what is wrong now.
    pub(super) fn now(&self) -> StoreFault {
        *lock(&self.0.fault)
    }

    pub(super) fn is_down(&self) -> bool {
        self.now() == StoreFault::Down
    }

    /// Returns whether all items are to go, of which this tells once.
    pub(super) fn evicts(&self) -> bool {
        self.0.evicts.swap(false, Ordering::AcqRel)
    }

    /// Begins an exchange with the store, at the expense of this budget.
    pub(super) fn exchange(&self, budget: &Budget) -> Result<(), Error> {
        match self.now() {
            StoreFault::Down => Err(Error::new(ErrorKind::Connect, "the embedded store cannot be reached: it is down")),
            StoreFault::Slow(each) => wait(each, budget),
            StoreFault::None | StoreFault::DropsWrites | StoreFault::Full => Ok(()),
        }
    }
}

/// Counts the time of a slow exchange.
fn wait(each: Duration, budget: &Budget) -> Result<(), Error> {
    let deadline = budget.deadline();
    let Some(left) = deadline.left() else {
        return Err(Error::new(ErrorKind::OutOfTime, "no time was left to ask the embedded store"));
    };
    budget.spend(each.min(left));
    match each < left {
        true => Ok(()),
        false if deadline.is_fair(left) => {
            Err(Error::new(ErrorKind::Timeout, "the embedded store gave no answer in time"))
        }
        false => Err(Error::new(ErrorKind::OutOfTime, "the embedded store had too little time to answer")),
    }
}
