//! What arguments, values, servers and settings say in confidence is not shown.

use std::error::Error as _;
use std::fmt::{Debug, Write as _};
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use memocached::codec::{Bincode, Json, Postcard, Text};
use memocached::{AsyncClient, Cache, Client, Error, KeyPart, memcached};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry};

use crate::support::asking::wait_for;
use crate::support::memcached::Memcached;
use crate::support::process::{again, output, role};

/// In everything that is confidential, with what a terminal would obey.
const CANARY: &str = "CANARY\u{1b}[31m\r\nCANARY\u{7}";

/// All that is said to `tracing`, at every level and by every crate.
#[derive(Clone, Default)]
struct Everything(Arc<Mutex<String>>);

impl Everything {
    fn said(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Visit for Everything {
    fn record_str(&mut self, field: &Field, value: &str) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = write!(said, "{field}={value};");
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

impl<S: tracing::Subscriber> Layer<S> for Everything {
    fn on_new_span(&self, attributes: &tracing::span::Attributes<'_>, _: &tracing::Id, _: Context<'_, S>) {
        let mut all = self.clone();
        all.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(attributes.metadata().name());
        attributes.record(&mut all);
    }

    fn on_record(&self, _: &tracing::Id, values: &tracing::span::Record<'_>, _: Context<'_, S>) {
        values.record(&mut self.clone());
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        event.record(&mut self.clone());
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Secret {
    text: String,
}

#[derive(KeyPart)]
struct Request {
    patient: String,
}

fn secret() -> Secret {
    Secret { text: CANARY.into() }
}

#[memcached(
    key = "secrets:<request>:<name>", ttl = 60, grace = 60, cache_err = 60, near = 1,
    entry = record_entry, cache = cache, skip(cache, password)
)]
fn record(cache: &Cache, request: &Request, name: &str, password: &str) -> Result<Secret, Secret> {
    let _ = password;
    if name.is_empty() { Err(secret()) } else { Ok(secret()) }
}

#[memcached(key = "secrets:async:<name>", ttl = 60, codec = json, cache = cache, skip(cache))]
async fn async_record(cache: &Cache, name: String) -> Option<Secret> {
    let _ = name;
    Some(secret())
}

/// Unlike what is stored under the same key.
#[memcached(key = "secrets:text:<name>", ttl = 60, codec = text, cache = cache, skip(cache))]
fn number(cache: &Cache, name: &str) -> u64 {
    let _ = name;
    1
}

fn calls(cache: &Cache) {
    for name in [CANARY, ""] {
        for _ in 0..3 {
            let _ = record(cache, &Request { patient: CANARY.into() }, name, CANARY);
            wait_for(async_record(cache, name.to_owned()));
            number(cache, CANARY);
        }
    }
}

/// An error in all the ways it can be shown.
fn shown(error: &Error) -> String {
    let mut shown = format!("{error} {error:?} {error:#?}");
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(shown, " {cause} {cause:?}");
        source = cause.source();
    }
    shown
}

const MINUTE: Duration = Duration::from_secs(60);

/// What a cache's servers answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    Right,
    Strange,
}

/// The errors of several calls.
struct Errors {
    answers: Answers,
    found: Vec<Error>,
}

impl Errors {
    /// Keeps the error of a call that fails at least where the answers are right.
    #[track_caller]
    fn of<T>(&mut self, outcome: Result<T, Error>) {
        assert!(outcome.is_err() || self.answers == Answers::Strange, "the call does not fail");
        self.found.extend(outcome.err());
    }

    /// Keeps the error of a call that may fail.
    fn perhaps<T>(&mut self, outcome: Result<T, Error>) {
        self.found.extend(outcome.err());
    }
}

/// What the clients' verbs fail with.
fn errors(cache: &Cache, answers: Answers) -> Vec<Error> {
    let client = Client::of(cache);
    let mut errors = Errors { answers, found: vec![] };
    errors.perhaps(client.set("confidence", CANARY, MINUTE));
    errors.of(client.get::<u64>("confidence"));
    errors.of(client.get_as::<u64, _>("confidence", Text));
    errors.of(client.get_as::<u64, _>("confidence", Json));
    errors.of(client.get_as::<std::num::NonZero<u64>, _>("confidence", Bincode));
    errors.of(client.get_as::<std::net::IpAddr, _>("confidence", Postcard));
    errors.perhaps(client.set_as("json", Json, &CANARY.to_owned(), MINUTE));
    errors.of(client.get_as::<u64, _>("json", Json));
    errors.of(client.get_as::<Secret, _>("json", Json));
    errors.perhaps(client.set_as("binary", Bincode, &CANARY.to_owned(), MINUTE));
    errors.of(client.get_as::<u64, _>("binary", Bincode));
    errors.of(client.get_as::<Quoting, _>("binary", Bincode));
    errors.of(client.get_as::<Quoting, _>("json", Json));
    errors.of(client.incr("confidence", 1));
    errors.of(client.get::<String>(CANARY));
    errors.of(client.set_many([(CANARY, CANARY)], MINUTE).into_result());
    errors.of(client.delete("confidence\r\nCANARY"));
    client.stats().into_iter().for_each(|(_, stats)| errors.perhaps(stats));
    client.version().into_iter().for_each(|(_, version)| errors.perhaps(version));
    wait_for(async {
        let client = AsyncClient::of(cache);
        errors.of(client.get::<u64>("confidence").await);
        errors.of(client.get::<u64>(CANARY).await);
        errors.perhaps(client.touch("confidence", MINUTE).await);
    });
    let request = Request { patient: CANARY.into() };
    let entry = record_entry(cache, &request, CANARY);
    errors.perhaps(entry.get());
    errors.perhaps(entry.put(&secret()));
    errors.perhaps(entry.invalidate());
    errors.perhaps(entry.info());
    errors.found
}

/// Quotes what it refuses, as many types do.
#[derive(Debug, Serialize)]
struct Quoting;

impl<'de> Deserialize<'de> for Quoting {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Err(serde::de::Error::custom(format!("{text:?} is not what is wanted")))
    }
}

