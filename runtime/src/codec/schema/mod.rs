//! The structural fingerprint of a value's type.
//!
//! Binary codecs decode a changed struct without complaint: swapped fields, a
//! dropped field, a `u32` that became an `i32`. The fingerprint in the envelope
//! turns such values into misses. It hashes what the type's own `Deserialize`
//! asks for when it is run on made-up data: names and order of fields,
//! primitive types, nesting, enum variants. `trace` collects that.

mod answers;
pub(super) mod shape;
mod trace;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

use self::shape::Graph;
use self::trace::Type;
#[cfg(any(feature = "bincode", feature = "postcard"))]
use crate::error::{Error, ErrorKind};
use crate::sync::lock;

const REMEMBERED: usize = 64;

thread_local! {
    /// This thread's cache of traced types, indexed by address.
    static KNOWN: [Cell<(usize, &Known)>; REMEMBERED] = const { [const { Cell::new((0, &NOTHING)) }; REMEMBERED] };
}

/// All traced types of the process, by address.
static FOUND: Mutex<BTreeMap<usize, &Known>> = Mutex::new(BTreeMap::new());

/// The facts kept about a traced type, for as long as the process runs.
struct Known {
    fingerprint: u64,
    /// See [`trace::Structure::weightless`].
    weightless: bool,
    /// See [`trace::Structure::asks`].
    #[cfg_attr(
        not(all(feature = "json", any(feature = "bincode", feature = "postcard"))),
        allow(dead_code, reason = "the choice is between JSON and a binary format")
    )]
    asks: bool,
    graph: Graph,
}

/// Marks an empty slot, with address 0, which no type has.
static NOTHING: Known = Known { fingerprint: 0, weightless: true, asks: false, graph: Graph::EMPTY };

/// Returns the fingerprint of `T`, which is traced only once.
pub(crate) fn fingerprint<T: DeserializeOwned>() -> u64 {
    known(Type::of::<T>()).fingerprint
}

/// Returns the structure of `T`, to compare values with. It is empty if `T` has
/// sequences whose elements take no bytes: not all that are written can be read.
pub(super) fn graph<T: DeserializeOwned>() -> &'static Graph {
    let Known { weightless, graph, .. } = known(Type::of::<T>());
    if *weightless { &NOTHING.graph } else { graph }
}

/// Returns the fingerprint of `T`, and whether `T` asks the format what comes next,
/// which binary formats cannot tell.
#[cfg(all(feature = "json", any(feature = "bincode", feature = "postcard")))]
pub(super) fn fingerprint_and_asks<T: DeserializeOwned>() -> (u64, bool) {
    let Known { fingerprint, asks, .. } = known(Type::of::<T>());
    (*fingerprint, *asks)
}

/// Whether each element of every sequence in `T` takes at least a byte, so that
/// a sequence cannot have more elements than there are bytes.
#[cfg(any(feature = "bincode", feature = "postcard"))]
pub(crate) fn is_bounded<T: DeserializeOwned>() -> bool {
    !known(Type::of::<T>()).weightless
}

/// Refuses types with sequences of elements that take no bytes: a few damaged
/// bytes could claim any number of them, and decoding would never end.
#[cfg(any(feature = "bincode", feature = "postcard"))]
pub(super) fn refuse_weightless<T: DeserializeOwned>() -> Result<(), Error> {
    if is_bounded::<T>() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Decode, "the type has a sequence whose elements take no bytes, such as `Vec<()>`"))
}

