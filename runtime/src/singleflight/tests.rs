//! The roles of callers in a flight, one step after the other.

use std::sync::mpsc;
use std::task::{Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::places::{Admitted, Places};
use super::*;

const MS: Duration = Duration::from_millis(1);

/// The pace of a site whose computations take `usually`.
fn pace(usually: Duration) -> &'static Pace {
    let pace: &'static Pace = Box::leak(Box::new(Pace::new()));
    pace.ended(usually);
    pace
}

/// No test takes as long as this site's computations.
fn patient() -> &'static Pace {
    pace(Duration::from_secs(86_400))
}

fn leads<B: Clone>(part: Role<B>) -> Lead<B> {
    match part {
        Role::Lead(lead) => lead,
        Role::Wait(_) => panic!("waits"),
        Role::Alone => panic!("joins none"),
    }
}

fn waits<B: Clone>(part: Role<B>) -> Waiter<B> {
    match part {
        Role::Wait(waiter) => waiter,
        Role::Lead(_) => panic!("leads"),
        Role::Alone => panic!("joins none"),
    }
}

impl Flights<&'static str> {
    fn joined(&self, id: Option<FlightId>) -> Role<&'static str> {
        self.join("key", id.map_or(WantedFlight::Any, WantedFlight::Id), patient(), None)
    }
}

#[test]
fn a_caller_that_knows_another_lease_does_not_join() {
    let flights = Flights::new(Clock::system());
    let mut lead = leads(flights.join("key", WantedFlight::Id(FlightId::new(7, 0)), patient(), Some(3)));
    assert_eq!(waits(flights.joined(Some(FlightId::new(7, 0)))).leader(), Some(3));
    assert_eq!(waits(flights.joined(None)).leader(), Some(3));
    lead.runs_as(FlightId::new(9, 0));
    lead.announces(FlightId::new(9, 0)).renewed(8);
    // Under its number, and under the one that a late reply may show.
    drop(waits(flights.joined(Some(FlightId::new(8, 0)))));
    drop(waits(flights.joined(Some(FlightId::new(9, 0)))));
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
    let flights = Flights::new(Clock::system());
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
    let flights = Flights::new(Clock::system());
    let lead = leads(flights.joined(None));
    let entered = lead.computation().enter();
    assert!(matches!(flights.joined(None), Role::Alone));
    drop(leads(flights.join("another", WantedFlight::Any, patient(), None)));
    drop(entered);
    drop(waits(flights.joined(None)));
}

