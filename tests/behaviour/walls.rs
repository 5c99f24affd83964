//! Each third-party crate is named in one place, and layers look down only.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The runtime's files by name without ending, with their code but not their
/// tests.
fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    let file = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().with_extension("").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("\nmod tests {").next().unwrap_or_default();
        (name, code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n"))
    };
    let files = paths.into_iter().map(file).collect::<Vec<_>>();
    let lib = files.iter().find(|(name, _)| name == "lib").map(|(_, text)| text.clone()).unwrap_or_default();
    // What is there for tests alone belongs to no layer.
    let lines: Vec<&str> = lib.lines().collect();
    let for_tests = |name: &str| {
        let declaration = format!("mod {name};");
        lines
            .windows(2)
            .any(|pair| pair[1].ends_with(&declaration) && (pair[0].contains("(test)") || pair[0].contains("(test,")))
    };
    files.into_iter().filter(|(name, _)| !for_tests(name)).collect()
}

#[test]
fn a_crate_is_named_in_one_place() {
    let walls = [
        ("bincode::", "codec"),
        ("postcard::", "codec"),
        ("serde_json::", "codec"),
        ("memcache::", "protocol"),
        ("rustls::", "tls"),
        ("tokio_rustls::", "tls"),
        ("forkguard::", "pool"),
        ("quick_cache::", "bounded"),
        ("coarsetime::", "clock"),
        ("sha2::", "key"),
        ("hmac::", "signature"),
        ("md5::", "ring/ketama"),
        ("humantime::", "config"),
        ("itoa::", "key_part"),
        ("miniz_oxide::", "foreign"),
        ("tracing::", "telemetry/"),
        ("opentelemetry::", "telemetry/"),
    ];
    for (name, text) in files() {
        for (package, wall) in walls {
            // `::` in front: a module of ours may be called alike.
            let named = text.split(package).count() > 1;
            assert!(!named || name.starts_with(wall), "{name} names {package}");
        }
    }
}

#[test]
fn a_layer_uses_itself_and_what_is_below() {
    const LAYERS: [&[&str]; 5] = [
        &[
            "aside",
            "budget",
            "chance",
            "clock",
            "codec",
            "envelope",
            "error",
            "exchange",
            "foreign",
            "key",
            "key_part",
            "mode",
            "nearest",
            "protocol",
            "record",
            "ring",
            "schema",
            "server",
            "shape",
            "signature",
            "sync",
            "terms",
        ],
        &[
            "alarm",
            "async_connection",
            "async_pool",
            "background",
            "bounded",
            "breaker",
            "census",
            "comeback",
            "connection",
            "embedded",
            "endpoint",
            "flight",
            "journal",
            "keeper",
            "mark",
            "near",
            "node",
            "pipeline",
            "pool",
            "prober",
            "resolve",
            "socket",
            "tls",
            "vigil",
        ],
        &["cluster", "discovery", "members", "route", "store"],
        &["call", "flow", "lease", "negative", "place", "policy"],
        &[
            "backend",
            "builder",
            "cache",
            "client",
            "config",
            "convert",
            "entry",
            "errands",
            "generation",
            "process",
            "site",
            "private",
            "lib",
        ],
    ];
    // A call is addressed by its site and finds its cache: the one way up.
    const UP: [(&str, &str); 7] = [
        ("call", "cache"),
        ("call", "site"),
        ("call", "process"),
        ("place", "cache"),
        ("lease", "cache"),
        ("policy", "cache"),
        ("lib", ""),
    ];
    let layer = |name: &str| LAYERS.iter().position(|layer| layer.contains(&name));
    for (name, text) in files().into_iter().filter(|(name, _)| !name.starts_with("telemetry/")) {
        let name = name.trim_end_matches("/mod").to_owned();
        let name = name.split('/').next().unwrap_or_default().to_owned();
        let own = layer(&name).unwrap_or_else(|| panic!("{name} belongs to no layer"));
        for used in text.split("crate::").skip(1) {
            let used = used.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            let Some(other) = layer(used) else { continue };
            assert!(other <= own || UP.contains(&(&name, used)), "{name} looks up to {used}");
        }
        assert!(own > 1 || !text.contains("crate::telemetry"), "{name} tells a story");
    }
}
