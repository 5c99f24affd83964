//! Whole traces, as a real OTLP receiver gets them from a process of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use memocached::{Cache, Client, memcached};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde_json::Value;
use tokio::sync::Notify;
use tracing::span::{Attributes, Id};
use tracing::{Instrument, info_span};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::support::asking::eventually;
use crate::support::memcached::Memcached;
use crate::support::process::{again, output, role};
use crate::support::receiver::{Receiver, all};

/// The spans of `calls`, run in a process of their own, where this does not
/// return; `None` where the test has to end without a receiver.
fn traced(test: &str, servers: &[&Memcached], calls: impl FnOnce(&[String])) -> Option<Trace> {
    if let Some(role) = role() {
        let tracers = SdkTracerProvider::builder()
            .with_batch_exporter(SpanExporter::builder().with_http().build().unwrap())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(tracers.tracer("traces"));
        let filter = EnvFilter::new("off,memocached=debug,behaviour=info");
        tracing_subscriber::registry().with(filter).with(Watch).with(layer).init();
        calls(&role.split(' ').map(str::to_owned).collect::<Vec<_>>());
        tracers.shutdown().unwrap();
        // The servers that this process has started by running the test again.
        servers.iter().for_each(|server| server.end());
        std::process::exit(0);
    }
    let receiver = Receiver::start()?;
    let addresses: Vec<_> = servers.iter().map(|server| server.address()).collect();
    let mut program = again(&format!("behaviour::traces::{test}"), &addresses.join(" "));
    output(program.env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint()));
    let (received, mut spans) = (receiver.received(), Vec::new());
    received.iter().for_each(|line| all(line, "spanId", &mut spans));
    // Links have the field too.
    Some(Trace(spans.into_iter().filter(|span| span["name"].is_string()).cloned().collect()))
}

struct Trace(Vec<Value>);

impl Trace {
    fn named(&self, name: &str) -> Vec<&Value> {
        let mut spans: Vec<_> = self.0.iter().filter(|span| span["name"] == name).collect();
        spans.sort_by_key(|span| began(span));
        spans
    }

    fn one(&self, name: &str) -> &Value {
        let [span] = self.named(name)[..] else { panic!("one {name}: {:?}", self.0) };
        span
    }

    fn below(&self, parent: &Value) -> Vec<&Value> {
        let mut spans: Vec<_> = self.0.iter().filter(|span| span["parentSpanId"] == parent["spanId"]).collect();
        spans.sort_by_key(|span| began(span));
        spans
    }

    /// Names, those below a span in brackets.
    fn tree(&self, span: &Value) -> String {
        let below: Vec<_> = self.below(span).into_iter().map(|span| self.tree(span)).collect();
        let name = span["name"].as_str().unwrap();
        if below.is_empty() { name.to_owned() } else { format!("{name}[{}]", below.join(" ")) }
    }
}

fn began(span: &Value) -> u64 {
    span["startTimeUnixNano"].as_str().unwrap().parse().unwrap()
}

/// Attributes as they came, with their types, but for those that tell where in
/// the code something is, on which thread, and how long it was idle.
fn attributes(of: &Value) -> BTreeMap<&str, String> {
    let pairs = of["attributes"].as_array().into_iter().flatten();
    let pairs = pairs.map(|pair| (pair["key"].as_str().unwrap(), pair["value"].to_string()));
    let is_ours = |key: &str| ["cache.", "db.", "server.", "network.", "error."].iter().any(|p| key.starts_with(p));
    pairs.filter(|(key, _)| is_ours(key)).collect()
}

fn text(value: &str) -> String {
    format!("{{\"stringValue\":\"{value}\"}}")
}

fn number(value: impl ToString) -> String {
    format!("{{\"intValue\":\"{}\"}}", value.to_string())
}

fn flag(value: bool) -> String {
    format!("{{\"boolValue\":{value}}}")
}

fn result(span: &Value) -> String {
    attributes(span).remove("cache.result").unwrap_or_default()
}

fn events(span: &Value) -> Vec<&str> {
    span["events"].as_array().into_iter().flatten().filter_map(|event| event["name"].as_str()).collect()
}

fn links_to(span: &Value, other: &Value) -> bool {
    span["links"].as_array().into_iter().flatten().any(|link| link["spanId"] == other["spanId"])
}

/// Of OpenTelemetry's protocol.
const INTERNAL: u64 = 1;
const CLIENT: u64 = 3;
const UNSET: u64 = 0;
const ERROR: u64 = 2;

fn kind_and_status(span: &Value) -> (u64, u64) {
    (span["kind"].as_u64().unwrap(), span["status"]["code"].as_u64().unwrap_or(UNSET))
}

