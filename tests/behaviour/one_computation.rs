//! One computation for several processes with many callers each.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use memocached::{Cache, memcached};

use crate::support::lag::Lag;
use crate::support::memcached::Memcached;
use crate::support::process::{again, role};

const TEST: &str = "behaviour::one_computation::";

static COMPUTED: AtomicU64 = AtomicU64::new(0);

#[memcached(key = "stampede:<n>", ttl = 60, skip(millis))]
fn slow(n: u64, millis: u64) -> u64 {
    COMPUTED.fetch_add(1, Ordering::Relaxed);
    println!("computing {n}");
    std::thread::sleep(Duration::from_millis(millis));
    n * 2
}

#[memcached(key = "stampede:<n>", ttl = 60, name = "slow_async", skip(millis))]
async fn slow_async(n: u64, millis: u64) -> u64 {
    COMPUTED.fetch_add(1, Ordering::Relaxed);
    println!("computing {n}");
    tokio::time::sleep(Duration::from_millis(millis)).await;
    n * 2
}

/// A function that opens connections. The others have not computed before.
#[memcached(key = "connecting:<n>", ttl = 60)]
fn connecting(n: u64) -> u64 {
    n
}

/// A process of callers, which begins when told to and says what it has done.
struct Callers {
    child: Child,
    start: Option<ChildStdin>,
}

impl Callers {
    fn of(test: &str, role: &str, servers: &str) -> Self {
        let mut command = again(&format!("{TEST}{test}"), role);
        command.env("MEMCACHED_SERVERS", servers).env("MEMCACHED_TIMEOUT", "2s");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let start = child.stdin.take();
        let mut callers = Callers { child, start };
        callers.read_until("ready");
        callers
    }

    fn start(&mut self) {
        self.start.take().unwrap().write_all(b"go\n").unwrap();
    }

    /// Reads byte by byte, so that nothing is lost in a buffer.
    fn read_until(&mut self, wanted: &str) {
        let stdout = self.child.stdout.as_mut().unwrap();
        let mut text = String::new();
        while !text.contains(wanted) {
            let mut byte = [0];
            assert_eq!(stdout.read(&mut byte).unwrap(), 1, "the process ended: {text}");
            text.push(char::from(byte[0]));
        }
    }

    /// How often it has computed, and how long all of its calls took.
    fn done(mut self) -> (u64, Duration) {
        // To its end, or the process cannot write any more.
        let lines: Vec<_> = BufReader::new(self.child.stdout.take().unwrap()).lines().map(Result::unwrap).collect();
        let line = lines.iter().find(|line| line.starts_with("done ")).expect("it is done");
        let words: Vec<u64> = line.split(' ').skip(1).map(|word| word.parse().unwrap()).collect();
        assert!(self.child.wait().unwrap().success());
        (words[0], Duration::from_micros(words[1]))
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process of callers does: `threads` or `tasks`, how many, the key and
/// how long it takes to compute.
fn call_if_told_to() -> bool {
    let Some(role) = role() else { return false };
    let words: Vec<&str> = role.split(' ').collect();
    let [kind, callers, n, millis] = words[..] else { panic!("{role}") };
    let [callers, n, millis] = [callers, n, millis].map(|word| word.parse::<u64>().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // So that opening connections is not part of it.
    connecting(std::process::id().into());
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let begun = Instant::now();
    if kind == "threads" {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..callers).map(|_| scope.spawn(move || slow(n, millis))).collect();
            threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), n * 2));
        });
    } else {
        runtime.block_on(async {
            let tasks: Vec<_> = (0..callers).map(|_| tokio::spawn(slow_async(n, millis))).collect();
            for task in tasks {
                assert_eq!(task.await.unwrap(), n * 2);
            }
        });
    }
    println!("done {} {}", COMPUTED.load(Ordering::Relaxed), begun.elapsed().as_micros());
    true
}

#[test]
fn eight_processes_of_a_hundred_callers_compute_once_in_one_of_three_rounds() {
    if call_if_told_to() {
        return;
    }
    let server = Memcached::start();
    for (n, millis) in [(1, 50), (2, 200), (3, 2_000)] {
        // On a busy machine a holder seems to stand still now and then, and is overtaken.
        let mut all = Vec::new();
        while all.last() != Some(&1) && all.len() < 3 {
            all.push(crowd(&server, n + 10 * all.len() as u64, millis));
        }
        assert!(all.ends_with(&[1]) && all.iter().all(|computed| *computed <= 3), "{all:?} of {millis} ms");
    }
}

