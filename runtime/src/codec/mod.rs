//! Values ↔ bytes. The only place that names a serializer.
//!
//! A codec trusts its input no further than not to crash: whether the bytes
//! are this type's at all is vouched for by the envelope.

#[cfg(all(any(test, fuzzing), feature = "bincode", feature = "postcard", feature = "json"))]
pub(crate) mod any_bytes;
#[cfg(feature = "bincode")]
mod binary;
#[cfg(feature = "postcard")]
mod compact;
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
mod depth;
#[cfg(all(test, feature = "bincode", feature = "postcard", feature = "json"))]
mod hostile_tests;
#[cfg(feature = "json")]
mod readable;
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
mod round_trip;
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
pub(crate) mod schema;
mod standard;

use std::fmt::Display;
use std::str::FromStr;

#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
use serde::Serialize;
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
use serde::de::DeserializeOwned;

pub(crate) use self::standard::Standard;
use crate::error::{Error, ErrorKind};

/// Turns values of type `T` into bytes and back.
///
/// The attribute's argument `codec = path` takes the path of a value of a type
/// that implements this, such as a unit struct.
///
/// ```
/// use memocached::{Codec, Error, memcached};
///
/// /// Numbers in big-endian order.
/// #[derive(Clone, Copy)]
/// struct BigEndian;
///
/// impl Codec<u64> for BigEndian {
///     fn id(&self) -> u8 {
///         64
///     }
///
///     fn encode(&self, value: &u64, out: &mut Vec<u8>) -> Result<(), Error> {
///         out.extend(value.to_be_bytes());
///         Ok(())
///     }
///
///     fn decode(&self, bytes: &[u8]) -> Result<u64, Error> {
///         let bytes = bytes.try_into().map_err(Error::decode)?;
///         Ok(u64::from_be_bytes(bytes))
///     }
/// }
///
/// #[memcached(key = "cube:<n>", codec = BigEndian)]
/// fn cube(n: u64) -> u64 {
///     n * n * n
/// }
///
/// assert_eq!((cube(3), cube(3)), (27, 27));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{T}` cannot be stored with the codec `{Self}`",
    label = "the codec `{Self}` has no form for this",
    note = "for most codecs: `#[derive(serde::Serialize, serde::Deserialize)]`, and no borrowed data"
)]
pub trait Codec<T>: Send + Sync {
    /// Names the format in front of a stored value. Numbers below 64 are this
    /// crate's.
    fn id(&self) -> u8;

    /// Appends the bytes of `value` to `out`.
    ///
    /// # Errors
    ///
    /// If the value has no form in this format.
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), Error>;

    /// Reads a value from exactly these bytes; anything left over is an error.
    ///
    /// # Errors
    ///
    /// If the bytes are no value of this type.
    fn decode(&self, bytes: &[u8]) -> Result<T, Error>;

    /// Whether anything vouches for the bytes in a memoized function's entry.
    fn framing(&self) -> Framing {
        Framing::Envelope
    }

    /// What bare bytes are marked with, for other programs: 0 for bytes, 16 for
    /// text.
    fn flags(&self) -> u32 {
        0
    }

    /// The structure that a value must have been written with.
    #[doc(hidden)]
    fn schema(&self) -> u64 {
        0
    }
}

/// How encoded bytes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Framing {
    /// In an envelope that says whose value it is: anything else is a miss.
    Envelope,
    /// As they are, with the codec's flags, for programs that know nothing of
    /// this crate. Bytes with flags of another kind are a miss; nothing else
    /// is checked.
    Bare,
}

/// Bincode 2: compact and fast; the default.
#[cfg(feature = "bincode")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Bincode;

/// Postcard 1: as compact, with a specified format.
#[cfg(feature = "postcard")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Postcard;

/// JSON: readable, and good for types that need a self-describing format.
///
/// `Some(None)` and floats that are no number have no form in it, so they are
/// not stored.
#[cfg(feature = "json")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

/// Exactly the bytes of `Display`, read by `FromStr`, without an envelope: what
/// programs in other languages store and read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text;

/// The flags of text and of none, in the Python clients and libmemcached's.
const TEXT: u32 = 16;
const BYTES: u32 = 0;

#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
macro_rules! serde_codec {
    ($codec:ident, $id:literal, $flags:ident, $module:ident) => {
        impl<T: Serialize + DeserializeOwned> Codec<T> for $codec {
            fn id(&self) -> u8 {
                $id
            }

            fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
                let start = out.len();
                $module::encode(value, out)?;
                let back: T = $module::decode(&out[start..]).map_err(Error::encode)?;
                if round_trip::same(value, &back) { Ok(()) } else { Err(Error::encode(UNFAITHFUL)) }
            }

            fn decode(&self, bytes: &[u8]) -> Result<T, Error> {
                $module::decode(bytes)
            }

            fn schema(&self) -> u64 {
                schema::fingerprint::<T>()
            }

            fn flags(&self) -> u32 {
                $flags
            }
        }
    };
}

#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
const UNFAITHFUL: &str = "the value would come back as another one; does its type use serde's `untagged`, `flatten`, \
                          `tag` or `skip_serializing_if`?";

