//! What of a return value is stored: all of it, `Ok(v)`'s `v`, `Some(v)`'s `v`.
//!
//! The shape is found by type, not by the type's name, so aliases of `Result`
//! and `Option` work: the attribute writes `(&&&Probe::<Ret>::NEW).__memocached_shape()`,
//! and method lookup takes the implementation with the most references that
//! fits (*autoref specialization*).

use std::marker::PhantomData;

use crate::error::Error;

/// How a function's return value and its stored value relate.
pub trait Shape {
    /// What the function returns.
    type Return;
    /// What is stored.
    type Value;

    /// The value to store, or the return value if there is none in it.
    fn split(returned: Self::Return) -> Split<Self::Value, Self::Return>;

    /// The return value a stored value stands for.
    fn join(value: Self::Value) -> Self::Return;
}

/// A return value, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub enum Split<V, R> {
    /// There is a value.
    Value(V),
    /// There is none, and that is the answer.
    Empty(R),
    /// There is none, for something went wrong.
    Failed(R),
}

/// A shape whose return value may be without a value.
#[diagnostic::on_unimplemented(
    message = "`cache_none` needs a function that returns an `Option`, or a `Result` of one",
    label = "there is a value in every case"
)]
pub trait HoldsNone: Shape {
    /// Whether it is.
    fn is_none(returned: &Self::Return) -> bool;

    /// That return value.
    fn none() -> Self::Return;
}

#[diagnostic::do_not_recommend]
impl<V> HoldsNone for Optional<V> {
    fn is_none(returned: &Option<V>) -> bool {
        returned.is_none()
    }

    fn none() -> Option<V> {
        None
    }
}

#[diagnostic::do_not_recommend]
impl<V, E> HoldsNone for FallibleOptional<V, E> {
    fn is_none(returned: &Result<Option<V>, E>) -> bool {
        matches!(returned, Ok(None))
    }

    fn none() -> Result<Option<V>, E> {
        Ok(None)
    }
}

/// A shape whose return value may be an error.
#[diagnostic::on_unimplemented(
    message = "`cache_err` needs a function that returns a `Result`",
    label = "never returns an error"
)]
pub trait HoldsErr: Shape {
    /// The error's type.
    type Error;

    /// The error, if it is one.
    fn error(returned: &Self::Return) -> Option<&Self::Error>;

    /// The return value that an error is.
    fn from_error(error: Self::Error) -> Self::Return;
}

macro_rules! holds_err {
    ($($shape:ident => $value:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl<V, E> HoldsErr for $shape<V, E> {
            type Error = E;

            fn error(returned: &Result<$value, E>) -> Option<&E> {
                returned.as_ref().err()
            }

            fn from_error(error: E) -> Result<$value, E> {
                Err(error)
            }
        }
    )*};
}

holds_err!(Fallible => V, FallibleOptional => Option<V>);

/// A shape that a cache's error fits into.
pub trait Fails: Shape {
    /// The return value that stands for a cache's error.
    fn fail(error: Error) -> Self::Return;
}

impl<V, E: From<Error>> Fails for Fallible<V, E> {
    fn fail(error: Error) -> Result<V, E> {
        Err(error.into())
    }
}

impl<V, E: From<Error>> Fails for FallibleOptional<V, E> {
    fn fail(error: Error) -> Result<Option<V>, E> {
        Err(error.into())
    }
}

/// Asks for the shape of `R`.
pub struct Probe<R>(PhantomData<fn() -> R>);

impl<R> Probe<R> {
    /// The one value of this type.
    pub const NEW: Self = Probe(PhantomData);
}

macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident<$($param:ident),*> = $return:ty => $value:ty:
        |$r:ident| $split:expr, |$v:ident| $join:expr;)*) => {$(
        $(#[$doc])*
        pub struct $name<$($param),*>(PhantomData<fn() -> ($($param,)*)>);

        impl<$($param),*> Shape for $name<$($param),*> {
            type Return = $return;
            type Value = $value;

            fn split($r: $return) -> Split<$value, $return> {
                $split
            }

            fn join($v: $value) -> $return {
                $join
            }
        }
    )*};
}

