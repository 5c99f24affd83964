//! How few exchanges a batch takes.

use std::process::Command;
use std::time::Duration;

use memocached::{Cache, memcached};

use crate::support::folder::Folder;
use crate::support::memcached::{Memcached, until};
use crate::support::process::{again, output, role, under};
use crate::support::proxy::Proxy;
use crate::support::tap::Tap;
use crate::support::tools::Tool;

const BATCHES: usize = 100;
const FROM: &str = "from here on";
const TO: &str = "up to here";

#[memcached(key = "calls:<n>", each(n in numbers), ttl = 600)]
fn texts(numbers: &[u64]) -> Vec<String> {
    numbers.iter().map(u64::to_string).collect()
}

fn call() {
    let numbers: Vec<u64> = (0..100).collect();
    let batch = || assert_eq!(texts(&numbers)[99], "99");
    // Opens the connection and fills the server, and after that the allocator has all it needs.
    (0..20).for_each(|_| batch());
    println!("{FROM}");
    (0..BATCHES).for_each(|_| batch());
    println!("{TO}");
}

/// The names of the system calls between the two lines, by the thread that writes them.
fn system_calls(servers: &str) -> Vec<String> {
    let folder = Folder::new();
    let trace = folder.path("trace");
    let child = again("behaviour::batch_calls::a_batch_of_a_hundred_hits_is_one_write_and_one_read", "child");
    let mut strace = Command::new("strace");
    // A file for each thread.
    strace.args(["-ff", "-o"]).arg(&trace);
    let mut strace = under(strace, &child);
    strace.env("MEMCACHED_TIMEOUT", "10s").env("MEMCACHED_CONNECT_TIMEOUT", "10s");
    output(strace.env("MEMCACHED_SERVERS", servers));
    let files = std::fs::read_dir(folder.path("")).unwrap();
    let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let texts: Vec<String> = texts.filter(|text| text.contains(FROM)).collect();
    let [text] = &texts[..] else { panic!("{} threads have written", texts.len()) };
    let lines = text.lines().skip_while(|line| !line.contains(FROM)).skip(1);
    let names = lines.take_while(|line| !line.contains(TO)).filter_map(|line| line.split_once('('));
    let is_memory = |name: &str| ["brk", "madvise", "mmap", "mprotect", "mremap", "munmap"].contains(&name);
    names.map(|(name, _)| name.to_owned()).filter(|name| !is_memory(name)).collect()
}

#[test]
fn a_batch_of_a_hundred_hits_is_one_write_and_one_read() {
    if role().is_some() {
        return call();
    }
    if !Tool::Strace.is_here() {
        return;
    }
    let server = Memcached::start();
    // It answers in one piece what came in one; memcached in as many as it likes.
    let proxy = Proxy::before(server.port);
    let calls = system_calls(&proxy.address());
    let writes = calls.iter().filter(|name| *name == "sendto").count();
    assert_eq!(writes, BATCHES, "{calls:?}");
    // A busy machine adds some: the kernel delivers a piece in two, or a call that is late
    // sets another time limit. It does not to all.
    let are_two = calls.windows(3).filter(|calls| *calls == ["sendto", "recvfrom", "sendto"]).count();
    println!("{} system calls for {BATCHES} batches; two for {are_two} of them", calls.len());
    assert!(are_two > 0, "{calls:?}");
}

#[memcached(key = "renewed:<n>", each(n in numbers), ttl = 600, cache = cache, skip(cache, body))]
fn held(cache: &Cache, numbers: &[u64], body: impl Fn()) -> Vec<u64> {
    body();
    numbers.to_vec()
}

/// How many leases each of the pieces renews that does.
fn renewals(tap: &Tap) -> Vec<usize> {
    let is_renewal = |line: &&str| line.starts_with("ms renewed:") && line.split(' ').nth(2) == Some("0");
    let count = |piece: Vec<u8>| String::from_utf8_lossy(&piece).lines().filter(is_renewal).count();
    tap.pieces().into_iter().map(count).filter(|count| *count > 0).collect()
}

/// On a busy machine an exchange takes milliseconds, and a lease that is renewed late is
/// taken over.
#[test]
fn the_leases_of_a_batch_are_renewed_together() {
    let server = Memcached::start();
    let tap = Tap::before(server.port);
    let builder = Cache::builder().servers(format!("127.0.0.1:{}", tap.port));
    let cache = builder.timeout(Duration::from_secs(10)).build().unwrap();
    let numbers: Vec<u64> = (0..50).collect();
    held(&cache, &numbers, || {
        until("all renewals", || (renewals(&tap).iter().sum::<usize>() >= 50).then_some(()));
    });
    let renewals = renewals(&tap);
    // What becomes due a moment later than the others is renewed after them.
    assert!(renewals.len() <= 10, "{renewals:?}");
}
