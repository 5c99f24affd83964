//! What a call has returned decides how long a real server keeps it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use memocached::{Cache, memcached, updates};

use crate::support::asking::{eventually, of};
use crate::support::memcached::Memcached;

/// A token that tells when it ends.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Token {
    text: String,
    ends: SystemTime,
}

impl Token {
    fn lasting(seconds: u64) -> Self {
        Token { text: "secret".into(), ends: SystemTime::now() + Duration::from_secs(seconds) }
    }

    fn time_left(&self) -> Option<Duration> {
        self.ends.duration_since(SystemTime::now()).ok()
    }
}

#[memcached(key = "token:<user>", ttl = |token: &Token| token.time_left(), entry = token_entry, cache = cache, skip(cache, seconds))]
fn token(cache: &Cache, user: u64, seconds: u64) -> Token {
    Token::lasting(seconds)
}

#[updates(token_entry(cache, user))]
fn renew(cache: &Cache, user: u64, seconds: u64) -> Token {
    Token::lasting(seconds)
}

#[test]
fn a_token_is_kept_for_as_long_as_it_is_good() {
    let server = Memcached::start();
    let cache = Cache::builder().servers(server.address()).timeout(Duration::from_secs(2)).jitter(0).build().unwrap();
    let first = token(&cache, 1, 500);
    assert_eq!(token(&cache, 1, 5), first);
    assert!((495..=500).contains(&server.seconds_left("token:1").unwrap()));
    renew(&cache, 1, 50);
    assert!((45..=50).contains(&server.seconds_left("token:1").unwrap()));
    token_entry(&cache, 2).put(&Token::lasting(20)).unwrap();
    assert!((15..=20).contains(&server.seconds_left("token:2").unwrap()));
    token(&cache, 3, 0);
    assert_eq!(token_entry(&cache, 3).get().unwrap(), None);
}

#[memcached(
    key = "page:<n>", ttl = 1, grace = 60, cache = &cache, skip(cache, runs), stale_if = |status: &u16| *status >= 500
)]
async fn page(cache: Cache, n: u64, runs: Arc<AtomicU32>) -> Result<String, u16> {
    match runs.fetch_add(1, Ordering::SeqCst) {
        0 => Ok("old".into()),
        1 => Err(503),
        _ => Err(404),
    }
}

/// Refreshes run in the background: the caller that starts one gets the old value.
#[tokio::test]
async fn an_error_that_may_not_be_hidden_ends_an_old_value_in_the_background() {
    let server = Memcached::start();
    let (cache, runs) = (server.cache(), Arc::default());
    let call = || page(cache.clone(), 1, Arc::clone(&runs));
    assert_eq!(call().await, Ok("old".into()));
    eventually("an error that is hidden", async || {
        assert_eq!(call().await, Ok("old".into()));
        (runs.load(Ordering::SeqCst) == 2).then_some(())
    })
    .await;
    eventually("one that is told", async || (call().await == Err(404)).then_some(())).await;
    assert!(runs.load(Ordering::SeqCst) >= 3);
}

/// A feed that may be served for longer, the longer it is.
#[memcached(
    key = "feed:<n>", ttl = 100, grace = |feed: &Vec<u32>| Duration::from_secs(feed.len() as u64 * 100), cache = cache,
    skip(cache, runs)
)]
fn feed(cache: &Cache, n: usize, runs: &AtomicU32) -> Vec<u32> {
    vec![runs.fetch_add(1, Ordering::SeqCst); n]
}

#[test]
fn callers_in_all_processes_elect_one_of_them_by_a_grace_that_the_value_tells() {
    let server = Memcached::start();
    let caches = [(); 4].map(|()| of(&server.address()).jitter(0).build().unwrap());
    let runs = AtomicU32::new(1);
    for n in [0, 1, 5] {
        feed(&caches[0], n, &runs);
    }
    assert_eq!(["feed:0", "feed:1", "feed:5"].map(|key| server.seconds_left(key).unwrap().div_ceil(100)), [1, 2, 6]);
    runs.store(9, Ordering::SeqCst);
    for (n, kept) in [(1, 99), (5, 499)] {
        // Its ttl has just been over.
        server.command(&format!("mg feed:{n} T{kept}"));
        let old = server.stored(&format!("feed:{n}"));
        let before = runs.load(Ordering::SeqCst);
        let served = std::thread::scope(|scope| {
            let calls = caches.each_ref().map(|cache| {
                [(); 4].map(|()| {
                    let runs = &runs;
                    scope.spawn(move || feed(cache, n, runs))
                })
            });
            calls.map(|calls| calls.map(|call| call.join().unwrap()))
        });
        assert_eq!(runs.load(Ordering::SeqCst), before + 1, "{served:?}");
        assert_ne!(server.stored(&format!("feed:{n}")), old);
        assert_eq!(feed(&caches[1], n, &runs), vec![before; n]);
    }
    // Beyond its own grace a value is not served.
    server.command("mg feed:1 T150");
    assert_eq!(feed(&caches[0], 1, &runs), [9], "fresh");
}
