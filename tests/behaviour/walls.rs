//! Each third-party crate is named in one place, folders look down only, and
//! no files import each other in a circle.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const RUNTIME: &str = "runtime/src";
const MACROS: &str = "macros/src";
const LIB: &str = include_str!("../../runtime/src/lib.rs");
const ARCHITECTURE: &str = include_str!("../../ARCHITECTURE.md");

/// What stands above all folders: the macros as users see them, the table of contents,
/// what expansions name, and what users' tests need.
const ABOVE: [&str; 5] = ["attribute", "guide", "lib", "private", "testing"];

/// Where each crate may be named: in every path that begins with the second.
const CRATES: &[(&str, &str)] = &[
    ("bincode::", "codec/"),
    ("postcard::", "codec/"),
    ("serde_json::", "codec/"),
    ("memcache::", "value/memcache_crate"),
    ("rustls::", "net/tls"),
    ("rustls_native_certs::", "net/tls"),
    ("tokio_rustls::", "net/tls"),
    ("forkguard::", "node/async_pool"),
    ("forkguard::", "node/pool/"),
    ("quick_cache::", "bounded"),
    ("strsim::", "named"),
    ("coarsetime::", "time/clock"),
    ("smallvec::", "call/machine/stamped"),
    ("hmac_sha256::", "key/"),
    ("hmac::", "value/signature"),
    ("sha2::", "value/signature"),
    ("md5::", "cluster/ring/ketama"),
    ("humantime::", "config/"),
    ("itoa::", "key/part"),
    ("itoa::", "protocol/words"),
    ("memchr::", "protocol/scan"),
    ("chrono::", "key/part/crates"),
    ("compact_str::", "key/part/crates"),
    ("ordered_float::", "key/part/crates"),
    ("rust_decimal::", "key/part/crates"),
    ("semver::", "key/part/crates"),
    ("url::", "key/part/crates"),
    ("uuid::", "key/part/crates"),
    ("miniz_oxide::", "value/flags"),
    ("tracing::", "telemetry/"),
    ("opentelemetry::", "telemetry/"),
    ("opentelemetry_sdk::", "telemetry/views"),
];

/// The crates that are named in many places: the hash, serde and tokio. The crate
/// `time` has the name of a folder.
const EVERYWHERE: [&str; 5] = ["memocached_macros", "serde", "time", "tokio", "xxhash_rust"];

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

/// The files of a crate but those that only tests have.
fn files(sources_of: &str) -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(sources_of);
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    let file = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().with_extension("").to_string_lossy().into_owned();
        File { path: name, code: code(&fs::read_to_string(&path).unwrap()) }
    };
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let files: Vec<File> = paths.into_iter().map(file).collect();
    let for_tests: Vec<String> = files.iter().flat_map(children_for_tests).collect();
    files.into_iter().filter(|file| !for_tests.contains(&file.module()) && file.folder() != "tests").collect()
}

/// A file's text without comments and tests.
fn code(text: &str) -> String {
    let code = text.split("\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The folders of the runtime, and files beside them, from the lowest up: each paragraph
/// of modules in `lib.rs` is a floor. A file imports from its own folder and from the
/// floors below its own.
fn floors() -> Vec<Vec<String>> {
    let list = LIB.split("// From below").nth(1).expect("the folders are listed");
    let lib = File { path: "lib".into(), code: code(list) };
    let for_tests = children_for_tests(&lib);
    let module = |line: &str| Some(line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';')?.to_owned());
    let is_folder = |name: &String| !ABOVE.contains(&name.as_str()) && !for_tests.contains(name);
    let floor = |paragraph: &str| -> Vec<String> { paragraph.lines().filter_map(module).filter(is_folder).collect() };
    lib.code.split("\n\n").map(floor).filter(|floor| !floor.is_empty()).collect()
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
fn a_crate_is_named_in_its_place() {
    for file in files(RUNTIME) {
        for (package, _) in CRATES.iter().filter(|(package, _)| file.code.contains(package)) {
            let is_within = CRATES.iter().any(|(named, wall)| named == package && file.path.starts_with(wall));
            assert!(is_within, "{} names {package}", file.path);
        }
    }
}

#[test]
fn every_crate_has_its_place() {
    let manifest = include_str!("../../runtime/Cargo.toml");
    let table = manifest.split("\n[dependencies]\n").nth(1).and_then(|rest| rest.split("\n[").next()).unwrap();
    let name = |line: &str| Some(line.split(['.', ' ']).next()?.replace('-', "_"));
    let names: Vec<String> = table.lines().filter(|line| !line.starts_with('#')).filter_map(name).collect();
    assert!(names.iter().any(|name| name == "tracing"), "{names:?}");
    let has_none = |name: &&String| {
        let path = format!("{name}::");
        !EVERYWHERE.contains(&name.as_str()) && !CRATES.iter().any(|(package, _)| *package == path)
    };
    let without: Vec<&String> = names.iter().filter(|name| !name.is_empty()).filter(has_none).collect();
    assert!(without.is_empty(), "{without:?}");
}

#[test]
fn the_root_has_few_files_beside_its_folders() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/src");
    let files = fs::read_dir(root).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file()).count();
    assert!(files <= 12, "{files} files");
}

