//! Three servers share the keys, and one of them is killed while you watch: its keys are
//! computed, the others' are hits, and it comes back by itself.
//!
//! ```text
//! cargo run --example cluster
//! ```
//!
//! It starts the servers itself, which takes `memcached` on the PATH.

#[path = "support/server.rs"]
mod server;

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use memocached::{Cache, Client, memcached, observed};
use server::Server;

const KEYS: u64 = 300;

#[memcached(key = "square:<n>", ttl = 60, cache = cache, skip(cache))]
fn square(cache: &Cache, n: u64) -> u64 {
    n * n
}

/// Calls the function with all keys, and shows what the cache did.
fn round(what: &str, cache: &Cache) {
    let begun = Instant::now();
    let (_, seen) = observed(|| (0..KEYS).for_each(|n| assert_eq!(square(cache, n), n * n)));
    let hits = seen.calls.iter().filter(|call| call.outcome.is_hit()).count();
    let nodes = Client::of(cache).nodes();
    let up = nodes.iter().filter(|node| node.is_up).count();
    let time = begun.elapsed().as_secs_f64() * 1e3;
    println!(
        "{what:<24} {hits:>4} hits {:>4} computed   {up} of {} up   {time:>6.1} ms",
        KEYS as usize - hits,
        nodes.len()
    );
}

fn run(folder: &Path) -> Result<(), Box<dyn Error>> {
    let sockets = ["one", "two", "three"].map(|name| folder.join(name));
    let mut servers = Vec::new();
    for socket in &sockets {
        servers.push(Server::start(socket.clone())?);
    }
    let listed = sockets.each_ref().map(|socket| socket.display().to_string()).join(",");
    let cache = Cache::builder().servers(listed).retry_after(Duration::from_secs(1)).build()?;

    round("all are empty", &cache);
    round("all have their keys", &cache);
    drop(servers.pop());
    round("one has been killed", &cache);
    round("it is left alone", &cache);
    servers.push(Server::start(sockets[2].clone())?);
    let deadline = Instant::now() + Duration::from_secs(10);
    while Client::of(&cache).nodes().iter().any(|node| !node.is_up) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    round("it is back, and empty", &cache);
    round("all have their keys", &cache);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    server::in_folder("cluster", run)
}
