//! Waiting for another process's computation costs about what computing would
//! have cost, whatever that process and the servers do.
//!
//! Two caches on one server are as two processes to each other.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use memocached::{Cache, Client, Error, memcached};

use crate::support::lag::Lag;
use crate::support::memcached::{Memcached, until};
use crate::support::proxy::{Fault, Form, Pace, Proxy, Then};

const MS: Duration = Duration::from_millis(1);
const TIMEOUT: Duration = Duration::from_millis(100);

/// What a call may take whose body takes so long: it waits, then computes.
fn most(body: Duration) -> Duration {
    body * 5 / 2 + TIMEOUT
}

macro_rules! sites {
    ($($site:ident),*) => {$(
        /// A site of its own for each body: what it usually takes is what callers
        /// wait for.
        #[memcached(key = "orphan:<n>", cache = cache, skip(cache, body))]
        fn $site(cache: &Cache, n: u32, body: &dyn Fn()) -> u32 {
            body();
            n
        }
    )*};
}

type Orphan = fn(&Cache, u32, &dyn Fn()) -> u32;

/// The winner of this lease never learned of it.
#[test]
fn a_lease_that_nobody_holds_costs_no_more_than_computing() {
    sites!(micros, short, long, longest);
    let server = Memcached::start();
    let (cache, lag) = (server.cache(), Lag::watch());
    let ask = |orphan: Orphan, body: Duration, keys: std::ops::Range<u32>| {
        let computed = AtomicU32::new(0);
        let compute = || {
            computed.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(body);
        };
        assert_eq!(orphan(&cache, keys.end, &compute), keys.end);
        for n in keys.clone() {
            let won = server.command(&format!("mg orphan:{n} N30 c t"));
            assert!(won.contains('W'), "{won}");
            let begun = Instant::now();
            assert_eq!(orphan(&cache, n, &compute), n);
            lag.check("a lease without a holder", begun.elapsed(), most(body));
            // It has taken the lease over, so the value is stored.
            assert_eq!(orphan(&cache, n, &compute), n);
        }
        // A token is back for each, since no other caller lands.
        assert_eq!(computed.load(Ordering::Relaxed) as usize, 1 + keys.len());
    };
    ask(micros, Duration::from_micros(5), 0..20);
    ask(short, 30 * MS, 100..110);
    ask(long, 300 * MS, 200..202);
    ask(longest, 2_000 * MS, 300..301);
}

/// Before the usual time is known, the silence of its holder tells that a lease has none.
#[test]
fn a_lease_without_a_holder_is_taken_over_even_before_a_body_has_ended() {
    sites!(unknown);
    let server = Memcached::start();
    let (cache, lag) = (server.cache(), Lag::watch());
    assert!(server.command("mg orphan:1 N30 c t").contains('W'));
    let begun = Instant::now();
    assert_eq!(unknown(&cache, 1, &|| std::thread::sleep(30 * MS)), 1);
    lag.check("in the dark", begun.elapsed(), Duration::from_secs(1) + most(30 * MS));
    assert!(server.stored("orphan:1").is_some_and(|value| !value.is_empty()));
}

#[test]
fn a_server_that_numbers_no_items_delays_nothing_and_stores_in_the_end() {
    static COMPUTED: AtomicU32 = AtomicU32::new(0);

    #[memcached(key = "numberless:<n>", cache = cache, skip(cache))]
    fn square(cache: &Cache, n: u32) -> u32 {
        COMPUTED.fetch_add(1, Ordering::Relaxed);
        n * n
    }

    let server = Memcached::start_with(&["-C"]);
    let (cache, lag) = (server.cache(), Lag::watch());
    let begun = Instant::now();
    for n in 0..50 {
        assert_eq!(square(&cache, n), n * n);
    }
    lag.check("fifty computations", begun.elapsed(), Duration::from_secs(1));
    let before = COMPUTED.load(Ordering::Relaxed);
    (1..50).for_each(|n| assert_eq!(square(&cache, n), n * n));
    assert_eq!(COMPUTED.load(Ordering::Relaxed), before, "all but the first are stored");
}