#[cfg(feature = "bincode")]
serde_codec!(Bincode, 1, BYTES, binary);
#[cfg(feature = "postcard")]
serde_codec!(Postcard, 2, BYTES, compact);
#[cfg(feature = "json")]
serde_codec!(Json, 3, TEXT, readable);

impl<T: Display + FromStr> Codec<T> for Text {
    fn id(&self) -> u8 {
        4
    }

    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
        use std::io::Write;
        write!(out, "{value}").map_err(Error::encode)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, Error> {
        let text = std::str::from_utf8(bytes).map_err(Error::decode)?;
        text.parse().map_err(|_| Error::new(ErrorKind::Decode, "the text is no such value"))
    }

    fn framing(&self) -> Framing {
        Framing::Bare
    }

    fn flags(&self) -> u32 {
        TEXT
    }
}

#[cfg(all(test, feature = "bincode", feature = "postcard", feature = "json"))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Standard; 3] = [Standard::Bincode, Standard::Postcard, Standard::Json];

    fn round_trip<T>(codec: &dyn Codec<T>, value: &T) -> T {
        let mut bytes = Vec::new();
        codec.encode(value, &mut bytes).expect("encodes");
        codec.decode(&bytes).expect("decodes")
    }

    #[test]
    fn bytes_left_over_are_refused() {
        for codec in ALL {
            let mut bytes = Vec::new();
            codec.boxed().encode(&1_u8, &mut bytes).unwrap();
            bytes.push(b'1');
            bytes.push(b'}');
            let decoded: Result<u8, _> = codec.boxed().decode(&bytes);
            assert!(decoded.is_err(), "{codec:?}");
        }
    }

    #[test]
    fn a_claim_of_a_huge_length_is_refused() {
        let bomb = [0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        for codec in ALL {
            let decoded: Result<Vec<u64>, _> = codec.boxed().decode(&bomb);
            assert!(decoded.is_err(), "{codec:?}");
        }
    }

    #[test]
    fn few_bytes_cannot_claim_much() {
        // The length 60 in front of one byte: memory for it is not even asked for.
        let decoded: Result<String, _> = Bincode.decode(&[60, b'a']);
        let refused = std::error::Error::source(&decoded.unwrap_err()).unwrap().to_string();
        assert_eq!(refused, bincode::error::DecodeError::LimitExceeded.to_string());
    }

    #[test]
    fn text_is_what_display_writes() {
        let mut bytes = Vec::new();
        Text.encode(&-12.5_f64, &mut bytes).unwrap();
        assert_eq!(bytes, b"-12.5");
        let decoded: Result<u8, _> = Text.decode(b"many");
        assert!(decoded.is_err());
    }

    #[test]
    fn long_sequences_of_small_values_come_back() {
        for length in [1_000, 4_095, 4_096, 65_536, 1_000_000] {
            let numbers = vec![1_u128; length];
            let texts = vec!["x".to_owned(); length];
            for codec in ALL {
                assert_eq!(round_trip(&*codec.boxed(), &numbers), numbers, "{codec:?}");
                assert_eq!(round_trip(&*codec.boxed(), &texts), texts, "{codec:?}");
            }
        }
    }

    #[test]
    fn a_value_that_would_come_back_as_another_is_refused() {
        #[derive(Serialize, serde::Deserialize)]
        struct Page {
            #[serde(skip_serializing_if = "Option::is_none")]
            next: Option<u32>,
            offset: u32,
            ids: Vec<u32>,
        }
        let page = Page { next: None, offset: 1, ids: vec![5, 0] };
        for codec in [Standard::Bincode, Standard::Postcard] {
            assert!(codec.boxed().encode(&page, &mut Vec::new()).is_err(), "{codec:?}");
        }
        assert!(Json.encode(&page, &mut Vec::new()).is_ok());
        assert!(Json.encode(&Some(None::<u8>), &mut Vec::new()).is_err());
        assert!(Json.encode(&f64::NAN, &mut Vec::new()).is_err());
        assert!(Bincode.encode(&f64::NAN, &mut Vec::new()).is_ok());
    }

    proptest! {
        #[test]
        fn a_value_comes_back(value in any::<(u64, String, Option<Vec<i32>>)>(), float in -1e300_f64..1e300) {
            for codec in ALL {
                prop_assert_eq!(&round_trip(&*codec.boxed(), &value), &value);
                prop_assert_eq!(round_trip(&*codec.boxed(), &float).to_bits(), float.to_bits());
            }
            prop_assert_eq!(round_trip(&Text, &float).to_bits(), float.to_bits());
        }

        #[test]
        fn binary_codecs_keep_what_json_cannot(float in any::<f64>(), nested in any::<Option<Option<u8>>>()) {
            for codec in [Standard::Bincode, Standard::Postcard] {
                prop_assert_eq!(round_trip(&*codec.boxed(), &float).to_bits(), float.to_bits());
                prop_assert_eq!(round_trip(&*codec.boxed(), &nested), nested);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            for codec in ALL {
                let _: Result<Vec<(String, Vec<u64>)>, _> = codec.boxed().decode(&bytes);
            }
        }
    }
}
