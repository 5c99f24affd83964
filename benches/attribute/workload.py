"""The crates that are compiled: the same functions under each attribute.

Bodies and types are the same in all variants; only the attributes differ, and
the derive that one of them needs for a key. What is measured is not here.
"""

from string import Template

VARIANTS = ("none", "cached", "memocached")

# Paths are seen from `target/attribute/<crate>`.
DEPENDENCIES = {
    "none": "",
    "cached": 'cached = { version = "~4.1", default-features = false, features = ["proc_macro"] }',
    "memocached": 'memocached = { path = "../../../runtime" }',
}

CACHED = "#[cached::macros::cached]\n"


def attributes(key, cached=CACHED):
    """What stands in front of a function, by variant."""
    return {"none": "", "cached": cached, "memocached": f'#[memocached::memcached(key = "{key}", ttl = 300)]\n'}


FIB = """\
pub fn fib(n: u64) -> u64 {
    if n < 2 { 1 } else { fib(n - 1) + fib(n - 2) }
}
"""

# The crates whose expansion is looked at: variant and attribute.
FIB_CRATES = {
    "fib_none": ("none", ""),
    "fib_cached": ("cached", CACHED),
    "fib_memocached": ("memocached", attributes("fib:<n>")["memocached"]),
    "fib_memocached_bare": ("memocached", "#[memocached::memcached]\n"),
}

NUMBER = """\
pub fn number_$i(n: u64) -> u64 {
    (0..n).fold($i, |sum, term| sum.wrapping_mul(31).wrapping_add(term ^ n))
}
"""

TEXT = """\
pub fn text_$i(name: &str, times: u32) -> String {
    (0..times).map(|time| format!("{name}-{}", time + $i)).collect()
}
"""

# `cached` owns its keys.
OWNED_TEXT = '#[cached::macros::cached(key = "(String, u32)", convert = { (name.to_owned(), times) })]\n'

BYTES = """\
pub fn bytes_$i(length: u32) -> Result<Vec<u8>, TooLong> {
    if length > 1_000 + $i {
        return Err(TooLong(length));
    }
    Ok((0..length).map(|byte| (byte % 251) as u8).collect())
}
"""

AREA = """\
pub fn area_$i(shape: Shape) -> Option<u64> {
    shape.width.checked_mul(shape.height)?.checked_add(shape.name.len() as u64 + $i)
}
"""

FEW_TYPES = [
    (attributes("number-$i:<n>"), NUMBER),
    (attributes("text-$i:<name>:<times>", OWNED_TEXT), TEXT),
    (attributes("bytes-$i:<length>"), BYTES),
    (attributes("area-$i:<shape>"), AREA),
]

FEW_TYPES_NEED = """\
#[derive(Clone, Debug)]
pub struct TooLong(pub u32);

${derive}#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    pub width: u64,
    pub height: u64,
    pub name: String,
}
"""

DERIVES = {"none": "", "cached": "", "memocached": "#[derive(memocached::KeyPart)]\n"}

RECORD = """\
pub fn record_$i(id: u64) -> Record$i {
    Record$i { id, name: format!("{id} of $i"), tags: vec![id as u32; $i], parent: id.checked_sub($i) }
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Record$i {
    pub id: u64,
    pub name: String,
    pub tags: Vec<u32>,
    pub parent: Option<u64>,
}
"""

OWN_TYPES = [(attributes("record-$i:<id>"), RECORD)]


def fib(attribute):
    """The function whose expansions are looked at."""
    return attribute + FIB


def few_types(variant, count):
    """`count` functions whose results are of four types."""
    types = Template(FEW_TYPES_NEED).substitute(derive=DERIVES[variant])
    return "\n".join([types, *functions(FEW_TYPES, variant, count)])


def own_types(variant, count):
    """`count` functions, each of which returns a struct of its own."""
    return "\n".join(functions(OWN_TYPES, variant, count))


def functions(kinds, variant, count):
    """The kinds in turn, numbered."""
    for i in range(count):
        attribute, function = kinds[i % len(kinds)]
        yield Template(attribute[variant] + function).substitute(i=i)


def write(root, crates):
    """A workspace at `root` of `crates`: name to variant and source."""
    members = ", ".join(f'"{name}"' for name in crates)
    put(root / "Cargo.toml", f'[workspace]\nresolver = "3"\nmembers = [{members}]\n')
    for name, (variant, source) in crates.items():
        put(root / name / "Cargo.toml", manifest(name, DEPENDENCIES[variant]))
        put(root / name / "src" / "lib.rs", source)


def manifest(name, dependency):
    return f"""\
[package]
name = "{name}"
version = "0.0.0"
edition = "2024"
publish = false

[dependencies]
serde = {{ version = "1", features = ["derive"] }}
{dependency}
"""


def put(path, text):
    """Writes a file, if it does not hold that already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
