//! Values that are invalidated together, however many there are.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use memocached::{Cache, Error, Group, Mode, Protocol, group, invalidates, memcached, updates, with_mode};

use crate::support::memcached::{Memcached, until};
use crate::support::tap::Tap;

/// As long as no machine is slow.
const PATIENCE: Duration = Duration::from_secs(2);

/// A database of one number, and how often it has been read.
#[derive(Clone, Default)]
struct Database(Arc<(AtomicU64, AtomicU64)>);

impl Database {
    fn read(&self) -> u64 {
        self.0.1.fetch_add(1, Ordering::SeqCst);
        self.0.0.load(Ordering::SeqCst)
    }

    fn write(&self, value: u64) {
        self.0.0.store(value, Ordering::SeqCst);
    }

    fn reads(&self) -> u64 {
        self.0.1.load(Ordering::SeqCst)
    }
}

group! {
    /// Everything of one team.
    fn team(id: u64) = "team:<id>";
    fn everything() = "everything";
}

#[memcached(
    key = "member:<id>/<of>", group = [team(of), everything()], ttl = 600, entry = member_entry, cache = cache, skip(cache, database)
)]
fn member(cache: &Cache, database: &Database, of: u64, id: u64) -> u64 {
    database.read()
}

#[memcached(
    key = "member:<id>/<of>", group = [team(of), everything()], ttl = 600, grace = 600, cache = cache, skip(cache, database)
)]
fn graced(cache: &Cache, database: &Database, of: u64, id: u64) -> u64 {
    database.read()
}

#[memcached(key = "async:<id>", group = team(1), ttl = 600, entry = async_member_entry, cache = &cache, skip(cache, database))]
async fn async_member(cache: Cache, database: Database, id: u64) -> u64 {
    database.read()
}

#[memcached(
    key = "each:<id>", each(id in ids), group = [team(*id % 2), everything()], ttl = 600, cache = cache, skip(cache, database)
)]
fn members(cache: &Cache, database: &Database, ids: &[u64]) -> HashMap<u64, u64> {
    let read = database.read();
    ids.iter().map(|id| (*id, read)).collect()
}

#[memcached(key = "near:<id>", group = team(1), ttl = 600, near = 60, cache = cache, skip(cache, database))]
fn near(cache: &Cache, database: &Database, id: u64) -> u64 {
    database.read()
}

/// The caches that everything must work with: on memcached, in its classic protocol, on
/// three servers, and embedded.
fn everywhere(test: impl Fn(&Cache, &Cache)) {
    let server = Memcached::start();
    test(&server.cache(), &server.cache());
    let server = Memcached::start();
    let classic =
        || Cache::builder().servers(server.address()).protocol(Protocol::Ascii).timeout(PATIENCE).build().unwrap();
    test(&classic(), &classic());
    let servers = [(); 3].map(|()| Memcached::start());
    let addresses = servers.each_ref().map(Memcached::address).join(",");
    let several = || Cache::builder().servers(&addresses).timeout(PATIENCE).build().unwrap();
    test(&several(), &several());
    let embedded = Cache::embedded();
    test(&embedded, &embedded.clone());
}

#[test]
fn all_values_of_a_group_are_computed_anew_and_no_others() {
    everywhere(|here, there| {
        let database = Database::default();
        let all = |cache: &Cache| [(1, 1), (1, 2), (2, 1)].map(|(of, id)| member(cache, &database, of, id));
        assert_eq!((all(here), all(there)), ([0; 3], [0; 3]));
        assert_eq!(database.reads(), 3);
        database.write(5);
        assert_eq!(all(there), [0; 3]);
        team(1).of_cache(there).invalidate().unwrap();
        assert_eq!((all(here), all(there)), ([5, 5, 0], [5, 5, 0]));
        assert_eq!(database.reads(), 5);
        everything().of_cache(here).invalidate().unwrap();
        assert_eq!((all(there), all(here)), ([5; 3], [5; 3]));
        assert_eq!(database.reads(), 8);
        assert_eq!(member_entry(here, 1, 1).get().unwrap(), Some(5));
        team(1).of_cache(there).invalidate().unwrap();
        assert_eq!(member_entry(here, 1, 1).get().unwrap(), None);
        member_entry(here, 1, 1).put(&7).unwrap();
        assert_eq!(member(there, &database, 1, 1), 7);
    });
}

