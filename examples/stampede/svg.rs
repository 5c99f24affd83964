//! Draws computations and latency over time as an SVG picture.

use std::fmt::Write;
use std::time::Duration;

use crate::plot::{SERIES, Series, top};
use crate::recording::Recording;
use crate::ways::Way;

/// The width of the names, in pixels, like all sizes below.
const LEFT: usize = 110;
const WIDTH: usize = 300;
const HEIGHT: usize = 44;
/// The gap between rows, and half the gap between columns.
const GAP: usize = 24;
const TOP: usize = 40;

pub(crate) fn of(shown: &[(Way, Recording)], time: Duration) -> String {
    let (width, height) = (LEFT + 2 * (WIDTH + 2 * GAP), TOP + shown.len() * (HEIGHT + GAP) + GAP / 2);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (row, (way, _)) in shown.iter().enumerate() {
        let _ = writeln!(svg, "<text x=\"12\" y=\"{}\">{}</text>", floor(row), way.name());
    }
    for (column, (series, colour)) in SERIES.iter().zip(["#c2410c", "#1d4ed8"]).enumerate() {
        panel(&mut svg, LEFT + column * (WIDTH + 2 * GAP), series, colour, shown, time);
    }
    svg + "</svg>\n"
}

/// The y coordinate of a row's zero.
fn floor(row: usize) -> usize {
    TOP + row * (HEIGHT + GAP) + HEIGHT
}

/// Draws one series of all ways, on the same scale.
fn panel(svg: &mut String, left: usize, series: &Series, colour: &str, shown: &[(Way, Recording)], time: Duration) {
    let Series { title, unit, of } = series;
    let rows: Vec<_> = shown.iter().map(|(_, recording)| of(recording, time, WIDTH)).collect();
    let top = top(rows.iter().map(Vec::as_slice));
    let _ = writeln!(svg, "<text x=\"{left}\" y=\"20\">{title}, up to {top:.0}{unit}</text>");
    for (row, values) in rows.iter().enumerate() {
        let floor = floor(row);
        let mut path = format!("M{left} {floor}");
        for value in values {
            // Any value above zero is visible.
            let height = if *value > 0.0 { (value / top * HEIGHT as f64).max(1.0) } else { 0.0 };
            let _ = write!(path, "V{:.1}h1", floor as f64 - height);
        }
        let _ = writeln!(svg, "<path d=\"{path}V{floor}Z\" fill=\"{colour}\"/>");
        let _ = writeln!(svg, "<path d=\"M{left} {floor}h{WIDTH}\" stroke=\"#999\"/>");
    }
    for second in 0..=time.as_secs() {
        let x = left as f64 + second as f64 / time.as_secs_f64() * WIDTH as f64;
        let y = floor(shown.len() - 1) + 16;
        let _ = writeln!(svg, "<text x=\"{x:.0}\" y=\"{y}\" text-anchor=\"middle\">{second} s</text>");
    }
}
