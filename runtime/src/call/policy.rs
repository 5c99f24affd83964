//! The choices of a site: its codec, the values it stores and for how long, and its answer
//! to a cache that is unavailable.
//!
//! Each choice is a type, so that the default costs nothing. When a choice applies
//! is decided in `machine`.

use std::any::TypeId;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::freshness::OwnTimes;
use crate::call::period::Lifetime;
use crate::call::shape::{Fails, HoldsErr, Shape};
use crate::codec::{Codec, Codecs, Standard};
use crate::error::Error;
use crate::exchange::Ttl;

/// Chooses the codec that values of type `V` are stored with.
#[diagnostic::on_unimplemented(
    message = "values of type `{V}` cannot be cached",
    label = "not supported by the codec",
    note = "bincode, postcard and json take types that are `Serialize` and `DeserializeOwned`: \
            put `#[derive(serde::Serialize, serde::Deserialize)]` on the type",
    note = "`codec = text` takes types that are `Display` and `FromStr`; \
            a codec of your own takes the types it implements `Codec` for"
)]
pub trait Choose<V> {
    /// Returns the codec, so that nothing else needs a bound on `V`. Codecs have
    /// no size, so their boxes do not allocate.
    fn choose(self, configured: &Standard) -> Codecs<V>;

    /// Identifies the choice.
    fn id(&self) -> TypeId;
}

/// Chooses the codec that the cache is configured with.
#[derive(Clone, Copy, Debug)]
pub struct Configured;

#[diagnostic::do_not_recommend]
impl<V: Serialize + DeserializeOwned> Choose<V> for Configured {
    fn choose(self, configured: &Standard) -> Codecs<V> {
        configured.codecs()
    }

    fn id(&self) -> TypeId {
        TypeId::of::<Configured>()
    }
}

/// Chooses a codec of the site's own.
#[derive(Clone, Copy, Debug)]
pub struct Chosen<C>(pub C);

#[diagnostic::do_not_recommend]
impl<V, C: Codec<V> + 'static> Choose<V> for Chosen<C> {
    fn choose(self, _: &Standard) -> Codecs<V> {
        Codecs::only(Box::new(self.0))
    }

    fn id(&self) -> TypeId {
        TypeId::of::<C>()
    }
}

/// Decides by what a call has returned whether, and for how long, it is kept.
pub trait Policy<S: Shape> {
    /// Returns whether to store this value.
    fn allows(&self, _: &S::Value) -> bool {
        true
    }

    /// Returns how long to keep this value, as far as it says so itself.
    fn times(&self, _: &S::Value) -> OwnTimes {
        OwnTimes::default()
    }

    /// Returns whether the old value may be served in place of this failure.
    fn excuses(&self, _: &S::Return) -> bool {
        true
    }
}

/// Keeps every value for the site's time, and serves old ones in place of any failure.
#[derive(Debug)]
pub struct Always;

impl<S: Shape> Policy<S> for Always {}

/// Stores what a closure allows.
///
/// What it requires of the closure is required once, where one is given: a
/// closure of another type is then reported there and nowhere else.
#[derive(Debug)]
pub struct Wanted<V, F, T> {
    closure: F,
    call: fn(&F, &V) -> bool,
    policy: T,
}

impl<V, F: Fn(&V) -> bool, T> Wanted<V, F, T> {
    pub(crate) fn by(closure: F, policy: T) -> Self {
        Wanted { closure, call: |closure, value| closure(value), policy }
    }
}

impl<S: Shape, F, T: Policy<S>> Policy<S> for Wanted<S::Value, F, T> {
    fn allows(&self, value: &S::Value) -> bool {
        (self.call)(&self.closure, value) && self.policy.allows(value)
    }

    fn times(&self, value: &S::Value) -> OwnTimes {
        self.policy.times(value)
    }

    fn excuses(&self, failed: &S::Return) -> bool {
        self.policy.excuses(failed)
    }
}

