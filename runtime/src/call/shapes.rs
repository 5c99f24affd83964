//! Finds the shape of a return type from the type itself and not from its name, so
//! that aliases of `Result` and `Option` work; and whether its values can be compared.
//!
//! The attribute writes `(&&&&&&Probe::<Ret>::NEW).__memocached_shape()`, and method
//! lookup picks the matching implementation with the most references (*autoref
//! specialization*). No other trait in scope has a method of that name.

use std::marker::PhantomData;

use super::shape::{Fallible, FallibleOptional, Optional, Plain, Shape};
use super::sharing::{Sharing, SharingProbe};
use crate::value::likeness::Equal;

/// Finds the shape of `R`.
pub struct Probe<R>(PhantomData<fn() -> R>);

impl<R> Probe<R> {
    /// The only value of this type.
    pub const NEW: Self = Probe(PhantomData);
}

/// A shape, how its values are compared, and how near hits share one, if they can.
#[derive(Debug)]
pub struct Shaped<S: Shape> {
    pub(super) equal: Option<Equal<S::Value>>,
    pub(super) sharing: Option<Sharing<S::Value>>,
}

impl<S: Shape> Shaped<S> {
    /// Asks whether the values are shared. `F` is `fn(&()) -> R` with the return type.
    #[must_use]
    pub fn probe<F>(&self) -> SharingProbe<S::Value, F> {
        SharingProbe::NEW
    }

    /// Lets near hits share one value, if its type allows that.
    #[must_use]
    pub fn shared(self, sharing: Option<Sharing<S::Value>>) -> Self {
        Shaped { sharing, ..self }
    }
}

macro_rules! probes {
    ($($(#[$doc:meta])* $trait:ident for $probe:ty, <$($param:ident),*> => $shape:ty, $equal:expr
        $(, where $value:ident: PartialEq)?;)*) => {$(
        $(#[$doc])*
        pub trait $trait {
            /// The shape's type.
            type Shape: Shape;
            /// Returns the shape.
            fn __memocached_shape(&self) -> Shaped<Self::Shape>;
        }

        impl<$($param),*> $trait for $probe $(where $value: PartialEq)? {
            type Shape = $shape;
            fn __memocached_shape(&self) -> Shaped<$shape> {
                Shaped { equal: $equal, sharing: None }
            }
        }
    )*};
}

probes! {
    /// Finds the shape of a `Result<Option<_>, _>` whose values can be compared.
    ProbeFallibleOptionalEq for &&&&&Probe<Result<Option<V>, E>>, <V, E> => FallibleOptional<V, E>,
        Some(V::eq), where V: PartialEq;
    /// Finds the shape of a `Result<Option<_>, _>`.
    ProbeFallibleOptional for &&&&Probe<Result<Option<V>, E>>, <V, E> => FallibleOptional<V, E>, None;
    /// Finds the shape of any other `Result` whose values can be compared.
    ProbeFallibleEq for &&&Probe<Result<V, E>>, <V, E> => Fallible<V, E>, Some(V::eq), where V: PartialEq;
    /// Finds the shape of any other `Result`.
    ProbeFallible for &&Probe<Result<V, E>>, <V, E> => Fallible<V, E>, None;
    /// Finds the shape of an `Option` whose values can be compared.
    ProbeOptionalEq for &&&Probe<Option<V>>, <V> => Optional<V>, Some(V::eq), where V: PartialEq;
    /// Finds the shape of an `Option`.
    ProbeOptional for &&Probe<Option<V>>, <V> => Optional<V>, None;
    /// Finds the shape of everything else that can be compared.
    ProbePlainEq for &Probe<R>, <R> => Plain<R>, Some(R::eq), where R: PartialEq;
    /// Finds the shape of everything else.
    ProbePlain for Probe<R>, <R> => Plain<R>, None;
}

#[cfg(test)]
mod tests {
    use std::any::type_name_of_val;

    use super::*;

    macro_rules! shape_of {
        ($type:ty) => {
            type_name_of_val(&(&&&&&&Probe::<$type>::NEW).__memocached_shape()).replace("memocached::call::shape::", "")
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
    fn values_are_compared_where_their_type_can() {
        struct Opaque;
        macro_rules! is_compared {
            ($type:ty) => {
                (&&&&&&Probe::<$type>::NEW).__memocached_shape().equal.is_some()
            };
        }
        assert!(is_compared!(u8) && is_compared!(Vec<String>) && is_compared!(Option<u8>));
        assert!(is_compared!(Result<u8, Opaque>) && is_compared!(Result<Option<u8>, Opaque>));
        assert!(!is_compared!(Opaque) && !is_compared!(Option<Opaque>) && !is_compared!(Vec<Opaque>));
        assert!(!is_compared!(Result<Opaque, u8>) && !is_compared!(Result<Option<Opaque>, u8>));
    }
}
