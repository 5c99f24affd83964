//! Writes a key along the template of the attribute.

use std::fmt;
use std::hash::{Hash, Hasher};

use sha2::Digest;
use xxhash_rust::xxh3::xxh3_64;

use super::writer::{EMPTY, KeyPart, KeyWriter, push_hex};
use super::{Key, Sha256, prefix};
use crate::exchange::MAX_KEY;

/// A long key keeps this much of itself in front of its hash (`#` + 32 digits).
const READABLE_PREFIX: usize = MAX_KEY - 33;

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

    pub(super) fn function_in(&mut self, around: &str, name: &str, place: Option<(&str, u32, u32)>) {
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

    pub(super) fn owner_of(&mut self, closure: &str) {
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
pub(super) fn around(mut closure: &str) -> &str {
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

/// Whether there is such a byte: sixteen are compared at once.
pub(super) fn has(text: &str, byte: u8) -> bool {
    let is_in = |block: &[u8; 16]| block.iter().fold(false, |found, other| found | (*other == byte));
    let bytes = text.as_bytes();
    match bytes.last_chunk() {
        Some(last) => is_in(last) || bytes.as_chunks().0.iter().any(is_in),
        None => bytes.contains(&byte),
    }
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