#[test]
fn a_batch_asks_for_each_stamp_once() {
    everywhere(|here, there| {
        let database = Database::default();
        let ids: Vec<u64> = (0..10).collect();
        let all = |cache: &Cache| ids.iter().map(|id| members(cache, &database, &ids)[id]).collect::<Vec<_>>();
        assert_eq!(all(here), [0; 10]);
        database.write(3);
        assert_eq!(all(there), [0; 10]);
        team(1).of_cache(there).invalidate().unwrap();
        assert_eq!(all(here), [0, 3, 0, 3, 0, 3, 0, 3, 0, 3]);
        assert_eq!(database.reads(), 2);
        everything().of_cache(here).invalidate().unwrap();
        assert_eq!(all(there), [3; 10]);
    });
    let server = Memcached::start();
    let tap = Tap::before(server.port);
    let cache = Cache::builder().servers(format!("127.0.0.1:{}", tap.port)).build().unwrap();
    let ids: Vec<u64> = (0..10).collect();
    let before = (0..2).map(|_| drop(members(&cache, &Database::default(), &ids))).count();
    let sent = tap.sent().len();
    drop(members(&cache, &Database::default(), &ids));
    let last = String::from_utf8(tap.sent()[sent..].to_vec()).unwrap();
    assert_eq!((before, last.matches("mg memocached:group:").count()), (2, 3), "{last}");
}

#[tokio::test]
async fn async_functions_have_groups() {
    let server = Memcached::start();
    let (here, there) = (server.cache(), server.cache());
    let database = Database::default();
    assert_eq!(async_member(here.clone(), database.clone(), 1).await, 0);
    database.write(1);
    assert_eq!(async_member(there.clone(), database.clone(), 1).await, 0);
    team(1).of_cache(&here).invalidate_async().await.unwrap();
    assert_eq!(async_member(there.clone(), database.clone(), 1).await, 1);
    assert_eq!(async_member(here.clone(), database.clone(), 1).await, 1);
    assert_eq!(database.reads(), 2);
}

/// The trace B4: the stamp counts that was there before the body began.
#[test]
fn a_value_computed_before_an_invalidation_does_not_count_after_it() {
    everywhere(|here, there| {
        let database = Database::default();
        #[memcached(key = "slow:<id>", group = team(1), ttl = 600, cache = cache, skip(cache, body))]
        fn slow(cache: &Cache, id: u64, body: impl Fn() -> u64) -> u64 {
            body()
        }
        let old = slow(here, 1, || {
            let read = database.read();
            database.write(1);
            team(1).of_cache(there).invalidate().unwrap();
            // B5: it does not wait for the body that began before.
            assert_eq!(slow(there, 1, || database.read()), 1);
            assert_eq!(slow(here, 1, || database.read()), 1);
            read
        });
        assert_eq!(old, 0);
        for cache in [here, there] {
            assert_eq!(slow(cache, 1, || database.read()), 1);
        }
    });
}

#[test]
fn a_stamp_that_is_gone_makes_all_of_its_group_misses() {
    let server = Memcached::start();
    let cache = server.cache();
    let database = Database::default();
    assert_eq!(member(&cache, &database, 1, 1), 0);
    database.write(1);
    assert_eq!(member(&cache, &database, 1, 1), 0);
    assert_eq!(server.command("md memocached:group:team:1"), "HD");
    assert_eq!((member(&cache, &database, 1, 1), member(&cache, &database, 1, 1)), (1, 1));
    assert_eq!(database.reads(), 2);
}

#[test]
fn a_stamp_that_a_server_evicts_brings_no_old_value_back() {
    #[memcached(key = "large:<id>", group = team(1), ttl = 600, cache = cache, skip(cache, body))]
    fn large(cache: &Cache, id: u64, body: impl Fn() -> u8) -> Vec<u8> {
        vec![body(); 5_000]
    }
    let server = Memcached::start_with(&["-m", "2"]);
    let cache = server.cache();
    assert_eq!(large(&cache, 1, || 0)[0], 0);
    let value = server.stored("large:1");
    team(1).of_cache(&cache).invalidate().unwrap();
    // Items of the stamp's size, until there is no room for it.
    let fill = |from: usize| {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        let fillers = (from..from + 5_000).map(|n| format!("ms memocached:filler:{n:08} 16 q\r\n0123456789abcdef\r\n"));
        let requests = fillers.collect::<String>() + "quit\r\n";
        std::io::Write::write_all(&mut stream, requests.as_bytes()).unwrap();
        std::io::Read::read_to_end(&mut stream, &mut Vec::new()).unwrap();
    };
    let evicted = (0..100).any(|round| {
        fill(round * 5_000);
        // Reading it would keep it.
        server.command("me memocached:group:team:1") == "EN"
    });
    assert!(evicted);
    assert_eq!(server.stored("large:1").map(|value| value.len()), value.map(|value| value.len()));
    assert_eq!(large(&cache, 1, || 1)[0], 1);
}

