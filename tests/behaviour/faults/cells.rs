//! Every fault, times every verb, both clients and functions, both protocols,
//! new connections and used ones.
//!
//! Each cell asserts the result (the right one, or the right error; of a
//! function always the right one), what the CLIENT span says, that the call
//! ended in time, whether the connection was used again, and that the next
//! call is right.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use memocached::{AsyncClient, Cache, Client, ErrorKind, Protocol, memcached};
use opentelemetry::Value;
use opentelemetry::trace::SpanKind;

use super::rows::Ends::{self, Broken, Refused, Well};
use super::rows::{PROTOCOL, ROWS, Row, TWO_LINES};
use crate::support::asking::of;
use crate::support::client::{AnyClient, MINUTE};
use crate::support::memcached::Memcached;
use crate::support::proxy::{Fault, Form, Proxy};
use crate::support::recording::{Recording, attribute, events};
use crate::support::verbs::{About, VERBS, Verb};

/// The limits of callers that get an answer, and of those that wait in vain.
const QUICK: Duration = Duration::from_secs(10);
const IMPATIENT: Duration = Duration::from_millis(120);
/// No call takes as long, on however busy a machine; one that waits for each
/// byte, or for a patient client's limit, does.
const BOUND: Duration = Duration::from_secs(4);

/// Whose turn it is when the fault begins.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Connection {
    New,
    Used,
}

/// How a function's call is hit.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    /// When it finds its value.
    Hit,
    /// When it finds none.
    Miss,
    /// When it stores what it has computed.
    Store,
}

#[derive(Clone, Copy)]
enum Asks {
    Verb(&'static Verb),
    Function(Moment),
}

#[derive(Clone, Copy)]
struct Case {
    row: &'static Row,
    asks: Asks,
    protocol: Protocol,
    connection: Connection,
    caller: Caller,
}

#[derive(Clone, Copy, Debug)]
enum Caller {
    Blocking,
    Async,
}

impl Case {
    /// Of what the rows say, a few cells are exceptions.
    fn ends(&self) -> Ends {
        let Fault { form, .. } = self.row.fault;
        let greets = self.protocol == Protocol::Auto && self.connection == Connection::New && !self.is_later();
        let ends = match form {
            // The server's life is told before the item.
            Form::Lying(by) if greets && by.abs() == 1 && matches!(self.asks, Asks::Function(_)) => PROTOCOL,
            // There is only a length to lie about where there is a value.
            Form::Lying(_) if !self.gets_a_value() => Well,
            // The line's end is where a list has its own.
            Form::Lying(1) if self.gets_a_list() => PROTOCOL,
            _ => self.row.ends,
        };
        match ends {
            Broken(ErrorKind::Rejected) if greets && form == Form::Other(TWO_LINES) => PROTOCOL,
            // A request of one line, after which the server reads the next.
            Broken(kind) if self.is_a_line() && form == Form::Other(b"ERROR\r\n") => Refused(kind),
            // It has not become a connection.
            Refused(kind) if greets => Broken(kind),
            ends => ends,
        }
    }

    fn expect(&self, what: &str, is_so: bool, found: &dyn std::fmt::Debug) -> Result<(), String> {
        if is_so { Ok(()) } else { Err(format!("{self:?}: {what}: {found:?}, expected {:?}", self.ends())) }
    }

    /// How many replies come before the one that is hit.
    fn spared(&self) -> u64 {
        let is_new = self.connection == Connection::New;
        // A function's first lookup on a connection asks for the server's life as well.
        let life = self.protocol == Protocol::Auto && matches!(self.asks, Asks::Function(_));
        let greeting = self.protocol == Protocol::Auto && is_new;
        // In the classic protocol a miss adds a lease and reads it back.
        let lease = if self.protocol == Protocol::Ascii { 2 } else { 0 };
        match self.asks {
            Asks::Function(Moment::Store) => 1 + lease + u64::from(greeting) + u64::from(life),
            _ if is_new => 0,
            _ => u64::from(life),
        }
    }

    fn is_later(&self) -> bool {
        matches!(self.asks, Asks::Function(Moment::Store))
    }

    fn gets_a_value(&self) -> bool {
        let is_shorter = self.row.fault.form == Form::Lying(-1);
        match self.asks {
            Asks::Verb(verb) => match verb.name {
                "incr" | "decr" => self.protocol == Protocol::Auto,
                name => name.starts_with("get") || name.starts_with("gat"),
            },
            Asks::Function(Moment::Hit) => true,
            // An empty one, which cannot be shorter still.
            Asks::Function(Moment::Miss) => !is_shorter,
            Asks::Function(Moment::Store) => false,
        }
    }

