//! Other people's code around a memoized function: what they run when a thread
//! ends, and on the library's own threads.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use memocached::{Cache, Client, Codec, Error, invalidates, memcached};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::support::configuration::{ConfigurationEndpoint, listed};
use crate::support::memcached::{Memcached, until};
use crate::support::process::{again, output, role};

#[memcached(key = "foreign:double:<n>", cache = cache, skip(cache), entry = double_entry)]
fn double(cache: &Cache, n: u64) -> u64 {
    2 * n
}

/// Asks for values when its thread ends.
struct Last(Cache);

impl Drop for Last {
    fn drop(&mut self) {
        println!("last: {} {}", double(&self.0, 2), double(&self.0, 3));
    }
}

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

/// Calls the function in the destructor of a thread-local that outlives the
/// library's own.
fn call_at_the_threads_end(cache: &Cache) {
    let cache = cache.clone();
    let thread = std::thread::spawn(move || {
        LAST.with_borrow_mut(|last| *last = Some(Last(cache.clone())));
        double(&cache, 2)
    });
    assert_eq!(thread.join().unwrap(), 4);
}

#[test]
fn a_thread_locals_destructor_may_call() {
    if role().is_none() {
        // A panic in such a destructor would abort this process.
        let said = output(&mut again("behaviour::foreign_code::a_thread_locals_destructor_may_call", "child"));
        assert_eq!(said.matches("last: 4 6").count(), 2, "{said}");
        return;
    }
    let server = Memcached::start();
    call_at_the_threads_end(&Cache::builder().build().unwrap());
    call_at_the_threads_end(&server.cache());
}

#[memcached(key = "foreign:slow:<n>", cache = cache, skip(cache))]
fn slow(cache: &Cache, n: u64) -> u64 {
    COMPUTED.fetch_add(1, Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(1_500));
    n
}

static COMPUTED: AtomicU64 = AtomicU64::new(0);

/// Panics on the library's own threads, as a layer may that needs a runtime.
struct Panicking;

/// The threads on which it has panicked.
static PANICKED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

impl<S: tracing::Subscriber> Layer<S> for Panicking {
    fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default();
        if name.starts_with("memocached-") {
            PANICKED.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
            panic!("on purpose");
        }
    }
}

#[test]
fn a_panic_on_the_librarys_threads_ends_neither_calls_nor_renewals() {
    if role().is_none() {
        let test = "behaviour::foreign_code::a_panic_on_the_librarys_threads_ends_neither_calls_nor_renewals";
        let said = output(&mut again(test, "child"));
        assert!(said.contains("computed once"), "{said}");
        return;
    }
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(60));
        std::process::exit(1);
    });
    tracing_subscriber::registry().with(Panicking).init();
    let mut server = Memcached::start();
    let port = server.port;
    let cache = server.cache();
    std::thread::scope(|scope| {
        // The renewals find the server gone, and say so.
        let calls: Vec<_> = (0..8)
            .map(|n| {
                scope.spawn({
                    let cache = &cache;
                    move || slow(cache, n)
                })
            })
            .collect();
        until("the bodies to run", || (COMPUTED.load(Ordering::Relaxed) == 8).then_some(()));
        server.kill();
        calls.into_iter().enumerate().for_each(|(n, call)| assert_eq!(call.join().unwrap(), n as u64));
    });
    let server = Memcached::restart(port);
    until("the server to be back", || double_entry(&cache, 9).put(&18).ok());
    COMPUTED.store(0, Ordering::Relaxed);
    // Another process would take over a lease that is not renewed.
    let other = server.cache();
    std::thread::scope(|scope| {
        for cache in [&cache, &other] {
            scope.spawn(move || assert_eq!(slow(cache, 100), 100));
        }
    });
    assert_eq!(COMPUTED.load(Ordering::Relaxed), 1);
    println!("computed once");
}

#[memcached(key = "foreign:square:<n>", each(n in numbers), cache = cache, skip(cache))]
fn squares(cache: &Cache, numbers: &[u64]) -> Vec<u64> {
    numbers.iter().map(|n| n * n).collect()
}

/// Asks three servers at once, two of which are gone: threads that ask them say so.
fn ask_for_many() {
    let mut servers = [Memcached::start(), Memcached::start(), Memcached::start()];
    let list = servers.each_ref().map(Memcached::address).join(",");
    let cache = Cache::builder().servers(list).build().unwrap();
    servers[..2].iter_mut().for_each(Memcached::kill);
    let numbers: Vec<_> = (0..60).collect();
    assert_eq!(squares(&cache, &numbers), numbers.iter().map(|n| n * n).collect::<Vec<_>>());
}

#[invalidates(double_entry(cache, n))]
fn change(cache: &Cache, n: u64) -> u64 {
    n
}

/// Changes data while the server is stopped: what removes the value later says so.
fn change_while_it_is_stopped() {
    let server = Memcached::start();
    let cache = Cache::builder().servers(server.address()).timeout(Duration::from_millis(100)).build().unwrap();
    double_entry(&cache, 5).put(&1).unwrap();
    server.freeze();
    change(&cache, 5);
    let is_out = || Client::of(&cache).nodes().iter().any(|node| !node.is_up);
    until("the server to be left alone", || is_out().then_some(()));
    server.thaw();
    until("the old value to be removed", || server.stored("foreign:double:5").is_none().then_some(()));
    assert_eq!(double(&cache, 5), 10);
}

