//! The guide's set-up of logs, traces and metrics, and what it sends to a real OTLP receiver.

use std::error::Error;

use memocached::{enable_metrics_views, views};
use opentelemetry::{global, trace::TracerProvider};
use opentelemetry_otlp::{MetricExporter, SpanExporter};
use opentelemetry_sdk::{metrics::SdkMeterProvider, trace::SdkTracerProvider};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use memocached::memcached;

use crate::support::process::{again, output, role};
use crate::support::receiver::Receiver;

/// Call this first, and `shutdown` of both at the end.
fn set_up() -> Result<(SdkTracerProvider, SdkMeterProvider), Box<dyn Error>> {
    let spans = SpanExporter::builder().with_http().build()?;
    let traces = SdkTracerProvider::builder().with_batch_exporter(spans).build();
    let metrics = MetricExporter::builder().with_http().build()?;
    let meters = SdkMeterProvider::builder().with_view(views::all());
    let meters = meters.with_periodic_exporter(metrics).build();
    // Filter the layer of the log, not the registry: the trace would lack spans.
    let filter = EnvFilter::new("info,memocached=info");
    let log = tracing_subscriber::fmt::layer().with_filter(filter);
    let trace = tracing_opentelemetry::layer().with_tracer(traces.tracer("shop"));
    tracing_subscriber::registry().with(log).with(trace).init();
    global::set_meter_provider(meters.clone());
    enable_metrics_views();
    Ok((traces, meters))
}

#[memcached(key = "set_up:<n>", ttl = 60)]
fn square(n: u64) -> u64 {
    n * n
}

#[test]
fn the_guides_set_up_sends_all_spans_and_metrics_and_logs_no_detail() {
    if role().is_some() {
        let (traces, meters) = set_up().unwrap();
        assert_eq!((square(3), square(3)), (9, 9));
        traces.shutdown().unwrap();
        meters.shutdown().unwrap();
        return;
    }
    let Some(receiver) = Receiver::start() else { return };
    let test = "behaviour::set_up::the_guides_set_up_sends_all_spans_and_metrics_and_logs_no_detail";
    let log = output(again(test, "child").env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint()));
    assert!(log.contains("MEMCACHED_SERVERS is not set") && !log.contains("Cache hit"), "{log}");
    let received = serde_json::to_string(&receiver.received()).unwrap();
    for sent in ["square", "serialize-key", "Cache hit", "Cache miss", "memocached.cache.requests"] {
        assert!(received.contains(&format!("\"{sent}\"")), "{sent} in {received}");
    }
}

#[test]
fn the_guide_shows_this_set_up_and_its_versions() {
    let guide = include_str!("../../runtime/docs/guide/telemetry.md");
    let block = |language: &str| guide.split(language).nth(1).and_then(|rest| rest.split("\n```").next()).unwrap();
    let code = include_str!("set_up.rs");
    for shown in block("```rust,ignore\n").split("\n\n") {
        assert!(code.contains(shown), "{shown}");
    }
    let used = include_str!("../../Cargo.toml");
    for shown in block("[dependencies]\n").lines() {
        let (name, rest) = shown.split_once(" = ").unwrap();
        let version = rest.split('"').nth(1).unwrap();
        let used = used.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(" = ")?.split('"').nth(1));
        let mut used = used.filter(|version| version.starts_with(|c: char| c.is_ascii_digit()));
        let used = match name {
            "memocached" => env!("CARGO_PKG_VERSION"),
            _ => used.next().unwrap(),
        };
        assert!(used.starts_with(version), "{name} {version}, not {used}");
    }
}
