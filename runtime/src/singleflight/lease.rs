//! The right to store a value, which this process holds while it computes.
//!
//! memcached grants it to one caller and forgets it soon, so that a holder which
//! died is not waited for. A holder that computes for longer renews it. A lease
//! that is not used is given back, and the next caller wins it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Waker;
#[cfg(feature = "tokio")]
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::Announced;
use super::renewal::{self, Renewed};
use crate::exchange::{self, Guard, NodeBatch, Outcome, RENEWED, Reply, Request, Token, Ttl, Verb, Write};
use crate::store::Store;
use crate::sync::lock;
#[cfg(feature = "tokio")]
use crate::telemetry;
use crate::telemetry::exchange::Exchange;
use crate::time::budget::Limits;

/// How long memcached remembers a lease. With less than two seconds, two callers
/// win at times.
pub(crate) const LEASE: Duration = Duration::from_secs(4);
/// How long after the grant the first renewal is due, which shows the waiters
/// that the holder lives.
const FIRST_RENEWAL: Duration = Duration::from_millis(80);
/// How long after that each further renewal is due.
const RENEWAL: Duration = Duration::from_secs(1);
/// How long after the grant or a renewal a lease on a stale value is renewed. No
/// caller waits for it, and now and then another wins it at that moment.
const RENEWAL_OF_STALE: Duration = Duration::from_millis(2_500);
/// A holder whose first renewal is missing after this long is dead, or was never
/// told that it won.
pub(crate) const SILENCE: Duration = Duration::from_secs(1);
/// A holder that computes for longer is taken for lost.
const LONGEST: Duration = Duration::from_secs(600);

/// What the lease is on, which decides how it is renewed and given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// A key without a value.
    Nothing,
    /// A value that may be served, but is due.
    Stale,
    /// A fresh value, which stays as it is.
    Fresh,
}

/// How the holder does I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Io {
    /// It blocks its thread.
    Blocking,
    /// It yields to the runtime.
    #[cfg(feature = "tokio")]
    Async,
}

/// A lease that this process holds.
pub(crate) struct Lease {
    held: Arc<Held>,
    io: Io,
}

struct Held {
    store: Arc<Store>,
    limits: Limits,
    key: String,
    /// The process that renews it. A forked child has only a copy.
    process: u32,
    since: Instant,
    state: Mutex<LeaseState>,
    changed: Condvar,
}

#[derive(Debug)]
struct LeaseState {
    on: On,
    /// The item's number, which a renewal changes.
    cas: u64,
    renewed: Option<Instant>,
    phase: Phase,
    waker: Option<Waker>,
    /// Where callers in this process learn the number.
    announced: Option<Announced>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Held,
    Renewing,
    /// Dropped during a renewal, and given back after it.
    Dropped,
    /// Used, given back or lost.
    Over,
}

impl Lease {
    /// Holds the lease that a lookup has won.
    pub(crate) fn hold(store: &Arc<Store>, limits: Limits, key: &str, cas: u64, on: On, io: Io) -> Self {
        let now = Instant::now();
        let held = Arc::new(Held {
            store: Arc::clone(store),
            limits,
            key: key.to_owned(),
            process: std::process::id(),
            since: now,
            state: Mutex::new(LeaseState { on, cas, renewed: None, phase: Phase::Held, waker: None, announced: None }),
            changed: Condvar::new(),
        });
        if on != On::Fresh {
            let weak = Arc::downgrade(&held);
            renewal::renew(weak);
        }
        Lease { held, io }
    }

    /// Announces the number of each renewal here.
    pub(crate) fn announce(&self, announced: Announced) {
        lock(&self.held.state).announced = Some(announced);
    }

    /// Ends the lease because its holder is about to store, and returns the guard
    /// to store under.
    pub(crate) fn end(&self) -> Guard {
        let mut state = lock(&self.held.state);
        while self.held.is_renewing(&state) {
            state = self.held.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.phase = Phase::Over;
        Guard::Unchanged(state.cas)
    }

    /// Ends the lease as [`Lease::end`] does, yielding to the runtime.
    #[cfg(feature = "tokio")]
    pub(crate) async fn end_async(&self) -> Guard {
        std::future::poll_fn(|context: &mut Context<'_>| {
            let mut state = lock(&self.held.state);
            if self.held.is_renewing(&state) {
                state.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            state.phase = Phase::Over;
            Poll::Ready(Guard::Unchanged(state.cas))
        })
        .await
    }

    /// Whether it allows storing under this key.
    pub(crate) fn is_for(&self, key: &str) -> bool {
        self.held.key == key
    }

    /// Stops renewing the lease without giving it back.
    pub(crate) fn abandon(&self) {
        let mut state = lock(&self.held.state);
        state.phase = Phase::Over;
    }

    /// Removes the value when the lease is given back.
    pub(crate) fn renounce(&self) {
        lock(&self.held.state).on = On::Nothing;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (on, cas) = {
            let mut state = lock(&self.held.state);
            match state.phase {
                Phase::Held => state.phase = Phase::Over,
                Phase::Renewing => return state.phase = Phase::Dropped,
                Phase::Dropped | Phase::Over => return,
            }
            (state.on, state.cas)
        };
        if on == On::Fresh {
            return;
        }
        #[cfg(feature = "tokio")]
        if self.io == Io::Async && self.held.store.is_remote() {
            // A destructor cannot wait, and the caller need not.
            let held = Arc::clone(&self.held);
            crate::detached::run(telemetry::within_current(async move {
                let request = held.giving_back(on, cas);
                let _ = held.store.ask_async(Verb::Delete, &request, &held.limits.budget()).await;
            }));
            return;
        }
        self.held.give_back(on, cas);
    }
}

impl Held {
    /// Whether a renewal is under way that will say when it is done.
    fn is_renewing(&self, state: &LeaseState) -> bool {
        state.phase == Phase::Renewing && self.process == std::process::id()
    }

