//! Computes two Fibonacci numbers twice each and shows where they came from:
//! the first round misses the cache and computes, the second one hits.
//!
//! ```text
//! cargo run --example fibonacci
//! MEMCACHED_SERVERS=127.0.0.1:11211 cargo run --example fibonacci
//! OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 cargo run --example fibonacci
//! ```

use std::error::Error;

use memocached::memcached;
use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{MetricExporter, SpanExporter};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::info_span;
use tracing_forest::{ForestLayer, Printer};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The slow way on purpose. The series begins 1, 2, 3, 5.
#[memcached(key = "fib:<n>", ttl = 300, name = "nth_fibonacci", entry = nth_fibonacci_entry)]
fn nth_fibonacci(n: u64) -> u64 {
    fn fib(n: u64) -> u64 {
        if n < 2 { n + 1 } else { fib(n - 1) + fib(n - 2) }
    }
    fib(n)
}

/// A span's name must be known when the program is built.
macro_rules! calculate {
    ($n:literal) => {
        info_span!(concat!("CalculateFibonacci-", $n)).in_scope(|| {
            info_span!("Round-1").in_scope(|| println!("Fibonacci {} ==> {}", $n, nth_fibonacci($n)));
            info_span!("Round-2").in_scope(|| println!("Fibonacci {} ==> {}", $n, nth_fibonacci($n)));
        })
    };
}

fn main() -> Result<(), Box<dyn Error>> {
    let telemetry = Telemetry::install()?;
    info_span!("MemcacheRustUsage").in_scope(|| {
        calculate!(30);
        calculate!(33);
        // So that the next run begins as this one did.
        nth_fibonacci_entry(30).delete()?;
        nth_fibonacci_entry(33).delete()
    })?;
    println!("\n{}", memocached::report());
    telemetry.flush()
}

/// The tree of spans on standard output, and with an endpoint in the
/// environment traces and metrics over OTLP.
struct Telemetry {
    exported: Option<(SdkTracerProvider, SdkMeterProvider)>,
}

impl Telemetry {
    fn install() -> Result<Self, Box<dyn Error>> {
        let filter =
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off,memocached=debug,fibonacci=info"));
        let tree = ForestLayer::from(Printer::new());
        let subscriber = tracing_subscriber::registry().with(filter).with(tree);
        if std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_none() {
            subscriber.init();
            return Ok(Telemetry { exported: None });
        }
        let spans = SpanExporter::builder().with_http().build()?;
        let tracers = SdkTracerProvider::builder().with_batch_exporter(spans).build();
        let metrics = MetricExporter::builder().with_http().build()?;
        let meters =
            SdkMeterProvider::builder().with_view(memocached::views::all()).with_periodic_exporter(metrics).build();
        subscriber.with(tracing_opentelemetry::layer().with_tracer(tracers.tracer("fibonacci"))).init();
        global::set_meter_provider(meters.clone());
        memocached::enable_metrics_views();
        Ok(Telemetry { exported: Some((tracers, meters)) })
    }

    /// Everything has been sent when this returns.
    fn flush(self) -> Result<(), Box<dyn Error>> {
        if let Some((tracers, meters)) = self.exported {
            tracers.shutdown()?;
            meters.shutdown()?;
        }
        Ok(())
    }
}
