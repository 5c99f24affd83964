//! What `MEMCACHED_TIMEOUT` does to a service under load: how long calls of warm keys take, and how
//! many of them are computed because the server's answer came too late.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use memocached::{Cache, memcached};

use super::memcached::Memcached;

const TASKS: u64 = 500;
const THREADS: usize = 2;
const KEYS: u64 = 100;
const TIME: Duration = Duration::from_secs(1);
/// In milliseconds.
const LIMITS: [u64; 7] = [1, 5, 20, 50, 100, 500, 2_000];

static COMPUTED: AtomicU64 = AtomicU64::new(0);

#[memcached(key = "bench:limit:<n>", ttl = 600, cache = cache, skip(cache))]
async fn row(cache: &Cache, n: u64) -> u64 {
    COMPUTED.fetch_add(1, Ordering::Relaxed);
    n
}

pub(crate) fn measure() {
    let server = Memcached::start();
    println!("{:>8} {:>9} {:>9} {:>9} {:>9} {:>10}", "limit", "calls/s", "p50 ms", "p99 ms", "max ms", "computed");
    for limit in LIMITS.map(Duration::from_millis) {
        let cache = Cache::builder().servers(server.address()).timeout(limit).build().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build().unwrap();
        let mut times = runtime.block_on(under_load(cache));
        times.sort();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        let computed = 100.0 * COMPUTED.load(Ordering::Relaxed) as f64 / times.len() as f64;
        let rate = times.len() as f64 / TIME.as_secs_f64();
        let limit = format!("{} ms", limit.as_millis());
        println!("{limit:>8} {rate:>9.0} {:>9.2} {:>9.2} {:>9.2} {computed:>8.2} %", at(0.5), at(0.99), at(1.0));
    }
}

/// What the calls of all tasks take.
async fn under_load(cache: Cache) -> Vec<Duration> {
    for n in 0..KEYS {
        row(&cache, n).await;
    }
    COMPUTED.store(0, Ordering::Relaxed);
    let times = Arc::new(Mutex::new(Vec::new()));
    let until = Instant::now() + TIME;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let (cache, times) = (cache.clone(), Arc::clone(&times));
        tasks.spawn(async move {
            let mut own = Vec::new();
            while Instant::now() < until {
                let begun = Instant::now();
                row(&cache, (task + own.len() as u64) % KEYS).await;
                own.push(begun.elapsed());
            }
            times.lock().unwrap().extend(own);
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    std::mem::take(&mut times.lock().unwrap())
}