fn cache(servers: &str) -> Cache {
    Cache::builder().servers(servers).timeout(Duration::from_secs(10)).build().unwrap()
}

fn on_tokio<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[memcached(key = "traces:<n>", ttl = 60, name = "squares", cache = cache, skip(cache))]
fn square(cache: &Cache, n: u64) -> u64 {
    info_span!("inside").in_scope(|| n * n)
}

#[test]
fn a_miss_and_a_hit_tell_what_they_did() {
    let server = Memcached::start();
    let Some(trace) = traced("a_miss_and_a_hit_tell_what_they_did", &[&server], |servers| {
        let cache = cache(&servers[0]);
        info_span!("outer").in_scope(|| (square(&cache, 4), square(&cache, 4)));
    }) else {
        return;
    };
    let at = server.address();
    let tree = trace.tree(trace.one("outer"));
    let miss = format!("square[serialize-key get {at} compute[inside] serialize-value set {at}]");
    assert_eq!(tree, format!("outer[{miss} square[serialize-key get {at} try-deserialize]]"));
    let [miss, hit] = trace.named("square")[..] else { panic!("{tree}") };
    let size = attributes(miss).remove("cache.item_size").unwrap_or_default();
    assert!(size.contains("intValue"), "{size}");
    for (span, was_hit, result, event, reason) in
        [(miss, false, "miss", "Cache miss", Some("absent")), (hit, true, "hit", "Cache hit", None)]
    {
        let expected = [
            ("cache.name", text("squares")),
            ("cache.key.template", text("traces:<n>")),
            ("cache.hit", flag(was_hit)),
            ("cache.result", text(result)),
            ("cache.ttl", number(60)),
            ("cache.item_size", size.clone()),
        ];
        assert_eq!(attributes(span), expected.into());
        assert_eq!(kind_and_status(span), (INTERNAL, UNSET));
        assert_eq!(events(span), [event]);
        let told = attributes(&span["events"][0]);
        assert_eq!(told[if was_hit { "cache.hit" } else { "cache.miss" }], flag(true));
        assert_eq!(told.get("cache.miss.reason").cloned(), reason.map(text));
    }
    for (verb, count) in [("get", 2), ("set", 1)] {
        let spans = trace.named(&format!("{verb} {at}"));
        assert_eq!(spans.len(), count);
        for span in spans {
            let expected = [
                ("db.system.name", text("memcached")),
                ("db.operation.name", text(verb)),
                ("server.address", text("127.0.0.1")),
                ("server.port", number(server.port)),
                ("network.peer.address", text("127.0.0.1")),
            ];
            assert_eq!(attributes(span), expected.into());
            assert_eq!(kind_and_status(span), (CLIENT, UNSET));
        }
    }
    for name in ["serialize-key", "compute", "serialize-value", "try-deserialize"] {
        for span in trace.named(name) {
            assert_eq!((kind_and_status(span), attributes(span)), ((INTERNAL, UNSET), BTreeMap::new()));
        }
    }
}

#[test]
fn threads_have_trees_of_their_own() {
    let server = Memcached::start();
    let Some(trace) = traced("threads_have_trees_of_their_own", &[&server], |servers| {
        let cache = cache(&servers[0]);
        info_span!("all").in_scope(|| {
            std::thread::scope(|scope| {
                for n in 0..4 {
                    let (cache, outer) = (&cache, info_span!("outer"));
                    scope.spawn(move || outer.in_scope(|| (square(cache, n), square(cache, n))));
                }
            });
        });
    }) else {
        return;
    };
    let at = server.address();
    let miss = format!("square[serialize-key get {at} compute[inside] serialize-value set {at}]");
    let outer = format!("outer[{miss} square[serialize-key get {at} try-deserialize]]");
    assert_eq!(trace.tree(trace.one("all")), format!("all[{0} {0} {0} {0}]", outer));
}

#[memcached(key = "traces:turns:<n>", ttl = 60, cache = cache, skip(cache))]
async fn by_turns(cache: &Cache, n: u64) -> u64 {
    for _ in 0..5 {
        tokio::task::yield_now().instrument(info_span!("turn", name = n)).await;
    }
    n
}

