//! The elements that a batch function is called with: a list, or a set.

use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;
use std::vec;

/// A parameter that holds elements.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no list of elements",
    label = "no slice, `Vec` or set",
    note = "`each` takes a parameter of type `&[T]`, `Vec<T>`, `&Vec<T>`, a set or a reference to one, or \
            `impl IntoIterator<Item = T>`, where `T` is `Clone`"
)]
pub trait HoldsElements {
    /// The type of one element.
    type Element;
    /// Whether the body gets some of the elements in the same order: `InOrder` or
    /// `AnyOrder`.
    type Order;
    /// What the parameter is, or refers to.
    type Collection;
}

/// A parameter that gives its elements, and is made of some of them. It is required in place of
/// [`HoldsElements`], so that the compiler reports another type once.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no list of elements",
    label = "no slice, `Vec` or set",
    note = "`each` takes a parameter of type `&[T]`, `Vec<T>`, `&Vec<T>`, a set or a reference to one, or \
            `impl IntoIterator<Item = T>`, where `T` is `Clone`"
)]
pub trait GivesElements<'a>: HoldsElements + Sized {
    /// Returns the elements in their order.
    fn list(self) -> ElementList<Self::Element, Self::Order, Self::Collection>;

    /// Makes a parameter of a collection.
    fn given(collection: &'a mut Self::Collection) -> Self;
}

/// Elements that keep their order, as in a list.
#[derive(Debug)]
pub enum InOrder {}

/// Elements in an order that changes, as in a set of hashes.
#[derive(Debug)]
pub enum AnyOrder {}

/// The elements that a function was called with, in a collection `C`.
#[derive(Debug)]
pub struct ElementList<T, O, C> {
    elements: Vec<T>,
    collect: fn(Vec<T>) -> C,
    order: PhantomData<O>,
}

impl<T, O, C> ElementList<T, O, C> {
    fn of(elements: impl IntoIterator<Item = T>, collect: fn(Vec<T>) -> C) -> Self {
        ElementList { elements: elements.into_iter().collect(), collect, order: PhantomData }
    }

    /// Returns the elements one by one.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.elements.iter()
    }

    /// Collects some of the elements again.
    pub fn collect(&self, elements: Vec<T>) -> C {
        (self.collect)(elements)
    }

    pub(super) fn as_slice(&self) -> &[T] {
        &self.elements
    }
}

impl<T> ElementList<T, InOrder, vec::IntoIter<T>> {
    /// Lists the elements that an iterator gives.
    pub fn collected(elements: impl IntoIterator<Item = T>) -> Self {
        ElementList::of(elements, Vec::into_iter)
    }
}

impl<T: Clone> HoldsElements for &[T] {
    type Element = T;
    type Order = InOrder;
    type Collection = Vec<T>;
}

impl<'a, T: Clone> GivesElements<'a> for &'a [T] {
    fn list(self) -> ElementList<T, InOrder, Vec<T>> {
        ElementList::of(self.iter().cloned(), |elements| elements)
    }

    fn given(collection: &'a mut Vec<T>) -> Self {
        collection
    }
}

macro_rules! elements {
    ($($collection:ty, $order:ty, <T $(: $bound:ident $(+ $further:ident)*)? $(, $hasher:ident)?>;)*) => {$(
        impl<T $(: $bound $(+ $further)*)? $(, $hasher: BuildHasher + Default)?> HoldsElements for $collection {
            type Element = T;
            type Order = $order;
            type Collection = Self;
        }

        impl<T $(: $bound $(+ $further)*)? $(, $hasher: BuildHasher + Default)?> GivesElements<'_> for $collection {
            fn list(self) -> ElementList<T, $order, Self> {
                ElementList::of(self, |elements| elements.into_iter().collect())
            }

            fn given(collection: &mut Self) -> Self {
                std::mem::take(collection)
            }
        }

        impl<T: Clone $(+ $bound $(+ $further)*)? $(, $hasher: BuildHasher + Default)?> HoldsElements for &$collection {
            type Element = T;
            type Order = $order;
            type Collection = $collection;
        }

        impl<'a, T: Clone $(+ $bound $(+ $further)*)? $(, $hasher: BuildHasher + Default)?> GivesElements<'a>
            for &'a $collection
        {
            fn list(self) -> ElementList<T, $order, $collection> {
                ElementList::of(self.iter().cloned(), |elements| elements.into_iter().collect())
            }

            fn given(collection: &'a mut $collection) -> Self {
                collection
            }
        }
    )*};
}

elements! {
    Vec<T>, InOrder, <T>;
    HashSet<T, H>, AnyOrder, <T: Eq + Hash, H>;
    BTreeSet<T>, InOrder, <T: Ord>;
}
