//! Everything at once, for a while: three servers that are killed and stopped
//! all the time, behind proxies that spoil replies in every way they know, and
//! threads and tasks that call functions. No function may ever return anything
//! else than it would without a cache.
//!
//! And bursts of calls: these tests have the machine for themselves.
//!
//! `SOAK_SECONDS=600 cargo test --release --test soak -- --nocapture` runs it
//! for ten minutes and shows the figures; without, it takes half a minute.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so")]

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use memocached::{Cache, Mode, memcached, with_mode};

use tokio::runtime::{Builder, Runtime};

use figures::Figures;
use support::memcached::{Memcached, until};
use support::proxy::{Fault, Form, Pace, Proxy, Then};

#[path = "soak/burst.rs"]
mod burst;
#[path = "soak/figures.rs"]
mod figures;
#[allow(dead_code, reason = "the behaviour tests use the rest")]
#[path = "support/mod.rs"]
mod support;

const SERVERS: usize = 3;
const THREADS: u64 = 4;
const TASKS: u64 = 16;
const KEYS: u64 = 48;
/// For all that a call says to servers.
const BUDGET: Duration = Duration::from_millis(50);
/// Behind a call that has computed, or all would be calls that ask no server
/// because all of them are out.
const PAUSE: Duration = Duration::from_micros(200);
/// Of the replies of each server, every fault hits so many of a thousand: of
/// the first one, a third is spoilt, so that it is out most of the time.
const PER_MILLE: [u64; SERVERS] = [20, 1, 1];

const fn at_once(form: Form, then: Then) -> Fault {
    Fault { form, pace: Pace::AtOnce, then }
}

const fn whole(pace: Pace) -> Fault {
    Fault { form: Form::Whole, pace, then: Then::GoOn }
}

const FAULTS: [Fault; 18] = [
    whole(Pace::Late(Duration::from_millis(2))),
    whole(Pace::Late(Duration::from_millis(80))),
    whole(Pace::Drip(Duration::from_millis(3))),
    at_once(Form::Nothing, Then::GoOn),
    at_once(Form::Half, Then::GoOn),
    at_once(Form::Half, Then::Close),
    at_once(Form::Nothing, Then::Close),
    at_once(Form::Nothing, Then::Reset),
    at_once(Form::Other(b"\0\xff\x80 garbage\r\n"), Then::GoOn),
    at_once(Form::Other(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Then::Close),
    at_once(Form::Swapped, Then::GoOn),
    at_once(Form::Twice, Then::GoOn),
    at_once(Form::Before(b"EN\r\n"), Then::GoOn),
    at_once(Form::After(b"VA 1 f0 c1 t-1\r\n8\r\n"), Then::GoOn),
    at_once(Form::Lying(1), Then::GoOn),
    at_once(Form::Lying(-1), Then::GoOn),
    at_once(Form::Other(b"SERVER_ERROR out of memory\r\n"), Then::GoOn),
    at_once(Form::Other(b"CLIENT_ERROR bad data chunk\r\n"), Then::GoOn),
];

/// A number that looks like chance.
fn dice(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ mixed >> 29).wrapping_mul(0x94d0_49bb_1331_11eb) >> 16
}

fn script(per_mille: u64) -> impl Fn(u64) -> Option<Fault> {
    move |reply| FAULTS.get(usize::try_from(dice(reply) % 1000 / per_mille).unwrap()).copied()
}

/// What functions compute; of many lengths, and full of protocol.
fn text(n: u64) -> String {
    format!("{n}\r\n") + &"HD O1\r\nEN\r\nVA 1 O2\r\nEND\r\n".repeat(usize::try_from(n * n).unwrap())
}

#[memcached(key = "soak:square:<n>", ttl = 60, cache = cache, skip(cache, computed))]
fn square(cache: &Cache, computed: &Cell<u64>, n: u64) -> u64 {
    computed.set(computed.get() + 1);
    n * n
}

#[memcached(key = "soak:text:<n>", ttl = 60, cache = cache, skip(cache, computed), entry = text_of)]
fn text_blocking(cache: &Cache, computed: &Cell<u64>, n: u64) -> String {
    computed.set(computed.get() + 1);
    text(n)
}

/// What is an error is computed each time.
#[memcached(key = "soak:async:<n>", ttl = 60, cache = cache, skip(cache, computed))]
async fn text_awaited(cache: &Cache, computed: &AtomicU64, n: u64) -> Result<Vec<(u64, String)>, u64> {
    computed.fetch_add(1, Ordering::Relaxed);
    tokio::task::yield_now().await;
    if n.is_multiple_of(24) { Err(n) } else { Ok(vec![(n, text(n)); 2]) }
}

