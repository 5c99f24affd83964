//! Carries out what a call needs next and waits for the event, blocking or
//! yielding.

#[cfg(feature = "tokio")]
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "tokio")]
use super::super::freshness::Freshness;
use super::super::mode::Mode;
#[cfg(feature = "tokio")]
use super::batch;
use super::groups::Answered;
use super::question::Question;
#[cfg(feature = "tokio")]
use super::question::unclaimed;
use super::stamped::{self, Inquiry};
use super::{Effect, Event, Machine};
#[cfg(feature = "tokio")]
use crate::cache::Cache;
#[cfg(feature = "tokio")]
use crate::detached::{self, Resolute, Work};
#[cfg(feature = "tokio")]
use crate::exchange::unanswered;
use crate::exchange::{Outcome, Request};
use crate::singleflight::Waiter;
#[cfg(feature = "tokio")]
use crate::singleflight::drive::Drive;
#[cfg(feature = "tokio")]
use crate::singleflight::driving::{Driven, Drove};
use crate::singleflight::lease::Lease;
#[cfg(feature = "tokio")]
use crate::singleflight::lease::{Io, Job};
use crate::singleflight::places::{PlaceTurn, TakenPlace};
#[cfg(feature = "tokio")]
use crate::telemetry;
use crate::telemetry::call::{CallSpan, MissReason};
#[cfg(feature = "tokio")]
use crate::telemetry::computing::Wait;
use crate::time::budget::Budget;
#[cfg(feature = "tokio")]
use crate::time::timer;

impl Machine {
    /// Waits for the next event, blocking.
    pub(crate) fn wait(&mut self, span: &CallSpan) -> Event {
        loop {
            if let Some(waiter) = self.waiter() {
                span.follows(waiter.leader());
                let _wait = span.wait();
                return Event::Waited(waiter.wait());
            }
            if let Some((turn, reason)) = self.turn() {
                let place = {
                    let wait = span.wait_for_place();
                    let _wait = wait.enter();
                    turn.wait()
                };
                self.placed(place, reason);
            }
            if let Some(pause) = self.pause_left() {
                self::pause(pause);
                self.paused(pause);
            }
            self.note_since();
            span.asks(|| self.node());
            let answer = {
                let _polls = self.holder.as_ref().map(|holder| holder.wait.enter());
                self.inquire()
            };
            if let Some(event) = self.event(answer) {
                return event;
            }
        }
    }

    /// Notes the state of the near tier, before the store is asked. A sibling is vouched for by
    /// what was found under the key before.
    pub(crate) fn note_since(&mut self) {
        if self.freshness.near.is_some() && self.sibling.is_none() {
            self.since = self.cache.near().since(self.key.wire());
        }
    }

    /// Returns the name of the node that is asked now.
    fn node(&self) -> Option<String> {
        self.cache.store().node_name(self.stored_key())
    }

    fn inquire(&self) -> Answered {
        if self.groups.is_empty() {
            return self.ask(self.question().about(self.stored_key())).into();
        }
        let polls = self.polls();
        stamped::ask_one(self.cache.store(), &Inquiry::by(self), polls.as_ref().unwrap_or(&self.budget))
    }

    /// The limits of asking about another process again and again.
    fn polls(&self) -> Option<Budget> {
        self.holder.as_ref().map(|_| self.cache.budget().of_polls())
    }

    pub(super) fn ask(&self, request: Request<'_>) -> Outcome {
        let polls = self.polls();
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
        loop {
            if let Some(waiter) = self.waiter() {
                span.follows(waiter.leader());
                let _wait = span.wait();
                return Event::Waited(waiter.wait_async().await);
            }
            if let Some((turn, reason)) = self.turn() {
                // A future that gets its turn and is not polled stands still.
                let wait = Driven::new(Box::pin(turn.wait_async()), Box::default(), Some(self.drive()), None);
                let Drove { output: place, .. } = span.wait_for_place().within(wait).await;
                self.placed(place, reason);
            }
            if let Some(pause) = self.pause_left() {
                timer::sleep(pause).await;
                self.paused(pause);
            }
            self.note_since();
            span.asks(|| self.node());
            let polls = self.holder.as_ref().map_or_else(Wait::none, |holder| holder.wait.clone());
            let answer = polls.within(self.inquire_async()).await;
            if let Some(event) = self.event(answer) {
                return event;
            }
        }
    }

    #[cfg(feature = "tokio")]
    async fn inquire_async(&self) -> Answered {
        if self.groups.is_empty() {
            return self.pose(self.question()).await.into();
        }
        let polls = self.polls();
        let answers = batch::ask_async(&[self], polls.as_ref().unwrap_or(&self.budget)).await;
        answers.into_iter().next().unwrap_or_else(|| Err(unanswered()).into())
    }