#[test]
fn computations_do_not_wait_for_each_other_in_a_circle() {
    let flights = Flights::<()>::new(Clock::system());
    let [one, two] = ["one", "two"].map(|key| leads(flights.join(key, WantedFlight::Any, patient(), None)));
    let in_circle = |flights: &Flights<()>| {
        std::thread::scope(|scope| {
            let asks = scope.spawn(|| {
                let _entered = two.computation().enter();
                let waiter = waits(flights.join("one", WantedFlight::Any, patient(), None));
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
    let flights = Flights::new(Clock::system());
    let [first, second] = {
        let lead = leads(flights.joined(None));
        let waiters = [(); 2].map(|()| waits(flights.joined(None)));
        lead.share("baton");
        lead.pass_on();
        waiters
    };
    let Waited::Succeeds(lead, Some("baton")) = first.wait() else { panic!("no waiter leads") };
    lead.pass_on();
    assert_eq!(flights.len(), 1);
    // The last waiter takes the baton with it.
    drop(second);
    assert_eq!(flights.len(), 0);
    leads(flights.joined(None)).pass_on();
    assert_eq!(flights.len(), 0);
}

#[test]
fn waiters_overtake_a_leader_one_after_the_other_at_doubling_ages() {
    let flights = Flights::new(Clock::system());
    let pace = pace(30 * MS);
    let begun = Instant::now();
    let joined = || flights.join("key", WantedFlight::Any, pace, None);
    let lead = leads(joined());
    lead.share("baton");
    let [first, second] = [(); 2].map(|()| waits(joined()));
    let Waited::Overtakes(overtaking, Some("baton")) = first.wait() else { panic!("waits for ever") };
    assert!(begun.elapsed() >= 45 * MS);
    let Waited::Overtakes(last, Some("baton")) = second.wait() else { panic!("waits for ever") };
    assert!(begun.elapsed() >= 90 * MS);
    // The leader goes on without them.
    overtaking.pass_on();
    last.pass_on();
    let third = waits(joined());
    lead.land(Some(Arc::new(Record { bytes: b"value".to_vec(), flags: 1 })));
    assert!(matches!(third.wait(), Waited::Landed(Some(record)) if record.bytes == b"value"));
    assert_eq!(flights.len(), 0);
}

/// A lease that is granted while an overtaker computes says nothing about what it has read.
#[test]
fn a_lease_that_a_leader_finds_is_not_that_of_who_overtook_it() {
    let record = |bytes: &[u8]| Some(Arc::new(Record { bytes: bytes.to_vec(), flags: 1 }));
    let flights = Flights::<()>::new(Clock::system());
    let joined = |wanted| flights.join("key", wanted, pace(5 * MS), None);
    let (mut lead, waiter) = (leads(joined(WantedFlight::Any)), waits(joined(WantedFlight::Any)));
    let waits_on = waits(joined(WantedFlight::Any));
    let Waited::Overtakes(overtaking, None) = waiter.wait() else { panic!("waits for ever") };
    lead.runs_as(FlightId::new(9, 0));
    let later = waits(joined(WantedFlight::Id(FlightId::new(9, 0))));
    overtaking.land(record(b"old"));
    assert!(matches!(waits_on.wait(), Waited::Landed(Some(record)) if record.bytes == b"old"));
    lead.land(record(b"new"));
    assert!(matches!(later.wait(), Waited::Landed(Some(record)) if record.bytes == b"new"));
    assert_eq!(flights.len(), 0);
}

#[test]
fn an_overtaker_that_lands_first_gets_its_token_back() {
    let flights = Flights::<()>::new(Clock::system());
    let pace = pace(5 * MS);
    for _ in 0..30 {
        let lead = leads(flights.join("key", WantedFlight::Any, pace, None));
        let waiter = waits(flights.join("key", WantedFlight::Any, pace, None));
        let begun = Instant::now();
        let Waited::Overtakes(overtaking, None) = waiter.wait() else { panic!("waits for ever") };
        // Without a token, it would wait for sixteen times as long.
        assert!(begun.elapsed() < 16 * 10 * MS);
        overtaking.land(None);
        drop(lead);
    }
}

#[test]
fn an_overtaker_that_is_cancelled_gets_its_token_back() {
    let flights = Flights::<()>::new(Clock::system());
    let pace = pace(5 * MS);
    while pace.pay(Duration::ZERO).is_some() {}
    pace.refund();
    let joined = || flights.join("key", WantedFlight::Any, pace, None);
    let (lead, waiter) = (leads(joined()), waits(joined()));
    let Waited::Overtakes(overtaking, None) = waiter.wait() else { panic!("waits for ever") };
    overtaking.pass_on();
    assert_eq!(pace.pay(Duration::ZERO), Some(Payment::Token));
    drop(lead);
}

struct Panicking;

impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        panic!("on purpose");
    }
}

#[test]
fn a_waker_that_panics_costs_neither_the_body_nor_other_turns_anything() {
    let places: &'static Places = Box::leak(Box::new(Places::new(1)));
    let Admitted::Now(first) = places.admit(patient()) else { panic!("it is free") };
    let [mut second, mut third] = [(); 2].map(|()| match places.admit(patient()) {
        Admitted::Later(turn) => turn,
        Admitted::Now(_) | Admitted::Free => panic!("it is taken"),
    });
    let woken = Arc::new(Woken::default());
    assert!(second.poll(&Waker::from(Arc::new(Panicking)), |_| ()).is_pending());
    assert!(third.poll(&Waker::from(Arc::clone(&woken)), |_| ()).is_pending());
    drop(first);
    drop(second);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert!(third.poll(Waker::noop(), |_| ()).is_ready());
}

#[test]
fn a_waker_that_panics_keeps_no_other_from_waking() {
    let woken = Arc::new(Woken::default());
    let flights = Flights::<()>::new(Clock::system());
    let joined = || flights.join("key", WantedFlight::Any, patient(), None);
    let lead = leads(joined());
    let waiters: Vec<_> = (0..16).map(|_| waits(joined())).collect();
    for (number, Waiter { flight, task, drive, .. }) in waiters.iter().enumerate() {
        let panics = number % 4 == 0;
        let waker = if panics { Waker::from(Arc::new(Panicking)) } else { Waker::from(Arc::clone(&woken)) };
        assert!(flight.state.poll(*task, &waker, drive, |_| ()).is_pending());
    }
    lead.land(None);
    assert_eq!(woken.0.load(Ordering::Relaxed), 12);
}

#[test]
fn a_flight_is_joined_by_callers_that_began_before_it() {
    let flights = Flights::<()>::new(Clock::system());
    let before = Instant::now();
    let lead = leads(flights.join("key", WantedFlight::Any, patient(), None));
    std::thread::sleep(MS);
    let after = Instant::now();
    drop(waits(flights.join("key", WantedFlight::Since(before), patient(), None)));
    drop(leads(flights.join("key", WantedFlight::Since(after), patient(), None)));
    drop(lead);
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_task_overtakes_a_leader_that_takes_too_long() {
    let flights = Flights::<()>::new(Clock::system());
    let pace = pace(15 * MS);
    let lead = leads(flights.join("key", WantedFlight::Any, pace, None));
    let waiter = waits(flights.join("key", WantedFlight::Any, pace, None));
    let waited = tokio::time::timeout(Duration::from_secs(30), waiter.wait_async()).await;
    assert!(matches!(waited, Ok(Waited::Overtakes(..))));
    drop(lead);
}

/// The leader's future is woken and lies unpolled, as behind a `select!`.
#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_leader_that_stands_still_is_overtaken_at_once() {
    let flights = Flights::<()>::new(Clock::system());
    let lead = leads(flights.join("key", WantedFlight::Any, patient(), None));
    let mut body =
        Box::pin(driving::Driven::new(Box::pin(tokio::time::sleep(MS)), Box::default(), Some(lead.drive()), None));
    let polled = poll_fn(|context| Poll::Ready(body.as_mut().poll(context))).await;
    assert!(polled.is_pending());
    let waiter = waits(flights.join("key", WantedFlight::Any, patient(), None));
    let waited = tokio::time::timeout(Duration::from_secs(5), waiter.wait_async()).await;
    assert!(matches!(waited, Ok(Waited::Overtakes(..))));
    let waiter = waits(flights.join("key", WantedFlight::Any, patient(), None));
    // A thread notices as well, but the overtaker has just begun.
    drop(waiter);
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
    let flights = Flights::<()>::new(Clock::system());
    let lead = leads(flights.join("key", WantedFlight::Any, patient(), None));
    let waiters = [(); 2].map(|()| waits(flights.join("key", WantedFlight::Any, patient(), None)));
    let mut timers = Vec::new();
    for Waiter { flight, task, drive, .. } in &waiters {
        for _ in 0..2 {
            let polled = flight.state.poll(*task, &waker, drive, |at| timers.push(at));
            assert!(polled.is_pending());
        }
    }
    assert_eq!(timers.len(), 1);
    lead.land(None);
    assert_eq!(woken.0.load(Ordering::Relaxed), 2);
    for mut waiter in waiters {
        let Waiter { flight, task, drive, .. } = &waiter;
        let polled = flight.state.poll(*task, &waker, drive, |_| panic!("it is over"));
        let Poll::Ready(wakeup) = polled else { panic!("is not over") };
        assert!(matches!(waiter.woken(wakeup), Waited::Landed(None)));
    }
}

/// A right to store that is given back while another caller comes.
#[derive(Clone)]
struct SlowBaton(Flights<SlowBaton>, mpsc::Sender<bool>);

impl Drop for SlowBaton {
    fn drop(&mut self) {
        let (flights, (comes, come)) = (self.0.clone(), mpsc::channel());
        std::thread::spawn(move || {
            drop(flights.join("key", WantedFlight::Any, patient(), None));
            let _ = comes.send(());
        });
        let _ = self.1.send(come.recv_timeout(Duration::from_secs(5)).is_ok());
    }
}

#[test]
fn no_caller_waits_until_a_baton_is_given_back() {
    let (flights, (tells, told)) = (Flights::new(Clock::system()), mpsc::channel());
    let baton = || SlowBaton(flights.clone(), tells.clone());
    let lead = leads(flights.join("key", WantedFlight::Any, patient(), None));
    lead.share(baton());
    lead.share(baton());
    assert_eq!(told.recv(), Ok(true), "another one is laid down");
    lead.land(None);
    assert_eq!(told.recv(), Ok(true), "it is of no more use");
}
