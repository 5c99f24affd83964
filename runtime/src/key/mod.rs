//! A call's key: its parts as text that no two different calls share.
//!
//! What goes into a key is decided by the attribute; this file answers for the
//! text being injective and safe on the wire (bytes `!` to `~`, no spaces).
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

pub(crate) mod part;

use std::fmt::{self, Write};
use std::hash::{Hash, Hasher};

use sha2::Digest;
pub(crate) use sha2::Sha256;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use crate::exchange::MAX_KEY;
use crate::key::part::KeyPart;

/// A long key keeps this much of itself in front of its hash (`#` + 32 digits).
const READABLE_PREFIX: usize = MAX_KEY - 33;

/// An empty element of a group; no escape, since no digits follow.
const EMPTY: char = '%';

/// Whether there is such a byte: sixteen are compared at once.
fn has(text: &str, byte: u8) -> bool {
    let is_in = |block: &[u8; 16]| block.iter().fold(false, |found, other| found | (*other == byte));
    let bytes = text.as_bytes();
    match bytes.last_chunk() {
        Some(last) => is_in(last) || bytes.as_chunks().0.iter().any(is_in),
        None => bytes.contains(&byte),
    }
}

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

/// What a namespace puts in front of each key, in two pieces.
pub(crate) fn prefix(namespace: &str) -> [&str; 2] {
    [namespace, if namespace.is_empty() { "" } else { ":" }]
}

/// The rendered name of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// What memcached is asked for.
    wire: String,
    /// Where the key begins behind the namespace.
    start: usize,
    /// The full key where `wire` holds only a prefix and a hash of it.
    full: Option<String>,
    /// Tells types apart that implement one trait method under one key; 0 for
    /// functions of no trait.
    owner: u64,
}

impl Key {
    /// What memcached is asked for: namespace and key, at most 250 bytes.
    pub(crate) fn wire(&self) -> &str {
        &self.wire
    }

    /// The key as the template reads, without the namespace.
    pub(crate) fn text(&self) -> &str {
        let (full, start) = self.full();
        &full[start..]
    }

    /// Stands for `Self` in the envelope, where the key does not name it.
    pub(crate) fn owner(&self) -> u64 {
        self.owner
    }

    /// Stands in the envelope, so that a value found under a key that merely
    /// looks the same on the wire is not taken for this call's.
    pub(crate) fn fingerprint(&self) -> u128 {
        let (text, start) = self.full();
        // The seed tells namespace `a`, key `b:c` from namespace `a:b`, key `c`.
        xxh3_128_with_seed(text.as_bytes(), start as u64)
    }

    /// Namespace and key, however long, and where the key begins.
    pub(crate) fn full(&self) -> (&str, usize) {
        (self.full.as_deref().unwrap_or(&self.wire), self.start)
    }
}

/// Writes a key along a template: for expansions of the attribute only.
#[derive(Debug)]
pub struct KeyBuilder {
    writer: KeyWriter,
    /// Where the key begins behind the namespace.
    start: usize,
    owner: u64,
}

impl KeyBuilder {
    /// Before it [begins](KeyBuilder::begin).
    pub(crate) fn empty() -> Self {
        KeyBuilder { writer: KeyWriter::new(), start: 0, owner: 0 }
    }

    pub(crate) fn new(namespace: &str) -> Self {
        let mut key = Self::empty();
        key.writer.text.reserve(64);
        key.begin(namespace);
        key
    }

    /// Begins anew, in the same memory.
    #[inline]
    pub(crate) fn begin(&mut self, namespace: &str) {
        let KeyBuilder { writer: KeyWriter { text, terminator, adjacent, failed }, start, owner } = self;
        (*terminator, *adjacent, *failed, *owner) = (None, false, false, 0);
        text.clear();
        if !namespace.is_empty() {
            text.extend(prefix(namespace));
        }
        *start = text.len();
    }

    /// What memcached is asked for, where that is the text as it is.
    #[inline]
    pub(crate) fn wire(&self) -> Option<&str> {
        let text = &self.writer.text;
        let is_wire = !self.writer.failed && (self.start + 1..=MAX_KEY).contains(&text.len());
        is_wire.then_some(text)
    }

    /// See [`Key::owner`].
    pub(crate) fn key_owner(&self) -> u64 {
        self.owner
    }

