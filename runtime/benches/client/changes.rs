//! Functions that change data, and values in groups, on memcached.

use std::hint::black_box;

use memocached::{Cache, group, invalidates, memcached};

use super::functions::repeated;
use super::memcached::Memcached;
use super::timing::Row;

#[memcached(key = "bench:plain:<n>", ttl = 600, cache = cache, skip(cache))]
fn square(cache: &Cache, n: u64) -> u64 {
    n * n
}

pub(crate) fn rows(server: &Memcached) -> Vec<Row> {
    let [blocking, yielding] = groups(server);
    vec![blocking, yielding, writes(server), changes(server)]
}

group! {
    fn team(id: u64) = "bench:team:<id>";
    fn everything() = "bench:everything";
}

#[memcached(key = "bench:grouped:<n>", group = team(n), ttl = 600, cache = cache, skip(cache))]
fn grouped(cache: &Cache, n: u64) -> u64 {
    n * n
}

#[memcached(key = "bench:two_groups:<n>", group = [team(n), everything()], ttl = 600, cache = cache, skip(cache))]
fn in_two_groups(cache: &Cache, n: u64) -> u64 {
    n * n
}

#[memcached(key = "bench:async:<n>", ttl = 600, cache = cache, skip(cache))]
async fn square_later(cache: &Cache, n: u64) -> u64 {
    n * n
}

#[memcached(key = "bench:async_grouped:<n>", group = team(n), ttl = 600, cache = cache, skip(cache))]
async fn grouped_later(cache: &Cache, n: u64) -> u64 {
    n * n
}

/// Hits of values that are in groups, and of one that is in none.
fn groups(server: &Memcached) -> [Row; 2] {
    let [none, one, two, async_none, async_one] = [(); 5].map(|()| server.cache());
    let blocking = Row {
        name: "hit in groups",
        callers: 1,
        contenders: vec![
            ("in none", Box::new(move |times| (0..times).for_each(|_| assert_eq!(square(&none, black_box(7)), 49)))),
            ("in one", Box::new(move |times| (0..times).for_each(|_| assert_eq!(grouped(&one, black_box(7)), 49)))),
            (
                "in two",
                Box::new(move |times| (0..times).for_each(|_| assert_eq!(in_two_groups(&two, black_box(7)), 49))),
            ),
        ],
    };
    let yielding = Row {
        name: "hit in groups, async",
        callers: 1,
        contenders: vec![
            (
                "in none",
                repeated(move || {
                    let cache = async_none.clone();
                    async move { assert_eq!(square_later(&cache, black_box(7)).await, 49) }
                }),
            ),
            (
                "in one",
                repeated(move || {
                    let cache = async_one.clone();
                    async move { assert_eq!(grouped_later(&cache, black_box(7)).await, 49) }
                }),
            ),
        ],
    };
    [blocking, yielding]
}

#[memcached(key = "bench:row:<n>", ttl = 600, entry = row_entry, cache = cache, skip(cache))]
fn row(cache: &Cache, n: u64) -> u64 {
    n
}

#[invalidates(row_entry(cache, 7))]
fn marked(cache: &Cache, change: &mut dyn FnMut()) {
    change();
}

#[invalidates(row_entry(cache, 7), mark = off)]
fn unmarked(cache: &Cache, change: &mut dyn FnMut()) {
    change();
}

/// What changing an entry costs that is computed and stored again each time.
fn changes(server: &Memcached) -> Row {
    let [deleting, unmarking, marking] = [(); 3].map(|()| server.cache());
    Row {
        name: "miss after a change",
        callers: 1,
        contenders: vec![
            (
                "`delete()`",
                Box::new(move |times| {
                    (0..times).for_each(|_| {
                        row(&deleting, 7);
                        row_entry(&deleting, 7).delete().unwrap();
                    });
                }),
            ),
            (
                "`mark = off`",
                Box::new(move |times| {
                    (0..times).for_each(|_| {
                        row(&unmarking, 7);
                        unmarked(&unmarking, &mut || ());
                    });
                }),
            ),
            (
                "marks",
                Box::new(move |times| {
                    (0..times).for_each(|_| {
                        row(&marking, 7);
                        marked(&marking, &mut || ());
                    });
                }),
            ),
        ],
    }
}

/// A row of a database in a file.
struct Table(rusqlite::Connection);

impl Table {
    fn open(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("memocached-{}-{name}.sqlite", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let connection = rusqlite::Connection::open(path).unwrap();
        connection.pragma_update(None, "journal_mode", "wal").unwrap();
        connection.execute_batch("create table rows (id integer primary key, n integer)").unwrap();
        connection.execute("insert into rows values (7, 0)", []).unwrap();
        Table(connection)
    }

    fn update(&self) {
        self.0.prepare_cached("update rows set n = n + 1 where id = 7").unwrap().execute([]).unwrap();
    }
}

/// A change of a row of a database (SQLite, WAL, `synchronous = full`), with and without
/// the entry that is cached of it.
fn writes(server: &Memcached) -> Row {
    let [first, second, third] = ["plain", "unmarked", "marked"].map(Table::open);
    let [unmarking, marking] = [(); 2].map(|()| server.cache());
    Row {
        name: "write",
        callers: 1,
        contenders: vec![
            ("UPDATE of SQLite", Box::new(move |times| (0..times).for_each(|_| first.update()))),
            (
                "and `mark = off`",
                Box::new(move |times| {
                    (0..times).for_each(|_| {
                        row(&unmarking, 7);
                        unmarked(&unmarking, &mut || second.update());
                    });
                }),
            ),
            (
                "and marks",
                Box::new(move |times| {
                    (0..times).for_each(|_| {
                        row(&marking, 7);
                        marked(&marking, &mut || third.update());
                    });
                }),
            ),
        ],
    }
}
