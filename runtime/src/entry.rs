//! The companion handle of one call's cache entry.
//!
//! What an entry holds is the stored value's type: `T` for a function that
//! returns `Result<Option<T>, E>`. No trait can name that type from the return
//! type on stable Rust, so an entry is three layers, each with the verbs for
//! one shape, and method lookup takes the first that fits.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cache::Cache;
use crate::call::Address;
use crate::error::{Error, ErrorKind};
use crate::exchange::{Guard, Outcome, Reply, Request};
use crate::key::Key;
use crate::record::Form;

/// The cache entry of one call, without making the call.
///
/// The attribute's argument `entry = name` makes a function that takes the
/// parameters of the key and returns this. `R` is the memoized function's
/// return type; `get` and `put` deal in what is stored of it: `T` for `T`,
/// `Option<T>`, `Result<T, E>` and `Result<Option<T>, E>`.
///
/// ```
/// use memocached::memcached;
///
/// #[memcached(key = "square:<n>", ttl = 60, entry = square_entry)]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// # fn main() -> Result<(), memocached::Error> {
/// let entry = square_entry(12);
/// assert_eq!(entry.key(), "square:12");
/// assert_eq!(entry.get()?, None);
/// square(12);
/// assert_eq!(entry.get()?, Some(144));
/// entry.delete()?;
/// assert_eq!(entry.get()?, None);
/// # Ok(())
/// # }
/// ```
pub struct Entry<R>(Fallible<R>);

/// The middle layer of [`Entry`]: `Result` and `Option`.
#[doc(hidden)]
pub struct Fallible<R>(Plain<R>);

/// The innermost layer of [`Entry`]: any type.
#[doc(hidden)]
pub struct Plain<R> {
    handle: Handle,
    returns: PhantomData<fn() -> R>,
}

/// What all layers share: where the entry is.
struct Handle {
    address: Address,
}

impl Handle {
    fn place(&self) -> Result<(&Cache, &Key), Error> {
        self.address.cache.as_ref().zip(self.address.key.as_ref()).ok_or_else(|| {
            let message = format!("{} is not cached: the cache is off or cannot be set up", self.address.site.name());
            Error::new(ErrorKind::Configuration, message)
        })
    }

    fn form<V: Serialize + DeserializeOwned>(&self, cache: &Cache, key: &Key) -> Form {
        Form::of::<V>(key, cache.codec(), self.address.site.version())
    }

    fn peek(&self) -> Result<(&Cache, Request<'_>), Error> {
        let (cache, key) = self.place()?;
        Ok((cache, Request::Peek { key: key.wire() }))
    }

    fn opened<V: Serialize + DeserializeOwned>(&self, outcome: Outcome) -> Result<Option<V>, Error> {
        let (cache, key) = self.place()?;
        match outcome? {
            // Bytes that are no value of this function are none at all.
            Reply::Found { value, .. } => Ok(self.form::<V>(cache, key).unpack(&value).ok().map(|found| found.value)),
            _ => Ok(None),
        }
    }

    fn packed<V: Serialize + DeserializeOwned>(&self, value: &V) -> Result<Vec<u8>, Error> {
        let (cache, key) = self.place()?;
        self.form::<V>(cache, key).pack(value, 0)
    }

    fn store<'a>(&'a self, value: &'a [u8]) -> Result<(&'a Cache, Request<'a>), Error> {
        let (cache, key) = self.place()?;
        let ttl = self.address.ttl_on(cache);
        Ok((cache, Request::Store { key: key.wire(), value, ttl, guard: Guard::None }))
    }

    fn delete(&self) -> Result<(&Cache, Request<'_>), Error> {
        let (cache, key) = self.place()?;
        Ok((cache, Request::Delete { key: key.wire(), guard: Guard::None }))
    }

    fn text(&self) -> &str {
        self.address.key.as_ref().map_or("", Key::text)
    }
}

