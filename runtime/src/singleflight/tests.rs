//! The roles of callers in a flight, one step after the other.

use std::task::{Poll, Wake, Waker};
use std::time::Instant;

use super::*;

/// Longer than any test waits.
const PATIENT: Duration = Duration::from_secs(86_400);

fn leads<B>(part: Role<B>) -> Lead<B> {
    match part {
        Role::Lead(lead) => lead,
        Role::Wait(_) => panic!("waits"),
        Role::Alone => panic!("joins none"),
    }
}

fn waits<B>(part: Role<B>) -> Waiter<B> {
    match part {
        Role::Wait(waiter) => waiter,
        Role::Lead(_) => panic!("leads"),
        Role::Alone => panic!("joins none"),
    }
}

impl Flights<&'static str> {
    fn joined(&self, lease: Option<FlightId>) -> Role<&'static str> {
        self.join("key", lease, PATIENT, None)
    }
}

#[test]
fn a_caller_that_knows_another_lease_does_not_join() {
    let flights = Flights::new();
    let lead = leads(flights.join("key", Some(FlightId::new(7, 0)), PATIENT, Some(3)));
    assert_eq!(waits(flights.joined(Some(FlightId::new(7, 0)))).leader(), Some(3));
    assert_eq!(waits(flights.joined(None)).leader(), Some(3));
    lead.announces(FlightId::new(9, 0)).renewed(8);
    assert_eq!(lead.flight.id.load(Ordering::Relaxed), 8);
    drop(waits(flights.joined(Some(FlightId::new(8, 0)))));
    let later = leads(flights.joined(Some(FlightId::new(7, 0))));
    drop(waits(flights.joined(Some(FlightId::new(7, 0)))));
    // The earlier does not end the later.
    lead.land(None);
    drop(waits(flights.joined(Some(FlightId::new(7, 0)))));
    later.land(None);
    assert_eq!(flights.len(), 0);
}

#[test]
fn a_flight_is_joined_until_it_is_over_or_detached() {
    let flights = Flights::new();
    let lead = leads(flights.joined(None));
    assert!(!lead.is_awaited());
    let waiter = waits(flights.joined(None));
    assert!(lead.is_awaited());
    flights.detach("key");
    let later = leads(flights.joined(None));
    assert!(!later.is_awaited());
    drop(later);
    assert_eq!(flights.len(), 0);
    // As by a panic.
    drop(lead);
    assert!(matches!(waiter.wait(), Waited::Landed(None)));
}

#[test]
fn a_computation_does_not_wait_for_itself() {
    let flights = Flights::new();
    let lead = leads(flights.joined(None));
    let entered = lead.computation().enter();
    assert!(matches!(flights.joined(None), Role::Alone));
    drop(leads(flights.join("another", None, PATIENT, None)));
    drop(entered);
    drop(waits(flights.joined(None)));
}

#[test]
fn computations_do_not_wait_for_each_other_in_a_circle() {
    let flights = Flights::<()>::new();
    let [one, two] = ["one", "two"].map(|key| leads(flights.join(key, None, PATIENT, None)));
    let in_circle = |flights: &Flights<()>| {
        std::thread::scope(|scope| {
            let asks = scope.spawn(|| {
                let _entered = two.computation().enter();
                let waiter = waits(flights.join("one", None, PATIENT, None));
                waiter.flight.computation.block().is_none()
            });
            asks.join().unwrap()
        })
    };
    let entered = one.computation().enter();
    let blocked = two.computation().block();
    assert!(blocked.is_some() && in_circle(&flights));
    drop(blocked);
    assert!(!in_circle(&flights));
    drop(entered);
    // A caller outside of any computation is waited for by none.
    assert!(two.computation().block().is_some() && !in_circle(&flights));
}

#[test]
fn a_waiter_succeeds_a_leader_that_leaves_and_has_its_baton() {
    let flights = Flights::new();
    let [first, second] = {
        let lead = leads(flights.joined(None));
        let waiters = [(); 2].map(|()| waits(flights.joined(None)));
        lead.pass_on(Some("baton"));
        waiters
    };
    let Waited::Succeeds(lead, Some("baton")) = first.wait() else { panic!("no waiter leads") };
    lead.pass_on(Some("again"));
    assert_eq!(flights.len(), 1);
    // The last one takes what was to be passed on with it.
    drop(second);
    assert_eq!(flights.len(), 0);
    leads(flights.joined(None)).pass_on(Some("to no waiter"));
    assert_eq!(flights.len(), 0);
}

#[test]
fn a_slow_leader_is_overtaken_and_the_next_has_twice_as_long() {
    const PATIENCE: Duration = Duration::from_millis(30);
    let flights = Flights::<()>::new();
    let begun = Instant::now();
    let lead = leads(flights.join("key", None, PATIENCE, None));
    let [first, second] = [(); 2].map(|()| waits(flights.join("key", None, PATIENCE, None)));
    let Waited::Overtakes(overtaking) = first.wait() else { panic!("waits for ever") };
    assert!(begun.elapsed() >= PATIENCE);
    let Waited::Overtakes(last) = second.wait() else { panic!("waits for ever") };
    assert!(begun.elapsed() >= PATIENCE + 2 * PATIENCE);
    // It goes on without those.
    overtaking.pass_on(None);
    last.pass_on(None);
    let third = waits(flights.join("key", None, PATIENCE, None));
    lead.land(Some(Arc::new(Record { bytes: b"value".to_vec(), flags: 1 })));
    assert!(matches!(third.wait(), Waited::Landed(Some(record)) if record.bytes == b"value"));
    assert_eq!(flights.len(), 0);
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_task_overtakes_too() {
    const PATIENCE: Duration = Duration::from_millis(30);
    let flights = Flights::<()>::new();
    let lead = leads(flights.join("key", None, PATIENCE, None));
    let waiter = waits(flights.join("key", None, PATIENCE, None));
    let waited = tokio::time::timeout(1_000 * PATIENCE, waiter.wait_async()).await;
    assert!(matches!(waited, Ok(Waited::Overtakes(_))));
    drop(lead);
}

#[derive(Default)]
struct Woken(AtomicU64);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn all_tasks_are_woken_and_one_timer_is_set_for_them() {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let flights = Flights::<()>::new();
    let lead = leads(flights.join("key", None, PATIENT, None));
    let waiters = [(); 2].map(|()| waits(flights.join("key", None, PATIENT, None)));
    let mut alarms = Vec::new();
    for Waiter { flight, task, .. } in &waiters {
        for _ in 0..2 {
            let polled = flight.state.poll(*task, &waker, |at| alarms.push(at));
            assert!(polled.is_pending());
        }
    }
    assert_eq!(alarms.len(), 1);
    lead.land(None);
    assert_eq!(woken.0.load(Ordering::Relaxed), 2);
    for mut waiter in waiters {
        let Waiter { flight, task, .. } = &waiter;
        let polled = flight.state.poll(*task, &waker, |_| panic!("it is over"));
        let Poll::Ready(wakeup) = polled else { panic!("is not over") };
        assert!(matches!(waiter.woken(wakeup), Waited::Landed(None)));
    }
}
