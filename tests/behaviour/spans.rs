//! The trace of a miss and of the hit after it.

use memocached::{Cache, memcached};
use opentelemetry::Value;
use opentelemetry::trace::{SpanKind, Status};
use tracing::Instrument;

use crate::support::memcached::Memcached;
use crate::support::process::{again, output, role};
use crate::support::recording::{Recording, attribute, events};

#[memcached(key = "spans:<n>", ttl = 60, name = "spans", cache = cache, skip(cache))]
fn square(cache: &Cache, n: u64) -> u64 {
    tracing::info_span!("inside").in_scope(|| n * n)
}

#[memcached(key = "spans:async:<n>", ttl = 60, name = "spans", cache = cache, skip(cache))]
async fn async_square(cache: &Cache, n: u64) -> u64 {
    tokio::task::yield_now().instrument(tracing::info_span!("inside")).await;
    n * n
}

fn text(value: &str) -> Option<Value> {
    Some(Value::String(value.to_owned().into()))
}

fn tree(function: &str, address: &str) -> String {
    format!(
        "outer
  {function}
    serialize-key
    get {address}
    compute
      inside
    serialize-value
    set {address}
  {function}
    serialize-key
    get {address}
    try-deserialize"
    )
}

#[test]
fn a_miss_computes_and_stores_and_a_hit_decodes() {
    let server = Memcached::start();
    let cache = server.cache();
    let recording = Recording::begin();
    tracing::info_span!("outer").in_scope(|| (square(&cache, 4), square(&cache, 4)));
    assert_eq!(recording.spans().tree(), tree("square", &server.address()));
}

#[tokio::test]
async fn an_async_function_has_the_same_tree() {
    let server = Memcached::start();
    let cache = server.cache();
    let recording = Recording::begin();
    async {
        async_square(&cache, 4).await;
        async_square(&cache, 4).await;
    }
    .instrument(tracing::info_span!("outer"))
    .await;
    assert_eq!(recording.spans().tree(), tree("async_square", &server.address()));
}

#[test]
fn a_site_span_says_whether_it_was_a_hit() {
    let server = Memcached::start();
    let cache = server.cache();
    let recording = Recording::begin();
    square(&cache, 4);
    square(&cache, 4);
    let spans = recording.spans();
    let [miss, hit] = spans.named("square")[..] else { panic!("two calls") };
    assert_eq!(attribute(miss, "cache.name"), text("spans"));
    assert_eq!(attribute(miss, "cache.key.template"), text("spans:<n>"));
    assert_eq!(attribute(miss, "cache.key"), None, "keys are recorded only if asked for");
    assert_eq!(attribute(miss, "cache.ttl"), Some(Value::I64(60)));
    assert_eq!(attribute(miss, "cache.hit"), Some(Value::Bool(false)));
    assert_eq!(attribute(miss, "cache.result"), text("miss"));
    assert_eq!(events(miss), ["Cache miss"]);
    assert_eq!(attribute(hit, "cache.hit"), Some(Value::Bool(true)));
    assert_eq!(attribute(hit, "cache.result"), text("hit"));
    assert_eq!(attribute(hit, "cache.item_size"), attribute(miss, "cache.item_size"));
    assert!(matches!(attribute(hit, "cache.item_size"), Some(Value::I64(44..))));
    assert_eq!(events(hit), ["Cache hit"]);
    assert_eq!((&miss.span_kind, &miss.status), (&SpanKind::Internal, &Status::Unset));
}

#[test]
fn a_client_span_names_its_server() {
    let server = Memcached::start();
    let cache = server.cache();
    let recording = Recording::begin();
    square(&cache, 4);
    let spans = recording.spans();
    let get = spans.named(&format!("get {}", server.address()))[0];
    assert_eq!(get.span_kind, SpanKind::Client);
    assert_eq!(get.status, Status::Unset);
    assert_eq!(attribute(get, "db.system.name"), text("memcached"));
    assert_eq!(attribute(get, "db.operation.name"), text("get"));
    assert_eq!(attribute(get, "server.address"), text("127.0.0.1"));
    assert_eq!(attribute(get, "server.port"), Some(Value::I64(server.port.into())));
    assert_eq!(attribute(get, "db.response.status_code"), None);
    assert_eq!(attribute(get, "error.type"), None);
}

#[test]
fn a_client_span_names_a_socket_by_its_path_and_ipv6_in_brackets() {
    for (server, address, port) in [("/no/such.sock", "/no/such.sock", None), ("[::1]:1", "::1", Some(Value::I64(1)))] {
        let cache = Cache::builder().servers(server).build().unwrap();
        let recording = Recording::begin();
        assert_eq!(square(&cache, 4), 16);
        let spans = recording.spans();
        let get = spans.named(&format!("get {server}"))[0];
        assert_eq!(attribute(get, "server.address"), text(address));
        assert_eq!(attribute(get, "server.port"), port);
    }
}

#[test]
fn trouble_is_the_client_spans_not_the_functions() {
    let mut server = Memcached::start();
    let cache = server.cache();
    server.kill();
    let recording = Recording::begin();
    assert_eq!(square(&cache, 4), 16);
    let spans = recording.spans();
    let get = spans.named(&format!("get {}", server.address()))[0];
    assert!(matches!(get.status, Status::Error { .. }));
    assert_eq!(attribute(get, "error.type"), text("connect"));
    let site = spans.named("square")[0];
    assert_eq!(site.status, Status::Unset);
    assert_eq!(attribute(site, "cache.result"), text("error"));
    assert_eq!(events(site), ["Cache unavailable", "Cache miss"]);
    assert!(spans.named(&format!("set {}", server.address())).is_empty(), "a store would be in vain");
}

