//! Functions that change data, and the entries of what they change.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use memocached::{
    AsyncWriting, Cache, Entries, Error, ErrorKind, Mode, Protocol, Writing, invalidates, memcached, updates, with_mode,
};

use crate::support::memcached::{Memcached, until};
use crate::support::proxy::Proxy;
use crate::support::tap::Tap;

/// A database of rows, and how often they have been read.
#[derive(Clone, Default)]
struct Database(Arc<(Mutex<Vec<u64>>, AtomicU64)>);

impl Database {
    fn new() -> Self {
        let database = Database::default();
        database.0.0.lock().unwrap().resize(10, 0);
        database
    }

    fn read(&self, row: usize) -> u64 {
        self.0.1.fetch_add(1, Ordering::Relaxed);
        self.0.0.lock().unwrap()[row]
    }

    fn write(&self, row: usize, value: u64) {
        self.0.0.lock().unwrap()[row] = value;
    }

    fn reads(&self) -> u64 {
        self.0.1.load(Ordering::Relaxed)
    }
}

#[memcached(key = "row:<row>", ttl = 600, grace = 600, near = 60, entry = row_entry, cache = cache, skip(cache, database))]
fn row(cache: &Cache, database: &Database, row: usize) -> u64 {
    database.read(row)
}

#[memcached(key = "row:<row>", ttl = 600, entry = plain_entry, cache = cache, skip(cache, database))]
fn plain(cache: &Cache, database: &Database, row: usize) -> u64 {
    database.read(row)
}

#[memcached(key = "row:<row>", ttl = 600, entry = async_entry, cache = &cache, skip(cache, database))]
async fn async_row(cache: Cache, database: Database, row: usize) -> u64 {
    database.read(row)
}

/// Two processes that share a server: two caches.
fn caches(server: &Memcached) -> [Cache; 2] {
    [server.cache(), server.cache()]
}

/// The caches that everything must work with: on memcached, in its classic protocol, and
/// embedded.
fn everywhere(test: impl Fn(&Cache, &Cache)) {
    let server = Memcached::start();
    let [here, there] = caches(&server);
    test(&here, &there);
    let server = Memcached::start();
    let classic = || Cache::builder().servers(server.address()).protocol(Protocol::Ascii).build().unwrap();
    test(&classic(), &classic());
    let embedded = Cache::embedded();
    test(&embedded, &embedded.clone());
}

#[invalidates(row_entry(cache, row))]
fn change(cache: &Cache, database: &Database, row: usize, value: u64, meanwhile: impl Fn()) {
    meanwhile();
    database.write(row, value);
    meanwhile();
}

#[test]
fn what_is_read_while_a_writer_is_at_work_is_not_stored() {
    everywhere(|here, there| {
        let database = Database::new();
        assert_eq!((row(here, &database, 1), row(there, &database, 1)), (0, 0));
        let reads = Cell::new(0);
        change(here, &database, 1, 7, || {
            let before = database.reads();
            for cache in [here, there] {
                // Not from the near tier of the writer's process, nor as stale.
                assert_eq!(plain(cache, &database, 1), database.0.0.lock().unwrap()[1]);
            }
            assert_eq!(row_entry(here, 1).get().unwrap(), None);
            reads.set(database.reads() - before);
        });
        assert_eq!(reads.get(), 2);
        assert_eq!(row_entry(there, 1).get().unwrap(), None);
        assert_eq!((row(here, &database, 1), plain(there, &database, 1)), (7, 7));
        assert_eq!(row_entry(there, 1).get().unwrap(), Some(7));
    });
}

#[test]
fn a_reader_that_began_before_a_writer_stores_nothing() {
    everywhere(|here, there| {
        let database = Database::new();
        #[memcached(key = "row:<row>", ttl = 600, cache = cache, skip(cache, body))]
        fn read(cache: &Cache, row: usize, body: impl Fn() -> u64) -> u64 {
            body()
        }
        let old = read(there, 2, || {
            let read = database.read(2);
            change(here, &database, 2, 8, || ());
            read
        });
        assert_eq!(old, 0);
        if plain_entry(there, 2).get().unwrap() == Some(0) {
            // The classic protocol cannot tell: the guide's `limitations` say so.
            panic!("an old value is left");
        }
        assert_eq!(plain(here, &database, 2), 8);
    });
}

