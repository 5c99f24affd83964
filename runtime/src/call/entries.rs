//! Companion handles of several cache entries, which are asked about at once.
//!
//! What is done with each is decided in `entry`.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

#[cfg(feature = "tokio")]
use crate::call::entry::{AsyncEntry, AsyncHandle};
use crate::call::entry::{Entry, First, Handle, Second, Third, Whereabouts};
use crate::call::machine::Machine;
use crate::call::machine::groups::KnownStamps;
use crate::call::sibling::Sibling;
use crate::call::targets::sealed::Sealed;
use crate::call::targets::{Invalidate, Targets};
use crate::error::Error;
use crate::exchange::{Guard, Item, Outcome, Reply, Request, Token, Verb, found};
use crate::store::Store;
use crate::value::envelope::Refusal;
use crate::value::mark;
use crate::value::record::Found;
use crate::writing::Update;

/// The cache entries of several calls, with one exchange per node.
///
/// They are collected from the companions that the attribute's argument `entry`
/// makes. Results are in the order of the entries; a node that fails fails its own
/// entries only.
///
/// ```
/// use memocached::{Entries, memcached};
///
/// #[memcached(key = "cube:<n>", ttl = 60, entry = cube_entry)]
/// fn cube(n: u64) -> u64 {
///     n * n * n
/// }
///
/// cube(2);
/// let entries: Entries<u64> = [1, 2].into_iter().map(cube_entry).collect();
/// let values: Result<Vec<_>, _> = entries.get_many().into_iter().collect();
/// assert_eq!(values.unwrap(), [None, Some(8)]);
/// assert!(entries.put_many(&[1, 8]).iter().all(Result::is_ok));
/// assert!(entries.delete_many().into_iter().all(|was_there| was_there.unwrap()));
/// ```
pub struct Entries<R, S: Stages = First>(S::Entries<R>);

/// The cache entries of several calls of an async function.
///
/// They have the verbs of [`Entries`], which are async here.
#[cfg(feature = "tokio")]
pub struct AsyncEntries<R, S: Stages = First>(S::AsyncEntries<R>);

/// Where `get_many` and `put_many` are looked for: one stage of three.
pub trait Stages {
    /// What entries of this step hold: those of the next, or the handles.
    type Entries<R>;
    /// The same for async entries.
    #[cfg(feature = "tokio")]
    type AsyncEntries<R>;

    /// Returns the innermost handles.
    #[doc(hidden)]
    fn handles<R>(entries: &Self::Entries<R>) -> &Handles;
    /// Returns the innermost handles.
    #[cfg(feature = "tokio")]
    #[doc(hidden)]
    fn async_handles<R>(entries: &Self::AsyncEntries<R>) -> &AsyncHandles;
}

macro_rules! stages {
    ($stage:ty, $entries:ty, $async_entries:ty, |$below:ident| $handles:expr) => {
        impl Stages for $stage {
            type Entries<R> = $entries;
            #[cfg(feature = "tokio")]
            type AsyncEntries<R> = $async_entries;

            fn handles<R>($below: &Self::Entries<R>) -> &Handles {
                $handles
            }

            #[cfg(feature = "tokio")]
            fn async_handles<R>($below: &Self::AsyncEntries<R>) -> &AsyncHandles {
                $handles
            }
        }
    };
}

stages!(First, Entries<R, Second>, AsyncEntries<R, Second>, |below| below.handles());
stages!(Second, Entries<R, Third>, AsyncEntries<R, Third>, |below| below.handles());
stages!(Third, Handles, AsyncHandles, |below| below);

/// A result for each entry, in their order.
type PerEntry<T> = Vec<Result<T, Error>>;

/// What is asked for some of the entries, by their indexes.
type Requests<'a> = Vec<(usize, Result<Request<'a>, Error>)>;

