//! What a writer may name: an entry, or several of them.

use std::fmt;
use std::sync::Arc;

use crate::cache::Cache;
use crate::writing::Destination;

/// What a writer can invalidate: an entry, a group, or several of them.
///
/// It is implemented for [`Entry`](crate::Entry), [`Entries`](crate::Entries) and their async
/// kin, and for [`Group`](crate::Group); for references to
/// what implements it, for an `Option`, a `Vec`, an array, a slice, and tuples of up to
/// six. No other crate implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that can be invalidated",
    label = "neither an entry nor a group",
    note = "name an entry by its companion, as in `user_entry(id)`; the attribute's `entry = user_entry` makes it",
    note = "name a group by its function, as in `team(id)`; `memocached::group!` makes it"
)]
pub trait Invalidate: sealed::Sealed {
    #[doc(hidden)]
    fn add_to(&self, targets: &mut Targets);
}

/// What a writer can update: an entry, or what points to one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that can be updated",
    label = "not an entry",
    note = "name an entry by its companion, as in `user_entry(id)`; the attribute's `entry = user_entry` makes it",
    note = "groups and lists of entries can only be invalidated: write `#[memocached::invalidates(…)]`"
)]
pub trait Updatable<Entry> {
    /// Returns the entry.
    fn entry(&self) -> &Entry;
}

/// Returns the entry that a writer updates.
///
/// Its type is a parameter: an associated type would be missed a second time in what
/// is no entry.
pub fn updatable<Entry>(target: &impl Updatable<Entry>) -> &Entry {
    target.entry()
}

/// A value that can take the place of one of type `Held`: one of that type, or what
/// points to it.
#[diagnostic::on_unimplemented(
    message = "the entry holds `{Held}`, and `{Self}` cannot take its place",
    label = "an entry that holds `{Held}`",
    note = "return the value that the entry holds, or invalidate it: write `#[memocached::invalidates(…)]`"
)]
pub trait Replaces<Held> {
    /// Returns what is put in place of the old value.
    fn replacement(&self) -> &Held;
}

#[diagnostic::do_not_recommend]
impl<T> Replaces<T> for T {
    fn replacement(&self) -> &T {
        self
    }
}

pub(super) mod sealed {
    pub trait Sealed {}
}

/// What a writer is about to change.
#[doc(hidden)]
#[derive(Default)]
pub struct Targets(pub(super) Vec<Destination>);

impl Targets {
    pub(super) fn of(targets: &impl Invalidate) -> Self {
        let mut all = Targets::default();
        targets.add_to(&mut all);
        all
    }

    pub(super) fn add(&mut self, cache: &Cache, key: &str) {
        self.0.push(Destination { cache: cache.clone(), key: key.to_owned(), node: None });
    }
}

impl fmt::Debug for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Targets").field(&self.0.len()).finish()
    }
}

macro_rules! several {
    ($([$($generics:tt)*] $type:ty;)*) => {$(
        impl<$($generics)*> sealed::Sealed for $type {}

        impl<$($generics)*> Invalidate for $type {
            fn add_to(&self, targets: &mut Targets) {
                self.iter().for_each(|target| target.add_to(targets));
            }
        }
    )*};
}

several! {
    [T: Invalidate] Option<T>;
    [T: Invalidate] Vec<T>;
    [T: Invalidate] [T];
    [T: Invalidate, const N: usize] [T; N];
}

macro_rules! pointers {
    ($($pointer:ty),*) => {$(
        impl<T: Invalidate + ?Sized> sealed::Sealed for $pointer {}

        impl<T: Invalidate + ?Sized> Invalidate for $pointer {
            fn add_to(&self, targets: &mut Targets) {
                (**self).add_to(targets);
            }
        }

        #[diagnostic::do_not_recommend]
        impl<E, T: Updatable<E> + ?Sized> Updatable<E> for $pointer {
            fn entry(&self) -> &E {
                (**self).entry()
            }
        }

        #[diagnostic::do_not_recommend]
        impl<T> Replaces<T> for $pointer {
            fn replacement(&self) -> &T {
                self
            }
        }
    )*};
}

pointers!(&T, Box<T>, Arc<T>);

macro_rules! tuples {
    ($($($name:ident)+;)*) => {$(
        impl<$($name: Invalidate),+> sealed::Sealed for ($($name,)+) {}

        impl<$($name: Invalidate),+> Invalidate for ($($name,)+) {
            #[allow(non_snake_case, reason = "the names of the types")]
            fn add_to(&self, targets: &mut Targets) {
                let ($($name,)+) = self;
                $($name.add_to(targets);)+
            }
        }
    )*};
}

tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
}
