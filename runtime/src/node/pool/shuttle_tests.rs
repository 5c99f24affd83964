//! Lending under every order of events that a scheduler comes up with.

#[path = "lending.rs"]
#[allow(dead_code, reason = "the whole of it, for what is tried here")]
#[allow(clippy::duplicate_mod, reason = "once more, on other locks")]
mod lending;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lending::{Permit, Pool};
use shuttle::sync::Mutex;
use shuttle::thread;

use crate::tests::shuttle_locks as locks;

/// As good as for ever: no time passes here, and the checker finds a caller that
/// waits in vain.
const PATIENT: Duration = Duration::from_secs(86_400);
const LIMIT: usize = 2;

/// A pool of numbered connections, and those that are in use.
struct Lender {
    pool: Pool<u32>,
    opened: AtomicU32,
    in_use: Mutex<HashSet<u32>>,
}

/// What becomes of a connection.
#[derive(Clone, Copy)]
enum End {
    GivenBack,
    Closed,
}

impl Lender {
    fn new() -> Arc<Self> {
        let in_use = Mutex::new(HashSet::new());
        Arc::new(Lender { pool: Pool::new(LIMIT), opened: AtomicU32::new(0), in_use })
    }

    fn exchange(&self, mut permit: Permit<'_, u32>, end: End) {
        let connection = permit.idle.take().unwrap_or_else(|| self.opened.fetch_add(1, Ordering::Relaxed));
        let begin = |in_use: &mut HashSet<u32>| in_use.insert(connection) && in_use.len() <= LIMIT;
        assert!(begin(&mut self.in_use.lock().unwrap()), "lent twice, or too many");
        thread::yield_now();
        self.in_use.lock().unwrap().remove(&connection);
        match end {
            End::GivenBack => permit.give_back(connection),
            End::Closed => drop(permit),
        }
    }
}

/// Every caller that waits gets a permit, and all permits are free in the end.
fn explore(ends: [End; 4]) {
    let test = move || {
        let node = Lender::new();
        let patient = ends.map(|end| {
            let node = Arc::clone(&node);
            thread::spawn(move || {
                let permit = node.pool.checkout(PATIENT).expect("no time has passed");
                node.exchange(permit, end);
            })
        });
        let hasty = {
            let node = Arc::clone(&node);
            thread::spawn(move || {
                if let Some(permit) = node.pool.try_checkout() {
                    node.exchange(permit, End::GivenBack);
                }
                node.pool.clear();
            })
        };
        patient.into_iter().chain([hasty]).for_each(|thread| thread.join().unwrap());
        let left = node.pool.connections();
        assert!(left.used == 0 && left.idle <= LIMIT, "{left:?}");
    };
    shuttle::check_random(test, 2_000);
}

#[test]
fn connections_given_back_are_lent_to_all_who_wait() {
    explore([End::GivenBack; 4]);
}

#[test]
fn connections_that_are_closed_make_room_for_all_who_wait() {
    explore([End::Closed, End::GivenBack, End::Closed, End::Closed]);
}
