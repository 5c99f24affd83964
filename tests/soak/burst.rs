//! A process that is busy itself does not take healthy servers for dead.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memocached::{AsyncClient, Cache, Client, ErrorKind, memcached};
use tokio::runtime::{Builder, Runtime};

use crate::support::memcached::Memcached;

const TASKS: u64 = 10_000;

/// Each of the tests of this program uses all of the machine.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[memcached(key = "burst:<n>", ttl = 600, cache = cache, skip(cache, computed))]
async fn double(cache: &Cache, computed: &AtomicU64, n: u64) -> u64 {
    computed.fetch_add(1, Ordering::Relaxed);
    n * 2
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A cache with default settings.
fn cache(servers: &[Memcached]) -> Cache {
    let list: Vec<_> = servers.iter().map(Memcached::address).collect();
    Cache::builder().servers(list.join(",")).build().unwrap()
}

/// Calls for all of these numbers at once; how many were computed.
fn burst(runtime: &Runtime, cache: &Cache, numbers: std::ops::Range<u64>) -> u64 {
    let computed = Arc::<AtomicU64>::default();
    let call = |n| {
        let (cache, computed) = (cache.clone(), Arc::clone(&computed));
        runtime.spawn(async move { assert_eq!(double(&cache, &computed, n).await, n * 2) })
    };
    let tasks: Vec<_> = numbers.map(call).collect();
    tasks.into_iter().for_each(|task| runtime.block_on(task).unwrap());
    computed.load(Ordering::Relaxed)
}

fn all_are_up(cache: &Cache) -> bool {
    Client::of(cache).nodes().iter().all(|node| node.is_up)
}

/// Ten thousand hits at once, time and again.
fn withstand_bursts(servers: usize) {
    let _turn = alone();
    let (servers, runtime): (Vec<_>, _) = ((0..servers).map(|_| Memcached::start()).collect(), runtime());
    let cache = cache(&servers);
    for begin in (0..TASKS).step_by(50) {
        // A few at a time, until they are stored.
        while burst(&runtime, &cache, begin..begin + 50) > 0 {}
    }
    let first = burst(&runtime, &cache, 0..TASKS);
    assert!(all_are_up(&cache), "{first} computed");
    let are_hits = |bursts: &[u64; 3]| bursts.iter().all(|computed| *computed <= TASKS / 100);
    let mut all: Vec<[u64; 3]> = Vec::new();
    // Servers that other programs keep from the CPU are slow indeed: once more then.
    while !all.last().is_some_and(are_hits) && all.len() < 2 {
        all.push([(); 3].map(|()| {
            let computed = burst(&runtime, &cache, 0..TASKS);
            assert!(all_are_up(&cache), "{computed} computed");
            computed
        }));
    }
    println!("{all:?} computed, {first} at first");
    assert!(all.last().is_some_and(are_hits), "{all:?} computed, {first} at first");
}

#[test]
fn ten_thousand_hits_at_once_are_hits_on_one_server() {
    withstand_bursts(1);
}

#[test]
fn ten_thousand_hits_at_once_are_hits_on_four_servers() {
    withstand_bursts(4);
}

/// What a handler does: a few calls, of which some compute, and its own work.
#[test]
fn five_hundred_busy_requests_at_once_open_no_circuit() {
    let _turn = alone();
    let (servers, runtime) = ([Memcached::start(), Memcached::start()], runtime());
    let cache = cache(&servers);
    let open = Arc::<AtomicU64>::default();
    let requests: Vec<_> = (0..500_u64)
        .map(|number| {
            let (cache, open) = (cache.clone(), Arc::clone(&open));
            runtime.spawn(async move {
                let (client, computed) = (AsyncClient::of(&cache), AtomicU64::new(0));
                for round in 0..20 {
                    double(&cache, &computed, round).await;
                    double(&cache, &computed, 1_000_000 + number * 100 + round).await;
                    // Work that keeps the worker from everything else.
                    let until = std::time::Instant::now() + std::time::Duration::from_micros(500);
                    while std::time::Instant::now() < until {
                        std::hint::spin_loop();
                    }
                    let asked = client.get::<String>("burst:none").await;
                    if asked.is_err_and(|error| error.kind() == ErrorKind::CircuitOpen) {
                        open.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    requests.into_iter().for_each(|request| runtime.block_on(request).unwrap());
    assert_eq!(open.load(Ordering::Relaxed), 0);
    assert!(all_are_up(&cache));
}
