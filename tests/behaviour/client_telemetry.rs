//! Each call of the client is one CLIENT span and one record of each metric,
//! whatever becomes of it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use memocached::{AsyncClient, Error, Failures, PerNode};
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry::{KeyValue, Value, global};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Metric, MetricData, ScopeMetrics};
use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter, InMemoryMetricExporterBuilder, SdkMeterProvider, Temporality,
};
use opentelemetry_sdk::trace::SpanData;

use crate::support::client::{AnyClient, MINUTE, Setup, names};
use crate::support::memcached::{Memcached, until};
use crate::support::process::{again, output, role};
use crate::support::recording::{Recording, attribute};

/// What a verb asks.
#[derive(Clone, Copy, PartialEq)]
enum Asks {
    /// One server, as one exchange.
    One,
    /// Several, as parts of one exchange.
    Several,
    /// No server.
    None,
}

/// A verb, what it asks, and its call, which gives the `error.type` of its error.
type Row = (&'static str, Asks, fn(&AnyClient, &str) -> Option<&'static str>);

fn error<T>(result: Result<T, Error>) -> Option<&'static str> {
    result.err().map(|error| error.kind().as_str())
}

fn first<T>(outcomes: PerNode<T>) -> Option<&'static str> {
    outcomes.into_iter().find_map(|(_, outcome)| error(outcome))
}

fn failed(failed: Failures) -> Option<&'static str> {
    failed.first().map(|(_, error)| error.kind().as_str())
}

const VERBS: [Row; 24] = [
    ("get", Asks::One, |client, key| error(client.get::<String>(key))),
    ("gets", Asks::One, |client, key| error(client.gets::<String>(key))),
    ("gat", Asks::One, |client, key| error(client.gat::<String>(key, MINUTE))),
    ("gats", Asks::One, |client, key| error(client.gats::<String>(key, MINUTE))),
    ("set", Asks::One, |client, key| error(client.set(key, &1, MINUTE))),
    ("add", Asks::One, |client, key| error(client.add(key, &1, MINUTE))),
    ("replace", Asks::One, |client, key| error(client.replace(key, &1, MINUTE))),
    ("append", Asks::One, |client, key| error(client.append(key, &1))),
    ("prepend", Asks::One, |client, key| error(client.prepend(key, &1))),
    ("cas", Asks::One, |client, key| error(client.cas(key, &1, u64::MAX, MINUTE))),
    ("delete", Asks::One, |client, key| error(client.delete(key))),
    ("incr", Asks::One, |client, key| error(client.incr(key, 1))),
    ("decr", Asks::One, |client, key| error(client.decr(key, 1))),
    ("touch", Asks::One, |client, key| error(client.touch(key, MINUTE))),
    ("get_many", Asks::Several, |client, key| failed(client.get_many::<u64>(&names(&[key])).failed)),
    ("gets_many", Asks::Several, |client, key| failed(client.gets_many::<u64>(&names(&[key])).failed)),
    ("set_many", Asks::Several, |client, key| failed(client.set_many(vec![(key.to_owned(), 1)], MINUTE))),
    ("delete_many", Asks::Several, |client, key| failed(client.delete_many(&names(&[key])))),
    ("stats", Asks::Several, |client, _| first(client.stats())),
    ("version", Asks::Several, |client, _| first(client.version())),
    ("flush_all", Asks::Several, |client, _| first(client.flush_all(Duration::from_secs(1_000)))),
    ("cache_memlimit", Asks::Several, |client, _| first(client.cache_memlimit(64))),
    ("quit", Asks::None, |client, _| (client.quit(), None).1),
    ("close", Asks::None, |client, _| (client.close(), None).1),
];

fn takes_a_key(row: &Row) -> bool {
    row.1 == Asks::One || row.0.ends_with("_many")
}

/// Records spans and metrics of the calls of one process.
struct Observer {
    provider: SdkMeterProvider,
    exporter: InMemoryMetricExporter,
    recording: Recording,
}

