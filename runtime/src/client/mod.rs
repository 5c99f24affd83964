//! The instrumented client: every verb of memcached's, traced and metered.
//!
//! [`Client`] and [`AsyncClient`] are the same calls with and without `.await`;
//! what goes out and what comes back is worked out in `errands`. Nothing here
//! decides to fail open: trouble is an error.

pub(crate) mod batch;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use crate::cache::Cache;
use crate::cache::backend::Backend;
use crate::cache::generation;
use crate::client::batch::{Batch, Lookups, Prefix};
use crate::codec::Codec;
use crate::config::Settings;
use crate::config::builder::{Build, Builder, Sealed};
use crate::error::{Error, ErrorKind};
use crate::exchange::{Direction, Guard, Item, Outcome, Reply, Request, Ttl, Verb, Write, found};
use crate::telemetry::exchange::Exchange;
use crate::value::flags::bare;
use crate::value::item::{FromItem, RawItem, ToItem};

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
/// // From `MEMCACHED_SERVERS` and so on; without it, within the process.
/// let client = Client::from_env()?;
/// client.set("greeting", "hello", Duration::from_secs(60))?;
/// assert_eq!(client.get::<String>("greeting")?.as_deref(), Some("hello"));
///
/// client.set("visits", &41, Duration::from_secs(60))?;
/// assert_eq!(client.incr("visits", 1)?, Some(42));
/// assert_eq!(client.get::<u64>("nothing")?, None);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client(Backend);

/// An async client of one memcached server or of several, on tokio.
///
/// As [`Client`], with the same verbs. One client may be used from several
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
pub struct AsyncClient(Backend);

/// A value with the number of its write, for [`Client::cas`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Versioned<T> {
    /// The value.
    pub value: T,
    /// Changes with each write (memcached's *CAS unique*).
    pub cas: u64,
}

/// What a compare-and-swap came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CasOutcome {
    /// The value is stored.
    Stored,
    /// It is not: somebody has written in the meantime.
    Changed,
    /// It is not: there is nothing any more.
    Missing,
}

/// What came of asking for several keys.
#[derive(Debug)]
#[must_use]
pub struct Many<T> {
    /// The values of the keys that have one.
    pub values: HashMap<String, T>,
    /// The keys that could not be asked for, or whose value could not be read.
    pub failed: Vec<(String, Error)>,
}

/// The keys that something could not be done for.
pub type Failures = Vec<(String, Error)>;

/// An answer from each node, with its name.
pub type PerNode<T> = Vec<(String, Result<T, Error>)>;

