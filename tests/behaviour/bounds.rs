//! What a cache may cost: time, requests, memory, descriptors.

use std::cell::Cell;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fork::{Fork, fork, waitpid};
use memocached::{AsyncClient, Cache, Client, memcached};

use crate::support::memcached::{Memcached, until};
use crate::support::process::{again, output, role};
use crate::support::proxy::{Fault, Form, Pace, Proxy, Then};

#[memcached(key = "bounds:<n>", ttl = 60, cache = cache, skip(cache, computed))]
fn triple(cache: &Cache, n: u64, computed: &Cell<u64>) -> u64 {
    computed.set(computed.get() + 1);
    n * 3
}

#[memcached(key = "bounds:<n>", ttl = 60, cache = cache, skip(cache))]
async fn triple_awaited(cache: &Cache, n: u64) -> u64 {
    n * 3
}

/// One test in a process of its own, in which it plays `role`.
fn child(test: &str, role: &str, address: &str) -> std::process::Command {
    let mut command = again(&format!("behaviour::bounds::{test}"), role);
    command.env("BOUNDS_SERVERS", address);
    command
}

/// The servers that this process has been told of by its parent.
fn servers() -> String {
    std::env::var("BOUNDS_SERVERS").expect("set by the parent")
}

#[test]
fn no_server_is_asked_before_the_first_call() {
    let server = Memcached::start();
    let before = server.stat("total_connections");
    let servers = format!("{} 127.0.0.1:1 192.0.2.1 no-such-host.invalid", server.address());
    let began = Instant::now();
    let _caches: Vec<_> = (0..20).map(|_| Cache::builder().servers(&servers).build().unwrap()).collect();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?} for twenty", began.elapsed());
    // The question's own.
    assert_eq!(server.stat("total_connections"), before + 1);
}

#[test]
fn each_of_many_callers_waits_once_for_a_server_that_stops() {
    const LIMIT: Duration = Duration::from_millis(500);
    let server = Memcached::start();
    let cache = Cache::builder().servers(server.address()).timeout(LIMIT).retry_after(Duration::from_millis(100));
    let cache = cache.build().unwrap();
    assert_eq!(triple(&cache, 1, &Cell::new(0)), 3);
    server.freeze();
    let slow = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..32 {
            let (cache, slow) = (&cache, &slow);
            scope.spawn(move || {
                for n in 0..200 {
                    let began = Instant::now();
                    assert_eq!(triple(cache, thread * n, &Cell::new(0)), thread * n * 3);
                    slow.fetch_add(usize::from(began.elapsed() > LIMIT / 2), Ordering::Relaxed);
                }
            });
        }
    });
    // The callers that were waiting when the third gave up, and a machine's
    // hiccups.
    assert!(slow.load(Ordering::Relaxed) <= 32 + 32, "{slow:?} of 6400 calls were slow");
    server.thaw();
    let healed = Instant::now();
    until("hits again", || {
        let computed = Cell::new(0);
        assert_eq!(triple(&cache, 1, &computed), 3);
        (computed.get() == 0).then_some(())
    });
    assert!(healed.elapsed() < Duration::from_secs(5), "{:?} until hits", healed.elapsed());
}

#[test]
fn a_write_is_sent_once_and_little_is_read_twice() {
    const CALLS: u64 = 2_000;
    let server = Memcached::start();
    let proxy = Proxy::before(server.port);
    // Whatever breaks, the server has heard it.
    proxy.follow(|reply| {
        let fault = Fault { form: Form::Nothing, pace: Pace::AtOnce, then: Then::Reset };
        (reply % 100 == 99).then_some(fault)
    });
    let client = Client::builder().servers(proxy.address()).timeout(Duration::from_secs(20)).build().unwrap();
    let mut failed = 0;
    let minute = Duration::from_secs(60);
    for n in 0..CALLS {
        failed += u64::from(client.set(format!("{n}"), &n, minute).is_err());
    }
    assert!(failed > CALLS / 200, "{failed} writes failed");
    assert_eq!(server.stat("cmd_set"), CALLS, "each write is heard once");
    failed = 0;
    for n in 0..CALLS {
        failed += u64::from(client.get::<u64>(format!("{n}")).is_err());
    }
    let heard = server.stat("cmd_get");
    assert!(heard >= CALLS - failed && heard <= CALLS * 105 / 100, "{heard} reads were heard, {failed} failed");
}

