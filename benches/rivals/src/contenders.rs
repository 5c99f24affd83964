//! One function, memoized by each crate as its own documentation shows.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How often the function's body ran.
pub static COMPUTED: AtomicUsize = AtomicUsize::new(0);
/// Whether the body panics.
pub static PANICS: AtomicBool = AtomicBool::new(false);

/// A memoized function that any thread may call.
pub type Call = Box<dyn Fn(u64) -> User + Send + Sync>;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    id: u64,
    name: String,
}

/// A query of 50 ms.
fn load(id: u64) -> User {
    assert!(!PANICS.load(Ordering::SeqCst), "the query failed");
    COMPUTED.fetch_add(1, Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(50));
    User { id, name: format!("user {id}") }
}

/// By name; each call of the second makes a function with a client of its own.
pub const CONTENDERS: [(&str, fn() -> Call); 9] = [
    ("memocached", || Box::new(shared)),
    ("memocached, `near`", || Box::new(near)),
    ("a `memcache` client by hand", by_hand),
    ("`memcache`'s `fetch`", fetched),
    ("`cached`", || Box::new(cached_plainly)),
    ("`cached`, `sync_writes`", || Box::new(cached_once)),
    ("`memoize`", || Box::new(memoized)),
    ("`memoize`, `SharedCache`", || Box::new(memoized_for_all)),
    ("`moka`, `get_with`", in_moka),
];

/// The function that the contender of this name memoizes.
pub fn call(name: &str) -> Call {
    let (_, make) = CONTENDERS.iter().find(|(other, _)| *other == name).expect("a contender's name");
    make()
}

#[memocached::memcached(key = "rivals:shared:<id>", ttl = 300)]
fn shared(id: u64) -> User {
    load(id)
}

#[memocached::memcached(key = "rivals:near:<id>", ttl = 300, near = 300)]
fn near(id: u64) -> User {
    load(id)
}

fn server() -> String {
    std::env::var("MEMCACHED_SERVERS").expect("the address of a server")
}

/// Text stands for the value, whose encoding the client leaves to its caller.
fn by_hand() -> Call {
    let client = memcache::connect(format!("memcache://{}?protocol=ascii", server())).expect("a client");
    Box::new(move |id| {
        let key = format!("rivals:hand:{id}");
        if let Ok(Some(name)) = client.get::<String>(&key) {
            return User { id, name };
        }
        let user = load(id);
        let _ = client.set(&key, user.name.as_str(), 300);
        user
    })
}

fn fetched() -> Call {
    let client = memcache::exp::Memcache::connect([server()]).expect("a client");
    Box::new(move |id| {
        let load = || Ok::<_, std::io::Error>(load(id).name);
        let name = client.fetch(format!("rivals:fetch:{id}"), Duration::from_secs(300), load).expect("a value");
        User { id, name }
    })
}

#[cached::macros::cached(ttl_secs = 300)]
fn cached_plainly(id: u64) -> User {
    load(id)
}

#[cached::macros::cached(ttl_secs = 300, sync_writes = "by_key")]
fn cached_once(id: u64) -> User {
    load(id)
}

#[memoize::memoize(TimeToLive: Duration::from_secs(300))]
fn memoized(id: u64) -> User {
    load(id)
}

#[memoize::memoize(SharedCache, TimeToLive: Duration::from_secs(300))]
fn memoized_for_all(id: u64) -> User {
    load(id)
}

fn in_moka() -> Call {
    let cache = moka::sync::Cache::builder().time_to_live(Duration::from_secs(300)).build();
    Box::new(move |id| cache.get_with(id, || load(id)))
}
