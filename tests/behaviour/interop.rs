//! One cache for several languages: pymemcache and libmemcached find our
//! values where they look for them, as what they were, and we theirs.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::process::Command;

use memocached::codec::{BareJson, Json, JsonSerde, Text};
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
        self.servers.iter().map(Memcached::items).collect()
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
fn djangos_cache_finds_what_is_stored_here_and_we_what_it_stores() {
    // Django puts its prefix and its version before each key.
    #[memcached(key = ":1:price:<n>", ttl = 60, codec = bare_json, cache = cache, skip(cache, computed))]
    fn price_of(cache: &Cache, computed: &Cell<u32>, n: u32) -> Price {
        computed.set(computed.get() + 1);
        Price { cents: n, ..price() }
    }
    #[memcached(key = ":1:word:<n>", ttl = 60, codec = text, cache = cache, skip(cache, computed))]
    fn word(cache: &Cache, computed: &Cell<u32>, n: u32) -> String {
        computed.set(computed.get() + 1);
        n.to_string()
    }
    if !Tool::Django.is_here() {
        return;
    }
    let shared = Shared::new();
    let cache = shared.cache(Distribution::Rendezvous);
    let (client, computed) = (Client::of(&cache), Cell::new(0));
    client.set(":1:bytes", &[0_u8, 255], MINUTE).unwrap();
    client.set(":1:text", "straße", MINUTE).unwrap();
    assert!(client.set_many((0..100).map(|n| (format!(":1:ours:{n}"), n)), MINUTE).is_empty());
    assert_eq!((price_of(&cache, &computed, 1).cents, word(&cache, &computed, 1).as_str()), (1, "1"));
    let read = shared.python(
        "import django.conf\n\
         backend = 'django.core.cache.backends.memcached.PyMemcacheCache'\n\
         django.conf.settings.configure(CACHES={'default': {'BACKEND': backend, 'LOCATION': sys.argv[1].split(',')}})\n\
         from django.core.cache import cache\n\
         for key in ['bytes', 'text', 'word:1']: print(ascii(cache.get(key)))\n\
         print(ascii(json.loads(cache.get('price:1'))), sum(cache.get(f'ours:{n}') == n for n in range(100)))\n\
         cache.set_many({f'theirs:{n}': n for n in range(100)})\n\
         cache.set('word:2', 'two'); cache.set('word:3', 3)\n\
         cache.set('price:2', json.dumps({'cents': 5, 'currency': '€'}))\n\
         cache.set('object', {'cents': 5}); print(cache.incr('ours:7'), cache.delete('ours:8'))",
    );
    let expected = [r"b'\x00\xff'", r"'stra\xdfe'", "'1'", r"{'cents': 1, 'currency': '\u20ac'} 100", "8 True"];
    assert_eq!(read.lines().collect::<Vec<_>>(), expected);
    assert_eq!(client.get_many::<i64>((0..100).map(|n| format!(":1:theirs:{n}"))).values.len(), 100);
    assert_eq!((client.get::<i64>(":1:ours:7").unwrap(), client.get::<i64>(":1:ours:8").unwrap()), (Some(8), None));
    assert_eq!(client.get::<String>(":1:object").unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!([2, 3].map(|n| word(&cache, &computed, n)), ["two", "3"]);
    assert_eq!((price_of(&cache, &computed, 2).cents, computed.get()), (5, 2), "none of these is computed");
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

#[memcached(key = "interop:bare:<n>", ttl = 60, codec = bare_json, cache = cache, skip(cache, computed))]
fn bare(cache: &Cache, computed: &Cell<u32>, n: u32) -> Price {
    computed.set(computed.get() + 1);
    Price { cents: n, ..price() }
}

#[memcached(key = "interop:serde:<n>", ttl = 60, codec = json_serde, cache = cache, skip(cache, computed))]
fn by_serde(cache: &Cache, computed: &Cell<u32>, n: u32) -> serde_json::Value {
    computed.set(computed.get() + 1);
    if n == 0 { "zero".into() } else { serde_json::json!({ "n": n }) }
}

/// As pymemcache documents it.
const JSON_SERDE: &str = "class JsonSerde:\n    \
    def serialize(self, key, value):\n        \
        if isinstance(value, str): return value.encode('utf-8'), 1\n        \
        return json.dumps(value).encode('utf-8'), 2\n    \
    def deserialize(self, key, value, flags):\n        \
        if flags == 1: return value.decode('utf-8')\n        \
        if flags == 2: return json.loads(value.decode('utf-8'))\n        \
        raise Exception('Unknown serialization format')\n";

#[test]
fn bare_json_crosses_both_ways() {
    let Some(shared) = Shared::with_pymemcache() else { return };
    shared.python(
        "client.set('interop:bare:1', json.dumps({'cents': 5, 'currency': '€'}))\n\
         client.set('interop:bare:2', json.dumps({'cents': 6, 'currency': '€'}).encode())\n\
         connect(serde.compressed_serde).set('list', json.dumps(['ab'] * 5000))",
    );
    let (cache, computed) = (shared.cache(Distribution::Rendezvous), Cell::new(0));
    assert_eq!((bare(&cache, &computed, 1).cents, bare(&cache, &computed, 2).cents, computed.get()), (5, 6, 0));
    let client = Client::of(&cache);
    assert_eq!(client.get_as::<Vec<String>, _>("list", BareJson).unwrap().unwrap(), ["ab"; 5000]);
    assert_eq!((bare(&cache, &computed, 3).cents, bare(&cache, &computed, 3).cents, computed.get()), (3, 3, 1));
    let read = shared.python("print(ascii(json.loads(client.get('interop:bare:3'))))");
    assert_eq!(read.trim(), r"{'cents': 3, 'currency': '\u20ac'}");
}

#[test]
fn what_pymemcaches_json_serde_stores_and_reads_crosses_both_ways() {
    let Some(shared) = Shared::with_pymemcache() else { return };
    shared.python(&format!(
        "{JSON_SERDE}client = connect(JsonSerde())\n\
         client.set('interop:serde:1', 'one'); client.set('interop:serde:2', {{'n': -2}})\n\
         client.set('text', 'say \\u201chi\\u201d'); client.set('list', [1, None, 2.5])"
    ));
    let (cache, computed) = (shared.cache(Distribution::Rendezvous), Cell::new(0));
    let client = Client::of(&cache);
    assert_eq!(by_serde(&cache, &computed, 1), "one");
    assert_eq!(by_serde(&cache, &computed, 2), serde_json::json!({ "n": -2 }));
    assert_eq!(client.get_as::<String, _>("text", JsonSerde).unwrap().unwrap(), "say \u{201c}hi\u{201d}");
    assert_eq!(client.get_as::<Vec<Option<f64>>, _>("list", JsonSerde).unwrap().unwrap(), [Some(1.0), None, Some(2.5)]);
    assert_eq!(computed.get(), 0);
    for n in [0, 3] {
        by_serde(&cache, &computed, n);
        by_serde(&cache, &computed, n);
    }
    assert_eq!(computed.get(), 2);
    let read = shared.python(&format!(
        "{JSON_SERDE}client = connect(JsonSerde())\nprint(client.get('interop:serde:0'), client.get('interop:serde:3'))"
    ));
    assert_eq!(read.trim(), "zero {'n': 3}");
}

/// A server that PHP's clients use too.
fn php(server: &Memcached, lines: &str) -> String {
    let (host, port) =
        server.address().rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).unwrap();
    let prelude = format!("$m = new Memcached(); $m->addServer('{host}', {port});\n");
    output(Command::new("php").args(["-d", "display_errors=stderr", "-r", &format!("{prelude}{lines}")]))
}

/// The table in the guide.
#[test]
fn what_crosses_over_to_php_and_back_is_as_the_guide_says() {
    if !Tool::Php.is_here() {
        return;
    }
    let server = Memcached::start();
    let (cache, computed) = (server.cache(), Cell::new(0));
    let client = Client::of(&cache);
    client.set("bytes", "straße".as_bytes(), MINUTE).unwrap();
    client.set_as("json", BareJson, &price(), MINUTE).unwrap();
    client.set_as("number", BareJson, &7, MINUTE).unwrap();
    let read = php(
        &server,
        "echo json_encode([$m->get('bytes'), json_decode($m->get('json'), true), $m->get('number')], JSON_UNESCAPED_UNICODE);\n\
         $m->set('text', 'straße'); $m->set('int', 42); $m->set('true', true); $m->set('float', 1.5);\n\
         $m->set('long', str_repeat('ab', 5000)); $m->set('interop:bare:8', json_encode(['cents' => 8, 'currency' => '€']));\n\
         $m->setOption(Memcached::OPT_COMPRESSION, false); $m->set('plain', str_repeat('ab', 5000));",
    );
    assert_eq!(read, r#"["straße",{"cents":250,"currency":"€"},"7"]"#);
    assert_eq!(client.get::<String>("text").unwrap().unwrap(), "straße");
    assert_eq!(client.get::<String>("plain").unwrap().unwrap(), "ab".repeat(5000));
    assert_eq!((bare(&cache, &computed, 8).cents, computed.get()), (8, 0));
    assert_eq!(client.get_as("float", BareJson).unwrap(), Some(1.5));
    // What does not cross over is an error and no other value.
    for key in ["int", "true", "long"] {
        assert_eq!(client.get::<String>(key).unwrap_err().kind(), ErrorKind::Decode, "{key}");
        assert_eq!(
            client.get_as::<serde_json::Value, _>(key, BareJson).unwrap_err().kind(),
            ErrorKind::Decode,
            "{key}"
        );
    }
    client.set("text", "straße", MINUTE).unwrap();
    client.set("integer", &7, MINUTE).unwrap();
    let read = php(&server, "echo json_encode([@$m->get('text'), $m->get('integer')], JSON_PRESERVE_ZERO_FRACTION);");
    assert_eq!(read, "[false,7.0]", "text counts as compressed there, an integer as a float");
}

type Nested = (Option<String>, Vec<(u8, String)>, BTreeMap<String, Option<i32>>, bool);

#[memcached(key = "interop:key:<word>-<number>.<nested>/<list>", entry = keyed_entry, cache = cache, skip(cache))]
fn keyed(cache: &Cache, word: &str, number: i64, nested: &Nested, list: &[String]) -> u8 {
    0
}

#[test]
fn the_helper_in_python_renders_the_same_keys() {
    const HELPER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/keys.py");
    if !Tool::Python.is_here() {
        return;
    }
    let (folder, mut state) = (Folder::new(), 7_u64);
    let mut below = |limit: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    };
    let mut lines = String::new();
    let caches = ["", "shop"].map(|name| Cache::builder().namespace(name).build().unwrap());
    for n in 0..10_000 {
        let mut text = || {
            let length = if below(40) == 0 { below(300) } else { below(6) };
            let letters: Vec<char> = "ab7 -._~%&,:()[]{}=/<>#é€\n\"'".chars().collect();
            (0..length).map(|_| letters[below(letters.len() as u64) as usize]).collect::<String>()
        };
        let (word, list) = (text(), vec![text(), text()]);
        let some = Some(text()).filter(|text| text.len() % 2 == 0);
        let pairs = vec![(n as u8, text())];
        let map = BTreeMap::from([(text(), Some(-1)), (text(), None)]);
        let number = below(1 << 31) as i64 - (1 << 30);
        let nested: Nested = (some, pairs, map, n % 2 == 0);
        let (namespace, cache) = [("", &caches[0]), ("shop", &caches[1])][n % 2];
        let entry = keyed_entry(cache, &word, number, &nested, &list);
        let line = serde_json::json!([namespace, word, number, nested, list, entry.stored_key()]);
        lines += &format!("{line}\n");
    }
    let file = folder.write("keys", &lines);
    let check = "import json, sys\n\
                 from keys import render\n\
                 count = 0\n\
                 for line in open(sys.argv[1]):\n    \
                     namespace, word, number, (some, pairs, map, even), items, key = json.loads(line)\n    \
                     nested = (some, [tuple(pair) for pair in pairs], map, even)\n    \
                     ours = render('interop:key:<>-<>.<>/<>', word, number, nested, items, namespace=namespace)\n    \
                     assert ours == key, (ours, key)\n    \
                     count += 1\n\
                 print(count)";
    let helper = std::path::Path::new(HELPER).parent().unwrap();
    let count = output(Command::new("python3").args(["-c", check]).arg(file).env("PYTHONPATH", helper));
    assert_eq!(count.trim(), "10000");
}