/// Looks for servers where there is no list yet: what looks says so.
fn discover_servers() {
    let server = Memcached::start();
    let endpoint = ConfigurationEndpoint::start();
    let client = Client::builder().discovery(endpoint.address(), Duration::from_millis(10)).build().unwrap();
    until("the layer to panic", || {
        PANICKED.lock().unwrap_or_else(PoisonError::into_inner).contains("memocached-discovery").then_some(())
    });
    endpoint.hold(listed("1", &[server.port]));
    until("the server to be found", || (client.nodes().len() == 1).then_some(()));
}

#[test]
fn a_panic_on_the_librarys_threads_costs_no_batch_no_invalidation_and_no_server() {
    if role().is_none() {
        let test =
            "behaviour::foreign_code::a_panic_on_the_librarys_threads_costs_no_batch_no_invalidation_and_no_server";
        let said = output(&mut again(test, "child"));
        assert!(said.contains("all is well"), "{said}");
        return;
    }
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(60));
        std::process::exit(1);
    });
    tracing_subscriber::registry().with(Panicking).init();
    ask_for_many();
    change_while_it_is_stopped();
    discover_servers();
    let panicked = PANICKED.lock().unwrap_or_else(PoisonError::into_inner);
    for thread in ["memocached-batch", "memocached-late"] {
        assert!(panicked.contains(thread), "{panicked:?}");
    }
    println!("all is well");
}

/// A function of the process-wide cache, which is set up by the first call.
#[memcached(key = "foreign:triple:<n>")]
fn triple(n: u64) -> u64 {
    3 * n
}

/// Panics when it is first told of something.
struct PanickingOnce(AtomicBool);

impl<S: tracing::Subscriber> Layer<S> for PanickingOnce {
    fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
        assert!(self.0.swap(true, Ordering::Relaxed), "on purpose");
    }
}

#[test]
fn a_note_that_cannot_be_told_costs_no_call() {
    const TEST: &str = "behaviour::foreign_code::a_note_that_cannot_be_told_costs_no_call";
    match role().as_deref() {
        None => {
            for (name, value) in [("MEMCACHED_HOST", "cache"), ("MEMCACHED_TTL", "soon")] {
                for role in ["no reader", "a layer that panics"] {
                    let mut child = again(TEST, role);
                    // Its other end is gone by now.
                    let stderr = std::io::pipe().unwrap().1;
                    assert!(output(child.env(name, value).stderr(stderr)).contains("tripled: 3 6"));
                }
            }
        }
        Some(role) => {
            if role == "a layer that panics" {
                tracing_subscriber::registry().with(PanickingOnce(AtomicBool::new(false))).init();
            }
            println!("tripled: {} {}", triple(1), triple(2));
        }
    }
}

/// Asks for a value when it is told of something other than its own calls.
struct Asking;

impl<S: tracing::Subscriber> Layer<S> for Asking {
    fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
        thread_local! {
            static IS_ASKING: Cell<bool> = const { Cell::new(false) };
        }
        if !IS_ASKING.replace(true) {
            println!("asked: {}", triple(1));
            IS_ASKING.set(false);
        }
    }
}

#[test]
fn a_layer_may_call_when_it_is_told_of_the_process_wide_cache() {
    if role().is_none() {
        let test = "behaviour::foreign_code::a_layer_may_call_when_it_is_told_of_the_process_wide_cache";
        let said = output(again(test, "child").env("MEMCACHED_HOST", "cache"));
        assert!(said.contains("asked: 3") && said.contains("called: 6"), "{said}");
        return;
    }
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(20));
        std::process::exit(1);
    });
    tracing_subscriber::registry().with(Asking).init();
    println!("called: {}", triple(2));
}

/// Numbers, of which it cannot encode one, and no longer decode another.
#[derive(Clone, Copy)]
struct Fragile;

const UNSPEAKABLE: u64 = 1_000_003;
const OLD: u64 = 1_000_033;
static IS_NEW: AtomicBool = AtomicBool::new(false);

impl Codec<u64> for Fragile {
    fn id(&self) -> u8 {
        70
    }

    fn encode(&self, value: &u64, out: &mut Vec<u8>) -> Result<(), Error> {
        assert_ne!(*value, UNSPEAKABLE, "on purpose");
        out.extend(value.to_be_bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<u64, Error> {
        let value = u64::from_be_bytes(bytes.try_into().map_err(Error::decode)?);
        assert!(!IS_NEW.load(Ordering::Relaxed) || value != OLD, "on purpose");
        Ok(value)
    }
}

#[memcached(key = "foreign:fragile:<n>", codec = Fragile, cache = cache, skip(cache, value), entry = fragile_entry)]
fn fragile(cache: &Cache, n: u64, value: u64) -> u64 {
    value
}

#[memcached(key = "foreign:fragile:near:<n>", codec = Fragile, near = 60, cache = cache, skip(cache, value))]
fn fragile_near(cache: &Cache, n: u64, value: u64) -> u64 {
    value
}

#[test]
fn a_codec_that_panics_costs_the_value_and_no_call() {
    let server = Memcached::start();
    let cache = server.cache();
    assert_eq!(fragile(&cache, 1, UNSPEAKABLE), UNSPEAKABLE);
    assert_eq!(fragile(&cache, 1, 7), 7, "it was not stored");
    assert_eq!((fragile(&cache, 2, OLD), fragile(&cache, 2, 7)), (OLD, OLD));
    assert_eq!(fragile_near(&cache, 2, OLD), OLD);
    IS_NEW.store(true, Ordering::Relaxed);
    assert_eq!(fragile_entry(&cache, 2).get().unwrap(), None);
    assert_eq!(fragile(&cache, 2, 7), 7);
    assert_eq!(fragile(&cache, 2, 8), 7, "it was replaced");
    assert_eq!(fragile_near(&cache, 2, 7), 7, "nor is it decoded here");
}
