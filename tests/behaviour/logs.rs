//! What a plain log at level INFO says, while the trace says everything. An outage is
//! the process's, so each test has one of its own.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use memocached::{Cache, memcached};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::support::memcached::{Memcached, until};
use crate::support::process::alone;
use crate::support::recording::events;

#[memcached(key = "logs:<n>", ttl = 60, cache = cache, skip(cache))]
fn square(cache: &Cache, n: u64) -> u64 {
    n * n
}

/// The text that the log has got so far.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn plain(log: &Log) -> impl Layer<Registry> + use<> {
    let log = log.clone();
    tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(move || log.clone())
        .with_filter(EnvFilter::new("info"))
}

#[test]
fn a_healthy_call_writes_no_line_and_its_trace_is_annotated() {
    alone(module_path!(), "a_healthy_call_writes_no_line_and_its_trace_is_annotated", || {
        let (log, exporter) = (Log::default(), InMemorySpanExporter::default());
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let traces = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber =
            Registry::default().with(plain(&log)).with(traces.with_filter(EnvFilter::new("off,memocached=info")));
        tracing::subscriber::set_global_default(subscriber).unwrap();

        let server = Memcached::start();
        let cache = server.cache();
        for n in 0..1_000 {
            assert_eq!(square(&cache, n % 10), (n % 10) * (n % 10));
        }
        assert_eq!(log.lines(), [""; 0]);
        let spans = exporter.get_finished_spans().unwrap();
        let calls: Vec<_> = spans.iter().filter(|span| span.name == "square").map(events).collect();
        let counted = |event| calls.iter().filter(|events| **events == [event]).count();
        assert_eq!((calls.len(), counted("Cache miss"), counted("Cache hit")), (1_000, 10, 990));
    });
}

#[test]
fn a_log_at_level_debug_has_a_line_for_each_call_with_and_without_a_trace() {
    alone(module_path!(), "a_log_at_level_debug_has_a_line_for_each_call_with_and_without_a_trace", || {
        let (log, cache) = (Log::default(), Cache::embedded());
        let writer = log.clone();
        let debug = move || {
            let log = writer.clone();
            let filter = EnvFilter::new("memocached::memo=debug");
            tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || log.clone()).with_filter(filter)
        };
        let calls = || [(); 2].map(|()| square(&cache, 3));
        tracing::subscriber::with_default(Registry::default().with(debug()), calls);
        let provider = SdkTracerProvider::builder().build();
        let traces = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(Registry::default().with(debug()).with(traces), calls);
        let with = |text: &str| log.lines().iter().filter(|line| line.contains(text)).count();
        assert_eq!((with("Cache miss"), with("Cache hit")), (1, 3), "{:#?}", log.lines());
    });
}

#[test]
fn an_outage_is_told_when_it_begins_and_when_it_ends() {
    alone(module_path!(), "an_outage_is_told_when_it_begins_and_when_it_ends", || {
        let log = Log::default();
        tracing::subscriber::set_global_default(Registry::default().with(plain(&log))).unwrap();
        let mut server = Memcached::start();
        let cache = Cache::builder().servers(server.address()).retry_after(Duration::from_secs(1)).build().unwrap();
        square(&cache, 1);
        server.kill();
        for n in 0..1_000 {
            square(&cache, n);
        }
        let lines = log.lines();
        let begun: Vec<_> = lines.iter().filter(|line| line.contains("calls go on without the cache")).collect();
        assert!(lines.len() <= 10 && begun.len() == 1 && begun[0].contains(&server.address()), "{lines:#?}");
        assert!(begun[0].contains("WARN"), "{begun:?}");

        let _server = Memcached::restart(server.port);
        let end = until("the end to be told", || {
            square(&cache, 1);
            std::thread::sleep(Duration::from_millis(50));
            log.lines().into_iter().find(|line| line.contains("the cache answers again"))
        });
        let calls = end.split("again; ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        assert!(end.contains("INFO") && calls.parse::<u32>().unwrap() >= 1_000, "{end}");
        assert!(log.lines().len() <= 10, "{:#?}", log.lines());
    });
}