    fn is_a_line(&self) -> bool {
        matches!(self.asks, Asks::Verb(verb) if ["flush_all", "cache_memlimit"].contains(&verb.name))
    }

    /// Behind whose values there is an `END`.
    fn gets_a_list(&self) -> bool {
        let is_list = matches!(self.asks, Asks::Verb(verb) if verb.name.ends_with("_many"));
        is_list || self.protocol == Protocol::Ascii
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.asks {
            Asks::Verb(verb) => write!(f, "{:?} {}", self.caller, verb.name)?,
            Asks::Function(moment) => write!(f, "{:?} function, {moment:?}", self.caller)?,
        }
        write!(f, " on a {:?} connection, {:?}", self.connection, self.protocol)?;
        let Fault { form, pace, then } = self.row.fault;
        match form {
            Form::Other(bytes) | Form::Before(bytes) | Form::After(bytes) => {
                let place = ["in place", "in front", "behind"][match form {
                    Form::Other(_) => 0,
                    Form::Before(_) => 1,
                    _ => 2,
                }];
                write!(f, ": {:?} {place}, {then:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(60)]))
            }
            form => write!(f, ": {form:?} {pace:?}, {then:?}"),
        }
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let functions = [Moment::Hit, Moment::Miss, Moment::Store].map(Asks::Function);
    for row in &ROWS {
        for asks in VERBS.iter().map(Asks::Verb).chain(functions) {
            for protocol in [Protocol::Auto, Protocol::Ascii] {
                for connection in [Connection::New, Connection::Used] {
                    let callers = [Caller::Blocking, Caller::Async];
                    cases.extend(callers.map(|caller| Case { row, asks, protocol, connection, caller }));
                }
            }
        }
    }
    cases
}

/// Long enough to be cut in halves, and with protocol in it.
fn value(n: u64) -> String {
    format!("{n}\r\nEN\r\nVA 1 O1 f0 c1 t-1\r\n{n}\r\nEND\r\nHD O2\r\n").repeat(3)
}

#[memcached(key = "faults:<n>", ttl = 60, cache = cache, skip(cache))]
fn blocking(cache: &Cache, n: u64) -> String {
    value(n)
}

#[memcached(key = "faults:<n>", ttl = 60, cache = cache, skip(cache))]
async fn awaited(cache: &Cache, n: u64) -> String {
    value(n)
}

/// One cell's client, cache and server.
struct Lab<'a> {
    client: AnyClient,
    cache: Cache,
    proxy: &'a Proxy,
    direct: &'a Cache,
    number: usize,
}

impl<'a> Lab<'a> {
    fn new(case: &Case, proxy: &'a Proxy, direct: &'a Cache, number: usize) -> Self {
        proxy.heal();
        let timeout = if case.ends() == Broken(ErrorKind::Timeout) { IMPATIENT } else { QUICK };
        let cache = Cache::builder().servers(proxy.address()).protocol(case.protocol).timeout(timeout);
        let cache = cache.connect_timeout(timeout).retry_after(Duration::from_millis(20)).build().unwrap();
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = match case.caller {
            Caller::Blocking => AnyClient::Blocking(Client::of(&cache)),
            Caller::Async => AnyClient::Async(AsyncClient::of(&cache), runtime()),
        };
        Lab { client, cache, proxy, direct, number }
    }

    fn key(&self, of: &str) -> String {
        format!("faults:{of}:{}", self.number)
    }