fn call_blocking(cache: &Cache, figures: &Figures, over: &AtomicBool, seed: u64) {
    let mut round = seed << 32;
    while !over.load(Ordering::Relaxed) {
        round += 1;
        let (n, computed) = (dice(round) % KEYS, Cell::new(0));
        let began = Instant::now();
        let is_right = match dice(round) >> 20 & 15 {
            0 => with_mode(Mode::Refresh, || square(cache, &computed, n)) == n * n,
            1 => {
                let _ = text_of(cache, n).delete();
                true
            }
            2..=8 => square(cache, &computed, n) == n * n,
            _ => text_blocking(cache, &computed, n) == text(n),
        };
        figures.called(began.elapsed(), is_right, computed.get() > 0);
        if computed.get() > 0 {
            std::thread::sleep(PAUSE);
        }
    }
}

async fn call_awaited(cache: Cache, figures: Arc<Figures>, over: Arc<AtomicBool>, seed: u64) {
    let mut round = seed << 32;
    while !over.load(Ordering::Relaxed) {
        round += 1;
        let (n, computed) = (dice(round) % KEYS, AtomicU64::new(0));
        let began = Instant::now();
        let call = text_awaited(&cache, &computed, n);
        if dice(round) >> 20 & 15 == 0 {
            // Given up somewhere on its way.
            let _ = tokio::time::timeout(Duration::from_micros(dice(round) >> 30 & 1023), call).await;
            continue;
        }
        let right = if n.is_multiple_of(24) { Err(n) } else { Ok(vec![(n, text(n)); 2]) };
        let is_right = call.await == right;
        let has_computed = computed.into_inner() > 0;
        figures.called(began.elapsed(), is_right, has_computed);
        if has_computed {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Does something to a server, one after the other, this often.
fn in_turn(servers: &[Mutex<Memcached>], over: &AtomicBool, every: Duration, disturb: impl Fn(&mut Memcached)) {
    for server in (0..SERVERS).cycle() {
        std::thread::sleep(every);
        if over.load(Ordering::Relaxed) {
            return;
        }
        // Another one may be busy being disturbed.
        if let Ok(mut server) = servers[server].try_lock() {
            disturb(&mut server);
        }
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[test]
fn whatever_happens_functions_return_what_they_would_without_a_cache() {
    let _turn = burst::alone();
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let panics = Arc::new(AtomicU64::new(0));
    let (counted, hook) = (Arc::clone(&panics), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |info| {
        counted.fetch_add(1, Ordering::Relaxed);
        hook(info);
    }));

    let servers: Vec<_> = (0..SERVERS).map(|_| Mutex::new(Memcached::start())).collect();
    let proxies: Vec<_> = servers.iter().map(|server| Proxy::before(server.lock().unwrap().port)).collect();
    // tokio's first runtime opens what lasts as long as the process.
    drop(runtime());
    let before = open_files();
    let figures = Arc::new(Figures::default());
    {
        let list = proxies.iter().map(Proxy::address).collect::<Vec<_>>().join(",");
        let cache = Cache::builder().servers(list).timeout(BUDGET).pool_size(8);
        let cache = cache.retry_after(Duration::from_millis(10)).build().unwrap();
        let runtime = runtime();
        proxies.iter().zip(PER_MILLE).for_each(|(proxy, per_mille)| proxy.follow(script(per_mille)));
        let over = Arc::new(AtomicBool::new(false));
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let call = call_awaited(cache.clone(), Arc::clone(&figures), Arc::clone(&over), THREADS + task);
                runtime.spawn(call)
            })
            .collect();
        std::thread::scope(|scope| {
            let (cache, figures, over, servers) = (&cache, &figures, &over, &servers);
            (0..THREADS).for_each(|thread| drop(scope.spawn(move || call_blocking(cache, figures, over, thread))));
            scope.spawn(|| {
                in_turn(servers, over, Duration::from_millis(200), |server| {
                    server.kill();
                    *server = Memcached::restart(server.port);
                });
            });
            scope.spawn(|| {
                in_turn(servers, over, Duration::from_millis(350), |server| {
                    server.freeze();
                    std::thread::sleep(Duration::from_millis(150));
                    server.thaw();
                });
            });
            std::thread::sleep(Duration::from_secs(seconds));
            over.store(true, Ordering::Relaxed);
        });
        for task in tasks {
            runtime.block_on(task).expect("no task panics");
        }
    }
    println!("{figures}; open descriptors {before} before, {} at the end", open_files());
    until("connections to be closed", || (open_files() <= before).then_some(()));
    println!("open descriptors {} after; {} panics", open_files(), panics.load(Ordering::Relaxed));
    assert_eq!(figures.wrong(), 0, "{figures}");
    assert_eq!(panics.load(Ordering::Relaxed), 0);
    // The cache must have been of some use, or nothing has been tested.
    assert!(figures.hits() > figures.calls() / 20, "{figures}");
    assert!(figures.quantile(0.99) < BUDGET * 10, "{figures}");
}