/// Of this process, in bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("a Linux");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

#[test]
#[cfg(target_os = "linux")]
fn many_keys_take_no_more_memory_than_the_cache_may() {
    const MIB: u64 = 1 << 20;
    let test = "many_keys_take_no_more_memory_than_the_cache_may";
    if role().is_some() {
        let call = |cache: &Cache, keys: std::ops::Range<u64>| {
            keys.for_each(|n| assert_eq!(triple(cache, n, &Cell::new(0)), n * 3));
        };
        let embedded = Cache::builder().near_size(4 * MIB).build().unwrap();
        // It is full then.
        call(&embedded, 0..100_000);
        let before = resident();
        call(&embedded, 100_000..400_000);
        // Its tables are made anew now and then.
        assert!(resident() <= before + 2 * MIB, "{before} bytes before, {} after", resident());
        let remote = Cache::builder().servers(servers()).timeout(Duration::from_secs(20)).build().unwrap();
        call(&remote, 0..1_000);
        let before = resident();
        call(&remote, 1_000..20_000);
        assert!(resident() <= before + MIB, "{before} bytes before, {} after", resident());
        let absent = Cache::builder().servers("127.0.0.1:1").build().unwrap();
        call(&absent, 0..1_000);
        let before = resident();
        call(&absent, 1_000..300_000);
        assert!(resident() <= before + MIB, "{before} bytes before, {} after", resident());
        return;
    }
    let server = Memcached::start();
    output(&mut child(test, "child", &server.address()));
}

#[tokio::test]
async fn a_runtime_of_one_thread_goes_on_while_a_server_says_nothing() {
    const LIMIT: Duration = Duration::from_secs(1);
    let server = Memcached::start();
    let cache = Cache::builder().servers(server.address()).timeout(LIMIT).connect_timeout(LIMIT).build().unwrap();
    assert_eq!(triple_awaited(&cache, 1).await, 3);
    server.freeze();
    let heart = tokio::spawn(async {
        let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
        for _ in 0..400 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        longest
    });
    let callers: Vec<_> = (0..64)
        .map(|n| {
            let cache = cache.clone();
            tokio::spawn(async move { assert_eq!(triple_awaited(&cache, n % 8).await, n % 8 * 3) })
        })
        .collect();
    let longest = heart.await.unwrap();
    for caller in callers {
        caller.await.unwrap();
    }
    // A caller that blocked the thread would have done so for longer.
    assert!(longest < LIMIT / 2, "nothing happened for {longest:?}");
}

/// How many files this process has open.
fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[test]
#[cfg(target_os = "linux")]
fn callers_beyond_the_descriptors_that_a_process_may_have_compute() {
    let test = "callers_beyond_the_descriptors_that_a_process_may_have_compute";
    if role().is_some() {
        let before = open_files();
        let cache = Cache::builder().servers(servers()).pool_size(256).timeout(Duration::from_secs(20));
        let cache = cache.build().unwrap();
        let (hits, gate) = (AtomicUsize::new(0), std::sync::Barrier::new(256));
        std::thread::scope(|scope| {
            for _ in 0..256 {
                scope.spawn(|| {
                    gate.wait();
                    for n in 0..40 {
                        let computed = Cell::new(0);
                        assert_eq!(triple(&cache, n, &computed), n * 3);
                        hits.fetch_add(usize::from(computed.get() == 0), Ordering::Relaxed);
                    }
                });
            }
        });
        assert!(Client::of(&cache).nodes().iter().all(|node| node.is_up), "the server has done nothing wrong");
        assert!(hits.load(Ordering::Relaxed) > 256 * 40 / 4, "{hits:?} hits");
        drop(cache);
        assert_eq!(open_files(), before);
        return;
    }
    let server = Memcached::start_with(&["-c", "4096"]);
    let mut limited = std::process::Command::new("sh");
    let child = child(test, "child", &server.address());
    limited.args(["-c", "ulimit -n 64; exec \"$@\"", "sh"]).arg(child.get_program()).args(child.get_args());
    for (name, value) in child.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    output(&mut limited);
}

