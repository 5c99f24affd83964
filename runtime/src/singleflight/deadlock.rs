//! Who is computing what for whom, so that nobody waits for itself.
//!
//! A computation that asks for its own value, directly or through others,
//! would wait for ever. Within a thread or a task it knows its own courses;
//! across threads, waiting is refused if it would close a circle. What neither
//! sees (a child that the computation has spawned) ends with the leader's time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sync::lock;

/// One computation that others may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Course(u64);

thread_local! {
    /// The courses that this thread is on now, the innermost last; a task's
    /// whenever it is polled.
    static OWN: RefCell<Vec<Course>> = const { RefCell::new(Vec::new()) };
}

/// For each course that has to wait: the course it waits for. One that waits
/// for several is known for the last.
static BLOCKED: Mutex<Option<HashMap<Course, Course>>> = Mutex::new(None);

impl Course {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Course(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether this is what the current thread or task is computing.
    pub(super) fn is_own(self) -> bool {
        OWN.with_borrow(|own| own.contains(&self))
    }

    /// Puts this thread on the course until the guard is dropped.
    pub(crate) fn enter(self) -> Entered {
        OWN.with_borrow_mut(|own| own.push(self));
        Entered(())
    }

    /// Puts whichever thread polls `work` on the course.
    #[cfg(feature = "tokio")]
    pub(crate) async fn within<F: Future>(course: Option<Course>, work: F) -> F::Output {
        let mut work = std::pin::pin!(work);
        std::future::poll_fn(|context| {
            let _entered = course.map(Course::enter);
            work.as_mut().poll(context)
        })
        .await
    }

    /// Has the current courses wait for this one, until the guard is dropped;
    /// `None` if it waits for one of them.
    pub(super) fn block(self) -> Option<Blocked> {
        let own = OWN.with_borrow(Clone::clone);
        if own.is_empty() {
            return Some(Blocked { own, on: self });
        }
        let mut blocked = lock(&BLOCKED);
        let blocked = blocked.get_or_insert_default();
        let mut next = Some(self);
        // A circle has at most as many courses as there are.
        for _ in 0..=blocked.len() {
            let Some(course) = next else { break };
            if own.contains(&course) {
                return None;
            }
            next = blocked.get(&course).copied();
        }
        blocked.extend(own.iter().map(|course| (*course, self)));
        Some(Blocked { own, on: self })
    }
}

/// Leaves the course when it is dropped, by a panic too.
pub(crate) struct Entered(());

impl Drop for Entered {
    fn drop(&mut self) {
        OWN.with_borrow_mut(Vec::pop);
    }
}

/// Waits no longer when it is dropped.
pub(super) struct Blocked {
    own: Vec<Course>,
    on: Course,
}

impl Drop for Blocked {
    fn drop(&mut self) {
        if self.own.is_empty() {
            return;
        }
        if let Some(blocked) = &mut *lock(&BLOCKED) {
            self.own.iter().for_each(|course| {
                if blocked.get(course) == Some(&self.on) {
                    blocked.remove(course);
                }
            });
        }
    }
}
