//! Whether a node is worth asking.
//!
//! `circuit` is the whole of it, once on real locks and once on those of the
//! model checker.

mod circuit;
#[cfg(test)]
mod shuttle_tests;

use crate::sync as locks;
pub(crate) use circuit::{Admission, Breaker, Exclusion, Pauses, Turn};

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> (Breaker, Instant) {
        (Breaker::new(Pauses::default()), Instant::now())
    }

    fn fail(breaker: &Breaker, kind: ErrorKind, now: Instant) -> bool {
        let admission = breaker.admit(now).expect("admitted");
        breaker.failed(admission, kind, now)
    }

    #[test]
    fn a_refused_connection_opens_the_circuit_at_once() {
        let (breaker, now) = breaker();
        assert!(fail(&breaker, ErrorKind::Connect, now));
        assert_eq!(breaker.admit(now), Err(Exclusion::Out));
    }

    #[test]
    fn three_timeouts_in_a_row_open_the_circuit() {
        let (breaker, now) = breaker();
        fail(&breaker, ErrorKind::Timeout, now);
        fail(&breaker, ErrorKind::Timeout, now);
        breaker.succeeded(breaker.admit(now).expect("admitted"));
        assert!(!fail(&breaker, ErrorKind::Timeout, now));
        assert!(!fail(&breaker, ErrorKind::Timeout, now));
        assert!(fail(&breaker, ErrorKind::Timeout, now));
        assert!(breaker.is_open());
    }

    #[test]
    fn two_good_probes_close_the_circuit() {
        let (breaker, now) = breaker();
        fail(&breaker, ErrorKind::Connect, now);
        breaker.probed(true, now);
        assert_eq!(breaker.admit(now), Err(Exclusion::Out));
        breaker.probed(false, now);
        assert!(!breaker.is_nearly_closed());
        breaker.probed(true, now);
        assert!(breaker.is_open() && breaker.is_nearly_closed());
        assert_eq!(breaker.probe_at(), Some(now + Duration::from_millis(50)), "the second is soon to follow");
        breaker.probed(true, now);
        assert!(breaker.admit(now).is_ok());
    }

    #[test]
    fn a_missing_probe_is_noticed_once() {
        let (breaker, now) = breaker();
        fail(&breaker, ErrorKind::Connect, now);
        assert_eq!(breaker.admit(now + 7 * SECOND), Err(Exclusion::Forgotten));
        assert_eq!(breaker.admit(now + 7 * SECOND), Err(Exclusion::Out));
    }

    #[test]
    fn calls_that_were_under_way_neither_lengthen_the_pause_nor_end_it() {
        let (breaker, now) = breaker();
        let mut under_way: Vec<_> = (0..20).map(|_| breaker.admit(now).expect("admitted")).collect();
        let last = under_way.pop().expect("twenty");
        for admission in under_way {
            breaker.failed(admission, ErrorKind::Connect, now);
        }
        breaker.succeeded(last);
        assert!(breaker.probe_at().is_some_and(|at| at <= now + SECOND * 9 / 8));
    }

    #[test]
    fn a_node_that_is_back_is_asked_again_within_two_seconds_however_long_it_was_out() {
        let (breaker, mut now) = breaker();
        for _ in 0..3 {
            fail(&breaker, ErrorKind::Connect, now);
            for _ in 0..100 {
                let pause = breaker.probe_at().expect("open") - now;
                now += pause;
                breaker.probed(false, now);
            }
            let back = now;
            while let Some(next) = breaker.probe_at() {
                now = next;
                breaker.probed(true, now);
            }
            assert!(now <= back + 2 * SECOND, "{:?}", now - back);
        }
    }

    #[test]
    fn a_node_that_is_soon_back_is_asked_again_within_two_seconds() {
        let (breaker, now) = breaker();
        fail(&breaker, ErrorKind::Connect, now);
        let mut at = now;
        while let Some(next) = breaker.probe_at() {
            at = next;
            breaker.probed(true, at);
        }
        assert!(at <= now + 2 * SECOND && breaker.admit(at).is_ok(), "{:?}", at - now);
    }

    /// Opens, and probes until it is closed; the pause before the first probe.
    fn outage(breaker: &Breaker, now: &mut Instant) -> Duration {
        fail(breaker, ErrorKind::Connect, *now);
        let pause = breaker.probe_at().expect("open") - *now;
        *now += pause;
        breaker.probed(true, *now);
        breaker.probed(true, *now);
        assert!(!breaker.is_open());
        pause
    }

    #[test]
    fn the_pause_grows_when_a_node_that_came_back_fails_at_once() {
        let (breaker, mut now) = breaker();
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let (pause, asked) = (outage(&breaker, &mut now), SECOND * seconds);
            assert!(pause >= asked * 7 / 8 && pause <= asked * 9 / 8, "{pause:?} for {asked:?}");
        }
        breaker.succeeded(breaker.admit(now).expect("admitted"));
        assert!(outage(&breaker, &mut now) <= SECOND * 9 / 8, "it had answered");
    }

    #[test]
    fn processes_that_lose_a_node_at_one_moment_do_not_all_probe_it_at_one() {
        let now = Instant::now();
        let pause = |_| {
            let breaker = Breaker::new(Pauses::default());
            fail(&breaker, ErrorKind::Connect, now);
            breaker.probe_at().expect("open") - now
        };
        let pauses: Vec<_> = (0..64).map(pause).collect();
        assert!(pauses.iter().any(|pause| *pause < SECOND) && pauses.iter().any(|pause| *pause > SECOND), "{pauses:?}");
    }

    /// What several threads do comes down to this: each step holds the lock.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Admit,
        Succeed,
        Fail(ErrorKind),
        Probe { answered: bool },
        Pass(Duration),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Admit),
            2 => Just(Step::Succeed),
            3 => prop_oneof![3 => Just(ErrorKind::Timeout), 1 => Just(ErrorKind::Connect)].prop_map(Step::Fail),
            2 => any::<bool>().prop_map(|answered| Step::Probe { answered }),
            1 => (0..20_000_u64).prop_map(|millis| Step::Pass(Duration::from_millis(millis))),
        ]
    }

    proptest! {
        #[test]
        fn in_any_order_of_events_failures_open_it_and_only_good_probes_close_it(
            steps in prop::collection::vec(step(), 0..100),
        ) {
            let (breaker, mut now) = breaker();
            let mut under_way = Vec::new();
            // In a row: failures while it is closed, good probes while it is open.
            let (mut failures, mut good, mut outages, mut turn, mut opened) = (0, 0, 0, Turn::Up(0), now);
            for step in steps {
                let was_open = !turn.is_up();
                match step {
                    Step::Admit => match breaker.admit(now) {
                        Ok(admission) if !was_open => under_way.push(admission),
                        Err(_) if was_open => {}
                        other => prop_assert!(false, "{other:?} in {turn:?}"),
                    },
                    Step::Succeed => {
                        let Some(admission) = under_way.pop() else { continue };
                        breaker.succeeded(admission);
                        failures = 0;
                    }
                    Step::Fail(kind) => {
                        let Some(admission) = under_way.pop() else { continue };
                        failures += 1;
                        let opens = !was_open && (kind == ErrorKind::Connect || failures == 3);
                        prop_assert_eq!(breaker.failed(admission, kind, now), opens);
                        if opens {
                            (good, outages, opened) = (0, outages + 1, now);
                            turn = Turn::Out(outages);
                        }
                    }
                    Step::Probe { answered } => {
                        breaker.probed(answered, now);
                        good = if answered { good + 1 } else { 0 };
                        if was_open && good == 2 {
                            (failures, turn) = (0, Turn::Up(outages));
                        }
                    }
                    Step::Pass(time) => now += time,
                }
                prop_assert_eq!(breaker.turn(), turn);
                prop_assert_eq!(breaker.is_open(), !turn.is_up());
                prop_assert_eq!(breaker.is_open_since(opened), breaker.is_open());
                prop_assert!(!breaker.is_open_since(opened - Duration::from_nanos(1)));
                // The next probe is not for ever away.
                let longest = Pauses::default().longest * 9 / 8;
                prop_assert_eq!(breaker.probe_at().is_some_and(|at| at <= now + longest), breaker.is_open());
            }
        }
    }
}
