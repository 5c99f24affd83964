//! Functions of a crate that brings nothing into scope by itself.

#![no_implicit_prelude]

use ::core::convert::Into;
use ::memocached::{KeyPart, memcached};
use ::std::option::Option::{self, Some};
use ::std::string::String;

#[::core::prelude::v1::derive(KeyPart)]
pub(super) enum Size {
    Small,
    Large { by: u8 },
}

#[memcached(entry = of_entry, store_if = |value| *value > 0, when = n > 0, codec = json, version = 2)]
pub(super) fn of<T: KeyPart, const N: usize>(size: Size, n: u8, other: T) -> u8 {
    let _ = other;
    match size {
        Size::Small => n,
        Size::Large { by } => n * by,
    }
}

#[memcached(key = "without_prelude:<name>:<f:bits>:<size:debug>", ttl = "1m")]
pub(super) async fn later(name: &str, f: f64, size: Option<u8>) -> Option<String> {
    let _ = (f, size);
    Some(name.into())
}

#[memcached(key = "without_prelude:<n>", each(n in numbers), grace = 60)]
pub(super) async fn several(numbers: ::std::vec::Vec<u8>) -> ::std::vec::Vec<u8> {
    numbers
}

#[memcached(key = "without_prelude:<n>", each(n in numbers))]
pub(super) fn some(numbers: &[u8]) -> ::std::vec::Vec<u8> {
    numbers.to_vec()
}
