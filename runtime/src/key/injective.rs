//! Tests that no two different calls share a key: with random values of random
//! types, and with pairs that other encodings are known to confuse.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use super::KeyWriter;
use super::calls::{Function, Numbers, Value, render};
use crate::key::KeyPart;

/// Compares ten million pairs: 200 calls of each of 500 functions.
#[test]
fn different_arguments_of_any_types_give_different_keys() {
    let mut numbers = Numbers::new(&[], 2026);
    let (mut different, mut functions) = (0, String::new());
    for _ in 0..500 {
        let function = Function::any(&mut numbers);
        let mut seen: HashMap<String, [Value; 2]> = HashMap::new();
        for _ in 0..200 {
            let values = function.arguments(&mut numbers);
            let key = function.key(&values);
            if let Some(other) = seen.get(&key) {
                assert_eq!(*other, values, "share {key:?}, of {function:?}");
            }
            seen.insert(key, values);
        }
        different += seen.len();
        functions += &format!("{function:?}");
    }
    // Otherwise most calls would be equal, or of only a few types.
    assert!(different > 500 * 100, "{different} different calls");
    for ty in ["Number", "Text", "Option", "Tuple", "List", "Set", "Map", "Pieces", "Enum"] {
        assert!(functions.contains(ty), "no {ty}");
    }
}

/// The key of a generic function: a value and its type.
fn typed<T: KeyPart>(value: T) -> String {
    render(|key| {
        key.part(&value);
        key.literal(";");
        key.type_name::<T>();
    })
}

/// The key of two values under the template `<a>:<b>`.
fn two(first: impl KeyPart, second: impl KeyPart) -> String {
    render(|key| {
        key.until(b':').part(&first);
        key.literal(":");
        key.part(&second);
    })
}

fn bits(value: f64) -> String {
    render(|key| key.bits(&value))
}

macro_rules! apart {
    ($($one:expr => $other:expr),* $(,)?) => {{
        let pairs = [$(($one, $other)),*];
        for (one, other) in &pairs {
            assert_ne!(one, other);
        }
        pairs.len()
    }};
}