macro_rules! client {
    ($client:ident, $ask:ident, $ask_several:ident, ($($async:tt)*), ($($await:tt)*)) => {
        impl $client {
            /// A client from the environment variables `MEMCACHED_*`.
            ///
            /// # Errors
            ///
            /// If a variable has a value that cannot be used; the error names
            /// it.
            pub fn from_env() -> Result<Self, Error> {
                Backend::new(Settings::from_env()?).map($client)
            }

            /// Begins with the defaults that an empty environment means.
            pub fn builder() -> Builder<Self> {
                Builder::new()
            }

            /// A client of the servers that a cache uses, on its connections.
            #[must_use]
            pub fn of(cache: &Cache) -> Self {
                $client(cache.backend().clone())
            }

            /// The value of a key, if it has one.
            ///
            /// # Errors
            ///
            /// As for all verbs: if the key cannot be used, the server cannot
            /// be reached or refuses, or the stored bytes are no `T`.
            pub $($async)* fn get<T: FromItem>(&self, key: impl AsRef<str>) -> Result<Option<T>, Error> {
                let key = self.prefix()$($await)*?.key(key.as_ref());
                value(self.ask(Verb::Get, Request::Peek { key: &key })$($await)*)
            }

            /// As `get`, with the number that [`cas`](Self::cas) wants.
            ///
            /// # Errors
            ///
            /// As for `get`.
            pub $($async)* fn gets<T: FromItem>(&self, key: impl AsRef<str>) -> Result<Option<Versioned<T>>, Error> {
                let key = self.prefix()$($await)*?.key(key.as_ref());
                versioned(self.ask(Verb::Gets, Request::Peek { key: &key })$($await)*)
            }

            /// As `get`, and has the value kept for `ttl` from now on.
            ///
            /// # Errors
            ///
            /// As for `get`.
            pub $($async)* fn gat<T: FromItem>(
                &self,
                key: impl AsRef<str>,
                ttl: impl Into<Ttl>,
            ) -> Result<Option<T>, Error> {
                let (key, ttl) = (self.prefix()$($await)*?.key(key.as_ref()), ttl.into());
                value(self.ask(Verb::Gat, Request::GetAndTouch { key: &key, ttl })$($await)*)
            }

            /// As `gets`, and has the value kept for `ttl` from now on.
            ///
            /// # Errors
            ///
            /// As for `get`.
            pub $($async)* fn gats<T: FromItem>(
                &self,
                key: impl AsRef<str>,
                ttl: impl Into<Ttl>,
            ) -> Result<Option<Versioned<T>>, Error> {
                let (key, ttl) = (self.prefix()$($await)*?.key(key.as_ref()), ttl.into());
                versioned(self.ask(Verb::Gats, Request::GetAndTouch { key: &key, ttl })$($await)*)
            }

            /// The value of a key that was stored with a codec.
            ///
            /// # Errors
            ///
            /// As for `get`.
            pub $($async)* fn get_as<T, C: Codec<T>>(&self, key: impl AsRef<str>, codec: C) -> Result<Option<T>, Error> {
                let key = self.prefix()$($await)*?.key(key.as_ref());
                let found = value::<RawItem>(self.ask(Verb::Get, Request::Peek { key: &key })$($await)*)?;
                found.map(|item| codec.decode(&bare(&item.bytes, item.flags, codec.flags())?)).transpose()
            }

            /// The values of several keys: one round trip to each server, to
            /// all at once.
            pub $($async)* fn get_many<T: FromItem>(
                &self,
                keys: impl IntoIterator<Item = impl AsRef<str>>,
            ) -> Many<T> {
                let lookups = match self.prefix()$($await)* {
                    Ok(prefix) => prefix.lookups(self.0.store(), keys),
                    Err(error) => return Many::all_failed(keys, &error),
                };
                self.look_up(Verb::GetMany, lookups)$($await)*.read(|item| T::from_item(item.into()))
            }

            /// As `get_many`, with the numbers that [`cas`](Self::cas) wants.
            pub $($async)* fn gets_many<T: FromItem>(
                &self,
                keys: impl IntoIterator<Item = impl AsRef<str>>,
            ) -> Many<Versioned<T>> {
                let lookups = match self.prefix()$($await)* {
                    Ok(prefix) => prefix.lookups(self.0.store(), keys),
                    Err(error) => return Many::all_failed(keys, &error),
                };
                self.look_up(Verb::GetsMany, lookups)$($await)*.read(versioned_item)
            }

            /// Stores a value, whatever is there.
            ///
            /// # Errors
            ///
            /// If the key cannot be used, the value is too large, or the
            /// server cannot be reached or refuses. Where the connection broke
            /// before the answer, the value may have been stored.
            pub $($async)* fn set(
                &self,
                key: impl AsRef<str>,
                value: &(impl ToItem + ?Sized),
                ttl: impl Into<Ttl>,
            ) -> Result<(), Error> {
                let store = self.prefix()$($await)*?.store_item(key.as_ref(), value, ttl.into());
                self.ask(Verb::Set, store.request(Write::Set, Guard::None))$($await)*.map(drop)
            }

            /// Stores a value with a codec: its bytes alone, so that other
            /// programs can read them.
            ///
            /// # Errors
            ///
            /// As for `set`, and if the codec has no form for the value.
            pub $($async)* fn set_as<T, C: Codec<T>>(
                &self,
                key: impl AsRef<str>,
                codec: C,
                value: &T,
                ttl: impl Into<Ttl>,
            ) -> Result<(), Error> {
                match batch::encode(&codec, value) {
                    Ok(item) => self.set(key, &item, ttl)$($await)*,
                    Err(error) => {
                        Exchange::with_several(Verb::Set, None).end_all(Some(&error));
                        Err(error)
                    }
                }
            }

            /// Stores several values: one round trip to each server, to all at
            /// once. Gives the keys that failed.
            #[must_use]
            pub $($async)* fn set_many<K: AsRef<str>, V: ToItem>(
                &self,
                items: impl IntoIterator<Item = (K, V)>,
                ttl: impl Into<Ttl>,
            ) -> Failures {
                let batch = match self.prefix()$($await)* {
                    Ok(prefix) => prefix.stores(self.0.store(), items, ttl.into()),
                    Err(error) => return batch::all_failed(items.into_iter().map(|(key, _)| key), &error),
                };
                self.work_off(Verb::SetMany, batch)$($await)*
            }

            /// Stores a value if there is none; whether it did.
            ///
            /// # Errors
            ///
            /// As for `set`.
            pub $($async)* fn add(
                &self,
                key: impl AsRef<str>,
                value: &(impl ToItem + ?Sized),
                ttl: impl Into<Ttl>,
            ) -> Result<bool, Error> {
                let store = self.prefix()$($await)*?.store_item(key.as_ref(), value, ttl.into());
                stored(self.ask(Verb::Add, store.request(Write::Add, Guard::None))$($await)*)
            }

            /// Stores a value if there is one already; whether it did.
            ///
            /// # Errors
            ///
            /// As for `set`.
            pub $($async)* fn replace(
                &self,
                key: impl AsRef<str>,
                value: &(impl ToItem + ?Sized),
                ttl: impl Into<Ttl>,
            ) -> Result<bool, Error> {
                let store = self.prefix()$($await)*?.store_item(key.as_ref(), value, ttl.into());
                stored(self.ask(Verb::Replace, store.request(Write::Replace, Guard::None))$($await)*)
            }

            /// Puts bytes behind a value, if there is one; whether it did.
            /// Flags and ttl stay as they are; a compressed value becomes
            /// unreadable.
            ///
            /// # Errors
            ///
            /// As for `set`.
            pub $($async)* fn append(
                &self,
                key: impl AsRef<str>,
                value: &(impl ToItem + ?Sized),
            ) -> Result<bool, Error> {
                let store = self.prefix()$($await)*?.fragment(key.as_ref(), value);
                stored(self.ask(Verb::Append, store.request(Write::Append, Guard::None))$($await)*)
            }

            /// Puts bytes in front of a value, if there is one; whether it
            /// did. Flags and ttl stay as they are; a compressed value becomes
            /// unreadable.
            ///
            /// # Errors
            ///
            /// As for `set`.
            pub $($async)* fn prepend(
                &self,
                key: impl AsRef<str>,
                value: &(impl ToItem + ?Sized),
            ) -> Result<bool, Error> {
                let store = self.prefix()$($await)*?.fragment(key.as_ref(), value);
                stored(self.ask(Verb::Prepend, store.request(Write::Prepend, Guard::None))$($await)*)
            }

            /// Stores a value if nothing has been written since its number was
            /// read by [`gets`](Self::gets).
            ///
            /// # Errors
            ///
            /// As for `set`.
            pub $($async)* fn cas(
                &self,
                key: impl AsRef<str>,
                value: &(impl ToItem + ?Sized),
                cas: u64,
                ttl: impl Into<Ttl>,
            ) -> Result<CasOutcome, Error> {
                let store = self.prefix()$($await)*?.store_item(key.as_ref(), value, ttl.into());
                let outcome = self.ask(Verb::Cas, store.request(Write::Set, Guard::Unchanged(cas)))$($await)*;
                outcome.map(|reply| match reply {
                    Reply::Done => CasOutcome::Stored,
                    Reply::Absent => CasOutcome::Missing,
                    _ => CasOutcome::Changed,
                })
            }

            /// Removes a value; whether there was one.
            ///
            /// # Errors
            ///
            /// If the key cannot be used, or the server cannot be reached or
            /// refuses.
            pub $($async)* fn delete(&self, key: impl AsRef<str>) -> Result<bool, Error> {
                let key = self.prefix()$($await)*?.key(key.as_ref());
                stored(self.ask(Verb::Delete, Request::Delete { key: &key, guard: Guard::None })$($await)*)
            }

            /// Removes several values: one round trip to each server, to all
            /// at once. Gives the keys that failed.
            #[must_use]
            pub $($async)* fn delete_many(&self, keys: impl IntoIterator<Item = impl AsRef<str>>) -> Failures {
                let batch = match self.prefix()$($await)* {
                    Ok(prefix) => prefix.deletes(self.0.store(), keys),
                    Err(error) => return batch::all_failed(keys, &error),
                };
                self.work_off(Verb::DeleteMany, batch)$($await)*
            }

            /// Adds to a number, which wraps around at 2⁶⁴; the new number, or
            /// `None` if there is nothing.
            ///
            /// # Errors
            ///
            /// As for `delete`, and if the value is no decimal number of 64
            /// bits ([`ErrorKind::NotANumber`](crate::ErrorKind::NotANumber)).
            pub $($async)* fn incr(&self, key: impl AsRef<str>, by: u64) -> Result<Option<u64>, Error> {
                let key = self.prefix()$($await)*?.key(key.as_ref());
                let request = Request::Count { key: &key, by, direction: Direction::Up };
                number(self.ask(Verb::Incr, request)$($await)*)
            }

            /// Subtracts from a number, down to zero; the new number, or
            /// `None` if there is nothing.
            ///
            /// # Errors
            ///
            /// As for `incr`.
            pub $($async)* fn decr(&self, key: impl AsRef<str>, by: u64) -> Result<Option<u64>, Error> {
                let key = self.prefix()$($await)*?.key(key.as_ref());
                let request = Request::Count { key: &key, by, direction: Direction::Down };
                number(self.ask(Verb::Decr, request)$($await)*)
            }

            /// Has a value kept for `ttl` from now on; whether there is one.
            ///
            /// # Errors
            ///
            /// As for `delete`.
            pub $($async)* fn touch(&self, key: impl AsRef<str>, ttl: impl Into<Ttl>) -> Result<bool, Error> {
                let (key, ttl) = (self.prefix()$($await)*?.key(key.as_ref()), ttl.into());
                stored(self.ask(Verb::Touch, Request::Touch { key: &key, ttl })$($await)*)
            }

            /// The counters of each server.
            pub $($async)* fn stats(&self) -> PerNode<BTreeMap<String, String>> {
                self.stats_of("")$($await)*
            }

            /// The counters of one group, such as `items`, `slabs` or
            /// `settings`.
            pub $($async)* fn stats_of(&self, group: &str) -> PerNode<BTreeMap<String, String>> {
                let group = if group.bytes().all(|byte| byte.is_ascii_graphic()) { group } else { "unknown" };
                self.ask_everyone(Verb::Stats, Request::Stats { group }, |reply| match reply {
                    Reply::Counters(counters) => counters.into_iter().collect(),
                    _ => BTreeMap::new(),
                })$($await)*
            }

            /// The version of each server.
            pub $($async)* fn version(&self) -> PerNode<String> {
                self.ask_everyone(Verb::Version, Request::Version, |reply| match reply {
                    Reply::Text(version) => version,
                    _ => String::new(),
                })$($await)*
            }

            /// Has each server forget everything, of all its users, at once or
            /// after this time in whole seconds.
            pub $($async)* fn flush_all(&self, delay: Duration) -> PerNode<()> {
                self.ask_everyone(Verb::FlushAll, Request::FlushAll { delay }, drop)$($await)*
            }

            /// Forgets everything in the namespace, for this client at once and
            /// for others within a second; other namespaces are left alone. It
            /// takes no time: values that nobody finds any more are evicted by
            /// and by.
            ///
            /// # Errors
            ///
            /// If the client was not built with
            /// [`flushable_namespace`](Builder::flushable_namespace), or the
            /// server that keeps the namespace's generation cannot be reached
            /// or refuses.
            pub $($async)* fn flush_namespace(&self) -> Result<(), Error> {
                let Some(generation) = self.0.generation() else { return Err(not_flushable()) };
                let (key, number) = (generation.key(), generation::another());
                let store = self.0.prefixed("").store_item(&key, &number, Ttl::Forever);
                self.ask(Verb::Set, store.request(Write::Set, Guard::None))$($await)*?;
                generation.learn(number);
                Ok(())
            }

            /// Has each server use this much memory.
            pub $($async)* fn cache_memlimit(&self, mebibytes: u64) -> PerNode<()> {
                self.ask_everyone(Verb::CacheMemlimit, Request::MemoryLimit { mebibytes }, drop)$($await)*
            }

            /// The servers, with whether each is up: asked, and not left alone
            /// because it has failed.
            #[must_use]
            pub fn nodes(&self) -> Vec<(String, bool)> {
                self.0.store().nodes()
            }

            /// Adds a server, written as in `MEMCACHED_SERVERS`; whether it was
            /// not there already. Its share of the keys moves to it. Caches and
            /// clients that share connections with this one know it too.
            ///
            /// # Errors
            ///
            /// If it is no server, or values are kept within the process.
            #[cfg(feature = "memcache")]
            pub fn add_node(&self, server: &str) -> Result<bool, Error> {
                self.0.store().add_node(server)
            }

            /// Removes a server; whether it was there. Its keys move to the
            /// others.
            ///
            /// # Errors
            ///
            /// As for `add_node`.
            #[cfg(feature = "memcache")]
            pub fn remove_node(&self, server: &str) -> Result<bool, Error> {
                self.0.store().remove_node(server)
            }

            /// Closes the connections that are not in use, with a word to the
            /// servers. The client can be used again, and opens new ones.
            pub fn quit(&self) {
                let exchange = Exchange::with_several(Verb::Quit, None);
                self.0.store().quit();
                exchange.end_all(None);
            }

            /// Closes the connections that are not in use. The client can be
            /// used again, and opens new ones.
            pub fn close(&self) {
                let exchange = Exchange::with_several(Verb::Close, None);
                self.0.store().close();
                exchange.end_all(None);
            }

            /// What stands in front of keys now.
            $($async)* fn prefix(&self) -> Result<Prefix<'_>, Error> {
                let Some(generation) = self.0.generation() else { return Ok(self.0.prefixed(self.0.prefix())) };
                if let Some(prefix) = generation.fresh() {
                    return Ok(self.0.prefixed(prefix));
                }
                let key = generation.key();
                let found = self.ask(Verb::Get, Request::Peek { key: &key })$($await)*;
                let number = match generation.read(found)? {
                    Some(number) => number,
                    None => {
                        let number = generation::another();
                        let store = self.0.prefixed("").store_item(&key, &number, Ttl::Forever);
                        match self.ask(Verb::Add, store.request(Write::Add, Guard::None))$($await)*? {
                            Reply::Done => number,
                            // Another client was first.
                            _ => {
                                let found = self.ask(Verb::Get, Request::Peek { key: &key })$($await)*;
                                generation.read(found)?.ok_or_else(unsettled)?
                            }
                        }
                    }
                };
                Ok(self.0.prefixed(generation.learn(number)))
            }

            $($async)* fn ask(&self, verb: Verb, request: Request<'_>) -> Outcome {
                self.0.store().$ask(verb, &request, &self.0.budget())$($await)*
            }

            $($async)* fn look_up(&self, verb: Verb, mut lookups: Lookups) -> Lookups {
                let exchange = Exchange::with_several(verb, Some(lookups.len()));
                let budget = self.0.budget();
                let keys = lookups.first();
                let replies = self.0.store().$ask_several(verb, &exchange, &keys.errands(), &budget)$($await)*;
                let doubtful = lookups.take(&keys, replies);
                if !doubtful.is_empty() {
                    let replies = self.0.store().$ask_several(verb, &exchange, &doubtful.errands(), &budget)$($await)*;
                    lookups.take(&doubtful, replies);
                }
                exchange.end_all(lookups.error());
                lookups
            }

            $($async)* fn work_off(&self, verb: Verb, batch: Batch) -> Failures {
                let exchange = Exchange::with_several(verb, Some(batch.len()));
                let replies = self.0.store().$ask_several(verb, &exchange, &batch.errands(), &self.0.budget())$($await)*;
                let failures = batch.failures(replies);
                exchange.end_all(failures.first().map(|(_, error)| error));
                failures
            }

            $($async)* fn ask_everyone<T>(
                &self,
                verb: Verb,
                request: Request<'_>,
                read: impl Fn(Reply) -> T,
            ) -> PerNode<T> {
                let exchange = Exchange::with_several(verb, None);
                let (names, errands): (Vec<_>, Vec<_>) = self.0.store().everyone(&request).into_iter().unzip();
                let replies = self.0.store().$ask_several(verb, &exchange, &errands, &self.0.budget())$($await)*;
                let error = replies.iter().flatten().find_map(|outcome| outcome.as_ref().err());
                exchange.end_all(error);
                names.into_iter().zip(replies.into_iter().flatten().map(|outcome| outcome.map(&read))).collect()
            }
        }

        impl Build for $client {
            fn from_settings(settings: Sealed) -> Result<Self, Error> {
                Backend::new(settings.0).map($client)
            }
        }

        impl fmt::Debug for $client {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($client)).field("settings", self.0.settings()).finish_non_exhaustive()
            }
        }
    };
}

