//! Encodes values as text of a key, such that no two different values of a type
//! share a text. The order of values and literals is up to the builder.
//!
//! # Encoding
//!
//! A *leaf* (number, text, bool) is written with every byte other than
//! `A-Z a-z 0-9 _ . -` as `%XX`. Compound values use characters that a leaf
//! cannot contain: `(a,b)` for tuples, `[a,b]` for sequences, `{k=v}` for maps
//! and sets in sorted order, and `%` for an empty element. `None` is `~`.
//! `Some(x)` is `x`, preceded by another `~` if `x` begins with one. Adjacent
//! values are separated by `&`. Literal text between two placeholders separates
//! them in the same way, since a leaf escapes the literal's first punctuation
//! character.

use std::fmt::{self, Write};

/// Stands for an empty element; not an escape, since no digits follow.
pub(super) const EMPTY: char = '%';

/// The bytes that are not escaped.
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
/// Derive it for your own types. The types of std have it, except floats, and with
/// the features of their names so have those of `chrono`, `compact_str`,
/// `ordered-float`, `rust_decimal`, `semver`, `time`, `url` and `uuid`.
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
/// A hand-written implementation must write everything in which two values can
/// differ; values with the same text share cache entries. It may do so piece by
/// piece, since [`KeyWriter`] separates the pieces.
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
    label = "does not implement `KeyPart`",
    note = "put `#[derive(memocached::KeyPart)]` on a type of your own",
    note = "for another type, write its format: `<name:display>`, `<name:debug>` or `<name:hash>`, and `<name:bits>` for \
            a float; on a field, `#[key(display)]` and so on"
)]
pub trait KeyPart {
    /// Writes the value into the key, in one or more pieces.
    fn write(&self, key: &mut KeyWriter);
}

/// Collects the text of values for a key; see [`KeyPart`].
///
/// Each method writes one piece and separates it from the one before. Length is
/// not limited: a key of more than 250 bytes is shortened to a prefix and a hash.
#[derive(Debug)]
pub struct KeyWriter {
    pub(super) text: String,
    /// The byte that leaves of the current value must not contain.
    pub(super) terminator: Option<u8>,
    /// Whether the next piece must be separated from the one before it.
    pub(super) adjacent: bool,
    /// Whether a formatter returned an error, so that there is no key.
    pub(super) failed: bool,
}

impl KeyWriter {
    pub(super) fn new() -> Self {
        KeyWriter { text: String::new(), terminator: None, adjacent: false, failed: false }
    }

    /// Writes text as one piece. Every byte other than `A-Z a-z 0-9 _ . -` is
    /// escaped.
    pub fn leaf(&mut self, text: &str) {
        self.leaf_bytes(text.as_bytes());
    }

    /// Writes arbitrary bytes as one piece, escaped like text.
    pub fn leaf_bytes(&mut self, bytes: &[u8]) {
        self.piece(|key| key.escaped(bytes));
    }

    /// Writes formatted text, such as `format_args!("{x}")`, as one piece.
    ///
    /// If the formatter returns an error, the call is not cached.
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

    /// Writes several values as one piece, `(a,b)`.
    pub fn group<'a>(&mut self, parts: impl IntoIterator<Item = &'a dyn KeyPart>) {
        self.bracketed(["(", ")"], parts);
    }

    /// Writes a variant of an enum as one piece: its name, then its values if it
    /// has any, as in `Name(a,b)`.
    pub fn variant<'a>(&mut self, name: &str, parts: impl IntoIterator<Item = &'a dyn KeyPart>) {
        self.leaf(name);
        let mut parts = parts.into_iter().peekable();
        if parts.peek().is_some() {
            self.adjacent = false;
            self.group(parts);
        }
    }

    /// Writes the elements of a sequence as one piece, `[a,b]`.
    pub(crate) fn sequence<'a>(&mut self, parts: impl IntoIterator<Item = &'a dyn KeyPart>) {
        self.bracketed(["[", "]"], parts);
    }

    /// Writes entries as one piece, `{a,b}`, sorted by their text, since the order
    /// of a hash map is arbitrary.
    pub(crate) fn sorted(&mut self, entries: impl Iterator<Item = impl FnOnce(&mut KeyWriter)>) {
        let mut texts: Vec<String> = entries.map(|write| self.elsewhere(write)).collect();
        texts.sort_unstable();
        self.piece(|key| {
            key.structure("{");
            key.structure(&texts.join(","));
            key.structure("}");
        });
    }

    /// Writes the `=` between a map's key and value.
    pub(crate) fn equals(&mut self) {
        self.structure("=");
    }

    /// Writes `~` for `None`, and the value for `Some`, with another `~` where the
    /// two could be confused.
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

    /// Writes text that no leaf can contain.
    pub(super) fn structure(&mut self, text: &str) {
        self.text.push_str(text);
        self.adjacent = false;
    }

    /// Writes a number as one piece; digits and a sign need no escapes.
    pub(crate) fn number(&mut self, digits: &str) {
        match self.terminator {
            Some(b'0'..=b'9' | b'-') => self.leaf(digits),
            _ => self.piece(|key| key.text.push_str(digits)),
        }
    }

    /// Writes one piece, separated by `&` from an adjacent one.
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
            // Plain bytes are ASCII.
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

    /// Writes a value into a text of its own and returns that.
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

/// Appends a byte as two hexadecimal digits.
pub(super) fn push_hex(text: &mut String, byte: u8) {
    text.push(char::from(HEX[usize::from(byte >> 4)]));
    text.push(char::from(HEX[usize::from(byte & 15)]));
}
