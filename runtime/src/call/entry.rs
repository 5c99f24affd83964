//! The companion handle of one call's cache entry.
//!
//! What an entry holds is the stored value's type: `T` for a function that
//! returns `Result<Option<T>, E>`. No trait can name that type from the return
//! type on stable Rust, so `get` and `put` are there once for each shape. An
//! entry is looked through for them in three steps, which `Deref` leads
//! through, and method lookup takes the first that fits.

use std::any::{Any, type_name};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::call::Ready;
use crate::call::freshness::{Age, Grace, OwnTimes};
use crate::call::machine::Machine;
use crate::call::machine::groups::{Answered, KnownStamps};
use crate::call::machine::stamped::{self, Inquiry, StampsSource};
use crate::call::policy::Policy;
use crate::call::shape::Shape;
use crate::call::sibling::Sibling;
use crate::call::site::Site;
use crate::call::targets::sealed::Sealed;
use crate::call::targets::{Invalidate, Replaces, Targets, Updatable};
#[cfg(feature = "tokio")]
use crate::call::writing::AsyncWriting;
use crate::call::writing::Writing;
use crate::error::{Error, ErrorKind};
use crate::exchange::{Guard, Item, Outcome, Reply, Request, Token, Ttl, found};
use crate::value::envelope::Refusal;
use crate::value::mark;
use crate::value::record::{Form, Found};
use crate::value::stamp::Stamps;
use crate::writing::Update;

/// The cache entry of one call, without making the call.
///
/// The attribute's argument `entry = name` makes a function that takes the
/// parameters of the key and returns this. `R` is the memoized function's
/// return type; `get` and `put` deal in what is stored of it: `T` for `T`,
/// `Option<T>`, `Result<T, E>` and `Result<Option<T>, E>`. That type must be
/// `'static`.
///
/// The second parameter only tells where `get` and `put` are looked for. Leave
/// it out: an entry is an `Entry<R>` whatever its codec.
///
/// ```
/// use memocached::{Entry, memcached};
///
/// #[memcached(key = "square:<n>", ttl = 60, entry = square_entry)]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// # fn main() -> Result<(), memocached::Error> {
/// let entry: Entry<u64> = square_entry(12);
/// assert_eq!(entry.key(), "square:12");
/// assert_eq!(entry.get()?, None); // it never computes
/// square(12);
/// assert_eq!(entry.get()?, Some(144));
///
/// entry.put(&145)?; // as if the function had returned it
/// assert_eq!(square(12), 145);
/// let info = entry.info()?.expect("just stored");
/// assert!(!info.is_stale);
///
/// assert!(entry.delete()?); // there was something
/// assert_eq!(square(12), 144);
/// # Ok(())
/// # }
/// ```
pub struct Entry<R, S: Stage = First>(S::Entry<R>);

/// The cache entry of one call of an async function, without making the call.
///
/// It has the verbs of an [`Entry`], which are async here.
///
/// ```
/// use memocached::{AsyncEntry, memcached};
///
/// #[memcached(key = "name:<id>", ttl = 60, entry = name_entry)]
/// async fn name(id: u64) -> Option<String> {
///     Some(format!("user {id}"))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), memocached::Error> {
/// let entry: AsyncEntry<Option<String>> = name_entry(7);
/// assert_eq!(entry.get().await?, None);
/// name(7).await;
/// assert_eq!(entry.get().await?.as_deref(), Some("user 7"));
/// entry.put(&"Ann".to_owned()).await?;
/// assert_eq!(name(7).await.as_deref(), Some("Ann"));
/// entry.delete().await?;
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "tokio")]
pub struct AsyncEntry<R, S: Stage = First>(S::AsyncEntry<R>);

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

/// Where `get` and `put` are looked for: one stage of three.
pub trait Stage {
    /// What an entry of this step holds: that of the next, or the handle.
    type Entry<R>;
    /// The same for an async entry.
    #[cfg(feature = "tokio")]
    type AsyncEntry<R>;