#[test]
fn each_miss_says_why() {
    let server = Memcached::start();
    let cache = server.cache();
    let reason = |prepare: &dyn Fn()| {
        prepare();
        let recording = Recording::begin();
        square(&cache, 5);
        let spans = recording.spans();
        let event = spans.named("square")[0].events.events.iter().find(|event| event.name == "Cache miss");
        let pair =
            event.and_then(|event| event.attributes.iter().find(|pair| pair.key.as_str() == "cache.miss.reason"));
        pair.map(|pair| pair.value.to_string()).unwrap_or_default()
    };
    assert_eq!(reason(&|| {}), "absent");
    assert_eq!(reason(&|| server.store("spans:5", 1, b"something else")), "schema");
    square(&cache, 5);
    let mut stored = server.stored("spans:5").unwrap();
    *stored.last_mut().unwrap() ^= 1;
    assert_eq!(reason(&|| server.store("spans:5", 1, &stored)), "decode_error");
}

#[memcached(key = "spans:json:<name>", ttl = 60, codec = json)]
fn as_json(name: &str) -> Vec<String> {
    vec![format!("hello, {name}")]
}

#[memcached(key = "spans:binary:<n>", ttl = 60)]
fn as_binary(n: u32) -> (u32, Vec<u32>) {
    (n, vec![1_000_000; 1_000])
}

#[memcached(key = "spans:text:<n>", ttl = 60, codec = text)]
fn as_text(n: u32) -> String {
    format!("{n}{}\u{1b}[31m", "x".repeat(n as usize))
}

#[test]
fn keys_and_values_are_shown_only_if_asked_for() {
    const TEST: &str = "behaviour::spans::keys_and_values_are_shown_only_if_asked_for";
    if role().is_some() {
        let recording = Recording::begin();
        for _ in 0..2 {
            as_json("wörld");
            as_json(&"é".repeat(200));
            as_binary(7);
            as_text(3);
        }
        for span in recording.take().iter().filter(|span| span.name.starts_with("as_")) {
            let shown = |name| attribute(span, name).map_or_else(|| "-".into(), |value| value.to_string());
            println!("\n{} {} = {}", span.name, shown("cache.key"), shown("cache.value"));
        }
        return;
    }
    for secret in ["", "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"] {
        let server = Memcached::start();
        let lines = |record: &str| {
            let mut program = again(TEST, "child");
            program.env("MEMCACHED_TIMEOUT", "10s").env("MEMCACHED_CONNECT_TIMEOUT", "10s");
            program.env("MEMCACHED_AUTH_KEY", secret).env("MEMCACHED_COMPRESS", "4KiB");
            let printed = output(program.env("MEMCACHED_SERVERS", server.address()).env("MEMCACHED_RECORD", record));
            let lines: Vec<_> = printed.lines().filter(|line| line.starts_with("as_")).map(str::to_owned).collect();
            assert_eq!(lines.len(), 8, "{printed}");
            lines
        };
        assert!(lines("none").iter().all(|line| line.ends_with(" - = -")));
        assert!(lines("keys").iter().all(|line| line.contains(" spans:") && line.ends_with(" = -")));
        server.command("flush_all");
        let values = lines("values");
        assert_eq!(values[..4], values[4..], "what is stored is what is found");
        assert_eq!(values[0], "as_json spans:json:w%C3%B6rld = [\"hello, wörld\"]");
        let long = values[1].split_once(" = ").unwrap().1;
        assert!(long.starts_with("[\"hello, éé") && long.ends_with("é…") && long.len() <= 256, "{long}");
        assert!(values[2].starts_with("as_binary spans:binary:7 = 0x07fbe803fc40420f00fc"), "{}", values[2]);
        assert_eq!(values[2].split_once(" = ").unwrap().1.len(), 256);
        assert_eq!(values[3], "as_text spans:text:3 = 0x337878781b5b33316d", "what is no text is no text here");
    }
}

#[test]
fn all_that_is_recorded_has_a_public_name() {
    let names = include_str!("../../runtime/src/telemetry/names.rs");
    let is_public = |name: &str| names.contains(&format!("\"{name}\""));
    // What tracing-opentelemetry adds.
    let is_ours = |key: &str| ["cache.", "db.", "server.", "network.", "error."].iter().any(|p| key.starts_with(p));
    let mut server = Memcached::start();
    let cache = server.cache();
    let recording = Recording::begin();
    square(&cache, 4);
    square(&cache, 4);
    server.kill();
    square(&cache, 5);
    let mut seen = 0;
    for span in recording.take() {
        let verb = ["get ", "set "].iter().any(|verb| span.name.starts_with(verb));
        assert!(verb || ["square", "inside"].contains(&&*span.name) || is_public(&span.name), "{}", span.name);
        for event in &span.events.events {
            // Unless another test has met with an outage just now, this call tells of one.
            let is_line = event.name.starts_with("calls go on without the cache");
            assert!(is_line || is_public(&event.name), "{}", event.name);
        }
        let keys = span.attributes.iter().chain(span.events.events.iter().flat_map(|event| &event.attributes));
        for key in keys.map(|pair| pair.key.as_str()).filter(|key| is_ours(key)) {
            assert!(is_public(key), "{key}");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}