/// A handle with the verbs of all entries, which wait for the store.
macro_rules! handles {
    ($handles:ident, $handle:ident, $ask_each:ident, ($($async:tt)*), ($($await:tt)*)) => {
        #[doc(hidden)]
        pub struct $handles(Vec<Arc<Whereabouts>>);

        impl $handles {
            $($async)* fn get_many<V: 'static>(&self) -> PerEntry<Option<V>> {
                if self.are_grouped() {
                    let mut all = Vec::with_capacity(self.0.len());
                    for entry in &self.0 {
                        all.push($handle(Arc::clone(entry)).get()$($await)*);
                    }
                    return all;
                }
                let mut found: Vec<Result<Option<(Item, Found<V>)>, Error>> = Vec::new();
                let mut siblings = Vec::new();
                for (index, item) in self.look(self.all(|entry| entry.peek()))$($await)* {
                    found.push(item.and_then(|item| {
                        let entry = &self.0[index];
                        let Some(item) = item else { return Ok(None) };
                        match entry.form::<V>()?.unpack(&item.value, item.flags) {
                            Ok(found) => return Ok(Some((item, found))),
                            Err(Refusal::OtherVersion { mark }) => {
                                siblings.push((index, Sibling::of(entry.key()?, mark, &item)));
                            }
                            Err(_) => {}
                        }
                        Ok(None)
                    }));
                }
                let peek = |(index, sibling): &'_ (usize, Sibling)| (*index, sibling.key().to_owned());
                let keys: Vec<_> = siblings.iter().map(peek).collect();
                let asked = keys.iter().map(|(index, key)| (*index, Ok(Request::Peek { key }))).collect();
                let items = self.look(asked)$($await)*;
                for ((index, item), (_, sibling)) in items.into_iter().zip(&siblings) {
                    found[index] = item.and_then(|item| {
                        let Some(Ok(item)) = item.map(|item| sibling.released(item)) else { return Ok(None) };
                        let value = self.0[index].form::<V>()?.unpack(&item.value, item.flags).ok();
                        Ok(value.map(|found| (item, found)))
                    });
                }
                let fresh = |(entry, found): (&Arc<Whereabouts>, Result<Option<(Item, Found<V>)>, Error>)| match found? {
                    Some((item, found)) if entry.is_fresh(&item, &found)? => Ok(Some(found.value)),
                    _ => Ok(None),
                };
                self.0.iter().zip(found).map(fresh).collect()
            }

            $($async)* fn put_many<'v, V: 'static>(&self, values: impl IntoIterator<Item = &'v V>) -> PerEntry<()> {
                if self.are_grouped() {
                    let mut all = Vec::with_capacity(self.0.len());
                    for (entry, value) in self.0.iter().zip(values) {
                        all.push($handle(Arc::clone(entry)).put(value)$($await)*);
                    }
                    return all;
                }
                let pack = |(entry, value): (&Arc<Whereabouts>, &V)| entry.pack(value, KnownStamps::Nothing);
                let updates: Vec<Result<Update, Error>> = self.0.iter().zip(values).map(pack).collect();
                let entries = self.0.iter().zip(&updates);
                let store = entries.map(|(entry, update)| entry.store(update.as_ref().map_err(Error::alike)?));
                let asked = store.enumerate().collect();
                let stored = self.change(Verb::SetMany, asked)$($await)*;
                stored.into_iter().map(|(_, outcome)| outcome.map(drop)).collect()
            }

            $($async)* fn delete_many(&self) -> PerEntry<bool> {
                let deleted = self.change(Verb::DeleteMany, self.all(|entry| entry.delete()))$($await)*;
                deleted.into_iter().map(|(_, outcome)| Ok(outcome? == Reply::Done)).collect()
            }

            $($async)* fn invalidate_many(&self) -> PerEntry<bool> {
                let items: Vec<_> = if self.0.iter().any(|entry| entry.has_grace().unwrap_or(false)) {
                    // Any right to compute that this wins is given back by the invalidation.
                    self.items(self.all(|entry| entry.peek()))$($await)*
                } else {
                    self.all(|_| Ok(())).into_iter().map(|(index, _)| (index, Ok(None))).collect()
                };
                let invalidate = |(index, item): &'_ (usize, Result<Option<Item>, Error>)| {
                    let item = item.as_ref().map_err(Error::alike);
                    (*index, item.and_then(|item| self.0[*index].invalidation(item.as_ref())))
                };
                let asked = items.iter().map(invalidate).collect();
                let mut invalidated = self.ask(Verb::DeleteMany, asked)$($await)*;
                let (changed, delete): (Vec<_>, Vec<_>) = invalidated
                    .iter()
                    .filter(|(_, outcome)| matches!(outcome, Ok(Reply::Changed)))
                    .map(|(index, _)| (*index, (*index, self.0[*index].delete())))
                    .unzip();
                let deleted = self.change(Verb::DeleteMany, delete)$($await)*;
                for (index, (_, outcome)) in changed.into_iter().zip(deleted) {
                    invalidated[index].1 = outcome;
                }
                invalidated.into_iter().map(|(_, outcome)| Ok(outcome? == Reply::Done)).collect()
            }

            /// Whether a value is in groups, whose stamps are asked for with each.
            fn are_grouped(&self) -> bool {
                self.0.iter().any(|entry| entry.machine().is_ok_and(Machine::is_grouped))
            }

            fn all<'a, T>(
                &'a self,
                ask: impl Fn(&'a Whereabouts) -> Result<T, Error>,
            ) -> Vec<(usize, Result<T, Error>)> {
                self.0.iter().enumerate().map(|(index, entry)| (index, ask(entry))).collect()
            }

            /// Changes entries, and makes this process notice.
            $($async)* fn change(&self, verb: Verb, asked: Requests<'_>) -> Vec<(usize, Outcome)> {
                let outcomes = self.ask(verb, asked)$($await)*;
                self.0.iter().for_each(|entry| entry.forget());
                outcomes
            }

            /// Looks at the items, and wins none of them.
            $($async)* fn look(&self, asked: Requests<'_>) -> Vec<(usize, Result<Option<Item>, Error>)> {
                let keys: Vec<_> = asked.iter().map(|(_, asked)| Some(asked.as_ref().ok()?.key()?.to_owned())).collect();
                let items = self.items(asked)$($await)*;
                let won = items.iter().zip(&keys).filter_map(|((index, item), key)| {
                    let item = item.as_ref().ok()?.as_ref().filter(|item| item.token == Token::Won)?;
                    let guard = Guard::Held(item.cas);
                    Some((*index, Ok(Request::Invalidate { key: key.as_ref()?, guard, ttl: None })))
                });
                self.ask(Verb::DeleteMany, won.collect())$($await)*;
                items
            }

            /// Reads the items.
            $($async)* fn items(&self, asked: Requests<'_>) -> Vec<(usize, Result<Option<Item>, Error>)> {
                let value = |outcome| found(outcome).map(|item| item.filter(|item| !mark::is_mark(item)));
                let outcomes = self.ask(Verb::GetMany, asked)$($await)*;
                outcomes.into_iter().map(|(index, outcome)| (index, value(outcome))).collect()
            }

            /// Asks, with one exchange per node of each cache.
            $($async)* fn ask(&self, verb: Verb, asked: Requests<'_>) -> Vec<(usize, Outcome)> {
                let mut outcomes = Vec::with_capacity(asked.len());
                let mut requests = Vec::new();
                for (index, asked) in asked {
                    match asked {
                        Ok(request) => requests.push((index, request)),
                        Err(error) => outcomes.push((index, Err(error))),
                    }
                }
                while let Some((index, _)) = requests.first() {
                    let Ok(machine) = self.0[*index].machine() else { break };
                    let cache = machine.cache.clone();
                    let is_there = |index: usize| self.is_at(index, cache.store());
                    let (here, elsewhere): (Vec<_>, Vec<_>) =
                        requests.into_iter().partition(|(index, _)| is_there(*index));
                    requests = elsewhere;
                    let (indexes, asked): (Vec<_>, Vec<_>) = here.into_iter().unzip();
                    let budget = cache.budget();
                    let replies = cache.store().$ask_each(verb, &asked, &budget)$($await)*;
                    outcomes.extend(indexes.into_iter().zip(replies));
                }
                outcomes.sort_by_key(|(index, _)| *index);
                outcomes
            }

            fn is_at(&self, index: usize, store: &Arc<Store>) -> bool {
                self.0[index].machine().is_ok_and(|machine| Arc::ptr_eq(machine.cache.store(), store))
            }
        }
    };
}

