//! Values that all near hits may share, found by type as `shapes` finds shapes: those in
//! an `Arc`, and those that are `Copy`, which are never decoded twice either.
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

/// Finds whether values of type `V` are shared that a function returns in its own way. `F`
/// is `fn(&()) -> R` with the return type.
pub struct SharingProbe<V, F>(PhantomData<fn() -> (V, F)>);

impl<V, F> SharingProbe<V, F> {
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

/// Finds values in an `Arc`.
pub trait SharesArc {
    /// What the `Arc` points to.
    type Target: ?Sized;
    /// Returns how the value is shared.
    fn __memocached_sharing(&self) -> Option<Sharing<Arc<Self::Target>>>;
}

impl<T, F: Settled> SharesArc for &SharingProbe<Arc<T>, F>
where
    T: ?Sized + Send + Sync + RefUnwindSafe + 'static,
{
    type Target = T;
    fn __memocached_sharing(&self) -> Option<Sharing<Arc<T>>> {
        sharing()
    }
}

/// Finds values that are `Copy`.
pub trait SharesCopy {
    /// The value's type.
    type Value;
    /// Returns how the value is shared.
    fn __memocached_sharing(&self) -> Option<Sharing<Self::Value>>;
}

impl<V, F: Settled> SharesCopy for &SharingProbe<V, F>
where
    V: Copy + Send + Sync + RefUnwindSafe + 'static,
{
    type Value = V;
    fn __memocached_sharing(&self) -> Option<Sharing<V>> {
        sharing()
    }
}

/// Shares a value whose clones are as good as the value itself.
fn sharing<V: Clone + Send + Sync + 'static>() -> Option<Sharing<V>> {
    Some(Sharing(|| Ways {
        value: TypeId::of::<V>(),
        keep: |value| Box::new(value.clone()),
        give: |kept| kept.downcast_ref().cloned(),
    }))
}

/// Finds everything else.
pub trait SharesNothing {
    /// The value's type.
    type Value;
    /// Returns that the value is not shared.
    fn __memocached_sharing(&self) -> Option<Sharing<Self::Value>>;
}

impl<V, F> SharesNothing for SharingProbe<V, F> {
    type Value = V;
    fn __memocached_sharing(&self) -> Option<Sharing<V>> {
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
    #[cold]
    pub(super) fn keep(&self, copy: &NearCopy, value: &V, cost: u64) -> Option<V> {
        copy.keep_decoded(Decoded { by: self.decoding, cost, value: (self.ways.keep)(value) });
        self.find(copy).map(|(kept, _)| kept)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::cell::Cell;
    use std::sync::Mutex;

    use super::*;
    use crate::call::shapes::*;

    macro_rules! is_shared {
        ($type:ty) => {{
            let shaped = (&&&&&&Probe::<$type>::NEW).__memocached_shape();
            (&&shaped.probe::<fn(&()) -> $type>()).__memocached_sharing().is_some()
        }};
    }

    #[test]
    fn an_arc_and_what_is_copy_are_shared_wherever_a_function_returns_them() {
        type Answer<T> = Result<T, Box<dyn std::error::Error>>;
        assert!(is_shared!(Arc<u8>) && is_shared!(Arc<str>));
        assert!(is_shared!(Option<Arc<[u8]>>) && is_shared!(Answer<Arc<u8>>));
        assert!(is_shared!(Answer<Option<Arc<Mutex<u8>>>>));
        assert!(is_shared!(u8) && is_shared!(Answer<(u8, char)>) && is_shared!(Option<Option<[f64; 3]>>));
        assert!(!is_shared!(String) && !is_shared!(Vec<Arc<u8>>) && !is_shared!(Option<Option<Arc<u8>>>));
        assert!(!is_shared!(Answer<Vec<u8>>));
        assert!(!is_shared!(Arc<Cell<u8>>), "it would not be `Sync`");
    }

    #[test]
    fn what_may_borrow_is_not_shared() {
        struct Borrows<'a>(Mutex<Cow<'a, str>>);
        #[allow(mismatched_lifetime_syntaxes, reason = "that is what is tried")]
        fn hidden(text: &str) -> (Arc<Borrows>, bool) {
            let shared = is_shared!(Arc<Borrows>);
            (Arc::new(Borrows(Mutex::new(Cow::Borrowed(text)))), shared)
        }
        fn generic<T: Copy + Send + Sync>() -> bool {
            is_shared!(Arc<Vec<T>>) || is_shared!(T)
        }
        trait Held {
            type Type: Send + Sync;
            fn is_shared() -> bool {
                is_shared!(Option<Arc<Self::Type>>)
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