#[test]
fn easily_confused_pairs_have_different_keys() {
    let nothing: Option<&str> = None;
    let numbers = apart! {
        typed(1_u8) => typed("1"),
        typed(1_u8) => typed(1_u16),
        typed(1_u32) => typed(1_i32),
        typed(-1_i8) => typed("-1"),
        typed(255_u8) => typed(-1_i8),
        typed(true) => typed("true"),
        typed(true) => typed(1_u8),
        typed('1') => typed(1_u8),
        typed('a') => typed("a"),
        typed(u64::MAX) => typed(u128::from(u64::MAX)),
        typed(0_i64) => typed(-1_i64),
        typed(10_u8) => typed(1_u8),
        typed(()) => typed(""),
        typed(()) => typed("()"),
        bits(0.0) => bits(-0.0),
        bits(f64::NAN) => bits(-f64::NAN),
        bits(f64::NAN) => bits(f64::from_bits(f64::NAN.to_bits() + 1)),
        bits(f64::INFINITY) => bits(f64::MAX),
        bits(0.1 + 0.2) => bits(0.3),
        bits(1.0) => bits(1.0 + f64::EPSILON),
    };
    let text = apart! {
        typed("") => typed("%"),
        typed("") => typed(" "),
        typed(" ") => typed("%20"),
        typed("%") => typed("%25"),
        typed("%2") => typed("%252"),
        typed("a") => typed("A"),
        typed("a ") => typed("a"),
        typed("\0") => typed(""),
        typed("\0") => typed("0"),
        typed("\r\n") => typed("\n\r"),
        typed("\n") => typed("\\n"),
        typed("a\u{0}b") => typed("ab"),
        typed("é") => typed("e\u{301}"),
        typed("ß") => typed("ss"),
        typed("\u{fffd}") => typed("?"),
        typed("ａ") => typed("a"),
        typed("\u{7f}") => typed("%7f"),
        typed("(a)") => typed("a"),
        typed("[]") => typed(""),
        typed("{}") => typed(""),
        typed("~") => typed(""),
        typed("&") => typed(""),
        typed("#") => typed(""),
        typed("<n>") => typed("n"),
        typed(Path::new("/a/b")) => typed(Path::new("/a//b")),
        typed(Path::new("a")) => typed(Path::new("./a")),
        typed("None") => typed("null"),
    };
    let arguments = apart! {
        two("a:b", "c") => two("a", "b:c"),
        two("a", "") => two("", "a"),
        two("a:", "") => two("a", ":"),
        two(":", "") => two("", ":"),
        two("", "") => two(":", ""),
        two("%3A", "") => two(":", ""),
        two("a%", "3Ab") => two("a:", "b"),
        two("ab", "c") => two("a", "bc"),
        two(1, 11) => two(11, 1),
        two("1", "2:3") => two("1:2", "3"),
        two("a\n", "b") => two("a", "\nb"),
        two("a ", "b") => two("a", " b"),
        two(("a", "b"), "c") => two("a", ("b", "c")),
        two(["a"], "b") => two("[a]", "b"),
        two(("a",), "b") => two("(a)", "b"),
        two(nothing, "~") => two(Some("~"), "~"),
        two(nothing, "") => two(Some(""), ""),
        two(vec!["a:b"], "") => two(vec!["a", "b"], ""),
        two(Vec::<&str>::new(), "a") => two(vec![""], "a"),
    };
    let compounds = apart! {
        typed(("ab", "c")) => typed(("a", "bc")),
        typed(("a,b", "c")) => typed(("a", "b,c")),
        typed(("", "a")) => typed(("a", "")),
        typed(("", "")) => typed((",", "")),
        typed(("(", ")")) => typed(("()", "")),
        typed((("a", "b"), "c")) => typed(("a", ("b", "c"))),
        typed((("a", "b"), ("c", "d"))) => typed((("a", "b"), ("d", "c"))),
        typed(("a",)) => typed(("a", "")),
        typed((1, 23)) => typed((12, 3)),
        typed([1, 2]) => typed([2, 1]),
        typed([[1, 2], [3, 4]]) => typed([[1, 3], [2, 4]]),
        typed(vec!["a", "b"]) => typed(vec!["a,b"]),
        typed(vec!["a", "b"]) => typed(vec!["ab"]),
        typed(vec![""]) => typed(Vec::<&str>::new()),
        typed(vec![""]) => typed(vec!["", ""]),
        typed(vec!["%"]) => typed(vec![""]),
        typed(vec![vec!["a"], vec![]]) => typed(vec![vec![], vec!["a"]]),
        typed(vec![vec!["a", "b"]]) => typed(vec![vec!["a"], vec!["b"]]),
        typed(vec![vec![0_u8; 0]]) => typed(Vec::<Vec<u8>>::new()),
        typed(vec![b'a']) => typed("a"),
        typed(vec![0_u8]) => typed(vec![0_u8, 0]),
        typed(nothing) => typed(Some("None")),
        typed(nothing) => typed(Some("")),
        typed(nothing) => typed(Some("~")),
        typed(Some("~")) => typed(Some("~~")),
        typed(Some(None::<u8>)) => typed(None::<Option<u8>>),
        typed(Some(Some(None::<u8>))) => typed(Some(None::<Option<u8>>)),
        typed(vec![Some(1), None]) => typed(vec![None, Some(1)]),
        typed(vec![nothing]) => typed(vec![Some("")]),
        typed((nothing, "a")) => typed((Some("a"), "")),
        typed(Some(1)) => typed(1),
        typed(Some(vec![0_u8; 0])) => typed(None::<Vec<u8>>),
        typed(Ok_(1)) => typed(Err_(1)),
        typed(Two(1, 2)) => typed(Two(2, 1)),
        typed(Ab::A) => typed(Ab::B(String::new())),
        typed(Ab::B("A".into())) => typed(Ab::A),
        typed(Ab::B("x".into())) => typed(Ab::C { x: "x".into() }),
        typed(BTreeMap::from([("a", "b"), ("c", "d")])) => typed(BTreeMap::from([("a", "d"), ("c", "b")])),
        typed(BTreeMap::from([("a", "b=c")])) => typed(BTreeMap::from([("a=b", "c")])),
        typed(BTreeMap::from([("a", "")])) => typed(BTreeMap::from([("", "a")])),
        typed(BTreeMap::from([("a", "b,c=d")])) => typed(BTreeMap::from([("a", "b"), ("c", "d")])),
        typed(BTreeMap::from([("", "")])) => typed(BTreeMap::<&str, &str>::new()),
        typed(BTreeSet::from(["a", "b"])) => typed(BTreeSet::from(["a,b"])),
        typed(BTreeSet::from([""])) => typed(BTreeSet::<&str>::new()),
    };
    assert!(numbers + text + arguments + compounds >= 100);
}

struct Ok_(u8);
struct Err_(u8);
struct Two(u8, u8);
enum Ab {
    A,
    B(String),
    C { x: String },
}

impl KeyPart for Ok_ {
    fn write(&self, key: &mut KeyWriter) {
        key.variant("Ok", [&self.0 as &dyn KeyPart]);
    }
}

impl KeyPart for Err_ {
    fn write(&self, key: &mut KeyWriter) {
        key.variant("Err", [&self.0 as &dyn KeyPart]);
    }
}

impl KeyPart for Two {
    fn write(&self, key: &mut KeyWriter) {
        self.0.write(key);
        self.1.write(key);
    }
}

impl KeyPart for Ab {
    fn write(&self, key: &mut KeyWriter) {
        match self {
            Ab::A => key.variant("A", []),
            Ab::B(text) => key.variant("B", [text as &dyn KeyPart]),
            Ab::C { x } => key.variant("C", [x as &dyn KeyPart]),
        }
    }
}
