//! The structural fingerprint of a value's type.
//!
//! Binary codecs read a changed struct without complaint: swapped fields, a
//! dropped one, `u32` become `i32`. The fingerprint in the envelope turns such
//! values into misses. It is made by tracing the type's `Deserialize` with the
//! crate `serde-reflection`: names and order of fields, primitive kinds,
//! nesting, enum variants. Where tracing stops early (self-describing formats,
//! values that refuse a zero), what was seen until then counts together with
//! the type's name.

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::DeserializeOwned;
use serde_reflection::{Samples, Tracer, TracerConfig};
use xxhash_rust::xxh3::xxh3_64;

thread_local! {
    static KNOWN: RefCell<HashMap<fn() -> u64, u64>> = RefCell::new(HashMap::new());
}

/// The fingerprint of `T`, traced once per thread.
pub(crate) fn fingerprint<T: DeserializeOwned>() -> u64 {
    // The function's address stands for the type: it is there without a
    // `'static` bound, and where two types share one address, the compiler
    // found their tracing to be the same code.
    let trace: fn() -> u64 = trace::<T>;
    if let Some(known) = KNOWN.with(|known| known.borrow().get(&trace).copied()) {
        return known;
    }
    // Not while `KNOWN` is borrowed: tracing runs the type's own code.
    let traced = trace();
    KNOWN.with(|known| known.borrow_mut().insert(trace, traced));
    traced
}

fn trace<T: DeserializeOwned>() -> u64 {
    let text = catch_unwind(AssertUnwindSafe(structure::<T>));
    let text = text.unwrap_or_else(|_| std::any::type_name::<T>().to_owned());
    xxh3_64(text.as_bytes())
}

fn structure<T: DeserializeOwned>() -> String {
    let mut tracer = Tracer::new(TracerConfig::default().is_human_readable(false));
    let samples = Samples::new();
    match tracer.trace_type::<T>(&samples) {
        Ok((format, _)) => format!("{format:?} {:?}", tracer.registry_unchecked()),
        Err(_) => format!("{} {:?}", std::any::type_name::<T>(), tracer.registry_unchecked()),
    }
}

#[cfg(test)]
#[allow(dead_code, reason = "the types are traced, never built")]
mod tests {
    use serde::Deserialize;

    use super::fingerprint;

    macro_rules! versions {
        ($($name:ident { $($item:item)* })*) => {$( mod $name { use super::*; $(#[derive(Deserialize)] $item)* } )*};
    }

    versions! {
        v1 { pub(super) struct User { id: u64, name: String, age: u32, score: u32 } pub(super) enum Kind { A, B(u8) } }
        same { pub(super) struct User { id: u64, name: String, age: u32, score: u32 } pub(super) enum Kind { A, B(u8) } }
        swapped { pub(super) struct User { id: u64, name: String, score: u32, age: u32 } pub(super) enum Kind { B(u8), A } }
        dropped { pub(super) struct User { id: u64, name: String, age: u32 } pub(super) enum Kind { A } }
        signed { pub(super) struct User { id: u64, name: String, age: i32, score: u32 } pub(super) enum Kind { A, B(i8) } }
        renamed { pub(super) struct User { id: u64, title: String, age: u32, score: u32 } pub(super) enum Kind { A, C(u8) } }
    }

    #[test]
    fn the_same_structure_elsewhere_has_the_same_fingerprint() {
        assert_eq!(fingerprint::<v1::User>(), fingerprint::<same::User>());
        assert_eq!(fingerprint::<v1::Kind>(), fingerprint::<same::Kind>());
    }

    #[test]
    fn every_change_of_a_struct_changes_the_fingerprint() {
        let old = fingerprint::<v1::User>();
        assert_ne!(old, fingerprint::<swapped::User>());
        assert_ne!(old, fingerprint::<dropped::User>());
        assert_ne!(old, fingerprint::<signed::User>());
        assert_ne!(old, fingerprint::<renamed::User>());
    }

    #[test]
    fn every_change_of_an_enum_changes_the_fingerprint() {
        let old = fingerprint::<v1::Kind>();
        assert_ne!(old, fingerprint::<swapped::Kind>());
        assert_ne!(old, fingerprint::<dropped::Kind>());
        assert_ne!(old, fingerprint::<signed::Kind>());
        assert_ne!(old, fingerprint::<renamed::Kind>());
    }

    #[test]
    fn nested_types_count() {
        assert_ne!(fingerprint::<Vec<v1::User>>(), fingerprint::<Vec<signed::User>>());
        assert_ne!(fingerprint::<Option<u32>>(), fingerprint::<u32>());
        assert_ne!(fingerprint::<(u8, u16)>(), fingerprint::<(u16, u8)>());
    }

    #[test]
    fn a_type_that_cannot_be_traced_is_known_by_its_name() {
        struct Panics;
        impl<'de> Deserialize<'de> for Panics {
            fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
                Err(serde::de::Error::custom("no"))
            }
        }
        assert_ne!(fingerprint::<Panics>(), fingerprint::<u8>());
    }
}
