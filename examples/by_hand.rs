//! What the attribute stands for: one function with it, and one with its steps written
//! by hand. They share their entries, so each finds what the other stored.
//!
//! ```text
//! cargo run --example by_hand
//! ```
//!
//! By hand, this is only the part that is easy to see. It does not wait while another
//! process computes, and a value of before a change may be stored after it.

use std::error::Error;
use std::time::Duration;

use memocached::{Cache, Client, memcached, observed};
use tracing::info_span;

#[memcached(key = "fib:<n>", ttl = 300, codec = text, cache = cache, skip(cache))]
fn fibonacci(cache: &Cache, n: u64) -> String {
    compute(n).to_string()
}

fn fibonacci_by_hand(client: &Client, n: u64) -> String {
    let _call = info_span!("fibonacci", cache.hit = tracing::field::Empty).entered();
    // The key: the template, with the argument's own text.
    let key = format!("fib:{n}");
    // The lookup. A cache that fails is not a reason to fail.
    if let Ok(Some(found)) = client.get::<String>(&key) {
        tracing::Span::current().record("cache.hit", true);
        return found;
    }
    tracing::Span::current().record("cache.hit", false);
    // The computation, in a span of its own.
    let computed = info_span!("compute").in_scope(|| compute(n).to_string());
    // The value is stored for the next caller, whoever that is.
    let _ = client.set(&key, computed.as_str(), Duration::from_secs(300));
    computed
}

/// Takes long for large numbers.
fn compute(n: u64) -> u64 {
    if n < 2 { n } else { compute(n - 1) + compute(n - 2) }
}

fn main() -> Result<(), Box<dyn Error>> {
    let cache = Cache::from_env()?;
    let client = Client::of(&cache);
    let called = |n| {
        let (value, seen) = observed(|| fibonacci(&cache, n));
        let outcome = seen.call().map(|call| call.outcome.to_string()).unwrap_or_default();
        println!("with the attribute: {n} ==> {value} ({outcome})");
    };
    let by_hand = |n| println!("by hand:            {n} ==> {}", fibonacci_by_hand(&client, n));

    called(20);
    by_hand(20); // finds what the attribute stored
    by_hand(25);
    called(25); // finds what was stored by hand
    client.delete("fib:20")?;
    client.delete("fib:25")?;
    Ok(())
}
