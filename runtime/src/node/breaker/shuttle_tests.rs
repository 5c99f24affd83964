//! A circuit under every order of events that a scheduler comes up with.

#[path = "circuit.rs"]
#[allow(dead_code, reason = "the whole of it, for what is tried here")]
#[allow(clippy::duplicate_mod, reason = "once more, on another lock")]
mod circuit;

use std::sync::Arc;
use std::time::Instant;

use circuit::{Breaker, Pauses, Turn};
use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use shuttle::thread;

use crate::error::ErrorKind;
use crate::tests::shuttle_locks as locks;

const CALLERS: usize = 3;

/// A node that answers from some moment on, or until then.
struct Probee {
    breaker: Breaker,
    is_up: AtomicBool,
    opened: AtomicU64,
    now: Instant,
}

impl Probee {
    fn call(&self, kind: ErrorKind) {
        let Ok(admission) = self.breaker.admit(self.now) else { return };
        if self.is_up.load(Ordering::SeqCst) {
            self.breaker.succeeded(admission);
        } else if self.breaker.failed(admission, kind, self.now) {
            self.opened.fetch_add(1, Ordering::SeqCst);
            // The caller that is told sees to the probes.
            while self.breaker.is_open() {
                self.breaker.probed(self.is_up.load(Ordering::SeqCst), self.now);
                thread::yield_now();
            }
        }
    }
}

/// Each opening is told to one caller, whose probes close the circuit once the
/// node is up; no call that was under way then opens it again.
fn explore(kind: ErrorKind) {
    let test = move || {
        let (is_up, opened) = (AtomicBool::new(false), AtomicU64::new(0));
        let node = Arc::new(Probee { breaker: Breaker::new(Pauses::default()), is_up, opened, now: Instant::now() });
        let callers = [(); CALLERS].map(|()| {
            let node = Arc::clone(&node);
            thread::spawn(move || (0..2).for_each(|_| node.call(kind)))
        });
        node.is_up.store(true, Ordering::SeqCst);
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        assert!(!node.breaker.is_open());
        assert_eq!(node.breaker.turn(), Turn::Up(node.opened.load(Ordering::SeqCst)));
        assert!(node.breaker.admit(node.now).is_ok());
    };
    shuttle::check_random(test, 5_000);
}

#[test]
fn a_node_that_refuses_for_a_while_comes_back() {
    explore(ErrorKind::Connect);
}

#[test]
fn a_node_that_is_silent_for_a_while_comes_back() {
    explore(ErrorKind::Timeout);
}
