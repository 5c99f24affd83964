//! Groups: names under which many values are invalidated at once.

use std::fmt;
use std::sync::Arc;

use super::targets::{Invalidate, Targets, sealed::Sealed};
use crate::cache::{Cache, global};
use crate::error::{Error, ErrorKind};
use crate::exchange::EVERYWHERE;
use crate::key::{Key, KeyBuilder, prefix};
use crate::writing::{Destination, Manner, Writer};

/// A name under which many values can be invalidated at once, however many there are.
///
/// [`group!`](crate::group) defines the functions that return it; the argument `group` of
/// [`memcached`](crate::memcached) puts values into it. A group exists in the process-wide
/// cache, or in the one that [`of_cache`](Group::of_cache) names.
#[derive(Clone)]
pub struct Group {
    /// Its name; `None` if a value in it cannot be written.
    name: Option<Arc<str>>,
    cache: Option<Cache>,
}

/// A group, or what points to one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no group",
    label = "not a group",
    note = "name a group by its function, as in `group = team(id)`; `memocached::group!` makes it",
    note = "several groups stand in an array, as in `group = [team(id), everything()]`"
)]
pub trait IsGroup {
    /// Returns the group.
    fn group(&self) -> &Group;
}

#[diagnostic::do_not_recommend]
impl IsGroup for Group {
    #[inline]
    fn group(&self) -> &Group {
        self
    }
}

macro_rules! pointers {
    ($($pointer:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl<T: IsGroup + ?Sized> IsGroup for $pointer {
            #[inline]
            fn group(&self) -> &Group {
                (**self).group()
            }
        }
    )*};
}

pointers!(&T, Box<T>, Arc<T>);

impl Group {
    #[doc(hidden)]
    #[must_use]
    pub fn of(write: &mut dyn FnMut(&mut KeyBuilder)) -> Self {
        let mut key = KeyBuilder::new("");
        write(&mut key);
        Group { name: key.finish().map(|key| key.full().0.into()), cache: None }
    }

    /// Moves the group to this cache, from the process-wide one.
    #[must_use]
    pub fn of_cache(self, cache: &Cache) -> Self {
        Group { cache: Some(cache.clone()), ..self }
    }

    /// Returns its name, without the namespace. It is empty if a value in it cannot be
    /// written.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    pub(super) fn is_usable(&self) -> bool {
        self.name.is_some()
    }

    /// Returns the key of its stamp on each node.
    pub(crate) fn stamp_key(&self, cache: &Cache) -> String {
        let mut key = KeyBuilder::new(EVERYWHERE);
        prefix(cache.namespace()).iter().for_each(|text| key.literal(text));
        key.literal(self.name());
        key.finish().map(Key::into_wire).unwrap_or_default()
    }

    /// Returns where its stamps are: on every node.
    fn destinations(&self) -> Result<Vec<Destination>, Error> {
        let mut room = None;
        let cache = match &self.cache {
            Some(cache) => Some(cache),
            None => global::cache(&mut room),
        };
        let cache = cache.filter(|_| self.is_usable()).ok_or_else(|| {
            let message = format!("the group {} cannot be used: there is no usable cache, or no name", self.name());
            Error::new(ErrorKind::Configuration, message)
        })?;
        let key = self.stamp_key(cache);
        let nodes = cache.store().numbered().into_iter();
        let destination =
            |(node, name)| Destination { cache: cache.clone(), key: key.clone(), node: Some((node, name)) };
        Ok(nodes.map(destination).collect())
    }
}

macro_rules! verbs {
    ($invalidate:ident, $softly:ident, $remove:ident, ($($async:tt)*), ($($await:tt)*)) => {
        /// Invalidates all values of the group, on every node: calls that begin afterwards,
        /// in whatever process, compute anew. It takes two exchanges per node, however many
        /// values there are.
        ///
        /// Values that other processes keep near (`near`) are served there until their time
        /// is over.
        ///
        /// # Errors
        ///
        /// If a node cannot be reached or refuses; the error names the node. It is asked again
        /// until it answers, for up to an hour. Until then, the values it holds may be served.
        pub $($async)* fn $invalidate(&self) -> Result<(), Error> {
            let destinations = self.destinations()?;
            Writer::$remove(destinations, Manner::default())$($await)*.map(drop)
        }

        /// Makes all values of the group stale, on every node: where a function has `grace`,
        /// they are served while one caller computes anew.
        ///
        /// # Errors
        ///
        /// The same as for `invalidate`.
        pub $($async)* fn $softly(&self) -> Result<(), Error> {
            let destinations = self.destinations()?;
            Writer::$remove(destinations, Manner { is_soft: true, ..Manner::default() })$($await)*.map(drop)
        }
    };
}

impl Group {
    verbs!(invalidate, invalidate_softly, remove, (), ());
    #[cfg(feature = "tokio")]
    verbs!(invalidate_async, invalidate_softly_async, remove_async, (async), (.await));
}

impl Sealed for Group {}

impl Invalidate for Group {
    fn add_to(&self, targets: &mut Targets) {
        targets.0.extend(self.destinations().unwrap_or_default());
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Group").field(&self.name()).finish()
    }
}