    /// Returns the innermost handle.
    #[doc(hidden)]
    fn handle<R>(entry: &Self::Entry<R>) -> &Handle;
    /// Returns the innermost handle.
    #[cfg(feature = "tokio")]
    #[doc(hidden)]
    fn async_handle<R>(entry: &Self::AsyncEntry<R>) -> &AsyncHandle;
}

/// For `Result<Option<_>, _>`.
#[derive(Debug)]
pub enum First {}

/// For other `Result`s, and `Option`s.
#[derive(Debug)]
pub enum Second {}

/// For everything else.
#[derive(Debug)]
pub enum Third {}

macro_rules! stage {
    ($stage:ty, $entry:ty, $async_entry:ty, |$below:ident| $handle:expr) => {
        impl Stage for $stage {
            type Entry<R> = $entry;
            #[cfg(feature = "tokio")]
            type AsyncEntry<R> = $async_entry;

            fn handle<R>($below: &Self::Entry<R>) -> &Handle {
                $handle
            }

            #[cfg(feature = "tokio")]
            fn async_handle<R>($below: &Self::AsyncEntry<R>) -> &AsyncHandle {
                $handle
            }
        }
    };
}

stage!(First, Entry<R, Second>, AsyncEntry<R, Second>, |below| below.handle());
stage!(Second, Entry<R, Third>, AsyncEntry<R, Third>, |below| below.handle());
stage!(Third, Handle, AsyncHandle, |below| below);

/// Where an entry is, and how its values are stored.
pub(super) struct Whereabouts {
    site: &'static Site,
    /// Absent where nothing is cached.
    stored: Option<Stored>,
}

struct Stored {
    machine: Machine,
    kind: Box<dyn AnyStorage>,
}

/// How values are stored, and for how long.
pub(super) struct Storage<V> {
    form: Form<V>,
    own: OwnTimesOf<V>,
}

/// Tells how long a value is kept, as far as it says so itself; `None` for one that is not
/// wanted.
type OwnTimesOf<V> = Box<dyn Fn(&V) -> Option<OwnTimes> + Send + Sync>;

/// The same without the type of the values.
trait AnyStorage: Send + Sync {
    /// Returns what is known of a stored value beside the value, if it is of this form.
    fn read(&self, bytes: &[u8], flags: u32) -> Result<Found<()>, Refusal>;
    /// This, to be asked for its type.
    fn any(&self) -> &dyn Any;
}

impl<V: 'static> AnyStorage for Storage<V> {
    fn read(&self, bytes: &[u8], flags: u32) -> Result<Found<()>, Refusal> {
        let Found { times, tag, .. } = self.form.unpack(bytes, flags)?;
        Ok(Found { value: (), times, tag })
    }

    fn any(&self) -> &dyn Any {
        self
    }
}

impl Whereabouts {
    fn new<S: Shape, I>(ready: Ready<S, I>) -> Self
    where
        S::Value: 'static,
        I: Policy<S> + Send + Sync + 'static,
    {
        let site = ready.site;
        let stored = ready.settled().map(|(form, policy, machine)| {
            let own = Box::new(move |value: &S::Value| policy.allows(value).then(|| policy.times(value)));
            Stored { machine, kind: Box::new(Storage { form, own }) }
        });
        Whereabouts { site, stored }
    }

    fn stored(&self) -> Result<&Stored, Error> {
        self.stored.as_ref().ok_or_else(|| {
            let message = format!("{} is not cached: there is no usable cache, or no key", self.site.name());
            Error::new(ErrorKind::Configuration, message)
        })
    }

    pub(super) fn machine(&self) -> Result<&Machine, Error> {
        self.stored().map(|stored| &stored.machine)
    }

