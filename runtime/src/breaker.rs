//! Whether a node is worth asking: a circuit breaker.
//!
//! Pure arithmetic over instants that are handed in. A node that refuses
//! connections is left alone at once, one that gives no answer after three
//! times in a row. From then on it is probed in the background, after a pause
//! that doubles while the probes fail; two good probes bring it back.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::error::ErrorKind;
use crate::sync::lock;

/// Failures in a row that open the circuit, other than refused connections.
const TOLERATED: u32 = 3;
/// Good probes in a row that close it.
const CONVINCING: u32 = 2;
/// Between good probes.
const SHORT_PAUSE: Duration = Duration::from_millis(50);
/// A probe this late has nobody who makes it.
const LATE: Duration = Duration::from_secs(5);

/// How long a node that is out is left alone between probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pauses {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Pauses { first: Duration::from_secs(1), longest: Duration::from_secs(60) }
    }
}

/// The state of one node's circuit.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: Mutex<State>,
    pauses: Pauses,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open: Option<Open>,
    /// How often the circuit has opened or closed.
    turns: u64,
}

/// A node that is left alone.
#[derive(Clone, Copy, Debug)]
struct Open {
    probe_at: Instant,
    /// After the next probe that fails.
    pause: Duration,
    good: u32,
}

/// The right to ask the node once. What comes of it is to be reported.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Admission(());

/// Why a node is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is out, and being probed.
    Out,
    /// It is out, and its probe is long overdue: whoever was to make it is no
    /// more, as after a fork.
    Forgotten,
}

impl Breaker {
    pub(crate) fn new(pauses: Pauses) -> Self {
        Breaker { state: Mutex::default(), pauses }
    }

    /// Whether to ask the node now.
    pub(crate) fn admit(&self, now: Instant) -> Result<Admission, Refusal> {
        let mut state = lock(&self.state);
        match &mut state.open {
            None => Ok(Admission(())),
            Some(open) if now.saturating_duration_since(open.probe_at) > LATE => {
                open.probe_at = now;
                Err(Refusal::Forgotten)
            }
            Some(_) => Err(Refusal::Out),
        }
    }

    /// The node answered, whatever it said.
    pub(crate) fn succeeded(&self, _: Admission) {
        let mut state = lock(&self.state);
        // An answer that was on its way when the circuit opened proves nothing.
        if state.open.is_none() {
            state.failures = 0;
        }
    }

    /// The node did not answer; returns whether that has opened the circuit.
    pub(crate) fn failed(&self, _: Admission, kind: ErrorKind, now: Instant) -> bool {
        let mut state = lock(&self.state);
        // Calls that were under way when the circuit opened change nothing.
        if state.open.is_some() {
            return false;
        }
        state.failures += 1;
        let opens = is_final(kind) || state.failures >= TOLERATED;
        if opens {
            let pause = self.pauses.first;
            state.turns += 1;
            state.open = Some(Open { probe_at: now + jittered(pause), pause: self.longer(pause), good: 0 });
        }
        opens
    }

    /// When to probe; `None` if there is no need.
    pub(crate) fn probe_at(&self) -> Option<Instant> {
        lock(&self.state).open.map(|open| open.probe_at)
    }

    /// Whether another good probe would close the circuit.
    pub(crate) fn is_nearly_closed(&self) -> bool {
        lock(&self.state).open.is_some_and(|open| open.good + 1 >= CONVINCING)
    }

    /// Takes note of what a probe has come to.
    pub(crate) fn probed(&self, answered: bool, now: Instant) {
        let mut state = lock(&self.state);
        let Some(open) = &mut state.open else { return };
        if !answered {
            let pause = open.pause;
            *open = Open { probe_at: now + jittered(pause), pause: self.longer(pause), good: 0 };
        } else if open.good + 1 < CONVINCING {
            *open = Open { probe_at: now + SHORT_PAUSE, good: open.good + 1, ..*open };
        } else {
            *state = State { turns: state.turns + 1, ..State::default() };
        }
    }

