//! Waiting for what a call needs next, blocking or not.

use std::time::Duration;

use super::{Arrival, Next, Place};
#[cfg(feature = "tokio")]
use crate::cache::Cache;
#[cfg(feature = "tokio")]
use crate::call::freshness::{Age, Terms};
use crate::call::mode::Mode;
#[cfg(feature = "tokio")]
use crate::detached::Resolute;
use crate::exchange::{Guard, Outcome, Request};
#[cfg(feature = "tokio")]
use crate::exchange::{Lease as Granted, Reply, Token};
use crate::singleflight::lease::LEASE;
#[cfg(feature = "tokio")]
use crate::singleflight::lease::{Lease, On, Waiting};
#[cfg(feature = "tokio")]
use crate::telemetry;
use crate::telemetry::call::CallSpan;
#[cfg(feature = "tokio")]
use crate::telemetry::call::Wait;
#[cfg(feature = "tokio")]
use crate::time::budget::Budget;

impl Place {
    /// Waits for what is next, blocking.
    pub(crate) fn wait(&mut self, span: &CallSpan) -> Arrival {
        let next = std::mem::replace(&mut self.next, Next::Ask);
        match next {
            Next::Ask => {}
            Next::Pause(pause) => std::thread::sleep(pause),
            Next::Elect(left) => return Arrival::Election(self.ask(self.election(left))),
            Next::Reopen(cas) => drop(self.ask(self.reopening(cas))),
            Next::Join(waiter) => {
                span.follows(waiter.leader());
                let _wait = span.wait();
                return Arrival::Waited(waiter.wait());
            }
        }
        let _polls = self.holder.as_ref().map(|holder| holder.wait.enter());
        Arrival::Reply(self.ask(self.lookup()))
    }

    pub(super) fn ask(&self, request: Request<'_>) -> Outcome {
        self.cache.store().ask(request.verb(), &request, &self.budget)
    }

    /// As [`Place::wait`], yielding.
    #[cfg(feature = "tokio")]
    pub(crate) async fn wait_async(&mut self, span: &CallSpan) -> Arrival {
        let next = std::mem::replace(&mut self.next, Next::Ask);
        match next {
            Next::Ask => {}
            Next::Pause(pause) => crate::time::timer::sleep(pause).await,
            Next::Elect(left) => return Arrival::Election(self.look_up(self.election(left)).await),
            Next::Reopen(cas) => drop(self.ask_async(self.reopening(cas)).await),
            Next::Join(waiter) => {
                span.follows(waiter.leader());
                let _wait = span.wait();
                return Arrival::Waited(waiter.wait_async().await);
            }
        }
        let polls = self.holder.as_ref().map_or_else(Wait::none, |holder| holder.wait.clone());
        Arrival::Reply(polls.within(self.look_up(self.lookup())).await)
    }

    /// A lookup that is dropped must not leave a lease with nobody: its reply is
    /// waited for in the background.
    #[cfg(feature = "tokio")]
    async fn look_up(&self, request: Request<'_>) -> Outcome {
        let Request::Lookup { key, lease, refresh } = request else { return self.ask_async(request).await };
        if !self.cache.store().is_remote() {
            return self.ask_async(request).await;
        }
        let (cache, key, budget) = (self.cache.clone(), key.to_owned(), self.budget.lend());
        let terms = self.terms;
        let work = async move {
            let request = Request::Lookup { key: &key, lease, refresh };
            let outcome = cache.store().ask_async(request.verb(), &request, &budget).await;
            Looked { outcome, cache, key, budget, terms }
        };
        let looked = Resolute::new(work, |work| {
            crate::detached::run(telemetry::within_current(async { work.await.forsake() }));
        });
        let Looked { outcome, budget, .. } = looked.await;
        self.budget.become_of(&budget);
        outcome
    }

    #[cfg(feature = "tokio")]
    pub(super) async fn ask_async(&self, request: Request<'_>) -> Outcome {
        self.cache.store().ask_async(request.verb(), &request, &self.budget).await
    }

    /// Asks for the value, or for the lease to compute it.
    fn lookup(&self) -> Request<'_> {
        let key = self.slot();
        if self.mode == Mode::ReadOnly {
            return Request::Peek { key };
        }
        Request::Lookup { key, lease: LEASE, refresh: self.terms.refresh_window() }
    }

    /// Asks for the lease on a value that is fresh for so long.
    fn election(&self, left: Duration) -> Request<'_> {
        let refresh = self.terms.grace.saturating_add(left).saturating_add(Duration::from_secs(1));
        Request::Lookup { key: self.slot(), lease: LEASE, refresh }
    }

    fn reopening(&self, cas: u64) -> Request<'_> {
        Request::Invalidate { key: self.slot(), guard: Guard::Unchanged(cas), ttl: None }
    }
}

/// A lookup that has come to its end.
#[cfg(feature = "tokio")]
struct Looked {
    outcome: Outcome,
    cache: Cache,
    key: String,
    budget: Budget,
    terms: Terms,
}

#[cfg(feature = "tokio")]
impl Looked {
    /// Gives back what the lookup has won, for nobody wants it any longer.
    fn forsake(self) {
        let won = match &self.outcome {
            Ok(Reply::Missing(Granted::Won(cas))) => Some((*cas, On::Nothing)),
            Ok(Reply::Found(item)) if item.token == Token::Won => match self.terms.age(item) {
                Age::Fresh(_) => None,
                Age::Stale | Age::Dead => Some((item.cas, On::Stale)),
            },
            _ => None,
        };
        if let Some((cas, on)) = won {
            drop(Lease::hold(self.cache.store(), self.cache.limits(), &self.key, cas, on, Waiting::Async));
        }
    }
}