/// Stops the servers for 150 ms every 500 ms.
fn pause(servers: &[Memcached], is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        servers.iter().for_each(Memcached::freeze);
        std::thread::sleep(150 * MS);
        servers.iter().for_each(Memcached::thaw);
        std::thread::sleep(350 * MS);
    }
}

#[test]
fn functions_of_microseconds_are_never_slow_though_their_servers_pause() {
    #[memcached(key = "paused:<n>", cache = cache, skip(cache))]
    fn short(cache: &Cache, n: u32) -> u32 {
        n + 1
    }

    let servers: Vec<Memcached> = (0..3).map(|_| Memcached::start()).collect();
    let addresses: Vec<String> = servers.iter().map(Memcached::address).collect();
    let cache = || Cache::builder().servers(addresses.join(",")).timeout(TIMEOUT).build().unwrap();
    let (caches, is_over, lag) = ([cache(), cache()], AtomicBool::new(false), Lag::watch());
    let call = |cache: &Cache| {
        let (mut slowest, mut n) = (Duration::ZERO, 0);
        while !is_over.load(Ordering::Relaxed) {
            let begun = Instant::now();
            // Two threads of each process, and both processes, ask for the same.
            assert_eq!(short(cache, n), n + 1);
            slowest = slowest.max(begun.elapsed());
            n += 1;
            std::thread::sleep(MS);
        }
        slowest
    };
    std::thread::scope(|scope| {
        scope.spawn(|| pause(&servers, &is_over));
        let callers: Vec<_> = caches.iter().cycle().take(4).map(|cache| scope.spawn(|| call(cache))).collect();
        std::thread::sleep(Duration::from_secs(6));
        is_over.store(true, Ordering::Relaxed);
        for caller in callers {
            lag.check("while servers pause", caller.join().unwrap(), 250 * MS);
        }
    });
}

#[memcached(key = "polled:<n>", cache = cache, skip(cache, body), on_error = propagate)]
fn polled(cache: &Cache, n: u32, body: Duration) -> Result<u32, Error> {
    std::thread::sleep(body);
    Ok(n)
}

/// Each reply takes 25 ms, and all replies of one wait more than one call may
/// spend on the cache.
#[test]
fn a_caller_that_waits_long_for_another_process_has_no_error_and_blames_no_server() {
    let server = Memcached::start();
    let proxy = Proxy::before(server.port);
    proxy.inflict(Fault { form: Form::Whole, pace: Pace::Late(25 * MS), then: Then::GoOn }, 0);
    let slow = Cache::builder().servers(proxy.address()).timeout(4 * TIMEOUT).build().unwrap();
    let leader = server.cache();
    std::thread::scope(|scope| {
        let leads = scope.spawn(|| polled(&leader, 1, 3_000 * MS));
        until("the leader to win", || server.command("mg polled:1 c").starts_with("HD").then_some(()));
        let begun = Instant::now();
        assert_eq!(polled(&slow, 1, Duration::ZERO).unwrap(), 1);
        assert!(begun.elapsed() >= 2_000 * MS, "it has waited: {:?}", begun.elapsed());
        assert_eq!(leads.join().unwrap().unwrap(), 1);
    });
    let nodes = Client::of(&slow).nodes();
    assert!(nodes.iter().all(|node| node.is_up), "{nodes:?}");
    // Its own budget is as it was.
    assert_eq!(polled(&slow, 2, Duration::ZERO).unwrap(), 2);
}

#[memcached(key = "unanswered:<n>", cache = cache, skip(cache, body), on_error = propagate)]
fn unanswered(cache: &Cache, n: u32, body: Duration) -> Result<u32, Error> {
    std::thread::sleep(body);
    Ok(n)
}

