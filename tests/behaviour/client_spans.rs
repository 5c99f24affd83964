//! The spans of a call to several servers: one for the call, one below it for
//! each server.

use opentelemetry::Value;
use opentelemetry::trace::{SpanKind, Status};

use crate::support::client::{AnyClient, MINUTE, Setup};
use crate::support::memcached::Memcached;
use crate::support::recording::{Recording, attribute};

fn keys() -> Vec<String> {
    (0..60).map(|n| format!("key:{n}")).collect()
}

/// A verb, and a call of it.
type Call = (&'static str, fn(&AnyClient));

/// The tree of a call, its branches in the order of their names.
fn tree(call: impl FnOnce()) -> String {
    let recording = Recording::begin();
    call();
    let tree = recording.spans().tree();
    let (root, branches) = tree.split_once('\n').expect("more than one span");
    let mut branches: Vec<_> = branches.lines().collect();
    branches.sort_unstable();
    format!("{root}\n{}", branches.join("\n"))
}

#[test]
fn a_call_to_several_servers_has_a_span_for_each_below_it() {
    let servers = [(); 3].map(|()| Memcached::start());
    let calls: [Call; 5] = [
        ("get_many", |client| assert!(client.get_many::<u64>(&keys()).failed.is_empty())),
        ("gets_many", |client| assert!(client.gets_many::<u64>(&keys()).failed.is_empty())),
        ("set_many", |client| {
            assert!(client.set_many(keys().into_iter().map(|key| (key, 1)).collect(), MINUTE).is_empty());
        }),
        ("delete_many", |client| assert!(client.delete_many(&keys()).is_empty())),
        ("version", |client| assert_eq!(client.version().len(), 3)),
    ];
    for (verb, call) in calls {
        let mut places = servers.each_ref().map(|server| format!("  {verb} {}", server.address()));
        places.sort_unstable();
        let expected = format!("{verb}\n{}", places.join("\n"));
        for client in Setup::on(&servers).both() {
            assert_eq!(tree(|| call(&client)), expected, "without connections");
            assert_eq!(tree(|| call(&client)), expected, "with connections");
        }
    }
}

#[test]
fn the_spans_of_the_part_that_failed_and_of_the_call_have_its_error() {
    let mut servers = [(); 3].map(|()| Memcached::start());
    servers[0].kill();
    for client in Setup::on(&servers).both() {
        let recording = Recording::begin();
        assert!(!client.get_many::<u64>(&keys()).failed.is_empty());
        let spans = recording.spans();
        let error = |name: &str| {
            let [span] = spans.named(name)[..] else { panic!("one {name}") };
            let error = attribute(span, "error.type").map(|value: Value| value.to_string());
            assert_eq!(matches!(span.status, Status::Error { .. }), error.is_some());
            (span.span_kind.clone(), error)
        };
        assert_eq!(error("get_many"), (SpanKind::Client, Some("connect".to_owned())));
        let [dead, living @ ..] = servers.each_ref().map(|server| error(&format!("get_many {}", server.address())));
        assert_eq!(dead, (SpanKind::Internal, Some("connect".to_owned())));
        assert_eq!(living, [(); 2].map(|()| (SpanKind::Internal, None)));
    }
}

#[test]
fn a_call_that_asks_no_server_has_a_span() {
    for client in Setup::embedded().both() {
        let recording = Recording::begin();
        client.set_as("k", memocached::codec::Json, &f64::NAN, MINUTE).unwrap_err();
        let _ = client.set_many(vec![("a b".to_owned(), 1)], MINUTE);
        let _ = client.get_many::<u64>(&[]);
        let spans = recording.take();
        let told: Vec<_> = spans.iter().map(|span| (&*span.name, attribute(span, "error.type"))).collect();
        let error = |kind: &'static str| Some(Value::String(kind.into()));
        assert_eq!(told, [("set", error("encode")), ("set_many", error("bad_key")), ("get_many", None)]);
    }
}
