//! The companion handle of one call's cache entry.
//!
//! What an entry holds is the stored value's type: `T` for a function that
//! returns `Result<Option<T>, E>`. No trait can name that type from the return
//! type on stable Rust, so an entry is three layers, each with the verbs for
//! one shape, and method lookup takes the first that fits.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

use crate::cache::Cache;
use crate::call::address::Addressed;
use crate::call::freshness::Age;
use crate::call::machine::Machine;
use crate::call::policy::{Choose, Configured};
use crate::call::sibling::Sibling;
use crate::call::site::Site;
use crate::error::{Error, ErrorKind};
use crate::exchange::{Guard, Item, Reply, Request, Token, Ttl, found};
use crate::value::envelope::Refusal;
use crate::value::record::{Form, Found, Record};

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
pub struct Entry<R, C = Configured>(Fallible<R, C>);

/// The middle layer of [`Entry`]: `Result` and `Option`.
#[doc(hidden)]
pub struct Fallible<R, C>(Plain<R, C>);

/// The innermost layer of [`Entry`]: any type.
#[doc(hidden)]
pub struct Plain<R, C> {
    handle: Handle<C>,
    returns: PhantomData<fn() -> R>,
}

/// What is known of a stored value beside the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntryInfo {
    /// How long it will be kept, grace included, in whole seconds; `None`: for
    /// ever.
    pub time_left: Option<Duration>,
    /// Its ttl is over, or it has been invalidated: it is only kept for grace.
    pub is_stale: bool,
    /// Its size in the store, in bytes, header included.
    pub size: usize,
    /// What it took to compute; zero if it was put, or the codec stores bare
    /// bytes.
    pub cost: Duration,
}

/// What all layers share: where the entry is, and how values are stored.
struct Handle<C> {
    site: &'static Site,
    /// Absent where nothing is cached.
    machine: Option<Machine>,
    codec: C,
}

impl<C> Handle<C> {
    fn machine(&self) -> Result<&Machine, Error> {
        self.machine.as_ref().ok_or_else(|| {
            let message = format!("{} is not cached: there is no usable cache, or no key", self.site.name());
            Error::new(ErrorKind::Configuration, message)
        })
    }

    fn form<V>(&self) -> Result<Form<V>, Error>
    where
        C: Choose<V> + Clone,
    {
        let Machine { cache, key, .. } = self.machine()?;
        Ok(Form::of(key, self.codec.clone().choose(cache.codec()), self.site.version(), cache.wrapping()))
    }

    fn key(&self) -> Result<&str, Error> {
        Ok(self.machine()?.key.wire())
    }

    fn peek<'a>(&'a self, key: &'a str) -> Result<(&'a Cache, Request<'a>), Error> {
        Ok((&self.machine()?.cache, Request::Peek { key }))
    }

    fn store<'a>(&'a self, record: &'a Record) -> Result<(&'a Cache, Request<'a>), Error> {
        let machine = self.machine()?;
        if machine.freshness.ttl == Ttl::For(Duration::ZERO) {
            return Err(Error::new(ErrorKind::Configuration, "the ttl is zero, so nothing is stored"));
        }
        Ok((&machine.cache, machine.putting(record)))
    }

    fn delete(&self) -> Result<(&Cache, Request<'_>), Error> {
        let Machine { cache, key, .. } = self.machine()?;
        Ok((cache, Request::Delete { key: key.wire(), guard: Guard::None }))
    }

    /// Whether values are served behind their time.
    fn has_grace(&self) -> Result<bool, Error> {
        Ok(!self.machine()?.freshness.grace.is_zero())
    }

    /// Marks this item as stale. It is served no longer than grace from now on,
    /// nor than it would have been. Without an item, whoever computes one may
    /// not store it.
    fn invalidation(&self, item: Option<&Item>) -> Result<(&Cache, Request<'_>), Error> {
        let Some(item) = item else { return self.delete() };
        let Machine { cache, key, freshness, .. } = self.machine()?;
        let left = item.seconds_left.map(Duration::from_secs);
        let ttl = left.map_or(freshness.grace, |left| left.min(freshness.grace));
        Ok((cache, Request::Invalidate { key: key.wire(), guard: Guard::None, ttl: Some(ttl) }))
    }

    /// Gives back the right to compute a value that reading it has taken.
    fn token_of<'a>(&'a self, key: &'a str, item: &Item) -> Result<Option<(&'a Cache, Request<'a>)>, Error> {
        let guard = Guard::Unchanged(item.cas);
        let returned = (&self.machine()?.cache, Request::Invalidate { key, guard, ttl: None });
        Ok((item.token == Token::Won).then_some(returned))
    }

    /// Whether a call would use the item as it is.
    fn is_fresh(&self, item: &Item) -> Result<bool, Error> {
        Ok(matches!(self.machine()?.freshness.age(item), Age::Fresh(_)))
    }

    /// Has this process notice what has been changed.
    fn forget(&self) {
        if let Some(machine) = &self.machine {
            machine.forget();
        }
    }
}