#[test]
fn two_questions_without_an_answer_do_not_end_a_wait() {
    let server = Memcached::start();
    let proxy = Proxy::before(server.port);
    let late = Fault { form: Form::Whole, pace: Pace::Late(9 * TIMEOUT), then: Then::GoOn };
    let slow = Cache::builder().servers(proxy.address()).timeout(3 * TIMEOUT).build().unwrap();
    let leader = server.cache();
    // So that its connection is there, and its greeting is over.
    assert_eq!(Client::of(&slow).get::<u32>("nothing").unwrap(), None);
    proxy.follow(move |reply| [3, 5].contains(&reply).then_some(late));
    std::thread::scope(|scope| {
        let leads = scope.spawn(|| unanswered(&leader, 1, 2_500 * MS));
        until("the leader to win", || server.command("mg unanswered:1 c").starts_with("HD").then_some(()));
        assert_eq!(unanswered(&slow, 1, Duration::ZERO).unwrap(), 1);
        assert_eq!(leads.join().unwrap().unwrap(), 1);
    });
    assert!(proxy.accepted() > 1, "a question had no answer");
}

/// A future that is kept without being polled has its lease renewed, but not for
/// ever.
#[test]
fn a_holder_that_nobody_polls_gives_its_lease_back() {
    #[memcached(key = "forsaken:<n>", cache = &cache, skip(cache))]
    async fn forsaken(cache: Cache, n: u32) -> u32 {
        tokio::time::sleep(200 * MS).await;
        n
    }

    let server = Memcached::start();
    let cache = server.cache();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        assert_eq!(forsaken(cache.clone(), 1).await, 1);
        let mut kept = Box::pin(forsaken(cache.clone(), 2));
        tokio::select! {
            biased;
            _ = &mut kept => panic!("it takes longer"),
            () = tokio::time::sleep(10 * MS) => {}
        }
        assert!(server.command("mg forsaken:2 c").starts_with("HD"));
        let begun = Instant::now();
        until("the lease to be given back", || server.command("mg forsaken:2 c").starts_with("EN").then_some(()));
        // Less than the time after which a lease that is not renewed ends.
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        // No other caller has computed, and what this one computes is not stored.
        assert_eq!(kept.await, 2);
        assert_eq!(server.command("mg forsaken:2 c"), "EN");
    });
}

/// One that is polled keeps it, however long it takes compared with the last.
#[test]
fn a_holder_that_is_polled_keeps_its_lease() {
    #[memcached(key = "tended:<n>", cache = &cache, skip(cache, body))]
    async fn tended(cache: Cache, n: u32, body: Duration) -> u32 {
        tokio::time::sleep(body).await;
        n
    }

    let server = Memcached::start();
    let cache = server.cache();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        assert_eq!(tended(cache.clone(), 1, 5 * MS).await, 1);
        assert_eq!(tended(cache.clone(), 2, Duration::from_secs(6)).await, 2);
    });
    assert!(server.stored("tended:2").is_some_and(|value| !value.is_empty()));
}

/// The `select!` of a task that goes on at once, and the task's runtime is busy.
#[test]
fn a_holder_whose_runtime_is_busy_is_not_taken_to_stand_still() {
    static COMPUTED: AtomicU32 = AtomicU32::new(0);

    #[memcached(key = "busy:<n>", cache = &cache, skip(cache))]
    async fn busy(cache: Cache, n: u32) -> u32 {
        COMPUTED.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(100 * MS).await;
        n
    }

    let cache = Cache::embedded();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let leader = runtime.spawn(busy(cache.clone(), 1));
    until("the leader", || (COMPUTED.load(Ordering::Relaxed) == 1).then_some(()));
    // Woken in between, the leader is polled when the worker is free again.
    runtime.spawn(async { std::thread::sleep(700 * MS) });
    let here = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(here.block_on(busy(cache.clone(), 1)), 1);
    assert_eq!(runtime.block_on(leader).unwrap(), 1);
    assert_eq!(COMPUTED.load(Ordering::Relaxed), 1);
}
