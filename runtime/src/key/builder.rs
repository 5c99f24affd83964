//! Renders a key from the attribute's template and the arguments of a call.
//!
//! How a single value is encoded is in `writer`, `part` and `format`.

use std::borrow::Cow;
use std::fmt::Debug;
use std::hash::Hash;

use hmac_sha256::Hash as Sha256;
use xxhash_rust::xxh3::xxh3_64;

use super::format::{self, Bits, InDisplay};
use super::writer::{EMPTY, KeyPart, KeyWriter, push_hex};
use super::{Key, prefix};
use crate::exchange::MAX_KEY;

/// How many bytes of a long key stay readable before its hash (`#` and 32 digits).
const READABLE_PREFIX: usize = MAX_KEY - 33;

/// Renders a key from a template; only for expansions of the attribute.
#[derive(Debug)]
pub struct KeyBuilder {
    writer: KeyWriter,
    /// Where the key begins after the namespace, in bytes.
    start: usize,
    /// See [`Key::owner`].
    owner: u64,
}

/// Whether memcached's key is the text itself. One that looks as if it had been shortened is
/// not: it could be the key of that other text.
#[inline]
fn is_short(text: &str) -> bool {
    text.len() < MAX_KEY || text.len() == MAX_KEY && text.as_bytes()[READABLE_PREFIX] != b'#'
}

impl KeyBuilder {
    /// Creates a builder that has yet to [begin](KeyBuilder::begin).
    pub(crate) fn empty() -> Self {
        KeyBuilder { writer: KeyWriter::new(), start: 0, owner: 0 }
    }

    /// Creates a builder that has begun a key in `namespace`.
    pub(crate) fn new(namespace: &str) -> Self {
        let mut key = Self::empty();
        key.writer.text.reserve(64);
        key.begin(namespace);
        key
    }

    /// Begins a new key in `namespace`, reusing the memory of the last one.
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

    /// Returns memcached's key, if the text can be used for it unchanged.
    #[inline]
    pub(crate) fn wire(&self) -> Option<&str> {
        let text = &self.writer.text;
        let is_wire = !self.writer.failed && text.len() > self.start && is_short(text);
        is_wire.then_some(text)
    }

    /// Returns what has been written, without the namespace.
    pub(crate) fn text(&self) -> &str {
        &self.writer.text[self.start..]
    }

    /// Returns the owner, see [`Key::owner`].
    pub(crate) fn key_owner(&self) -> u64 {
        self.owner
    }

    /// Returns the key, or `None` if a value could not be written, because its
    /// `Display` or `Debug` returned an error.
    pub(crate) fn finish(self) -> Option<Key> {
        let KeyBuilder { writer: KeyWriter { mut text, failed, .. }, start, owner } = self;
        if failed {
            return None;
        }
        if text.len() == start {
            // memcached does not accept an empty key.
            text.push(EMPTY);
        }
        if is_short(&text) {
            return Some(Key { wire: text, start, full: None, owner });
        }
        let mut wire = text[..READABLE_PREFIX].to_owned();
        wire.push('#');
        for byte in &Sha256::hash(text.as_bytes())[..16] {
            push_hex(&mut wire, *byte);
        }
        Some(Key { wire, start, full: Some(text), owner })
    }

    /// Writes text of the template unchanged.
    #[inline]
    pub fn literal(&mut self, text: &str) {
        self.writer.structure(text);
    }

    /// Writes the full path of the function `name`, in whose body the closure `_here` is.
    /// The `position` tells functions apart that stand in another one and may share a path.
    pub fn function<T>(&mut self, _here: &T, name: &str, position: Option<(&str, u32, u32)>) {
        self.function_in(around(std::any::type_name::<T>()), name, position);
    }

    /// Writes the path of the function `name` in the path `around`.
    pub(super) fn function_in(&mut self, around: &str, name: &str, position: Option<(&str, u32, u32)>) {
        self.value(|key| key.leaf(&without_lifetimes(around)));
        self.literal("::");
        self.value(|key| key.leaf(name));
        if let Some((_, line, column)) = position.filter(|(module, ..)| *module != around) {
            self.value(|key| key.formatted(format_args!("#{line}.{column}")));
        }
    }

    /// Gives a method separate entries for each type, if its type is generic or
    /// several types implement it for one trait.
    ///
    /// `_here` is a closure in the method's body.
    #[inline]
    pub fn owner<T>(&mut self, _here: &T) {
        // Most functions leave here, as the compiler may know.
        if has(std::any::type_name::<T>(), b'<') {
            self.owner_of(std::any::type_name::<T>());
        }
    }

    /// Does the same with the name of the closure's type.
    pub(super) fn owner_of(&mut self, closure: &str) {
        let closure = without_lifetimes(closure);
        let owner = beside_its_impl(around(&closure));
        // `module::Type<T>` and `<Type<T> as Trait>` go into the key. `<Type as
        // Trait>` does not, since each implementation may have its own template;
        // there the envelope tells the types apart.
        if owner.trim_start_matches('<').contains('<') {
            self.literal(";");
            self.value(|key| key.leaf(&owner));
        } else if owner.starts_with('<') {
            self.owner = xxh3_64(owner.as_bytes());
        }
    }