    /// Lets the next caller win it.
    fn give_back(&self, on: On, cas: u64) {
        // If this gets no answer, the lease ends by itself.
        let _ = self.store.ask(Verb::Delete, &self.giving_back(on, cas), &self.limits.budget());
    }

    fn giving_back(&self, on: On, cas: u64) -> Request<'_> {
        let (key, guard) = (self.key.as_str(), Guard::Unchanged(cas));
        match on {
            On::Nothing => Request::Delete { key, guard },
            On::Stale | On::Fresh => Request::Invalidate { key, guard, ttl: None },
        }
    }

    /// Starts its time again under another number; `None` if it was lost.
    fn renew(&self, on: On, cas: u64) -> Option<u64> {
        let (key, guard) = (self.key.as_str(), Guard::Unchanged(cas));
        let again = match on {
            On::Nothing => {
                Request::Store { key, value: b"", flags: RENEWED, ttl: Ttl::For(LEASE), how: Write::Set, guard }
            }
            // Gives it up and wins it anew in one go. The value's time goes on.
            On::Stale | On::Fresh => Request::Invalidate { key, guard, ttl: None },
        };
        let look = Request::Lookup { key, lease: LEASE, refresh: Duration::ZERO };
        let batch = NodeBatch { node: self.store.placement().node_of(key), requests: vec![again, look] };
        let exchange = Exchange::with_several(Verb::Get, Some(1));
        let replies = self.store.ask_several(Verb::Get, &exchange, &[batch], &self.limits.budget());
        let replies: Vec<Outcome> = replies.into_iter().flatten().collect();
        exchange.end_all(replies.iter().find_map(|reply| reply.as_ref().err()));
        match &replies[..] {
            [Ok(Reply::Done), Ok(Reply::Missing(exchange::Grant::Lost { cas, renewed: true }))] => Some(*cas),
            [Ok(Reply::Done), Ok(Reply::Found(item))] if item.token == Token::Won => Some(item.cas),
            // It was deleted, so the look won another, which is not needed.
            [_, Ok(Reply::Missing(exchange::Grant::Won(cas)))] => {
                self.give_back(On::Nothing, *cas);
                None
            }
            _ => None,
        }
    }
}

impl Renewed for Held {
    fn renew_if_due(&self) {
        let (on, cas) = {
            let mut state = lock(&self.state);
            let due = match (state.on, state.renewed) {
                (On::Nothing, None) => self.since + FIRST_RENEWAL,
                (On::Nothing, Some(renewed)) => renewed + RENEWAL,
                (On::Stale | On::Fresh, renewed) => renewed.unwrap_or(self.since) + RENEWAL_OF_STALE,
            };
            let is_due = Instant::now() >= due && self.since.elapsed() < LONGEST;
            if state.phase != Phase::Held || !is_due {
                return;
            }
            state.phase = Phase::Renewing;
            (state.on, state.cas)
        };
        let renewed = self.renew(on, cas);
        let mut state = lock(&self.state);
        state.renewed = Some(Instant::now());
        if let Some(cas) = renewed {
            state.cas = cas;
            if let Some(announced) = &state.announced {
                announced.renewed(cas);
            }
        }
        let dropped = state.phase == Phase::Dropped;
        // A lost lease is not renewed again, and storing under it is refused.
        state.phase = if dropped || renewed.is_none() { Phase::Over } else { Phase::Held };
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        self.changed.notify_all();
        drop(state);
        if dropped && let Some(cas) = renewed {
            self.give_back(on, cas);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::ItemLimit;
    use crate::store::embedded::Embedded;
    use crate::time::clock::Clock;

    #[test]
    fn a_child_does_not_wait_for_what_its_parent_was_renewing() {
        let store = Arc::new(Store::embedded(Embedded::new(1 << 20, ItemLimit::default(), Clock::system())));
        let limits = Limits { total: Duration::from_secs(1), connect: Duration::from_secs(1) };
        let mut lease = Lease::hold(&store, limits, "k", 7, On::Fresh, Io::Blocking);
        let held = Arc::get_mut(&mut lease.held).unwrap();
        held.process += 1;
        held.state.get_mut().unwrap().phase = Phase::Renewing;
        assert_eq!(lease.end(), Guard::Unchanged(7));
    }
}