    /// The key, or `None` if a value refused to be written (a `Display` that
    /// returned an error).
    pub(crate) fn finish(self) -> Option<Key> {
        let KeyBuilder { writer: KeyWriter { mut text, failed, .. }, start, owner } = self;
        if failed {
            return None;
        }
        if text.len() == start {
            // Servers know no empty key.
            text.push(EMPTY);
        }
        if text.len() <= MAX_KEY {
            return Some(Key { wire: text, start, full: None, owner });
        }
        let mut wire = text[..READABLE_PREFIX].to_owned();
        wire.push('#');
        for byte in &Sha256::digest(text.as_bytes())[..16] {
            push_hex(&mut wire, *byte);
        }
        Some(Key { wire, start, full: Some(text), owner })
    }

    /// Text of the template, as it is.
    #[inline]
    pub fn literal(&mut self, text: &str) {
        self.writer.structure(text);
    }

    /// The full path of the function called `name` around the closure `_here`:
    /// `Self` and the generic parameters of its type included, its own not.
    /// `module` and `place` are where it stands in the source, if it may be a
    /// function inside another, which can have a twin of the same path.
    pub fn function<T>(&mut self, _here: &T, name: &str, place: Option<(&str, u32, u32)>) {
        self.function_in(around(std::any::type_name::<T>()), name, place);
    }

    fn function_in(&mut self, around: &str, name: &str, place: Option<(&str, u32, u32)>) {
        self.value(|key| key.leaf(around));
        self.literal("::");
        self.value(|key| key.leaf(name));
        if let Some((_, line, column)) = place.filter(|(module, ..)| *module != around) {
            self.value(|key| key.formatted(format_args!("#{line}.{column}")));
        }
    }

    /// Sees to it that a method of a generic type, or of several types that
    /// share a trait's, has entries of its own for each type. `_here` is a
    /// closure in its body.
    pub fn owner<T>(&mut self, _here: &T) {
        self.owner_of(std::any::type_name::<T>());
    }

    fn owner_of(&mut self, closure: &str) {
        // So it is for most functions, and found out soon.
        if !has(closure, b'<') {
            return;
        }
        let owner = around(closure);
        // `module::Type<T>`, `<Type<T> as Trait>`, but not `<Type as Trait>`,
        // which may be any type's implementation of a method of its own.
        if owner.trim_start_matches('<').contains('<') {
            self.literal(";");
            self.value(|key| key.leaf(owner));
        } else if owner.starts_with('<') {
            self.owner = xxh3_64(owner.as_bytes());
        }
    }

    /// The name of a generic parameter's type.
    pub fn type_name<T: ?Sized>(&mut self) {
        self.value(|key| key.leaf(std::any::type_name::<T>()));
    }

    /// The name of a value's type, which may have no other name.
    pub fn type_of<T: ?Sized>(&mut self, _value: &T) {
        self.type_name::<T>();
    }

    /// Names the byte that ends the next value.
    pub fn until(&mut self, terminator: u8) -> &mut Self {
        self.writer.terminator = Some(terminator);
        self
    }

    /// A value through [`KeyPart`].
    pub fn part<T: KeyPart + ?Sized>(&mut self, value: &T) {
        self.value(|key| value.write(key));
    }

    /// A value through `Display`.
    pub fn display<T: fmt::Display + ?Sized>(&mut self, value: &T) {
        self.value(|key| key.formatted(format_args!("{value}")));
    }

    /// A value through `Debug`.
    pub fn debug<T: fmt::Debug + ?Sized>(&mut self, value: &T) {
        self.value(|key| key.formatted(format_args!("{value:?}")));
    }

    /// A value through `Hash`: 128 bits of SHA-256 over what it feeds a hasher.
    ///
    /// Machines share such keys only if they agree in byte order and in the
    /// width of `usize`.
    pub fn hash<T: Hash + ?Sized>(&mut self, value: &T) {
        let mut hasher = Wide(Sha256::new());
        value.hash(&mut hasher);
        for byte in &hasher.0.finalize()[..16] {
            push_hex(&mut self.writer.text, *byte);
        }
        self.writer.terminator = None;
    }

    /// A float as its bits: `0.0` and `-0.0` differ, and so do two `NaN`s of
    /// different payload.
    pub fn bits(&mut self, value: &(impl Bits + ?Sized)) {
        for byte in value.bits().to_be_bytes() {
            push_hex(&mut self.writer.text, byte);
        }
        self.writer.terminator = None;
    }

