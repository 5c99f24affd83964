//! Values in an `Arc`, which all near hits share, found by type as `shapes` finds shapes.
//!
//! What is kept must be `'static`, which no method lookup asks for. The attribute leaves
//! types out whose tokens name a lifetime. [`Settled`] leaves out those that hide one, and
//! `RefUnwindSafe`, which plain data has, leaves out type parameters.

use std::any::{Any, TypeId};
use std::fmt;
use std::marker::PhantomData;
use std::panic::RefUnwindSafe;
use std::sync::Arc;

use crate::cache::near::{Decoded, Decoding, NearCopy};

/// Finds whether the values of functions that return `R` are shared. `F` is `fn(&()) -> R`.
pub struct SharingProbe<R, F>(PhantomData<fn() -> (R, F)>);

impl<R, F> SharingProbe<R, F> {
    /// The only value of this type.
    pub const NEW: Self = SharingProbe(PhantomData);
}

/// A function whose return type borrows nothing of its argument.
pub trait Settled {}

impl<R> Settled for fn(&()) -> R {}

/// How a value is kept, and given out again. It is small, since calls hand it on.
pub struct Sharing<V>(fn() -> Ways<V>);

struct Ways<V> {
    value: TypeId,
    keep: fn(&V) -> Box<dyn Any + Send + Sync>,
    give: Give<V>,
}

/// Gives out a value that is kept.
type Give<V> = fn(&(dyn Any + Send + Sync)) -> Option<V>;

impl<V> Clone for Sharing<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Sharing<V> {}

impl<V> fmt::Debug for Sharing<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharing").finish_non_exhaustive()
    }
}

fn sharing<T: ?Sized + Send + Sync + 'static>() -> Option<Sharing<Arc<T>>> {
    Some(Sharing(|| Ways {
        value: TypeId::of::<Arc<T>>(),
        keep: |value| Box::new(Arc::clone(value)),
        give: |kept| kept.downcast_ref().cloned(),
    }))
}

macro_rules! probes {
    ($($(#[$doc:meta])* $trait:ident for $probe:ty $(, $error:ident)?;)*) => {$(
        $(#[$doc])*
        pub trait $trait {
            /// What the `Arc` points to.
            type Target: ?Sized;
            /// Returns how the value is shared.
            fn __memocached_sharing(&self) -> Option<Sharing<Arc<Self::Target>>>;
        }

        impl<T, F: Settled $(, $error)?> $trait for $probe
        where
            T: ?Sized + Send + Sync + RefUnwindSafe + 'static,
        {
            type Target = T;
            fn __memocached_sharing(&self) -> Option<Sharing<Arc<T>>> {
                sharing()
            }
        }
    )*};
}

probes! {
    /// Finds a `Result<Option<Arc<_>>, _>`.
    SharesOkSome for &SharingProbe<Result<Option<Arc<T>>, E>, F>, E;
    /// Finds a `Result<Arc<_>, _>`.
    SharesOk for &SharingProbe<Result<Arc<T>, E>, F>, E;
    /// Finds an `Option<Arc<_>>`.
    SharesSome for &SharingProbe<Option<Arc<T>>, F>;
    /// Finds an `Arc<_>`.
    SharesAll for &SharingProbe<Arc<T>, F>;
}

/// Finds everything else.
pub trait SharesNothing {
    /// Returns that the value is not shared.
    fn __memocached_sharing<V>(&self) -> Option<Sharing<V>>;
}

impl<R, F> SharesNothing for SharingProbe<R, F> {
    fn __memocached_sharing<V>(&self) -> Option<Sharing<V>> {
        None
    }
}

/// Shares the value of one call among its near hits.
pub(super) struct Sharer<V> {
    ways: Ways<V>,
    decoding: Decoding,
}

impl<V> Sharing<V> {
    /// Shares values that are decoded in the way that `decoding` says of their type.
    #[inline]
    pub(super) fn among(self, decoding: impl FnOnce(TypeId) -> Decoding) -> Sharer<V> {
        let ways = (self.0)();
        Sharer { decoding: decoding(ways.value), ways }
    }
}

impl<V> Sharer<V> {
    /// Returns the value that was decoded of this copy, and what it took to compute.
    #[inline]
    pub(super) fn find(&self, copy: &NearCopy) -> Option<(V, u64)> {
        let Decoded { value, cost, .. } = copy.decoded(&self.decoding)?;
        Some(((self.ways.give)(&**value)?, *cost))
    }

    /// Keeps a value decoded of this copy. Returns the one that is kept: another hit
    /// may have been faster.
    pub(super) fn keep(&self, copy: &NearCopy, value: V, cost: u64) -> V {
        copy.keep_decoded(Decoded { by: self.decoding, cost, value: (self.ways.keep)(&value) });
        self.find(copy).map_or(value, |(kept, _)| kept)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::cell::Cell;
    use std::sync::Mutex;

    use super::*;

    macro_rules! is_shared {
        ($type:ty, $value:ty) => {{
            let sharing: Option<Sharing<$value>> =
                (&&SharingProbe::<$type, fn(&()) -> $type>::NEW).__memocached_sharing();
            sharing.is_some()
        }};
    }

    #[test]
    fn an_arc_is_shared_wherever_a_function_returns_it() {
        type Answer<T> = Result<T, Box<dyn std::error::Error>>;
        assert!(is_shared!(Arc<u8>, Arc<u8>) && is_shared!(Arc<str>, Arc<str>));
        assert!(is_shared!(Option<Arc<[u8]>>, Arc<[u8]>) && is_shared!(Answer<Arc<u8>>, Arc<u8>));
        assert!(is_shared!(Answer<Option<Arc<Mutex<u8>>>>, Arc<Mutex<u8>>));
        assert!(!is_shared!(u8, u8) && !is_shared!(Vec<Arc<u8>>, Vec<Arc<u8>>));
        assert!(!is_shared!(Answer<u8>, u8) && !is_shared!(Option<Option<Arc<u8>>>, Option<Arc<u8>>));
        assert!(!is_shared!(Arc<Cell<u8>>, Arc<Cell<u8>>), "it would not be `Sync`");
    }

    #[test]
    fn what_may_borrow_is_not_shared() {
        struct Borrows<'a>(Mutex<Cow<'a, str>>);
        #[allow(mismatched_lifetime_syntaxes, reason = "that is what is tried")]
        fn hidden(text: &str) -> (Arc<Borrows>, bool) {
            let shared = is_shared!(Arc<Borrows>, Arc<Borrows<'_>>);
            (Arc::new(Borrows(Mutex::new(Cow::Borrowed(text)))), shared)
        }
        fn generic<T: Send + Sync>() -> bool {
            is_shared!(Arc<Vec<T>>, Arc<Vec<T>>)
        }
        trait Held {
            type Type: Send + Sync;
            fn is_shared() -> bool {
                is_shared!(Option<Arc<Self::Type>>, Arc<Self::Type>)
            }
        }
        impl Held for u8 {
            type Type = u8;
        }
        let text = String::from("text");
        let (value, shared) = hidden(&text);
        assert_eq!(*value.0.lock().expect("it is not poisoned"), "text");
        assert!(!shared && !generic::<u8>() && !u8::is_shared());
    }
}
