//! Generates calls of functions with parameters of arbitrary types.
//!
//! Tests and fuzz targets check the keys of these calls; no call is executed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{KeyBuilder, KeyWriter};
use crate::exchange::MAX_KEY;
use crate::key::KeyPart;

/// Yields the given numbers, then pseudo-random ones that are the same in every
/// run (SplitMix64).
pub(super) struct Numbers<'a> {
    given: &'a [u8],
    state: u64,
}

impl<'a> Numbers<'a> {
    pub(super) fn new(given: &'a [u8], seed: u64) -> Self {
        Numbers { given, state: seed }
    }

    fn below(&mut self, limit: usize) -> usize {
        if let [first, rest @ ..] = self.given {
            self.given = rest;
            return usize::from(*first) % limit;
        }
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) >> 33).expect("31 bits") % limit
    }

    fn pick<'f, T>(&mut self, from: &'f [T]) -> &'f T {
        &from[self.below(from.len())]
    }
}

/// The type of a parameter.
#[derive(Clone, Debug)]
enum Type {
    Number,
    Text,
    Option(Box<Type>),
    Tuple(Vec<Type>),
    List(Box<Type>),
    Set(Box<Type>),
    Map(Box<[Type; 2]>),
    /// A hand-written `KeyPart` that writes one part after the other.
    Pieces(Vec<Type>),
    /// One list of fields for each variant.
    Enum(Vec<Vec<Type>>),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Value {
    Number(i8),
    Text(String),
    Option(Option<Box<Value>>),
    Tuple(Vec<Value>),
    List(Vec<Value>),
    Set(BTreeSet<Value>),
    Map(BTreeMap<Value, Value>),
    Pieces(Vec<Value>),
    Enum(usize, Vec<Value>),
}

impl Type {
    fn any(numbers: &mut Numbers<'_>, depth: usize) -> Type {
        let some = |numbers: &mut Numbers<'_>| {
            let count = 1 + numbers.below(3);
            (0..count).map(|_| Type::any(numbers, depth - 1)).collect::<Vec<_>>()
        };
        match numbers.below(if depth == 0 { 2 } else { 9 }) {
            0 => Type::Number,
            1 => Type::Text,
            2 => Type::Option(Box::new(Type::any(numbers, depth - 1))),
            3 => Type::Tuple(some(numbers)),
            4 => Type::List(Box::new(Type::any(numbers, depth - 1))),
            5 => Type::Set(Box::new(Type::any(numbers, depth - 1))),
            6 => Type::Map(Box::new([Type::any(numbers, depth - 1), Type::any(numbers, depth - 1)])),
            7 => Type::Pieces(some(numbers)),
            _ => Type::Enum(vec![vec![], some(numbers), some(numbers)]),
        }
    }

    /// A value whose texts consist of these letters.
    fn value(&self, letters: &[char], numbers: &mut Numbers<'_>) -> Value {
        let each =
            |types: &[Type], numbers: &mut Numbers<'_>| types.iter().map(|ty| ty.value(letters, numbers)).collect();
        match self {
            Type::Number => Value::Number(i8::try_from(numbers.below(12)).expect("small") - 1),
            Type::Text => {
                let length = numbers.below(4);
                Value::Text((0..length).map(|_| *numbers.pick(letters)).collect())
            }
            Type::Option(inner) => {
                Value::Option((numbers.below(3) > 0).then(|| Box::new(inner.value(letters, numbers))))
            }
            Type::Tuple(types) => Value::Tuple(each(types, numbers)),
            Type::List(ty) => Value::List((0..numbers.below(3)).map(|_| ty.value(letters, numbers)).collect()),
            Type::Set(ty) => Value::Set((0..numbers.below(3)).map(|_| ty.value(letters, numbers)).collect()),
            Type::Map(types) => {
                let entry = |_| (types[0].value(letters, numbers), types[1].value(letters, numbers));
                Value::Map((0..2).map(entry).collect())
            }
            Type::Pieces(types) => Value::Pieces(each(types, numbers)),
            Type::Enum(variants) => {
                let variant = numbers.below(variants.len());
                Value::Enum(variant, each(&variants[variant], numbers))
            }
        }
    }
}