    /// Whether the node is being left alone.
    pub(crate) fn is_open(&self) -> bool {
        lock(&self.state).open.is_some()
    }

    /// How often the node has gone out or come back: an odd number while it is
    /// out.
    pub(crate) fn turns(&self) -> u64 {
        lock(&self.state).turns
    }

    fn longer(&self, pause: Duration) -> Duration {
        (pause * 2).min(self.pauses.longest)
    }
}

/// Whether trying again at once would come to the same.
fn is_final(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Connect | ErrorKind::Tls | ErrorKind::Unauthenticated)
}

/// Up to an eighth shorter or longer, so that processes which have lost a node
/// at the same moment do not all come back at the same moment.
fn jittered(pause: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let eighths = RandomState::new().hash_one(()) % 1024;
    pause * 7 / 8 + pause / 4 * u32::try_from(eighths).unwrap_or(0) / 1024
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        assert_eq!(breaker.admit(now), Err(Refusal::Out));
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
        assert_eq!(breaker.admit(now), Err(Refusal::Out));
        breaker.probed(false, now);
        assert!(!breaker.is_nearly_closed());
        breaker.probed(true, now);
        assert!(breaker.is_open() && breaker.is_nearly_closed());
        assert_eq!(breaker.probe_at(), Some(now + SHORT_PAUSE), "the second is soon to follow");
        breaker.probed(true, now);
        assert_eq!(breaker.admit(now), Ok(Admission(())));
    }

    #[test]
    fn a_probe_that_nobody_makes_is_noticed_once() {
        let (breaker, now) = breaker();
        fail(&breaker, ErrorKind::Connect, now);
        assert_eq!(breaker.admit(now + 7 * SECOND), Err(Refusal::Forgotten));
        assert_eq!(breaker.admit(now + 7 * SECOND), Err(Refusal::Out));
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
    fn the_pause_doubles_up_to_a_minute() {
        let (breaker, mut now) = breaker();
        fail(&breaker, ErrorKind::Connect, now);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let pause = breaker.probe_at().expect("open") - now;
            let asked = SECOND * seconds;
            assert!(pause >= asked * 7 / 8 && pause <= asked * 9 / 8, "{pause:?} for {asked:?}");
            now += pause;
            breaker.probed(false, now);
        }
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
            let (mut failures, mut good, mut turns) = (0, 0, 0);
            for step in steps {
                let was_open = turns % 2 == 1;
                match step {
                    Step::Admit => match breaker.admit(now) {
                        Ok(admission) if !was_open => under_way.push(admission),
                        Err(_) if was_open => {}
                        other => prop_assert!(false, "{other:?} with {turns} turns"),
                    },
                    Step::Succeed => {
                        let Some(admission) = under_way.pop() else { continue };
                        breaker.succeeded(admission);
                        failures = 0;
                    }
                    Step::Fail(kind) => {
                        let Some(admission) = under_way.pop() else { continue };
                        failures += 1;
                        let opens = !was_open && (kind == ErrorKind::Connect || failures == TOLERATED);
                        prop_assert_eq!(breaker.failed(admission, kind, now), opens);
                        if opens {
                            (good, turns) = (0, turns + 1);
                        }
                    }
                    Step::Probe { answered } => {
                        breaker.probed(answered, now);
                        good = if answered { good + 1 } else { 0 };
                        if was_open && good == CONVINCING {
                            (failures, turns) = (0, turns + 1);
                        }
                    }
                    Step::Pass(time) => now += time,
                }
                prop_assert_eq!(breaker.turns(), turns);
                prop_assert_eq!(breaker.is_open(), turns % 2 == 1);
                // Whoever is to probe it has not to wait for ever.
                let longest = Pauses::default().longest * 9 / 8;
                prop_assert_eq!(breaker.probe_at().is_some_and(|at| at <= now + longest), breaker.is_open());
            }
        }
    }
}
