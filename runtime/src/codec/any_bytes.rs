//! Checks that hold for arbitrary bytes given to a codec.
//!
//! Property tests and fuzz targets call them; this file generates no input.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Standard;

/// Covers most of serde's data model.
#[derive(Serialize, Deserialize)]
enum Anything {
    Nothing,
    Small(bool, i8, u8, char),
    Numbers { integers: (u16, i32, u64, i128), floats: [f64; 2], single: f32 },
    Texts(String, Vec<u8>, Option<String>),
    Sets(BTreeSet<u16>, BTreeMap<String, Option<u8>>, HashMap<u8, Anything>),
    Nested(Vec<Anything>),
    Beside(Box<Anything>, Result<u8, String>),
}

/// Panics if the bytes decode to a value that changes when it is encoded and
/// decoded again. The first byte chooses the type.
pub(crate) fn any_bytes(codec: Standard, bytes: &[u8]) {
    let [first, bytes @ ..] = bytes else { return };
    match first % 6 {
        0 => comes_back::<Vec<u128>>(codec, bytes),
        1 => comes_back::<HashMap<String, (i64, Option<char>)>>(codec, bytes),
        2 => comes_back::<(String, [f32; 3], Vec<Vec<u8>>)>(codec, bytes),
        _ => comes_back::<Anything>(codec, bytes),
    }
}

fn comes_back<T: Serialize + DeserializeOwned>(codec: Standard, bytes: &[u8]) {
    let codec = codec.boxed::<T>();
    let stored = |value: &T| {
        let mut out = Vec::new();
        codec.encode(value, &mut out).is_ok().then_some(out)
    };
    // A value the codec cannot represent, such as NaN in JSON, is never stored.
    let Some(once) = codec.decode(bytes).ok().and_then(|value| stored(&value)) else { return };
    let back = codec.decode(&once).expect("an encoded value decodes");
    let again = stored(&back).expect("a decoded value encodes");
    for decoded in [codec.decode(&again), codec.decode_again(&again)] {
        let decoded = decoded.expect("an encoded value decodes");
        assert!(super::round_trip::same(&decoded, &back), "{once:?} became {again:?}");
    }
}
