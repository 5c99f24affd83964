//! What to do next, decided from what has come back: the one place that fails
//! open.
//!
//! A [`Flow`] does the thinking of one call and leaves the waiting to `call`,
//! which carries it through a blocking or an async function. What does not
//! depend on the value's type is its [`Place`]'s, and compiled once.

use std::time::Duration;

use crate::budget::Budget;
use crate::cache::Cache;
use crate::envelope::Refusal;
use crate::error::{Error, ErrorKind};
use crate::exchange::{Guard, Item, Lease, Outcome, Reply, Request, Ttl, Verb, Write};
use crate::key::Key;
use crate::mode::Mode;
use crate::policy::StoreIf;
use crate::record::{Form, Record};
#[cfg(feature = "tokio")]
use crate::telemetry;
use crate::telemetry::memo::{CallSpan, MissReason};

/// A winner has this long to store before another call may win, if nothing is
/// known yet about how long the function takes.
const FIRST_LEASE: Duration = Duration::from_secs(120);
/// Leases shorter than two seconds have two winners at times.
const SHORTEST_LEASE: Duration = Duration::from_secs(3);
/// As long as nothing is stored if the winner dies.
const LONGEST_LEASE: Duration = Duration::from_secs(600);

/// One call that has a cache and a key.
pub(crate) struct Flow<V> {
    pub(crate) form: Form<V>,
    pub(crate) place: Place,
}

/// Where a call's value belongs, and what this call may do there.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) cache: Cache,
    pub(crate) key: Key,
    pub(crate) ttl: Ttl,
    mode: Mode,
    pub(crate) budget: Budget,
    pub(crate) waiting: Waiting,
    claim: Claim,
}

/// How the call waits for I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// By blocking the thread.
    Blocking,
    /// By yielding to the runtime.
    #[cfg(feature = "tokio")]
    Async,
}

/// What the lookup has entitled this call to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// To nothing: there is nowhere to store.
    Nothing,
    /// To nothing: another call stores.
    Lost,
    /// To store if nobody else has by then: the server knows no leases.
    First,
    /// To store under this number, and to give the lease back if it does not.
    Lease(u64),
    /// To replace the item with this number, which is of no use.
    Replace(u64),
}

impl<V> Flow<V> {
    /// The value that was found, if it is to be used. From here on the flow
    /// knows what this call may store.
    ///
    /// # Errors
    ///
    /// If the cache could not be asked.
    pub(crate) fn judge(&mut self, outcome: Outcome, span: &CallSpan) -> Result<Option<V>, Error> {
        let Flow { form, place } = self;
        let mut value = None;
        let unpack = &mut |item: &Item| {
            let found = form.unpack(&item.value, item.flags)?;
            value = Some(found.value);
            Ok(found.cost)
        };
        place.judge(outcome, unpack, span)?;
        Ok(value)
    }

    /// What to store, if this call may store and the value lets it.
    pub(crate) fn pack(&self, value: &V, cost: u64, wanted: &impl StoreIf<V>, span: &CallSpan) -> Option<Record> {
        self.place.pack(&|| wanted.allows(value), &|| self.form.pack(value, cost), span)
    }
}

impl Place {
    pub(crate) fn new(cache: Cache, key: Key, ttl: Ttl, mode: Mode) -> Self {
        let (budget, waiting, claim) = (cache.budget(), Waiting::Blocking, Claim::Nothing);
        Place { cache, key, ttl, mode, budget, waiting, claim }
    }

