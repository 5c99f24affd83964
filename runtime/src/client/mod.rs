//! The instrumented client: every verb of memcached's, traced and metered.
//!
//! [`Client`] and [`AsyncClient`] are the same calls with and without `.await`.
//! They only say what is asked and what comes back. Nothing here decides to
//! fail open: every failure is an error.

pub(crate) mod act;
pub(crate) mod batch;
pub(crate) mod caller;
pub(crate) mod namespace;
pub(crate) mod outcome;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::cache::Cache;
use crate::cache::backend::Backend;
use crate::client::act::Act;
#[cfg(feature = "tokio")]
use crate::client::caller::AsyncCaller;
use crate::client::caller::Caller;
use crate::client::outcome::{CasOutcome, Failures, Many, NodeInfo, PerNode, Versioned};
use crate::codec::Codec;
use crate::config::Settings;
use crate::config::builder::sealed::{Checked, FromSettings};
use crate::config::builder::{Build, Builder};
use crate::config::environment::announce_strange;
use crate::error::Error;
use crate::exchange::{Direction, Guard, Request, Ttl, Verb, Write};
use crate::value::item::{FromItem, ToItem};

/// A blocking client of one memcached server or of several.
///
/// Each call is one CLIENT span and one record of the metrics, whether it
/// succeeds or not. A clone is another handle of the same connections.
///
/// ```
/// use std::time::Duration;
///
/// use memocached::Client;
///
/// # fn main() -> Result<(), memocached::Error> {
/// // From `MEMCACHED_SERVERS` and the others; without it, within the process.
/// let client = Client::from_env()?;
/// let minute = Duration::from_secs(60);
/// client.set("greeting", "hello", minute)?;
/// assert_eq!(client.get::<String>("greeting")?.as_deref(), Some("hello"));
/// assert_eq!(client.get::<u64>("nothing")?, None); // a miss is no error
///
/// client.set("visits", &41, minute)?;
/// assert_eq!(client.incr("visits", 1)?, Some(42));
/// assert!(!client.add("visits", &0, minute)?); // there is one already
///
/// // Several keys take one round trip to each server.
/// assert!(client.set_many([("a", 1), ("b", 2)], minute).is_empty());
/// let found = client.get_many::<u64>(["a", "b", "c"]);
/// assert_eq!((found.values["a"], found.values.len()), (1, 2));
/// client.delete("visits")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client(Caller);

/// An async client of one memcached server or of several, on tokio.
///
/// Offers the same verbs as [`Client`]. One client may be used from several
/// runtimes.
///
/// ```
/// use std::time::Duration;
///
/// use memocached::AsyncClient;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), memocached::Error> {
/// let client = AsyncClient::from_env()?;
/// client.set("greeting", "hello", Duration::from_secs(60)).await?;
/// let found = client.get_many::<String>(["greeting", "nothing"]).await;
/// assert_eq!(found.values["greeting"], "hello");
/// assert!(found.failed.is_empty());
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "tokio")]
#[derive(Clone)]
pub struct AsyncClient(AsyncCaller);

impl Cache {
    /// Creates a client of the servers that this cache uses, on its connections.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::of(self)
    }

    /// Creates an async client of the servers that this cache uses, on its
    /// connections.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn async_client(&self) -> AsyncClient {
        AsyncClient::of(self)
    }
}

