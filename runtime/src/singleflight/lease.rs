//! The right to store a value that this process holds while it computes.
//!
//! memcached grants it to one caller and forgets it soon, so that one who died
//! is not waited for; whoever computes for longer renews it. What is not used
//! is given back, and the next caller wins it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Waker;
#[cfg(feature = "tokio")]
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::exchange::{self, Errand, Guard, Outcome, RENEWED, Reply, Request, Token, Ttl, Verb, Write};
use crate::singleflight::renewal::{self, Kept};
use crate::store::Store;
use crate::sync::lock;
#[cfg(feature = "tokio")]
use crate::telemetry;
use crate::telemetry::exchange::Exchange;
use crate::time::budget::Limits;

/// How long memcached remembers it. Of less than two seconds, two callers win
/// at times.
pub(crate) const LEASE: Duration = Duration::from_secs(4);
/// How long after it was granted it is renewed for the first time, for those who
/// wait to see that its holder lives.
const FIRST_RENEWAL: Duration = Duration::from_millis(80);
/// How long after that it is renewed again.
const RENEWAL: Duration = Duration::from_secs(1);
/// Of a lease on a stale value, for which nobody waits: now and then another
/// wins it at that moment.
const RENEWAL_OF_STALE: Duration = Duration::from_millis(2_500);
/// A holder that has not renewed it for the first time after so long is dead,
/// or was never told.
pub(crate) const SILENCE: Duration = Duration::from_secs(1);
/// One that computes for longer has lost its way.
const LONGEST: Duration = Duration::from_secs(600);

/// What the lease is on, and so how it is renewed and given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// A key without a value.
    Nothing,
    /// A value that may be served, but is due.
    Stale,
    /// A value that is as good as new: it stays as it is.
    Fresh,
}

/// How the holder waits for I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// By blocking the thread.
    Blocking,
    /// By yielding to the runtime.
    #[cfg(feature = "tokio")]
    Async,
}

/// A lease that is held.
pub(crate) struct Lease {
    held: Arc<Held>,
    waiting: Waiting,
}

struct Held {
    store: Arc<Store>,
    limits: Limits,
    key: String,
    /// The one that renews it: after a fork the child has a copy of it only.
    process: u32,
    since: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    on: On,
    /// The item's number. To renew the lease changes it.
    cas: u64,
    renewed: Option<Instant>,
    phase: Phase,
    waker: Option<Waker>,
    /// Where callers in this process look for the number, and what of it differs
    /// there.
    told: Option<(Arc<AtomicU64>, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Held,
    Renewing,
    /// Dropped during that, and to be given back after it.
    Dropped,
    /// Used, given back or lost.
    Over,
}

impl Lease {
    /// Holds the lease that a lookup has won.
    pub(crate) fn hold(store: &Arc<Store>, limits: Limits, key: &str, cas: u64, on: On, waiting: Waiting) -> Self {
        let now = Instant::now();
        let held = Arc::new(Held {
            store: Arc::clone(store),
            limits,
            key: key.to_owned(),
            process: std::process::id(),
            since: now,
            state: Mutex::new(State { on, cas, renewed: None, phase: Phase::Held, waker: None, told: None }),
            changed: Condvar::new(),
        });
        if on != On::Fresh {
            let weak = Arc::downgrade(&held);
            renewal::keep(weak);
        }
        Lease { held, waiting }
    }

    /// Has callers in this process know of the lease under its present number:
    /// in this place, where these bits of it differ.
    pub(crate) fn tells(&self, place: Arc<AtomicU64>, differing: u64) {
        lock(&self.held.state).told = Some((place, differing));
    }

