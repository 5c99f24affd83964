//! One cache for several languages: pymemcache and libmemcached find our
//! values where they look for them, as what they were, and we theirs.

use std::cell::Cell;
use std::process::Command;

use memocached::codec::{Json, Text};
use memocached::{Cache, Client, Distribution, ErrorKind, memcached};
use serde::{Deserialize, Serialize};

use crate::support::asking::{MINUTE, of};
use crate::support::folder::Folder;
use crate::support::memcached::Memcached;
use crate::support::process::output;
use crate::support::tools::{PYTHON_MODULES, Tool};

/// Three nodes that programs in several languages use.
struct Shared {
    servers: [Memcached; 3],
    list: String,
}

impl Shared {
    fn new() -> Self {
        let servers = [(); 3].map(|()| Memcached::start());
        let list = servers.each_ref().map(Memcached::address).join(",");
        Shared { servers, list }
    }

    /// `None` where the test has to end without pymemcache.
    fn with_pymemcache() -> Option<Self> {
        Tool::Pymemcache.is_here().then(Shared::new)
    }

    fn cache(&self, distribution: Distribution) -> Cache {
        of(&self.list).distribution(distribution).build().unwrap()
    }

    /// Runs these lines of Python with a `client` of pymemcache's; what they
    /// print.
    fn python(&self, lines: &str) -> String {
        let prelude = "import json, sys\n\
                       from pymemcache import serde\n\
                       from pymemcache.client.hash import HashClient\n\
                       def connect(serde=serde.pickle_serde, **options):\n    \
                           return HashClient(sys.argv[1].split(','), serde=serde, default_noreply=False, **options)\n\
                       client = connect()\n";
        let mut python = Command::new("python3");
        output(python.args(["-c", &format!("{prelude}{lines}"), &self.list]).env("PYTHONPATH", PYTHON_MODULES))
    }

    fn items(&self) -> Vec<u64> {
        self.servers.iter().map(|server| server.stat("curr_items")).collect()
    }
}

