//! What the client and memoized functions cost, beside a bare socket loop and
//! other clients, on a real memcached that this starts itself.
//!
//! `cargo bench -p memocached --bench client` takes about a minute and a half;
//! words behind ` -- ` choose rows by name. With ` -- calls` it counts system
//! calls instead, with the help of `strace`.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on should say so")]

#[path = "client/blocking.rs"]
mod blocking;
#[path = "client/calls.rs"]
mod calls;
#[path = "client/cores.rs"]
mod cores;
#[path = "client/functions.rs"]
mod functions;
#[path = "../../tests/support/memcached.rs"]
#[allow(dead_code, reason = "shared with the behaviour tests")]
mod memcached;
#[path = "client/near.rs"]
mod near;
#[path = "client/raw.rs"]
mod raw;
#[path = "client/tasks.rs"]
mod tasks;
#[path = "client/timing.rs"]
mod timing;

use blocking::{Blocking, Who};
use cores::Cores;
use memcached::Memcached;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["calls"] => calls::count(&Memcached::start().address()),
        ["gets", who, address, times] => blocking::gets(who.parse().unwrap(), address, times.parse().unwrap()),
        ["near", who, times] => near::calls(who.parse().unwrap(), times.parse().unwrap()),
        ["task", who, address, times] => tasks::gets(who, address, times.parse().unwrap()),
        ["lists", who, address, times] => blocking::lists(who.parse().unwrap(), address, times.parse().unwrap()),
        _ => compare(&words),
    }
}

fn compare(wanted: &[String]) {
    let server = Memcached::start();
    let address = server.address();
    let keys = fill(&address);
    let cores = Cores::of(server.stat("pid"));
    let mut rows = blocking::rows(&address, &keys);
    rows.extend(tasks::rows(&address, &keys));
    rows.extend(functions::rows(&server));
    rows.extend(near::rows());
    timing::print_head();
    for row in rows {
        if wanted.is_empty() || wanted.iter().any(|word| row.name.contains(word.as_str())) {
            match row.callers {
                1 => cores.share_one(),
                _ => cores.share_all(),
            }
            row.measure();
        }
    }
}

/// Stores a hundred values of each size; the keys by size.
fn fill(address: &str) -> Keys {
    let mut set = Blocking::new(address).setter(Who::Raw);
    let mut keys = |size: usize| {
        let keys: Vec<String> = (0..100).map(|number| format!("bench:{size}:{number}")).collect();
        keys.iter().for_each(|key| set(key, &vec![b'x'; size]));
        keys
    };
    Keys { small: keys(100), middle: keys(1024), large: keys(16 * 1024) }
}

/// Keys of values of 100 B, 1 KiB and 16 KiB.
struct Keys {
    small: Vec<String>,
    middle: Vec<String>,
    large: Vec<String>,
}