/// How often eight processes of a hundred callers each have computed a value together.
fn crowd(server: &Memcached, n: u64, millis: u64) -> u64 {
    let kinds = ["threads", "tasks"].into_iter().cycle().take(8);
    let mut all: Vec<Callers> = kinds
        .map(|kind| {
            let role = format!("{kind} 100 {n} {millis}");
            Callers::of(
                "eight_processes_of_a_hundred_callers_compute_once_in_one_of_three_rounds",
                &role,
                &server.address(),
            )
        })
        .collect();
    all.iter_mut().for_each(Callers::start);
    let done: Vec<_> = all.into_iter().map(Callers::done).collect();
    let computed: u64 = done.iter().map(|(computed, _)| computed).sum();
    let slowest = done.iter().map(|(_, took)| *took).max().unwrap();
    println!("8 processes x 100 callers of {millis} ms: {computed} computation, the last call took {slowest:?}");
    computed
}

/// A living holder renews its lease every second; one second later it is dead.
const SILENCE: Duration = Duration::from_secs(2);

#[test]
fn where_the_winner_is_killed_one_process_takes_over() {
    const TEST: &str = "where_the_winner_is_killed_one_process_takes_over";
    if call_if_told_to() {
        return;
    }
    let (server, lag) = (Memcached::start(), Lag::watch());
    let callers = |role| Callers::of(TEST, role, &server.address());
    let mut others: Vec<_> =
        ["threads 100 4 100", "tasks 100 4 100"].into_iter().cycle().take(8).map(callers).collect();
    let mut winner = callers("threads 1 4 600000");
    winner.start();
    winner.read_until("computing 4");
    // It has renewed its lease by then.
    std::thread::sleep(Duration::from_secs(4));
    others.iter_mut().for_each(Callers::start);
    let waited = Duration::from_millis(300);
    std::thread::sleep(waited);
    let begun = Instant::now();
    winner.child.kill().unwrap();
    winner.child.wait().unwrap();
    let done: Vec<_> = others.into_iter().map(Callers::done).collect();
    let took = begun.elapsed();
    assert!(done.iter().all(|(_, took)| *took >= waited), "all waited for the winner: {done:?}");
    assert_eq!(done.iter().map(|(computed, _)| computed).sum::<u64>(), 1, "one took over: {done:?}");
    // The silence, a body, and what nine processes need to notice and to end.
    lag.check("after the winner was killed", took, SILENCE + Duration::from_secs(1));
}

#[memcached(key = "renewed:<n>", ttl = 60, grace = 60, cache = cache, skip(cache, body), entry = renewed_entry)]
fn renewed(cache: &Cache, n: u64, body: impl FnOnce() -> u64) -> u64 {
    body()
}

/// Longer than a process is believed to live that gives no sign of it.
#[test]
fn a_stale_value_is_computed_anew_once_however_long_that_takes() {
    let server = Memcached::start();
    let caches: Vec<Cache> = (0..8).map(|_| server.cache()).collect();
    assert_eq!(renewed(&caches[0], 1, || 1), 1);
    renewed_entry(&caches[0], 1).invalidate().unwrap();
    let (computed, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let body = || {
        computed.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_secs(7));
        done.store(true, Ordering::Relaxed);
        2
    };
    std::thread::scope(|threads| {
        for cache in caches.iter().cycle().take(32) {
            threads.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let value = renewed(cache, 1, body);
                    assert!(value == 1 || done.load(Ordering::Relaxed), "{value} before it is there");
                }
            });
        }
    });
    assert_eq!(renewed(&caches[0], 1, || 3), 2);
    assert_eq!(computed.load(Ordering::Relaxed), 1);
}

#[test]
fn without_a_server_each_process_computes_once() {
    if call_if_told_to() {
        return;
    }
    // A port without a listener.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let test = "without_a_server_each_process_computes_once";
    let nowhere = format!("127.0.0.1:{port}");
    let mut both = ["threads 100 5 500", "tasks 100 5 500"].map(|role| Callers::of(test, role, &nowhere));
    both.iter_mut().for_each(Callers::start);
    for callers in both {
        let (computed, took) = callers.done();
        println!("100 callers without a server: {computed} computation in {took:?}");
        assert_eq!(computed, 1);
    }
}
