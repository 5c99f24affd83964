//! The choices of a site: its codec, the values it stores, and its answer to a
//! cache that is unavailable.
//!
//! Each choice is a type, so that the default costs nothing. When a choice applies
//! is decided in `machine`.

use std::any::TypeId;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::shape::{Fails, Shape};
use crate::codec::{Codec, Codecs, Standard};
use crate::error::Error;

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

/// Decides whether a value is worth storing.
pub trait StoreIf<V> {
    /// Returns whether to store this value.
    fn allows(&self, value: &V) -> bool;
}

/// Stores every value.
#[derive(Debug)]
pub struct Always;

impl<V> StoreIf<V> for Always {
    fn allows(&self, _: &V) -> bool {
        true
    }
}

/// Stores what a closure allows.
///
/// What it requires of the closure is required once, where one is given: a
/// closure of another type is then reported there and nowhere else.
#[derive(Debug)]
pub struct Wanted<V, F> {
    closure: F,
    call: fn(&F, &V) -> bool,
}

impl<V, F: Fn(&V) -> bool> Wanted<V, F> {
    pub(crate) fn by(closure: F) -> Self {
        Wanted { closure, call: |closure, value| closure(value) }
    }
}

impl<V, F> StoreIf<V> for Wanted<V, F> {
    fn allows(&self, value: &V) -> bool {
        (self.call)(&self.closure, value)
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
