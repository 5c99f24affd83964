//! What a site may choose: its codec, what it stores, what trouble does.
//!
//! Each choice is a type, so that the usual one costs nothing.

use crate::cache::Cache;
use crate::codec::{Codec, Standard};
use crate::error::Error;
use crate::shape::{Fails, Shape};

/// Which codec values of type `V` are stored with.
#[diagnostic::on_unimplemented(
    message = "values of type `{V}` cannot be cached",
    label = "not `Serialize` and `DeserializeOwned`",
    note = "for your own types: `#[derive(serde::Serialize, serde::Deserialize)]`",
    note = "a function whose result cannot be stored is not for caching: remove `#[memcached]`"
)]
pub trait Choose<V> {
    /// The codec.
    type Codec: Codec<V>;

    /// Settles for a codec.
    fn choose(self, cache: &Cache) -> Self::Codec;
}

/// The codec the cache is configured with.
#[derive(Clone, Copy, Debug)]
pub struct Configured;

#[diagnostic::do_not_recommend]
impl<V> Choose<V> for Configured
where
    Standard: Codec<V>,
{
    type Codec = Standard;

    fn choose(self, cache: &Cache) -> Standard {
        cache.codec()
    }
}

/// A codec of the site's own.
#[derive(Clone, Copy, Debug)]
pub struct Chosen<C>(pub C);

#[diagnostic::do_not_recommend]
impl<V, C: Codec<V>> Choose<V> for Chosen<C> {
    type Codec = C;

    fn choose(self, _: &Cache) -> C {
        self.0
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
pub trait OnError<S: Shape> {
    /// A return value to give at once; without one, the function computes.
    fn answer(&self, error: Error) -> Option<S::Return>;
}

/// What it would get without a cache.
#[derive(Debug)]
pub struct Compute;

impl<S: Shape> OnError<S> for Compute {
    fn answer(&self, _: Error) -> Option<S::Return> {
        None
    }
}

/// The error.
#[derive(Debug)]
pub struct Propagate;

impl<S: Fails> OnError<S> for Propagate {
    fn answer(&self, error: Error) -> Option<S::Return> {
        Some(S::fail(error))
    }
}