#[test]
fn a_folder_imports_only_folders_below_it() {
    let floors = floors();
    let floor = |folder: &str| floors.iter().position(|folders| folders.iter().any(|name| name == folder));
    let mut wrong = Vec::new();
    for file in files(RUNTIME).iter().filter(|file| !ABOVE.contains(&file.folder())) {
        let own = floor(file.folder()).unwrap_or_else(|| panic!("{} is in no folder of the list", file.path));
        for used in file.code.split("crate::").skip(1) {
            let used = used.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            // A name that the root passes on to users has no floor. Only tests use `tests`.
            let is_below = used == file.folder() || floor(used).is_some_and(|used| used < own) || used == "tests";
            if !is_below {
                wrong.push(format!("{} imports {used}", file.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_architecture_lists_the_folders_from_the_lowest_up() {
    let table =
        ARCHITECTURE.split("| folder | answers for |").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
    let cells = table.lines().filter_map(|row| row.strip_prefix("| ")?.split(" |").next());
    let listed: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let listed: Vec<&str> = listed.into_iter().map(|name| name.trim_end_matches('/')).collect();
    let floors = floors();
    let floor = |name: &&str| {
        let is_above = ABOVE.contains(name).then_some(floors.len());
        is_above.or_else(|| floors.iter().position(|folders| folders.iter().any(|folder| folder == name)))
    };
    let order: Vec<_> = listed.iter().map(|name| floor(name).unwrap_or_else(|| panic!("there is no {name}"))).collect();
    assert!(order.is_sorted(), "{listed:?} are at {order:?}");
    let all = floors.iter().flatten().map(String::as_str).chain(ABOVE);
    let missing: Vec<&str> = all.filter(|name| !listed.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    for crate_ in [RUNTIME, MACROS] {
        let files = files(crate_);
        let modules: Vec<String> = files.iter().map(File::module).collect();
        let imports: BTreeMap<&str, Vec<String>> =
            files.iter().zip(&modules).map(|(file, module)| (module.as_str(), imports(file, &modules))).collect();
        let mut circles: Vec<String> = modules
            .iter()
            .filter(|module| !ABOVE.contains(&module.as_str()))
            .filter_map(|module| path_between(module, module, &imports).map(|path| path.join(" -> ")))
            .collect();
        circles.sort_by_key(String::len);
        assert!(circles.is_empty(), "{}", circles.join("\n"));
    }
}

/// The files that a file imports from. What a parent only passes on
/// (`pub use child::Name`) it does not import.
fn imports(file: &File, modules: &[String]) -> Vec<String> {
    let own = file.module();
    let parent = own.rsplit_once("::").map_or("", |(parent, _)| parent);
    let mut found: Vec<String> = Vec::new();
    for statement in file.code.split(';') {
        // The locks are another module's under the model checker.
        let statement = statement.trim().replace("super::locks", "crate::sync");
        if ["pub use ", "pub(crate) use ", "pub(super) use "].iter().any(|passes_on| statement.contains(passes_on)) {
            continue;
        }
        let absolute = statement.split("crate::").skip(1).map(str::to_owned);
        let sideways = statement.split("super::").skip(1).map(|path| format!("{parent}::{path}"));
        let used = statement.lines().last().and_then(|line| line.strip_prefix("use "));
        let down = used.map(|path| format!("{own}::{path}"));
        for path in absolute.chain(sideways).chain(down) {
            let is_part = |c: char| c.is_alphanumeric() || c == '_';
            let names =
                |module: &&String| path.strip_prefix(module.as_str()).is_some_and(|rest| !rest.starts_with(is_part));
            let named = modules.iter().filter(names).max_by_key(|module| module.len());
            found.extend(named.filter(|module| **module != own).cloned());
        }
    }
    found.sort();
    found.dedup();
    found
}

fn path_between(from: &str, to: &str, imports: &BTreeMap<&str, Vec<String>>) -> Option<Vec<String>> {
    let mut queue = vec![vec![from.to_owned()]];
    let mut seen = Vec::new();
    while !queue.is_empty() {
        let path = queue.remove(0);
        for next in path.last().and_then(|last| imports.get(last.as_str())).into_iter().flatten() {
            if next == to {
                return Some([&path[..], std::slice::from_ref(next)].concat());
            }
            if !seen.contains(next) {
                seen.push(next.clone());
                queue.push([&path[..], std::slice::from_ref(next)].concat());
            }
        }
    }
    None
}

#[test]
fn no_type_name_stands_for_two_things() {
    for crate_ in [RUNTIME, MACROS] {
        let twice = names_of_several_types(&files(crate_));
        assert!(twice.is_empty(), "{crate_}: {twice:#?}");
    }
}

/// The names of types that several files define, with the files.
fn names_of_several_types(files: &[File]) -> BTreeMap<String, Vec<String>> {
    let mut defined: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files {
        // Types within functions and modules are known only there; enums that `named!`
        // declares are indented, too.
        let is_known = |line: &&str| !line.starts_with(' ') || line.starts_with("    pub") && line.contains("enum ");
        for line in file.code.lines().filter(is_known) {
            let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            let keyword = words.iter().position(|word| ["struct", "enum", "trait", "type"].contains(word));
            let name = keyword.and_then(|keyword| words.get(keyword + 1)).filter(|name| !name.is_empty());
            if let Some(name) = name {
                defined.entry((*name).to_owned()).or_default().push(file.path.clone());
            }
        }
    }
    let is_one = |files: &[String]| files.len() == 1 || files.iter().all(|file| file.contains("signature/"));
    defined.into_iter().filter(|(_, files)| !is_one(files)).collect()
}
