//! The state of a flight under every order of events that a scheduler finds.

#[path = "state.rs"]
#[allow(dead_code, reason = "the whole of it, for what is tried here")]
#[allow(clippy::duplicate_mod, reason = "once more, on other locks")]
mod state;

#[path = "places.rs"]
#[allow(dead_code, reason = "the whole of it, for what is tried here")]
#[allow(clippy::duplicate_mod, reason = "once more, on other locks")]
mod places;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use places::{Admitted, Places};
use shuttle::{future, thread};
use state::{FlightState, Left, Wakeup};

use crate::singleflight::drive::Drive;
use crate::singleflight::pace::Pace;
use crate::tests::shuttle_locks as locks;

/// Nothing is known of the time, and none passes.
static PACE: Pace = Pace::new();

type Flight = FlightState<&'static str, Option<u32>>;

fn flight() -> Flight {
    Flight::new(&PACE, drive())
}

/// The leader leaves, with its baton beside the flight.
fn retire(flight: &Flight) -> Left<&'static str> {
    flight.lay_down("lease");
    flight.retire(None, None)
}

fn drive() -> Arc<Drive> {
    Arc::new(Drive::new())
}

fn explore(test: impl Fn() + Send + Sync + 'static) {
    shuttle::check_random(test, 2_000);
}

/// What wakes a waiting task.
async fn wakeup(flight: &Flight, number: u64) -> Wakeup<&'static str, Option<u32>> {
    let own = drive();
    poll_fn(|context| flight.poll(number, context.waker(), &own, |_| {})).await
}

#[test]
fn threads_and_tasks_all_get_what_the_leader_lands_with() {
    explore(|| {
        let flight = Arc::new(flight());
        let waiters: Vec<_> = (0..4)
            .map(|number| {
                flight.join();
                let flight = Arc::clone(&flight);
                thread::spawn(move || match number % 2 {
                    0 => flight.wait(&drive()),
                    _ => future::block_on(wakeup(&flight, number)),
                })
            })
            .collect();
        flight.land(Some(7), None);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Wakeup::Landed(Some(7)));
        }
    });
}

#[test]
fn one_takes_over_from_a_leader_that_leaves_and_the_others_wait_for_it() {
    explore(|| {
        let flight = Arc::new(flight());
        let computed = Arc::new(AtomicUsize::new(0));
        let waiters: Vec<_> = (0..3)
            .map(|number| {
                flight.join();
                let (flight, computed) = (Arc::clone(&flight), Arc::clone(&computed));
                thread::spawn(move || {
                    let wakeup = match number % 2 {
                        0 => flight.wait(&drive()),
                        _ => future::block_on(wakeup(&flight, number)),
                    };
                    match wakeup {
                        Wakeup::Landed(landed) => assert_eq!(landed, Some(7)),
                        Wakeup::Succeeds(baton) => {
                            assert_eq!(baton, Some("lease"));
                            computed.fetch_add(1, Ordering::Relaxed);
                            flight.land(Some(7), None);
                        }
                        Wakeup::Overtakes(..) => panic!("no time has passed"),
                    }
                })
            })
            .collect();
        assert_eq!(retire(&flight), Left::Open);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert_eq!(computed.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_waiter_that_leaves_takes_neither_the_lead_nor_the_baton_with_it() {
    explore(|| {
        let flight = Arc::new(flight());
        flight.join();
        flight.join();
        let leaver = {
            let flight = Arc::clone(&flight);
            // Polled once and dropped, as a future that loses a `select!`.
            thread::spawn(move || {
                let (own, mut polled) = (drive(), None);
                future::block_on(poll_fn(|context| {
                    polled = Some(flight.poll(1, context.waker(), &own, |_| {}));
                    std::task::Poll::Ready(())
                }));
                match polled {
                    Some(std::task::Poll::Ready(Wakeup::Succeeds(baton))) => {
                        assert_eq!(baton, Some("lease"));
                        // It leads, and leaves as a leader does.
                        flight.retire(None, None)
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
            thread::spawn(move || match flight.wait(&drive()) {
                Wakeup::Succeeds(baton) => {
                    assert_eq!(baton, Some("lease"));
                    flight.land(Some(7), None);
                }
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(retire(&flight), Left::Open);
        assert_eq!(leaver.join().unwrap(), Left::Open);
        stayer.join().unwrap();
    });
}

#[test]
fn a_caller_that_joins_an_empty_flight_goes_on_alone() {
    explore(|| {
        let flight = Arc::new(flight());
        let late = {
            let flight = Arc::clone(&flight);
            thread::spawn(move || {
                flight.join();
                match flight.wait(&drive()) {
                    Wakeup::Landed(landed) => assert_eq!(landed, None),
                    Wakeup::Succeeds(baton) => {
                        assert_eq!(baton, Some("lease"));
                        flight.land(None, None);
                    }
                    Wakeup::Overtakes(..) => panic!("no time has passed"),
                }
            })
        };
        // One caller has the lease, in either order.
        match retire(&flight) {
            Left::Open | Left::Closed(Some("lease")) => {}
            other => panic!("{other:?}"),
        }
        late.join().unwrap();
    });
}

/// Takes a place as soon as there is one, and counts the bodies meanwhile.
async fn body(places: &'static Places, running: &AtomicUsize, most: usize) {
    let place = match places.admit(&PACE) {
        Admitted::Now(place) => place,
        Admitted::Later(mut turn) => poll_fn(|context| turn.poll(context.waker(), |_| {})).await,
        Admitted::Free => panic!("this is inside no body"),
    };
    assert!(running.fetch_add(1, Ordering::Relaxed) < most);
    future::yield_now().await;
    running.fetch_sub(1, Ordering::Relaxed);
    drop(place);
}

fn places(most: usize) -> &'static Places {
    Box::leak(Box::new(Places::new(most)))
}

#[test]
fn no_more_bodies_run_than_there_are_places_and_all_get_one() {
    explore(|| {
        let (places, running) = (places(2), Arc::new(AtomicUsize::new(0)));
        let bodies: Vec<_> = (0..5)
            .map(|_| {
                let running = Arc::clone(&running);
                thread::spawn(move || future::block_on(body(places, &running, 2)))
            })
            .collect();
        bodies.into_iter().for_each(|body| body.join().unwrap());
    });
}

#[test]
fn a_turn_that_is_given_up_goes_to_the_next() {
    explore(|| {
        let (places, running) = (places(1), Arc::new(AtomicUsize::new(0)));
        let leaver = thread::spawn(move || {
            let Admitted::Later(mut turn) = places.admit(&PACE) else { return };
            // Polled once and dropped, perhaps with the place.
            future::block_on(poll_fn(|context| {
                let _ = turn.poll(context.waker(), |_| {});
                std::task::Poll::Ready(())
            }));
        });
        let stayers = [0, 1].map(|_| {
            let running = Arc::clone(&running);
            thread::spawn(move || future::block_on(body(places, &running, 1)))
        });
        leaver.join().unwrap();
        stayers.into_iter().for_each(|stayer| stayer.join().unwrap());
    });
}
