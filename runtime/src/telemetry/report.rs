//! The counts of each function as a table for people.
//!
//! Counting itself is left to `stats`.

use std::borrow::Cow;
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
    /// All calls.
    pub calls: u64,
    /// Calls answered by the cache.
    pub hits: u64,
    /// Calls answered with a value past its ttl (`grace`).
    pub stale: u64,
    /// Calls that found no usable value.
    pub misses: u64,
    /// Calls answered with the result of another caller's computation.
    pub coalesced: u64,
    /// Calls that bypassed the cache, or found it unavailable.
    pub uncached: u64,
    /// Half of the hits took less than this.
    pub median_hit: Option<Duration>,
    /// Half of the computations took less than this.
    pub median_compute: Option<Duration>,
    /// The computation time that hits have saved.
    pub saved: Duration,
}

/// Returns the counts of every memoized function that has been called so far.
#[must_use]
pub fn report() -> Report {
    Report { functions: Stats::every().into_iter().map(FunctionReport::of).collect() }
}

impl FunctionReport {
    fn of(stats: &Stats) -> Self {
        let mut report = FunctionReport {
            name: stats.name,
            calls: 0,
            hits: 0,
            stale: 0,
            misses: 0,
            coalesced: 0,
            uncached: 0,
            median_hit: stats.hits.median(),
            median_compute: stats.computations.median(),
            saved: Duration::from_nanos(stats.saved_nanos()),
        };
        for result in CacheResult::ALL {
            let count = stats.counted(result);
            report.calls += count;
            *report.counter(result) += count;
        }
        report
    }

    /// Returns the counter that calls with this result are part of.
    fn counter(&mut self, result: CacheResult) -> &mut u64 {
        match result {
            CacheResult::Hit => &mut self.hits,
            CacheResult::Stale => &mut self.stale,
            CacheResult::Miss => &mut self.misses,
            CacheResult::Coalesced => &mut self.coalesced,
            CacheResult::Bypass | CacheResult::Error => &mut self.uncached,
        }
    }

    /// Returns the share of calls answered without computing, from 0 to 1; `None`
    /// without calls.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a ratio for people to read")]
    pub fn hit_ratio(&self) -> Option<f64> {
        (self.calls > 0).then(|| (self.hits + self.stale + self.coalesced) as f64 / self.calls as f64)
    }

    fn cells(&self) -> [String; COLUMNS.len()] {
        let none = || "-".to_owned();
        [
            self.calls.to_string(),
            self.hit_ratio().map_or_else(none, |ratio| format!("{:.1}%", ratio * 100.0)),
            self.median_hit.map_or_else(none, readable),
            self.median_compute.map_or_else(none, readable),
            readable(self.saved),
        ]
    }
}

/// The columns after the function's name.
const COLUMNS: [&str; 5] = ["calls", "hit ratio", "p50 hit", "p50 compute", "saved"];

/// The width of a terminal in characters.
const TERMINAL: usize = 80;

/// Prints a table that is at most as wide as a terminal.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<_> = self.functions.iter().map(|row| (row.name, row.cells())).collect();
        let mut widths = COLUMNS.map(str::len);
        for (_, cells) in &rows {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = cell.chars().count().max(*width);
            }
        }
        let room = TERMINAL.saturating_sub(widths.iter().map(|width| width + 2).sum());
        let names: Vec<_> = rows.iter().map(|(name, _)| shortened(name, room)).collect();
        let first = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max("function".len());

        write!(f, "{:first$}", "function")?;
        for (title, width) in COLUMNS.iter().zip(widths) {
            write!(f, "  {title:>width$}")?;
        }
        for (name, (_, cells)) in names.iter().zip(&rows) {
            write!(f, "\n{name:first$}")?;
            for (cell, width) in cells.iter().zip(widths) {
                write!(f, "  {cell:>width$}")?;
            }
        }
        Ok(())
    }
}

/// Shortens a path to `most` characters: it loses its leading modules, and if that is
/// not enough, its beginning.
fn shortened(path: &str, most: usize) -> Cow<'_, str> {
    let length = path.chars().count();
    if length <= most {
        return path.into();
    }
    let ends = path.match_indices("::").map(|(start, _)| &path[start..]);
    let end = ends.filter(|end| !end.contains('>')).find(|end| end.chars().count() < most);
    match end {
        Some(end) => format!("…{end}").into(),
        None => {
            let skipped = length + 1 - most.max(1);
            path.chars()
                .skip(skipped)
                .fold("…".to_owned(), |mut kept, c| {
                    kept.push(c);
                    kept
                })
                .into()
        }
    }
}

/// Renders a duration with three digits, which are enough to compare by.
fn readable(duration: Duration) -> String {
    const SECOND: (f64, &str) = (1.0, "s");
    const UNITS: &[(f64, &str)] =
        &[(86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), SECOND, (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")];
    let seconds = duration.as_secs_f64();
    let (unit, name) = *UNITS.iter().find(|(unit, _)| seconds >= *unit).unwrap_or(&SECOND);
    let number = seconds / unit;
    // A duration has no fractions of a nanosecond.
    let digits = usize::from(number < 99.95 && name != "ns" && seconds > 0.0);
    format!("{number:.digits$}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &'static str, calls: u64) -> FunctionReport {
        FunctionReport {
            name,
            calls,
            hits: calls / 2,
            stale: 0,
            coalesced: 0,
            misses: calls - calls / 2,
            uncached: 0,
            median_hit: Some(Duration::from_nanos(35_333)),
            median_compute: None,
            saved: Duration::from_secs(1_000_000_000),
        }
    }

    #[test]
    fn the_table_is_no_wider_than_a_terminal() {
        let long = "service::catalogue::<impl service::catalogue::Products for Shop>::a_function_with_a_long_name";
        let report =
            Report { functions: vec![row("f", 2), row(long, 1_000_000_000_000), row("shop::Catalogue::product", 0)] };
        let text = report.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= TERMINAL), "{text}");
        let width = text.lines().next().map(|line| line.chars().count());
        assert!(text.lines().all(|line| Some(line.chars().count()) == width), "{text}");
    }

    #[test]
    fn a_path_loses_its_leading_modules_first() {
        assert_eq!(shortened("shop::catalogue::find", 30), "shop::catalogue::find");
        assert_eq!(shortened("shop::catalogue::find", 20), "…::catalogue::find");
        assert_eq!(shortened("shop::catalogue::find", 17), "…::find");
        assert_eq!(shortened("shop::catalogue::find", 4), "…ind");
    }

    #[test]
    fn durations_have_three_digits_and_a_unit() {
        for (nanos, text) in [
            (0, "0s"),
            (901, "901ns"),
            (4_449, "4.4µs"),
            (123_456, "123µs"),
            (26_849_000, "26.8ms"),
            (99_990_000_000, "1.7min"),
            (7_200_000_000_000, "2.0h"),
            (864_000_000_000_000, "10.0d"),
        ] {
            assert_eq!(readable(Duration::from_nanos(nanos)), text);
        }
    }
}
