//! The trace of calls that share a computation, and of values past their time.

use std::pin::Pin;
use std::sync::Arc;

use memocached::{Cache, memcached};
use opentelemetry::Value;
use opentelemetry::trace::Status;
use opentelemetry_sdk::trace::SpanData;
use tokio::sync::Notify;

use crate::support::asking::eventually;
use crate::support::memcached::Memcached;
use crate::support::recording::{Recording, attribute, events};

type Answer = Result<u32, String>;

#[memcached(key = "shared:<n>", grace = 600, cache = &cache, skip(cache, gate, answer), entry = shared_entry)]
async fn shared(cache: Cache, n: u32, gate: Arc<Notify>, answer: Answer) -> Answer {
    gate.notified().await;
    answer
}

#[memcached(key = "shared:<n>", name = "shared", grace = 600, cache = cache, skip(cache, answer))]
fn in_place(cache: &Cache, n: u32, answer: Answer) -> Answer {
    answer
}

/// A gate that is open for the next caller.
fn open() -> Arc<Notify> {
    let gate = Arc::new(Notify::new());
    gate.notify_one();
    gate
}

fn result(span: &SpanData) -> Option<Value> {
    attribute(span, "cache.result")
}

fn text(value: &str) -> Option<Value> {
    Some(Value::String(value.to_owned().into()))
}

fn links_to(span: &SpanData, other: &SpanData) -> bool {
    span.links.links.iter().any(|link| link.span_context.span_id() == other.span_context.span_id())
}

fn links_to_any(span: &SpanData, others: &[&SpanData]) -> bool {
    others.iter().any(|other| links_to(span, other))
}

macro_rules! unknown {
    ($($module:ident),*) => {$(
        mod $module {
            use super::*;

            /// Nothing is known of how long this takes, so callers wait for it.
            #[memcached(key = "awaited", name = "shared", cache = &cache, skip(cache, gate))]
            pub(super) async fn awaited(cache: Cache, gate: Arc<Notify>) -> u32 {
                gate.notified().await;
                1
            }
        }
    )*};
}

unknown!(remote, embedded);

type Awaited = Pin<Box<dyn Future<Output = u32>>>;

#[tokio::test]
async fn a_call_that_waits_for_another_is_linked_to_it() {
    let server = Memcached::start();
    for (cache, is_remote) in [(server.cache(), true), (Cache::embedded(), false)] {
        let recording = Recording::begin();
        let gate = Arc::new(Notify::new());
        let call = || -> Awaited {
            let (cache, gate) = (cache.clone(), Arc::clone(&gate));
            if is_remote { Box::pin(remote::awaited(cache, gate)) } else { Box::pin(embedded::awaited(cache, gate)) }
        };
        let all = async { tokio::join!(call(), call(), call()) };
        let opens = async {
            // All have looked for the value by then, each in a trace of its own.
            eventually("all to look for the value", async || (recording.spans().traces() == 3).then_some(())).await;
            gate.notify_one();
        };
        let (answers, ()) = tokio::join!(all, opens);
        assert_eq!(answers, (1, 1, 1));
        let spans = recording.spans();
        let calls = spans.named("awaited");
        let leader = calls.iter().find(|span| result(span) == text("miss")).expect("one computes");
        let others: Vec<_> = calls.iter().filter(|span| result(span) == text("coalesced")).collect();
        assert_eq!((calls.len(), others.len()), (3, 2));
        // On a server, the first caller to hear that it has lost may look for the
        // value now and then, and the others wait for that one.
        let unlinked = others.iter().filter(|other| other.links.links.is_empty()).count();
        assert!(unlinked <= usize::from(is_remote), "{unlinked} without a link");
        for other in others {
            let is_unlinked = other.links.links.is_empty();
            assert!(links_to(other, leader) || is_remote && (is_unlinked || links_to_any(other, &calls)));
            assert_eq!(events(other), ["Cache coalesced"]);
            assert_eq!(attribute(other, "cache.hit"), Some(Value::Bool(false)));
        }
        assert_eq!((spans.named("compute").len(), spans.named("wait").len()), (1, 2));
    }
}