/// Keeps values for as long as a closure says, or serves them for so long past their ttl.
#[derive(Debug)]
pub struct Lasting<V, F, T> {
    closure: F,
    call: fn(&F, &V) -> OwnTimes,
    policy: T,
}

impl<V, F, T> Lasting<V, F, T> {
    /// Takes the ttl from the closure.
    pub(crate) fn ttl<P: Lifetime>(closure: F, policy: T) -> Self
    where
        F: Fn(&V) -> P,
    {
        let call = |closure: &F, value: &V| OwnTimes { ttl: Some(kept_for(closure(value).lifetime())), grace: None };
        Lasting { closure, call, policy }
    }

    /// Takes the grace from the closure.
    pub(crate) fn grace<P: Lifetime>(closure: F, policy: T) -> Self
    where
        F: Fn(&V) -> P,
    {
        let call =
            |closure: &F, value: &V| OwnTimes { ttl: None, grace: Some(closure(value).lifetime().unwrap_or_default()) };
        Lasting { closure, call, policy }
    }
}

impl<S: Shape, F, T: Policy<S>> Policy<S> for Lasting<S::Value, F, T> {
    fn allows(&self, value: &S::Value) -> bool {
        self.policy.allows(value)
    }

    fn times(&self, value: &S::Value) -> OwnTimes {
        let OwnTimes { ttl, grace } = (self.call)(&self.closure, value);
        let other = self.policy.times(value);
        OwnTimes { ttl: ttl.or(other.ttl), grace: grace.or(other.grace) }
    }

    fn excuses(&self, failed: &S::Return) -> bool {
        self.policy.excuses(failed)
    }
}

/// Returns the ttl. A value without a time is not kept.
pub(crate) fn kept_for(lifetime: Option<Duration>) -> Ttl {
    Ttl::For(lifetime.unwrap_or_default())
}

/// Serves old values in place of the errors that a closure picks.
#[derive(Debug)]
pub struct Excusing<S: Shape, E, F, T> {
    closure: F,
    call: fn(&F, &E) -> bool,
    error: fn(&S::Return) -> Option<&E>,
    policy: T,
}

impl<S: HoldsErr, F: Fn(&S::Error) -> bool, T> Excusing<S, S::Error, F, T> {
    pub(crate) fn by(closure: F, policy: T) -> Self {
        Excusing { closure, call: |closure, error| closure(error), error: S::error, policy }
    }
}

impl<S: Shape, E, F, T: Policy<S>> Policy<S> for Excusing<S, E, F, T> {
    fn allows(&self, value: &S::Value) -> bool {
        self.policy.allows(value)
    }

    fn times(&self, value: &S::Value) -> OwnTimes {
        self.policy.times(value)
    }

    fn excuses(&self, failed: &S::Return) -> bool {
        (self.error)(failed).is_none_or(|error| (self.call)(&self.closure, error))
    }
}

/// Decides what the caller gets when the cache is unavailable.
#[diagnostic::on_unimplemented(
    message = "`on_error = propagate` needs a `Result` whose error is made from `memocached::Error`",
    label = "cannot carry a `memocached::Error`",
    note = "return a `Result`, and implement `From<memocached::Error>` for its error type"
)]
pub trait OnError<S: Shape> {
    /// Returns a return value to give at once; with `None`, the function computes.
    fn answer(error: Error) -> Option<S::Return>;
}

/// Computes, as without a cache.
#[derive(Debug)]
pub struct Compute;

impl<S: Shape> OnError<S> for Compute {
    fn answer(_: Error) -> Option<S::Return> {
        None
    }
}

/// Gives the caller the cache's error.
#[derive(Debug)]
pub struct Propagate;

#[diagnostic::do_not_recommend]
impl<S: Fails> OnError<S> for Propagate {
    fn answer(error: Error) -> Option<S::Return> {
        Some(S::fail(error))
    }
}