#[test]
fn one_caller_computes_after_an_invalidation() {
    let server = Memcached::start();
    let database = Database::default();
    #[memcached(key = "elected:<id>", group = team(1), ttl = 600, cache = cache, skip(cache, database))]
    fn elected(cache: &Cache, database: &Database, id: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(200));
        database.read()
    }
    let caches: Vec<Cache> = (0..8).map(|_| server.cache()).collect();
    elected(&caches[0], &database, 1);
    team(1).of_cache(&caches[1]).invalidate().unwrap();
    std::thread::scope(|scope| {
        for cache in caches.iter().flat_map(|cache| [cache; 4]) {
            scope.spawn(|| elected(cache, &database, 1));
        }
    });
    assert_eq!(database.reads(), 2);
}

#[test]
fn grace_does_not_serve_what_was_invalidated_unless_softly() {
    let server = Memcached::start();
    for (here, there) in [(server.cache(), server.cache()), (Cache::embedded(), Cache::embedded())] {
        let database = Database::default();
        let read = |cache: &Cache| graced(cache, &database, 1, 1);
        assert_eq!(read(&here), 0);
        database.write(1);
        team(1).of_cache(&here).invalidate_softly().unwrap();
        // One computes, and others are served the old value until then.
        let [first, second] = [(); 2].map(|()| read(&here));
        assert_eq!((first, second), (1, 1));
        database.write(2);
        team(1).of_cache(&here).invalidate().unwrap();
        assert_eq!(read(&here), 2);
        drop(there);
    }
}

#[test]
fn stale_values_are_served_to_others_while_one_computes() {
    let server = Memcached::start();
    let (here, there) = (server.cache(), server.cache());
    #[memcached(key = "soft:<id>", group = team(1), ttl = 600, grace = 600, cache = cache, skip(cache, body))]
    fn soft(cache: &Cache, id: u64, body: impl Fn() -> u64) -> u64 {
        body()
    }
    assert_eq!(soft(&here, 1, || 0), 0);
    team(1).of_cache(&here).invalidate_softly().unwrap();
    let new = soft(&here, 1, || {
        assert_eq!(soft(&there, 1, || panic!("it is stale")), 0);
        1
    });
    assert_eq!((new, soft(&there, 1, || panic!("it is there"))), (1, 1));
    team(1).of_cache(&here).invalidate().unwrap();
    // Nor as the last resort.
    let none = std::panic::AssertUnwindSafe(|| soft(&there, 1, || panic!("no value")));
    let error = std::panic::catch_unwind(none);
    assert!(error.is_err());
}

#[test]
fn near_values_of_this_process_go_with_their_group() {
    everywhere(|here, _| {
        let database = Database::default();
        assert_eq!((near(here, &database, 1), near(here, &database, 1)), (0, 0));
        database.write(1);
        assert_eq!(near(here, &database, 1), 0);
        team(1).of_cache(here).invalidate().unwrap();
        assert_eq!(near(here, &database, 1), 1);
    });
}

#[test]
fn nothing_of_a_group_is_stored_while_a_writer_changes_it() {
    #[invalidates(team(1).of_cache(cache), everything().of_cache(cache))]
    fn change(cache: &Cache, database: &Database, value: u64, meanwhile: impl Fn()) {
        meanwhile();
        database.write(value);
        meanwhile();
    }
    everywhere(|here, there| {
        let database = Database::default();
        assert_eq!((member(here, &database, 1, 1), member(there, &database, 2, 1)), (0, 0));
        change(here, &database, 9, || {
            let now = database.0.0.load(Ordering::SeqCst);
            for cache in [here, there] {
                assert_eq!(member(cache, &database, 1, 1), now);
                assert_eq!(graced(cache, &database, 2, 1), now);
            }
        });
        assert_eq!((member(there, &database, 1, 1), member(here, &database, 2, 1)), (9, 9));
        let before = database.reads();
        assert_eq!((member(here, &database, 1, 1), member(there, &database, 2, 1)), (9, 9));
        assert_eq!(database.reads(), before);
    });
}

