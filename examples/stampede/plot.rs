//! Draws computations and latency over time with characters.

use std::fmt::Write;
use std::time::Duration;

use crate::recording::{Recording, Stretch};
use crate::ways::Way;

/// Characters per line, after the name.
const WIDTH: usize = 66;
const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A quantity to plot from a recording, in as many parts as the plot is wide.
pub(crate) struct Series {
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) of: fn(&Recording, Duration, usize) -> Vec<f64>,
}

pub(crate) const SERIES: [Series; 2] = [
    Series { title: "computations at a time", unit: "", of: at_a_time },
    Series { title: "slowest call that began then", unit: " ms", of: slowest },
];

pub(crate) fn of(shown: &[(Way, Recording)], time: Duration) -> String {
    let mut text = String::new();
    for Series { title, unit, of } in SERIES {
        let rows: Vec<_> = shown.iter().map(|(way, recording)| (way, of(recording, time, WIDTH))).collect();
        let top = top(rows.iter().map(|(_, row)| row.as_slice()));
        let _ = writeln!(text, "\n{:13}{title}, up to {top:.0}{unit}", "");
        for (way, row) in rows {
            let line: String = row.iter().map(|value| HEIGHTS[height(*value, top)]).collect();
            let _ = writeln!(text, "{:13}{}", way.name(), line.trim_end());
        }
        let _ = writeln!(text, "{:13}{}", "", seconds(time));
    }
    text
}

pub(crate) fn top<'a>(rows: impl Iterator<Item = &'a [f64]>) -> f64 {
    rows.flatten().copied().fold(0.0, f64::max)
}

/// The height of a bar; any value above zero is visible.
fn height(value: f64, top: f64) -> usize {
    let highest = HEIGHTS.len() - 1;
    if value > 0.0 { ((value / top * highest as f64).round() as usize).clamp(1, highest) } else { 0 }
}

/// Writes the axis below a plot, with each second where it begins.
fn seconds(time: Duration) -> String {
    let mut line = String::new();
    for second in 0..time.as_secs_f64().ceil() as usize {
        let place = (second as f64 / time.as_secs_f64() * WIDTH as f64) as usize;
        let _ = write!(line, "{:place$}", "", place = place.saturating_sub(line.len()));
        let _ = write!(line, "{second} s");
    }
    line
}

/// The part of the time that a moment falls in.
fn part(at: Duration, time: Duration, parts: usize) -> usize {
    (at.div_duration_f64(time) * parts as f64) as usize
}

fn at_a_time(recording: &Recording, time: Duration, parts: usize) -> Vec<f64> {
    let mut most = vec![0.0; parts];
    for Stretch { begin, end } in &recording.computations {
        for count in most.iter_mut().take(part(*end, time, parts) + 1).skip(part(*begin, time, parts)) {
            *count += 1.0;
        }
    }
    most
}

fn slowest(recording: &Recording, time: Duration, parts: usize) -> Vec<f64> {
    let mut slowest = vec![0.0; parts];
    for call in &recording.calls {
        if let Some(latency) = slowest.get_mut(part(call.begin, time, parts)) {
            *latency = f64::max(*latency, call.length().as_secs_f64() * 1e3);
        }
    }
    slowest
}