#[test]
fn tasks_that_take_turns_have_trees_of_their_own() {
    let server = Memcached::start();
    let Some(trace) = traced("tasks_that_take_turns_have_trees_of_their_own", &[&server], |servers| {
        let cache = cache(&servers[0]);
        let task = |n| by_turns(&cache, n).instrument(info_span!("task"));
        on_tokio(async { tokio::join!(task(0), task(1)) });
    }) else {
        return;
    };
    let at = server.address();
    let tasks = trace.named("task");
    let expected =
        format!("task[by_turns[serialize-key get {at} compute[turn turn turn turn turn] serialize-value set {at}]]");
    assert_eq!(tasks.iter().map(|task| trace.tree(task)).collect::<Vec<_>>(), [&*expected, &*expected]);
    // They did take turns, and none is below the other's body.
    let numbers = |compute: &Value| {
        let turns = trace.below(compute).into_iter().map(|turn| {
            turn["attributes"].as_array().into_iter().flatten().find(|pair| pair["key"] == "name").unwrap()["value"]
                .to_string()
        });
        turns.collect::<std::collections::BTreeSet<_>>()
    };
    let computes = trace.named("compute");
    let [first, second] = computes[..] else { panic!("two") };
    assert_eq!((numbers(first).len(), numbers(second).len()), (1, 1));
    assert_ne!(numbers(first), numbers(second));
    assert_ne!(first["traceId"], second["traceId"]);
}

#[memcached(key = "traces:gated:<n>", ttl = 60, grace = 60, cache = &cache, skip(cache, gate, began), entry = gated_entry)]
async fn gated(cache: Cache, n: u64, gate: Arc<Notify>, began: Arc<AtomicBool>) -> u64 {
    began.store(true, Ordering::Relaxed);
    gate.notified().await;
    n
}

static WAITS: AtomicU64 = AtomicU64::new(0);
static LOOKUPS_SINCE: AtomicU64 = AtomicU64::new(0);

/// Counts the waits that have begun in this process, and what is asked then.
struct Watch;

impl<S: tracing::Subscriber> Layer<S> for Watch {
    fn on_new_span(&self, span: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        match span.metadata().name() {
            "wait" => WAITS.fetch_add(1, Ordering::Relaxed),
            name if name.starts_with("get ") && WAITS.load(Ordering::Relaxed) > 0 => {
                LOOKUPS_SINCE.fetch_add(1, Ordering::Relaxed)
            }
            _ => 0,
        };
    }
}

/// One computes until `waited`, another waits for it: in this process, or as
/// one of another process would, which shares nothing but the server.
fn leads_and_waits(leader: &Cache, other: &Cache, waited: impl Fn() -> bool) {
    let (gate, began) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let call = |cache: &Cache| gated(cache.clone(), 1, Arc::clone(&gate), Arc::clone(&began));
    on_tokio(async {
        let leads = call(leader).instrument(info_span!("leads"));
        let waits = async {
            eventually("the leader", async || began.load(Ordering::Relaxed).then_some(())).await;
            call(other).instrument(info_span!("waits")).await
        };
        let opens = async {
            eventually("the other to wait", async || waited().then_some(())).await;
            gate.notify_one();
        };
        tokio::join!(leads, waits, opens);
    });
}

#[test]
fn a_call_that_waits_in_the_same_process_is_linked_to_the_leader() {
    let server = Memcached::start();
    let Some(trace) = traced("a_call_that_waits_in_the_same_process_is_linked_to_the_leader", &[&server], |servers| {
        let cache = cache(&servers[0]);
        leads_and_waits(&cache, &cache, || WAITS.load(Ordering::Relaxed) > 0);
    }) else {
        return;
    };
    let at = server.address();
    let (leads, waits) = (trace.one("leads"), trace.one("waits"));
    assert_eq!(trace.tree(waits), format!("waits[gated[serialize-key get {at} wait try-deserialize]]"));
    let (leader, waiter) = (trace.below(leads)[0], trace.below(waits)[0]);
    assert!(links_to(waiter, leader) && !links_to(leader, waiter));
    assert_ne!(leader["traceId"], waiter["traceId"]);
    assert_eq!((result(leader), result(waiter)), (text("miss"), text("coalesced")));
    assert_eq!((events(waiter), attributes(waiter)["cache.hit"].clone()), (vec!["Cache coalesced"], flag(false)));
    assert_eq!(kind_and_status(trace.one("wait")), (INTERNAL, UNSET));
    assert_eq!(trace.named("compute").len(), 1);
}

