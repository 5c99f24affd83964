//! Nothing but the very bytes that were stored for a key is a hit.

use std::cell::Cell;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use memocached::{Cache, memcached};
use serde::{Deserialize, Serialize};

use crate::support::asking::PATIENCE;
use crate::support::damage::with_each_bit_flipped;
use crate::support::memcached::Memcached;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Page {
    id: u32,
    words: Vec<String>,
    next: Option<u64>,
}

/// Long enough to be compressed.
fn page(id: u32) -> Page {
    Page { id, words: vec!["word".into(); 20], next: Some(id.into()) }
}

thread_local! {
    /// How often this thread, and so this test, has computed.
    static COMPUTED: Cell<u32> = const { Cell::new(0) };
}

macro_rules! stored_with {
    ($($codec:ident)*) => {
        $(#[memcached(key = "integrity:<id>", ttl = 60, codec = $codec, cache = cache, skip(cache))]
        fn $codec(cache: &Cache, id: u32) -> Page {
            COMPUTED.set(COMPUTED.get() + 1);
            page(id)
        })*

        const CODECS: &[(&str, fn(&Cache, u32) -> Page)] = &[$((stringify!($codec), $codec)),*];
    };
}

stored_with! { bincode postcard json }

#[memcached(key = "integrity:<id>", ttl = 60, cache = cache, skip(cache))]
fn another_type(cache: &Cache, id: u32) -> Vec<u32> {
    vec![id]
}

/// What a program that can reach the server may do.
struct Intruder(BufReader<TcpStream>);

impl Intruder {
    fn at(server: &Memcached) -> Self {
        let stream = TcpStream::connect(server.address()).expect("the server listens");
        stream.set_nodelay(true).expect("an option");
        Intruder(BufReader::new(stream))
    }

    fn store(&mut self, key: &str, flags: u32, value: &[u8]) {
        let head = format!("ms {key} {} F{flags} T60\r\n", value.len());
        self.0.get_mut().write_all(&[head.as_bytes(), value, b"\r\n"].concat()).expect("the server reads");
        self.told("HD");
    }

    fn told(&mut self, expected: &str) {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("the server answers");
        assert_eq!(line.trim_end(), expected);
    }
}

#[test]
fn no_flipped_bit_no_cut_and_no_more_is_taken_for_the_value() {
    let server = Memcached::start();
    let cache = server.cache();
    let mut intruder = Intruder::at(&server);
    for (codec, function) in CODECS {
        let mut refuses = |what: &str, bytes: &[u8]| {
            intruder.store("integrity:1", FLAGS, bytes);
            let before = COMPUTED.get();
            assert_eq!(function(&cache, 1), page(1), "{codec}, {what}");
            assert_eq!(COMPUTED.get() - before, 1, "{codec}, {what}");
        };
        assert_eq!(server.command("flush_all"), "OK");
        function(&cache, 1);
        let stored = server.stored("integrity:1").expect("stored");
        for (bit, flipped) in with_each_bit_flipped(&stored) {
            refuses(&format!("bit {bit}"), &flipped);
        }
        for end in 0..stored.len() {
            refuses(&format!("{end} bytes"), &stored[..end]);
            refuses(&format!("without {end} bytes"), &stored[end + 1..]);
        }
        for more in [&b"\0"[..], b"1", b"\r\n", &stored] {
            refuses("with more behind", &[&stored[..], more].concat());
            refuses("with more in front", &[more, &stored].concat());
        }
        intruder.store("integrity:1", FLAGS, &stored);
        let before = COMPUTED.get();
        assert_eq!(function(&cache, 1), page(1));
        assert_eq!(COMPUTED.get(), before, "{codec}: as it was, it is a hit");
    }
}

#[test]
fn a_value_in_another_place_is_not_taken_for_the_one_there() {
    let server = Memcached::start();
    let cache = server.cache();
    let mut intruder = Intruder::at(&server);
    let mut stored = Vec::new();
    for (codec, function) in CODECS {
        for id in [1, 2] {
            assert_eq!(server.command("flush_all"), "OK");
            function(&cache, id);
            stored.push((*codec, id, server.stored(&format!("integrity:{id}")).expect("stored")));
        }
    }
    assert_eq!(server.command("flush_all"), "OK");
    another_type(&cache, 1);
    stored.push(("another type", 1, server.stored("integrity:1").expect("stored")));
    for (theirs, id, bytes) in &stored {
        for (codec, function) in CODECS {
            assert_eq!(server.command("flush_all"), "OK");
            intruder.store("integrity:1", FLAGS, bytes);
            let before = COMPUTED.get();
            assert_eq!(function(&cache, 1), page(1), "{theirs} {id} for {codec}");
            let hits = u32::from(theirs == codec && *id == 1);
            assert_eq!(COMPUTED.get() - before, 1 - hits, "{theirs} {id} for {codec}");
        }
    }
}

#[test]
fn damage_to_a_compressed_value_never_changes_it() {
    let server = Memcached::start();
    let cache = Cache::builder().servers(server.address()).compress(64).timeout(PATIENCE).build().unwrap();
    let mut intruder = Intruder::at(&server);
    for (codec, function) in CODECS {
        assert_eq!(server.command("flush_all"), "OK");
        function(&cache, 1);
        let stored = server.stored("integrity:1").expect("stored");
        assert_eq!(server.command("mg integrity:1 f"), format!("HD f{COMPRESSED}"), "{codec}");
        for (bit, flipped) in with_each_bit_flipped(&stored) {
            intruder.store("integrity:1", COMPRESSED, &flipped);
            assert_eq!(function(&cache, 1), page(1), "{codec}, bit {bit}");
        }
        intruder.store("integrity:1", COMPRESSED, &stored);
        let before = COMPUTED.get();
        assert_eq!((function(&cache, 1), COMPUTED.get()), (page(1), before), "{codec}: as it was, it is a hit");
    }
}

/// Those of this crate's values, as they are and compressed.
const FLAGS: u32 = 0x6D63_0000;
const COMPRESSED: u32 = FLAGS | 8;