#[test]
fn refreshing_stores_nothing_over_a_mark_and_removes_it() {
    everywhere(|here, there| {
        let database = Database::new();
        change(here, &database, 1, 7, || {
            let now = with_mode(Mode::Refresh, || plain(there, &database, 1));
            let [mine, theirs] = [here, there].map(|cache| plain_entry(cache, 1).get().unwrap());
            // The first refresh has removed the mark, so that the second, which reads what
            // has been written, stores it.
            let stored = (now == 7).then_some(7);
            assert_eq!((mine, theirs), (stored, stored));
        });
        assert_eq!(plain_entry(here, 1).get().unwrap(), None);
        assert_eq!(plain(there, &database, 1), 7);
    });
}

#[test]
fn entries_are_removed_however_the_body_ends() {
    everywhere(|here, there| {
        let database = Database::new();
        #[invalidates(plain_entry(cache, row))]
        fn fails(cache: &Cache, database: &Database, row: usize, how: u8) -> Result<u64, String> {
            database.write(row, u64::from(how));
            match how {
                1 => Ok(1),
                2 => Err("no".into()),
                _ => panic!("worse"),
            }
        }
        for how in 1..=3 {
            plain(here, &database, 1);
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| fails(here, &database, 1, how)));
            assert_eq!(ended.is_err(), how == 3);
            assert_eq!(plain_entry(there, 1).get().unwrap(), None);
            assert_eq!(plain(there, &database, 1), u64::from(how));
            assert_eq!(plain_entry(there, 1).get().unwrap(), Some(u64::from(how)));
        }
    });
}

#[test]
fn what_is_known_only_afterwards_is_removed_afterwards() {
    everywhere(|here, there| {
        let database = Database::new();
        #[invalidates(plain_entry(cache, row), after = |moved: &usize| [plain_entry(cache, *moved), plain_entry(cache, 9)])]
        fn moves(cache: &Cache, database: &Database, row: usize, to: Option<usize>) -> Option<usize> {
            database.write(row, 0);
            database.write(to?, 5);
            database.write(9, 6);
            to
        }
        let all = || [1, 2, 9].map(|row| plain(there, &database, row));
        database.write(1, 5);
        assert_eq!(all(), [5, 0, 0]);
        assert_eq!(moves(here, &database, 1, None), None);
        assert_eq!(all(), [0, 0, 0]);
        assert_eq!(moves(here, &database, 1, Some(2)), Some(2));
        assert_eq!(all(), [0, 5, 6]);
    });
}

#[updates(plain_entry(cache, row))]
fn update(cache: &Cache, database: &Database, row: usize, value: Option<u64>) -> Option<u64> {
    database.write(row, value.unwrap_or(99));
    value
}

#[test]
fn an_update_takes_the_place_of_the_old_value() {
    let server = Memcached::start();
    let [here, there] = caches(&server);
    for (here, there) in [(&here, &there), (&Cache::embedded(), &Cache::embedded())] {
        let database = Database::new();
        plain(here, &database, 1);
        assert_eq!(update(here, &database, 1, Some(3)), Some(3));
        let before = database.reads();
        assert_eq!(plain(here, &database, 1), 3);
        assert_eq!(database.reads(), before);
        assert_eq!(update(here, &database, 1, None), None);
        assert_eq!(plain(here, &database, 1), 99);
        drop(there.clone());
    }
}