/// `get` and `put` of one layer; fields of the inner layers are reached by
/// `Deref`.
macro_rules! verbs {
    ($value:ty, $ask:ident, ($($async:tt)*), ($($await:tt)*)) => {
        /// The cached value, if there is one; never computes.
        ///
        /// # Errors
        ///
        /// If the server cannot be reached or refuses.
        pub $($async)* fn get(&self) -> Result<Option<$value>, Error> {
            let handle = &self.handle;
            let (cache, request) = handle.peek()?;
            let outcome = cache.store().$ask(&request, &cache.budget())$($await)*;
            handle.opened(outcome)
        }

        /// Stores a value as if the function had returned it.
        ///
        /// # Errors
        ///
        /// If the value cannot be encoded or is too large, or the server
        /// cannot be reached or refuses.
        pub $($async)* fn put(&self, value: &$value) -> Result<(), Error> {
            let handle = &self.handle;
            let bytes = handle.packed(value)?;
            let (cache, request) = handle.store(&bytes)?;
            cache.store().$ask(&request, &cache.budget())$($await)*.map(drop)
        }
    };
}

macro_rules! entry {
    ($entry:ident, $fallible:ident, $plain:ident, $ask:ident, ($($async:tt)*), ($($await:tt)*)) => {
        impl<R> $entry<R> {
            #[doc(hidden)]
            #[must_use]
            pub fn of(address: Address) -> Self {
                $entry($fallible($plain { handle: Handle { address }, returns: PhantomData }))
            }
        }

        impl<V: Serialize + DeserializeOwned, E> $entry<Result<Option<V>, E>> {
            verbs!(V, $ask, ($($async)*), ($($await)*));
        }

        impl<V: Serialize + DeserializeOwned, E> $fallible<Result<V, E>> {
            verbs!(V, $ask, ($($async)*), ($($await)*));
        }

        impl<V: Serialize + DeserializeOwned> $fallible<Option<V>> {
            verbs!(V, $ask, ($($async)*), ($($await)*));
        }

        impl<R: Serialize + DeserializeOwned> $plain<R> {
            verbs!(R, $ask, ($($async)*), ($($await)*));
        }

        impl<R> $plain<R> {
            /// The call's key, without the namespace; empty if nothing is
            /// cached.
            #[must_use]
            pub fn key(&self) -> &str {
                self.handle.text()
            }

            /// Removes the value, also from under a call that is computing it
            /// now; returns whether there was anything.
            ///
            /// # Errors
            ///
            /// If the server cannot be reached or refuses.
            pub $($async)* fn delete(&self) -> Result<bool, Error> {
                let (cache, request) = self.handle.delete()?;
                let outcome = cache.store().$ask(&request, &cache.budget())$($await)*;
                Ok(outcome? == Reply::Done)
            }
        }

        impl<R> Deref for $entry<R> {
            type Target = $fallible<R>;
            fn deref(&self) -> &$fallible<R> {
                &self.0
            }
        }

        impl<R> Deref for $fallible<R> {
            type Target = $plain<R>;
            fn deref(&self) -> &$plain<R> {
                &self.0
            }
        }

        impl<R> fmt::Debug for $entry<R> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($entry)).field("function", &self.handle.address.site.name()).finish()
            }
        }
    }
}

entry!(Entry, Fallible, Plain, ask, (), ());

#[cfg(feature = "tokio")]
pub use on_tokio::AsyncEntry;

#[cfg(feature = "tokio")]
mod on_tokio {
    use super::{Address, Deref, DeserializeOwned, Error, Handle, PhantomData, Reply, Serialize, fmt};

    /// [`Entry`](super::Entry) for async functions: its verbs are async.
    pub struct AsyncEntry<R>(AsyncFallible<R>);

    #[doc(hidden)]
    pub struct AsyncFallible<R>(AsyncPlain<R>);

    #[doc(hidden)]
    pub struct AsyncPlain<R> {
        handle: Handle,
        returns: PhantomData<fn() -> R>,
    }

    entry!(AsyncEntry, AsyncFallible, AsyncPlain, ask_async, (async), (.await));
}
