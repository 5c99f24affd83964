//! Whether a node is worth asking: a circuit breaker.
//!
//! Pure arithmetic over the instants that it is given; probes are made
//! elsewhere. A node that refuses connections is left alone at once, one that
//! gives no answer after three times in a row. From then on it is probed time and
//! again; two good probes bring it back. Where it answers probes and fails its
//! callers, it is left alone for twice as long each time.

use std::time::{Duration, Instant};

use super::locks::{Mutex, lock};
use crate::error::ErrorKind;

/// Failures in a row that open the circuit, other than refused connections.
const TOLERATED: u32 = 3;
/// Good probes in a row that close it.
const CONVINCING: u32 = 2;
/// Between good probes.
const SHORT_PAUSE: Duration = Duration::from_millis(50);
/// A probe that is this late has lost its thread.
const LATE: Duration = Duration::from_secs(5);

/// How long a node that is out is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pauses {
    /// Before the first probe, and between probes that fail.
    pub(crate) first: Duration,
    /// At most, before the first probe of a node that came back in vain.
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
    state: Mutex<Circuit>,
    pauses: Pauses,
}

/// What is known of a node.
#[derive(Debug, Default)]
struct Circuit {
    /// In a row.
    failures: u32,
    outage: Option<Outage>,
    /// How many there have been.
    outages: u64,
    /// The pause to go on with, if the node fails before it has answered a caller.
    resumed: Option<Duration>,
}

/// A node is left alone.
#[derive(Clone, Copy, Debug)]
struct Outage {
    since: Instant,
    probe_at: Instant,
    /// Before the first probe.
    pause: Duration,
    /// Good probes in a row.
    good: u32,
}

/// Whether a node is up or out, with the number of its outages so far: between
/// two equal turns it has neither gone out nor come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Up, after this many outages.
    Up(u64),
    /// Out, in the outage of this number.
    Out(u64),
}

impl Turn {
    /// Whether the node is up.
    pub(crate) fn is_up(self) -> bool {
        matches!(self, Turn::Up(_))
    }
}

/// The right to ask the node once. What comes of it must be reported.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Admission {
    is_of_poll: bool,
}

impl Admission {
    /// Makes this the right of a poll, whose failures do not count: only a server that
    /// cannot be reached is left alone.
    pub(crate) fn of_poll(self, is_of_poll: bool) -> Self {
        Admission { is_of_poll }
    }
}

/// Why a node is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exclusion {
    /// It is out, and probed.
    Out,
    /// It is out, and its probe is long overdue: the thread that was to make it
    /// has gone, as after a fork.
    Forgotten,
}

impl Breaker {
    /// Creates the breaker of a node that is up.
    pub(crate) fn new(pauses: Pauses) -> Self {
        Breaker { state: Mutex::default(), pauses }
    }

    /// Lets a caller ask the node, unless it is left alone.
    pub(crate) fn admit(&self, now: Instant) -> Result<Admission, Exclusion> {
        let mut state = lock(&self.state);
        match &mut state.outage {
            None => Ok(Admission { is_of_poll: false }),
            Some(outage) if now.saturating_duration_since(outage.probe_at) > LATE => {
                outage.probe_at = now;
                Err(Exclusion::Forgotten)
            }
            Some(_) => Err(Exclusion::Out),
        }
    }

    /// Notes that the node answered, whatever it said.
    pub(crate) fn succeeded(&self, _: Admission) {
        let mut state = lock(&self.state);
        // An answer that was on its way when the circuit opened proves nothing.
        if state.outage.is_none() {
            (state.failures, state.resumed) = (0, None);
        }
    }

    /// Notes that the node did not answer; returns whether that has opened the
    /// circuit.
    pub(crate) fn failed(&self, admission: Admission, kind: ErrorKind, now: Instant) -> bool {
        let mut state = lock(&self.state);
        // Calls that were under way when the circuit opened change nothing.
        if state.outage.is_some() || admission.is_of_poll && !is_final(kind) {
            return false;
        }
        state.failures += 1;
        let opens = is_final(kind) || state.failures >= TOLERATED;
        if opens {
            let pause = state.resumed.take().unwrap_or(self.pauses.first);
            state.outages += 1;
            state.outage = Some(Outage { since: now, probe_at: now + jittered(pause), pause, good: 0 });
        }
        opens
    }

    /// Returns when to probe; `None` if there is no need.
    pub(crate) fn probe_at(&self) -> Option<Instant> {
        lock(&self.state).outage.map(|outage| outage.probe_at)
    }

    /// Whether another good probe would close the circuit.
    pub(crate) fn is_nearly_closed(&self) -> bool {
        lock(&self.state).outage.is_some_and(|outage| outage.good + 1 >= CONVINCING)
    }

    /// Notes what a probe has come to; returns whether that has closed the circuit.
    pub(crate) fn probed(&self, answered: bool, now: Instant) -> bool {
        let mut state = lock(&self.state);
        let Some(outage) = &mut state.outage else { return false };
        if !answered {
            *outage = Outage { probe_at: now + jittered(self.pauses.first), good: 0, ..*outage };
        } else if outage.good + 1 < CONVINCING {
            *outage = Outage { probe_at: now + SHORT_PAUSE, good: outage.good + 1, ..*outage };
        } else {
            // Some servers answer probes and nothing else.
            let resumed = Some((outage.pause * 2).min(self.pauses.longest));
            *state = Circuit { outages: state.outages, resumed, ..Circuit::default() };
        }
        state.outage.is_none()
    }

    /// Whether the node is left alone.
    pub(crate) fn is_open(&self) -> bool {
        lock(&self.state).outage.is_some()
    }

    /// Whether the node has been left alone since then.
    pub(crate) fn is_open_since(&self, then: Instant) -> bool {
        lock(&self.state).outage.is_some_and(|outage| outage.since <= then)
    }

    /// Returns whether the node is up or out, told apart from the times before.
    pub(crate) fn turn(&self) -> Turn {
        let state = lock(&self.state);
        match state.outage {
            None => Turn::Up(state.outages),
            Some(_) => Turn::Out(state.outages),
        }
    }
}

/// Whether another attempt at once would come to the same.
fn is_final(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Connect | ErrorKind::Tls | ErrorKind::Unauthenticated)
}

/// Makes a pause up to an eighth shorter or longer, so that processes that have
/// lost a node at one moment do not all probe it at one.
fn jittered(pause: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let eighths = RandomState::new().hash_one(()) % 1024;
    pause * 7 / 8 + pause / 4 * u32::try_from(eighths).unwrap_or(0) / 1024
}