#[test]
fn an_update_counts_unless_its_group_was_invalidated_meanwhile() {
    #[updates(member_entry(cache, 1, 1))]
    fn update(cache: &Cache, database: &Database, value: u64, meanwhile: impl Fn()) -> u64 {
        database.write(value);
        meanwhile();
        value
    }
    everywhere(|here, there| {
        let database = Database::default();
        assert_eq!(member(there, &database, 1, 1), 0);
        update(here, &database, 3, || ());
        assert_eq!((member(there, &database, 1, 1), database.reads()), (3, 1));
        update(here, &database, 4, || team(1).of_cache(there).invalidate().unwrap());
        database.write(5);
        assert_eq!(member(there, &database, 1, 1), 5);
    });
}

#[tokio::test]
async fn an_async_update_counts_in_its_groups() {
    #[updates(async_member_entry(cache.clone(), 1))]
    async fn update(cache: Cache, database: Database, meanwhile: bool) -> u64 {
        database.write(3);
        if meanwhile {
            team(1).of_cache(&cache).invalidate_async().await.unwrap();
            database.write(4);
        }
        3
    }
    let server = Memcached::start();
    for cache in [Cache::embedded(), server.cache()] {
        let database = Database::default();
        update(cache.clone(), database.clone(), false).await;
        assert_eq!((async_member(cache.clone(), database.clone(), 1).await, database.reads()), (3, 0));
        update(cache.clone(), database.clone(), true).await;
        assert_eq!(async_member(cache.clone(), database.clone(), 1).await, 4);
    }
}

#[test]
fn a_version_without_the_group_has_values_of_its_own() {
    let server = Memcached::start();
    let cache = server.cache();
    let database = Database::default();
    #[memcached(key = "member:<id>/<of>", ttl = 600, cache = cache, skip(cache, database))]
    fn ungrouped(cache: &Cache, database: &Database, of: u64, id: u64) -> u64 {
        database.read()
    }
    assert_eq!((ungrouped(&cache, &database, 1, 1), member(&cache, &database, 1, 1)), (0, 0));
    database.write(1);
    team(1).of_cache(&cache).invalidate().unwrap();
    assert_eq!((ungrouped(&cache, &database, 1, 1), member(&cache, &database, 1, 1)), (0, 1));
    assert_eq!((ungrouped(&cache, &database, 1, 1), member(&cache, &database, 1, 1)), (0, 1));
    assert_eq!(database.reads(), 3);
}

#[test]
fn an_error_names_the_nodes_that_were_not_reached_and_they_are_told_later() {
    let servers = [(); 3].map(|()| Memcached::start());
    let addresses = servers.each_ref().map(Memcached::address).join(",");
    let build = || Cache::builder().servers(&addresses).timeout(Duration::from_millis(300)).build().unwrap();
    let (here, there) = (build(), build());
    let database = Database::default();
    let all = |cache: &Cache| (0..30).map(|id| member(cache, &database, 1, id)).collect::<Vec<_>>();
    assert_eq!(all(&there), [0; 30]);
    database.write(1);
    servers[1].freeze();
    let error: Error = team(1).of_cache(&here).invalidate().unwrap_err();
    assert!(error.to_string().contains(&servers[1].address()), "{error}");
    assert!(!error.to_string().contains(&servers[0].address()), "{error}");
    servers[1].thaw();
    until("the node to be told", || (all(&there) == [1; 30]).then_some(()));
}

#[test]
fn a_function_may_read_only_or_refresh() {
    everywhere(|here, there| {
        let database = Database::default();
        with_mode(Mode::ReadOnly, || assert_eq!(member(here, &database, 1, 1), 0));
        assert_eq!(member(here, &database, 1, 1), 0);
        database.write(1);
        assert_eq!(with_mode(Mode::ReadOnly, || member(there, &database, 1, 1)), 0);
        assert_eq!(with_mode(Mode::Refresh, || member(there, &database, 1, 1)), 1);
        assert_eq!(member(here, &database, 1, 1), 1);
        database.write(2);
        team(1).of_cache(here).invalidate().unwrap();
        assert_eq!(with_mode(Mode::ReadOnly, || member(there, &database, 1, 1)), 2);
        assert_eq!(member(here, &database, 1, 1), 2);
    });
}

#[test]
fn groups_are_known_by_their_names() {
    assert_eq!((team(7).name(), everything().name()), ("team:7", "everything"));
    assert_eq!(format!("{:?}", team(7)), r#"Group("team:7")"#);
    let cache = Cache::builder().namespace("app").build().unwrap();
    let _of_cache: Group = team(7).of_cache(&cache);
}