#[test]
fn a_call_that_waits_for_another_process_has_its_questions_below_its_wait() {
    let server = Memcached::start();
    let Some(trace) =
        traced("a_call_that_waits_for_another_process_has_its_questions_below_its_wait", &[&server], |servers| {
            leads_and_waits(&cache(&servers[0]), &cache(&servers[0]), || LOOKUPS_SINCE.load(Ordering::Relaxed) > 1);
        })
    else {
        return;
    };
    let get = format!("get {}", server.address());
    let call = trace.below(trace.one("waits"))[0];
    let names: Vec<_> = trace.below(call).iter().map(|span| span["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["serialize-key", &*get, "wait", "try-deserialize"]);
    assert_eq!((result(call), events(call)), (text("coalesced"), vec!["Cache coalesced"]));
    let polls = trace.below(trace.one("wait"));
    assert!(polls.len() > 1 && polls.iter().all(|span| span["name"] == *get), "{polls:?}");
}

#[test]
fn a_refresh_behind_a_call_is_linked_to_it_and_no_child() {
    let server = Memcached::start();
    let Some(trace) = traced("a_refresh_behind_a_call_is_linked_to_it_and_no_child", &[&server], |servers| {
        let cache = cache(&servers[0]);
        let gate = Arc::new(Notify::new());
        let call = || gated(cache.clone(), 2, Arc::clone(&gate), Arc::default());
        on_tokio(async {
            let entry = gated_entry(cache.clone(), 2);
            entry.put(&1).await.unwrap();
            entry.invalidate().await.unwrap();
            call().instrument(info_span!("outer")).await;
            gate.notify_one();
            eventually("a new value", async || {
                tokio::time::sleep(Duration::from_millis(1)).await;
                (entry.get().await.unwrap() == Some(2)).then_some(())
            })
            .await;
        });
    }) else {
        return;
    };
    let at = server.address();
    let outer = trace.one("outer");
    assert_eq!(trace.tree(outer), format!("outer[gated[serialize-key get {at} try-deserialize]]"));
    let stale = trace.below(outer)[0];
    assert_eq!((result(stale), events(stale)), (text("stale"), vec!["Cache stale"]));
    assert_eq!(attributes(stale)["cache.hit"], flag(true));
    let refresh = trace.named("gated").into_iter().find(|span| span["spanId"] != stale["spanId"]).expect("a refresh");
    assert_eq!(refresh["parentSpanId"], "");
    assert!(links_to(refresh, stale) && refresh["traceId"] != stale["traceId"]);
    assert_eq!(result(refresh), text("refresh"));
    assert_eq!(trace.tree(refresh), format!("gated[compute serialize-value set {at}]"));
}

#[test]
fn an_error_that_was_survived_is_the_servers_and_not_the_functions() {
    let mut server = Memcached::start();
    server.kill();
    let Some(trace) =
        traced("an_error_that_was_survived_is_the_servers_and_not_the_functions", &[&server], |servers| {
            assert_eq!(square(&cache(&servers[0]), 4), 16);
        })
    else {
        return;
    };
    let site = trace.one("square");
    let get = trace.one(&format!("get {}", server.address()));
    assert_eq!((kind_and_status(site), kind_and_status(get)), ((INTERNAL, UNSET), (CLIENT, ERROR)));
    assert_eq!(attributes(get)["error.type"], text("connect"));
    // The first call of an outage has its log line too.
    let is_line = |event: &Value| event["name"].as_str().is_some_and(|name| name.starts_with("calls go on"));
    let told: Vec<&Value> = site["events"].as_array().unwrap().iter().filter(|event| !is_line(event)).collect();
    let names: Vec<&str> = told.iter().filter_map(|event| event["name"].as_str()).collect();
    assert_eq!((names, result(site)), (vec!["Cache unavailable", "Cache miss"], text("error")));
    assert_eq!(attributes(told[0])["error.type"], text("connect"));
    assert_eq!(attributes(told[1])["cache.miss.reason"], text("unavailable"));
}

#[test]
fn a_batch_is_one_call_with_a_child_for_each_node() {
    let servers = [(); 3].map(|()| Memcached::start());
    let Some(trace) = traced("a_batch_is_one_call_with_a_child_for_each_node", &servers.each_ref(), |servers| {
        let client = Client::builder().servers(servers.join(",")).timeout(Duration::from_secs(10)).build().unwrap();
        let keys: Vec<_> = (0..60).map(|n| format!("traces:{n}")).collect();
        info_span!("outer").in_scope(|| assert!(client.get_many::<u64>(&keys).failed.is_empty()));
    }) else {
        return;
    };
    let [batch] = trace.below(trace.one("outer"))[..] else { panic!("one call") };
    assert_eq!((batch["name"].as_str(), kind_and_status(batch)), (Some("get_many"), (CLIENT, UNSET)));
    assert_eq!(attributes(batch)["db.memcached.keys"], number(60));
    let parts = trace.below(batch);
    let mut names: Vec<_> = parts.iter().map(|part| part["name"].as_str().unwrap().to_owned()).collect();
    let mut expected = servers.each_ref().map(|server| format!("get_many {}", server.address()));
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert!(parts.iter().all(|part| kind_and_status(part) == (INTERNAL, UNSET)));
    assert_eq!(trace.0.len(), 5, "and nothing else");
}
