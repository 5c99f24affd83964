//! The structural fingerprint of a value's type.
//!
//! Binary codecs decode a changed struct without complaint: swapped fields, a
//! dropped field, a `u32` that became an `i32`. The fingerprint in the envelope
//! turns such values into misses. It hashes what the type's `Deserialize` asks
//! for when it is run on made-up data: names and order of fields, primitive types,
//! nesting, enum variants. `trace` collects that, without letting conversions and
//! other code of the type's own meet such data.

mod answers;
pub(super) mod shape;
mod trace;

use std::cell::Cell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, Mutex};

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
static FOUND: LazyLock<Mutex<HashMap<usize, &Known>>> = LazyLock::new(Mutex::default);

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

#[inline]
fn known(of: &'static Type) -> &'static Known {
    // The address identifies the type without a `'static` bound. If two types
    // share an address, they share a name, and the compiler has found the code
    // that traces them to be the same.
    let address = std::ptr::from_ref(of).addr();
    KNOWN.with(|slots| {
        // Each type has two slots, since two that take turns may share one.
        let first = address / size_of::<Type>() % REMEMBERED;
        let (first, second) = (&slots[first], &slots[first ^ 1]);
        for slot in [first, second] {
            if let (remembered, known) = slot.get()
                && remembered == address
            {
                return known;
            }
        }
        let known = found(of, address);
        second.set(first.replace((address, known)));
        known
    })
}

#[cold]
fn found(of: &'static Type, address: usize) -> &'static Known {
    // No lock is held while the type's own code runs.
    let found = lock(&FOUND).get(&address).copied();
    found.unwrap_or_else(|| {
        let known: &'static Known = Box::leak(Box::new(traced(of)));
        lock(&FOUND).insert(address, known);
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
mod tests;
