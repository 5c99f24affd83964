//! With a secret, a program that can write to the servers cannot forge a value.

use std::cell::Cell;
use std::time::Duration;

use memocached::{Cache, memcached};

use crate::support::damage::with_each_bit_flipped;
use crate::support::memcached::Memcached;
use crate::support::process::{again, output, role};

thread_local! {
    static COMPUTED: Cell<u32> = const { Cell::new(0) };
}

#[memcached(key = "signed:<id>", ttl = 60, entry = signed_entry, cache = cache, skip(cache))]
fn signed(cache: &Cache, id: u32) -> Option<u32> {
    COMPUTED.set(COMPUTED.get() + 1);
    Some(id * 3)
}

#[memcached(key = "signed:none:<id>", ttl = 60, cache_none = 60, cache = cache, skip(cache))]
fn none(cache: &Cache, id: u32) -> Option<u32> {
    COMPUTED.set(COMPUTED.get() + 1);
    let _ = id;
    None
}

/// How often calls compute.
fn computed<T>(calls: impl FnOnce() -> T) -> u32 {
    let before = COMPUTED.get();
    calls();
    COMPUTED.get() - before
}

fn with_secret(server: &Memcached, secret: &[u8]) -> Cache {
    let builder = Cache::builder().servers(server.address()).timeout(Duration::from_secs(2));
    builder.auth_key(secret).build().expect("a secret")
}

/// Those of this crate's values, without signature and with one.
const PLAIN: u32 = 0x6D63_0000;
const SIGNED: u32 = 0x6D63_0100;

#[test]
fn caches_with_the_same_secret_share_values_of_all_kinds() {
    let server = Memcached::start();
    let (one, other) = (with_secret(&server, &[7; 32]), with_secret(&server, &[7; 32]));
    assert_eq!(computed(|| (signed(&one, 1), none(&one, 1))), 2);
    assert_eq!(computed(|| assert_eq!((signed(&other, 1), none(&other, 1)), (Some(3), None))), 0);
    assert_eq!(signed_entry(&other, 1).get().unwrap(), Some(3));
    signed_entry(&other, 2).put(&8).unwrap();
    assert_eq!(computed(|| assert_eq!(signed(&one, 2), Some(8))), 0);
    let key = "signed:1";
    assert!(server.command(&format!("mg {key} f")).ends_with(&format!("f{SIGNED}")));
}

#[test]
fn a_value_without_the_secrets_signature_is_not_used() {
    let server = Memcached::start();
    let (plain, mine, theirs) = (server.cache(), with_secret(&server, &[7; 32]), with_secret(&server, &[8; 32]));
    let stored_by = |cache: &Cache, id| {
        assert_eq!(server.command("flush_all"), "OK");
        signed(cache, id);
        server.stored(&format!("signed:{id}")).expect("stored")
    };
    let refused = |what: &str, flags: u32, bytes: &[u8]| {
        assert_eq!(server.command("flush_all"), "OK");
        server.store("signed:1", flags, bytes);
        assert_eq!(computed(|| assert_eq!(signed(&mine, 1), Some(3))), 1, "{what}");
    };
    let unsigned = stored_by(&plain, 1);
    refused("a value without a signature", PLAIN, &unsigned);
    refused("one that is said to have one", SIGNED, &unsigned);
    refused("one with a signature of zeros", SIGNED, &[&unsigned[..], &[0; 40]].concat());
    refused("one with another's secret", SIGNED, &stored_by(&theirs, 1));
    refused("another key's", SIGNED, &stored_by(&mine, 2));
    let own = stored_by(&mine, 1);
    let number = &own[own.len() - 40..own.len() - 32];
    refused("one with a forged signature", SIGNED, &[&unsigned[..], number, &[0; 32]].concat());
    refused("the own one without its mark", PLAIN, &own);
    refused("compressed, as it is said", SIGNED | 8, &own);
    for (bit, flipped) in with_each_bit_flipped(&own) {
        refused(&format!("bit {bit}"), SIGNED, &flipped);
    }
    for end in 0..own.len() {
        refused(&format!("{end} bytes"), SIGNED, &own[..end]);
    }
    server.store("signed:1", SIGNED, &own);
    assert_eq!(computed(|| signed(&mine, 1)), 0, "as it was, it is a hit");
    assert_eq!(computed(|| signed(&plain, 1)), 1, "but not for a cache without a secret");
}

#[test]
fn processes_without_a_secret_and_with_two_do_not_overwrite_each_other() {
    let server = Memcached::start();
    let caches = [server.cache(), with_secret(&server, &[7; 32]), with_secret(&server, &[8; 32])];
    let calls = |id| (0..10).for_each(|_| caches.iter().for_each(|cache| _ = signed(cache, id)));
    assert_eq!(computed(|| calls(1)), 3);
    for (i, cache) in caches.iter().enumerate() {
        signed_entry(cache, 1).delete().unwrap();
        assert_eq!(computed(|| calls(1)), 3, "after {i} has deleted it");
    }
}

#[memcached(key = "signed:long:<id>", ttl = 60, cache = cache, skip(cache))]
fn long(cache: &Cache, id: u32) -> String {
    COMPUTED.set(COMPUTED.get() + 1);
    id.to_string().repeat(500)
}

#[test]
fn processes_with_two_secrets_do_not_overwrite_each_others_compressed_values() {
    let server = Memcached::start();
    let caches = [[7; 32], [8; 32]].map(|secret| {
        let builder = Cache::builder().servers(server.address()).timeout(Duration::from_secs(2));
        builder.compress(64).auth_key(secret).build().unwrap()
    });
    let calls = || (0..10).for_each(|_| caches.iter().for_each(|cache| _ = long(cache, 1)));
    assert_eq!(computed(calls), 2);
    assert!(server.stored("signed:long:1").unwrap().len() < 250);
}

#[memcached(key = "signed:env:<id>", ttl = 60)]
fn from_environment(id: u32) -> u32 {
    COMPUTED.set(COMPUTED.get() + 1);
    id
}

#[test]
fn the_environment_has_the_secret_and_no_error_shows_it() {
    const TEST: &str = "behaviour::authenticated::the_environment_has_the_secret_and_no_error_shows_it";
    if role().is_some() {
        let trouble = Cache::from_env().err().map_or_else(String::new, |error| format!("{error} {error:?}"));
        return println!("computed {} {trouble}", computed(|| from_environment(5)));
    }
    let server = Memcached::start();
    let program = |secret: &str| {
        let mut program = again(TEST, "child");
        program.env("MEMCACHED_TIMEOUT", "10s").env("MEMCACHED_CONNECT_TIMEOUT", "10s");
        output(program.env("MEMCACHED_SERVERS", server.address()).env("MEMCACHED_AUTH_KEY", secret))
    };
    let hexadecimal = "00112233445566778899aabbccddeeff".repeat(2);
    let base64 = "ABEiM0RVZneImaq7zN3u/wARIjNEVWZ3iJmqu8zd7v8=";
    assert!(program(&hexadecimal).contains("computed 1"));
    assert!(program(base64).contains("computed 0"), "the same in another form");
    assert!(program(&"ff".repeat(32)).contains("computed 1"), "another");
    let short = "c2VjcmV0LWNhbmFyeQ==";
    let told = program(short);
    assert!(
        told.contains("MEMCACHED_AUTH_KEY (not shown) cannot be used; accepted: a secret of at least 32"),
        "{told}"
    );
    assert!(!told.contains(short), "{told}");
}
