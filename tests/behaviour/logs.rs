//! What a plain log at level INFO says, while the trace says everything. An outage is
//! the process's, so each test has one of its own.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use memocached::testing::settled_async;
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
    filtered(log, "info")
}

fn filtered(log: &Log, filter: &str) -> impl Layer<Registry> + use<> {
    let log = log.clone();
    tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(move || log.clone())
        .with_filter(EnvFilter::new(filter))
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

/// Two functions with one template, the second of which computes many values at once.
macro_rules! pair {
    ($($one:ident $key:literal $of_one:ty [$($in_one:tt)*], $each:ident $of_each:ty [$($in_each:tt)*];)*) => {$(
        #[memcached(key = $key, ttl = 60, cache = cache, skip(cache), $($in_one)*)]
        fn $one(cache: &Cache, id: u64) -> Option<$of_one> {
            Some(id.to_string().parse().unwrap())
        }

        #[memcached(key = $key, each(id in ids), ttl = 60, cache = cache, skip(cache), $($in_each)*)]
        fn $each(cache: &Cache, ids: &[u64]) -> HashMap<u64, $of_each> {
            ids.iter().map(|id| (*id, id.to_string().parse().unwrap())).collect()
        }
    )*};
}

pair! {
    user "logs:user:<id>" String [entry = user_entry], users String [entry = users_entry];
    other_type "logs:type:<id>" u64 [], of_other_type u32 [];
    other_version "logs:version:<id>" u64 [version = 1], of_other_version u64 [];
    other_codec "logs:codec:<id>" u64 [codec = json], of_other_codec u64 [codec = text];
}

#[memcached(key = "logs:user:<id>", ttl = 60, cache = cache, skip(cache), entry = name_entry)]
fn name(cache: &Cache, id: u64) -> String {
    id.to_string()
}

#[test]
fn a_shared_template_is_told_unless_one_function_computes_many_of_the_others_values() {
    alone(module_path!(), "a_shared_template_is_told_unless_one_function_computes_many_of_the_others_values", || {
        let log = Log::default();
        tracing::subscriber::set_global_default(Registry::default().with(plain(&log))).unwrap();
        let cache = Cache::embedded();
        assert_eq!(users(&cache, &[1, 2]).len(), 2);
        assert_eq!(user(&cache, 1).as_deref(), Some("1"));
        assert_eq!(user_entry(&cache, 1).get().unwrap(), users_entry(&cache, &1).get().unwrap());
        assert_eq!(log.lines(), [""; 0]);
        assert_eq!((name(&cache, 1), name_entry(&cache, 1).get().unwrap()), ("1".into(), Some("1".into())));
        assert_eq!((other_type(&cache, 1), of_other_type(&cache, &[1]).len()), (Some(1), 1));
        assert_eq!((other_version(&cache, 1), of_other_version(&cache, &[1]).len()), (Some(1), 1));
        assert_eq!((other_codec(&cache, 1), of_other_codec(&cache, &[1]).len()), (Some(1), 1));
        let told = |key: &str| log.lines().iter().filter(|line| line.contains(key)).count();
        assert_eq!(["user", "type", "version", "codec"].map(|key| told(&format!("logs:{key}:<id>"))), [1; 4]);
        assert!(log.lines().iter().all(|line| line.contains("WARN") && line.contains("the same key template")));
    });
}

#[memcached(key = "logs:rate:<n>", name = "rates", grace = 60, cache = &cache, skip(cache, failed), entry = rate_entry)]
async fn rate(cache: Cache, n: u64, failed: bool) -> Result<u64, u64> {
    if failed { Err(n) } else { Ok(n) }
}

#[memcached(key = "logs:price:<n>", name = "prices", grace = 60, cache = cache, skip(cache, failed), entry = price_entry)]
fn price(cache: &Cache, n: u64, failed: bool) -> Result<u64, u64> {
    if failed { Err(n) } else { Ok(n) }
}

/// A line of a log without spans names the function itself.
#[test]
fn each_warning_of_a_call_names_its_function() {
    alone(module_path!(), "each_warning_of_a_call_names_its_function", || {
        let (log, cache) = (Log::default(), Cache::embedded());
        tracing::subscriber::set_global_default(Registry::default().with(filtered(&log, "memocached=warn"))).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            rate(cache.clone(), 1, false).await.unwrap();
            assert!(rate_entry(cache.clone(), 1).invalidate().await.unwrap());
            assert_eq!(rate(cache.clone(), 1, true).await, Ok(1));
            settled_async().await;
        });
        price(&cache, 1, false).unwrap();
        assert!(price_entry(&cache, 1).invalidate().unwrap());
        assert_eq!(price(&cache, 1, true), Ok(1));
        cache.faults().full();
        assert_eq!(price(&cache, 2, false), Ok(2));
        let told = |text: &str| log.lines().into_iter().find(|line| line.contains(text)).unwrap_or_default();
        assert!(told("Cache refresh failed").contains(r#"cache.name="rates""#), "{:#?}", log.lines());
        assert!(told("Cache stale").contains(r#"cache.name="prices""#), "{:#?}", log.lines());
        assert!(told("Result not stored").contains(r#"cache.name="prices""#), "{:#?}", log.lines());
        assert_eq!(log.lines().len(), 3, "{:#?}", log.lines());
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
        assert!(end.contains(" s, the last of them ") && end.ends_with(" s ago"), "{end}");
        let calls = end.split("again; ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        assert!(end.contains("INFO") && calls.parse::<u32>().unwrap() >= 1_000, "{end}");
        assert!(log.lines().len() <= 10, "{:#?}", log.lines());
    });
}