handles!(Handles, Handle, ask_each, (), ());
#[cfg(feature = "tokio")]
handles!(AsyncHandles, AsyncHandle, ask_each_async, (async), (.await));

impl Whereabouts {
    fn peek(&self) -> Result<Request<'_>, Error> {
        Ok(Request::Peek { key: self.key()? })
    }
}

/// The verbs that deal in values.
macro_rules! values {
    ($value:ty, ($($async:tt)*), ($($await:tt)*)) => {
        /// Returns each cached value, if there is one that is fresh. Never computes.
        ///
        /// # Errors
        ///
        /// For each entry, the same as for [`Entry::info`](crate::Entry::info).
        pub $($async)* fn get_many(&self) -> Vec<Result<Option<$value>, Error>> {
            self.handles().get_many()$($await)*
        }

        /// Stores a value for each entry, as if the function had returned it.
        ///
        /// # Errors
        ///
        /// For each entry, if its value is kept out, cannot be encoded or is too large, and
        /// the same as for `get_many`.
        pub $($async)* fn put_many<'v>(
            &self,
            values: impl IntoIterator<Item = &'v $value>,
        ) -> Vec<Result<(), Error>> {
            self.handles().put_many(values)$($await)*
        }
    };
}

macro_rules! entries {
    ($entries:ident, $handles:ident, $entry:ident, $get_handles:ident, ($($async:tt)*), ($($await:tt)*)) => {
        impl<R> FromIterator<$entry<R>> for $entries<R> {
            fn from_iter<E: IntoIterator<Item = $entry<R>>>(entries: E) -> Self {
                let handle = |entry: $entry<R>| Arc::clone(&entry.handle().0);
                $entries($entries($entries($handles(entries.into_iter().map(handle).collect()))))
            }
        }

        impl<R> $entries<R> {
            /// Removes the values. Returns for each whether there was anything.
            ///
            /// # Errors
            ///
            /// For each entry, the same as for `get_many`.
            pub $($async)* fn delete_many(&self) -> Vec<Result<bool, Error>> {
                self.handles().delete_many()$($await)*
            }

            /// Makes the next calls compute anew, as
            /// [`Entry::invalidate`](crate::Entry::invalidate) does.
            ///
            /// # Errors
            ///
            /// For each entry, the same as for `get_many`.
            pub $($async)* fn invalidate_many(&self) -> Vec<Result<bool, Error>> {
                self.handles().invalidate_many()$($await)*
            }
        }

        /// For functions that return `Result<Option<V>, E>`.
        impl<V: 'static, E> $entries<Result<Option<V>, E>> {
            values!(V, ($($async)*), ($($await)*));
        }

        /// For functions that return `Result<V, E>`.
        impl<V: 'static, E> $entries<Result<V, E>, Second> {
            values!(V, ($($async)*), ($($await)*));
        }

        /// For functions that return `Option<V>`.
        impl<V: 'static> $entries<Option<V>, Second> {
            values!(V, ($($async)*), ($($await)*));
        }

        /// For functions that return anything else.
        impl<R: 'static> $entries<R, Third> {
            values!(R, ($($async)*), ($($await)*));
        }

        impl<R, S: Stages> $entries<R, S> {
            pub(super) fn handles(&self) -> &$handles {
                S::$get_handles(&self.0)
            }
        }

        impl<R> Deref for $entries<R> {
            type Target = $entries<R, Second>;

            fn deref(&self) -> &$entries<R, Second> {
                &self.0
            }
        }

        impl<R> Deref for $entries<R, Second> {
            type Target = $entries<R, Third>;

            fn deref(&self) -> &$entries<R, Third> {
                &self.0
            }
        }

        impl<R> Sealed for $entries<R> {}

        impl<R> Invalidate for $entries<R> {
            fn add_to(&self, targets: &mut Targets) {
                self.handles().0.iter().for_each(|entry| entry.add_to(targets));
            }
        }

        /// A clone has other handles of the same entries.
        impl<R> Clone for $entries<R> {
            fn clone(&self) -> Self {
                $entries($entries($entries($handles(self.handles().0.clone()))))
            }
        }

        impl<R> fmt::Debug for $entries<R> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($entries)).field("len", &self.handles().0.len()).finish()
            }
        }
    };
}

entries!(Entries, Handles, Entry, handles, (), ());
#[cfg(feature = "tokio")]
entries!(AsyncEntries, AsyncHandles, AsyncEntry, async_handles, (async), (.await));