#[test]
fn an_update_may_point_to_its_entry_and_return_what_points_to_the_value() {
    #[updates(&plain_entry(cache, row))]
    #[updates(Arc::new(plain_entry(cache, 9)))]
    fn borrowed<'a>(cache: &Cache, database: &Database, row: usize, value: &'a u64) -> &'a u64 {
        database.write(row, *value);
        value
    }
    #[updates(Box::new(plain_entry(cache, row)), on_error = refuse)]
    fn shared(cache: &Cache, database: &Database, row: usize, value: u64) -> Result<Option<Arc<u64>>, Error> {
        database.write(row, value);
        Ok(Some(Arc::new(value)))
    }
    let (cache, database) = (Cache::embedded(), Database::new());
    let cached = |row| plain_entry(&cache, row).get().unwrap();
    borrowed(&cache, &database, 1, &3);
    assert_eq!([cached(1), cached(9)], [Some(3); 2]);
    shared(&cache, &database, 1, 4).unwrap();
    assert_eq!(cached(1), Some(4));
}

#[test]
fn an_update_gives_way_to_another_writer() {
    everywhere(|here, there| {
        let database = Database::new();
        let other = Writing::begin(&plain_entry(there, 1)).unwrap();
        update(here, &database, 1, Some(3));
        assert_eq!(plain_entry(here, 1).get().unwrap(), None);
        database.write(1, 4);
        assert_eq!(plain(here, &database, 1), 4);
        assert_eq!(plain_entry(here, 1).get().unwrap(), None);
        other.done().unwrap();
        assert_eq!(plain(here, &database, 1), 4);
        assert_eq!(plain_entry(here, 1).get().unwrap(), Some(4));
    });
}

/// The trace A1: the one that ends first leaves the other's mark.
#[test]
fn writers_that_overlap_leave_each_others_marks() {
    everywhere(|here, there| {
        let database = Database::new();
        plain(here, &database, 1);
        let first = Writing::begin(&plain_entry(here, 1)).unwrap();
        let second = Writing::begin(&plain_entry(there, 1)).unwrap();
        assert!(first.is_marked() && second.is_marked());
        database.write(1, 1);
        first.done().unwrap();
        plain(there, &database, 1);
        assert_eq!(plain_entry(here, 1).get().unwrap(), None);
        database.write(1, 2);
        second.done().unwrap();
        assert_eq!(plain(there, &database, 1), 2);
        assert_eq!(plain_entry(here, 1).get().unwrap(), Some(2));
    });
}

#[test]
fn a_mark_that_somebody_removes_is_found_missing_and_nothing_old_is_left() {
    everywhere(|here, there| {
        let database = Database::new();
        let writing = Writing::begin(&plain_entry(here, 1)).unwrap();
        plain_entry(there, 1).delete().unwrap();
        // An old value in its place.
        plain(there, &database, 1);
        database.write(1, 2);
        let written = writing.done().unwrap();
        assert!(written.was_marked, "no renewal has found out");
        assert_eq!(plain(there, &database, 1), 2);
    });
}

#[test]
fn a_mark_is_renewed_and_put_back() {
    let server = Memcached::start();
    let [here, there] = caches(&server);
    let database = Database::new();
    let writing = Writing::begin(&plain_entry(&here, 1)).unwrap();
    plain_entry(&there, 1).delete().unwrap();
    plain(&there, &database, 1);
    until("a renewal", || plain_entry(&there, 1).get().unwrap().is_none().then_some(()));
    assert!(writing.is_marked() && writing.marked_for() > Duration::from_secs(5));
    assert!(!writing.done().unwrap().was_marked);
}

