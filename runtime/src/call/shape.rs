//! Which part of a return value is stored: all of it, the `v` of `Ok(v)` or the
//! `v` of `Some(v)`.
//!
//! Finding the shape of a type is left to `shapes`.

use std::marker::PhantomData;

use crate::error::Error;

/// The relation between a function's return value and its stored value.
pub trait Shape {
    /// What the function returns.
    type Return;
    /// What is stored.
    type Value;

    /// Splits off the value to store; without one, gives the return value back.
    fn split(returned: Self::Return) -> Split<Self::Value, Self::Return>;

    /// Rebuilds the return value from a stored value.
    fn join(value: Self::Value) -> Self::Return;

    /// Returns the value in a return value, if there is one.
    fn value(returned: &Self::Return) -> Option<&Self::Value>;
}

/// A return value, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub enum Split<V, R> {
    /// The value to store.
    Value(V),
    /// There is no value, and that is the answer.
    Empty(R),
    /// There is no value, because something went wrong.
    Failed(R),
}

/// A shape whose return value may hold no value.
#[diagnostic::on_unimplemented(
    message = "`cache_none` needs a function that returns an `Option`, or a `Result` of one",
    label = "always holds a value"
)]
pub trait HoldsNone: Shape {
    /// Whether this return value holds no value.
    fn is_none(returned: &Self::Return) -> bool;

    /// Builds the return value that holds no value.
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
    message = "`cache_err` and `stale_if` need a function that returns a `Result`",
    label = "never returns an error"
)]
pub trait HoldsErr: Shape {
    /// The error's type.
    type Error;

    /// Returns the error, if the return value is one.
    fn error(returned: &Self::Return) -> Option<&Self::Error>;

    /// Builds the return value from an error.
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

/// A shape that can carry a cache error.
#[diagnostic::on_unimplemented(
    message = "`on_error = refuse` needs a `Result` whose error is made from `memocached::Error`",
    label = "cannot carry a `memocached::Error`",
    note = "return a `Result`, and implement `From<memocached::Error>` for its error type"
)]
pub trait Fails: Shape {
    /// Builds the return value that carries a cache error.
    fn fail(error: Error) -> Self::Return;
}

#[diagnostic::do_not_recommend]
impl<V, E: From<Error>> Fails for Fallible<V, E> {
    fn fail(error: Error) -> Result<V, E> {
        Err(error.into())
    }
}

#[diagnostic::do_not_recommend]
impl<V, E: From<Error>> Fails for FallibleOptional<V, E> {
    fn fail(error: Error) -> Result<Option<V>, E> {
        Err(error.into())
    }
}

macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident<$($param:ident),*> = $return:ty => $value:ty:
        |$r:ident| $split:expr, |$v:ident| $join:expr, |$b:ident| $borrow:expr;)*) => {$(
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

            fn value($b: &$return) -> Option<&$value> {
                $borrow
            }
        }
    )*};
}

shapes! {
    /// Stores the whole return value.
    Plain<R> = R => R: |r| Split::Value(r), |v| v, |r| Some(r);
    /// Stores the value of `Some`.
    Optional<V> = Option<V> => V:
        |r| match r { Some(v) => Split::Value(v), None => Split::Empty(None) }, |v| Some(v), |r| r.as_ref();
    /// Stores the value of `Ok`.
    Fallible<V, E> = Result<V, E> => V:
        |r| match r { Ok(v) => Split::Value(v), Err(e) => Split::Failed(Err(e)) }, |v| Ok(v), |r| r.as_ref().ok();
    /// Stores the value of `Ok(Some)`.
    FallibleOptional<V, E> = Result<Option<V>, E> => V:
        |r| match r {
            Ok(Some(v)) => Split::Value(v),
            Ok(None) => Split::Empty(Ok(None)),
            Err(e) => Split::Failed(Err(e)),
        }, |v| Ok(Some(v)), |r| r.as_ref().ok().and_then(Option::as_ref);
}

#[cfg(test)]
mod tests {
    use super::*;

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