macro_rules! client {
    ($client:ident, $caller:ident, ($($async:tt)*), ($($await:tt)*)) => {
        impl $client {
            /// Creates a client from the environment variables `MEMCACHED_*`.
            ///
            /// # Errors
            ///
            /// If a variable has a value that cannot be used; the error names
            /// the variable.
            pub fn from_env() -> Result<Self, Error> {
                announce_strange();
                Self::from_settings(Checked(Settings::from_env()?))
            }

            /// Returns a builder with the defaults that an empty environment means.
            pub fn builder() -> Builder<Self> {
                Builder::new()
            }

            /// Creates a client of the servers that a cache uses, on its connections.
            #[must_use]
            pub fn of(cache: &Cache) -> Self {
                $client($caller::new(cache.backend().clone()))
            }

            /// Returns the value of a key, if it has one.
            ///
            /// # Errors
            ///
            /// If the key cannot be used, the server cannot be reached or
            /// refuses, or the stored bytes are no `T`.
            pub $($async)* fn get<T: FromItem>(&self, key: impl AsRef<str>) -> Result<Option<T>, Error> {
                outcome::value(self.0.one(Verb::Get, key.as_ref(), Act::Get)$($await)*)
            }

            /// Returns the value of a key, with the number that
            /// [`cas`](Self::cas) takes.
            ///
            /// # Errors
            ///
            /// The same as for `get`.
            pub $($async)* fn gets<T: FromItem>(&self, key: impl AsRef<str>) -> Result<Option<Versioned<T>>, Error> {
                outcome::versioned(self.0.one(Verb::Gets, key.as_ref(), Act::Get)$($await)*)
            }

            /// Returns the value of a key, and keeps it for `ttl` from now on.
            ///
            /// # Errors
            ///
            /// The same as for `get`.
            pub $($async)* fn gat<T: FromItem>(
                &self,
                key: impl AsRef<str>,
                ttl: impl Into<Ttl>,
            ) -> Result<Option<T>, Error> {
                outcome::value(self.0.one(Verb::Gat, key.as_ref(), Act::GetAndTouch(ttl.into()))$($await)*)
            }

            /// Returns the value of a key with its number, and keeps it for
            /// `ttl` from now on.
            ///
            /// # Errors
            ///
            /// The same as for `get`.
            pub $($async)* fn gats<T: FromItem>(
                &self,
                key: impl AsRef<str>,
                ttl: impl Into<Ttl>,
            ) -> Result<Option<Versioned<T>>, Error> {
                outcome::versioned(self.0.one(Verb::Gats, key.as_ref(), Act::GetAndTouch(ttl.into()))$($await)*)
            }

            /// Returns the value of a key that was stored with a codec.
            ///
            /// # Errors
            ///
            /// The same as for `get`.
            pub $($async)* fn get_as<T, C: Codec<T>>(&self, key: impl AsRef<str>, codec: C) -> Result<Option<T>, Error> {
                outcome::decoded(self.0.one(Verb::Get, key.as_ref(), Act::Get)$($await)*, &codec)
            }

            /// Returns the values of several keys: one round trip to each
            /// server, to all at once.
            pub $($async)* fn get_many<T: FromItem>(
                &self,
                keys: impl IntoIterator<Item = impl AsRef<str>>,
            ) -> Many<T> {
                self.0.look_up(Verb::GetMany, keys, outcome::read)$($await)*
            }

            /// Returns the values of several keys in the order of the keys,
            /// asking for them as [`get_many`](Self::get_many) does.
            ///
            /// # Errors
            ///
            /// The same as for `get`, if any of the keys fails.
            pub $($async)* fn get_all<T: FromItem>(
                &self,
                keys: impl IntoIterator<Item = impl AsRef<str>>,
            ) -> Result<Vec<Option<T>>, Error> {
                self.0.look_up_all(Verb::GetMany, keys, outcome::read)$($await)*
            }

            /// Returns the values of several keys, with the numbers that
            /// [`cas`](Self::cas) takes.
            pub $($async)* fn gets_many<T: FromItem>(
                &self,
                keys: impl IntoIterator<Item = impl AsRef<str>>,
            ) -> Many<Versioned<T>> {
                self.0.look_up(Verb::GetsMany, keys, outcome::read_versioned)$($await)*
            }

            /// Stores a value, whatever is there.
            ///
            /// # Errors
            ///
            /// If the key cannot be used, the value is too large or cannot be
            /// encoded, or the server cannot be reached or refuses. If the
            /// connection broke before the answer, the value may have been
            /// stored.
            pub $($async)* fn set(
                &self,
                key: impl AsRef<str>,
                value: &(impl ToItem + ?Sized),
                ttl: impl Into<Ttl>,
            ) -> Result<(), Error> {
                let act = Act::store(Write::Set, value, ttl.into(), Guard::None)?;
                self.0.one(Verb::Set, key.as_ref(), act)$($await)*.map(drop)
            }

            /// Stores a value with a codec: its bytes alone, so that other
            /// programs can read them.
            ///
            /// # Errors
            ///
            /// The same as for `set`, and if the codec cannot encode the value.
            pub $($async)* fn set_as<T, C: Codec<T>>(
                &self,
                key: impl AsRef<str>,
                codec: C,
                value: &T,
                ttl: impl Into<Ttl>,
            ) -> Result<(), Error> {
                self.set(key, &act::encoded(&codec, value)?, ttl)$($await)*
            }

            /// Stores several values: one round trip to each server, to all at
            /// once. Returns the keys that failed.
            pub $($async)* fn set_many<K: AsRef<str>, V: ToItem>(
                &self,
                items: impl IntoIterator<Item = (K, V)>,
                ttl: impl Into<Ttl>,
            ) -> Failures {
                self.0.store_many(items, ttl.into())$($await)*
            }

            /// Stores a value if there is none. Returns whether it did.
            ///
            /// # Errors
            ///
            /// The same as for `set`.
            pub $($async)* fn add(
                &self,
                key: impl AsRef<str>,
                value: &(impl ToItem + ?Sized),
                ttl: impl Into<Ttl>,
            ) -> Result<bool, Error> {
                let act = Act::store(Write::Add, value, ttl.into(), Guard::None)?;
                outcome::done(self.0.one(Verb::Add, key.as_ref(), act)$($await)*)
            }

            /// Stores a value if there is one already. Returns whether it did.
            ///
            /// # Errors
            ///
            /// The same as for `set`.
            pub $($async)* fn replace(
                &self,
                key: impl AsRef<str>,
                value: &(impl ToItem + ?Sized),
                ttl: impl Into<Ttl>,
            ) -> Result<bool, Error> {
                let act = Act::store(Write::Replace, value, ttl.into(), Guard::None)?;
                outcome::done(self.0.one(Verb::Replace, key.as_ref(), act)$($await)*)
            }

            /// Appends bytes to a value, if there is one. Returns whether it
            /// did. Flags and ttl stay as they are. A compressed value becomes
            /// unreadable.
            ///
            /// # Errors
            ///
            /// The same as for `set`.
            pub $($async)* fn append(
                &self,
                key: impl AsRef<str>,
                value: &(impl ToItem + ?Sized),
            ) -> Result<bool, Error> {
                let act = Act::store(Write::Append, value, Ttl::Forever, Guard::None)?;
                outcome::done(self.0.one(Verb::Append, key.as_ref(), act)$($await)*)
            }

            /// Puts bytes in front of a value, if there is one. Returns whether
            /// it did. Flags and ttl stay as they are. A compressed value
            /// becomes unreadable.
            ///
            /// # Errors
            ///
            /// The same as for `set`.
            pub $($async)* fn prepend(
                &self,
                key: impl AsRef<str>,
                value: &(impl ToItem + ?Sized),
            ) -> Result<bool, Error> {
                let act = Act::store(Write::Prepend, value, Ttl::Forever, Guard::None)?;
                outcome::done(self.0.one(Verb::Prepend, key.as_ref(), act)$($await)*)
            }

            /// Stores a value, unless the key was written to after
            /// [`gets`](Self::gets) returned this number.
            ///
            /// # Errors
            ///
            /// The same as for `set`.
            pub $($async)* fn cas(
                &self,
                key: impl AsRef<str>,
                value: &(impl ToItem + ?Sized),
                cas: u64,
                ttl: impl Into<Ttl>,
            ) -> Result<CasOutcome, Error> {
                let act = Act::store(Write::Set, value, ttl.into(), Guard::Unchanged(cas))?;
                outcome::swapped(self.0.one(Verb::Cas, key.as_ref(), act)$($await)*)
            }

            /// Removes a value. Returns whether there was one.
            ///
            /// # Errors
            ///
            /// If the key cannot be used, or the server cannot be reached or
            /// refuses.
            pub $($async)* fn delete(&self, key: impl AsRef<str>) -> Result<bool, Error> {
                outcome::done(self.0.one(Verb::Delete, key.as_ref(), Act::Delete)$($await)*)
            }

            /// Removes several values: one round trip to each server, to all
            /// at once. Returns the keys that failed.
            pub $($async)* fn delete_many(&self, keys: impl IntoIterator<Item = impl AsRef<str>>) -> Failures {
                self.0.delete_many(keys)$($await)*
            }

            /// Adds to a number, which wraps around at 2⁶⁴. Returns the new
            /// number, or `None` if there is none.
            ///
            /// # Errors
            ///
            /// The same as for `delete`, and if the value is no decimal number
            /// of 64 bits ([`ErrorKind::NotANumber`](crate::ErrorKind::NotANumber)).
            pub $($async)* fn incr(&self, key: impl AsRef<str>, by: u64) -> Result<Option<u64>, Error> {
                outcome::number(self.0.one(Verb::Incr, key.as_ref(), Act::Count(Direction::Up, by))$($await)*)
            }

            /// Subtracts from a number, down to zero. Returns the new number,
            /// or `None` if there is none.
            ///
            /// # Errors
            ///
            /// The same as for `incr`.
            pub $($async)* fn decr(&self, key: impl AsRef<str>, by: u64) -> Result<Option<u64>, Error> {
                outcome::number(self.0.one(Verb::Decr, key.as_ref(), Act::Count(Direction::Down, by))$($await)*)
            }

            /// Keeps a value for `ttl` from now on. Returns whether there is
            /// one.
            ///
            /// # Errors
            ///
            /// The same as for `delete`.
            pub $($async)* fn touch(&self, key: impl AsRef<str>, ttl: impl Into<Ttl>) -> Result<bool, Error> {
                outcome::done(self.0.one(Verb::Touch, key.as_ref(), Act::Touch(ttl.into()))$($await)*)
            }

            /// Returns the counters of each server.
            pub $($async)* fn stats(&self) -> PerNode<BTreeMap<String, String>> {
                self.stats_of("")$($await)*
            }

            /// Returns the counters of one group, such as `items`, `slabs` or
            /// `settings`.
            pub $($async)* fn stats_of(&self, group: &str) -> PerNode<BTreeMap<String, String>> {
                self.0.ask_everyone(Verb::Stats, act::stats(group), outcome::counters)$($await)*
            }

            /// Returns the version of each server.
            pub $($async)* fn version(&self) -> PerNode<String> {
                self.0.ask_everyone(Verb::Version, Request::Version, outcome::version)$($await)*
            }

            /// Makes each server forget the values of all its users, at once or
            /// after this time in whole seconds.
            pub $($async)* fn flush_all(&self, delay: Duration) -> PerNode<()> {
                self.0.ask_everyone(Verb::FlushAll, Request::FlushAll { delay }, drop)$($await)*
            }

            /// Forgets everything in the namespace, for this client at once and
            /// for others within a second. Other namespaces are left alone. It
            /// takes no time: the old values are never found again, and the
            /// server evicts them by and by.
            ///
            /// # Errors
            ///
            /// If the client was not built with
            /// [`flushable_namespace`](Builder::flushable_namespace), or the
            /// server that keeps the namespace's generation cannot be reached
            /// or refuses.
            pub $($async)* fn flush_namespace(&self) -> Result<(), Error> {
                self.0.flush_namespace()$($await)*
            }

            /// Makes each server use this much memory.
            pub $($async)* fn cache_memlimit(&self, mebibytes: u64) -> PerNode<()> {
                self.0.ask_everyone(Verb::CacheMemlimit, Request::MemoryLimit { mebibytes }, drop)$($await)*
            }

            /// Lists the servers, with whether each is up.
            #[must_use]
            pub fn nodes(&self) -> Vec<NodeInfo> {
                outcome::nodes(self.0.backend().store().nodes())
            }

            /// Adds a server, written as in `MEMCACHED_SERVERS`. Returns `false`
            /// if it was there already. Its share of the keys moves to it. Caches
            /// and clients that share connections with this one use it too.
            ///
            /// # Errors
            ///
            /// If the text is no server, or values are kept within the process.
            #[cfg(feature = "servers")]
            pub fn add_node(&self, server: &str) -> Result<bool, Error> {
                self.0.backend().store().add_node(server)
            }

            /// Removes a server. Returns whether it was there. Its keys move to
            /// the others.
            ///
            /// # Errors
            ///
            /// The same as for `add_node`.
            #[cfg(feature = "servers")]
            pub fn remove_node(&self, server: &str) -> Result<bool, Error> {
                self.0.backend().store().remove_node(server)
            }

            /// Says `quit` to the servers on the connections that are not in
            /// use, and closes them. The client can still be used, and then
            /// opens new ones.
            pub fn quit(&self) {
                caller::quit(self.0.backend());
            }

            /// Closes the connections that are not in use. The client can still
            /// be used, and then opens new ones.
            pub fn close(&self) {
                caller::close(self.0.backend());
            }
        }

        impl Build for $client {}

        impl FromSettings for $client {
            fn from_settings(Checked(settings): Checked) -> Result<Self, Error> {
                Ok($client($caller::new(Backend::new(settings)?)))
            }
        }

        impl fmt::Debug for $client {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($client)).field("settings", self.0.backend().settings()).finish_non_exhaustive()
            }
        }
    };
}

client!(Client, Caller, (), ());
#[cfg(feature = "tokio")]
client!(AsyncClient, AsyncCaller, (async), (.await));
