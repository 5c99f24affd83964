//! Counters and histograms, as OpenTelemetry's SDK collects them.

use memocached::{Cache, memcached};
use opentelemetry::global;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};

use crate::support::memcached::Memcached;

#[memcached(key = "metrics:<n>", ttl = 60, name = "metrics", cache = cache, skip(cache))]
fn square(cache: &Cache, n: u64) -> u64 {
    std::hint::black_box((0..10_000).sum::<u64>());
    n * n
}

/// The sum of a counter, or the number of samples of a histogram, over all
/// points that have these attributes.
fn total(collected: &[ResourceMetrics], metric: &str, attributes: &[(&str, &str)]) -> f64 {
    let metrics = collected.last().into_iter().flat_map(ResourceMetrics::scope_metrics);
    let metrics = metrics.flat_map(opentelemetry_sdk::metrics::data::ScopeMetrics::metrics);
    let fits = |found: &mut dyn Iterator<Item = &opentelemetry::KeyValue>| {
        let found: Vec<_> = found.map(|pair| (pair.key.as_str().to_owned(), pair.value.to_string())).collect();
        attributes.iter().all(|(key, value)| found.iter().any(|(k, v)| k == key && v == value))
    };
    let mut sum = 0.0;
    for metric in metrics.filter(|found| found.name() == metric) {
        match metric.data() {
            AggregatedMetrics::U64(MetricData::Sum(data)) => {
                sum += data
                    .data_points()
                    .filter(|point| fits(&mut point.attributes()))
                    .map(|point| point.value() as f64)
                    .sum::<f64>();
            }
            AggregatedMetrics::F64(MetricData::Sum(data)) => {
                sum += data
                    .data_points()
                    .filter(|point| fits(&mut point.attributes()))
                    .map(|point| point.value())
                    .sum::<f64>();
            }
            AggregatedMetrics::F64(MetricData::Histogram(data)) => {
                sum += data
                    .data_points()
                    .filter(|point| fits(&mut point.attributes()))
                    .map(|point| point.count() as f64)
                    .sum::<f64>();
            }
            AggregatedMetrics::U64(MetricData::Histogram(data)) => {
                sum += data
                    .data_points()
                    .filter(|point| fits(&mut point.attributes()))
                    .map(|point| point.count() as f64)
                    .sum::<f64>();
            }
            AggregatedMetrics::I64(MetricData::Sum(data)) => {
                sum += data
                    .data_points()
                    .filter(|point| fits(&mut point.attributes()))
                    .map(|point| point.value() as f64)
                    .sum::<f64>();
            }
            AggregatedMetrics::U64(MetricData::Gauge(data)) => {
                sum += data
                    .data_points()
                    .filter(|point| fits(&mut point.attributes()))
                    .map(|point| point.value() as f64)
                    .sum::<f64>();
            }
            _ => panic!("another kind of metric"),
        }
    }
    sum
}

fn provider() -> (SdkMeterProvider, InMemoryMetricExporter) {
    let exporter = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder()
        .with_periodic_exporter(exporter.clone())
        .with_view(memocached::views::all())
        .build();
    (provider, exporter)
}

fn collected(provider: &SdkMeterProvider, exporter: &InMemoryMetricExporter) -> Vec<ResourceMetrics> {
    provider.force_flush().unwrap();
    exporter.get_finished_metrics().unwrap()
}