#[tokio::test]
async fn a_value_is_computed_anew_behind_the_call_that_gets_the_old_one() {
    let server = Memcached::start();
    for cache in [server.cache(), Cache::embedded()] {
        let entry = shared_entry(cache.clone(), 2);
        assert_eq!(shared(cache.clone(), 2, open(), Ok(1)).await, Ok(1));
        assert!(entry.invalidate().await.unwrap());
        let recording = Recording::begin();
        let gate = Arc::new(Notify::new());
        // It would not return before the gate opens, were it to compute.
        assert_eq!(shared(cache.clone(), 2, Arc::clone(&gate), Ok(2)).await, Ok(1));
        assert_eq!(shared(cache.clone(), 2, Arc::clone(&gate), Ok(3)).await, Ok(1));
        gate.notify_one();
        eventually("a new value", async || (entry.get().await.unwrap() == Some(2)).then_some(())).await;
        assert_eq!(shared(cache.clone(), 2, Arc::clone(&gate), Ok(4)).await, Ok(2));
        eventually("all to end", async || (recording.spans().named("shared").len() == 4).then_some(())).await;
        let spans = recording.spans();
        let calls = spans.named("shared");
        let of = |wanted: &str| calls.iter().filter(|span| result(span) == text(wanted)).collect::<Vec<_>>();
        let (stale, refresh, hits) = (of("stale"), of("refresh"), of("hit"));
        assert_eq!((stale.len(), refresh.len(), hits.len()), (2, 1, 1));
        assert!(stale.iter().all(|span| events(span) == ["Cache stale"]));
        // No child of the call, which has ended by then.
        assert!(links_to(refresh[0], stale[0]));
        assert_ne!(refresh[0].span_context.trace_id(), stale[0].span_context.trace_id());
        let compute = spans.named("compute");
        assert_eq!(compute.len(), 1);
        assert_eq!(compute[0].parent_span_id, refresh[0].span_context.span_id());
    }
}

#[tokio::test]
async fn a_refresh_that_fails_behind_a_call_says_so_and_leaves_the_old_value() {
    let server = Memcached::start();
    for cache in [server.cache(), Cache::embedded()] {
        assert_eq!(shared(cache.clone(), 3, open(), Ok(1)).await, Ok(1));
        assert!(shared_entry(cache.clone(), 3).invalidate().await.unwrap());
        let recording = Recording::begin();
        assert_eq!(shared(cache.clone(), 3, open(), Err("down".into())).await, Ok(1));
        let refreshed = |spans: Vec<&SpanData>| spans.iter().any(|span| result(span) == text("refresh"));
        eventually("a refresh", async || refreshed(recording.spans().named("shared")).then_some(())).await;
        let spans = recording.spans();
        let calls = spans.named("shared");
        let refresh = calls.iter().find(|span| result(span) == text("refresh")).unwrap();
        assert_eq!(events(refresh), ["Cache refresh failed"]);
        assert_eq!(refresh.status, Status::Unset);
        assert_eq!(shared(cache.clone(), 3, open(), Err("down".into())).await, Ok(1));
    }
}

#[test]
fn a_stale_value_in_place_of_an_error_shows_in_the_span() {
    let server = Memcached::start();
    for cache in [server.cache(), Cache::embedded()] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert_eq!(in_place(&cache, 4, Ok(1)), Ok(1));
        assert!(runtime.block_on(shared_entry(cache.clone(), 4).invalidate()).unwrap());
        let recording = Recording::begin();
        assert_eq!(in_place(&cache, 4, Err("down".into())), Ok(1));
        let spans = recording.spans();
        let [call] = spans.named("in_place")[..] else { panic!("one call") };
        assert_eq!(result(call), text("stale"));
        assert_eq!(events(call), ["Cache miss", "Cache stale"]);
        assert_eq!(attribute(call, "cache.hit"), Some(Value::Bool(true)));
        assert_eq!(call.status, Status::Unset);
    }
}
