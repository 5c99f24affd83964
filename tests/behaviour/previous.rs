//! A function with `previous` asks an HTTP server whether what it has is still right.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use memocached::{Cache, Previous, memcached};

use crate::support::asking::eventually;
use crate::support::memcached::Memcached;

/// A server of one page, which answers 304 to its `ETag`.
struct Origin {
    port: u16,
    page: Arc<Mutex<(String, String)>>,
    /// How often it has sent the page, and said that it is unchanged.
    sent: Arc<[AtomicU32; 2]>,
}

impl Origin {
    fn start(etag: &str, text: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let page = Arc::new(Mutex::new((etag.to_owned(), text.to_owned())));
        let sent = Arc::<[AtomicU32; 2]>::default();
        let served = (Arc::clone(&page), Arc::clone(&sent));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = stream.and_then(|stream| serve(stream, &served.0, &served.1));
            }
        });
        Origin { port, page, sent }
    }

    fn change(&self, etag: &str, text: &str) {
        *self.page.lock().unwrap() = (etag.to_owned(), text.to_owned());
    }

    fn sent(&self) -> [u32; 2] {
        [0, 1].map(|kind| self.sent[kind].load(Ordering::SeqCst))
    }
}

fn serve(mut stream: TcpStream, page: &Mutex<(String, String)>, sent: &[AtomicU32; 2]) -> std::io::Result<()> {
    let lines = BufReader::new(stream.try_clone()?).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let asked = lines.filter_map(|line| line.strip_prefix("If-None-Match: ").map(str::to_owned)).last();
    let (etag, text) = page.lock().unwrap().clone();
    if asked.as_ref() == Some(&etag) {
        sent[1].fetch_add(1, Ordering::SeqCst);
        return write!(stream, "HTTP/1.0 304 Not Modified\r\nETag: {etag}\r\n\r\n");
    }
    sent[0].fetch_add(1, Ordering::SeqCst);
    write!(stream, "HTTP/1.0 200 OK\r\nETag: {etag}\r\nContent-Length: {}\r\n\r\n{text}", text.len())
}

/// A new page with its `ETag`, unless the origin has only that one.
fn fetch(port: u16, etag: Option<&[u8]>) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("an origin");
    let etag = etag.map(|etag| format!("If-None-Match: {}\r\n", String::from_utf8_lossy(etag))).unwrap_or_default();
    write!(stream, "GET / HTTP/1.0\r\n{etag}\r\n").expect("a request");
    let answer = std::io::read_to_string(stream).expect("an answer");
    let (head, text) = answer.split_once("\r\n\r\n").expect("a head");
    let tag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).expect("an ETag");
    (!head.starts_with("HTTP/1.0 304")).then(|| (text.to_owned(), tag.to_owned()))
}

/// What the body does: it keeps the old page if the origin has no other one.
fn renewed(port: u16, old: Option<Previous<String>>) -> String {
    match (fetch(port, old.as_ref().and_then(Previous::tag)), old) {
        (Some((text, etag)), _) => {
            memocached::tag(etag);
            text
        }
        (None, Some(old)) => old.unchanged(),
        (None, None) => unreachable!("304 only answers an ETag"),
    }
}

#[memcached(
    key = "page:<port>", ttl = 100, grace = 1_000, previous = old, entry = page_entry, cache = cache, skip(cache)
)]
fn page(cache: &Cache, port: u16) -> String {
    renewed(port, old)
}

#[test]
fn a_page_is_fetched_again_only_if_it_has_changed() {
    let (server, origin) = (Memcached::start(), Origin::start("\"1\"", &"first ".repeat(500)));
    let cache = server.cache();
    let key = format!("page:{}", origin.port);
    let call = || page(&cache, origin.port);
    assert_eq!(call(), "first ".repeat(500));
    let stored = server.stored(&key).unwrap();
    // So much time is over: less than its grace is left.
    for round in 1..=3 {
        server.command(&format!("mg {key} T900"));
        assert_eq!(call(), "first ".repeat(500));
        assert_eq!(origin.sent(), [1, round]);
        // Its bytes are kept for as long as new ones.
        let left = server.seconds_left(&key).unwrap();
        assert!((1_080..=1_100).contains(&left), "{left}");
        let renewed = server.stored(&key).unwrap();
        assert_eq!(renewed[renewed.len() - 3_000..], stored[stored.len() - 3_000..]);
    }
    server.command(&format!("mg {key} T900"));
    origin.change("\"2\"", "second");
    assert_eq!(call(), "second");
    assert_eq!(origin.sent(), [2, 3]);
    // What has been invalidated is asked about as well.
    assert!(page_entry(&cache, origin.port).invalidate().unwrap());
    assert_eq!(call(), "second");
    assert_eq!(origin.sent(), [2, 4]);
    assert_eq!(call(), "second");
    assert_eq!(origin.sent(), [2, 4]);
}

