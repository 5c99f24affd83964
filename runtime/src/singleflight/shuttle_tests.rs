//! The state of a flight under every order of events that a scheduler finds.

#[path = "state.rs"]
#[allow(dead_code, reason = "the whole of it, for what is tried here")]
#[allow(clippy::duplicate_mod, reason = "once more, on other locks")]
mod state;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shuttle::{future, thread};
use state::{FlightState, Left, Wakeup};

use crate::tests::shuttle_locks as locks;

/// Here no time passes.
const PATIENT: Duration = Duration::from_secs(86_400);

type Flight = FlightState<&'static str, Option<u32>>;

fn explore(test: impl Fn() + Send + Sync + 'static) {
    shuttle::check_random(test, 2_000);
}

/// What wakes a waiting task.
async fn wakeup(flight: &Flight, number: u64) -> Wakeup<&'static str, Option<u32>> {
    poll_fn(|context| flight.poll(number, context.waker(), |_| {})).await
}

#[test]
fn threads_and_tasks_all_get_what_the_leader_lands_with() {
    explore(|| {
        let flight = Arc::new(Flight::new(PATIENT));
        let waiters: Vec<_> = (0..4)
            .map(|number| {
                flight.join();
                let flight = Arc::clone(&flight);
                thread::spawn(move || match number % 2 {
                    0 => flight.wait(),
                    _ => future::block_on(wakeup(&flight, number)),
                })
            })
            .collect();
        flight.land(Some(7));
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Wakeup::Landed(Some(7)));
        }
    });
}

#[test]
fn one_takes_over_from_a_leader_that_leaves_and_the_others_wait_for_it() {
    explore(|| {
        let flight = Arc::new(Flight::new(PATIENT));
        let computed = Arc::new(AtomicUsize::new(0));
        let waiters: Vec<_> = (0..3)
            .map(|number| {
                flight.join();
                let (flight, computed) = (Arc::clone(&flight), Arc::clone(&computed));
                thread::spawn(move || {
                    let wakeup = match number % 2 {
                        0 => flight.wait(),
                        _ => future::block_on(wakeup(&flight, number)),
                    };
                    match wakeup {
                        Wakeup::Landed(landed) => assert_eq!(landed, Some(7)),
                        Wakeup::Succeeds(baton) => {
                            assert_eq!(baton, Some("lease"));
                            computed.fetch_add(1, Ordering::Relaxed);
                            flight.land(Some(7));
                        }
                        Wakeup::Overtakes => panic!("no time has passed"),
                    }
                })
            })
            .collect();
        assert_eq!(flight.retire(Some("lease"), None), Left::Open);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert_eq!(computed.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_waiter_that_leaves_takes_neither_the_lead_nor_the_baton_with_it() {
    explore(|| {
        let flight = Arc::new(Flight::new(PATIENT));
        flight.join();
        flight.join();
        let leaver = {
            let flight = Arc::clone(&flight);
            // Polled once and dropped, as a future that loses a `select!`.
            thread::spawn(move || {
                let mut polled = None;
                future::block_on(poll_fn(|context| {
                    polled = Some(flight.poll(1, context.waker(), |_| {}));
                    std::task::Poll::Ready(())
                }));
                match polled {
                    Some(std::task::Poll::Ready(Wakeup::Succeeds(baton))) => {
                        // It leads, and leaves as a leader does.
                        flight.retire(baton, None)
                    }
                    Some(std::task::Poll::Pending) => flight.leave(1, None),
                    // The other has been faster.
                    Some(std::task::Poll::Ready(Wakeup::Landed(Some(7)))) => Left::Open,
                    other => panic!("{other:?}"),
                }
            })
        };
        let stayer = {
            let flight = Arc::clone(&flight);
            thread::spawn(move || match flight.wait() {
                Wakeup::Succeeds(baton) => {
                    assert_eq!(baton, Some("lease"));
                    flight.land(Some(7));
                }
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(flight.retire(Some("lease"), None), Left::Open);
        assert_eq!(leaver.join().unwrap(), Left::Open);
        stayer.join().unwrap();
    });
}

#[test]
fn a_caller_that_joins_an_empty_flight_goes_on_alone() {
    explore(|| {
        let flight = Arc::new(Flight::new(PATIENT));
        let late = {
            let flight = Arc::clone(&flight);
            thread::spawn(move || {
                flight.join();
                match flight.wait() {
                    Wakeup::Landed(landed) => assert_eq!(landed, None),
                    Wakeup::Succeeds(baton) => {
                        assert_eq!(baton, Some("lease"));
                        flight.land(None);
                    }
                    Wakeup::Overtakes => panic!("no time has passed"),
                }
            })
        };
        // One caller has the lease, in either order.
        match flight.retire(Some("lease"), None) {
            Left::Open | Left::Closed(Some("lease")) => {}
            other => panic!("{other:?}"),
        }
        late.join().unwrap();
    });
}