    /// Asks. A question that may win a lease and is dropped must not leave one without
    /// a holder, so its reply is then awaited in the background.
    #[cfg(feature = "tokio")]
    async fn pose(&self, question: Question) -> Outcome {
        if !question.may_win() || !self.cache.store().is_remote() {
            return self.ask_async(question.about(self.stored_key())).await;
        }
        let (cache, key, freshness) = (self.cache.clone(), self.stored_key().to_owned(), self.freshness);
        let budget = self.polls().unwrap_or_else(|| self.budget.lend());
        let job = Job { pace: self.pace, drive: Arc::new(Drive::new()), note: None };
        let work = Box::pin(async move {
            let request = question.about(&key);
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
        let polls = self.polls();
        let budget = polls.as_ref().unwrap_or(&self.budget);
        self.cache.store().ask_async(request.verb(), &request, budget).await
    }

    /// Returns what the store is asked, once the call waits for nothing else.
    pub(super) fn question(&self) -> Question {
        match self.effect {
            Effect::TakeOver(cas, note) => Question::TakeOver(cas, note),
            Effect::Reopen(cas, ttl) => Question::Reopen(cas, ttl),
            Effect::LookAgain(_) => Question::Peek,
            // The lease on a value that is kept for this long.
            Effect::Elect(left) => Question::Lookup { refresh: left.saturating_add(Duration::from_secs(1)) },
            Effect::Ask | Effect::Pause(_) | Effect::Join(_) | Effect::Queue(..) => {
                match self.mode == Mode::ReadOnly || !self.cache.numbers(self.stored_key()) {
                    true => Question::Peek,
                    false => Question::Lookup { refresh: self.freshness.refresh_window() },
                }
            }
        }
    }

    /// Returns whether the call has something to ask now.
    pub(crate) fn asks(&self) -> bool {
        !matches!(self.effect, Effect::Pause(_) | Effect::Join(_) | Effect::Queue(..))
    }

    /// Returns how long the call pauses before it asks about another process again.
    pub(crate) fn pause_left(&self) -> Option<Duration> {
        if let Effect::Pause(pause) = self.effect { Some(pause) } else { None }
    }

    /// Notes that it has paused for this long.
    pub(crate) fn paused(&mut self, pause: Duration) {
        if let Effect::Pause(left) = self.effect {
            self.effect = if left > pause { Effect::Pause(left - pause) } else { Effect::Ask };
        }
    }

    /// Returns the wait for a place, if that is what the call waits for, and why its body is
    /// to run.
    fn turn(&mut self) -> Option<(PlaceTurn, MissReason)> {
        match std::mem::replace(&mut self.effect, Effect::Ask) {
            Effect::Queue(turn, reason) => Some((turn, reason)),
            effect => {
                self.effect = effect;
                None
            }
        }
    }

    /// Looks again, once there is a place.
    fn placed(&mut self, place: TakenPlace, reason: MissReason) {
        self.place = Some(place);
        self.effect = Effect::LookAgain(reason);
    }

    /// Returns the wait for a flight of this process, if that is what the call waits for.
    pub(crate) fn waiter(&mut self) -> Option<Waiter<Lease>> {
        match std::mem::replace(&mut self.effect, Effect::Ask) {
            Effect::Join(waiter) => Some(waiter),
            effect => {
                self.effect = effect;
                None
            }
        }
    }

    /// Returns the event that the store's answer to the question is; `None` if there is more
    /// to ask.
    pub(crate) fn event(&mut self, Answered { outcome, known }: Answered) -> Option<Event> {
        self.groups.known = known;
        match std::mem::replace(&mut self.effect, Effect::Ask) {
            Effect::Elect(_) => Some(Event::Election(outcome)),
            Effect::TakeOver(..) => Some(Event::TakenOver(outcome)),
            Effect::Reopen(..) => None,
            Effect::LookAgain(reason) => Some(Event::LookedAgain(outcome, reason)),
            Effect::Ask | Effect::Pause(_) | Effect::Join(_) | Effect::Queue(..) => Some(Event::Reply(outcome)),
        }
    }
}

/// Pauses, blocking. A worker of a runtime is handed over.
pub(crate) fn pause(pause: Duration) {
    let sleep = || std::thread::sleep(pause);
    #[cfg(feature = "tokio")]
    detached::hand_over(sleep);
    #[cfg(not(feature = "tokio"))]
    sleep();
}

/// A question that was answered.
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
    /// Gives back the lease that was won, because its caller is gone.
    fn forsake(self) {
        if let Some(won) = unclaimed(&self.outcome, self.freshness) {
            drop(Lease::hold(self.cache.store(), self.cache.limits(), &self.key, won, Io::Async, self.job));
        }
    }
}
