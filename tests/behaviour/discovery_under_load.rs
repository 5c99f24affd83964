//! Functions are called the whole time while servers join, leave and come back with what
//! they had. Callers get no error and nothing that is older than a change.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use memocached::{Cache, CallOutcome, Client, MissReason, invalidates, memcached, observed};

use crate::support::asking::{MINUTE, PATIENCE, wait_for};
use crate::support::configuration::{ConfigurationEndpoint, listed};
use crate::support::memcached::{Memcached, until};

/// The time between two questions.
pub(super) const INTERVAL: Duration = Duration::from_millis(200);
/// How long it may take until a change is noticed, and values are stored again.
const SOON: Duration = Duration::from_millis(2_200);
const ROWS: usize = 120;
/// What each thread leaves to the others between two calls.
const PAUSE: Duration = Duration::from_micros(300);

/// A database. Each change makes the next version of a row.
struct Table {
    rows: [AtomicU64; ROWS],
    /// The version that every caller has to get from now on, or a newer one.
    acknowledged: [AtomicU64; ROWS],
    changes: AtomicU64,
    /// Held by what must not run beside a change.
    changing: Mutex<()>,
}

#[memcached(key = "load:<row>", ttl = 60, entry = row_entry, cache = cache, skip(cache, table))]
fn version(cache: &Cache, table: &Table, row: usize) -> u64 {
    table.rows[row].load(Ordering::SeqCst)
}

#[memcached(key = "load:<row>", ttl = 60, cache = cache, skip(cache, table))]
async fn version_async(cache: &Cache, table: &Table, row: usize) -> u64 {
    table.rows[row].load(Ordering::SeqCst)
}

#[memcached(key = "load:<row>", ttl = 60, each(row in rows), cache = cache, skip(cache, table))]
fn versions(cache: &Cache, table: &Table, rows: &[usize]) -> Vec<u64> {
    rows.iter().map(|row| table.rows[*row].load(Ordering::SeqCst)).collect()
}

#[invalidates(row_entry(cache, row))]
fn change(cache: &Cache, table: &Table, row: usize) -> u64 {
    table.rows[row].fetch_add(1, Ordering::SeqCst) + 1
}

impl Table {
    fn new() -> Self {
        let zeros = || [const { AtomicU64::new(0) }; ROWS];
        Table { rows: zeros(), acknowledged: zeros(), changes: AtomicU64::new(0), changing: Mutex::default() }
    }

    /// Changes a row, and tells that it has been changed.
    fn change(&self, cache: &Cache, row: usize) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let version = if row.is_multiple_of(2) {
            change(cache, self, row)
        } else {
            let version = self.rows[row].fetch_add(1, Ordering::SeqCst) + 1;
            row_entry(cache, row).delete().unwrap();
            version
        };
        self.acknowledged[row].store(version, Ordering::SeqCst);
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// Reads rows, none of which may be older than what was acknowledged before.
    fn read(&self, rows: Range<usize>, read: impl FnOnce(&[usize]) -> Vec<u64>) {
        let rows: Vec<usize> = rows.collect();
        let expected: Vec<u64> = rows.iter().map(|row| self.acknowledged[*row].load(Ordering::SeqCst)).collect();
        let got = read(&rows);
        let is_current = got.iter().zip(&expected).all(|(got, expected)| got >= expected);
        assert!(is_current && got.len() == rows.len(), "{got:?} for {rows:?}, where {expected:?} was acknowledged");
    }

    /// Waits until each row has been changed once more.
    fn wait_until_changed(&self) {
        let until_then = self.changes.load(Ordering::SeqCst) + ROWS as u64;
        until("changes", || (self.changes.load(Ordering::SeqCst) >= until_then).then_some(()));
    }
}

/// Ends the load when the schedule ends, however it does.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What changes the list of servers, and is in trouble if told so.
pub(super) trait Naming {
    /// Names these servers from now on.
    fn name(&self, servers: &[&Memcached]);

    /// Says nothing of use until it has been asked several times.
    fn be_in_trouble(&self);
}

