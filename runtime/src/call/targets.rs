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
    note = "name an entry by its companion, as in `user_entry(id)`; the attribute's `entry = user_entry` makes it"
)]
pub trait Invalidate: sealed::Sealed {
    #[doc(hidden)]
    fn add_to(&self, targets: &mut Targets);
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
