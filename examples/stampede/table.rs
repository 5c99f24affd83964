//! Prints the table, with one row for each way.

use std::time::Duration;

use crate::callers::EVERY;
use crate::recording::Recording;
use crate::ways::{TAKES, Way};

pub(crate) fn heading(processes: u32, callers: u32, time: Duration) -> String {
    let (called, takes) = (Duration::from_secs(1).div_duration_f64(EVERY), TAKES.as_millis());
    let processes = if processes == 1 { "1 process".into() } else { format!("{processes} processes") };
    format!(
        "{processes} with {callers} callers each, which call {called} times a second for {}\n\
         seconds. The value takes {takes} ms to compute and expires after a second.\n\n\
         {:13}{:>7}{:>14}{:>10}{:>12}{:>8}{:>8}{:>8}",
        time.as_secs_f64(),
        "",
        "calls",
        "computations",
        "expiries",
        "per expiry",
        "p50 ms",
        "p99 ms",
        "max ms"
    )
}

pub(crate) fn row(way: Way, recording: &Recording) -> String {
    let Recording { calls, computations } = recording;
    let expiries = if way == Way::NoCache { 0 } else { recording.expiries() };
    // Without a cache, nothing expires.
    let (expired, per_expiry) = match expiries {
        0 => ("-".into(), "-".into()),
        _ => (expiries.to_string(), format!("{:.1}", computations.len() as f64 / expiries as f64)),
    };
    let latencies = recording.latencies();
    // The smallest latency that this many calls in a thousand do not exceed.
    let quantile = |thousandths: usize| {
        let rank = (latencies.len() * thousandths).div_ceil(1_000).max(1);
        latencies.get(rank - 1).map_or("-".into(), |latency| format!("{:.1}", latency.as_secs_f64() * 1e3))
    };
    format!(
        "{:13}{:>7}{:>14}{expired:>10}{per_expiry:>12}{:>8}{:>8}{:>8}",
        way.name(),
        calls.len(),
        computations.len(),
        quantile(500),
        quantile(990),
        quantile(1_000)
    )
}
