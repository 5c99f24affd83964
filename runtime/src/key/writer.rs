//! The text of values in a key, which no two different values share.
//!
//! # Encoding
//!
//! A *leaf* (number, text, bool) is written with every byte other than
//! `A-Z a-z 0-9 _ . -` as `%XX`. Compound values use the characters a leaf
//! cannot contain: `(a,b)` for tuples, `[a,b]` for sequences, `{k=v}` for maps
//! and sets in sorted order, with `%` for an element that is empty. `None` is `~`, `Some(x)` is `x`, with one more `~`
//! where `x` itself begins with one; two values side by side have `&` between
//! them. Text between two placeholders ends a leaf
//! in the same way, since the leaf escapes its first punctuation character.

use std::fmt::{self, Write};

/// An empty element of a group; no escape, since no digits follow.
pub(super) const EMPTY: char = '%';

/// The bytes that stand for themselves.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        plain[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        byte += 1;
    }
    plain
};

const HEX: [u8; 16] = *b"0123456789ABCDEF";

/// A value that can be part of a key.
///
/// Derive it for your own types; fields that make no difference can be left
/// out with `#[key(skip)]`.
///
/// ```
/// use memocached::{KeyPart, memcached};
///
/// #[derive(KeyPart)]
/// enum Shape {
///     Circle { radius: u32 },
///     Square(u32),
/// }
///
/// #[memcached(key = "area:<shape>")]
/// fn area(shape: Shape) -> u32 {
///     match shape {
///         Shape::Circle { radius } => radius * radius * 3,
///         Shape::Square(side) => side * side,
///     }
/// }
///
/// // The keys are `area:Circle(2)` and `area:Square(2)`.
/// assert_eq!(area(Shape::Circle { radius: 2 }), 12);
/// assert_eq!(area(Shape::Square(2)), 4);
/// ```
///
/// By hand, write everything in which two values can differ, piece by piece;
/// [`KeyWriter`] keeps the pieces apart.
///
/// ```
/// use memocached::{KeyPart, KeyWriter};
///
/// struct Celsius(f64);
///
/// impl KeyPart for Celsius {
///     fn write(&self, key: &mut KeyWriter) {
///         key.formatted(format_args!("{:016x}", self.0.to_bits()));
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a cache key",
    label = "no `KeyPart` for this",
    note = "`#[derive(memocached::KeyPart)]` on the type, write `<name:display>` or `<name:debug>`, or `skip(name)`",
    note = "floats have no equality to build a key on: write `<name:bits>`"
)]
pub trait KeyPart {
    /// Writes the value into the key.
    fn write(&self, key: &mut KeyWriter);
}

/// Takes the text of a value for a key; see [`KeyPart`].
#[derive(Debug)]
pub struct KeyWriter {
    pub(super) text: String,
    /// A byte that leaves of the current value must not contain.
    pub(super) terminator: Option<u8>,
    /// Whether a piece would touch the one before it.
    pub(super) adjacent: bool,
    pub(super) failed: bool,
}

impl KeyWriter {
    pub(super) fn new() -> Self {
        KeyWriter { text: String::new(), terminator: None, adjacent: false, failed: false }
    }

    /// A piece of text, with every byte escaped that could mean something.
    pub fn leaf(&mut self, text: &str) {
        self.leaf_bytes(text.as_bytes());
    }

    /// A piece of arbitrary bytes.
    pub fn leaf_bytes(&mut self, bytes: &[u8]) {
        self.piece(|key| key.escaped(bytes));
    }

