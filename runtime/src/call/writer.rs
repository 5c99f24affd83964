//! The calls of functions that change data: what the attributes `invalidates` and
//! `updates` expand to.

use std::marker::PhantomData;
use std::time::Duration;

use super::machine::groups::KnownStamps;
use super::machine::stamped::StampsSource;
use super::shape::{Fails, Shape};
use super::shapes::Shaped;
use super::targets::{Invalidate, Targets};
use crate::error::Error;
use crate::writing::{Manner, Update, Writer};

/// A call of a function that changes data, before its body runs.
#[derive(Debug)]
pub struct WriterCall<S: Shape, F = NoFollowUp> {
    targets: Targets,
    manner: Manner,
    follow: F,
    refuse: Option<fn(Error) -> S::Return>,
    shape: PhantomData<S>,
}

/// What is done about the value that the body has returned.
pub trait FollowUp<S: Shape> {
    /// Learns what it needs to know of the time before the body runs.
    fn prepare(&mut self) {}

    /// Does the same, yielding.
    #[cfg(feature = "tokio")]
    fn prepare_async(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Looks at the value.
    fn follow(self, value: &S::Value) -> Aftermath;
}

/// What follows from the value that the body has returned.
#[derive(Debug, Default)]
pub struct Aftermath {
    /// What else is invalidated.
    targets: Targets,
    /// What takes the place of the entry.
    update: Option<Update>,
}

/// Does nothing.
#[derive(Debug)]
pub struct NoFollowUp;

/// Invalidates what a closure names.
///
/// What it requires of the closure is required once, where one is given.
#[derive(Debug)]
pub struct After<V, F> {
    closure: F,
    call: fn(F, &V) -> Targets,
}

/// Replaces the entry by what a closure makes of the value.
#[derive(Debug)]
pub struct Updates<V, F> {
    groups: Option<StampsSource>,
    known: KnownStamps,
    closure: F,
    call: fn(F, &V, KnownStamps) -> Result<Update, Error>,
}

impl<S: Shape> FollowUp<S> for NoFollowUp {
    fn follow(self, _: &S::Value) -> Aftermath {
        Aftermath::default()
    }
}

impl<S: Shape, F> FollowUp<S> for After<S::Value, F> {
    fn follow(self, value: &S::Value) -> Aftermath {
        Aftermath { targets: (self.call)(self.closure, value), update: None }
    }
}

impl<S: Shape, F: Send> FollowUp<S> for Updates<S::Value, F> {
    fn prepare(&mut self) {
        if let Some(groups) = &self.groups {
            self.known = groups.ask();
        }
    }

    #[cfg(feature = "tokio")]
    async fn prepare_async(&mut self) {
        if let Some(groups) = &self.groups {
            self.known = groups.ask_async().await;
        }
    }

    fn follow(self, value: &S::Value) -> Aftermath {
        // What cannot be stored is removed.
        Aftermath { targets: Targets::default(), update: (self.call)(self.closure, value, self.known).ok() }
    }
}

impl<S: Shape> WriterCall<S> {
    /// Begins a call.
    #[must_use]
    pub fn of(_: Shaped<S>) -> Self {
        let (targets, manner) = (Targets::default(), Manner::default());
        WriterCall { targets, manner, follow: NoFollowUp, refuse: None, shape: PhantomData }
    }

    /// Invalidates what this closure names as well. The closure gets the value that the
    /// body has returned.
    #[must_use]
    pub fn after<F: FnOnce(&S::Value) -> T, T: Invalidate>(self, closure: F) -> WriterCall<S, After<S::Value, F>> {
        self.followed_by(After { closure, call: |closure, value| Targets::of(&closure(value)) })
    }

    /// Replaces the entry by what this closure makes of the value that the body has
    /// returned.
    #[must_use]
    pub fn updates<F>(
        self,
        entry: &impl Invalidate,
        groups: Option<StampsSource>,
        closure: F,
    ) -> WriterCall<S, Updates<S::Value, F>>
    where
        F: FnOnce(&S::Value, KnownStamps) -> Result<Update, Error>,
    {
        let call = |closure: F, value: &S::Value, known| closure(value, known);
        self.entry(entry).followed_by(Updates { groups, known: KnownStamps::Nothing, closure, call })
    }

    fn followed_by<F>(self, follow: F) -> WriterCall<S, F> {
        let WriterCall { targets, manner, refuse, shape, .. } = self;
        WriterCall { targets, manner, follow, refuse, shape }
    }
}

impl<S: Shape, F> WriterCall<S, F> {
    /// Invalidates this.
    #[must_use]
    pub fn entry(mut self, entry: &impl Invalidate) -> Self {
        entry.add_to(&mut self.targets);
        self
    }

    /// Keeps calls from storing for this long afterwards.
    #[must_use]
    pub fn hold_off(mut self, time: Duration) -> Self {
        self.manner.hold_off = Some(time);
        self
    }

    /// Leaves the entries unmarked.
    #[must_use]
    pub fn unmarked(mut self) -> Self {
        self.manner.is_unmarked = true;
        self
    }

    /// Gives the caller the error of a mark that cannot be set, and does not run the body.
    #[must_use]
    pub fn refusing(mut self) -> Self
    where
        S: Fails,
    {
        self.refuse = Some(S::fail);
        self
    }
}

macro_rules! run {
    ($begin:ident, $prepare:ident, $finish:ident, ($($await:tt)*), |$self:ident, $body:ident| $run:expr) => {{
        let WriterCall { targets: Targets(destinations), manner, mut follow, refuse, .. } = $self;
        let (writer, marked) = Writer::$begin(destinations, manner)$($await)*;
        if let (Err(error), Some(refuse)) = (marked, refuse) {
            let _ = writer.$finish(None, Vec::new())$($await)*;
            return refuse(error);
        }
        follow.$prepare()$($await)*;
        let returned = $run;
        let Aftermath { targets: Targets(others), update } =
            S::value(&returned).map(|value| follow.follow(value)).unwrap_or_default();
        // Nothing is lost if a node does not answer: it is asked again.
        let _ = writer.$finish(update, others)$($await)*;
        returned
    }};
}

impl<S: Shape, F: FollowUp<S>> WriterCall<S, F> {
    /// Runs the body between marking and removing.
    pub fn run(self, body: impl FnOnce() -> S::Return) -> S::Return {
        run!(begin, prepare, finish, (), |self, body| body())
    }

    /// Does the same around a future.
    #[cfg(feature = "tokio")]
    pub async fn run_async<B: Future<Output = S::Return>>(self, body: B) -> S::Return {
        run!(begin_async, prepare_async, finish_async, (.await), |self, body| body.await)
    }
}
