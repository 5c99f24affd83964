//! Servers that are not there, or say nothing: every verb, both clients and
//! functions fail in the same way, then at once, and go on when it is over.

use std::cell::Cell;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use memocached::{AsyncClient, Cache, Client, ErrorKind, Protocol, memcached};
use opentelemetry::Value;
use opentelemetry::trace::SpanKind;

use crate::support::asking::wait_for;
use crate::support::client::AnyClient;
use crate::support::folder::Folder;
use crate::support::full::{Full, FullSocket};
use crate::support::memcached::{Memcached, until};
use crate::support::process::alone;
use crate::support::proxy::{Fault, Form, Pace, Proxy, Then};
use crate::support::recording::{Recording, attribute};
use crate::support::verbs::{About, Effect, VERBS, Verb};

/// Longer than a healthy machine takes, and short enough to be waited for.
const LIMIT: Duration = Duration::from_millis(150);
/// Three limits, and all the delays of a busy machine.
const BOUND: Duration = Duration::from_secs(4);

#[memcached(key = "faults_of_servers:<n>", ttl = 60, cache = cache, skip(cache, computed))]
fn blocking(cache: &Cache, n: u64, computed: &Cell<u32>) -> u64 {
    computed.set(computed.get() + 1);
    n * 3
}

#[memcached(key = "faults_of_servers:<n>", ttl = 60, cache = cache, skip(cache, computed))]
async fn awaited(cache: &Cache, n: u64, computed: &Cell<u32>) -> u64 {
    computed.set(computed.get() + 1);
    n * 3
}

/// A client of each kind, with its cache.
fn callers(port: u16, protocol: Protocol) -> [(Cache, AnyClient); 2] {
    [0, 1].map(|kind| {
        let cache = Cache::builder().servers(format!("127.0.0.1:{port}")).protocol(protocol).timeout(LIMIT);
        let cache = cache.connect_timeout(LIMIT).retry_after(Duration::from_millis(20)).build().unwrap();
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = match kind {
            0 => AnyClient::Blocking(Client::of(&cache)),
            _ => AnyClient::Async(AsyncClient::of(&cache), runtime()),
        };
        (cache, client)
    })
}

fn ask(client: &AnyClient, verb: &Verb) -> Result<String, ErrorKind> {
    (verb.ask)(client, &About { keys: ["servers:a", "servers:b"], cas: 7 }).map_err(|error| error.kind())
}

/// Asks until the server answers again, or a function finds what it computed.
fn is_served_again((cache, client): &(Cache, AnyClient)) {
    until("the server to be asked again", || client.get::<u64>("nothing").ok());
    until("a value to be found again", || {
        let computed = Cell::new(0);
        assert_eq!(function(cache, client, &computed), 21);
        (computed.get() == 0).then_some(())
    });
}

fn function(cache: &Cache, client: &AnyClient, computed: &Cell<u32>) -> u64 {
    match client {
        AnyClient::Blocking(_) => blocking(cache, 7, computed),
        AnyClient::Async(_, runtime) => runtime.block_on(awaited(cache, 7, computed)),
    }
}

/// A server, and what can be the matter with it.
trait Outage {
    fn port(&self) -> u16;

    fn begin(&mut self, client: &AnyClient);

    /// Whether it can end.
    fn end(&mut self) -> bool;
}

/// Has each verb asked, and a function called, in many outages at once. So
/// many calls fail before the node is left alone, the first as it is expected
/// to.
fn all_fail<O: Outage>(outage: impl Fn() -> O + Sync, failures: usize, kind: impl Fn(&Verb) -> ErrorKind + Sync) {
    let cells = VERBS.iter().flat_map(|verb| [(verb, Protocol::Auto), (verb, Protocol::Ascii)]);
    let cells = Mutex::new(cells.collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let (mut outage, recording) = (outage(), Recording::begin());
                loop {
                    let Some((verb, protocol)) = cells.lock().unwrap().pop() else { return };
                    // The first call at an address makes its spans, which takes
                    // its time where so many threads record.
                    let _ = ask(&callers(outage.port(), protocol)[0].1, verb);
                    for caller in callers(outage.port(), protocol) {
                        fails(&mut outage, &caller, &recording, verb, (failures, kind(verb)));
                    }
                }
            });
        }
    });
}

fn fails(
    outage: &mut impl Outage,
    caller: &(Cache, AnyClient),
    recording: &Recording,
    verb: &Verb,
    (failures, kind): (usize, ErrorKind),
) {
    let (cache, client) = caller;
    let what = format!("{} by {client:?}", verb.name);
    outage.begin(client);
    recording.take();
    let began = Instant::now();
    let mut kinds: Vec<_> = (0..failures).map(|_| ask(client, verb)).collect();
    let open: Vec<_> = (0..20).map(|_| ask(client, verb)).collect();
    let computed = Cell::new(0);
    assert_eq!((function(cache, client, &computed), computed.get()), (21, 1), "{what}");
    assert!(began.elapsed() < BOUND, "{what}: {:?}", began.elapsed());
    assert_eq!(kinds.remove(0), Err(kind), "{what}");
    assert!(kinds.iter().all(Result::is_err), "{what}: {kinds:?}");
    assert!(open.iter().all(|answer| *answer == Err(ErrorKind::CircuitOpen)), "{what}: {open:?}");

    let spans = recording.take().into_iter().filter(|span| span.span_kind == SpanKind::Client);
    let told: Vec<_> = spans.map(|span| attribute(&span, "error.type")).collect();
    assert_eq!(told.len(), failures + 20 + 1, "{what}");
    assert_eq!(told[0], Some(Value::from(kind.as_str())), "{what}");
    assert_eq!(told[failures + 20], Some(Value::from("circuit_open")), "{what}");
    if outage.end() {
        is_served_again(caller);
    }
}

