//! Whether what is read back is equal to what was computed, where a type can tell.
//!
//! Some attributes of serde leave out what no format can notice: `skip`, or `with`
//! functions that lose something. Such a value encodes and decodes without a sign
//! of it, so it is compared by its own `==`. To keep that cheap, a function's first
//! value is compared, then its second, fourth, eighth and so on; once one was
//! unlike, every one.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// What is known of the values that a function has stored.
#[derive(Debug)]
pub(crate) struct Seen {
    count: AtomicU32,
    unlike: AtomicBool,
}

impl Seen {
    /// Begins with no value seen.
    pub(crate) const fn new() -> Self {
        Seen { count: AtomicU32::new(0), unlike: AtomicBool::new(false) }
    }

    fn is_due(&self) -> bool {
        self.unlike.load(Ordering::Relaxed)
            || self.count.fetch_add(1, Ordering::Relaxed).wrapping_add(1).is_power_of_two()
    }
}

/// Whether two values are equal.
pub(crate) type Equal<V> = fn(&V, &V) -> bool;

/// Compares a function's values with what is read back of them.
pub(crate) struct Likeness<V> {
    pub(crate) equal: Equal<V>,
    pub(crate) seen: &'static Seen,
}

impl<V> Likeness<V> {
    /// Returns whether the value is equal to what `decode` reads back, as far as that is checked.
    pub(crate) fn holds(&self, value: &V, decode: impl FnOnce() -> Option<V>) -> bool {
        let holds = !self.seen.is_due() || self.is_equal(value, decode);
        if !holds {
            self.seen.unlike.store(true, Ordering::Relaxed);
        }
        holds
    }

    /// Whether the value is equal to what `decode` reads back. A value that is unlike
    /// itself, such as NaN, tells nothing.
    pub(crate) fn is_equal(&self, value: &V, decode: impl FnOnce() -> Option<V>) -> bool {
        !(self.equal)(value, value) || decode().is_some_and(|back| (self.equal)(value, &back))
    }
}

impl<V> fmt::Debug for Likeness<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Likeness").field("seen", &self.seen).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_ever_less_often_until_one_is_unlike() {
        static SEEN: Seen = Seen::new();
        let likeness = Likeness { equal: u8::eq, seen: &SEEN };
        let mut decoded = 0;
        for _ in 0..100 {
            assert!(likeness.holds(&1, || {
                decoded += 1;
                Some(1)
            }));
        }
        assert_eq!(decoded, 7);
        // 101 to 127 are not compared.
        assert_eq!((101..=128).filter(|_| !likeness.holds(&1, || Some(2))).count(), 1);
        assert!((0..100).all(|_| !likeness.holds(&1, || Some(2))));
        assert!(likeness.holds(&1, || Some(1)));
    }

    #[test]
    fn a_value_that_is_unlike_itself_counts_as_equal() {
        static SEEN: Seen = Seen::new();
        assert!(Likeness { equal: f64::eq, seen: &SEEN }.holds(&f64::NAN, || Some(f64::NAN)));
    }
}