#[test]
#[cfg(target_os = "linux")]
fn a_process_that_can_have_no_more_threads_asks_its_servers_one_by_one() {
    const LIMIT: Duration = Duration::from_secs(1);
    let test = "a_process_that_can_have_no_more_threads_asks_its_servers_one_by_one";
    let keys: Vec<String> = (0..90).map(|n| format!("key:{n}")).collect();
    let items = || keys.iter().zip(0_u64..).collect::<Vec<_>>();
    if role().is_some() {
        assert!(std::thread::Builder::new().spawn(|| ()).is_err());
        let client = Client::builder().servers(servers()).timeout(LIMIT).build().unwrap();
        let minute = Duration::from_secs(60);
        assert!(client.set_many(items(), minute).is_empty());
        assert_eq!(client.get_many::<u64>(&keys).values.len(), keys.len());
        println!("the parent may stop one of the servers");
        std::io::stdin().read_line(&mut String::new()).unwrap();
        let found = client.get_many::<u64>(&keys);
        assert!(!found.failed.is_empty() && found.values.len() > keys.len() / 3, "{found:?}");
        assert_eq!(found.values.len() + found.failed.len(), keys.len());
        return;
    }
    let cluster = [Memcached::start(), Memcached::start(), Memcached::start()];
    let mut child = child(test, "child", &cluster.each_ref().map(Memcached::address).join(" "));
    // So large a stack has room nowhere.
    child.env("RUST_MIN_STACK", (1_u64 << 60).to_string());
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut printed = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(printed.any(|line| line.contains("may stop")), "{:?}", child.wait());
    cluster[0].freeze();
    drop(child.stdin.take());
    let rest: Vec<String> = printed.collect();
    cluster[0].thaw();
    assert!(child.wait().unwrap().success(), "{rest:?}");
}

/// Calls whose values another process on the same connection would disturb.
fn use_in_turn(client: &Client, of: u64) {
    for n in 0..3_000 {
        let key = format!("process:{of}:{}", n % 50);
        let value = of * 1_000 + n;
        client.set(&key, &value, Duration::from_secs(60)).unwrap();
        assert_eq!(client.get::<u64>(&key).unwrap(), Some(value));
    }
}

#[test]
#[cfg(unix)]
fn a_process_that_has_forked_shares_no_connection_with_its_child() {
    let test = "a_process_that_has_forked_shares_no_connection_with_its_child";
    if role().is_some() {
        // One connection each: of more, parent and child might not hit on the
        // same.
        let cache = Cache::builder().servers(servers()).pool_size(1).timeout(Duration::from_secs(20)).build().unwrap();
        let client = Client::of(&cache);
        use_in_turn(&client, 1);
        match fork().unwrap() {
            Fork::Child => {
                // A panic would end the test in the child's copy of the parent.
                let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    use_in_turn(&client, 2);
                    client.quit();
                }));
                std::process::exit(i32::from(ended.is_err()));
            }
            Fork::Parent(child) => {
                use_in_turn(&client, 1);
                assert_eq!(waitpid(child).unwrap(), 0, "the child has failed");
                use_in_turn(&client, 1);
            }
        }
        return;
    }
    let server = Memcached::start();
    output(&mut child(test, "child", &server.address()));
    // Both processes' own, and this question's.
    assert!(server.stat("total_connections") <= 2 + 3, "{}", server.stat("total_connections"));
}