/// The verbs of one layer that deal in values; fields of the inner layers are
/// reached by `Deref`.
macro_rules! verbs {
    ($value:ty, $ask:ident, ($($async:tt)*), ($($await:tt)*)) => {
        /// The cached value, if there is one that is fresh; never computes.
        ///
        /// # Errors
        ///
        /// If the server cannot be reached or refuses, or nothing is cached.
        pub $($async)* fn get(&self) -> Result<Option<$value>, Error> {
            let form = self.handle.form::<$value>()?;
            match self.find(&form)$($await)*? {
                Some((item, found)) if self.handle.is_fresh(&item)? => Ok(Some(found.value)),
                _ => Ok(None),
            }
        }

        /// Stores a value as if the function had returned it.
        ///
        /// # Errors
        ///
        /// If the value cannot be encoded or is too large, the server cannot
        /// be reached or refuses, or nothing is cached.
        pub $($async)* fn put(&self, value: &$value) -> Result<(), Error> {
            let record = self.handle.form::<$value>()?.pack(value, 0)?;
            let (cache, request) = self.handle.store(&record)?;
            let outcome = cache.store().$ask(request.verb(), &request, &cache.budget())$($await)*;
            self.handle.forget();
            outcome.map(drop)
        }

        /// What is known of the value, if there is one.
        ///
        /// # Errors
        ///
        /// As for `get`.
        pub $($async)* fn info(&self) -> Result<Option<EntryInfo>, Error> {
            let form = self.handle.form::<$value>()?;
            let Some((item, found)) = self.find(&form)$($await)*? else { return Ok(None) };
            Ok(Some(EntryInfo {
                time_left: item.seconds_left.map(Duration::from_secs),
                is_stale: !self.handle.is_fresh(&item)?,
                size: item.value.len(),
                cost: Duration::from_nanos(found.cost),
            }))
        }
    };
}

