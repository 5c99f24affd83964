//! Measures the time and allocations that listeners add to a hit on the embedded
//! store, compared with the same call without a listener.
//!
//! `cargo bench -p memocached --bench telemetry` takes half a minute. A listener
//! cannot be removed, so each is measured in processes of its own, by turns.
//!
//! `-- none` prints the time and allocations of a hit without listeners; with
//! `--features tracing/release_max_level_off` before it, also without spans and
//! events compiled in.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot continue should panic")]

use std::alloc::System;
use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use memocached::{Cache, memcached};
use opentelemetry::Context;
use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{SdkMeterProvider, Temporality};
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const LISTENERS: [(&str, &str); 6] = [
    ("none", ""),
    ("metrics", "≤ 120 ns"),
    ("a subscriber, filtered", ""),
    ("traces, INFO", "≤ 2,600 ns"),
    ("traces, DEBUG", "≤ 5,500 ns"),
    ("metrics and traces, INFO", ""),
];
const ROUNDS: usize = 9;
const BATCHES: usize = 15;
const BATCH: Duration = Duration::from_millis(10);

#[memcached(key = "bench:square:<n>", ttl = 600, cache = cache, skip(cache))]
fn square(cache: &Cache, n: u64) -> u64 {
    n * n
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    match arguments.as_slice() {
        [listener] => {
            let _providers = listen(listener);
            let (nanos, allocations) = measure();
            println!("{nanos} {allocations}");
        }
        // So that valgrind can count instructions.
        [listener, times] => {
            let _providers = listen(listener);
            hits(&Cache::embedded(), times.parse().unwrap());
        }
        _ => compare(),
    }
}

fn compare() {
    let mut figures = vec![Vec::new(); LISTENERS.len()];
    for _ in 0..ROUNDS {
        for ((listener, _), figures) in LISTENERS.iter().zip(&mut figures) {
            figures.push(in_a_process(listener));
        }
    }
    println!("{:<26} {:>8} {:>8} {:>8} {:>12}", "listeners to a hit", "ns", "× none", "more ns", "allocations");
    let none = median(figures[0].iter().map(|(nanos, _)| *nanos));
    for ((listener, limit), figures) in LISTENERS.iter().zip(&figures) {
        let nanos = median(figures.iter().map(|(nanos, _)| *nanos));
        let allocations = figures[0].1;
        println!(
            "{listener:<26} {nanos:>8.0} {:>8.2} {:>8.0} {allocations:>12.1}  {limit}",
            nanos / none,
            nanos - none
        );
    }
}

/// Measures one listener in a process of its own.
fn in_a_process(listener: &str) -> (f64, f64) {
    let output = Command::new(std::env::current_exe().unwrap()).arg(listener).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (nanos, allocations) = text.trim().split_once(' ').unwrap();
    (nanos.parse().unwrap(), allocations.parse().unwrap())
}

/// Measures the nanoseconds and allocations of a hit.
fn measure() -> (f64, f64) {
    let cache = Cache::embedded();
    hits(&cache, 1_000);
    let region = Region::new(ALLOCATOR);
    hits(&cache, 1_000);
    let allocations = region.change().allocations as f64 / 1e3;
    let timed = |times| {
        let started = Instant::now();
        hits(&cache, times);
        started.elapsed()
    };
    let times = (10_000.0 * BATCH.as_secs_f64() / timed(10_000).as_secs_f64()) as u32;
    let nanos = median((0..BATCHES).map(|_| timed(times).as_secs_f64() * 1e9 / f64::from(times)));
    (nanos, allocations)
}

fn hits(cache: &Cache, times: u32) {
    for _ in 0..times {
        assert_eq!(square(cache, black_box(12)), 144);
    }
}

/// Installs a listener, which lives as long as the returned providers.
fn listen(listener: &str) -> (Option<SdkMeterProvider>, Option<SdkTracerProvider>) {
    let meters = listener.contains("metrics").then(|| {
        let meters = SdkMeterProvider::builder().with_periodic_exporter(Nowhere).build();
        global::set_meter_provider(meters.clone());
        memocached::enable_metrics_views();
        meters
    });
    let level = match listener {
        "a subscriber, filtered" => LevelFilter::WARN,
        "traces, DEBUG" => LevelFilter::DEBUG,
        _ => LevelFilter::INFO,
    };
    let tracers = (listener.contains("traces") || listener.contains("subscriber")).then(|| {
        let tracers = SdkTracerProvider::builder().with_span_processor(Nowhere).build();
        // As in the examples.
        let layer = tracing_opentelemetry::layer().with_threads(false).with_tracked_inactivity(false);
        tracing_subscriber::registry().with(level).with(layer.with_tracer(tracers.tracer("bench"))).init();
        tracers
    });
    (meters, tracers)
}

/// Discards finished spans and metrics.
#[derive(Debug)]
struct Nowhere;

impl SpanProcessor for Nowhere {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, _: SpanData) {}

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl PushMetricExporter for Nowhere {
    async fn export(&self, _: &ResourceMetrics) -> OTelSdkResult {
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
