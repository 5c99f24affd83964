//! What a site may choose: its codec, what it stores, what trouble does.
//!
//! Each choice is a type, so that the usual one costs nothing.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::shape::{Fails, Shape};
use crate::codec::{Codec, Standard};
use crate::error::Error;

/// Which codec values of type `V` are stored with.
#[diagnostic::on_unimplemented(
    message = "values of type `{V}` cannot be cached",
    label = "no codec takes this, or not the one that is asked for",
    note = "bincode, postcard and json take what is `Serialize` and `DeserializeOwned`: \
            `#[derive(serde::Serialize, serde::Deserialize)]` on the type",
    note = "`codec = text` takes what is `Display` and `FromStr`, a codec of your own what it implements `Codec` for"
)]
pub trait Choose<V> {
    /// Settles for a codec, after which nothing more is asked of `V`. Codecs
    /// are of no size, so the box is not allocated.
    fn choose(self, configured: &Standard) -> Box<dyn Codec<V>>;
}

/// The codec the cache is configured with.
#[derive(Clone, Copy, Debug)]
pub struct Configured;

#[diagnostic::do_not_recommend]
impl<V: Serialize + DeserializeOwned> Choose<V> for Configured {
    fn choose(self, configured: &Standard) -> Box<dyn Codec<V>> {
        configured.boxed()
    }
}

/// A codec of the site's own.
#[derive(Clone, Copy, Debug)]
pub struct Chosen<C>(pub C);

#[diagnostic::do_not_recommend]
impl<V, C: Codec<V> + 'static> Choose<V> for Chosen<C> {
    fn choose(self, _: &Standard) -> Box<dyn Codec<V>> {
        Box::new(self.0)
    }
}

/// Whether a value is worth storing.
pub trait StoreIf<V> {
    /// Asks.
    fn allows(&self, value: &V) -> bool;
}

/// Every value is.
#[derive(Debug)]
pub struct Always;

impl<V> StoreIf<V> for Always {
    fn allows(&self, _: &V) -> bool {
        true
    }
}

impl<V, F: Fn(&V) -> bool> StoreIf<V> for F {
    fn allows(&self, value: &V) -> bool {
        self(value)
    }
}

/// What the caller gets when the cache cannot be asked.
#[diagnostic::on_unimplemented(
    message = "`on_error = propagate` needs a `Result` whose error is made from `memocached::Error`",
    label = "cannot carry a `memocached::Error`",
    note = "return a `Result`, and implement `From<memocached::Error>` for its error type"
)]
pub trait OnError<S: Shape> {
    /// A return value to give at once; without one, the function computes.
    fn answer(error: Error) -> Option<S::Return>;
}

/// What it would get without a cache.
#[derive(Debug)]
pub struct Compute;

impl<S: Shape> OnError<S> for Compute {
    fn answer(_: Error) -> Option<S::Return> {
        None
    }
}

/// The error.
#[derive(Debug)]
pub struct Propagate;

#[diagnostic::do_not_recommend]
impl<S: Fails> OnError<S> for Propagate {
    fn answer(error: Error) -> Option<S::Return> {
        Some(S::fail(error))
    }
}
