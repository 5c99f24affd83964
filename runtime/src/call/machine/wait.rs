//! Carries out what a call needs next and waits for the event, blocking or
//! yielding.

#[cfg(feature = "tokio")]
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "tokio")]
use super::super::freshness::{Age, Freshness};
use super::super::mode::Mode;
use super::{Effect, Event, Machine};
#[cfg(feature = "tokio")]
use crate::cache::Cache;
#[cfg(feature = "tokio")]
use crate::detached::{self, Resolute, Work};
#[cfg(feature = "tokio")]
use crate::exchange::{Grant, Reply, Token};
use crate::exchange::{Guard, Note, Outcome, Request};
#[cfg(feature = "tokio")]
use crate::singleflight::drive::Drive;
use crate::singleflight::lease::LEASE;
#[cfg(feature = "tokio")]
use crate::singleflight::lease::{Io, Job, Lease, On, Won, fingerprint};
#[cfg(feature = "tokio")]
use crate::telemetry;
use crate::telemetry::call::CallSpan;
#[cfg(feature = "tokio")]
use crate::telemetry::call::Wait;
#[cfg(feature = "tokio")]
use crate::time::budget::Budget;
#[cfg(feature = "tokio")]
use crate::time::timer;

impl Machine {
    /// Waits for the next event, blocking.
    pub(crate) fn wait(&mut self, span: &CallSpan) -> Event {
        match std::mem::replace(&mut self.effect, Effect::Ask) {
            Effect::Ask => {}
            Effect::Pause(pause) => self.pause(pause),
            Effect::TakeOver(cas, note) => return Event::TakenOver(self.ask(self.taking_over(cas, note))),
            Effect::Elect(left) => return Event::Election(self.ask(self.election(left))),
            Effect::Reopen(cas) => drop(self.ask(self.reopening(cas))),
            Effect::Join(waiter) => {
                span.follows(waiter.leader());
                let _wait = span.wait();
                return Event::Waited(waiter.wait());
            }
        }
        let _polls = self.holder.as_ref().map(|holder| holder.wait.enter());
        Event::Reply(self.ask(self.lookup()))
    }

    /// Pauses, blocking. A worker of a runtime is handed over.
    fn pause(&self, pause: Duration) {
        let sleep = || std::thread::sleep(pause);
        #[cfg(feature = "tokio")]
        detached::hand_over(sleep);
        #[cfg(not(feature = "tokio"))]
        sleep();
    }

    pub(super) fn ask(&self, request: Request<'_>) -> Outcome {
        // Asking about another process again and again has limits of its own.
        let polls = self.holder.as_ref().map(|_| self.cache.budget());
        self.cache.store().ask(request.verb(), &request, polls.as_ref().unwrap_or(&self.budget))
    }

    /// Waits for the next event, yielding. It does so in a box: the frames of its
    /// polls are gone by the time that the body runs.
    #[cfg(feature = "tokio")]
    pub(crate) fn wait_async<'a>(&'a mut self, span: &'a CallSpan) -> Work<'a, Event> {
        Box::pin(self.carry_out(span))
    }

    #[cfg(feature = "tokio")]
    async fn carry_out(&mut self, span: &CallSpan) -> Event {
        match std::mem::replace(&mut self.effect, Effect::Ask) {
            Effect::Ask => {}
            Effect::Pause(pause) => timer::sleep(pause).await,
            Effect::TakeOver(cas, note) => return Event::TakenOver(self.ask_async(self.taking_over(cas, note)).await),
            Effect::Elect(left) => return Event::Election(self.look_up(self.election(left)).await),
            Effect::Reopen(cas) => drop(self.ask_async(self.reopening(cas)).await),
            Effect::Join(waiter) => {
                span.follows(waiter.leader());
                let _wait = span.wait();
                return Event::Waited(waiter.wait_async().await);
            }
        }
        let polls = self.holder.as_ref().map_or_else(Wait::none, |holder| holder.wait.clone());
        Event::Reply(polls.within(self.look_up(self.lookup())).await)
    }

    /// Looks up. A lookup that is dropped must not leave a lease without a
    /// holder, so its reply is then awaited in the background.
    #[cfg(feature = "tokio")]
    async fn look_up(&self, request: Request<'_>) -> Outcome {
        let Request::Lookup { key, lease, refresh } = request else { return self.ask_async(request).await };
        if !self.cache.store().is_remote() {
            return self.ask_async(request).await;
        }
        let (cache, key, freshness) = (self.cache.clone(), key.to_owned(), self.freshness);
        let budget = if self.holder.is_some() { cache.budget() } else { self.budget.lend() };
        let job = Job { pace: self.pace, drive: Arc::new(Drive::new()), note: None };
        let work = Box::pin(async move {
            let request = Request::Lookup { key: &key, lease, refresh };
            let outcome = cache.store().ask_async(request.verb(), &request, &budget).await;
            Looked { outcome, cache, key, budget, freshness, job }
        });
        let looked = Resolute::new(work, |work| {
            detached::run(telemetry::within_current(async { work.await.forsake() }));
        });
        let Looked { outcome, budget, .. } = looked.await;
        if self.holder.is_none() {
            self.budget.become_of(&budget);
        }
        outcome
    }

    #[cfg(feature = "tokio")]
    pub(super) async fn ask_async(&self, request: Request<'_>) -> Outcome {
        let polls = self.holder.as_ref().map(|_| self.cache.budget());
        let budget = polls.as_ref().unwrap_or(&self.budget);
        self.cache.store().ask_async(request.verb(), &request, budget).await
    }

    /// Asks for the value, or for the lease to compute it.
    fn lookup(&self) -> Request<'_> {
        let key = self.stored_key();
        if self.mode == Mode::ReadOnly || !self.cache.numbers_items() {
            return Request::Peek { key };
        }
        Request::Lookup { key, lease: LEASE, refresh: self.freshness.refresh_window() }
    }

    /// Asks for the lease on a value that is fresh for this long.
    fn election(&self, left: Duration) -> Request<'_> {
        let refresh = self.freshness.grace.saturating_add(left).saturating_add(Duration::from_secs(1));
        Request::Lookup { key: self.stored_key(), lease: LEASE, refresh }
    }

    fn taking_over(&self, cas: u64, note: Note) -> Request<'_> {
        Request::Renew { key: self.stored_key(), cas, note, lease: LEASE }
    }

    fn reopening(&self, cas: u64) -> Request<'_> {
        Request::Invalidate { key: self.stored_key(), guard: Guard::Unchanged(cas), ttl: None }
    }
}

/// A lookup that has ended.
#[cfg(feature = "tokio")]
struct Looked {
    outcome: Outcome,
    cache: Cache,
    key: String,
    budget: Budget,
    freshness: Freshness,
    job: Job,
}

#[cfg(feature = "tokio")]
impl Looked {
    /// Gives back the lease that the lookup won, because its caller is gone.
    fn forsake(self) {
        let won = match &self.outcome {
            Ok(Reply::Missing(Grant::Won(cas))) => Some(Won { cas: *cas, on: On::Nothing, value: 0 }),
            Ok(Reply::Found(item)) if item.token == Token::Won => match self.freshness.age(item) {
                Age::Fresh(_) => None,
                Age::Stale | Age::Dead => Some(Won { cas: item.cas, on: On::Stale, value: fingerprint(&item.value) }),
            },
            _ => None,
        };
        if let Some(won) = won {
            drop(Lease::hold(self.cache.store(), self.cache.limits(), &self.key, won, Io::Async, self.job));
        }
    }
}
