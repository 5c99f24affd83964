//! The counts of each function as a table for people.

use std::fmt;
use std::time::Duration;

use super::stats::{CacheResult, Stats};

/// What the cache has done for each memoized function of this process.
///
/// Prints as a table:
///
/// ```
/// println!("{}", memocached::report());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// One row for each function that has been called, by name.
    pub functions: Vec<FunctionReport>,
}

/// One function's counts since the process began.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FunctionReport {
    /// The function's `name` in the attribute, or its path.
    pub name: &'static str,
    /// Calls in all.
    pub calls: u64,
    /// Calls answered by the cache.
    pub hits: u64,
    /// Calls answered with a value whose time was over (`grace`).
    pub stale: u64,
    /// Calls that found no usable value.
    pub misses: u64,
    /// Calls answered with what another caller was computing.
    pub coalesced: u64,
    /// Calls that the cache could not or was not to answer.
    pub uncached: u64,
    /// Half of the hits took less than this.
    pub median_hit: Option<Duration>,
    /// Half of the computations took less than this.
    pub median_compute: Option<Duration>,
    /// The time that hits did not have to compute again.
    pub saved: Duration,
}

/// The counts of every memoized function that has been called so far.
#[must_use]
pub fn report() -> Report {
    Report { functions: Stats::every().into_iter().map(FunctionReport::of).collect() }
}

impl FunctionReport {
    fn of(stats: &Stats) -> Self {
        let [hits, stale, misses, coalesced, bypassed, errors] = CacheResult::ALL.map(|result| stats.counted(result));
        FunctionReport {
            name: stats.name,
            calls: hits + stale + misses + coalesced + bypassed + errors,
            hits,
            stale,
            misses,
            coalesced,
            uncached: bypassed + errors,
            median_hit: stats.hits.median(),
            median_compute: stats.computations.median(),
            saved: Duration::from_nanos(stats.saved_nanos()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = self.functions.iter().map(|row| row.name.len()).max().unwrap_or(0).max("function".len());
        let titles = ["calls", "hits", "misses", "uncached", "median hit", "median compute", "saved"];
        write!(f, "{:longest$}", "function")?;
        for title in titles {
            write!(f, "  {title}")?;
        }
        for row in &self.functions {
            write!(f, "\n{:longest$}", row.name)?;
            let cells = [
                row.calls.to_string(),
                row.hits.to_string(),
                row.misses.to_string(),
                row.uncached.to_string(),
                row.median_hit.map_or_else(|| "-".into(), readable),
                row.median_compute.map_or_else(|| "-".into(), readable),
                readable(row.saved),
            ];
            for (cell, title) in cells.iter().zip(titles) {
                write!(f, "  {cell:>width$}", width = title.len())?;
            }
        }
        Ok(())
    }
}

/// Three digits are enough to compare by.
fn readable(duration: Duration) -> String {
    format!("{duration:.1?}")
}