    fn value(&mut self, write: impl FnOnce(&mut KeyWriter)) {
        write(&mut self.writer);
        self.writer.terminator = None;
        self.writer.adjacent = false;
    }
}

/// Takes the text of a value for a key; see [`KeyPart`].
#[derive(Debug)]
pub struct KeyWriter {
    text: String,
    /// A byte that leaves of the current value must not contain.
    terminator: Option<u8>,
    /// Whether a piece would touch the one before it.
    adjacent: bool,
    failed: bool,
}

impl KeyWriter {
    fn new() -> Self {
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
        let mut texts: Vec<String> = entries.map(|write| self.aside(write)).collect();
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
    fn structure(&mut self, text: &str) {
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

    fn aside(&mut self, write: impl FnOnce(&mut KeyWriter)) -> String {
        let mut other = KeyWriter { terminator: self.terminator, ..KeyWriter::new() };
        write(&mut other);
        self.failed |= other.failed;
        if other.text.is_empty() {
            other.text.push(EMPTY);
        }
        other.text
    }
}

/// Floats, which have bits but no equality to build a key on.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no float, so it has no `:bits`",
    label = "neither `f32` nor `f64`",
    note = "write the placeholder without a format, as in `<n>`"
)]
pub trait Bits {
    /// The bit pattern, widened to 64 bits.
    fn bits(&self) -> u64;
}

impl Bits for f32 {
    fn bits(&self) -> u64 {
        u64::from(self.to_bits())
    }
}

impl Bits for f64 {
    fn bits(&self) -> u64 {
        self.to_bits()
    }
}

impl<T: Bits + ?Sized> Bits for &T {
    fn bits(&self) -> u64 {
        (**self).bits()
    }
}

/// The path around the function around a closure, from the closure's type name:
/// `app::Repo<u8>` for `app::Repo<u8>::load<T>::{{closure}}`.
fn around(mut closure: &str) -> &str {
    while let Some(outer) = closure.strip_suffix("::{{closure}}") {
        closure = outer;
    }
    let bytes = closure.as_bytes();
    let (mut depth, mut end) = (0_u32, 0);
    for (i, byte) in bytes.iter().enumerate() {
        match byte {
            b'<' | b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            // Not the arrow in `fn() -> u8`.
            b'>' if i > 0 && bytes[i - 1] != b'-' => depth = depth.saturating_sub(1),
            b':' if depth == 0 && bytes.get(i + 1) == Some(&b':') => end = i,
            _ => {}
        }
    }
    &closure[..end]
}

/// Collision-resistant, since what is hashed may come from strangers.
struct Wide(Sha256);

impl Hasher for Wide {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Nobody asks for these 64 bits.
    fn finish(&self) -> u64 {
        0
    }
}

fn push_hex(text: &mut String, byte: u8) {
    text.push(char::from(HEX[usize::from(byte >> 4)]));
    text.push(char::from(HEX[usize::from(byte & 15)]));
}

