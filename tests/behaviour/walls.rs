//! Each third-party crate is named in one place.

use std::fs;
use std::path::{Path, PathBuf};

/// Who may name which crate: every path that begins with the second.
const CRATES: [(&str, &str); 17] = [
    ("bincode::", "codec/"),
    ("postcard::", "codec/"),
    ("serde_json::", "codec/"),
    ("memcache::", "protocol/"),
    ("rustls::", "net/tls"),
    ("tokio_rustls::", "net/tls"),
    ("forkguard::", "node/pool/"),
    ("quick_cache::", "bounded"),
    ("coarsetime::", "time/clock"),
    ("sha2::", "key/"),
    ("hmac::", "value/signature"),
    ("md5::", "cluster/ring/ketama"),
    ("humantime::", "config/"),
    ("itoa::", "key/part"),
    ("miniz_oxide::", "value/flags"),
    ("tracing::", "telemetry/"),
    ("opentelemetry::", "telemetry/"),
];

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

/// A file's path without its ending, such as `node/pool/mod`, and its code
/// without comments and tests.
struct File {
    path: String,
    code: String,
}

impl File {
    /// The first part of the path: a folder, or a file beside the folders.
    fn folder(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }

    /// The path as other files name it: `node::pool`.
    fn module(&self) -> String {
        self.path.trim_end_matches("/mod").replace('/', "::")
    }
}

/// The runtime's files but those that only tests have.
fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    let file = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().with_extension("").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("\nmod tests {").next().unwrap_or_default();
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        File { path: name, code }
    };
    let files: Vec<File> = paths.into_iter().map(file).collect();
    let for_tests: Vec<String> = files.iter().flat_map(children_for_tests).collect();
    files.into_iter().filter(|file| !for_tests.contains(&file.module()) && file.folder() != "tests").collect()
}

/// The modules that a file declares for tests alone.
fn children_for_tests(file: &File) -> Vec<String> {
    let lines: Vec<&str> = file.code.lines().map(str::trim).collect();
    let declared = lines
        .windows(2)
        .filter(|pair| ["(test)", "(test,", "(any(test", "(any(all(test"].iter().any(|test| pair[0].contains(test)));
    let name = |pair: &[&str]| Some(pair[1].split("mod ").nth(1)?.strip_suffix(';')?.to_owned());
    let parent = match file.module().as_str() {
        "lib" => String::new(),
        module => format!("{module}::"),
    };
    declared.filter_map(name).map(|name| format!("{parent}{name}")).collect()
}

#[test]
fn a_crate_is_named_in_one_place() {
    for file in files() {
        for (package, wall) in CRATES {
            let is_named = file.code.contains(package);
            assert!(!is_named || file.path.starts_with(wall), "{} names {package}", file.path);
        }
    }
}

#[test]
fn the_root_has_few_files_beside_its_folders() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/src");
    let files = fs::read_dir(root).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file()).count();
    assert!(files <= 12, "{files} files");
}
