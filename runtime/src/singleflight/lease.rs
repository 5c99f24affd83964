//! The right to store a value, which this process holds while it computes.
//!
//! memcached grants it to one caller and forgets it soon, so that a holder which
//! died is not waited for. A holder that computes for longer renews it. A lease
//! that is not used is given back, and the next caller wins it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
#[cfg(feature = "tokio")]
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::Announced;
use super::drive::Drive;
use super::held::{Held, LeaseState, Phase, giving_back};
pub(crate) use super::held::{Job, LEASE, On, RENEWAL, RENEWAL_OF_STALE, SILENCE, Won, fingerprint};
use super::renewal;
#[cfg(feature = "tokio")]
use crate::exchange::Verb;
use crate::exchange::{Guard, Note, Request};
use crate::store::Store;
use crate::sync::lock;
#[cfg(feature = "tokio")]
use crate::telemetry;
use crate::time::budget::{Budget, Limits};
#[cfg(all(feature = "servers", feature = "tokio"))]
use crate::time::patience::within;

/// How the holder does I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Io {
    /// It blocks its thread.
    Blocking,
    /// It yields to the runtime.
    #[cfg(feature = "tokio")]
    Async,
}

/// A lease that has ended without being used, and is to be given back.
#[derive(Debug)]
pub(crate) struct Forfeit {
    key: String,
    on: On,
    cas: u64,
}

impl Forfeit {
    /// Creates the lease that a lookup has won for a caller that is gone.
    #[cfg(feature = "tokio")]
    pub(crate) fn won(key: &str, won: Won) -> Self {
        Forfeit { key: key.to_owned(), on: won.on, cas: won.cas }
    }

    /// Builds the request that gives it back.
    pub(crate) fn request(&self) -> Request<'_> {
        giving_back(&self.key, self.on, self.cas)
    }
}

/// A lease that this process holds. Clones share it; the last to be dropped gives
/// it back.
#[derive(Clone)]
pub(crate) struct Lease(Arc<Share>);

struct Share {
    held: Arc<Held>,
    io: Io,
}

impl Lease {
    /// Holds the lease that a lookup has won.
    pub(crate) fn hold(store: &Arc<Store>, limits: Limits, key: &str, won: Won, io: Io, job: Job) -> Self {
        let Won { cas, on, value } = won;
        let Job { pace, drive, note } = job;
        let held = Arc::new(Held {
            store: Arc::clone(store),
            limits,
            key: key.to_owned(),
            note: note.unwrap_or_else(|| Note::new(pace.estimate())),
            pace,
            process: std::process::id(),
            since: Instant::now(),
            state: Mutex::new(LeaseState {
                on,
                drive,
                value,
                cas,
                renewed: None,
                phase: Phase::Held,
                wakers: Vec::new(),
                announced: None,
            }),
            changed: Condvar::new(),
        });
        if on != On::Fresh {
            let weak = Arc::downgrade(&held);
            renewal::renew(weak);
        }
        Lease(Arc::new(Share { held, io }))
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> Arc<Held> {
        Arc::clone(&self.0.held)
    }

    /// Announces the number of each renewal here.
    pub(crate) fn announce(&self, announced: Announced) {
        lock(&self.0.held.state).announced = Some(announced);
    }

    /// Returns where the polls of the computation under it are noted.
    #[cfg(feature = "tokio")]
    pub(crate) fn drive(&self) -> Arc<Drive> {
        Arc::clone(&lock(&self.0.held.state).drive)
    }

    /// Takes note that another caller computes under the lease, whose polls `drive`
    /// notes.
    pub(crate) fn driven_by(&self, drive: Arc<Drive>) {
        lock(&self.0.held.state).drive = drive;
    }

    /// Ends the lease because a holder is about to store. Returns the guard to
    /// store under; `None` if the lease was lost, or another holder has stored, or
    /// a renewal under way takes longer than the holder has time.
    pub(crate) fn end(&self, budget: &Budget) -> Option<Guard> {
        let held = &self.0.held;
        let mut state = lock(&held.state);
        if held.is_renewing(&state) {
            let wait = budget.deadline();
            let (left, is_renewing) =
                (wait.left().unwrap_or_default(), |state: &mut LeaseState| held.is_renewing(state));
            let waited = held.changed.wait_timeout_while(state, left, is_renewing);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            budget.spend(wait.begun().elapsed());
        }
        held.end(&mut state)
    }

    /// Ends the lease as [`Lease::end`] does, yielding to the runtime.
    #[cfg(feature = "tokio")]
    pub(crate) async fn end_async(&self, budget: &Budget) -> Option<Guard> {
        if let Poll::Ready(guard) = self.poll_end(&mut Context::from_waker(Waker::noop())) {
            return guard;
        }
        let wait = budget.deadline();
        let renewed = std::future::poll_fn(|context| self.poll_end(context));
        let ended = within(wait.left().unwrap_or_default(), renewed).await;
        budget.spend(wait.begun().elapsed());
        ended.unwrap_or_else(|| self.0.held.end(&mut lock(&self.0.held.state)))
    }

    /// Ends the lease once it is not being renewed.
    #[cfg(feature = "tokio")]
    fn poll_end(&self, context: &mut Context<'_>) -> Poll<Option<Guard>> {
        let held = &self.0.held;
        let mut state = lock(&held.state);
        if !held.is_renewing(&state) {
            return Poll::Ready(held.end(&mut state));
        }
        if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            state.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// Ends the lease, which has not been used. The caller gives it back, unless
    /// there is nothing to give back or a renewal under way sees to that.
    pub(crate) fn forfeit(&self) -> Option<Forfeit> {
        let held = &self.0.held;
        let (on, cas) = held.forfeit()?;
        Some(Forfeit { key: held.key.clone(), on, cas })
    }

    /// Whether it allows storing under this key.
    pub(crate) fn is_for(&self, key: &str) -> bool {
        self.0.held.key == key
    }

    /// Stops renewing the lease without giving it back.
    pub(crate) fn abandon(&self) {
        lock(&self.0.held.state).phase = Phase::Over;
    }

    /// Removes the value when the lease is given back.
    pub(crate) fn renounce(&self) {
        lock(&self.0.held.state).on = On::Nothing;
    }
}

/// Returns what comes of this work: in this process, a renewal takes no time.
#[cfg(all(feature = "tokio", not(feature = "servers")))]
async fn within<T>(_: std::time::Duration, work: impl Future<Output = T>) -> Option<T> {
    Some(work.await)
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some((on, cas)) = self.held.forfeit() else { return };
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::exchange::ItemLimit;
    use crate::singleflight::pace::Pace;
    use crate::store::embedded::Embedded;
    use crate::time::clock::Clock;

    #[test]
    fn a_child_does_not_wait_for_what_its_parent_was_renewing() {
        let store = Arc::new(Store::embedded(Embedded::new(1 << 20, ItemLimit::default(), Clock::system())));
        let limits = Limits { total: Duration::from_secs(1), connect: Duration::from_secs(1) };
        static PACE: Pace = Pace::new();
        let (won, job) =
            (Won { cas: 7, on: On::Fresh, value: 0 }, Job { pace: &PACE, drive: Arc::new(Drive::new()), note: None });
        let mut lease = Lease::hold(&store, limits, "k", won, Io::Blocking, job);
        let held = Arc::get_mut(&mut Arc::get_mut(&mut lease.0).unwrap().held).unwrap();
        held.process += 1;
        held.state.get_mut().unwrap().phase = Phase::Renewing;
        assert_eq!(lease.end(&limits.budget()), Some(Guard::Held(7)));
    }
}