#[cfg(any(test, fuzzing))]
pub(crate) mod calls;
#[cfg(test)]
mod injective;

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet, HashMap};

    use proptest::prelude::*;

    use super::*;

    fn render(write: impl FnOnce(&mut KeyBuilder)) -> Key {
        let mut key = KeyBuilder::new("");
        write(&mut key);
        key.finish().expect("nothing refuses to be written")
    }

    fn part(value: &impl KeyPart) -> String {
        render(|key| key.part(value)).wire
    }

    #[test]
    fn a_number_behind_its_label_is_readable() {
        let key = render(|key| {
            key.literal("fib:");
            key.part(&30_u64);
        });
        assert_eq!(key.wire(), "fib:30");
    }

    #[test]
    fn values_that_look_alike_stay_apart() {
        assert_ne!(part(&("ab", "c")), part(&("a", "bc")));
        assert_ne!(part(&None::<&str>), part(&Some("None")));
        assert_ne!(part(&None::<&str>), part(&Some("~")));
        assert_ne!(part(&None::<&str>), part(&Some("")));
        assert_ne!(part(&Some(None::<u8>)), part(&None::<Option<u8>>));
        assert_ne!(part(&vec!["a", "b"]), part(&vec!["a,b"]));
        assert_ne!(part(&vec![""]), part(&Vec::<&str>::new()));
    }

    #[test]
    fn values_written_piece_by_piece_stay_apart() {
        struct Pair(&'static str, &'static str);
        impl KeyPart for Pair {
            fn write(&self, key: &mut KeyWriter) {
                key.leaf(self.0);
                self.1.write(key);
            }
        }
        assert_ne!(part(&Pair("ab", "c")), part(&Pair("a", "bc")));
        assert_ne!(part(&Pair("ab", "")), part(&Pair("", "ab")));
        let until = |pair: &Pair, next: &str| {
            render(|key| {
                key.until(b'-').part(pair);
                key.literal("-");
                key.part(next);
            })
        };
        assert_ne!(until(&Pair("a", "1-2"), "3"), until(&Pair("a", "1"), "2-3"));
    }

    #[test]
    fn no_key_is_empty() {
        assert_eq!(part(&""), "%");
        assert_ne!(part(&""), part(&"%"));
    }

    #[test]
    fn maps_of_the_same_entries_are_the_same_key() {
        let pairs = [("b", 2), ("a", 1), ("c", 3)];
        let hashed: HashMap<_, _> = pairs.into_iter().collect();
        let sorted: BTreeMap<_, _> = pairs.into_iter().collect();
        assert_eq!(part(&hashed), "{a=1,b=2,c=3}");
        assert_eq!(part(&hashed), part(&sorted));
    }

    #[test]
    fn a_namespace_stands_on_the_wire_only() {
        let mut key = KeyBuilder::new("shop");
        key.literal("fib:");
        key.part(&30_u64);
        let key = key.finish().unwrap();
        assert_eq!((key.wire(), key.text()), ("shop:fib:30", "fib:30"));
    }

    #[test]
    fn a_long_key_is_a_prefix_and_a_hash() {
        let long = |tail: &str| render(|key| key.part(&format!("{}{tail}", "x".repeat(300))));
        let (a, b) = (long("a"), long("b"));
        assert_eq!(a.wire().len(), 250);
        assert_ne!(a.wire(), b.wire());
        assert_ne!(a.fingerprint(), b.fingerprint());
        assert!(a.text().ends_with("xa"));
    }

    #[test]
    fn the_path_around_a_function_has_its_types_and_not_its_own() {
        assert_eq!(around("app::fib::{{closure}}"), "app");
        assert_eq!(around("app::fib<u8, 3>::{{closure}}::{{closure}}"), "app");
        assert_eq!(around("app::Repo<a::B>::load<T>::{{closure}}"), "app::Repo<a::B>");
        assert_eq!(around("<app::One as app::Named>::of::{{closure}}"), "<app::One as app::Named>");
        assert_eq!(around("app::fib<a::B, [c::D; 3], (e::F,), fn() -> g::H>::{{closure}}"), "app");
        assert_eq!(around("<app::R<fn() -> a::B> as app::N>::of::{{closure}}"), "<app::R<fn() -> a::B> as app::N>");
    }

    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    struct Refuses;

    impl fmt::Display for Refuses {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Err(fmt::Error)
        }
    }

    impl KeyPart for Refuses {
        fn write(&self, key: &mut KeyWriter) {
            key.formatted(format_args!("{self}"));
        }
    }

    #[test]
    fn a_display_that_fails_gives_no_key() {
        let mut key = KeyBuilder::new("");
        key.display(&Refuses);
        assert_eq!(key.finish(), None);
    }

    #[test]
    fn a_value_has_the_same_text_in_every_version() {
        let texts = [
            (part(&true), "true"),
            (part(&-5), "-5"),
            (part(&"a b/é"), "a%20b%2F%C3%A9"),
            (part(&(1, "a", ())), "(1,a,())"),
            (part(&["a", "", "b"]), "[a,%,b]"),
            (part(&BTreeMap::from([("a", 1), ("b", 2)])), "{a=1,b=2}"),
            (part(&BTreeSet::from(["b", "", "a"])), "{%,a,b}"),
            (part(&[Some(Some(1)), Some(None), None]), "[1,~~,~]"),
            (render(|key| key.until(b'-').part(&BTreeSet::from(["a-b"]))).wire, "{a%2Db}"),
            (render(|key| key.display(&"a b")).wire, "a%20b"),
            (render(|key| key.debug(&"a b")).wire, "%22a%20b%22"),
            (render(|key| key.bits(&&0.1_f32)).wire, "000000003DCCCCCD"),
            (render(|key| key.bits(&&0.1_f64)).wire, "3FB999999999999A"),
            (render(|key| key.hash(&7_u8)).wire, "CA358758F6D27E6CF45272937977A748"),
            (render(|key| key.type_name::<str>()).wire, "str"),
            (render(|key| key.type_of(&7_u8)).wire, "u8"),
        ];
        for (text, expected) in &texts {
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn a_minus_does_not_end_a_value() {
        enum Who {
            Number(i8),
            Nobody,
        }
        impl KeyPart for Who {
            fn write(&self, key: &mut KeyWriter) {
                match self {
                    Who::Number(number) => number.write(key),
                    Who::Nobody => key.leaf(""),
                }
            }
        }
        let two = |who: &Who, next: &str| {
            render(|key| {
                key.until(b'-').part(who);
                key.literal("-");
                key.part(next);
            })
        };
        assert_ne!(two(&Who::Number(-1), "2"), two(&Who::Nobody, "1-2"));
    }

    #[test]
    fn a_function_is_named_by_the_path_to_it_and_by_its_place_inside_another() {
        let name = |around: &str, module: &str| {
            let place = Some((module, 30, 4));
            render(|key| key.function_in(around, "fib", place)).wire
        };
        assert_eq!(render(|key| key.function(&|| (), "fib", None)).wire, "memocached%3A%3Akey%3A%3Atests::fib");
        assert_eq!(name("app", "app"), "app::fib");
        assert_eq!(name("app::main", "app"), "app%3A%3Amain::fib%2330.4");
    }

    #[test]
    fn methods_of_several_types_have_entries_of_their_own() {
        let key = |closure: &str| {
            render(|key| {
                key.literal("name");
                key.owner_of(closure);
            })
        };
        let one = key("<app::One as app::Named>::name::{{closure}}");
        let two = key("<app::Two as app::Named>::name::{{closure}}");
        assert_eq!((one.wire(), two.wire()), ("name", "name"));
        assert_ne!(one.owner(), two.owner());
        let method = key("app::One::name::{{closure}}");
        assert_eq!((method.wire(), method.owner()), ("name", 0));
        for owner in ["app::Repo<u8>", "<app::Repo<u8> as app::Named>"] {
            let of_type = |generic: &str| key(&format!("{}::name::{{{{closure}}}}", owner.replace("u8", generic)));
            assert_ne!(of_type("u8").wire(), of_type("u16").wire());
        }
        struct Generic<T>(T);
        impl<T> Generic<T> {
            fn key(&self) -> Key {
                render(|key| key.owner(&|| ()))
            }
        }
        assert_ne!(Generic(1_u8).key(), Generic(1_u16).key());
    }

    #[test]
    fn an_element_that_refuses_to_be_written_gives_no_key() {
        let mut key = KeyBuilder::new("");
        key.part(&BTreeSet::from([Refuses]));
        assert_eq!(key.finish(), None);
    }

    proptest! {
        #[test]
        fn a_byte_is_found_wherever_it_is(text in "[;<=|\u{bc}\0]{0,20}", byte in prop::sample::select(b"<;\0\xbc".to_vec())) {
            prop_assert_eq!(has(&text, byte), text.as_bytes().contains(&byte));
        }

        #[test]
        fn any_text_is_safe_on_the_wire(text in any::<String>(), bytes in any::<Vec<u8>>()) {
            let key = render(|key| { key.part(&text); key.literal(":"); key.part(&bytes); });
            prop_assert!(key.wire().len() <= MAX_KEY);
            prop_assert!(key.wire().bytes().all(|b| b.is_ascii_graphic()));
        }

        #[test]
        fn different_arguments_give_different_keys(
            a in ("[-:~a,x]{0,3}", any::<Option<Option<u8>>>(), prop::collection::vec("[,a~]{0,2}", 0..3)),
            b in ("[-:~a,x]{0,3}", any::<Option<Option<u8>>>(), prop::collection::vec("[,a~]{0,2}", 0..3)),
        ) {
            let render = |(x, y, z): &(String, Option<Option<u8>>, Vec<String>)| render(|key| {
                key.until(b'-').part(x);
                key.literal("x-");
                key.part(y);
                key.literal(",");
                key.part(z);
            });
            prop_assert_eq!(a == b, render(&a) == render(&b));
        }
    }
}
