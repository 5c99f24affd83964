//! Records what callers and computations did, and when.

use std::error::Error;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ways::TAKES;

/// The begin and end of a call or computation, counted from the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    pub(crate) begin: Duration,
    pub(crate) end: Duration,
}

impl Stretch {
    pub(crate) fn length(self) -> Duration {
        self.end.saturating_sub(self.begin)
    }
}

/// The calls and computations of one process, or of all of them.
#[derive(Default)]
pub(crate) struct Recording {
    pub(crate) calls: Vec<Stretch>,
    pub(crate) computations: Vec<Stretch>,
}

impl Recording {
    /// Reads a line that another process has written.
    pub(crate) fn read(&mut self, line: &str) -> Result<(), Box<dyn Error>> {
        let mut words = line.split(' ');
        let kind = words.next();
        let mut time = || words.next().and_then(|word| word.parse().ok()).map(Duration::from_micros);
        let stretch = time().zip(time()).map(|(begin, end)| Stretch { begin, end });
        match (kind, stretch) {
            (Some("call"), Some(call)) => self.calls.push(call),
            (Some("computation"), Some(computation)) => self.computations.push(computation),
            _ => return Err(format!("a process wrote: {line}").into()),
        }
        Ok(())
    }

    /// Counts the times the key expired: computations that overlap belong to
    /// the same expiry.
    pub(crate) fn expiries(&self) -> usize {
        let mut computations = self.computations.clone();
        computations.sort_by_key(|computation| computation.begin);
        let (mut expiries, mut over) = (0, None);
        for Stretch { begin, end } in computations {
            if over.is_none_or(|over| begin > over) {
                expiries += 1;
            }
            over = over.max(Some(end));
        }
        expiries
    }

    /// The latencies of all calls, sorted.
    pub(crate) fn latencies(&self) -> Vec<Duration> {
        let mut latencies: Vec<_> = self.calls.iter().map(|call| call.length()).collect();
        latencies.sort();
        latencies
    }
}

/// Writes one line per call and computation, for [`Recording::read`].
impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, stretches) in [("call", &self.calls), ("computation", &self.computations)] {
            for Stretch { begin, end } in stretches {
                writeln!(f, "{kind} {} {}", begin.as_micros(), end.as_micros())?;
            }
        }
        Ok(())
    }
}

/// All computations in this process.
static COMPUTATIONS: Mutex<Vec<(Instant, Instant)>> = Mutex::new(Vec::new());

/// A computation in progress.
pub(crate) struct Computation(usize);

impl Computation {
    pub(crate) fn begin() -> Self {
        let mut all = COMPUTATIONS.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        // A computation in the background may never reach its end.
        all.push((now, now + TAKES));
        Computation(all.len() - 1)
    }

    pub(crate) fn end(self) {
        COMPUTATIONS.lock().unwrap_or_else(PoisonError::into_inner)[self.0].1 = Instant::now();
    }

    /// The computations that were in progress after the start.
    pub(crate) fn all_since(start: Instant) -> Vec<Stretch> {
        let all = COMPUTATIONS.lock().unwrap_or_else(PoisonError::into_inner);
        let since = |(begin, end): &(Instant, Instant)| Stretch {
            begin: begin.saturating_duration_since(start),
            end: end.saturating_duration_since(start),
        };
        all.iter().filter(|(_, end)| *end > start).map(since).collect()
    }
}