    /// A piece of text written by a formatter, as `format_args!("{x}")` makes
    /// it. If the formatter fails, the call is not cached.
    pub fn formatted(&mut self, arguments: fmt::Arguments<'_>) {
        struct Leaf<'a>(&'a mut KeyWriter);
        impl Write for Leaf<'_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.escaped(text.as_bytes());
                Ok(())
            }
        }
        self.piece(|key| {
            if Leaf(key).write_fmt(arguments).is_err() {
                key.failed = true;
            }
        });
    }

    /// Several values as one piece: `(a,b)`.
    pub fn group<'a>(&mut self, parts: impl IntoIterator<Item = &'a dyn KeyPart>) {
        self.bracketed(["(", ")"], parts);
    }

    /// A variant of an enum as one piece: its name, and its values if any.
    pub fn variant<'a>(&mut self, name: &str, parts: impl IntoIterator<Item = &'a dyn KeyPart>) {
        self.leaf(name);
        let mut parts = parts.into_iter().peekable();
        if parts.peek().is_some() {
            self.adjacent = false;
            self.group(parts);
        }
    }

    pub(crate) fn sequence<'a>(&mut self, parts: impl IntoIterator<Item = &'a dyn KeyPart>) {
        self.bracketed(["[", "]"], parts);
    }

    /// Entries between braces in the order of their text, since a hash map
    /// has no order of its own.
    pub(crate) fn sorted(&mut self, entries: impl Iterator<Item = impl FnOnce(&mut KeyWriter)>) {
        let mut texts: Vec<String> = entries.map(|write| self.elsewhere(write)).collect();
        texts.sort_unstable();
        self.piece(|key| {
            key.structure("{");
            key.structure(&texts.join(","));
            key.structure("}");
        });
    }

    /// The `=` between a map's key and value.
    pub(crate) fn equals(&mut self) {
        self.structure("=");
    }

    /// `~` for nothing; something is itself, and told apart from nothing.
    pub(crate) fn option<T: KeyPart>(&mut self, value: Option<&T>) {
        self.piece(|key| {
            let start = key.text.len();
            match value {
                None => key.structure("~"),
                Some(value) => {
                    value.write(key);
                    if key.text[start..].starts_with('~') {
                        key.text.insert(start, '~');
                    }
                }
            }
        });
    }

    fn bracketed<'a>(&mut self, brackets: [&str; 2], parts: impl IntoIterator<Item = &'a dyn KeyPart>) {
        self.piece(|key| {
            key.structure(brackets[0]);
            for (i, part) in parts.into_iter().enumerate() {
                if i > 0 {
                    key.structure(",");
                }
                let start = key.text.len();
                part.write(key);
                if key.text.len() == start {
                    key.text.push(EMPTY);
                }
            }
            key.structure(brackets[1]);
        });
    }

    /// Text that no leaf can contain.
    pub(super) fn structure(&mut self, text: &str) {
        self.text.push_str(text);
        self.adjacent = false;
    }

    /// A number: a leaf of nothing but digits and a sign.
    pub(crate) fn number(&mut self, digits: &str) {
        match self.terminator {
            Some(b'0'..=b'9' | b'-') => self.leaf(digits),
            _ => self.piece(|key| key.text.push_str(digits)),
        }
    }

    /// Writes a piece; two of them must not run into one another.
    fn piece(&mut self, write: impl FnOnce(&mut Self)) {
        if self.adjacent {
            self.structure("&");
        }
        write(self);
        self.adjacent = true;
    }

    fn escaped(&mut self, bytes: &[u8]) {
        let terminator = self.terminator;
        let is_plain = |byte: &u8| PLAIN[usize::from(*byte)] && Some(*byte) != terminator;
        let mut rest = bytes;
        while !rest.is_empty() {
            let plain = rest.iter().position(|byte| !is_plain(byte)).unwrap_or(rest.len());
            let (head, tail) = rest.split_at(plain);
            // What is plain is ASCII.
            self.text.push_str(std::str::from_utf8(head).unwrap_or_default());
            rest = match tail.split_first() {
                None => tail,
                Some((byte, tail)) => {
                    self.text.push('%');
                    push_hex(&mut self.text, *byte);
                    tail
                }
            };
        }
    }

    fn elsewhere(&mut self, write: impl FnOnce(&mut KeyWriter)) -> String {
        let mut other = KeyWriter { terminator: self.terminator, ..KeyWriter::new() };
        write(&mut other);
        self.failed |= other.failed;
        if other.text.is_empty() {
            other.text.push(EMPTY);
        }
        other.text
    }
}

pub(super) fn push_hex(text: &mut String, byte: u8) {
    text.push(char::from(HEX[usize::from(byte >> 4)]));
    text.push(char::from(HEX[usize::from(byte & 15)]));
}
