//! What the feature `bound_instruments` records. It is tried apart from the
//! other tests, which it would make record in its own way, too.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so")]

use memocached::{Cache, memcached};
use opentelemetry::global;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, HistogramDataPoint, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};

#[memcached(key = "bound:<n>", ttl = 60, name = "bound", cache = cache, skip(cache))]
fn square(cache: &Cache, n: u64) -> u64 {
    n * n
}

fn provider() -> (SdkMeterProvider, InMemoryMetricExporter) {
    let exporter = InMemoryMetricExporter::default();
    (SdkMeterProvider::builder().with_periodic_exporter(exporter.clone()).build(), exporter)
}

/// How many samples a histogram has under each set of attributes.
fn samples(collected: &[ResourceMetrics], name: &str) -> Vec<(String, u64)> {
    fn counts<T>(points: impl Iterator<Item = HistogramDataPoint<T>>) -> Vec<(String, u64)> {
        let attributes = |point: &HistogramDataPoint<T>| {
            let mut pairs: Vec<_> = point.attributes().map(|pair| format!("{}={}", pair.key, pair.value)).collect();
            pairs.sort();
            pairs.join(" ")
        };
        points.map(|point| (attributes(&point), point.count())).collect()
    }
    let metrics = collected.last().unwrap().scope_metrics().flat_map(|scope| scope.metrics());
    let mut found: Vec<_> = metrics
        .filter(|metric| metric.name() == name)
        .flat_map(|metric| match metric.data() {
            AggregatedMetrics::F64(MetricData::Histogram(data)) => counts(data.data_points().cloned()),
            AggregatedMetrics::U64(MetricData::Histogram(data)) => counts(data.data_points().cloned()),
            _ => panic!("no histogram"),
        })
        .collect();
    found.sort();
    found
}

#[test]
fn histograms_have_the_same_series_as_without_it_and_follow_the_provider() {
    let cache = Cache::embedded();
    let calls = |n| assert_eq!([(); 3].map(|()| square(&cache, n)), [n * n; 3]);
    for (n, (provider, exporter)) in [(2, provider()), (3, provider())] {
        global::set_meter_provider(provider.clone());
        memocached::enable_metrics_views();
        calls(n);
        provider.force_flush().unwrap();
        let collected = exporter.get_finished_metrics().unwrap();
        let samples = |name| samples(&collected, name);
        let bound = |count| vec![("cache.name=bound".to_owned(), count)];
        assert_eq!(samples("memocached.compute.duration"), bound(1));
        assert_eq!(samples("memocached.item.size"), bound(3));
        let operations = samples("db.client.operation.duration");
        let get = operations.iter().filter(|(attributes, _)| attributes.contains("db.operation.name=get"));
        assert_eq!(get.map(|(_, count)| count).sum::<u64>(), 3, "{operations:?}");
        provider.shutdown().unwrap();
    }
}
