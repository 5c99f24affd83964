//! Modes: how a part of the program treats the cache for a while.
//!
//! A mode belongs to the current thread while a closure runs, or to a future
//! whenever it is polled, on whichever thread that is.

use std::cell::Cell;
use std::pin::pin;

/// How memoized functions treat the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// Use the cache as usual.
    Normal,
    /// Compute even if there is a value, and replace it.
    Refresh,
    /// Leave the cache alone: neither look up nor store.
    Bypass,
    /// Look up, but store nothing.
    ReadOnly,
}

thread_local! {
    static CURRENT: Cell<Mode> = const { Cell::new(Mode::Normal) };
}

/// Runs `work` with memoized functions in this mode, on this thread. Modes nest, and
/// the innermost one applies.
///
/// ```
/// use memocached::{Mode, memcached, with_mode};
///
/// #[memcached(key = "now")]
/// fn now() -> std::time::SystemTime {
///     std::time::SystemTime::now()
/// }
///
/// let first = now();
/// assert_eq!(now(), first);
/// let fresh = with_mode(Mode::Refresh, now);
/// assert!(fresh > first);
/// assert_eq!(now(), fresh);
/// ```
pub fn with_mode<R>(mode: Mode, work: impl FnOnce() -> R) -> R {
    let _restored = enter(mode);
    work()
}

/// Runs a future with memoized functions in this mode, like [`with_mode`].
///
/// The mode follows the future between threads and does not affect other futures on
/// the same thread. A task that the future spawns starts in [`Mode::Normal`].
pub async fn with_mode_async<F: Future>(mode: Mode, work: F) -> F::Output {
    let mut work = pin!(work);
    std::future::poll_fn(|context| {
        let _restored = enter(mode);
        work.as_mut().poll(context)
    })
    .await
}

/// Returns the mode that applies now.
#[inline]
pub(crate) fn current() -> Mode {
    CURRENT.get()
}

/// Restores the previous mode when dropped, even by a panic.
struct Restored(Mode);

fn enter(mode: Mode) -> Restored {
    Restored(CURRENT.replace(mode))
}

impl Drop for Restored {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}
