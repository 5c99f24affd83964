//! A program in Python reads what a function here returned, and this function returns
//! what Python stored.
//!
//! ```text
//! pip install pymemcache
//! cargo run --example shared_with_python
//! ```
//!
//! It starts a server for both, which takes `memcached` on the PATH.
//! `shared_with_python.py` is the other side.

#[path = "support/server.rs"]
mod server;

use std::error::Error;
use std::path::Path;
use std::process::Command;

use memocached::{Cache, Client, memcached, observed};
use serde::{Deserialize, Serialize};
use server::Server;

#[derive(Debug, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
    languages: Vec<String>,
}

/// JSON without an envelope, as other languages have it.
#[memcached(key = "user:<team>:<id>", ttl = "5m", codec = bare_json, cache = cache, skip(cache))]
fn user(cache: &Cache, team: &str, id: u64) -> User {
    User { id, name: format!("user {id}"), languages: vec!["Rust".into()] }
}

/// Calls the function, and shows what the cache did.
fn show(cache: &Cache, team: &str, id: u64) {
    let (user, seen) = observed(|| user(cache, team, id));
    let outcome = seen.call().map(|call| call.outcome.to_string()).unwrap_or_default();
    println!("Rust    {outcome}: {user:?}");
}

fn run(folder: &Path) -> Result<(), Box<dyn Error>> {
    let server = Server::start(folder.join("socket"))?;
    let cache = Cache::builder().servers(server.socket.display().to_string()).build()?;
    show(&cache, "r&d", 7);

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shared_with_python.py");
    let status = Command::new("python3").arg(script).arg(&server.socket).status()?;
    if !status.success() {
        return Err("the program in Python failed: has it pymemcache? (pip install pymemcache)".into());
    }

    show(&cache, "r&d", 8);
    let visits: Option<u64> = Client::of(&cache).get("visits")?;
    println!("Rust    counts {visits:?} visits");
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    server::in_folder("python", run)
}