macro_rules! entry {
    ($entry:ident, $fallible:ident, $plain:ident, $ask:ident, ($($async:tt)*), ($($await:tt)*)) => {
        impl<R, C> $entry<R, C> {
            #[doc(hidden)]
            #[must_use]
            pub fn of(address: Addressed, codec: C) -> Self {
                let (site, machine) = address.settled();
                $entry($fallible($plain { handle: Handle { site, machine, codec }, returns: PhantomData }))
            }
        }

        impl<V, E, C: Choose<V> + Clone> $entry<Result<Option<V>, E>, C> {
            verbs!(V, $ask, ($($async)*), ($($await)*));
        }

        impl<V, E, C: Choose<V> + Clone> $fallible<Result<V, E>, C> {
            verbs!(V, $ask, ($($async)*), ($($await)*));
        }

        impl<V, C: Choose<V> + Clone> $fallible<Option<V>, C> {
            verbs!(V, $ask, ($($async)*), ($($await)*));
        }

        impl<R, C: Choose<R> + Clone> $plain<R, C> {
            verbs!(R, $ask, ($($async)*), ($($await)*));
        }

        impl<R, C> $plain<R, C> {
            /// The call's key, without the namespace; empty if nothing is
            /// cached.
            #[must_use]
            pub fn key(&self) -> &str {
                self.handle.machine.as_ref().map_or("", |machine| machine.key.text())
            }

            /// Removes the value, also from under a call that is computing it
            /// now; returns whether there was anything.
            ///
            /// # Errors
            ///
            /// If the server cannot be reached or refuses, or nothing is
            /// cached.
            pub $($async)* fn delete(&self) -> Result<bool, Error> {
                let (cache, request) = self.handle.delete()?;
                let outcome = cache.store().$ask(request.verb(), &request, &cache.budget())$($await)*;
                self.handle.forget();
                Ok(outcome? == Reply::Done)
            }

            /// Sees to it that the next call computes anew; returns whether
            /// there was anything. Where the function has `grace`, others are
            /// served the old value meanwhile; without, this is
            /// [`delete`](Self::delete).
            ///
            /// # Errors
            ///
            /// As for `delete`.
            pub $($async)* fn invalidate(&self) -> Result<bool, Error> {
                if !self.handle.has_grace()? {
                    return self.delete()$($await)*;
                }
                let item = self.look(self.handle.key()?)$($await)*?;
                let (cache, request) = self.handle.invalidation(item.as_ref())?;
                let outcome = cache.store().$ask(request.verb(), &request, &cache.budget())$($await)*;
                self.handle.forget();
                Ok(outcome? == Reply::Done)
            }

            /// This version's value and its item, which may be sibling.
            $($async)* fn find<V>(&self, form: &Form<V>) -> Result<Option<(Item, Found<V>)>, Error> {
                let key = self.handle.key()?;
                let Some(item) = self.look(key)$($await)*? else { return Ok(None) };
                let sibling = match form.unpack(&item.value, item.flags) {
                    Ok(found) => return Ok(Some((item, found))),
                    Err(Refusal::OtherVersion { mark }) => Sibling::of(key, mark, &item),
                    Err(_) => return Ok(None),
                };
                let item = self.look(sibling.key())$($await)*?;
                let Some(Ok(item)) = item.map(|item| sibling.released(item)) else { return Ok(None) };
                Ok(form.unpack(&item.value, item.flags).ok().map(|found| (item, found)))
            }

            $($async)* fn look(&self, key: &str) -> Result<Option<Item>, Error> {
                let (cache, request) = self.handle.peek(key)?;
                let item = found(cache.store().$ask(request.verb(), &request, &cache.budget())$($await)*)?;
                if let Some(item) = &item
                    && let Some((cache, request)) = self.handle.token_of(key, item)?
                {
                    let _ = cache.store().$ask(request.verb(), &request, &cache.budget())$($await)*;
                }
                Ok(item)
            }
        }

        impl<R, C> Deref for $entry<R, C> {
            type Target = $fallible<R, C>;
            fn deref(&self) -> &$fallible<R, C> {
                &self.0
            }
        }

        impl<R, C> Deref for $fallible<R, C> {
            type Target = $plain<R, C>;
            fn deref(&self) -> &$plain<R, C> {
                &self.0
            }
        }

        impl<R, C> fmt::Debug for $entry<R, C> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($entry)).field("function", &self.handle.site.name()).finish()
            }
        }
    };
}

entry!(Entry, Fallible, Plain, ask, (), ());

#[cfg(feature = "tokio")]
pub use on_tokio::AsyncEntry;

#[cfg(feature = "tokio")]
mod on_tokio {
    use super::{
        Addressed, Choose, Configured, Deref, Duration, EntryInfo, Error, Form, Found, Handle, Item, PhantomData,
        Refusal, Reply, Sibling, fmt, found,
    };

    /// [`Entry`](super::Entry) for async functions: its verbs are async.
    pub struct AsyncEntry<R, C = Configured>(AsyncFallible<R, C>);

    #[doc(hidden)]
    pub struct AsyncFallible<R, C>(AsyncPlain<R, C>);

    #[doc(hidden)]
    pub struct AsyncPlain<R, C> {
        handle: Handle<C>,
        returns: PhantomData<fn() -> R>,
    }

    entry!(AsyncEntry, AsyncFallible, AsyncPlain, ask_async, (async), (.await));
}