/// Calls functions in all ways while the servers that are named change.
pub(super) fn run(cache: &Cache, servers: &[Memcached; 3], naming: &impl Naming) {
    let (table, is_over) = (Table::new(), AtomicBool::new(false));
    let call = |work: &dyn Fn(usize)| {
        for i in (0..).take_while(|_| !is_over.load(Ordering::SeqCst)) {
            work(i);
            std::thread::sleep(PAUSE);
        }
    };
    let idle = servers.each_ref().map(|server| server.stat("curr_connections"));
    let [a, b, c] = servers;
    nothing_is_named_yet(cache, &table);
    naming.name(&[a, b]);
    hits_again(cache, &table, &[a, b], Instant::now());
    std::thread::scope(|scope| {
        let _ending = Ending(&is_over);
        scope.spawn(|| call(&|i| table.change(cache, i * 7 % ROWS)));
        for _ in 0..2 {
            let one = |row| table.read(row..row + 1, |rows| vec![version(cache, &table, rows[0])]);
            scope.spawn(move || call(&|i| one(i % ROWS)));
        }
        scope.spawn(|| {
            let read = |row| table.read(row..row + 1, |rows| vec![wait_for(version_async(cache, &table, rows[0]))]);
            call(&|i| read(i * 11 % ROWS));
        });
        scope.spawn(|| {
            let batch = |first| table.read(first..first + 20, |rows| versions(cache, &table, rows));
            call(&|i| batch(i * 20 % ROWS));
        });
        scope.spawn(|| call(&|i| client_is_served(&Client::of(cache), i)));

        for named in [&[a, b, c][..], &[a, c], &[b, a, c], &[c], &[a, b, c], &[b], &[b, a]] {
            naming.name(named);
            let since = Instant::now();
            hits_again(cache, &table, named, since);
            let is_named = |server: &Memcached| named.iter().any(|one| one.address() == server.address());
            for (server, idle) in servers.iter().zip(idle).filter(|(server, _)| !is_named(server)) {
                is_left_alone(server, idle, &table, since);
            }
            table.wait_until_changed();
        }
        naming.be_in_trouble();
        hits_again(cache, &table, &[a, b], Instant::now());
    });
}

/// Before the first answer, functions compute, and say why.
fn nothing_is_named_yet(cache: &Cache, table: &Table) {
    let (got, seen) = observed(|| version(cache, table, 0));
    assert_eq!((got, &seen.calls[0].outcome), (0, &CallOutcome::Miss(MissReason::Unavailable)));
    let error = Client::of(cache).get::<String>("key").unwrap_err();
    assert!(error.to_string().ends_with("has not named the servers of the cluster yet"), "{error}");
}

/// Asserts that values come from all of these servers and no other, within a moment.
fn hits_again(cache: &Cache, table: &Table, named: &[&Memcached], since: Instant) {
    let named: BTreeSet<String> = named.iter().map(|server| server.address()).collect();
    loop {
        let changing = table.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let ((), seen) = observed(|| (0..ROWS).for_each(|row| _ = version(cache, table, row)));
        drop(changing);
        let took = since.elapsed();
        let nodes: BTreeSet<String> = seen.calls.iter().filter_map(|call| call.node.clone()).collect();
        if nodes == named && seen.calls.iter().all(|call| call.outcome == CallOutcome::Hit) {
            assert!(took < SOON, "{named:?} after {took:?}");
            return;
        }
        assert!(took < PATIENCE, "{nodes:?} in place of {named:?}");
    }
}

/// Asserts that a server that has left is asked for nothing, and not connected to.
fn is_left_alone(server: &Memcached, idle: u64, table: &Table, since: Instant) {
    until("connections to be closed", || (server.stat("curr_connections") == idle).then_some(()));
    assert!(since.elapsed() < SOON + SOON, "{:?}", since.elapsed());
    let asked = || ["cmd_get", "cmd_set", "cmd_touch", "get_hits", "delete_misses"].map(|name| server.stat(name));
    let before = asked();
    table.wait_until_changed();
    assert_eq!(asked(), before);
}

/// A client has no error to show, whichever servers there are.
fn client_is_served(client: &Client, i: usize) {
    let keys: Vec<String> = (0..10).map(|key| format!("client:{}", (i + key) % 40)).collect();
    let failed = client.set_many(keys.iter().map(|key| (key, "value")), MINUTE);
    assert!(failed.is_empty(), "{failed:?}");
    let found = client.get_many::<String>(&keys);
    assert!(found.failed.is_empty() && found.values.values().all(|value| value == "value"), "{:?}", found.failed);
}

impl Naming for ConfigurationEndpoint {
    fn name(&self, servers: &[&Memcached]) {
        static VERSIONS: AtomicU64 = AtomicU64::new(1);
        let version = VERSIONS.fetch_add(1, Ordering::Relaxed).to_string();
        self.hold(listed(&version, &servers.iter().map(|server| server.port).collect::<Vec<_>>()));
    }

    fn be_in_trouble(&self) {
        for nothing in ["", "9999999\n\n", "no list"] {
            self.hold(nothing);
            self.wait_until_heard(3);
        }
    }
}

fn endpoint_of(scheme: &str) {
    let endpoint = ConfigurationEndpoint::start();
    let discovery = format!("{scheme}{}", endpoint.address());
    let cache = Cache::builder().discovery(discovery, INTERVAL).timeout(PATIENCE).connect_timeout(PATIENCE).build();
    run(&cache.unwrap(), &[(); 3].map(|()| Memcached::start()), &endpoint);
    assert_eq!(endpoint.commands(), [""; 0], "it is asked for the list alone");
}

#[test]
fn servers_of_elasticache_come_and_go() {
    endpoint_of("elasticache://");
}

#[test]
fn servers_of_memorystore_come_and_go() {
    endpoint_of("gcp://");
}
