//! Traces and metrics on their way out, to a real OTLP receiver.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::memcached::Memcached;
use crate::support::process::{example, output};
use crate::support::receiver::{Receiver, all};

#[test]
fn the_example_exports_its_trace_and_its_metrics() {
    let Some(receiver) = Receiver::start() else { return };
    let server = Memcached::start();
    let endpoint = receiver.endpoint();
    output(
        example("fibonacci")
            .env("MEMCACHED_SERVERS", server.address())
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            .env("OTEL_SERVICE_NAME", "fibonacci"),
    );
    let received = receiver.received();
    let text = serde_json::to_string(&received).unwrap();
    let (mut spans, mut metrics) = (Vec::new(), Vec::new());
    received.iter().for_each(|line| {
        all(line, "spanId", &mut spans);
        all(line, "unit", &mut metrics);
    });
    let named = |name: &str| spans.iter().filter(|span| span["name"] == name).count();
    assert_eq!(named("MemcacheRustUsage"), 1, "{text}");
    assert_eq!(named("nth_fibonacci"), 4);
    assert_eq!(named("compute"), 2);
    // A busy machine renews its lease, which is no part of a call.
    let calls: Vec<_> = spans.iter().filter(|span| span["name"] == "nth_fibonacci").collect();
    let is_a_calls = |span: &Value| calls.iter().any(|call| call["spanId"] == span["parentSpanId"]);
    let get = format!("get {}", server.address());
    assert_eq!(spans.iter().filter(|span| span["name"] == *get && is_a_calls(span)).count(), 4);
    assert_eq!(named(&format!("set {}", server.address())), 2);
    assert_eq!(named(&format!("delete {}", server.address())), 2);
    assert_eq!((text.matches("\"Cache hit\"").count(), text.matches("\"Cache miss\"").count()), (2, 2));
    for name in [
        "memocached.cache.requests",
        "memocached.client.calls",
        "memocached.client.latency",
        "db.client.operation.duration",
        "db.client.connection.count",
        "db.client.connection.create_time",
        "memocached.compute.saved",
        "memocached.item.size",
        "memocached.node.up",
        "memocached.ring.nodes",
    ] {
        assert!(metrics.iter().any(|metric| metric["name"] == name), "{name} in {text}");
    }
    let mut requests = metrics.iter().filter(|metric| metric["name"] == "memocached.cache.requests");
    let requests = requests.next_back().map(|metric| metric["sum"]["dataPoints"].clone()).unwrap_or_default();
    let results: BTreeMap<_, _> = requests.as_array().into_iter().flatten().map(result).collect();
    assert_eq!(results, [("hit".into(), "2".into()), ("miss".into(), "2".into())].into(), "{requests}");
}

/// The result that a point of `memocached.cache.requests` is about, and how
/// many there were.
fn result(point: &Value) -> (String, String) {
    let attributes = point["attributes"].as_array().into_iter().flatten();
    let result = attributes.filter(|pair| pair["key"] == "cache.result").map(|pair| &pair["value"]["stringValue"]);
    // A number in one JSON encoding of the protocol, a string in the other.
    let count = point["asInt"].to_string().trim_matches('"').to_owned();
    (result.filter_map(Value::as_str).collect(), count)
}
