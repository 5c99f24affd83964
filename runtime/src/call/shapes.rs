//! Finds the shape of a return type from the type itself and not from its name, so
//! that aliases of `Result` and `Option` work.
//!
//! The attribute writes `(&&&Probe::<Ret>::NEW).__memocached_shape()`, and method
//! lookup picks the matching implementation with the most references (*autoref
//! specialization*). No other trait in scope has a method of that name.

use std::marker::PhantomData;

use super::shape::{Fallible, FallibleOptional, Optional, Plain};

/// Finds the shape of `R`.
pub struct Probe<R>(PhantomData<fn() -> R>);

impl<R> Probe<R> {
    /// The only value of this type.
    pub const NEW: Self = Probe(PhantomData);
}

macro_rules! probes {
    ($($(#[$doc:meta])* $trait:ident for $probe:ty, <$($param:ident),*> => $shape:ty;)*) => {$(
        $(#[$doc])*
        pub trait $trait {
            /// The shape's type.
            type Shape;
            /// Returns the shape.
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
    /// Finds the shape of a `Result<Option<_>, _>`.
    ProbeFallibleOptional for &&Probe<Result<Option<V>, E>>, <V, E> => FallibleOptional<V, E>;
    /// Finds the shape of any other `Result`.
    ProbeFallible for &Probe<Result<V, E>>, <V, E> => Fallible<V, E>;
    /// Finds the shape of an `Option`.
    ProbeOptional for &Probe<Option<V>>, <V> => Optional<V>;
    /// Finds the shape of everything else.
    ProbePlain for Probe<R>, <R> => Plain<R>;
}

#[cfg(test)]
mod tests {
    use std::any::type_name_of_val;

    use super::*;

    macro_rules! shape_of {
        ($type:ty) => {
            type_name_of_val(&(&&&Probe::<$type>::NEW).__memocached_shape()).replace("memocached::call::shape::", "")
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
}
