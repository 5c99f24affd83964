//! A call of a batch function: which elements its body computes, and what it
//! returns.
//!
//! What was won is computed and stored before anything is waited for that others
//! compute. What is still missing then is computed by a second and last body.

#[cfg(feature = "tokio")]
pub(crate) mod answer;
mod calls;
pub(crate) mod elements;
pub(crate) mod results;

use std::collections::HashMap;
use std::time::Duration;

use super::Ready;
#[cfg(feature = "tokio")]
use super::background::Refresh;
use super::machine::batch::Settlement;
use super::policy::Policy;
use super::shape::{Shape, Split};
use super::site::Site;
#[cfg(feature = "tokio")]
use crate::detached::{self, Resolute};
use crate::error::Error;
use crate::singleflight::Computation;
#[cfg(feature = "tokio")]
use crate::singleflight::driving::{Driven, Drove};
use crate::singleflight::places::{self, Admitted, TakenPlace};
#[cfg(feature = "tokio")]
use crate::telemetry;
#[cfg(feature = "tokio")]
use answer::EarlyAnswer;
use calls::{Calls, OnFailure};
use elements::ElementList;
use results::{Carries, Results};

/// What a batch does next.
#[derive(Debug)]
pub enum BatchTurn<T, R> {
    /// Computes these elements.
    Compute(Vec<T>),
    /// Returns this.
    Return(R),
}

/// A call of a batch function with these elements.
pub struct Batch<'l, T, R, S: Shape, I> {
    given: &'l [T],
    /// The index of each given element among those that differ.
    indexes: Vec<usize>,
    /// The first given element at each index.
    firsts: Vec<usize>,
    /// Absent if no elements are given, as is the function.
    calls: Option<Calls<S, I>>,
    site: Option<&'static Site>,
    bodies: Bodies,
    /// Whether a body has run.
    has_run: bool,
    /// The indexes of what the body computes now.
    computing: Vec<usize>,
    carry: Option<fn(Error) -> R>,
    /// Whether the next body may begin, if that is known.
    admission: Option<Admitted>,
    /// Where the caller gets the answer if old values are refreshed after it.
    #[cfg(feature = "tokio")]
    early: Option<EarlyAnswer<R>>,
    /// Old values are refreshed in the background.
    #[cfg(feature = "tokio")]
    refresh: Option<Refresh>,
    /// Takes results apart; see [`Results::split`].
    split: Take<T, R, S>,
    /// Puts them together; see [`Results::join`].
    join: Put<T, R, S>,
}

type Take<T, R, S> = fn(R, &[&T]) -> Split<Vec<<S as Shape>::Return>, R>;
type Put<T, R, S> = fn(&[T], &[usize], Vec<<S as Shape>::Return>) -> R;

/// Which bodies may still run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bodies {
    /// One for what was won, and one for what others did not compute.
    Both,
    /// The second of them.
    Last,
    /// One for all given elements, whose results are returned as they are.
    All,
    None,
}

/// Returns whether a body may begin.
fn admit(known: &mut Option<Admitted>, site: Option<&'static Site>) -> Admitted {
    known.take().or_else(|| site.map(Site::admit)).unwrap_or(Admitted::Free)
}

impl<T, O, C> ElementList<T, O, C> {
    /// Begins a call with these elements, of which each has a call of its own.
    #[must_use]
    pub fn batch<R, S, I>(&self, calls: impl IntoIterator<Item = Ready<S, I>>) -> Batch<'_, T, R, S, I>
    where
        T: Clone,
        R: Results<T, O, Returned = S::Return>,
        S: Shape,
        I: Policy<S>,
    {
        Batch::begin(self.as_slice(), calls, None, R::split, R::join)
    }

    /// Begins a call that returns the cache's errors.
    #[must_use]
    pub fn batch_propagating<R, S, I>(&self, calls: impl IntoIterator<Item = Ready<S, I>>) -> Batch<'_, T, R, S, I>
    where
        T: Clone,
        R: Results<T, O, Returned = S::Return> + Carries,
        S: Shape,
        I: Policy<S>,
    {
        Batch::begin(self.as_slice(), calls, Some(R::carry), R::split, R::join)
    }
}