    /// Returns the form of the stored values. A function that is generic over its return type
    /// stores all of it, even an `Option` or a `Result`.
    pub(super) fn form<V: 'static>(&self) -> Result<&Form<V>, Error> {
        self.kept().map(|kept| &kept.form)
    }

    fn kept<V: 'static>(&self) -> Result<&Storage<V>, Error> {
        self.stored()?.kind.any().downcast_ref().ok_or_else(|| {
            let message = format!("{} does not store values of type {}", self.site.name(), type_name::<V>());
            Error::new(ErrorKind::Configuration, message)
        })
    }

    pub(super) fn key(&self) -> Result<&str, Error> {
        Ok(self.machine()?.key.wire())
    }

    /// Returns the machine of an entry that stores something.
    fn storing(&self) -> Result<&Machine, Error> {
        let machine = self.machine()?;
        if machine.freshness.ttl == Ttl::For(Duration::ZERO) {
            return Err(Error::new(ErrorKind::Configuration, "the ttl is zero, so nothing is stored"));
        }
        Ok(machine)
    }

    /// Packs a value that no call has computed. Its groups had these stamps before it was
    /// made.
    pub(super) fn pack<V: 'static>(&self, value: &V, known: KnownStamps) -> Result<Update, Error> {
        let (machine, kept) = (self.storing()?, self.kept::<V>()?);
        let Some(own) = (kept.own)(value) else {
            return Err(Error::new(ErrorKind::Rejected, "`store_if` does not want the value to be kept"));
        };
        if own.ttl == Some(Ttl::For(Duration::ZERO)) {
            return Err(Error::new(ErrorKind::Rejected, "the value's own ttl says that it is not to be kept"));
        }
        let keeping = machine.put_for(own);
        let times = keeping.times(0, stamps(machine, known)?);
        Ok(Update { record: kept.form.pack(value, times, b"")?, ttl: keeping.item })
    }

    pub(super) fn store<'a>(&'a self, update: &'a Update) -> Result<Request<'a>, Error> {
        Ok(self.machine()?.putting(&update.record, update.ttl))
    }

    pub(super) fn delete(&self) -> Result<Request<'_>, Error> {
        Ok(Request::Delete { key: self.key()?, guard: Guard::None })
    }

    /// Whether values are served behind their time.
    pub(super) fn has_grace(&self) -> Result<bool, Error> {
        Ok(self.machine()?.freshness.grace != Grace::NONE)
    }

    /// Marks this item as stale. It is served no longer than grace from now on,
    /// nor than it would have been: one that is about to end keeps its time, however
    /// late the request arrives. Without an item, a call that computes one may not
    /// store it. What has taken the item's place meanwhile is to be deleted.
    pub(super) fn invalidation(&self, item: Option<&Item>) -> Result<Request<'_>, Error> {
        let Stored { machine: Machine { key, freshness, .. }, kind } = self.stored()?;
        let grace = |item: &Item| match freshness.grace {
            Grace::For(grace) => grace,
            Grace::OfValue => {
                let found = kind.read(&item.value, item.flags).ok();
                freshness.grace.of(found.and_then(|found| found.times).map(|times| times.grace))
            }
        };
        let item = item.map(|item| (item, grace(item))).filter(|(_, grace)| !grace.is_zero());
        let Some((item, grace)) = item else { return self.delete() };
        let is_ending = item.seconds_left.is_some_and(|left| Duration::from_secs(left) <= grace);
        let ttl = (!is_ending).then_some(grace);
        Ok(Request::Invalidate { key: key.wire(), guard: Guard::Held(item.cas), ttl })
    }

    /// Whether a call would use the item as it is.
    pub(super) fn is_fresh<V>(&self, item: &Item, found: &Found<V>) -> Result<bool, Error> {
        let grace = found.times.map(|times| times.grace);
        Ok(matches!(self.machine()?.freshness.age(item, grace), Age::Fresh(_)))
    }

    fn info(&self, item: &Item, found: &Found<()>) -> Result<EntryInfo, Error> {
        Ok(EntryInfo {
            time_left: item.seconds_left.map(Duration::from_secs),
            is_stale: !self.is_fresh(item, found)?,
            size: item.value.len(),
            cost: Duration::from_nanos(found.cost()),
        })
    }

    /// Adds the entry to the targets of a writer. Where nothing is cached, nothing is old.
    pub(super) fn add_to(&self, targets: &mut Targets) {
        if let Ok(Machine { cache, key, .. }) = self.machine() {
            targets.add(cache, key.wire());
        }
    }

    /// Makes this process notice what has been changed.
    pub(super) fn forget(&self) {
        if let Some(Stored { machine, .. }) = &self.stored {
            machine.forget();
        }
    }
}

