//! Whether a node is worth asking: a circuit breaker.
//!
//! Pure arithmetic over instants that are handed in. A node that refuses
//! connections is left alone at once, one that times out after three times in
//! a row. Then one caller at a time may probe it, after a pause that doubles
//! from one second to a minute while the probes fail.

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

impl Breaker {
    /// Whether to ask the node now. On an open circuit the one caller who gets
    /// a yes is the probe.
    pub(crate) fn admits(&self, now: Instant) -> bool {
        let mut state = lock(&self.0);
        match state.open {
            None => true,
            Some((probe_at, _)) if now < probe_at => false,
            Some((_, pause)) => {
                // Others wait for this probe at least as long as for the last.
                state.open = Some((now + pause, pause));
                true
            }
        }
    }

    /// The node answered, whatever it said.
    pub(crate) fn succeeded(&self) {
        let mut state = lock(&self.0);
        if state.failures > 0 || state.open.is_some() {
            *state = State::default();
        }
    }

    /// The node did not answer; returns whether that has opened the circuit.
    pub(crate) fn failed(&self, kind: ErrorKind, now: Instant) -> bool {
        let mut state = lock(&self.0);
        state.failures += 1;
        match state.open {
            Some((_, pause)) => {
                let longer = (pause * 2).min(LONGEST_PAUSE);
                state.open = Some((now + pause, longer));
                false
            }
            None if kind == ErrorKind::Connect || state.failures >= TOLERATED => {
                state.open = Some((now + FIRST_PAUSE, FIRST_PAUSE * 2));
                true
            }
            None => false,
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

    #[test]
    fn a_refused_connection_opens_the_circuit_at_once() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        assert!(breaker.failed(ErrorKind::Connect, now));
        assert!(!breaker.admits(now));
    }

    #[test]
    fn three_timeouts_in_a_row_open_the_circuit() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        breaker.failed(ErrorKind::Timeout, now);
        breaker.failed(ErrorKind::Timeout, now);
        breaker.succeeded();
        assert!(!breaker.failed(ErrorKind::Timeout, now));
        assert!(!breaker.failed(ErrorKind::Timeout, now));
        assert!(breaker.failed(ErrorKind::Timeout, now));
        assert!(breaker.is_open());
    }

    #[test]
    fn one_caller_at_a_time_probes() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        breaker.failed(ErrorKind::Connect, now);
        assert!(breaker.admits(now + SECOND));
        assert!(!breaker.admits(now + SECOND));
        breaker.succeeded();
        assert!(breaker.admits(now + SECOND));
    }

    #[test]
    fn a_probe_that_never_reports_does_not_close_the_node_for_ever() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        breaker.failed(ErrorKind::Connect, now);
        assert!(breaker.admits(now + SECOND));
        assert!(breaker.admits(now + 10 * SECOND));
    }

    #[test]
    fn the_pause_doubles_up_to_a_minute() {
        let (breaker, mut now) = (Breaker::default(), Instant::now());
        breaker.failed(ErrorKind::Connect, now);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert!(!breaker.admits(now + seconds * SECOND - SECOND / 2), "before {seconds} s");
            now += seconds * SECOND;
            assert!(breaker.admits(now), "after {seconds} s");
            breaker.failed(ErrorKind::Connect, now);
        }
    }
}
