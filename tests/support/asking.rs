//! Every way of asking a server: both clients, and a memoized function.

use std::cell::Cell;
use std::time::{Duration, Instant};

use memocached::{AsyncClient, Builder, Cache, Client, Error, memcached};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// Longer than a busy machine takes for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A builder with much patience, which is what most tests are not about.
pub(crate) fn of(servers: &str) -> Builder<Cache> {
    Cache::builder().servers(servers).timeout(PATIENCE).connect_timeout(PATIENCE)
}

/// Runs async code to its end.
pub(crate) fn wait_for<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// Waits for something that other tasks or another process see to, as
/// [`until`](super::memcached::until) does.
pub(crate) async fn eventually<T>(what: &str, mut happened: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = happened().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::task::yield_now().await;
    }
}

#[memcached(key = "asking:memoized:<n>", ttl = 60, cache = cache, skip(cache, computed))]
fn memoized(cache: &Cache, computed: &Cell<u32>, n: u32) -> u32 {
    computed.set(computed.get() + 1);
    n + 1
}

/// Asks in every way, and asserts that each is answered.
pub(crate) fn is_served(cache: &Cache) {
    let client = Client::of(cache);
    client.delete("asking:memoized:1").unwrap();
    client.set("asking:blocking", "yes", MINUTE).unwrap();
    assert_eq!(client.get::<String>("asking:blocking").unwrap().as_deref(), Some("yes"));
    wait_for(async {
        let client = AsyncClient::of(cache);
        client.set("asking:async", "yes", MINUTE).await.unwrap();
        assert_eq!(client.get::<String>("asking:async").await.unwrap().as_deref(), Some("yes"));
        // By the other client.
        assert_eq!(client.get::<String>("asking:blocking").await.unwrap().as_deref(), Some("yes"));
    });
    let computed = Cell::new(0);
    assert_eq!([(); 3].map(|()| memoized(cache, &computed, 1)), [2; 3]);
    assert_eq!(computed.get(), 1, "cached");
}

/// The errors of each client's first question. A memoized function computes all
/// the same.
pub(crate) fn refusals(builder: &Builder<Cache>) -> [Error; 2] {
    let cache = || builder.clone().build().unwrap();
    let blocking = Client::of(&cache()).get::<String>("asking:blocking").unwrap_err();
    let awaited = wait_for(async { AsyncClient::of(&cache()).get::<String>("asking:async").await.unwrap_err() });
    assert_eq!(memoized(&cache(), &Cell::new(0), 2), 3);
    [blocking, awaited]
}