/// A server that gives this answer to everything.
fn answering(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let Ok(mut writer) = stream.try_clone() else { return };
                for _ in BufReader::new(stream).lines() {
                    if writer.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

const ANSWERS: [&str; 8] = [
    "SERVER_ERROR CANARY\u{1b}[31m\r\n",
    "CLIENT_ERROR CANARY\u{1b}[31m\r\n",
    "ERROR CANARY\u{1b}[31m\r\n",
    "CANARY\u{1b}[31m\r\n",
    "VA 6 OCANARY\r\nCANARY\r\n",
    "VALUE CANARY 0 6 1\r\nCANARY\r\nEND\r\n",
    "VERSION CANARY\u{1b}[31m\r\n",
    "HTTP/1.1 400 CANARY\r\nServer: CANARY\r\n\r\n",
];

#[test]
fn secrets_appear_in_no_span_event_error_setting_or_metric() {
    const TEST: &str = "behaviour::secrets::secrets_appear_in_no_span_event_error_setting_or_metric";
    if role().is_none() {
        output(&mut again(TEST, "child"));
        return;
    }
    let everything = Everything::default();
    tracing::subscriber::set_global_default(Registry::default().with(everything.clone())).expect("the only one");
    let exporter = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone()).build();
    opentelemetry::global::set_meter_provider(provider.clone());
    memocached::enable_metrics_views();

    let mut shown_errors = String::new();
    let mut show = |error: &Error| shown_errors.push_str(&shown(error));
    let server = Memcached::start();
    let builder = || Cache::builder().timeout(Duration::from_secs(5)).connect_timeout(Duration::from_secs(5));
    let cache = builder().servers(server.address()).build().unwrap();
    calls(&cache);
    errors(&cache, Answers::Right).iter().for_each(&mut show);
    // Under another function's key, and damaged.
    server.store(record_entry(&cache, &Request { patient: CANARY.into() }, CANARY).key(), 1, b"CANARY");
    calls(&cache);
    for answer in ANSWERS {
        let quick = builder().timeout(Duration::from_millis(300));
        let cache = quick.servers(answering(answer)).build().unwrap();
        calls(&cache);
        let found = errors(&cache, Answers::Strange);
        assert!(!found.is_empty());
        found.iter().for_each(&mut show);
    }
    for servers in ["memcache://user:CANARY@127.0.0.1:1", "user:CANARY@host", "tcp://CANARY@127.0.0.1:x"] {
        show(&builder().servers(servers).build().unwrap_err());
    }
    for password in ["CANARY CANARY", "CANARY\r\n"] {
        show(&builder().credentials("user", password).build().unwrap_err());
    }
    let credentials = builder().servers(server.address()).credentials("user", "CANARY").auth_key([b'C'; 32]);
    let shown_settings = format!("{credentials:#?} {:#?}", credentials.clone().build().unwrap());
    let cache = credentials.build().unwrap();
    calls(&cache);
    errors(&cache, Answers::Strange).iter().for_each(&mut show);
    let request = Request { patient: CANARY.into() };
    let handles = format!(
        "{:#?} {:#?} {:#?} {:#?} {:?} {}",
        Client::of(&cache),
        AsyncClient::of(&cache),
        record_entry(&cache, &request, CANARY),
        memocached::sites(),
        memocached::report(),
        memocached::report(),
    );
    provider.force_flush().expect("metrics in memory");
    let metrics = format!("{:?}", exporter.get_finished_metrics().expect("metrics in memory"));
    let said = everything.said();

    assert!(said.contains("Cache hit") && said.contains("Cache unavailable") && metrics.contains("memocached.cache"));
    for (place, text) in [
        ("spans and events", &said),
        ("errors", &shown_errors),
        ("settings", &shown_settings),
        ("handles", &handles),
        ("metrics", &metrics),
    ] {
        let found = text.find("CANARY").or_else(|| text.find("CCCC")).or_else(|| text.find("67, 67"));
        let around = found.map(|at| text[at.saturating_sub(200)..].chars().take(300).collect::<String>());
        assert_eq!(around, None, "in {place}");
        let control = text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(control, None, "in {place}");
    }
    assert!(!said.contains('\n'), "a line of the log is one line");
}