/// A port without a listener, until there is one.
struct Refused {
    server: Memcached,
    port: u16,
    proxy: Option<Proxy>,
}

impl Refused {
    fn new() -> Self {
        let (server, proxy) = (Memcached::start(), None);
        let port = Proxy::before(server.port).port;
        Refused { server, port, proxy }
    }

    fn listen(&mut self) -> &Proxy {
        self.proxy.insert(Proxy::at(self.port, self.server.port))
    }
}

impl Outage for Refused {
    fn port(&self) -> u16 {
        self.port
    }

    fn begin(&mut self, _: &AnyClient) {
        self.proxy = None;
    }

    fn end(&mut self) -> bool {
        self.listen();
        true
    }
}

#[test]
fn a_server_that_is_not_there_fails_once_and_then_at_once() {
    all_fail(Refused::new, 1, |_| ErrorKind::Connect);
}

/// A server that breaks its connections and takes no new ones.
struct Killed(Refused);

impl Outage for Killed {
    fn port(&self) -> u16 {
        self.0.port
    }

    fn begin(&mut self, client: &AnyClient) {
        self.0.proxy = None;
        let proxy = self.0.listen();
        until("a connection", || client.get::<u64>("nothing").ok());
        proxy.inflict(Fault { form: Form::Nothing, pace: Pace::AtOnce, then: Then::Reset }, 0);
        self.0.proxy = None;
    }

    fn end(&mut self) -> bool {
        self.0.end()
    }
}

#[test]
fn a_server_that_is_killed_breaks_writes_and_refuses_reads() {
    // What only reads has been asked again, where there was no listener.
    let kind = |verb: &Verb| if verb.effect == Effect::None { ErrorKind::Connect } else { ErrorKind::Io };
    all_fail(|| Killed(Refused::new()), 2, kind);
}

/// A process that is stopped before clients connect, or afterwards.
struct Frozen(Memcached, Connected);

#[derive(Clone, Copy, PartialEq)]
enum Connected {
    Before,
    After,
}

impl Outage for Frozen {
    fn port(&self) -> u16 {
        self.0.port
    }

    fn begin(&mut self, client: &AnyClient) {
        if self.1 == Connected::Before {
            until("a connection", || client.get::<u64>("nothing").ok());
        }
        self.0.freeze();
    }

    fn end(&mut self) -> bool {
        self.0.thaw();
        true
    }
}

#[test]
fn a_process_that_is_stopped_is_waited_for_three_times() {
    for connected in [Connected::Before, Connected::After] {
        all_fail(|| Frozen(Memcached::start(), connected), 3, |_| ErrorKind::Timeout);
    }
}

impl Outage for Full {
    fn port(&self) -> u16 {
        self.port
    }

    fn begin(&mut self, _: &AnyClient) {}

    fn end(&mut self) -> bool {
        false
    }
}

#[test]
fn a_host_that_takes_no_connections_is_waited_for_three_times() {
    all_fail(Full::new, 3, |_| ErrorKind::Timeout);
}

#[test]
#[cfg(unix)]
fn a_unix_socket_that_takes_no_connections_costs_the_limit_and_no_more() {
    let folder = Folder::new();
    let path = folder.path("full.sock");
    let _full = FullSocket::at(&path);
    for kind in [0, 1] {
        let cache = Cache::builder().servers(&path).timeout(LIMIT).build().unwrap();
        let began = Instant::now();
        for _ in 0..20 {
            let computed = Cell::new(0);
            let value = match kind {
                0 => blocking(&cache, 7, &computed),
                _ => wait_for(awaited(&cache, 7, &computed)),
            };
            assert_eq!((value, computed.get()), (21, 1));
        }
        assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    }
}

/// How many threads of this process wait for a connection.
#[cfg(target_os = "linux")]
fn connecting() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().map_while(Result::ok);
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    names.filter(|name| name.starts_with("memocached-conn")).count()
}

#[test]
#[cfg(target_os = "linux")]
fn a_unix_socket_that_takes_no_connections_costs_no_thread_for_each_probe() {
    alone(module_path!(), "a_unix_socket_that_takes_no_connections_costs_no_thread_for_each_probe", || {
        let folder = Folder::new();
        let path = folder.path("full.sock");
        let full = FullSocket::at(&path);
        let cache = Cache::builder().servers(&path).timeout(LIMIT).connect_timeout(LIMIT);
        let cache = cache.retry_after(Duration::from_millis(100)).build().unwrap();
        for _ in 0..20 {
            assert_eq!(blocking(&cache, 7, &Cell::new(0)), 21);
        }
        assert!((1..=2).contains(&connecting()), "{} threads", connecting());
        // In this time, several probes are due.
        let began = Instant::now();
        while began.elapsed() < BOUND {
            assert!(connecting() <= 2, "{} threads after {:?}", connecting(), began.elapsed());
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(full);
        until("the threads to end", || (connecting() == 0).then_some(()));
    });
}