/// Returns the stamps that a value gets, if it is in groups.
fn stamps(machine: &Machine, known: KnownStamps) -> Result<Option<Stamps>, Error> {
    match known.stamps() {
        None if machine.is_grouped() => {
            let message = "a writer is at work on a group of the value, so it cannot be put now";
            Err(Error::new(ErrorKind::Rejected, message))
        }
        stamps => Ok(stamps),
    }
}

/// A handle with the verbs of every entry, which wait for the store.
macro_rules! handle {
    ($handle:ident, $ask:ident, $ask_one:ident, ($($async:tt)*), ($($await:tt)*)) => {
        #[doc(hidden)]
        #[derive(Clone)]
        pub struct $handle(pub(super) Arc<Whereabouts>);

        impl $handle {
            pub(super) $($async)* fn get<V: 'static>(&self) -> Result<Option<V>, Error> {
                let form = self.0.form::<V>()?;
                match self.find(&|bytes, flags| form.unpack(bytes, flags))$($await)*? {
                    Some((item, found)) if self.0.is_fresh(&item, &found)? => Ok(Some(found.value)),
                    _ => Ok(None),
                }
            }

            pub(super) $($async)* fn put<V: 'static>(&self, value: &V) -> Result<(), Error> {
                let mut stamps = KnownStamps::Nothing;
                if self.0.machine()?.is_grouped() {
                    let Answered { outcome, known } = self.inquire(self.0.key()?)$($await)*;
                    outcome?;
                    stamps = known;
                }
                let update = self.0.pack(value, stamps)?;
                let outcome = self.ask(self.0.store(&update)?)$($await)*;
                self.0.forget();
                outcome.map(drop)
            }

            $($async)* fn info(&self) -> Result<Option<EntryInfo>, Error> {
                let form = &self.0.stored()?.kind;
                let found = self.find(&|bytes, flags| form.read(bytes, flags))$($await)*?;
                found.map(|(item, found)| self.0.info(&item, &found)).transpose()
            }

            $($async)* fn delete(&self) -> Result<bool, Error> {
                let outcome = self.ask(self.0.delete()?)$($await)*;
                self.0.forget();
                Ok(outcome? == Reply::Done)
            }

            $($async)* fn invalidate(&self) -> Result<bool, Error> {
                if !self.0.has_grace()? {
                    return self.delete()$($await)*;
                }
                // If that takes the right to compute the value, the invalidation gives it back.
                let item = self.peek(self.0.key()?)$($await)*?.map(|(item, _)| item);
                let mut outcome = self.ask(self.0.invalidation(item.as_ref())?)$($await)*;
                if let Ok(Reply::Changed) = outcome {
                    outcome = self.ask(self.0.delete()?)$($await)*;
                }
                self.0.forget();
                Ok(outcome? == Reply::Done)
            }

            /// Returns this version's value and its item, which may be a sibling.
            $($async)* fn find<V>(
                &self,
                read: &(impl Fn(&[u8], u32) -> Result<Found<V>, Refusal> + Sync),
            ) -> Result<Option<(Item, Found<V>)>, Error> {
                let key = self.0.key()?;
                let Some((item, known)) = self.look(key)$($await)*? else { return Ok(None) };
                let sibling = match read(&item.value, item.flags) {
                    Ok(found) => return Ok(known.are_of(&found).then_some((item, found))),
                    Err(Refusal::OtherVersion { mark }) => Sibling::of(key, mark, &item),
                    Err(_) => return Ok(None),
                };
                let Some((item, known)) = self.look(sibling.key())$($await)*? else { return Ok(None) };
                let Ok(item) = sibling.released(item) else { return Ok(None) };
                let found = read(&item.value, item.flags).ok().filter(|found| known.are_of(found));
                Ok(found.map(|found| (item, found)))
            }

            /// Reads an item, and the stamps of the value's groups on its node.
            $($async)* fn inquire(&self, key: &str) -> Answered {
                let machine = match self.0.machine() {
                    Ok(machine) => machine,
                    Err(error) => return Err(error).into(),
                };
                let (cache, asked) = (&machine.cache, Inquiry::peek(machine, key));
                stamped::$ask_one(cache.store(), &asked, &cache.budget())$($await)*
            }

            $($async)* fn look(&self, key: &str) -> Result<Option<(Item, KnownStamps)>, Error> {
                let found = self.peek(key)$($await)*?;
                if let Some((item, _)) = &found
                    && item.token == Token::Won
                {
                    // Reading the value has taken the right to compute it,
                    // which is given back.
                    let guard = Guard::Held(item.cas);
                    let _ = self.ask(Request::Invalidate { key, guard, ttl: None })$($await)*;
                }
                Ok(found)
            }

            $($async)* fn peek(&self, key: &str) -> Result<Option<(Item, KnownStamps)>, Error> {
                let Answered { outcome, known } = match self.0.machine()?.is_grouped() {
                    true => self.inquire(key)$($await)*,
                    false => self.ask(Request::Peek { key })$($await)*.into(),
                };
                let item = found(outcome)?.filter(|item| !mark::is_mark(item));
                Ok(item.map(|item| (item, known)))
            }

            $($async)* fn ask(&self, request: Request<'_>) -> Outcome {
                let cache = &self.0.machine()?.cache;
                cache.store().$ask(request.verb(), &request, &cache.budget())$($await)*
            }
        }
    };
}

