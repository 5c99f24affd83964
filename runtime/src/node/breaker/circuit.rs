//! Whether a node is worth asking: a circuit breaker.
//!
//! Pure arithmetic over instants that are handed in. A node that refuses
//! connections is left alone at once, one that gives no answer after three
//! times in a row. From then on it is probed in the background, after a pause
//! that doubles while the probes fail; two good probes bring it back.

use std::time::{Duration, Instant};

use super::locks::{Mutex, lock};
use crate::error::ErrorKind;

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
