//! Values written in the format that a placeholder or a field names: `display`,
//! `debug`, `hash` or `bits`.
//!
//! Each format is a wrapper that implements [`KeyPart`], so the encoding around
//! values stays in `writer`.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use hmac_sha256::Hash as Sha256;

use super::writer::{KeyPart, KeyWriter, push_hex};

/// A value that `display` can write: what implements `Display`, and an `Option`,
/// list or tuple of such values.
///
/// The parameter says by which of these ways, and the compiler finds it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be written with `display`",
    label = "neither implements `Display` nor holds only values that do",
    note = "`display` also writes an `Option`, a slice, an array, a `Vec` or a tuple of what implements `Display`; \
            otherwise write `debug` or `hash`"
)]
pub trait InDisplay<Way> {
    /// Writes the value.
    fn write_displayed(&self, key: &mut KeyWriter);
}

/// By the type's own `Display`.
#[derive(Debug)]
pub struct Own;
/// One by one.
#[derive(Debug)]
pub struct Each<Way>(PhantomData<Way>);
/// What a reference refers to.
#[derive(Debug)]
pub struct Referred<Way>(PhantomData<Way>);

#[diagnostic::do_not_recommend]
impl<T: fmt::Display + ?Sized> InDisplay<Own> for T {
    fn write_displayed(&self, key: &mut KeyWriter) {
        key.formatted(format_args!("{self}"));
    }
}

/// A type that holds values and has no `Display`. A reference to it has none
/// either, while that to another value may have one.
pub trait Container {}

#[diagnostic::do_not_recommend]
impl<T: InDisplay<Way> + Container + ?Sized, Way> InDisplay<Referred<Way>> for &T {
    fn write_displayed(&self, key: &mut KeyWriter) {
        (**self).write_displayed(key);
    }
}

impl<T: Container + ?Sized> Container for &T {}

/// A value to be written with `display`.
#[derive(Debug)]
pub struct Displayed<'a, T: ?Sized, Way>(&'a T, PhantomData<Way>);

/// Writes a value with `display`.
pub fn display<T: InDisplay<Way> + ?Sized, Way>(value: &T) -> Displayed<'_, T, Way> {
    Displayed(value, PhantomData)
}

impl<T: InDisplay<Way> + ?Sized, Way> KeyPart for Displayed<'_, T, Way> {
    fn write(&self, key: &mut KeyWriter) {
        self.0.write_displayed(key);
    }
}

mod sealed {
    /// What has bits: no type of other crates.
    pub trait Sealed {}
}

use sealed::Sealed;

/// A float, or an `Option`, list or tuple of floats, whose bits can be part of a key
/// where the placeholder says `:bits`.
///
/// Floats have no [`KeyPart`], since values that are equal can differ in their
/// bits (`0.0` and `-0.0`) and a `NaN` does not equal itself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a float, so it has no `bits`",
    label = "neither `f32` nor `f64`",
    note = "write the placeholder without a format, as in `<n>`"
)]
pub trait Bits: Sealed {
    /// Writes the IEEE 754 bit pattern in sixteen hexadecimal digits; an `f32` takes
    /// the last eight.
    fn write_bits(&self, key: &mut KeyWriter);
}

impl Sealed for f32 {}

impl Bits for f32 {
    fn write_bits(&self, key: &mut KeyWriter) {
        hexadecimal(&u64::from(self.to_bits()).to_be_bytes(), key);
    }
}

impl Sealed for f64 {}

impl Bits for f64 {
    fn write_bits(&self, key: &mut KeyWriter) {
        hexadecimal(&self.to_bits().to_be_bytes(), key);
    }
}

impl<T: Bits + ?Sized> Sealed for &T {}

impl<T: Bits + ?Sized> Bits for &T {
    fn write_bits(&self, key: &mut KeyWriter) {
        (**self).write_bits(key);
    }
}

/// A float to be written with `bits`.
#[derive(Debug)]
pub struct BitsOf<'a, T: ?Sized>(&'a T);

/// Writes a float with `bits`.
pub fn bits<T: ?Sized>(value: &T) -> BitsOf<'_, T> {
    BitsOf(value)
}

impl<T: Bits + ?Sized> KeyPart for BitsOf<'_, T> {
    fn write(&self, key: &mut KeyWriter) {
        self.0.write_bits(key);
    }
}

/// Writes each of the values that a type holds, as [`KeyPart`] does.
macro_rules! holders {
    ($(<$($length:ident)?> $holder:ty;)*) => {$(
        impl<T, $(const $length: usize)?> Container for $holder {}

        #[diagnostic::do_not_recommend]
        impl<T: InDisplay<Way>, Way, $(const $length: usize)?> InDisplay<Each<Way>> for $holder {
            fn write_displayed(&self, key: &mut KeyWriter) {
                let items: Vec<_> = self.iter().map(display).collect();
                items.write(key);
            }
        }

        impl<T: Bits, $(const $length: usize)?> Sealed for $holder {}

        impl<T: Bits, $(const $length: usize)?> Bits for $holder {
            fn write_bits(&self, key: &mut KeyWriter) {
                let items: Vec<_> = self.iter().map(bits).collect();
                items.write(key);
            }
        }
    )*};
}