#[test]
#[cfg(unix)]
fn a_child_that_ends_leaves_the_async_connections_of_its_parent_alone() {
    let test = "a_child_that_ends_leaves_the_async_connections_of_its_parent_alone";
    if role().is_none() {
        let server = Memcached::start();
        output(&mut child(test, "child", &server.address()));
        return;
    }
    let cache = Cache::builder().servers(servers()).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = AsyncClient::of(&cache);
    runtime.block_on(client.set("key", "before", Duration::from_secs(60))).unwrap();
    match fork().unwrap() {
        Fork::Child => {
            Client::of(&cache).quit();
            std::process::exit(0);
        }
        Fork::Parent(child) => assert_eq!(waitpid(child).unwrap(), 0, "the child has failed"),
    }
    for _ in 0..3 {
        runtime.block_on(client.set("key", "after", Duration::from_secs(60))).unwrap();
    }
}

#[memcached(key = "bounds:slow:<n>", ttl = 60, cache = cache, skip(cache, body))]
fn slow(cache: &Cache, n: u64, body: impl FnOnce() -> u64) -> u64 {
    body()
}

#[memcached(key = "bounds:started:<n>", ttl = 60, cache = cache, skip(cache))]
fn started(cache: &Cache, n: u64) -> u64 {
    n
}

#[test]
#[cfg(unix)]
fn what_is_computed_after_a_fork_is_waited_for() {
    let test = "what_is_computed_after_a_fork_is_waited_for";
    if role().is_none() {
        let server = Memcached::start();
        output(&mut child(test, "child", &server.address()));
        return;
    }
    let cache = Cache::builder().servers(servers()).timeout(Duration::from_secs(2)).build().unwrap();
    let client = Client::of(&cache);
    // So that the parent's threads are there, and nothing is known of the other.
    assert_eq!(started(&cache, 1), 1);
    match fork().unwrap() {
        Fork::Child => {
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let body = || {
                    client.set("begun", &1_u64, Duration::from_secs(60)).unwrap();
                    // Longer than a holder is waited for that shows no life.
                    std::thread::sleep(Duration::from_millis(2_500));
                    2
                };
                assert_eq!(slow(&cache, 2, body), 2);
            }));
            std::process::exit(i32::from(ended.is_err()));
        }
        Fork::Parent(child) => {
            until("the child to compute", || client.get::<u64>("begun").unwrap());
            assert_eq!(slow(&cache, 2, || 3), 2);
            assert_eq!(waitpid(child).unwrap(), 0, "the child has failed");
        }
    }
}

#[test]
fn a_process_ends_at_once_whatever_is_under_way() {
    let test = "a_process_ends_at_once_whatever_is_under_way";
    if let Some(role) = role() {
        let cache = Cache::builder().servers(servers()).timeout(Duration::from_secs(60));
        let cache = cache.connect_timeout(Duration::from_secs(60)).build().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        for n in 0..16 {
            let (blocking, awaiting) = (cache.clone(), cache.clone());
            std::thread::spawn(move || triple(&blocking, n, &Cell::new(0)));
            runtime.spawn(async move { triple_awaited(&awaiting, n).await });
        }
        std::thread::sleep(Duration::from_millis(100));
        println!("now");
        if role == "dropping" {
            drop(runtime);
            drop(cache);
        }
        std::process::exit(0);
    }
    let server = Memcached::start();
    server.freeze();
    for role in ["exiting", "dropping"] {
        let mut process = child(test, role, &server.address()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.ends_with("now")));
        // The output has ended, and so has the process.
        let told = Instant::now();
        assert!(process.wait().unwrap().success());
        assert!(told.elapsed() < Duration::from_secs(5), "{role}: {:?}", told.elapsed());
    }
}