handle!(Handle, ask, ask_one, (), ());
#[cfg(feature = "tokio")]
handle!(AsyncHandle, ask_async, ask_one_async, (async), (.await));

/// The verbs that deal in values.
macro_rules! values {
    ($value:ty, ($($async:tt)*), ($($await:tt)*)) => {
        /// Returns the cached value, if there is one that is fresh. Never computes. What
        /// `cache_none` and `cache_err` store is no value.
        ///
        /// # Errors
        ///
        /// If the server cannot be reached or refuses, or nothing is cached.
        pub $($async)* fn get(&self) -> Result<Option<$value>, Error> {
            self.handle().get()$($await)*
        }

        /// Stores a value as if the function had returned it.
        ///
        /// # Errors
        ///
        /// If `store_if` or the value's own ttl keeps it out, it cannot be encoded or is too
        /// large, the server cannot be reached or refuses, or nothing is cached.
        pub $($async)* fn put(&self, value: &$value) -> Result<(), Error> {
            self.handle().put(value)$($await)*
        }

        /// Packs the value that a writer puts in place of the old one.
        #[doc(hidden)]
        pub fn updating(&self, value: &impl Replaces<$value>, known: KnownStamps) -> Result<Update, Error> {
            self.handle().0.pack(value.replacement(), known)
        }
    };
}