/// One copy of each, and a fair share on each node.
fn assert_spread(items: &[u64], keys: u64) {
    assert_eq!(items.iter().sum::<u64>(), keys, "{items:?}");
    assert!(items.iter().all(|held| held * 6 > keys), "{items:?}");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Price {
    cents: u32,
    currency: String,
}

fn price() -> Price {
    Price { cents: 250, currency: "€".into() }
}

#[memcached(key = "interop:double:<n>", ttl = 60, codec = text, cache = cache, skip(cache, computed))]
fn double(cache: &Cache, computed: &Cell<u32>, n: u64) -> u64 {
    computed.set(computed.get() + 1);
    n * 2
}

#[memcached(key = "interop:shout:<word>", ttl = 60, codec = text, cache = cache, skip(cache, computed))]
fn shout(cache: &Cache, computed: &Cell<u32>, word: &str) -> String {
    computed.set(computed.get() + 1);
    word.to_uppercase()
}

#[test]
fn what_pymemcache_has_stored_is_found_and_understood() {
    let Some(shared) = Shared::with_pymemcache() else { return };
    shared.python(
        "for n in range(200): client.set(f'number:{n}', n)\n\
         client.set('bytes', b'\\x00\\xff'); client.set('text', 'straße'); client.set('negative', -5)\n\
         client.set('json', json.dumps({'cents': 250, 'currency': '€'}))\n\
         client.set('interop:double:21', 42); client.set('interop:double:22', '44')\n\
         client.set('interop:shout:hey', 'HEY')",
    );
    assert_spread(&shared.items(), 207);
    let cache = shared.cache(Distribution::Rendezvous);
    let client = Client::of(&cache);
    for n in 0..200 {
        assert_eq!(client.get::<i64>(format!("number:{n}")).unwrap(), Some(n), "number:{n}");
    }
    let found = client.get_many::<i64>((0..200).map(|n| format!("number:{n}")));
    assert_eq!((found.values.len(), found.failed.len()), (200, 0));
    assert_eq!(client.get::<Vec<u8>>("bytes").unwrap().unwrap(), [0, 255]);
    assert_eq!(client.get::<String>("text").unwrap().unwrap(), "straße");
    assert_eq!(client.get::<i64>("negative").unwrap(), Some(-5));
    assert_eq!(client.get_as::<i64, _>("negative", Text).unwrap(), Some(-5));
    assert_eq!(client.get_as::<String, _>("text", Text).unwrap().unwrap(), "straße");
    assert_eq!(client.get_as::<Price, _>("json", Json).unwrap(), Some(price()));
    assert_eq!(client.incr("number:7", 3).unwrap(), Some(10));

    let computed = Cell::new(0);
    assert_eq!((double(&cache, &computed, 21), double(&cache, &computed, 22)), (42, 44));
    assert_eq!(shout(&cache, &computed, "hey"), "HEY");
    assert_eq!(computed.get(), 0, "all found");
    assert_spread(&shared.items(), 207);
}

#[test]
fn what_is_stored_here_is_found_by_pymemcache_as_what_it_was() {
    let Some(shared) = Shared::with_pymemcache() else { return };
    let cache = shared.cache(Distribution::Rendezvous);
    let client = Client::of(&cache);
    assert!(client.set_many((0..200).map(|n| (format!("number:{n}"), n)), MINUTE).is_empty());
    client.set("bytes", &[0_u8, 255], MINUTE).unwrap();
    client.set("text", "straße", MINUTE).unwrap();
    client.set("negative", &-5, MINUTE).unwrap();
    client.set_as("json", Json, &price(), MINUTE).unwrap();
    client.set_as("as-text", Text, &2.5, MINUTE).unwrap();
    double(&cache, &Cell::new(0), 21);
    shout(&cache, &Cell::new(0), "hey");
    assert_spread(&shared.items(), 207);
    let read = shared.python(
        "assert all(client.get(f'number:{n}') == n for n in range(200))\n\
         assert len(client.get_many([f'number:{n}' for n in range(200)])) == 200\n\
         for key in ['bytes', 'text', 'negative', 'as-text', 'interop:double:21', 'interop:shout:hey']:\n    \
             print(ascii(client.get(key)))\n\
         print(ascii(json.loads(client.get('json'))))\n\
         print(client.incr('number:7', 3))",
    );
    let expected =
        [r"b'\x00\xff'", r"'stra\xdfe'", "-5", "'2.5'", "'42'", "'HEY'", r"{'cents': 250, 'currency': '\u20ac'}", "10"];
    assert_eq!(read.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn what_pymemcache_has_compressed_is_understood() {
    let Some(shared) = Shared::with_pymemcache() else { return };
    shared.python(
        "client = connect(serde.compressed_serde)\n\
         client.set('text', 'ab' * 5000); client.set('bytes', b'ab' * 5000)\n\
         client.set('json', json.dumps(['ab'] * 5000)); client.set('interop:shout:long', 'AB' * 5000)",
    );
    let cache = shared.cache(Distribution::Rendezvous);
    let client = Client::of(&cache);
    let expected = "ab".repeat(5000);
    assert_eq!(client.get::<String>("text").unwrap().as_ref(), Some(&expected));
    assert_eq!(client.get_as::<String, _>("text", Text).unwrap().as_ref(), Some(&expected));
    assert_eq!(client.get::<Vec<u8>>("bytes").unwrap().unwrap(), expected.as_bytes());
    assert_eq!(client.get_as::<Vec<String>, _>("json", Json).unwrap().unwrap(), ["ab"; 5000]);
    let computed = Cell::new(0);
    assert_eq!(shout(&cache, &computed, "long"), "AB".repeat(5000));
    assert_eq!(computed.get(), 0);
}

#[test]
fn an_object_of_pythons_is_refused_and_not_misread() {
    let Some(shared) = Shared::with_pymemcache() else { return };
    // An old format for them is text, and that of 5 begins like a number.
    shared.python(
        "old = connect(serde.PickleSerde(0))\n\
         for client, name in [(client, 'new'), (old, 'old'), (connect(serde.compressed_serde), 'long')]:\n    \
             client.set(name + ':none', None); client.set(name + ':list', [5] * 5000); client.set(name + ':float', 1.5)\n\
         old.set('interop:double:1', None); old.set('interop:shout:none', None)",
    );
    let cache = shared.cache(Distribution::Rendezvous);
    let client = Client::of(&cache);
    for key in
        ["new", "old", "long"].map(|name| ["none", "list", "float"].map(|kind| format!("{name}:{kind}"))).concat()
    {
        for error in [
            client.get::<String>(&key).unwrap_err(),
            client.get::<i64>(&key).unwrap_err(),
            client.get_as::<String, _>(&key, Text).unwrap_err(),
            client.get_as::<Vec<u8>, _>(&key, Json).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Decode, "{key}");
        }
        assert_eq!(client.get_many::<String>([&key]).failed.get(&key).unwrap().kind(), ErrorKind::Decode);
    }
    // Functions compute, and what they store takes its place.
    let computed = Cell::new(0);
    assert_eq!((double(&cache, &computed, 1), shout(&cache, &computed, "none").as_str()), (2, "NONE"));
    assert_eq!((double(&cache, &computed, 1), shout(&cache, &computed, "none").as_str()), (2, "NONE"));
    assert_eq!(computed.get(), 2);
    assert_eq!(shared.python("print(client.get('interop:shout:none'))").trim(), "NONE");
}

#[test]
fn what_no_other_program_can_read_is_bytes_to_pymemcache() {
    #[memcached(key = "interop:enveloped", ttl = 60, cache = cache, skip(cache))]
    fn enveloped(cache: &Cache) -> u64 {
        7
    }
    let Some(shared) = Shared::with_pymemcache() else { return };
    let cache = shared.cache(Distribution::Rendezvous);
    enveloped(&cache);
    assert_eq!(shared.python("print(type(client.get('interop:enveloped')))").trim(), "<class 'bytes'>");
    let error = Client::of(&cache).get_as::<String, _>("interop:enveloped", Text).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
}

#[test]
fn a_namespace_is_a_key_prefix_of_pymemcaches_that_ends_with_a_colon() {
    let Some(shared) = Shared::with_pymemcache() else { return };
    let cache = of(&shared.list).distribution(Distribution::Rendezvous).namespace("shop").build().unwrap();
    let client = Client::of(&cache);
    assert!(client.set_many((0..100).map(|n| (format!("ours:{n}"), n)), MINUTE).is_empty());
    let found = shared.python(
        "client = connect(key_prefix=b'shop:')\n\
         for n in range(100): client.set(f'theirs:{n}', n)\n\
         print(sum(client.get(f'ours:{n}') == n for n in range(100)))",
    );
    assert_eq!(found.trim(), "100");
    assert_eq!(client.get_many::<i64>((0..100).map(|n| format!("theirs:{n}"))).values.len(), 100);
    assert_spread(&shared.items(), 200);
    assert!(shared.servers.iter().any(|server| server.stored("shop:theirs:7").is_some()));
}

#[test]
fn libmemcacheds_tools_find_keys_where_modula_puts_them() {
    if !Tool::Memccp.is_here() {
        return;
    }
    let (shared, folder) = (Shared::new(), Folder::new());
    let client = Client::of(&shared.cache(Distribution::Modula));
    let servers = format!("--servers={}", shared.list);
    // The file's name becomes the key.
    let theirs: Vec<_> = (0..100).map(|n| folder.write(&format!("theirs:{n}"), &n.to_string())).collect();
    output(Command::new("memccp").arg(&servers).args(&theirs));
    for n in 0..100 {
        assert_eq!(client.get::<String>(format!("theirs:{n}")).unwrap(), Some(n.to_string()));
    }
    let ours: Vec<_> = (0..100).map(|n| format!("ours:{n}")).collect();
    assert!(client.set_many(ours.iter().zip(0..), MINUTE).is_empty());
    let read = output(Command::new("memccat").arg(&servers).args(&ours));
    assert_eq!(read.lines().collect::<Vec<_>>(), (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(shared.items().iter().sum::<u64>(), 200);
}