    /// Ends the lease, for its holder is about to store: what to store under.
    pub(crate) fn end(&self) -> Guard {
        let mut state = lock(&self.held.state);
        while self.held.is_renewing(&state) {
            state = self.held.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.phase = Phase::Over;
        Guard::Unchanged(state.cas)
    }

    /// As [`Lease::end`].
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

    /// Whether it is for storing under this key.
    pub(crate) fn is_for(&self, key: &str) -> bool {
        self.held.key == key
    }

    /// Neither renews the lease nor gives it back.
    pub(crate) fn abandon(&self) {
        let mut state = lock(&self.held.state);
        state.phase = Phase::Over;
    }

    /// Has the value removed when the lease is given back.
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
        if self.waiting == Waiting::Async && self.held.store.is_remote() {
            // Nobody can wait here, and the caller need not.
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
    /// Whether there is anybody who is at it now, and will say when it is done.
    fn is_renewing(&self, state: &State) -> bool {
        state.phase == Phase::Renewing && self.process == std::process::id()
    }

    /// Has the next caller win it.
    fn give_back(&self, on: On, cas: u64) {
        // Unanswered, it ends by itself.
        let _ = self.store.ask(Verb::Delete, &self.giving_back(on, cas), &self.limits.budget());
    }

    fn giving_back(&self, on: On, cas: u64) -> Request<'_> {
        let (key, guard) = (self.key.as_str(), Guard::Unchanged(cas));
        match on {
            On::Nothing => Request::Delete { key, guard },
            On::Stale | On::Fresh => Request::Invalidate { key, guard, ttl: None },
        }
    }

    /// Starts its time again, under another number; `None` if it has been lost.
    fn renew(&self, on: On, cas: u64) -> Option<u64> {
        let (key, guard) = (self.key.as_str(), Guard::Unchanged(cas));
        let again = match on {
            On::Nothing => {
                Request::Store { key, value: b"", flags: RENEWED, ttl: Ttl::For(LEASE), how: Write::Set, guard }
            }
            // Given up and won anew in one go; the value's own time goes on.
            On::Stale | On::Fresh => Request::Invalidate { key, guard, ttl: None },
        };
        let look = Request::Lookup { key, lease: LEASE, refresh: Duration::ZERO };
        let errand = Errand { node: self.store.places().of(key), requests: vec![again, look] };
        let exchange = Exchange::with_several(Verb::Get, Some(1));
        let replies = self.store.ask_several(Verb::Get, &exchange, &[errand], &self.limits.budget());
        let replies: Vec<Outcome> = replies.into_iter().flatten().collect();
        exchange.end_all(replies.iter().find_map(|reply| reply.as_ref().err()));
        match &replies[..] {
            [Ok(Reply::Done), Ok(Reply::Missing(exchange::Lease::Lost { cas, renewed: true }))] => Some(*cas),
            [Ok(Reply::Done), Ok(Reply::Found(item))] if item.token == Token::Won => Some(item.cas),
            // It was deleted, and so the look has won another, for nobody.
            [_, Ok(Reply::Missing(exchange::Lease::Won(cas)))] => {
                self.give_back(On::Nothing, *cas);
                None
            }
            _ => None,
        }
    }
}

impl Kept for Held {
    fn tend(&self) {
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
            if let Some((place, differing)) = &state.told {
                place.store(cas ^ differing, Ordering::Relaxed);
            }
        }
        let dropped = state.phase == Phase::Dropped;
        // One that is lost is not renewed again; to store under it is refused.
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
    use crate::store::embedded::Embedded;
    use crate::time::clock::Clock;

    #[test]
    fn a_child_does_not_wait_for_what_its_parent_was_renewing() {
        let store = Arc::new(Store::embedded(Embedded::new(1 << 20, Clock::system())));
        let limits = Limits { total: Duration::from_secs(1), connect: Duration::from_secs(1) };
        let mut lease = Lease::hold(&store, limits, "k", 7, On::Fresh, Waiting::Blocking);
        let held = Arc::get_mut(&mut lease.held).unwrap();
        held.process += 1;
        held.state.get_mut().unwrap().phase = Phase::Renewing;
        assert_eq!(lease.end(), Guard::Unchanged(7));
    }
}
