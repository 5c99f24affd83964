//! The counts of each function as a table for people.
//!
//! Counting itself is left to `stats`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::stats::{CacheResult, MissReason, Stats};

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
    /// All calls. A function with `each` counts its elements, here and below.
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
    /// Computations because there was no value.
    pub absent: u64,
    /// Computations because the value was past its ttl, or a group of it was invalidated.
    pub expired: u64,
    /// Computations because the value was of another type, version or codec.
    pub schema: u64,
    /// Computations because the value was damaged or could not be decoded.
    pub damaged: u64,
    /// Computations of a new value while the old one was fresh.
    pub refreshed: u64,
    /// Computations because the cache was unavailable.
    pub unavailable: u64,
    /// Computations because the cache was bypassed.
    pub bypassed: u64,
    /// Values that could not be stored. The printed column is `unkept`.
    pub not_stored: u64,
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
            absent: stats.misses(MissReason::Absent),
            expired: stats.misses(MissReason::Expired),
            schema: stats.misses(MissReason::Schema),
            damaged: stats.misses(MissReason::DecodeError),
            refreshed: stats.misses(MissReason::Refresh),
            unavailable: stats.misses(MissReason::Unavailable),
            bypassed: stats.counted(CacheResult::Bypass),
            not_stored: stats.not_stored().values().sum(),
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

    /// Returns the cells of the first table.
    fn summary(&self) -> Vec<String> {
        let none = || "-".to_owned();
        vec![
            self.calls.to_string(),
            self.hit_ratio().map_or_else(none, |ratio| format!("{:.1}%", ratio * 100.0)),
            self.median_hit.map_or_else(none, readable),
            self.median_compute.map_or_else(none, readable),
            readable(self.saved),
        ]
    }
}

/// The columns of the first table, after the function's name.
const SUMMARY: [&str; 5] = ["calls", "hit ratio", "p50 hit", "p50 compute", "saved"];

/// A column of numbers, with its title.
type Column = (&'static str, fn(&FunctionReport) -> u64);

/// The columns of the second table: what calls were that were no hits. Between
/// `coalesced` and `unkept` are the reasons to compute.
const OTHERS: &[Column] = &[
    ("stale", |row| row.stale),
    ("coalesced", |row| row.coalesced),
    ("absent", |row| row.absent),
    ("expired", |row| row.expired),
    ("schema", |row| row.schema),
    ("damaged", |row| row.damaged),
    ("refresh", |row| row.refreshed),
    ("unavailable", |row| row.unavailable),
    ("bypass", |row| row.bypassed),
    ("unkept", |row| row.not_stored),
];

/// The width of a page in characters.
const PAGE: usize = 100;

/// Prints two tables, at most as wide as a page where the numbers permit. The second
/// has only columns in which a function has something to show.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summaries = self.functions.iter().map(|row| (row.name, row.summary()));
        table(f, &SUMMARY, &summaries.collect::<Vec<_>>())?;
        let is_shown = |(_, count): &&Column| self.functions.iter().any(|row| count(row) > 0);
        let columns: Vec<&Column> = OTHERS.iter().filter(is_shown).collect();
        if columns.is_empty() {
            return Ok(());
        }
        let titles: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
        let cells = |row| columns.iter().map(|(_, count)| count(row).to_string()).collect();
        let rows = self.functions.iter().map(|row| (row.name, cells(row)));
        f.write_str("\n\n")?;
        table(f, &titles, &rows.collect::<Vec<_>>())
    }
}

/// Prints a table of functions.
fn table(f: &mut fmt::Formatter<'_>, titles: &[&str], rows: &[(&str, Vec<String>)]) -> fmt::Result {
    let mut widths: Vec<usize> = titles.iter().map(|title| title.len()).collect();
    for (_, cells) in rows {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = cell.chars().count().max(*width);
        }
    }
    let room = PAGE.saturating_sub(widths.iter().map(|width| width + 2).sum());
    let names: Vec<_> = rows.iter().map(|(name, _)| shortened(name, room)).collect();
    let first = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max("function".len());

    write!(f, "{:first$}", "function")?;
    for (title, width) in titles.iter().zip(&widths) {
        write!(f, "  {title:>width$}")?;
    }
    for (name, (_, cells)) in names.iter().zip(rows) {
        write!(f, "\n{name:first$}")?;
        for (cell, width) in cells.iter().zip(&widths) {
            write!(f, "  {cell:>width$}")?;
        }
    }
    Ok(())
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
            stale: calls,
            coalesced: calls,
            misses: calls - calls / 2,
            uncached: 0,
            absent: calls,
            expired: calls,
            schema: calls,
            damaged: calls,
            refreshed: calls,
            unavailable: calls,
            bypassed: calls,
            not_stored: calls,
            median_hit: Some(Duration::from_nanos(35_333)),
            median_compute: None,
            saved: Duration::from_secs(1_000_000_000),
        }
    }

    #[test]
    fn the_tables_are_no_wider_than_a_page() {
        let long = "service::catalogue::<impl service::catalogue::Products for Shop>::a_function_with_a_long_name";
        let report = Report { functions: vec![row("f", 2), row(long, 999_999), row("shop::Catalogue::product", 0)] };
        let text = report.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= PAGE), "{text}");
        for table in text.split("\n\n") {
            let width = table.lines().next().map(|line| line.chars().count());
            assert!(table.lines().all(|line| Some(line.chars().count()) == width), "{text}");
        }
    }

    #[test]
    fn the_second_table_has_only_what_there_is_to_show() {
        let report = Report { functions: vec![FunctionReport { unavailable: 3, ..row("f", 0) }] };
        let text = report.to_string();
        assert!(text.ends_with("\n\nfunction  unavailable\nf                   3"), "{text}");
        assert_eq!(Report { functions: vec![row("f", 0)] }.to_string().lines().count(), 2);
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