impl KeyPart for Value {
    fn write(&self, key: &mut KeyWriter) {
        fn parts(values: &[Value]) -> impl Iterator<Item = &dyn KeyPart> {
            values.iter().map(|value| value as &dyn KeyPart)
        }
        match self {
            Value::Number(number) => number.write(key),
            Value::Text(text) => text.write(key),
            Value::Option(value) => value.write(key),
            Value::Tuple(values) => key.group(parts(values)),
            Value::List(values) => values.write(key),
            Value::Set(values) => values.iter().collect::<HashSet<_>>().write(key),
            Value::Map(values) => values.iter().collect::<HashMap<_, _>>().write(key),
            Value::Pieces(values) => values.iter().for_each(|value| value.write(key)),
            Value::Enum(variant, values) => key.variant(["A", "B", "AB"][*variant], parts(values)),
        }
    }
}

const LETTERS: [char; 27] = [
    'a', '1', '2', 'é', ',', ':', ';', '-', '.', '_', '=', '~', '&', '%', '#', '(', ')', '[', ']', '{', '}', '<', '>',
    ' ', '\r', '\n', '\0',
];

/// Literals between two placeholders, each with the byte that the first value
/// must not contain.
const BETWEEN: &[(&str, u8)] = &[
    (":", b':'),
    (",", b','),
    ("-", b'-'),
    (".", b'.'),
    ("_", b'_'),
    ("=", b'='),
    ("(", b'('),
    (")", b')'),
    ("[", b'['),
    ("]}", b']'),
    ("~:", b':'),
    ("&%;", b';'),
    ("a-b", b'-'),
    ("1.", b'.'),
    ("::", b':'),
];

pub(super) fn render(write: impl FnOnce(&mut KeyBuilder)) -> String {
    let mut key = KeyBuilder::new("");
    write(&mut key);
    let key = key.finish().expect("every value can be written");
    assert!(key.wire().len() <= MAX_KEY && key.wire().bytes().all(|byte| byte.is_ascii_graphic()), "{key:?}");
    key.text().to_owned()
}

/// A function of two parameters and the literal between them in its key.
#[derive(Debug)]
pub(super) struct Function {
    types: [Type; 2],
    between: &'static str,
    /// The byte that ends the first argument.
    end: u8,
    /// The letters that its arguments consist of.
    letters: Vec<char>,
}

impl Function {
    pub(super) fn any(numbers: &mut Numbers<'_>) -> Function {
        let types = [Type::any(numbers, 3), Type::any(numbers, 2)];
        let (between, end) = *numbers.pick(BETWEEN);
        // Few letters, so that values resemble one another.
        let letters = [(); 3].map(|()| *numbers.pick(&LETTERS));
        Function { types, between, end, letters: [&letters[..], &[char::from(end)]].concat() }
    }

    pub(super) fn arguments(&self, numbers: &mut Numbers<'_>) -> [Value; 2] {
        self.types.each_ref().map(|ty| ty.value(&self.letters, numbers))
    }

    pub(super) fn key(&self, arguments: &[Value; 2]) -> String {
        render(|key| {
            key.until(self.end).part(&arguments[0]);
            key.literal(self.between);
            key.part(&arguments[1]);
        })
    }
}

/// Panics unless two calls share a key exactly if they share their arguments.
/// The bytes choose the function and both calls.
#[cfg(any(feature = "servers", fuzzing))]
pub(crate) fn any_bytes(bytes: &[u8]) {
    let mut numbers = Numbers::new(bytes, 0);
    let function = Function::any(&mut numbers);
    let calls = [function.arguments(&mut numbers), function.arguments(&mut numbers)];
    let keys = calls.each_ref().map(|arguments| function.key(arguments));
    assert_eq!(calls[0] == calls[1], keys[0] == keys[1], "{calls:?} give {keys:?}, as {function:?}");
}
