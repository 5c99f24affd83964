//! A call with what its site has chosen, argument by argument.

use std::marker::PhantomData;
use std::time::Duration;

use super::address::Addressed;
use super::negative::Negative;
use super::period::Lifetime;
use super::policy::{Always, Choose, Chosen, Compute, Configured, Excusing, Lasting, Propagate, Wanted};
use super::previous::PreviousSlot;
use super::shape::{HoldsErr, HoldsNone, Shape};
use super::shapes::Shaped;

/// A call with everything that its site has chosen.
pub struct Memo<S: Shape, C = Configured, I = Always, O = Compute> {
    pub(super) address: Addressed,
    pub(super) shape: Shaped<S>,
    pub(super) codec: C,
    pub(super) negatives: Vec<Negative<S>>,
    pub(super) policy: I,
    pub(super) previous: Option<PreviousSlot<S::Value>>,
    pub(super) on_error: PhantomData<O>,
}

impl Addressed {
    /// Says what part of the return value is stored.
    #[must_use]
    pub fn shaped<S: Shape>(self, shape: Shaped<S>) -> Memo<S> {
        let (codec, negatives, policy) = (Configured, Vec::new(), Always);
        Memo { address: self, shape, codec, negatives, policy, previous: None, on_error: PhantomData }
    }
}

impl<S: Shape, C, I, O> Memo<S, C, I, O> {
    /// Stores with this codec instead of the cache's.
    #[must_use]
    pub fn codec<K>(self, codec: K) -> Memo<S, Chosen<K>, I, O> {
        let Memo { address, shape, negatives, policy, previous, on_error, .. } = self;
        Memo { address, shape, codec: Chosen(codec), negatives, policy, previous, on_error }
    }

    /// Stores only the values that this allows.
    #[must_use]
    pub fn store_if<F: Fn(&S::Value) -> bool>(self, closure: F) -> Memo<S, C, Wanted<S::Value, F, I>, O> {
        self.with_policy(|policy| Wanted::by(closure, policy))
    }

    /// Keeps each value for as long as this says.
    #[must_use]
    pub fn lasting<F, P: Lifetime>(self, closure: F) -> Memo<S, C, Lasting<S::Value, F, I>, O>
    where
        F: Fn(&S::Value) -> P,
    {
        self.with_policy(|policy| Lasting::ttl(closure, policy))
    }

    /// Serves each value past its ttl for as long as this says.
    #[must_use]
    pub fn graced<F, P: Lifetime>(self, closure: F) -> Memo<S, C, Lasting<S::Value, F, I>, O>
    where
        F: Fn(&S::Value) -> P,
    {
        self.with_policy(|policy| Lasting::grace(closure, policy))
    }

    /// Leaves the value that the body replaces in this slot.
    #[must_use]
    pub fn replacing(mut self, slot: &PreviousSlot<S::Value>) -> Self {
        self.previous = Some(slot.clone());
        self
    }

    /// Serves an old value in place of the errors that this allows, and of no others.
    #[must_use]
    pub fn stale_if<E, F: Fn(&E) -> bool>(self, closure: F) -> Memo<S, C, Excusing<S, E, F, I>, O>
    where
        S: HoldsErr<Error = E>,
    {
        self.with_policy(|policy| Excusing::by(closure, policy))
    }

    fn with_policy<T>(self, policy: impl FnOnce(I) -> T) -> Memo<S, C, T, O> {
        let Memo { address, shape, codec, negatives, policy: before, previous, on_error } = self;
        Memo { address, shape, codec, negatives, policy: policy(before), previous, on_error }
    }

    /// Returns the cache's errors.
    #[must_use]
    pub fn propagate(self) -> Memo<S, C, I, Propagate> {
        let Memo { address, shape, codec, negatives, policy, previous, .. } = self;
        Memo { address, shape, codec, negatives, policy, previous, on_error: PhantomData }
    }

    /// Stores for this long that there is no value.
    #[must_use]
    pub fn cache_none(mut self, ttl: Duration) -> Self
    where
        S: HoldsNone + 'static,
        S::Return: 'static,
    {
        self.negatives.push(Negative::none(ttl));
        self
    }

    /// Stores an error for this long.
    #[must_use]
    pub fn cache_err<K: Choose<S::Error>>(self, ttl: Duration, codec: K) -> Self
    where
        S: HoldsErr + 'static,
        S::Return: 'static,
        S::Error: 'static,
    {
        self.cache_err_for(move |_: &S::Error| ttl, codec)
    }

    /// Stores each error for as long as this says.
    #[must_use]
    pub fn cache_err_for<K: Choose<S::Error>, P: Lifetime>(
        mut self,
        ttl: impl Fn(&S::Error) -> P + Send + Sync + 'static,
        codec: K,
    ) -> Self
    where
        S: HoldsErr + 'static,
        S::Return: 'static,
        S::Error: 'static,
    {
        let ttl = Box::new(move |error: &S::Error| ttl(error).lifetime());
        if let Some(configured) = self.address.configured() {
            self.negatives.push(Negative::err(ttl, codec.choose(configured)));
        }
        self
    }
}