impl<'l, T, R, S, I> Batch<'l, T, R, S, I>
where
    T: Clone,
    S: Shape,
    I: Policy<S>,
{
    fn begin(
        given: &'l [T],
        ready: impl IntoIterator<Item = Ready<S, I>>,
        carry: Option<fn(Error) -> R>,
        split: Take<T, R, S>,
        join: Put<T, R, S>,
    ) -> Self {
        let (mut indexes, mut firsts, mut keys) = (Vec::with_capacity(given.len()), Vec::new(), HashMap::new());
        let on_error = if carry.is_some() { OnFailure::Return } else { OnFailure::Compute };
        let (mut calls, mut site) = (None::<Calls<S, I>>, None);
        for (index, ready) in ready.into_iter().enumerate() {
            site = Some(ready.site);
            let open = || Calls::new(ready.site.telemetry().open_for_several(), on_error);
            let calls = calls.get_or_insert_with(open);
            let next = firsts.len();
            if let Some(key) = ready.key() {
                let known = *keys.entry(key.to_owned()).or_insert(next);
                if known < next {
                    indexes.push(known);
                    continue;
                }
            }
            indexes.push(next);
            firsts.push(index);
            match ready.element() {
                Ok(typed) => calls.push(typed),
                Err((returned, cost)) => calls.push_found(returned, cost),
            }
        }
        if let Some(calls) = &calls {
            calls.span.several(firsts.len());
        }
        let bodies = if calls.is_some() { Bodies::Both } else { Bodies::None };
        Batch {
            given,
            indexes,
            firsts,
            calls,
            site,
            bodies,
            has_run: false,
            computing: Vec::new(),
            carry,
            admission: None,
            #[cfg(feature = "tokio")]
            early: None,
            #[cfg(feature = "tokio")]
            refresh: None,
            split,
            join,
        }
    }

    /// Refreshes old values after the caller has its answer.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn answering(self, answer: &EarlyAnswer<R>) -> Self {
        let is_possible = self.site.is_some_and(|site| site.refreshes().are_possible());
        Batch { early: is_possible.then(|| answer.clone()), ..self }
    }

    /// Looks for what is missing, blocking, and waits for what others compute.
    pub fn turn(&mut self) -> BatchTurn<T, R> {
        loop {
            let Some(calls) = &mut self.calls else { return BatchTurn::Return((self.join)(&[], &[], Vec::new())) };
            let span = calls.span.clone();
            let _entered = span.enter();
            let done = match self.bodies {
                Bodies::Both => calls.look(),
                Bodies::Last => calls.wait(),
                Bodies::All | Bodies::None => Ok(()),
            };
            if let Err(error) = done {
                return self.failed(error, Settlement::run);
            }
            if let Some(turn) = self.next_turn() {
                return turn;
            }
        }
    }

    /// Runs the body, and takes in what it returns. If that is the answer to the call
    /// as a whole, returns it.
    pub fn compute(&mut self, body: impl FnOnce() -> R) -> Option<R> {
        let Some(calls) = &mut self.calls else { return Some(body()) };
        let span = calls.span.clone();
        let _entered = span.enter();
        let admitted = admit(&mut self.admission, self.site);
        let is_queued = matches!(admitted, Admitted::Later(_));
        if is_queued {
            calls.queue(&self.computing, true);
        }
        let place = admitted.wait(&span);
        if is_queued {
            calls.queue(&self.computing, false);
        }
        calls.compute(&self.computing);
        let computations = calls.computations(&self.computing);
        let (returned, cost) = {
            let _inside = place.as_ref().map(TakenPlace::enter);
            let _computes = Computation::enter_all(&computations);
            let computing = span.computing_several(self.width());
            let returned = body();
            (returned, computing.end())
        };
        let (answer, settlement) = self.returned(returned, cost, places::told_by(place, Duration::from_nanos(cost)));
        settlement.into_iter().for_each(Settlement::run);
        answer
    }

    /// Looks for what is missing, as [`Batch::turn`] does, yielding to the runtime.
    #[cfg(feature = "tokio")]
    pub async fn turn_async(&mut self) -> BatchTurn<T, R> {
        loop {
            let Some(calls) = &mut self.calls else { return BatchTurn::Return((self.join)(&[], &[], Vec::new())) };
            let span = calls.span.clone();
            let bodies = self.bodies;
            let looking = async {
                match bodies {
                    Bodies::Both => calls.look_async().await,
                    Bodies::Last => calls.wait_async().await,
                    Bodies::All | Bodies::None => Ok(()),
                }
            };
            if let Err(error) = span.within(looking).await {
                return self.failed(error, Settlement::leave);
            }
            if let Some(turn) = self.next_turn() {
                return turn;
            }
        }
    }

    /// Runs the body as [`Batch::compute`] does, yielding to the runtime.
    #[cfg(feature = "tokio")]
    pub async fn compute_async(&mut self, body: impl Future<Output = R>) -> Option<R> {
        let Some(calls) = &mut self.calls else { return Some(body.await) };
        let span = calls.span.clone();
        let admitted = admit(&mut self.admission, self.site);
        let is_queued = matches!(admitted, Admitted::Later(_));
        if is_queued {
            calls.queue(&self.computing, true);
        }
        let place = admitted.wait_async(&span).await;
        if is_queued {
            calls.queue(&self.computing, false);
        }
        calls.compute(&self.computing);
        let drive = calls.driven(&self.computing);
        let computations = calls.computations(&self.computing);
        let width = self.width();
        let work = Driven::new(Box::pin(body), computations, Some(drive), span.observation()).within(place);
        let Drove { output, began, driven } = span.within(span.compute_async(Some(width), work)).await;
        let (answer, settlement) = self.returned(output, span.computed(began), driven);
        if let Some(answer) = answer {
            // It may be of a type that must stay on its thread.
            settlement.into_iter().for_each(Settlement::leave);
            self.end_refresh();
            return Some(answer);
        }
        if let Some(settlement) = settlement {
            let work = settlement.run_async();
            span.within(Resolute::new(work, |work| detached::run(telemetry::within_current(work)))).await;
        }
        self.end_refresh();
        None
    }

    /// Ends the refresh in the background, if it is one: nothing of it has panicked.
    #[cfg(feature = "tokio")]
    fn end_refresh(&mut self) {
        self.refresh.take().into_iter().for_each(Refresh::end);
    }

    /// Looks for what is missing as [`Batch::turn_async`] does; `None` once there is
    /// nothing left to do. The caller gets its answer by `answer`.
    #[cfg(feature = "tokio")]
    pub async fn turn_answering(&mut self, answer: &EarlyAnswer<R>) -> Option<Vec<T>> {
        if answer.is_given() {
            return None;
        }
        match self.turn_async().await {
            BatchTurn::Compute(missing) => {
                answer.taken().await;
                Some(missing)
            }
            BatchTurn::Return(returned) => {
                answer.give(returned);
                None
            }
        }
    }

    /// Runs the body as [`Batch::compute_async`] does.
    #[cfg(feature = "tokio")]
    pub async fn compute_answering(&mut self, body: impl Future<Output = R>, answer: &EarlyAnswer<R>) {
        if let Some(returned) = self.compute_async(body).await {
            answer.give(returned);
        }
    }

    /// Returns what follows once it is clear what is missing; `None` if others compute that.
    fn next_turn(&mut self) -> Option<BatchTurn<T, R>> {
        let calls = self.calls.as_mut()?;
        let bodies = self.bodies;
        self.bodies = match bodies {
            Bodies::Both => Bodies::Last,
            Bodies::Last | Bodies::All | Bodies::None => Bodies::None,
        };
        if bodies == Bodies::All {
            return Some(BatchTurn::Compute(self.given.to_vec()));
        }
        #[cfg(feature = "tokio")]
        let is_early = self.early.is_some();
        #[cfg(not(feature = "tokio"))]
        let is_early = false;
        // Old values are computed anew while others are waited for, or else after the
        // caller has its answer.
        self.computing = if is_early && !calls.are_sought() { calls.missing() } else { calls.computing() };
        if self.computing.is_empty() {
            #[cfg(feature = "tokio")]
            if is_early && !calls.computing().is_empty() {
                return Some(self.answer_early());
            }
            return (bodies != Bodies::Both).then(|| BatchTurn::Return(self.joined()));
        }
        if bodies == Bodies::Last {
            // The first body leaves to others what they compute, also if it runs late.
            if !self.has_run && calls.is_told_of_all() {
                self.bodies = Bodies::Last;
            } else {
                calls.give_up_waiting();
                self.computing = calls.computing();
            }
        }
        let admission = admit(&mut self.admission, self.site);
        if let Admitted::Later(_) = admission
            && calls.are_old(&self.computing)
        {
            return self.keep_old();
        }
        self.admission = Some(admission);
        self.has_run = true;
        Some(BatchTurn::Compute(self.elements()))
    }

    /// Leaves old values as they are, since no body may begin; `None` if others are still
    /// sought.
    fn keep_old(&mut self) -> Option<BatchTurn<T, R>> {
        let calls = self.calls.as_mut()?;
        calls.serve();
        calls.back_off(&std::mem::take(&mut self.computing)).into_iter().for_each(Settlement::leave);
        (!calls.are_sought()).then(|| BatchTurn::Return(self.joined()))
    }

    /// Clones of the elements that the body computes now.
    fn elements(&self) -> Vec<T> {
        let element = |index: &usize| self.given[self.firsts[*index]].clone();
        self.computing.iter().map(element).collect()
    }

    /// Gives the caller its answer, old values included, and computes those anew.
    #[cfg(feature = "tokio")]
    fn answer_early(&mut self) -> BatchTurn<T, R> {
        self.bodies = Bodies::None;
        let (Some(calls), Some(site)) = (&mut self.calls, self.site) else { return BatchTurn::Compute(Vec::new()) };
        self.computing = calls.computing();
        calls.serve();
        let admission = site.admit();
        let may_begin = !matches!(admission, Admitted::Later(_));
        self.refresh = may_begin.then(|| site.refreshes().begin(site.telemetry(), calls.refreshes())).flatten();
        self.admission = Some(admission).filter(|_| self.refresh.is_some());
        if self.refresh.is_none() {
            calls.back_off(&std::mem::take(&mut self.computing)).into_iter().for_each(Settlement::leave);
            return BatchTurn::Return(self.joined());
        }
        let answer = self.joined();
        if let Some(early) = &self.early {
            early.give(answer);
        }
        if let Some(calls) = &mut self.calls {
            calls.span = calls.span.refresh();
        }
        BatchTurn::Compute(self.elements())
    }

    /// Returns how many elements the body computes now.
    fn width(&self) -> usize {
        if self.computing.is_empty() { self.given.len() } else { self.computing.len() }
    }

    fn joined(&mut self) -> R {
        let Some(calls) = &mut self.calls else { return (self.join)(&[], &[], Vec::new()) };
        calls.span.tallied();
        (self.join)(self.given, &self.indexes, calls.returned())
    }

    /// Takes in what the body returned: the answer, if there is one already, and what
    /// is to be stored.
    fn returned(&mut self, returned: R, cost: u64, driven: Option<Duration>) -> (Option<R>, Option<Settlement>) {
        let computing = std::mem::take(&mut self.computing);
        let Some(calls) = self.calls.as_mut().filter(|_| !computing.is_empty()) else { return (Some(returned), None) };
        let elements: Vec<&T> = computing.iter().map(|index| &self.given[self.firsts[*index]]).collect();
        match (self.split)(returned, &elements) {
            Split::Value(results) => (None, calls.computed(&computing, results, cost, driven)),
            Split::Failed(returned) => match calls.serve_old(&computing) {
                Some(settlement) => (None, settlement),
                None => (Some(returned), calls.end()),
            },
            Split::Empty(returned) => {
                calls.span.unmatched();
                let settlement = calls.end();
                self.bodies = Bodies::All;
                // Those were all.
                let answer = (computing.len() == self.given.len()).then_some(returned);
                (answer, settlement)
            }
        }
    }

    fn failed(&mut self, error: Error, settle: fn(Settlement)) -> BatchTurn<T, R> {
        if let Some(calls) = &mut self.calls {
            calls.end().into_iter().for_each(settle);
        }
        match self.carry {
            Some(carry) => BatchTurn::Return(carry(error)),
            None => BatchTurn::Compute(self.given.to_vec()),
        }
    }
}