    /// Writes the name of a type, such as a generic parameter's.
    pub fn type_name<T: ?Sized>(&mut self) {
        self.value(|key| key.leaf(&without_lifetimes(std::any::type_name::<T>())));
    }

    /// Writes the name of a value's type, for types that cannot be named in source
    /// code.
    pub fn type_of<T: ?Sized>(&mut self, _value: &T) {
        self.type_name::<T>();
    }

    /// Sets the byte that ends the next value; the value will not contain it.
    pub fn until(&mut self, terminator: u8) -> &mut Self {
        self.writer.terminator = Some(terminator);
        self
    }

    /// Writes a value with [`KeyPart`].
    pub fn part<T: KeyPart + ?Sized>(&mut self, value: &T) {
        self.value(|key| value.write(key));
    }

    /// Writes a value with `Display`.
    pub fn display<T: InDisplay<Way> + ?Sized, Way>(&mut self, value: &T) {
        self.part(&format::display(value));
    }

    /// Writes a value with `Debug`.
    pub fn debug<T: Debug + ?Sized>(&mut self, value: &T) {
        self.part(&format::debug(value));
    }

    /// Writes a value with `Hash`.
    pub fn hash<T: Hash + ?Sized>(&mut self, value: &T) {
        self.part(&format::hash(value));
    }

    /// Writes a float as its bits: `0.0` and `-0.0` differ, and so do `NaN`s with
    /// different payloads.
    pub fn bits(&mut self, value: &(impl Bits + ?Sized)) {
        self.part(&format::bits(value));
    }

    /// Writes one value of the template.
    fn value(&mut self, write: impl FnOnce(&mut KeyWriter)) {
        write(&mut self.writer);
        self.writer.terminator = None;
        self.writer.adjacent = false;
    }
}

/// Extracts the path of the item that contains a closure's function from the
/// closure's type name: `app::Repo<u8>` from
/// `app::Repo<u8>::load<T>::{{closure}}`.
pub(super) fn around(mut closure: &str) -> &str {
    while let Some(outer) = closure.strip_suffix("::{{closure}}") {
        closure = outer;
    }
    let end = outside(closure).filter(|i| closure.as_bytes()[*i..].starts_with(b"::")).last();
    &closure[..end.unwrap_or(0)]
}

/// Returns the indexes of the bytes that are in no brackets, with those of the outermost
/// brackets themselves.
fn outside(path: &str) -> impl Iterator<Item = usize> {
    let bytes = path.as_bytes();
    let mut depth = 0_u32;
    (0..bytes.len()).filter(move |&i| {
        let before = depth;
        match bytes[i] {
            b'<' | b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'>' if !is_arrow(bytes, i) => depth = depth.saturating_sub(1),
            _ => {}
        }
        before == 0
    })
}

/// Whether this is the `>` of the arrow in `fn() -> u8`.
fn is_arrow(bytes: &[u8], i: usize) -> bool {
    i > 0 && bytes[i - 1] == b'-'
}

/// Names a type as it is named if its `impl` stands in its own module: for
/// `app::other::<impl app::One>` that is `app::One`, for
/// `app::other::<impl app::Named for app::One>` it is `<app::One as app::Named>`.
fn beside_its_impl(path: &str) -> Cow<'_, str> {
    let rest = path.find('<').and_then(|start| path[start..].strip_prefix("<impl "));
    let end = |rest: &&str| outside(rest).find(|i| rest.as_bytes()[*i] == b'>' && !is_arrow(rest.as_bytes(), *i));
    let Some((rest, end)) = rest.and_then(|rest| Some((rest, end(&rest)?))) else { return path.into() };
    let (named, inside) = (&rest[..end], &rest[end + 1..]);
    match outside(named).find(|i| named.as_bytes()[*i..].starts_with(b" for ")) {
        Some(i) => format!("<{} as {}>{inside}", &named[i + " for ".len()..], &named[..i]).into(),
        None => format!("{named}{inside}").into(),
    }
}

/// Leaves out the lifetimes that some compilers write into the name of a type.
#[inline]
fn without_lifetimes(name: &str) -> Cow<'_, str> {
    if has(name, b'\'') {
        name.replace("'_, ", "").replace("<'_>", "").replace("&'_ ", "&").into()
    } else {
        name.into()
    }
}

/// Returns whether the text contains the byte, comparing sixteen bytes at once.
#[inline]
pub(super) fn has(text: &str, byte: u8) -> bool {
    let is_in = |block: &[u8; 16]| block.iter().fold(false, |found, other| found | (*other == byte));
    let bytes = text.as_bytes();
    match bytes.last_chunk() {
        Some(last) => is_in(last) || bytes.as_chunks().0.iter().any(is_in),
        None => bytes.contains(&byte),
    }
}
