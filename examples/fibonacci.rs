//! Computes two Fibonacci numbers twice each and shows where they came from:
//! the first round misses the cache and computes, the second one hits.
//!
//! ```text
//! cargo run --example fibonacci
//! MEMCACHED_SERVERS=127.0.0.1:11211 cargo run --example fibonacci
//! OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 cargo run --example fibonacci
//! ```

use std::error::Error;

use memocached::memcached;
use tracing::info_span;

#[path = "support/telemetry.rs"]
mod telemetry;
#[path = "support/tree.rs"]
mod tree;

/// Computes the slow way on purpose. The series begins 1, 2, 3, 5.
#[memcached(key = "fib:<n>", ttl = 300, name = "nth_fibonacci", entry = nth_fibonacci_entry)]
fn nth_fibonacci(n: u64) -> u64 {
    fn fib(n: u64) -> u64 {
        if n < 2 { n + 1 } else { fib(n - 1) + fib(n - 2) }
    }
    fib(n)
}

/// Computes a number in two rounds. A macro, because a span's name must be
/// known at compile time.
macro_rules! calculate {
    ($n:literal) => {
        info_span!(concat!("CalculateFibonacci-", $n)).in_scope(|| {
            info_span!("Round-1").in_scope(|| println!("Fibonacci {} ==> {}", $n, nth_fibonacci($n)));
            info_span!("Round-2").in_scope(|| println!("Fibonacci {} ==> {}", $n, nth_fibonacci($n)));
        })
    };
}

fn main() -> Result<(), Box<dyn Error>> {
    let telemetry = telemetry::Telemetry::install("off,memocached=debug,fibonacci=info")?;
    info_span!("MemcacheRustUsage").in_scope(|| {
        calculate!(30);
        calculate!(33);
        forget().unwrap_or_else(|error| println!("The keys are left behind: {error}"));
    });
    println!("\n{}", memocached::report());
    telemetry.flush()
}

/// Deletes both keys, so that the next run starts with misses again.
fn forget() -> Result<(), memocached::Error> {
    nth_fibonacci_entry(30).delete()?;
    nth_fibonacci_entry(33).delete()?;
    Ok(())
}