holders! {
    <> [T];
    <N> [T; N];
    <> Vec<T>;
}

impl<T> Container for Option<T> {}

#[diagnostic::do_not_recommend]
impl<T: InDisplay<Way>, Way> InDisplay<Each<Way>> for Option<T> {
    fn write_displayed(&self, key: &mut KeyWriter) {
        self.as_ref().map(display).write(key);
    }
}

impl<T: Bits> Sealed for Option<T> {}

impl<T: Bits> Bits for Option<T> {
    fn write_bits(&self, key: &mut KeyWriter) {
        self.as_ref().map(bits).write(key);
    }
}

macro_rules! tuples {
    ($($name:ident $way:ident)*) => {
        impl<$($name),*> Container for ($($name,)*) {}

        #[diagnostic::do_not_recommend]
        impl<$($name: InDisplay<$way>, $way),*> InDisplay<($($way,)*)> for ($($name,)*) {
            #[allow(non_snake_case, reason = "the type parameters name the elements")]
            fn write_displayed(&self, key: &mut KeyWriter) {
                let ($($name,)*) = self;
                key.group([$(&display($name) as &dyn KeyPart),*]);
            }
        }

        impl<$($name: Bits),*> Sealed for ($($name,)*) {}

        impl<$($name: Bits),*> Bits for ($($name,)*) {
            #[allow(non_snake_case, reason = "the type parameters name the elements")]
            fn write_bits(&self, key: &mut KeyWriter) {
                let ($($name,)*) = self;
                key.group([$(&bits($name) as &dyn KeyPart),*]);
            }
        }
    };
}

tuples!(A WayA);
tuples!(A WayA B WayB);
tuples!(A WayA B WayB C WayC);
tuples!(A WayA B WayB C WayC D WayD);
tuples!(A WayA B WayB C WayC D WayD E WayE);
tuples!(A WayA B WayB C WayC D WayD E WayE F WayF);

/// A value to be written with `debug`.
#[derive(Debug)]
pub struct Debugged<'a, T: ?Sized>(&'a T);

/// Writes a value with `debug`.
pub fn debug<T: ?Sized>(value: &T) -> Debugged<'_, T> {
    Debugged(value)
}

impl<T: fmt::Debug + ?Sized> KeyPart for Debugged<'_, T> {
    fn write(&self, key: &mut KeyWriter) {
        key.formatted(format_args!("{:?}", self.0));
    }
}

/// A value to be written with `hash`.
#[derive(Debug)]
pub struct Hashed<'a, T: ?Sized>(&'a T);

/// Writes a value with `hash`: as 128 bits of the SHA-256 of its hashed bytes.
///
/// Machines share such keys only if they agree on byte order and on the width of
/// `usize`.
pub fn hash<T: ?Sized>(value: &T) -> Hashed<'_, T> {
    Hashed(value)
}

impl<T: Hash + ?Sized> KeyPart for Hashed<'_, T> {
    fn write(&self, key: &mut KeyWriter) {
        let mut hasher = Wide(Sha256::new());
        self.0.hash(&mut hasher);
        hexadecimal(&hasher.0.finalize()[..16], key);
    }
}

/// A hasher whose digest is collision-resistant, since the values may be chosen
/// by an attacker.
struct Wide(Sha256);

impl Hasher for Wide {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Unused: the digest is read instead.
    fn finish(&self) -> u64 {
        0
    }
}

fn hexadecimal(bytes: &[u8], key: &mut KeyWriter) {
    let mut digits = String::with_capacity(2 * bytes.len());
    bytes.iter().for_each(|byte| push_hex(&mut digits, *byte));
    key.number(&digits);
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::key::KeyBuilder;

    fn text(write: impl FnOnce(&mut KeyBuilder)) -> String {
        let mut key = KeyBuilder::new("");
        write(&mut key);
        key.finish().expect("every value can be written").wire().to_owned()
    }

    #[test]
    fn display_and_bits_reach_into_what_holds_values() {
        let (one, other) = (Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST);
        let texts = [
            (text(|key| key.display(&Some(one))), "127.0.0.1"),
            (text(|key| key.display(&None::<Ipv4Addr>)), "~"),
            (text(|key| key.display(&&[one, other][..])), "[127.0.0.1,255.255.255.255]"),
            (text(|key| key.display(&&&vec![Some("a,b"), None])), "[a%2Cb,~]"),
            (text(|key| key.display(&(1, Some("x"), [[2]]))), "(1,x,[[2]])"),
            (text(|key| key.display(&&"a b")), "a%20b"),
            (text(|key| key.bits(&Some(0.1_f32))), "000000003DCCCCCD"),
            (text(|key| key.bits(&&[Some((1.0, 0.1_f32)), None][..])), "[(3FF0000000000000,000000003DCCCCCD),~]"),
        ];
        for (text, expected) in &texts {
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn a_generic_function_knows_only_that_its_type_is_displayed() {
        fn shown<T: fmt::Display>(value: &T, several: &[T]) -> String {
            text(|key| {
                key.display(value);
                key.display(&several);
            })
        }
        assert_eq!(shown(&1, &[2, 3]), "1[2,3]");
    }
}