impl Observer {
    fn install() -> Self {
        let exporter = InMemoryMetricExporterBuilder::new().with_temporality(Temporality::Delta).build();
        let provider = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone()).build();
        global::set_meter_provider(provider.clone());
        memocached::enable_metrics_views();
        Observer { provider, exporter, recording: Recording::begin() }
    }

    /// What has been added to the metrics: a text for each record.
    fn records(&self) -> Vec<String> {
        self.provider.force_flush().unwrap();
        let collected = self.exporter.get_finished_metrics().unwrap();
        self.exporter.reset();
        let mut records = Vec::new();
        let metrics = collected.last().into_iter().flat_map(|last| last.scope_metrics());
        // The SDK may have some of its own.
        let metrics = metrics.filter(|metrics| metrics.scope().name() == "memocached");
        // Connections are not a call's own.
        let is_a_calls = |metric: &&Metric| !metric.name().starts_with("db.client.connection.");
        for metric in metrics.flat_map(ScopeMetrics::metrics).filter(is_a_calls) {
            let mut add = |attributes: &mut dyn Iterator<Item = &KeyValue>, count| {
                let mut words: Vec<_> = attributes.map(|pair| format!(" {}={}", pair.key, pair.value)).collect();
                words.sort();
                records.extend((0..count).map(|_| metric.name().to_owned() + &words.concat()));
            };
            match metric.data() {
                AggregatedMetrics::U64(MetricData::Sum(data)) => {
                    data.data_points().for_each(|point| add(&mut point.attributes(), point.value()));
                }
                AggregatedMetrics::F64(MetricData::Histogram(data)) => {
                    data.data_points().for_each(|point| add(&mut point.attributes(), point.count()));
                }
                _ => {}
            }
        }
        records.sort();
        records
    }

    /// What a call has added to the metrics, and its spans.
    fn observe(&self, call: impl FnOnce()) -> (Vec<String>, Vec<SpanData>) {
        call();
        (self.records(), self.recording.take())
    }

    /// Asserts that a call is recorded as it should be: with this `error.type`
    fn assert(&self, row: &Row, place: &str, error: Option<&str>, call: impl FnOnce()) {
        let (verb, asks) = (row.0, row.1);
        let (added, spans) = self.observe(call);
        let what = format!("{verb} at {place}: {error:?}");

        let address = place.split(':').next().unwrap_or_default();
        let port = place.split(':').nth(1).map(|port| format!(" server.port={port}"));
        let (ends, peer) = (
            error.map(|error| format!(" error.type={error}")).unwrap_or_default(),
            match asks {
                Asks::One => format!(" server.address={address}{}", port.clone().unwrap_or_default()),
                _ => String::new(),
            },
        );
        let seed = match error {
            Some(error) => format!(" error={error} method={verb} status=error"),
            None => format!(" method={verb} status=ok"),
        };
        let operation = format!(" db.operation.name={verb} db.system.name=memcached{ends}{peer}");
        let expected = ["db.client.operation.duration".to_owned() + &operation]
            .into_iter()
            .chain(["calls", "latency"].map(|metric| format!("memocached.client.{metric}{seed}")));
        assert_eq!(added, expected.collect::<Vec<_>>(), "{what}");

        let clients: Vec<_> = spans.iter().filter(|span| span.span_kind == SpanKind::Client).collect();
        let [client] = clients[..] else { panic!("{what}: {} spans", clients.len()) };
        let name = if asks == Asks::One { format!("{verb} {place}") } else { verb.to_owned() };
        assert_eq!(client.name, name);
        let text = |span, key| attribute(span, key).map(|value: Value| value.to_string());
        assert_eq!(text(client, "db.system.name").as_deref(), Some("memcached"), "{what}");
        assert_eq!(text(client, "db.operation.name").as_deref(), Some(verb), "{what}");
        assert_eq!(text(client, "error.type").as_deref(), error, "{what}");
        let status = error.filter(|error| *error == "server_error").map(str::to_uppercase);
        assert_eq!(text(client, "db.response.status_code"), status, "{what}");
        assert_eq!(matches!(client.status, Status::Error { .. }), error.is_some(), "{what}");
        let is_one = asks == Asks::One;
        assert_eq!(text(client, "server.address"), is_one.then(|| address.to_owned()), "{what}");
        assert_eq!(attribute(client, "server.port").is_some(), is_one && port.is_some(), "{what}");
        for part in spans.iter().filter(|span| span.span_kind != SpanKind::Client) {
            assert!(asks == Asks::Several && part.name == format!("{verb} {place}"), "{what}: {}", part.name);
            assert_eq!(part.span_kind, SpanKind::Internal, "{what}");
            assert_eq!(part.parent_span_id, client.span_context.span_id(), "{what}");
        }
    }
}