fn known(of: &'static Type) -> &'static Known {
    // The address identifies the type without a `'static` bound. If two types
    // share an address, they share a name, and the compiler has found the code
    // that traces them to be the same.
    let address = std::ptr::from_ref(of).addr();
    KNOWN.with(|slots| {
        let slot = &slots[address / size_of::<Type>() % REMEMBERED];
        if let (remembered, known) = slot.get()
            && remembered == address
        {
            return known;
        }
        // No lock is held while the type's own code runs.
        let found = lock(&FOUND).get(&address).copied();
        let known = found.unwrap_or_else(|| {
            let known: &'static Known = Box::leak(Box::new(traced(of)));
            lock(&FOUND).insert(address, known);
            known
        });
        slot.set((address, known));
        known
    })
}

fn traced(of: &Type) -> Known {
    let structure = catch_unwind(AssertUnwindSafe(|| trace::structure(of))).unwrap_or_default();
    let fingerprint = match structure.complete {
        true => xxh3_64(structure.text.as_bytes()),
        // Part of the structure is unknown, so the name must match as well.
        false => xxh3_64(format!("{} {}", (of.name)(), structure.text).as_bytes()),
    };
    let trace::Structure { weightless, asks, graph, .. } = structure;
    Known { fingerprint, weightless, asks, graph }
}

#[cfg(test)]
#[allow(dead_code, reason = "the types are traced, never built")]
mod tests {
    use std::collections::HashMap;
    use std::num::NonZero;

    use serde::Deserialize;

    use super::*;

    fn is_complete<T: DeserializeOwned>() -> bool {
        trace::structure(Type::of::<T>()).complete
    }

    macro_rules! versions {
        ($($name:ident { $($item:item)* })*) => {$( mod $name { use super::*; $(#[derive(Deserialize)] $item)* } )*};
    }

    versions! {
        v1 {
            pub(super) struct User { id: NonZero<u64>, name: String, age: u32, score: u32 }
            pub(super) enum Kind { A, B(u8) }
            pub(super) struct Order { kinds: Vec<Kind>, by_name: HashMap<String, Kind>, note: Option<Kind> }
            pub(super) enum Expr { Add(Box<Expr>, Box<Expr>), Call { arguments: Vec<Expr> }, Literal(i64) }
            pub(super) enum Left { Right(Box<Right>), Left }
            pub(super) enum Right { Left(Box<Left>), Right(u8) }
            pub(super) struct List { value: u8, next: Option<Box<List>> }
        }
        same {
            pub(super) struct User { id: NonZero<u64>, name: String, age: u32, score: u32 }
            pub(super) enum Kind { A, B(u8) }
            pub(super) struct Order { kinds: Vec<Kind>, by_name: HashMap<String, Kind>, note: Option<Kind> }
            pub(super) enum Expr { Add(Box<Expr>, Box<Expr>), Call { arguments: Vec<Expr> }, Literal(i64) }
            pub(super) enum Left { Right(Box<Right>), Left }
            pub(super) enum Right { Left(Box<Left>), Right(u8) }
            pub(super) struct List { value: u8, next: Option<Box<List>> }
        }
        swapped {
            pub(super) struct User { id: NonZero<u64>, name: String, score: u32, age: u32 }
            pub(super) enum Kind { B(u8), A }
            pub(super) struct Order { kinds: Vec<Kind>, note: Option<Kind>, by_name: HashMap<String, Kind> }
            pub(super) enum Expr { Call { arguments: Vec<Expr> }, Add(Box<Expr>, Box<Expr>), Literal(i64) }
            pub(super) struct List { next: Option<Box<List>>, value: u8 }
        }
        dropped {
            pub(super) struct User { id: NonZero<u64>, name: String, age: u32 }
            pub(super) enum Kind { A }
            pub(super) struct Order { kinds: Vec<Kind>, by_name: HashMap<String, Kind> }
            pub(super) enum Expr { Add(Box<Expr>, Box<Expr>), Literal(i64) }
            pub(super) struct List { next: Option<Box<List>> }
        }
        signed {
            pub(super) struct User { id: NonZero<u64>, name: String, age: i32, score: u32 }
            pub(super) enum Kind { A, B(i8) }
            pub(super) struct Order { kinds: Vec<Kind>, by_name: HashMap<String, Kind>, note: Option<Kind> }
            pub(super) enum Expr { Add(Box<Expr>, Box<Expr>), Call { arguments: Vec<Expr> }, Literal(u64) }
            pub(super) enum Left { Right(Box<Right>), Left }
            pub(super) enum Right { Left(Box<Left>), Right(i8) }
            pub(super) struct List { value: i8, next: Option<Box<List>> }
        }
        renamed {
            pub(super) struct User { id: NonZero<u64>, title: String, age: u32, score: u32 }
            pub(super) enum Kind { A, C(u8) }
            pub(super) struct Order { kinds: Vec<Kind>, by_name: HashMap<String, Kind>, remark: Option<Kind> }
            pub(super) enum Expr { Add(Box<Expr>, Box<Expr>), Apply { arguments: Vec<Expr> }, Literal(i64) }
            pub(super) struct List { item: u8, next: Option<Box<List>> }
        }
    }

    #[test]
    fn the_same_structure_elsewhere_has_the_same_fingerprint() {
        assert_eq!(fingerprint::<v1::User>(), fingerprint::<same::User>());
        assert_eq!(fingerprint::<v1::Kind>(), fingerprint::<same::Kind>());
        assert_eq!(fingerprint::<v1::Order>(), fingerprint::<same::Order>());
        assert_eq!(fingerprint::<v1::Expr>(), fingerprint::<same::Expr>());
        assert_eq!(fingerprint::<v1::Left>(), fingerprint::<same::Left>());
        assert_eq!(fingerprint::<v1::List>(), fingerprint::<same::List>());
    }

    macro_rules! all_differ {
        ($type:ident: $($version:ident),*) => {
            $(assert_ne!(fingerprint::<v1::$type>(), fingerprint::<$version::$type>(), stringify!($version));)*
        };
    }

    #[test]
    fn every_change_of_a_type_changes_the_fingerprint() {
        all_differ!(User: swapped, dropped, signed, renamed);
        all_differ!(Kind: swapped, dropped, signed, renamed);
    }

    #[test]
    fn a_change_deep_inside_changes_the_fingerprint() {
        all_differ!(Order: swapped, dropped, signed, renamed);
        assert_ne!(fingerprint::<Vec<v1::User>>(), fingerprint::<Vec<signed::User>>());
        assert_ne!(fingerprint::<BTreeMap<u8, v1::Kind>>(), fingerprint::<BTreeMap<u8, signed::Kind>>());
        assert_ne!(fingerprint::<Option<u32>>(), fingerprint::<u32>());
        assert_ne!(fingerprint::<(u8, u16)>(), fingerprint::<(u16, u8)>());
    }

    #[test]
    fn recursive_types_are_traced_to_the_end() {
        all_differ!(Expr: swapped, dropped, signed, renamed);
        all_differ!(List: swapped, dropped, signed, renamed);
        all_differ!(Left: signed);
        assert!(is_complete::<v1::Expr>());
        assert!(is_complete::<v1::Left>());
        assert!(is_complete::<v1::List>());
    }

    #[test]
    fn types_that_refuse_zero_are_traced_to_the_end() {
        assert!(is_complete::<(NonZero<u8>, char, std::net::IpAddr, std::time::Duration)>());
        assert_ne!(fingerprint::<(NonZero<u8>, u32)>(), fingerprint::<(NonZero<u8>, i32)>());
    }

    #[test]
    fn a_type_that_cannot_be_traced_is_identified_by_its_name() {
        struct Refuses;
        impl<'de> Deserialize<'de> for Refuses {
            fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
                Err(serde::de::Error::custom("no"))
            }
        }
        struct Panics;
        impl<'de> Deserialize<'de> for Panics {
            fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
                panic!("on purpose")
            }
        }
        assert!(!is_complete::<Refuses>());
        assert_ne!(fingerprint::<Refuses>(), fingerprint::<Panics>());
    }

    #[test]
    fn sequences_whose_elements_take_no_bytes_are_detected() {
        #[derive(PartialEq, Eq, Hash, Deserialize)]
        struct Unit;
        #[derive(Deserialize)]
        struct Empty {
            unit: Unit,
            none: [u8; 0],
        }
        #[derive(Deserialize)]
        struct Deep {
            all: Vec<(u8, Option<Vec<Empty>>)>,
        }
        assert!(!is_bounded::<Vec<()>>());
        assert!(!is_bounded::<std::collections::HashSet<Unit>>());
        assert!(!is_bounded::<HashMap<(), Unit>>());
        assert!(!is_bounded::<Deep>());
        assert!(is_bounded::<(Unit, [(); 3], Vec<u8>, Vec<Option<()>>, Vec<Vec<u8>>, HashMap<(), u8>, String)>());
        assert!(is_bounded::<v1::Order>() && is_bounded::<v1::Expr>());
    }

    #[test]
    fn tracing_gives_up_on_an_endless_type() {
        #[derive(Deserialize)]
        struct Endless {
            inner: Box<Endless>,
        }
        assert!(!is_complete::<Endless>());
    }
}