    /// Asks for the value, or for the lease to compute it: not much longer
    /// than that takes, since a lease may be lost with its holder.
    pub(crate) fn lookup(&self, span: &CallSpan) -> Request<'_> {
        let key = self.key.wire();
        if self.mode == Mode::ReadOnly {
            return Request::Peek { key };
        }
        Request::Lookup { key, lease: lease(span), refresh: Duration::ZERO }
    }

    /// Has an item that is to be used unpacked, which gives what it took to
    /// compute; without one, knows what this call may store.
    fn judge(
        &mut self,
        outcome: Outcome,
        unpack: &mut dyn FnMut(&Item) -> Result<u64, Refusal>,
        span: &CallSpan,
    ) -> Result<(), Error> {
        let item = match outcome {
            Ok(Reply::Found(item)) => item,
            Ok(reply) => {
                self.claim(match reply {
                    Reply::Missing(Lease::Won(number)) => Claim::Lease(number),
                    Reply::Missing(Lease::Free) => Claim::First,
                    _ => Claim::Lost,
                });
                span.miss(MissReason::Absent);
                return Ok(());
            }
            Err(error) => {
                span.unavailable(&error);
                return Err(error);
            }
        };
        if self.mode == Mode::Refresh {
            self.claim(Claim::Replace(item.cas));
            span.miss(MissReason::Refresh);
            return Ok(());
        }
        match span.try_deserialize(|| unpack(&item)) {
            Ok(cost) => {
                span.hit(item.value.len(), cost);
                return Ok(());
            }
            Err(Refusal::Foreign) => span.miss(MissReason::Schema),
            Err(Refusal::Corrupt) => span.undecodable(),
        }
        self.claim(Claim::Replace(item.cas));
        Ok(())
    }

    fn claim(&mut self, claim: Claim) {
        self.claim = if self.mode == Mode::ReadOnly { Claim::Nothing } else { claim };
    }

    fn pack(
        &self,
        wanted: &dyn Fn() -> bool,
        pack: &dyn Fn() -> Result<Record, Error>,
        span: &CallSpan,
    ) -> Option<Record> {
        match self.claim {
            Claim::Nothing => return None,
            Claim::Lost => {
                span.left_to_another();
                return None;
            }
            Claim::First | Claim::Lease(_) | Claim::Replace(_) => {}
        }
        if !wanted() {
            span.not_wanted();
            return None;
        }
        if self.ttl == Ttl::For(Duration::ZERO) {
            span.not_stored("ttl is zero");
            return None;
        }
        let Ok(record) = span.serialize_value(pack) else {
            span.not_stored(ErrorKind::Encode.as_str());
            return None;
        };
        if self.store(&record).check().is_err() {
            span.not_stored(ErrorKind::TooLarge.as_str());
            return None;
        }
        Some(record)
    }

    pub(crate) fn store<'a>(&'a self, record: &'a Record) -> Request<'a> {
        let (how, guard) = match self.claim {
            Claim::Lease(cas) | Claim::Replace(cas) => (Write::Set, Guard::Unchanged(cas)),
            Claim::First => (Write::Add, Guard::None),
            Claim::Nothing | Claim::Lost => (Write::Set, Guard::None),
        };
        let Record { bytes: value, flags } = record;
        Request::Store { key: self.key.wire(), value, flags: *flags, ttl: self.ttl, how, guard }
    }

    /// Takes note of how storing ended. The claim is used up even if the reply
    /// is unknown: the value may have been stored.
    pub(crate) fn stored(&mut self, outcome: Outcome, record: &Record, cost: u64, span: &CallSpan) {
        self.claim = Claim::Nothing;
        match outcome {
            Ok(Reply::Done) => span.stored(record.bytes.len()),
            // The next lease will be longer.
            Ok(Reply::Absent) if Duration::from_nanos(cost) > FIRST_LEASE => span.not_stored("the lease ran out"),
            // Written, deleted or expired since the lookup: that one wins.
            Ok(_) => span.left_to_another(),
            Err(error) => span.not_stored(error.kind().as_str()),
        }
    }
}

/// Several times what computing takes, as far as that is known.
fn lease(span: &CallSpan) -> Duration {
    let enough = |longest: Duration| longest.saturating_mul(4).clamp(SHORTEST_LEASE, LONGEST_LEASE);
    span.longest_computation().map_or(FIRST_LEASE, enough)
}

/// A lease that was not used (the body returned an error, panicked, or its
/// future was dropped) goes back, so that the next call may win it.
impl Drop for Place {
    fn drop(&mut self) {
        let Claim::Lease(cas) = self.claim else { return };
        let guard = Guard::Unchanged(cas);
        #[cfg(feature = "tokio")]
        if self.waiting == Waiting::Async && self.cache.store().is_remote() {
            // Nobody can wait here, and the caller need not.
            let (cache, key) = (self.cache.clone(), self.key.wire().to_owned());
            crate::background::run(telemetry::within_current(async move {
                let request = Request::Delete { key: &key, guard };
                let _ = cache.store().ask_async(Verb::Delete, &request, &cache.budget()).await;
            }));
            return;
        }
        // Unanswered, the lease ends by itself.
        let _ = self.cache.store().ask(Verb::Delete, &Request::Delete { key: self.key.wire(), guard }, &self.budget);
    }
}
