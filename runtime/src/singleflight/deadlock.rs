//! Which computations wait for which, so that no caller waits for itself.
//!
//! A computation that asks for its own value, directly or through others, would
//! wait for ever. A thread or task knows the computations it is in; across
//! threads, a wait that would close a circle is refused. Neither sees a child
//! that the computation has spawned: waiting for that ends when the waiters'
//! patience does.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sync::lock;

/// One computation that other callers may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Computation(u64);

thread_local! {
    /// The computations this thread is in now, the innermost last. A task's are
    /// here while it is polled.
    static OWN: RefCell<Vec<Computation>> = const { RefCell::new(Vec::new()) };
}

/// For each computation that waits, the one it waits for. One that waits for
/// several is listed with the last.
static BLOCKED: Mutex<Option<HashMap<Computation, Computation>>> = Mutex::new(None);

impl Computation {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Computation(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether the current thread or task is in it.
    pub(super) fn is_own(self) -> bool {
        with_own(|own| own.contains(&self)).unwrap_or(false)
    }

    /// Puts this thread into the computation until the guard is dropped.
    pub(crate) fn enter(self) -> Entered {
        Self::enter_all(&[self])
    }

    /// Puts this thread into all of these until the guard is dropped.
    pub(crate) fn enter_all(all: &[Computation]) -> Entered {
        with_own(|own| own.extend_from_slice(all));
        Entered(all.len())
    }

    /// Notes that the current computations wait for this one, until the guard
    /// is dropped. Returns `None` if this one waits for one of them.
    pub(super) fn block(self) -> Option<Blocked> {
        let own = with_own(|own| own.clone()).unwrap_or_default();
        if own.is_empty() {
            return Some(Blocked { own, on: self });
        }
        let mut blocked = lock(&BLOCKED);
        let blocked = blocked.get_or_insert_default();
        let mut next = Some(self);
        // A circle has at most as many members as there are waits.
        for _ in 0..=blocked.len() {
            let Some(computation) = next else { break };
            if own.contains(&computation) {
                return None;
            }
            next = blocked.get(&computation).copied();
        }
        blocked.extend(own.iter().map(|computation| (*computation, self)));
        Some(Blocked { own, on: self })
    }
}

/// Reads or changes what this thread is in. A thread that ends has forgotten it
/// by the time that destructors of its other thread-locals run: `None`.
fn with_own<T>(change: impl FnOnce(&mut Vec<Computation>) -> T) -> Option<T> {
    OWN.try_with(|own| change(&mut own.borrow_mut())).ok()
}

/// Leaves so many computations when dropped, also by a panic.
pub(crate) struct Entered(usize);

impl Drop for Entered {
    fn drop(&mut self) {
        with_own(|own| own.truncate(own.len().saturating_sub(self.0)));
    }
}

/// Ends the wait when dropped.
pub(super) struct Blocked {
    own: Vec<Computation>,
    on: Computation,
}

impl Drop for Blocked {
    fn drop(&mut self) {
        if self.own.is_empty() {
            return;
        }
        if let Some(blocked) = &mut *lock(&BLOCKED) {
            self.own.iter().for_each(|computation| {
                if blocked.get(computation) == Some(&self.on) {
                    blocked.remove(computation);
                }
            });
        }
    }
}
