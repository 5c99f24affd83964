//! Measures the client and memoized functions against a bare socket loop and
//! other clients, on a memcached that the benchmark starts itself.
//!
//! `cargo bench -p memocached --bench client` takes about a minute and a half;
//! words after ` -- ` select rows by name. With ` -- calls` it counts system
//! calls instead, using `strace`; with ` -- limits` it asks under load with several time-outs.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot continue should panic")]

#[path = "client/blocking.rs"]
mod blocking;
#[path = "client/calls.rs"]
mod calls;
#[path = "client/changes.rs"]
mod changes;
#[path = "client/cores.rs"]
mod cores;
#[path = "client/functions.rs"]
mod functions;
#[path = "client/limits.rs"]
mod limits;
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

use blocking::{Blocking, Contender};
use cores::Cores;
use memcached::Memcached;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["limits"] => limits::measure(),
        ["calls"] => calls::count(&Memcached::start().address()),
        ["gets", contender, address, times] => {
            blocking::gets(contender.parse().unwrap(), address, times.parse().unwrap())
        }
        ["near", contender, times] => near::calls(contender.parse().unwrap(), times.parse().unwrap()),
        ["task", contender, address, times] => tasks::gets(contender, address, times.parse().unwrap()),
        ["lists", contender, address, times] => {
            blocking::lists(contender.parse().unwrap(), address, times.parse().unwrap())
        }
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
    rows.extend(changes::rows(&server));
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

/// Stores a hundred values of each size and returns their keys.
fn fill(address: &str) -> Keys {
    let mut set = Blocking::new(address).setter(Contender::Raw);
    let mut keys = |size: usize| {
        let keys: Vec<String> = (0..100).map(|number| format!("bench:{size}:{number}")).collect();
        keys.iter().for_each(|key| set(key, &vec![b'x'; size]));
        keys
    };
    Keys { small: keys(100), middle: keys(1024), large: keys(16 * 1024) }
}

/// The keys of values of 100 B, 1 KiB and 16 KiB.
struct Keys {
    small: Vec<String>,
    middle: Vec<String>,
    large: Vec<String>,
}