    /// A call that is not what the cell is about, as soon as the node is asked
    /// again.
    fn is_served_soon(&self) -> Result<(), memocached::Error> {
        let deadline = Instant::now() + BOUND;
        loop {
            match self.client.get::<u64>(&self.key("calm")) {
                Ok(found) => {
                    assert_eq!(found, Some(5));
                    return Ok(());
                }
                // A busy machine makes the impatient late.
                Err(error) if error.kind() == ErrorKind::CircuitOpen || error.kind() == ErrorKind::Timeout => {
                    if Instant::now() > deadline {
                        return Err(error);
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn function(&self) -> String {
        let n = self.number as u64;
        match &self.client {
            AnyClient::Blocking(_) => blocking(&self.cache, n),
            AnyClient::Async(_, runtime) => runtime.block_on(awaited(&self.cache, n)),
        }
    }

    fn ask(&self, asks: Asks, cas: u64) -> Result<String, ErrorKind> {
        match asks {
            Asks::Verb(verb) => {
                let keys = [self.key("a"), self.key("b")];
                let about = About { keys: [&keys[0], &keys[1]], cas };
                (verb.ask)(&self.client, &about).map_err(|error| error.kind())
            }
            Asks::Function(_) => Ok(self.function()),
        }
    }

    /// Puts things as they are to be found, past the proxy.
    fn prepare(&self, case: &Case) -> u64 {
        let direct = Client::of(self.direct);
        let seven = |of| (self.key(of), 7_u64);
        assert!(direct.set_many([seven("a"), seven("b"), (self.key("calm"), 5)], MINUTE).is_empty());
        if let Asks::Function(Moment::Hit) = case.asks {
            assert_eq!(blocking(self.direct, self.number as u64), value(self.number as u64));
        }
        direct.gets::<u64>(self.key("a")).unwrap().expect("just stored").cas
    }
}

/// Runs a cell; what is wrong with it.
fn run(case: &Case, lab: &Lab<'_>, recording: &Recording) -> Result<(), String> {
    let cas = lab.prepare(case);
    if case.connection == Connection::Used {
        lab.is_served_soon().map_err(|error| format!("{case:?} before: {error}"))?;
    } else {
        // So that there is a reply to be swapped with.
        let other = Client::builder().servers(lab.proxy.address()).protocol(case.protocol).timeout(QUICK);
        let other = other.build().unwrap();
        assert_eq!(other.get::<u64>(lab.key("calm")).unwrap(), Some(5));
    }
    recording.take();
    let connections = lab.proxy.accepted();
    ends_as_it_should(case, lab, cas, recording)?;
    lab.proxy.heal();
    goes_on(case, lab, connections)
}

fn ends_as_it_should(case: &Case, lab: &Lab<'_>, cas: u64, recording: &Recording) -> Result<(), String> {
    lab.proxy.inflict(case.row.fault, case.spared());

    let began = Instant::now();
    let answer = lab.ask(case.asks, cas);
    let took = began.elapsed();

    let kind = match case.ends() {
        Well => None,
        Broken(kind) | Refused(kind) => Some(kind),
    };
    let right = match case.asks {
        Asks::Verb(verb) => kind.map_or(Ok(verb.right.to_owned()), Err),
        Asks::Function(_) => Ok(value(lab.number as u64)),
    };
    case.expect("answer", answer == right, &answer)?;
    case.expect("time", took < BOUND, &took)?;
    let spans = recording.take();
    let clients: Vec<_> = spans.iter().filter(|span| span.span_kind == SpanKind::Client).collect();
    let hit = if case.is_later() { 1 } else { 0 };
    let told: Vec<_> = clients.iter().map(|span| attribute(span, "error.type")).collect();
    case.expect("spans", told.get(hit) == Some(&kind.map(|kind| Value::from(kind.as_str()))), &told)?;
    if let Asks::Function(moment) = case.asks {
        let function = spans.iter().find(|span| ["blocking", "awaited"].contains(&&*span.name)).expect("its span");
        let result = match (moment, kind) {
            (Moment::Store, _) | (Moment::Miss, None) => "miss",
            (Moment::Hit, None) => "hit",
            (_, Some(_)) => "error",
        };
        let told = attribute(function, "cache.result");
        case.expect("the function's result", told == Some(result.into()), &told)?;
        let not_stored = events(function).contains(&"Result not stored");
        let was_hit = moment == Moment::Store && kind.is_some();
        case.expect("storing", not_stored == was_hit, &events(function))?;
    }
    Ok(())
}

/// Whether calls are right once the fault is over, on the same connection or
/// on a new one.
fn goes_on(case: &Case, lab: &Lab<'_>, connections: usize) -> Result<(), String> {
    let served = lab.is_served_soon();
    case.expect("next call", served.is_ok(), &served)?;
    let opened = lab.proxy.accepted() - connections;
    let at_least = usize::from(case.connection == Connection::New);
    let is_closed = matches!(case.ends(), Broken(_));
    case.expect("connections", if is_closed { opened > at_least } else { opened == at_least }, &opened)?;
    if let Asks::Function(_) = case.asks {
        let again = lab.function();
        case.expect("the function's next call", again == value(lab.number as u64), &again)?;
    }
    Ok(())
}

#[test]
fn whatever_goes_wrong_a_call_ends_well_or_with_an_error_and_the_next_is_right() {
    let (server, cases) = (Memcached::start_with(&["-c", "4096"]), cases());
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let (recording, direct) = (Recording::begin(), of(&server.address()).build().unwrap());
                // One for all cells: each address has spans of its own, which
                // are kept for good.
                let proxy = Proxy::before(server.port);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(number) else { return };
                    let run = || run(case, &Lab::new(case, &proxy, &direct, number), &recording);
                    // On a busy machine, an impatient client's call may end
                    // before the fault, and once more a moment later.
                    let tries = if case.ends() == Broken(ErrorKind::Timeout) { 5 } else { 1 };
                    let ended = (1..tries).fold(run(), |ended, _| ended.or_else(|_| run()));
                    if let Err(what) = ended {
                        wrong.lock().unwrap().push(what);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {} cells:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