/// A server that knows the meta protocol's greeting, misses `warm-up`, and has
/// one answer to everything else; it hangs up if that is nothing.
fn scripted(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let (mut stream, mut bytes) = (stream.unwrap(), [0; 4096]);
                while let Ok(length @ 1..) = stream.read(&mut bytes) {
                    let mut request = &bytes[..length];
                    // It does not tell its life.
                    if let Some(end) = request.iter().position(|byte| *byte == b'\n')
                        && request.starts_with(b"ma memocached:life ")
                    {
                        let line = String::from_utf8_lossy(&request[..end]).into_owned();
                        let number = line.split(' ').nth(2).unwrap();
                        let _ = stream.write_all(format!("NF {number}\r\n").as_bytes());
                        request = &request[end + 1..];
                        if request.is_empty() {
                            continue;
                        }
                    }
                    let reply = match request {
                        b"mn\r\n" => "MN\r\n",
                        request if request.starts_with(b"mg warm-up") => "EN\r\n",
                        _ => answer,
                    };
                    if reply.is_empty() || stream.write_all(reply.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

type Call<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Each verb's future on a key.
fn futures(client: &AsyncClient) -> Vec<(&'static str, Call<'_>)> {
    macro_rules! futures {
        ($($name:ident $call:expr;)*) => {
            vec![$((stringify!($name), Box::pin(async { let _ = $call.await; }) as Call<'_>),)*]
        };
    }
    futures! {
        get client.get::<String>("k"); gets client.gets::<String>("k");
        gat client.gat::<String>("k", MINUTE); gats client.gats::<String>("k", MINUTE);
        set client.set("k", &1, MINUTE); add client.add("k", &1, MINUTE); replace client.replace("k", &1, MINUTE);
        append client.append("k", &1); prepend client.prepend("k", &1); cas client.cas("k", &1, 1, MINUTE);
        delete client.delete("k"); incr client.incr("k", 1); decr client.decr("k", 1); touch client.touch("k", MINUTE);
        get_many client.get_many::<u64>(["k"]); gets_many client.gets_many::<u64>(["k"]);
        set_many client.set_many([("k", 1)], MINUTE); delete_many client.delete_many(["k"]);
        stats client.stats(); version client.version(); flush_all client.flush_all(Duration::ZERO);
        cache_memlimit client.cache_memlimit(64);
    }
}

/// The metrics are the process's own, so this has one of its own.
fn alone(test: &str, text: impl FnOnce(Observer)) {
    match role() {
        Some(_) => text(Observer::install()),
        None => drop(output(&mut again(&format!("behaviour::client_telemetry::{test}"), "alone"))),
    }
}

#[test]
fn a_call_that_is_answered_is_recorded_once() {
    alone("a_call_that_is_answered_is_recorded_once", |observer| {
        let server = [Memcached::start()];
        for (setup, place) in [(Setup::on(&server), server[0].address()), (Setup::embedded(), "embedded".to_owned())] {
            for row @ (verb, _, call) in &VERBS {
                // The embedded store has no such things.
                let error =
                    (place == "embedded" && ["flush_all", "cache_memlimit"].contains(verb)).then_some("rejected");
                for client in setup.both() {
                    println!("{verb} with {client:?}");
                    observer.observe(|| client.set("there", &7, MINUTE).unwrap());
                    observer.assert(row, &place, error, || assert_eq!(call(&client, "there"), error));
                    observer.observe(|| drop(client.delete("gone")));
                    observer.assert(row, &place, error, || assert_eq!(call(&client, "gone"), error));
                }
            }
        }
    });
}

#[test]
fn a_call_that_fails_is_recorded_once() {
    alone("a_call_that_fails_is_recorded_once", |observer| {
        let mut dead = Memcached::start();
        dead.kill();
        let answers = [
            ("server_error", scripted("SERVER_ERROR out of order\r\n")),
            ("rejected", scripted("CLIENT_ERROR bad command line format\r\n")),
            ("rejected", scripted("ERROR\r\n")),
            ("too_large", scripted("SERVER_ERROR object too large for cache\r\n")),
            ("protocol", scripted("HTTP/1.1 400 Bad Request\r\n\r\n")),
            ("protocol", scripted("HD O4000000000\r\n")),
            ("io", scripted("")),
            ("timeout", scripted("VA 1000")),
            ("connect", dead.address()),
        ];
        for (error, place) in &answers {
            let timeout = Duration::from_millis(if *error == "timeout" { 200 } else { 10_000 });
            let setup = Setup { servers: place.clone(), timeout, ..Setup::embedded() };
            for row in VERBS.iter().filter(|row| row.1 != Asks::None) {
                for client in setup.both() {
                    println!("{} at {error}", row.0);
                    if *error == "timeout" {
                        // So that no time is lost in connecting.
                        observer.observe(|| _ = until("a connection", || client.get::<u64>("warm-up").ok()));
                    }
                    observer.assert(row, place, Some(error), || assert_eq!(row.2(&client, "k"), Some(*error)));
                    if *error == "connect" {
                        let open = Some("circuit_open");
                        observer.assert(row, place, open, || assert_eq!(row.2(&client, "k"), open));
                    }
                    if takes_a_key(row) {
                        let bad = Some("bad_key");
                        observer.assert(row, place, bad, || assert_eq!(row.2(&client, "a b"), bad));
                    }
                }
            }
        }
    });
}

#[test]
fn a_call_that_is_given_up_is_recorded_once() {
    alone("a_call_that_is_given_up_is_recorded_once", |observer| {
        let place = scripted("VA 1000");
        let setup = Setup { servers: place.clone(), ..Setup::embedded() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for row in VERBS.iter().filter(|row| row.1 != Asks::None) {
            let client = setup.on_tokio();
            let future = || futures(&client).into_iter().find(|(verb, _)| *verb == row.0).unwrap().1;
            let poll = |future: &mut Call<'_>| future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            observer.assert(row, &place, Some("cancelled"), || {
                let _inside = runtime.enter();
                assert_eq!(poll(&mut future()), Poll::Pending);
            });
            observer.assert(row, &place, Some("no_runtime"), || assert_eq!(poll(&mut future()), Poll::Ready(())));
        }
    });
}