macro_rules! entry {
    ($entry:ident, $handle:ident, $writing:ident, $get_handle:ident, ($($async:tt)*), ($($await:tt)*)) => {
        impl<R> $entry<R> {
            #[doc(hidden)]
            #[must_use]
            pub fn of<S: Shape<Return = R>, I>(ready: Ready<S, I>) -> Self
            where
                S::Value: 'static,
                I: Policy<S> + Send + Sync + 'static,
            {
                Self::at($handle(Arc::new(Whereabouts::new(ready))))
            }

            fn at(handle: $handle) -> Self {
                $entry($entry($entry(handle)))
            }

            /// Returns the call's key without the namespace. It is empty if
            /// nothing is cached.
            #[must_use]
            pub fn key(&self) -> &str {
                self.handle().0.stored.as_ref().map_or("", |stored| stored.machine.key.text())
            }

            /// Returns the key that the store is asked for: with the namespace, and
            /// shortened if it is longer than 250 bytes. It is empty if nothing is
            /// cached.
            #[must_use]
            pub fn stored_key(&self) -> &str {
                self.handle().0.stored.as_ref().map_or("", |stored| stored.machine.key.wire())
            }

            /// Returns where the stamps are for a value that a writer puts in place of the old one.
            #[doc(hidden)]
            #[must_use]
            pub fn updating_stamps(&self) -> Option<StampsSource> {
                self.handle().0.machine().ok().and_then(StampsSource::of)
            }

            /// Returns what is known of the value, if there is one. What `cache_none` and
            /// `cache_err` store is no value.
            ///
            /// # Errors
            ///
            /// If the server cannot be reached or refuses, or nothing is
            /// cached.
            pub $($async)* fn info(&self) -> Result<Option<EntryInfo>, Error> {
                self.handle().info()$($await)*
            }

            /// Removes the value. Returns whether there was anything. A call that
            /// is computing the value now does not store it.
            ///
            /// # Errors
            ///
            /// If the server cannot be reached or refuses, or nothing is
            /// cached.
            pub $($async)* fn delete(&self) -> Result<bool, Error> {
                self.handle().delete()$($await)*
            }

            /// Makes the next call compute anew. Returns whether there was
            /// anything. If the function has `grace`, other calls are served the
            /// old value meanwhile. Otherwise this is [`delete`](Self::delete).
            ///
            /// # Errors
            ///
            /// The same as for `delete`.
            pub $($async)* fn invalidate(&self) -> Result<bool, Error> {
                self.handle().invalidate()$($await)*
            }

            /// Marks the entry, before the data behind it is changed.
            ///
            /// # Errors
            ///
            /// If the mark could not be set, because a server cannot be reached or
            /// refuses.
            pub $($async)* fn writing(&self) -> Result<$writing, Error> {
                $writing::begin(self)$($await)*
            }
        }

        /// For functions that return `Result<Option<V>, E>`.
        impl<V: 'static, E> $entry<Result<Option<V>, E>> {
            values!(V, ($($async)*), ($($await)*));
        }

        /// For functions that return `Result<V, E>`.
        impl<V: 'static, E> $entry<Result<V, E>, Second> {
            values!(V, ($($async)*), ($($await)*));
        }

        /// For functions that return `Option<V>`.
        impl<V: 'static> $entry<Option<V>, Second> {
            values!(V, ($($async)*), ($($await)*));
        }

        /// For functions that return anything else.
        impl<R: 'static> $entry<R, Third> {
            values!(R, ($($async)*), ($($await)*));
        }

        impl<R, S: Stage> $entry<R, S> {
            pub(super) fn handle(&self) -> &$handle {
                S::$get_handle(&self.0)
            }
        }

        impl<R> Deref for $entry<R> {
            type Target = $entry<R, Second>;

            fn deref(&self) -> &$entry<R, Second> {
                &self.0
            }
        }

        impl<R> Deref for $entry<R, Second> {
            type Target = $entry<R, Third>;

            fn deref(&self) -> &$entry<R, Third> {
                &self.0
            }
        }

        impl<R> Sealed for $entry<R> {}

        impl<R> Invalidate for $entry<R> {
            fn add_to(&self, targets: &mut Targets) {
                self.handle().0.add_to(targets);
            }
        }

        #[diagnostic::do_not_recommend]
        impl<R> Updatable<Self> for $entry<R> {
            fn entry(&self) -> &Self {
                self
            }
        }

        /// A clone is another handle of the same entry.
        impl<R> Clone for $entry<R> {
            fn clone(&self) -> Self {
                Self::at(self.handle().clone())
            }
        }

        impl<R> fmt::Debug for $entry<R> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($entry)).field("function", &self.handle().0.site.name()).finish()
            }
        }
    };
}

entry!(Entry, Handle, Writing, handle, (), ());
#[cfg(feature = "tokio")]
entry!(AsyncEntry, AsyncHandle, AsyncWriting, async_handle, (async), (.await));
