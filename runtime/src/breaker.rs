//! Whether a node is worth asking: a circuit breaker.
//!
//! Pure arithmetic over instants that are handed in. A node that refuses
//! connections is left alone at once, one that gives no answer after three
//! times in a row. Then one caller at a time may probe it, after a pause that
//! doubles from one second to a minute while the probes fail.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::error::ErrorKind;
use crate::sync::lock;

/// Failures in a row that open the circuit, other than refused connections.
const TOLERATED: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The state of one node's circuit.
#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// Set while the circuit is open: when to probe, and the pause after that.
    open: Option<(Instant, Duration)>,
}

/// The right to ask the node once. What comes of it is to be reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Admission {
    /// As one of many.
    Normal,
    /// As the one who finds out whether the node is back.
    Probe,
}

impl Breaker {
    /// Whether to ask the node now.
    pub(crate) fn admit(&self, now: Instant) -> Option<Admission> {
        let mut state = lock(&self.0);
        match state.open {
            None => Some(Admission::Normal),
            Some((probe_at, _)) if now < probe_at => None,
            Some((_, pause)) => {
                // Should the probe never report, another follows as late as
                // after one that failed.
                state.open = Some((now + pause, pause));
                Some(Admission::Probe)
            }
        }
    }

    /// The node answered, whatever it said.
    pub(crate) fn succeeded(&self, admission: Admission) {
        let mut state = lock(&self.0);
        // An answer that was on its way when the circuit opened proves nothing.
        if state.open.is_none() || admission == Admission::Probe {
            *state = State::default();
        }
    }

    /// The node did not answer; returns whether that has opened the circuit.
    pub(crate) fn failed(&self, admission: Admission, kind: ErrorKind, now: Instant) -> bool {
        let mut state = lock(&self.0);
        match (state.open, admission) {
            (Some((_, pause)), Admission::Probe) => {
                state.open = Some((now + pause, (pause * 2).min(LONGEST_PAUSE)));
                false
            }
            // Calls that were under way when the circuit opened.
            (Some(_), Admission::Normal) => false,
            (None, _) => {
                state.failures += 1;
                let opens = kind == ErrorKind::Connect || state.failures >= TOLERATED;
                if opens {
                    state.open = Some((now + FIRST_PAUSE, FIRST_PAUSE * 2));
                }
                opens
            }
        }
    }

    /// Whether the node is being left alone.
    pub(crate) fn is_open(&self) -> bool {
        lock(&self.0).open.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn fail(breaker: &Breaker, kind: ErrorKind, now: Instant) -> bool {
        let admission = breaker.admit(now).expect("admitted");
        breaker.failed(admission, kind, now)
    }

    #[test]
    fn a_refused_connection_opens_the_circuit_at_once() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        assert!(fail(&breaker, ErrorKind::Connect, now));
        assert_eq!(breaker.admit(now), None);
    }

    #[test]
    fn three_timeouts_in_a_row_open_the_circuit() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        fail(&breaker, ErrorKind::Timeout, now);
        fail(&breaker, ErrorKind::Timeout, now);
        breaker.succeeded(Admission::Normal);
        assert!(!fail(&breaker, ErrorKind::Timeout, now));
        assert!(!fail(&breaker, ErrorKind::Timeout, now));
        assert!(fail(&breaker, ErrorKind::Timeout, now));
        assert!(breaker.is_open());
    }

    #[test]
    fn one_caller_at_a_time_probes() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        fail(&breaker, ErrorKind::Connect, now);
        assert_eq!(breaker.admit(now + SECOND), Some(Admission::Probe));
        assert_eq!(breaker.admit(now + SECOND), None);
        breaker.succeeded(Admission::Probe);
        assert_eq!(breaker.admit(now + SECOND), Some(Admission::Normal));
    }

    #[test]
    fn a_probe_that_never_reports_does_not_close_the_node_for_ever() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        fail(&breaker, ErrorKind::Connect, now);
        assert!(breaker.admit(now + SECOND).is_some());
        assert!(breaker.admit(now + 10 * SECOND).is_some());
    }

    #[test]
    fn calls_that_were_under_way_neither_lengthen_the_pause_nor_end_it() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        let under_way = [(); 20].map(|()| breaker.admit(now).expect("admitted"));
        for admission in under_way {
            breaker.failed(admission, ErrorKind::Connect, now);
        }
        breaker.succeeded(Admission::Normal);
        assert!(breaker.is_open());
        assert_eq!(breaker.admit(now + SECOND), Some(Admission::Probe));
    }

    #[test]
    fn the_pause_doubles_up_to_a_minute() {
        let (breaker, mut now) = (Breaker::default(), Instant::now());
        fail(&breaker, ErrorKind::Connect, now);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(breaker.admit(now + seconds * SECOND - SECOND / 2), None, "before {seconds} s");
            now += seconds * SECOND;
            assert!(!fail(&breaker, ErrorKind::Connect, now));
        }
    }
}