#[test]
fn a_mark_stays_for_as_long_as_reads_may_lag() {
    let server = Memcached::start();
    let [here, there] = caches(&server);
    let database = Database::new();
    #[invalidates(plain_entry(cache, row), hold_off = 1)]
    fn change(cache: &Cache, database: &Database, row: usize) {
        database.write(row, 5);
    }
    plain(&here, &database, 1);
    change(&here, &database, 1);
    let began = Instant::now();
    assert_eq!(plain(&there, &database, 1), 5);
    assert_eq!(plain_entry(&there, 1).get().unwrap(), None);
    until("the mark to end", || {
        plain(&there, &database, 1);
        plain_entry(&there, 1).get().unwrap()
    });
    assert!(began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
}

#[test]
fn without_marks_there_is_one_exchange() {
    let server = Memcached::start();
    let tap = Tap::before(server.port);
    let patience = Duration::from_secs(2);
    let cache = Cache::builder().servers(format!("127.0.0.1:{}", tap.port)).timeout(patience).build().unwrap();
    let database = Database::new();
    #[invalidates((0..20).map(|row| plain_entry(cache, row)).collect::<Entries<u64>>(), mark = off)]
    fn unmarked(cache: &Cache, database: &Database) {
        database.write(0, 1);
    }
    #[invalidates((0..20).map(|row| plain_entry(cache, row)).collect::<Entries<u64>>())]
    fn marked(cache: &Cache, database: &Database) {
        database.write(0, 1);
    }
    let exchanges = |write: &dyn Fn()| {
        let before = tap.pieces().len();
        write();
        tap.pieces().len() - before
    };
    plain(&cache, &database, 9);
    // The first asks which life the server is in.
    marked(&cache, &database);
    let fill = || (0..20).for_each(|row| assert!(plain(&cache, &database, row % 10) < 2));
    assert_eq!(exchanges(&|| unmarked(&cache, &database)), 1);
    // Nothing was there to be replaced.
    assert_eq!(exchanges(&|| marked(&cache, &database)), 2);
    fill();
    assert_eq!(exchanges(&|| marked(&cache, &database)), 3);
    let other = Writing::begin(&plain_entry(&cache, 3)).unwrap();
    assert_eq!(exchanges(&|| marked(&cache, &database)), 3);
    let overlapped = exchanges(&|| {
        let writing = Writing::begin(&plain_entry(&cache, 3)).unwrap();
        drop(Writing::begin(&plain_entry(&cache, 3)).unwrap());
        drop(writing);
    });
    assert!(overlapped <= 8, "{overlapped} for two writers");
    drop(other);
}

#[invalidates(plain_entry(cache, row), on_error = refuse)]
fn refusing(cache: &Cache, database: &Database, row: usize) -> Result<u64, Error> {
    database.write(row, 5);
    Ok(5)
}

#[test]
fn a_node_that_is_out_is_told_or_made_up_for() {
    let server = Memcached::start();
    let builder = || Cache::builder().servers(server.address()).timeout(Duration::from_millis(200));
    let [here, there] = [builder().build().unwrap(), builder().build().unwrap()];
    let database = Database::new();
    assert_eq!(plain(&there, &database, 1), 0);
    server.freeze();
    let refused = refusing(&here, &database, 1).unwrap_err();
    assert!(refused.is_transient(), "{refused}");
    assert_eq!(database.0.0.lock().unwrap()[1], 0);
    change(&here, &database, 1, 7, || ());
    let error = Writing::begin(&plain_entry(&here, 1)).unwrap_err();
    assert_ne!(error.kind(), ErrorKind::Configuration);
    server.thaw();
    // What could not be removed is removed once the node answers.
    until("the old value to go", || (plain(&there, &database, 1) == 7).then_some(()));
}

#[test]
fn a_future_that_is_dropped_leaves_no_old_value() {
    #[invalidates(async_entry(cache.clone(), row))]
    async fn change(cache: Cache, database: Database, row: usize) -> u64 {
        tokio::task::yield_now().await;
        let next = database.read(row) + 1;
        database.write(row, next);
        tokio::task::yield_now().await;
        1
    }
    let server = Memcached::start();
    let proxy = Proxy::before(server.port);
    let cache = Cache::builder().servers(proxy.address()).timeout(Duration::from_secs(5)).build().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let database = Database::new();
    for polls in 0..12 {
        plain(&cache, &database, 1);
        let _entered = runtime.enter();
        let mut call = Box::pin(change(cache.clone(), database.clone(), 1));
        for _ in 0..polls {
            if call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        drop(call);
        until("the end of the writer", || {
            let now = database.0.0.lock().unwrap()[1];
            assert_eq!(plain(&cache, &database, 1), now, "after {polls} polls");
            plain_entry(&cache, 1).get().unwrap().map(|kept| assert_eq!(kept, now))
        });
    }
}

#[test]
fn a_runtime_that_ends_takes_no_old_value_with_it() {
    let server = Memcached::start();
    let cache = server.cache();
    let database = Database::new();
    plain(&cache, &database, 1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let (writer, rows) = (cache.clone(), database.clone());
    runtime.spawn(async move {
        let writing = AsyncWriting::begin(&async_entry(writer, 1)).await.unwrap();
        rows.write(1, 1);
        tell.send(()).unwrap();
        std::future::pending::<()>().await;
        drop(writing);
    });
    told.recv().unwrap();
    runtime.shutdown_timeout(Duration::from_secs(5));
    assert_eq!(plain(&cache, &database, 1), 1);
    until("the mark to go", || {
        plain(&cache, &database, 1);
        plain_entry(&cache, 1).get().unwrap()
    });
}

#[tokio::test]
async fn async_writers_do_the_same() {
    let server = Memcached::start();
    let [here, there] = caches(&server);
    let database = Database::new();
    #[invalidates(async_entry(cache.clone(), row), async_entry(cache.clone(), 9))]
    async fn change(cache: Cache, database: Database, row: usize) -> Result<(), String> {
        assert_eq!(async_row(cache, database.clone(), row).await, 0);
        database.write(row, 5);
        Err("all the same".into())
    }
    assert_eq!(async_row(there.clone(), database.clone(), 1).await, 0);
    change(here.clone(), database.clone(), 1).await.unwrap_err();
    assert_eq!(async_row(there.clone(), database.clone(), 1).await, 5);
    #[updates(async_entry(cache.clone(), row))]
    async fn update(cache: Cache, database: Database, row: usize) -> Result<u64, String> {
        database.write(row, 6);
        drop(cache);
        Ok(6)
    }
    update(here.clone(), database.clone(), 1).await.unwrap();
    assert_eq!(async_entry(there.clone(), 1).get().await.unwrap(), Some(6));
    let writing = async_entry(here.clone(), 1).writing().await.unwrap();
    assert!(writing.is_marked());
    assert!(writing.done().await.unwrap().was_marked);
    assert_eq!(async_entry(there, 1).get().await.unwrap(), None);
}

/// Else a row that is often written would never be cached again.
#[test]
fn the_mark_of_a_dead_writer_ends_however_many_others_follow() {
    let server = Memcached::start();
    let cache = server.cache();
    let database = Database::new();
    #[invalidates(plain_entry(cache, row), hold_off = 1)]
    fn hold(cache: &Cache, database: &Database, row: usize) {
        database.write(row, 5);
    }
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        hold(&cache, &database, 1);
        std::thread::sleep(Duration::from_millis(100));
    }
    // Eight bytes for each that may still be held off, and for the last change.
    let mark = server.stored("row:1").expect("a mark");
    assert!(mark.len() < 8 * 40, "{} bytes", mark.len());
    until("the mark to end", || {
        plain(&cache, &database, 1);
        plain_entry(&cache, 1).get().unwrap()
    });
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn what_a_cancelled_writer_would_have_named_is_removed() {
    #[invalidates(async_entry(cache.clone(), 1), after = |moved: &usize| async_entry(other, *moved))]
    async fn change(cache: Cache, other: Cache, database: Database) -> usize {
        database.write(2, 7);
        2
    }
    let server = Memcached::start();
    let cache = server.cache();
    let database = Database::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = runtime.enter();
    for polls in 1..12 {
        database.write(2, 0);
        plain_entry(&cache, 2).delete().unwrap();
        plain(&cache, &database, 2);
        let mut call = Box::pin(change(cache.clone(), cache.clone(), database.clone()));
        for _ in 0..polls {
            if call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        drop(call);
        // The body has run in one poll, or not at all.
        if database.0.0.lock().unwrap()[2] == 7 {
            until("the entry to go", || (plain(&cache, &database, 2) == 7).then_some(()));
        }
    }
}

#[test]
fn a_writer_may_name_more_than_one_request_can_carry() {
    let server = Memcached::start();
    let cache = server.cache();
    let database = Database::new();
    let all = || (0..5_000).map(|row| plain_entry(&cache, row)).collect::<Entries<u64>>();
    assert!(all().put_many(&[1; 5_000]).iter().all(Result::is_ok));
    let writing = Writing::begin(&all()).unwrap();
    assert!(writing.is_marked());
    assert_eq!(plain(&cache, &database, 5), 0);
    assert!(all().get_many().into_iter().all(|found| found.unwrap().is_none()));
    assert!(writing.done().unwrap().was_marked);
    assert_eq!(server.items(), 0);
}

#[test]
fn an_update_that_was_unmarked_for_a_while_is_removed() {
    let server = Memcached::start();
    let (here, there) = (server.cache(), server.cache());
    let database = Database::new();
    #[updates(plain_entry(cache, 1))]
    fn slow(cache: &Cache, database: &Database, meanwhile: impl Fn()) -> u64 {
        database.write(1, 1);
        meanwhile();
        1
    }
    slow(&here, &database, || {
        plain_entry(&there, 1).delete().unwrap();
        database.write(1, 2);
        Writing::begin(&plain_entry(&there, 1)).unwrap().done().unwrap();
        // A renewal puts the mark back.
        until("the mark", || (server.stored("row:1").map(|mark| mark.len()) == Some(16)).then_some(()));
    });
    assert_eq!(plain(&there, &database, 1), 2);
}

#[memcached(key = "row:<row>", ttl = 600, cache = cache, skip(cache, body))]
fn read(cache: &Cache, row: usize, body: impl FnOnce() -> u64) -> u64 {
    body()
}

/// The trace A9: callers share a computation only as long as the mark is the same.
#[test]
fn a_caller_after_the_end_does_not_join_one_from_before() {
    everywhere(|here, there| {
        let database = Database::new();
        let writing = Writing::begin(&plain_entry(there, 1)).unwrap();
        let old = read(here, 1, || {
            let old = database.read(1);
            database.write(1, 7);
            writing.done().unwrap();
            assert_eq!(read(here, 1, || database.read(1)), 7);
            old
        });
        assert_eq!((old, plain(here, &database, 1)), (0, 7));
    });
}

#[test]
fn a_caller_under_the_mark_of_a_group_joins_none_from_before_a_change() {
    memocached::group! {
        fn all() = "all-rows";
    }
    #[memcached(key = "grouped:<row>", group = all(), ttl = 600, entry = grouped_entry, cache = cache, skip(cache, body))]
    fn grouped(cache: &Cache, row: usize, body: impl FnOnce() -> u64) -> u64 {
        body()
    }
    everywhere(|here, there| {
        let database = Database::new();
        let writing = Writing::begin(&all().of_cache(there)).unwrap();
        let old = grouped(here, 1, || {
            let old = database.read(1);
            database.write(1, 7);
            grouped_entry(there, 1).delete().unwrap();
            assert_eq!(grouped(here, 1, || database.read(1)), 7);
            old
        });
        assert_eq!(old, 0);
        writing.done().unwrap();
        assert_eq!(grouped(there, 1, || database.read(1)), 7);
    });
}

#[test]
fn an_entry_in_another_cache_is_another_one() {
    let servers = [(); 2].map(|()| Memcached::start());
    let [first, second] = servers.each_ref().map(Memcached::cache);
    let database = Database::new();
    #[invalidates(plain_entry(first, 1), after = |_: &u64| plain_entry(second, 1))]
    fn change(first: &Cache, second: &Cache, database: &Database) -> u64 {
        database.write(1, 7);
        7
    }
    assert_eq!((plain(&first, &database, 1), plain(&second, &database, 1)), (0, 0));
    change(&first, &second, &database);
    assert_eq!((plain(&first, &database, 1), plain(&second, &database, 1)), (7, 7));
}
