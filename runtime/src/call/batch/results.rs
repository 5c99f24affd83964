//! The results of a batch function, and the element that each belongs to.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, Hash};

use crate::call::batch::elements::InOrder;
use crate::call::shape::Split;
use crate::error::Error;

/// A return type that holds a result for each of several elements.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which result belongs to which element",
    label = "no map and no `Vec`",
    note = "a function with `each` returns a `HashMap` or a `BTreeMap` by element, a `Vec` in the order of the \
            elements, or a `Result` of one of them"
)]
pub trait Returns {
    /// What the function would return for one element.
    type Returned;
}

/// Results for elements of type `T` that have an order, or none.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which result belongs to which element",
    label = "no results by `{T}`",
    note = "a function with `each` returns a `HashMap` or a `BTreeMap` by element, a `Vec` in the order of the \
            elements, or a `Result` of one of them",
    note = "the keys of a map have the type of the elements, which is `Eq + Hash` or `Ord`; a `Vec` needs elements \
            that have an order, which those of a `HashSet` have not; the values are `Clone`"
)]
pub trait Results<T, O>: Returns + Sized {
    /// Takes the results for these elements apart, in the order of the elements.
    /// Results that do not belong to them are left as they are (`Empty`).
    fn split(self, elements: &[&T]) -> Split<Vec<Self::Returned>, Self>;

    /// Puts the results together. `indexes` tells for each of these elements which of
    /// the results is its own.
    fn join(elements: &[T], indexes: &[usize], results: Vec<Self::Returned>) -> Self;
}

/// Results that can carry a cache error.
#[diagnostic::on_unimplemented(
    message = "`on_error = propagate` needs a `Result` whose error is made from `memocached::Error`",
    label = "cannot carry a `memocached::Error`",
    note = "return a `Result`, and implement `From<memocached::Error>` for its error type"
)]
pub trait Carries {
    /// Builds the return value that carries a cache error.
    fn carry(error: Error) -> Self;
}

#[diagnostic::do_not_recommend]
impl<C, E: From<Error>> Carries for Result<C, E> {
    fn carry(error: Error) -> Self {
        Err(error.into())
    }
}

macro_rules! maps {
    ($($map:ty, $set:ident, <T: $bound:ident $(+ $further:ident)* $(, $hasher:ident)?>;)*) => {$(
        impl<T, V $(, $hasher)?> Returns for $map {
            type Returned = Option<V>;
        }

        impl<T: Clone + $bound $(+ $further)*, V: Clone, O $(, $hasher: BuildHasher + Default)?> Results<T, O> for $map {
            fn split(mut self, elements: &[&T]) -> Split<Vec<Option<V>>, Self> {
                let distinct: $set<&T> = elements.iter().copied().collect();
                if distinct.iter().filter(|element| self.contains_key(element)).count() != self.len() {
                    return Split::Empty(self);
                }
                // Elements that have no keys may be there several times.
                let are_distinct = distinct.len() == elements.len();
                let mut take = |element: &T| if are_distinct { self.remove(element) } else { self.get(element).cloned() };
                Split::Value(elements.iter().map(|element| take(element)).collect())
            }

            fn join(elements: &[T], indexes: &[usize], results: Vec<Option<V>>) -> Self {
                let results = elements.iter().zip(spread(indexes, results));
                results.filter_map(|(element, value)| Some((element.clone(), value?))).collect()
            }
        }
    )*};
}

maps! {
    HashMap<T, V, H>, HashSet, <T: Eq + Hash, H>;
    BTreeMap<T, V>, BTreeSet, <T: Ord>;
}

impl<R> Returns for Vec<R> {
    type Returned = R;
}

impl<T, R: Clone> Results<T, InOrder> for Vec<R> {
    fn split(self, elements: &[&T]) -> Split<Vec<R>, Self> {
        if self.len() == elements.len() { Split::Value(self) } else { Split::Empty(self) }
    }

    fn join(_: &[T], indexes: &[usize], results: Vec<R>) -> Self {
        spread(indexes, results)
    }
}

impl<C: Returns, E> Returns for Result<C, E> {
    type Returned = C::Returned;
}

impl<T, C: Results<T, O>, E, O> Results<T, O> for Result<C, E> {
    fn split(self, elements: &[&T]) -> Split<Vec<C::Returned>, Self> {
        match self.map(|results| results.split(elements)) {
            Ok(Split::Value(results)) => Split::Value(results),
            Ok(Split::Empty(results)) => Split::Empty(Ok(results)),
            Ok(Split::Failed(results)) => Split::Failed(Ok(results)),
            Err(error) => Split::Failed(Err(error)),
        }
    }

    fn join(elements: &[T], indexes: &[usize], results: Vec<C::Returned>) -> Self {
        Ok(C::join(elements, indexes, results))
    }
}

/// Returns the results at these indexes. Several elements with one key share a result.
fn spread<R: Clone>(indexes: &[usize], results: Vec<R>) -> Vec<R> {
    if indexes.len() == results.len() { results } else { indexes.iter().map(|index| results[*index].clone()).collect() }
}
