//! Bytes written by another type, version or program are a miss.

use memocached::{Cache, memcached};

use crate::support::memcached::Memcached;

macro_rules! version {
    ($name:ident, version = $version:literal, { $($field:ident: $type:ty = $value:expr),* }) => {
        mod $name {
            use super::*;

            #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
            pub(super) struct User { $(pub(super) $field: $type),* }

            #[memcached(key = "schema:user:<id>", ttl = 60, version = $version, cache = cache, skip(cache))]
            pub(super) fn user(cache: &Cache, id: u64) -> User {
                let _ = id;
                User { $($field: $value),* }
            }
        }
    };
}

version!(first, version = 0, { id: u64 = 1, age: u32 = 30, score: u32 = 7 });
version!(same, version = 0, { id: u64 = 2, age: u32 = 31, score: u32 = 8 });
version!(swapped, version = 0, { id: u64 = 3, score: u32 = 9, age: u32 = 32 });
version!(dropped, version = 0, { id: u64 = 4, age: u32 = 33 });
version!(signed, version = 0, { id: u64 = 5, age: i32 = 34, score: u32 = 10 });
version!(bumped, version = 1, { id: u64 = 6, age: u32 = 35, score: u32 = 11 });

#[test]
fn a_changed_struct_is_computed_anew() {
    let server = Memcached::start();
    let cache = server.cache();
    assert_eq!(first::user(&cache, 1).id, 1);
    assert_eq!(same::user(&cache, 1).id, 1, "the same structure is a hit");
    assert_eq!(swapped::user(&cache, 1).score, 9);
    assert_eq!(dropped::user(&cache, 1).id, 4);
    assert_eq!(signed::user(&cache, 1).age, 34);
    assert_eq!(bumped::user(&cache, 1).id, 6);
    assert_eq!(bumped::user(&cache, 1).id, 6);
    assert_eq!(server.stat("cmd_set"), 5, "each of them stored its own");
}

#[test]
fn what_another_program_stored_is_replaced() {
    let server = Memcached::start();
    let cache = server.cache();
    for foreign in ["ms schema:user:1 5 T60\r\nhello", "ms schema:user:1 0 T60\r\n", "ms schema:user:1 0 F16 T60\r\n"] {
        assert_eq!(server.command(foreign), "HD");
        assert_eq!(first::user(&cache, 1).id, 1);
        assert_eq!(same::user(&cache, 1).id, 1, "{foreign:?}");
        assert_eq!(server.command("md schema:user:1"), "HD");
    }
}

#[test]
fn damaged_bytes_are_a_miss() {
    let server = Memcached::start();
    let cache = server.cache();
    first::user(&cache, 1);
    let stored = server.stored("schema:user:1").expect("stored");
    for place in [0, 3, 10, 20, 30, 40, stored.len() - 1] {
        let mut damaged = stored.clone();
        damaged[place] ^= 1;
        server.store("schema:user:1", &damaged);
        assert_eq!(same::user(&cache, 1).id, 2, "byte {place}");
        server.store("schema:user:1", &damaged[..damaged.len() - 1]);
        assert_eq!(same::user(&cache, 1).id, 2, "byte {place}, cut");
    }
    server.store("schema:user:1", &stored);
    assert_eq!(same::user(&cache, 1).id, 1);
}

#[test]
fn another_keys_value_is_a_miss() {
    let server = Memcached::start();
    let cache = server.cache();
    first::user(&cache, 1);
    let stored = server.stored("schema:user:1").expect("stored");
    server.store("schema:user:2", &stored);
    assert_eq!(same::user(&cache, 2).id, 2);
}