shapes! {
    /// Everything is stored.
    Plain<R> = R => R: |r| Split::Value(r), |v| v;
    /// `Some` is stored.
    Optional<V> = Option<V> => V:
        |r| match r { Some(v) => Split::Value(v), None => Split::Empty(None) }, |v| Some(v);
    /// `Ok` is stored.
    Fallible<V, E> = Result<V, E> => V:
        |r| match r { Ok(v) => Split::Value(v), Err(e) => Split::Failed(Err(e)) }, |v| Ok(v);
    /// `Ok(Some)` is stored.
    FallibleOptional<V, E> = Result<Option<V>, E> => V:
        |r| match r {
            Ok(Some(v)) => Split::Value(v),
            Ok(None) => Split::Empty(Ok(None)),
            Err(e) => Split::Failed(Err(e)),
        }, |v| Ok(Some(v));
}

/// The traits behind `.__memocached_shape()`, a name that no other trait in scope has, most specific first.
pub mod shapes {
    use super::{Fallible, FallibleOptional, Optional, PhantomData, Plain, Probe};

    macro_rules! probes {
        ($($(#[$doc:meta])* $trait:ident for $probe:ty, <$($param:ident),*> => $shape:ty;)*) => {$(
            $(#[$doc])*
            pub trait $trait {
                /// The shape's type.
                type Shape;
                /// The shape.
                fn __memocached_shape(&self) -> PhantomData<Self::Shape>;
            }

            impl<$($param),*> $trait for $probe {
                type Shape = $shape;
                fn __memocached_shape(&self) -> PhantomData<$shape> {
                    PhantomData
                }
            }
        )*};
    }

    probes! {
        /// For `Result<Option<_>, _>`.
        ProbeFallibleOptional for &&Probe<Result<Option<V>, E>>, <V, E> => FallibleOptional<V, E>;
        /// For other `Result`s.
        ProbeFallible for &Probe<Result<V, E>>, <V, E> => Fallible<V, E>;
        /// For `Option`s.
        ProbeOptional for &Probe<Option<V>>, <V> => Optional<V>;
        /// For everything else.
        ProbePlain for Probe<R>, <R> => Plain<R>;
    }
}

#[cfg(test)]
mod tests {
    use std::any::type_name_of_val;

    use super::shapes::*;
    use super::*;

    macro_rules! shape_of {
        ($type:ty) => {
            type_name_of_val(&(&&&Probe::<$type>::NEW).__memocached_shape()).replace("memocached::shape::", "")
        };
    }

    #[test]
    fn the_type_decides_not_its_name() {
        type Answer<T> = Result<T, String>;
        type Maybe = Option<u8>;
        assert!(shape_of!(u8).contains("Plain<u8>"));
        assert!(shape_of!(Answer<u8>).contains("Fallible<u8,"));
        assert!(shape_of!(std::io::Result<u8>).contains("Fallible<u8,"));
        assert!(shape_of!(Maybe).contains("Optional<u8>"));
        assert!(shape_of!(Option<Maybe>).contains("Optional<core::option::Option<u8>>"));
        assert!(shape_of!(Answer<Maybe>).contains("FallibleOptional<u8,"));
        assert!(shape_of!(Vec<Maybe>).contains("Plain<"));
    }

    #[test]
    fn only_what_a_shape_stores_is_split_off() {
        assert_eq!(Plain::split(1), Split::Value(1));
        assert_eq!(Optional::<u8>::split(None), Split::Empty(None));
        assert_eq!(Fallible::<u8, &str>::split(Err("no")), Split::Failed(Err("no")));
        assert_eq!(FallibleOptional::<u8, &str>::split(Ok(None)), Split::Empty(Ok(None)));
        assert_eq!(FallibleOptional::<u8, &str>::split(Err("no")), Split::Failed(Err("no")));
        assert_eq!(FallibleOptional::<u8, &str>::split(Ok(Some(1))), Split::Value(1));
        assert_eq!(FallibleOptional::<u8, &str>::join(1), Ok(Some(1)));
    }
}