client!(Client, ask, ask_several, (), ());
#[cfg(feature = "tokio")]
client!(AsyncClient, ask_async, ask_several_async, (async), (.await));

fn not_flushable() -> Error {
    let message = "the namespace cannot be flushed: build the client with `flushable_namespace`";
    Error::new(ErrorKind::Configuration, message)
}

fn unsettled() -> Error {
    Error::new(ErrorKind::Server, "the namespace's generation is gone as soon as it is stored")
}

fn value<T: FromItem>(outcome: Outcome) -> Result<Option<T>, Error> {
    found(outcome)?.map(|item| T::from_item(item.into())).transpose()
}

fn versioned<T: FromItem>(outcome: Outcome) -> Result<Option<Versioned<T>>, Error> {
    found(outcome)?.map(versioned_item).transpose()
}

fn versioned_item<T: FromItem>(item: Item) -> Result<Versioned<T>, Error> {
    let cas = item.cas;
    T::from_item(item.into()).map(|value| Versioned { value, cas })
}

fn stored(outcome: Outcome) -> Result<bool, Error> {
    outcome.map(|reply| reply == Reply::Done)
}

fn number(outcome: Outcome) -> Result<Option<u64>, Error> {
    match outcome? {
        Reply::Number(number) => Ok(Some(number)),
        _ => Ok(None),
    }
}

impl<T> Many<T> {
    fn all_failed(keys: impl IntoIterator<Item = impl AsRef<str>>, error: &Error) -> Self {
        Many { values: HashMap::new(), failed: batch::all_failed(keys, error) }
    }
}