#[test]
fn what_is_deleted_while_the_body_asks_stays_deleted() {
    #[memcached(key = "deleted:<port>", ttl = 100, grace = 1_000, previous = old, entry = entry, cache = cache, skip(cache))]
    fn deleted(cache: &Cache, port: u16) -> String {
        let page = renewed(port, old);
        entry(cache, port).delete().unwrap();
        page
    }
    let (server, origin) = (Memcached::start(), Origin::start("\"1\"", "first"));
    let cache = server.cache();
    entry(&cache, origin.port).put(&"first".to_owned()).unwrap();
    server.command(&format!("mg deleted:{} T900", origin.port));
    assert_eq!(deleted(&cache, origin.port), "first");
    assert_eq!(server.stored(&format!("deleted:{}", origin.port)), None);
}

memocached::group! {
    fn site(port: u16) = "site:<port>";
}

#[memcached(
    key = "grouped:<port>", ttl = 100, grace = 1_000, previous = old, group = site(port), cache = cache, skip(cache)
)]
fn grouped(cache: &Cache, port: u16) -> String {
    renewed(port, old)
}

#[test]
fn an_unchanged_value_of_an_invalidated_group_counts_from_then_on() {
    let (server, origin) = (Memcached::start(), Origin::start("\"1\"", "first"));
    let cache = server.cache();
    let call = || grouped(&cache, origin.port);
    assert_eq!([call(), call()], ["first", "first"]);
    for round in 1..=2 {
        site(origin.port).of_cache(&cache).invalidate().unwrap();
        assert_eq!([call(), call()], ["first", "first"]);
        assert_eq!(origin.sent(), [1, round], "the old value is what the body replaces, and is stored anew");
    }
    origin.change("\"2\"", "second");
    site(origin.port).of_cache(&cache).invalidate_softly().unwrap();
    assert_eq!([call(), call()], ["second", "second"]);
}

#[memcached(key = "background:<port>", ttl = 100, grace = 1_000, previous = old, cache = &cache, skip(cache))]
async fn background(cache: Cache, port: u16) -> Result<String, std::io::Error> {
    tokio::task::yield_now().await;
    Ok(renewed(port, old))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_in_the_background_asks_as_well() {
    let (server, origin) = (Memcached::start(), Origin::start("\"1\"", "first"));
    let cache = server.cache();
    let call = async || background(cache.clone(), origin.port).await.unwrap();
    assert_eq!(call().await, "first");
    let key = format!("background:{}", origin.port);
    server.command(&format!("mg {key} T900"));
    assert_eq!(call().await, "first");
    eventually("an unchanged page", async || (server.seconds_left(&key).unwrap() > 1_000).then_some(())).await;
    assert_eq!(origin.sent(), [1, 1]);
    origin.change("\"2\"", "second");
    server.command(&format!("mg {key} T900"));
    eventually("a changed page", async || (call().await == "second").then_some(())).await;
    assert_eq!(origin.sent(), [2, 1]);
}

#[memcached(key = "signed:<port>", ttl = 100, grace = 1_000, previous = old, cache = cache, skip(cache))]
fn signed(cache: &Cache, port: u16) -> String {
    renewed(port, old)
}

#[test]
fn signatures_and_compression_hold_for_unchanged_values() {
    let (server, origin) = (Memcached::start(), Origin::start("\"1\"", &"text ".repeat(1_000)));
    let settings = Cache::builder().servers(server.address()).timeout(Duration::from_secs(2)).jitter(0);
    let cache = settings.compress(100).auth_key([7; 32]).build().unwrap();
    let key = format!("signed:{}", origin.port);
    let call = || signed(&cache, origin.port);
    assert_eq!(call(), "text ".repeat(1_000));
    for round in 1..=2 {
        server.command(&format!("mg {key} T900"));
        assert_eq!([call(), call()], [(); 2].map(|()| "text ".repeat(1_000)));
        assert_eq!(origin.sent(), [1, round]);
    }
    assert!(server.stored(&key).unwrap().len() < 1_000, "compressed");
}