#[test]
fn calls_are_counted_from_before_the_provider_and_once_however_often_it_is_enabled() {
    let mut server = Memcached::start();
    let cache = server.cache();
    // A miss and a hit without a listener.
    assert_eq!([(); 2].map(|()| square(&cache, 1)), [1; 2]);

    let (first, exporter) = provider();
    global::set_meter_provider(first.clone());
    memocached::enable_metrics_views();
    memocached::enable_metrics_views();

    assert_eq!([(); 2].map(|()| square(&cache, 2)), [4; 2]);
    let (port, address) = (server.port.to_string(), server.address());
    let everything = collected(&first, &exporter);
    let total_of = |metric: &str, attributes: &[(&str, &str)]| total(&everything, metric, attributes);
    let pool = ("db.client.connection.pool.name", address.as_str());
    let connections = |state| total_of("db.client.connection.count", &[pool, ("db.client.connection.state", state)]);
    assert_eq!((connections("idle"), connections("used")), (1.0, 0.0));
    assert_eq!(total_of("memocached.node.up", &[("server.port", &port)]), 1.0);

    server.kill();
    square(&cache, 3);
    let everything = collected(&first, &exporter);
    let total_of = |metric: &str, attributes: &[(&str, &str)]| total(&everything, metric, attributes);

    let requests =
        |result| total_of("memocached.cache.requests", &[("cache.name", "metrics"), ("cache.result", result)]);
    assert_eq!((requests("hit"), requests("miss"), requests("error")), (2.0, 2.0, 1.0));
    let misses =
        |reason| total_of("memocached.cache.misses", &[("cache.name", "metrics"), ("cache.miss.reason", reason)]);
    assert_eq!((misses("absent"), misses("unavailable")), (2.0, 1.0));
    assert!(total_of("memocached.compute.saved", &[("cache.name", "metrics")]) > 0.0);
    assert_eq!(total_of("memocached.compute.duration", &[("cache.name", "metrics")]), 2.0);
    assert_eq!(total_of("memocached.item.size", &[("cache.name", "metrics")]), 2.0);

    let duration = |operation, error| {
        let mut attributes = vec![("server.port", port.as_str()), ("db.operation.name", operation)];
        attributes.extend(error);
        total_of("db.client.operation.duration", &attributes)
    };
    assert_eq!((duration("get", None), duration("set", None)), (3.0, 1.0));
    assert_eq!(duration("get", Some(("error.type", "connect"))), 1.0);
    assert_eq!(total_of("memocached.node.up", &[("server.port", &port)]), 0.0);

    // Other tests of this process may have added to these.
    assert!(total_of("memocached.client.calls", &[("method", "get"), ("status", "ok")]) >= 4.0);
    assert!(
        total_of("memocached.client.calls", &[("method", "get"), ("status", "error"), ("error", "connect")]) >= 1.0
    );
    assert!(total_of("memocached.client.latency", &[("method", "set"), ("status", "ok")]) >= 1.0);
    assert!(total_of("memocached.ring.nodes", &[("state", "down")]) >= 1.0);

    let row = memocached::report().functions.into_iter().find(|row| row.name == "metrics").unwrap();
    assert_eq!((row.calls, row.hits, row.misses, row.uncached), (5, 2, 2, 1));
    assert_eq!((row.absent, row.expired, row.unavailable, row.not_stored), (2, 0, 1, 0));
    assert!(row.median_compute.is_some() && row.median_hit.is_some());

    // Another provider has all that was counted, and the histograms from now on.
    let server = Memcached::restart(server.port);
    let cache = server.cache();
    let (second, exporter) = provider();
    global::set_meter_provider(second.clone());
    memocached::enable_metrics_views();
    memocached::enable_metrics_views();
    first.shutdown().unwrap();
    assert_eq!([(); 2].map(|()| square(&cache, 4)), [16; 2]);
    let everything = collected(&second, &exporter);
    let total_of = |metric: &str, attributes: &[(&str, &str)]| total(&everything, metric, attributes);
    let requests =
        |result| total_of("memocached.cache.requests", &[("cache.name", "metrics"), ("cache.result", result)]);
    assert_eq!((requests("hit"), requests("miss"), requests("error")), (3.0, 3.0, 1.0));
    assert_eq!(total_of("memocached.compute.duration", &[("cache.name", "metrics")]), 1.0);
    let get = [("server.port", port.as_str()), ("db.operation.name", "get")];
    assert_eq!(total_of("db.client.operation.duration", &get), 2.0);
    assert_eq!(total_of("db.client.connection.create_time", &[pool]), 1.0);
    assert_eq!(total_of("db.client.connection.timeouts", &[pool]), 0.0);
}
