//! Other crates that keep what a function returns, beside this one: how often they
//! compute, what comes after a panic, and what a hit takes. Prints a table in Markdown.
//!
//!     cargo run --release --manifest-path benches/rivals/Cargo.toml

mod contenders;
#[path = "../../../tests/support/memcached.rs"]
#[allow(dead_code, reason = "shared with the behaviour tests")]
mod memcached;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use contenders::{COMPUTED, CONTENDERS, Call, PANICS};
use memcached::Memcached;

const THREADS: usize = 8;
const PROCESSES: usize = 4;

/// The keys that nothing but a computation has been asked for, and the one of hits.
const MISSING: u64 = 1;
const SHARED: u64 = 2;
const PANICKING: u64 = 3;
const HIT: u64 = 4;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["measure", name] => measure(name),
        ["compute", name] => print!("{}", computations(&contenders::call(name), SHARED, THREADS / PROCESSES)),
        _ => compare(),
    }
}

/// Each contender runs in processes of its own.
fn compare() {
    let server = Memcached::start();
    println!("| | computations, {THREADS} threads | {PROCESSES} processes | the call after a panic | a hit |");
    println!("|---|---|---|---|---|");
    for (name, _) in CONTENDERS {
        let measured = text_of(begin(&["measure", name], &server.address()));
        println!("| {name} | {measured} |");
    }
}

/// Begins this program with other words.
fn begin(words: &[&str], server: &str) -> Child {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command.args(words).env("MEMCACHED_SERVERS", server).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().expect("this program starts")
}

fn text_of(child: Child) -> String {
    let output = child.wait_with_output().expect("the process ends");
    String::from_utf8(output.stdout).expect("it prints text")
}

/// Prints the cells of one contender.
fn measure(name: &str) {
    let server = std::env::var("MEMCACHED_SERVERS").expect("the address of a server");
    let call = contenders::call(name);
    let here = computations(&call, MISSING, THREADS);
    let children: Vec<Child> = (0..PROCESSES).map(|_| begin(&["compute", name], &server)).collect();
    let everywhere: usize = children.into_iter().map(|child| text_of(child).parse::<usize>().unwrap_or_default()).sum();
    print!("{here} | {everywhere} | {} | {}", after_panic(&call), shown(hit(&call)));
}

/// How many threads that begin at once compute a missing value.
fn computations(call: &Call, key: u64, threads: usize) -> usize {
    let (barrier, before) = (Barrier::new(threads), COMPUTED.load(Ordering::SeqCst));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                barrier.wait();
                call(key);
            });
        }
    });
    COMPUTED.load(Ordering::SeqCst) - before
}

/// What a call does whose key's first computation has panicked.
fn after_panic(call: &Call) -> &'static str {
    PANICS.store(true, Ordering::SeqCst);
    let panicked = catch_unwind(AssertUnwindSafe(|| call(PANICKING))).is_err();
    PANICS.store(false, Ordering::SeqCst);
    match (panicked, catch_unwind(AssertUnwindSafe(|| call(PANICKING)))) {
        (_, Ok(_)) => "computes",
        (_, Err(_)) => "panics",
    }
}

/// The median of what a hit takes.
fn hit(call: &Call) -> Duration {
    const ROUNDS: usize = 41;
    const CALLS: u32 = 2_000;
    call(HIT);
    let round = |_| {
        let begun = Instant::now();
        for _ in 0..CALLS {
            std::hint::black_box(call(std::hint::black_box(HIT)));
        }
        begun.elapsed() / CALLS
    };
    let mut rounds: Vec<Duration> = (0..ROUNDS).map(round).collect();
    rounds.sort();
    rounds[ROUNDS / 2]
}

fn shown(time: Duration) -> String {
    match time.as_nanos() {
        nanos @ 0..1_000 => format!("{nanos} ns"),
        nanos => format!("{:.1} µs", nanos as f64 / 1e3),
    }
}
