//! Codecs: values to bytes and back.
//!
//! The attribute names these by its argument `codec`, and a client's `get_as` and
//! `set_as` take them. [`Codec`] is what a codec of your own implements. It must
//! survive any input, but it does not decide whether the bytes belong to the type:
//! the envelope in front of a value vouches for that.

// Only this folder names a serializer.

#[cfg(all(any(test, fuzzing), feature = "bincode", feature = "postcard", feature = "json"))]
pub(crate) mod any_bytes;
#[cfg(feature = "bincode")]
mod binary;
mod codecs;
#[cfg(feature = "postcard")]
mod compact;
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
mod depth;
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
mod follow;
#[cfg(all(test, feature = "bincode", feature = "postcard", feature = "json"))]
mod hostile_tests;
#[cfg(feature = "json")]
mod readable;
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
mod round_trip;
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
pub(crate) mod schema;
mod standard;

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
use serde::Serialize;
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

pub(crate) use self::codecs::Codecs;
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
use self::follow::{Blind, Trail};
pub(crate) use self::standard::Standard;
use crate::error::{Error, ErrorKind};

/// Encodes values of type `T` as bytes and decodes them.
///
/// The attribute's argument `codec = path` takes the path of a value whose type
/// implements this trait, such as a unit struct.
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
    label = "the codec `{Self}` cannot encode this type",
    note = "most codecs need `#[derive(serde::Serialize, serde::Deserialize)]` and no borrowed data"
)]
pub trait Codec<T>: Send + Sync {
    /// Identifies the format in the envelope of a stored value. Numbers below 64
    /// are reserved for this crate.
    fn id(&self) -> u8;

    /// Appends the encoded `value` to `out`, leaving the bytes already there alone.
    ///
    /// # Errors
    ///
    /// Returns an error, such as one of [`Error::encode`], if the format cannot
    /// represent the value. A memoized function then returns the value without
    /// storing it.
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), Error>;

    /// Decodes a value from exactly these bytes, without those of the envelope.
    ///
    /// # Errors
    ///
    /// Returns an error, such as one of [`Error::decode`], if the bytes do not
    /// encode a value of this type, or if bytes are left over after it.
    fn decode(&self, bytes: &[u8]) -> Result<T, Error>;

    /// Decodes bytes that this process has encoded, or decoded before, as a value of this
    /// type: they need no limits.
    #[doc(hidden)]
    fn decode_again(&self, bytes: &[u8]) -> Result<T, Error> {
        self.decode(bytes)
    }

    /// Chooses whether a memoized function stores its values in an envelope.
    fn framing(&self) -> Framing {
        Framing::Envelope
    }

    /// Returns memcached's client flags for a bare value, by which other programs
    /// tell its format: 0 for bytes, 16 for text.
    fn flags(&self) -> u32 {
        0
    }

    /// Returns the bytes to decode of a bare value with these flags, or an error if
    /// they are not of this format. The flags of bytes and integers are accepted as
    /// well as the codec's own.
    #[doc(hidden)]
    fn payload<'a>(&self, bytes: Cow<'a, [u8]>, flags: u32) -> Result<Cow<'a, [u8]>, Error> {
        match flags {
            BYTES | INTEGER | LONG => Ok(bytes),
            flags if flags == self.flags() => Ok(bytes),
            flags => Err(unreadable(flags)),
        }
    }

    /// Returns the fingerprint of the type's structure; a value stored with
    /// another fingerprint is a miss. By default it is that of the type's name.
    #[doc(hidden)]
    fn schema(&self) -> u64 {
        xxh3_64(std::any::type_name::<T>().as_bytes())
    }
}

/// The form in which encoded bytes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Framing {
    /// In an envelope that names the key, type, version and codec. A value whose
    /// envelope does not match is a miss.
    Envelope,
    /// Unchanged, with the codec's flags, for programs that do not use this
    /// crate. A value with other flags is a miss; nothing else is checked.
    Bare,
}

/// Bincode 2, compact and fast; the default.
#[cfg(feature = "bincode")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Bincode;

/// Postcard 1, as compact as bincode, with a published specification.
#[cfg(feature = "postcard")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Postcard;

/// JSON, readable and suited to types that need a self-describing format.
///
/// It cannot represent `Some(None)`, `NaN` or infinities, so these are not
/// stored.
#[cfg(feature = "json")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

/// JSON without an envelope, as programs in other languages store it.
///
/// It is written as bytes (flags 0), which clients of every language return as they
/// are: `json.loads` reads them in Python, `json_decode` in PHP. JSON that they
/// stored as bytes or as text is read.
#[cfg(feature = "json")]
#[derive(Clone, Copy, Debug, Default)]
pub struct BareJson;

/// JSON as pymemcache's documented `JsonSerde` stores it: flags 2, and for text that
/// is stored as it is, flags 1.
#[cfg(feature = "json")]
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonSerde;

/// Plain text without an envelope, as programs in other languages store it.
///
/// A value is written by its `Display` and read by its `FromStr`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text;

/// The ids of this crate's codecs, which an envelope tells.
mod id {
    pub(super) const BINCODE: u8 = 1;
    pub(super) const POSTCARD: u8 = 2;
    #[cfg(feature = "json")]
    pub(super) const JSON: u8 = 3;
    pub(super) const TEXT: u8 = 4;
    #[cfg(feature = "json")]
    pub(super) const BARE_JSON: u8 = 5;
    #[cfg(feature = "json")]
    pub(super) const JSON_SERDE: u8 = 6;
}

/// The client flags of text and of bytes, as Python clients and libmemcached set
/// them.
const TEXT: u32 = 16;
const BYTES: u32 = 0;
/// Those of integers, the second from Python 2.
const INTEGER: u32 = 2;
const LONG: u32 = 4;

fn unreadable(flags: u32) -> Error {
    Error::decode(format!("this codec cannot read values with flags {flags}"))
}

#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
macro_rules! serde_codec {
    ($codec:ident, $id:path, $flags:ident, $module:ident, $blind:ident, $again:path) => {
        impl<T: Serialize + DeserializeOwned> Codec<T> for $codec {
            fn id(&self) -> u8 {
                $id
            }

            fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
                let start = out.len();
                let trail = Trail::new(schema::graph::<T>(), Blind::$blind);
                $module::encode(&trail.of(value), out)?;
                if !trail.is_lost() {
                    return Ok(());
                }
                let bytes = &out[start..];
                off_the_worker(bytes.len(), || comes_back(value, $module::decode(bytes)))
            }

            fn decode(&self, bytes: &[u8]) -> Result<T, Error> {
                $module::decode(bytes)
            }

            fn decode_again(&self, bytes: &[u8]) -> Result<T, Error> {
                $again(bytes)
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
const UNFAITHFUL: &str = "it decodes to a different value";
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
const NO_WAY_BACK: &str = "it encodes, but does not decode";

#[cfg(feature = "bincode")]
serde_codec!(Bincode, id::BINCODE, BYTES, binary, Never, binary::decode_again);
#[cfg(feature = "postcard")]
serde_codec!(Postcard, id::POSTCARD, BYTES, compact, Never, compact::decode);
#[cfg(feature = "json")]
serde_codec!(Json, id::JSON, TEXT, readable, Json, readable::decode);

#[cfg(feature = "json")]
macro_rules! bare_json {
    ($codec:ident, $id:path, $flags:ident $(, $payload:item)?) => {
        impl<T: Serialize + DeserializeOwned> Codec<T> for $codec {
            fn id(&self) -> u8 {
                $id
            }

            fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
                Json.encode(value, out)
            }

            fn decode(&self, bytes: &[u8]) -> Result<T, Error> {
                Json.decode(bytes)
            }

            fn framing(&self) -> Framing {
                Framing::Bare
            }

            fn flags(&self) -> u32 {
                $flags
            }

            $($payload)?
        }
    };
}

#[cfg(feature = "json")]
bare_json! {
    BareJson, id::BARE_JSON, BYTES,
    fn payload<'a>(&self, bytes: Cow<'a, [u8]>, flags: u32) -> Result<Cow<'a, [u8]>, Error> {
        match flags {
            BYTES | INTEGER | LONG | TEXT => Ok(bytes),
            flags => Err(unreadable(flags)),
        }
    }
}
#[cfg(feature = "json")]
bare_json! {
    JsonSerde, id::JSON_SERDE, JSON_SERDE,
    fn payload<'a>(&self, bytes: Cow<'a, [u8]>, flags: u32) -> Result<Cow<'a, [u8]>, Error> {
        match flags {
            JSON_SERDE => Ok(bytes),
            JSON_SERDE_TEXT => readable::quoted(&bytes).map(Cow::Owned),
            flags => Err(unreadable(flags)),
        }
    }
}

/// The flags of pymemcache's documented `JsonSerde`.
#[cfg(feature = "json")]
const JSON_SERDE: u32 = 2;
#[cfg(feature = "json")]
const JSON_SERDE_TEXT: u32 = 1;

/// Checks that what was decoded is the value that was encoded.
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
fn comes_back<T: Serialize>(value: &T, decoded: Result<T, Error>) -> Result<(), Error> {
    let back = decoded.map_err(|error| Error::new(ErrorKind::Encode, NO_WAY_BACK).with_source(error))?;
    if round_trip::same(value, &back) { Ok(()) } else { Err(Error::new(ErrorKind::Encode, UNFAITHFUL)) }
}

/// Runs work on this many bytes. Other tasks of the thread go on elsewhere if it
/// takes long.
pub(crate) fn off_the_worker<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    /// Decoded and compared in about a millisecond.
    #[cfg(feature = "tokio")]
    const LONG: usize = 64 << 10;
    match bytes {
        #[cfg(feature = "tokio")]
        LONG.. => crate::detached::hand_over(work),
        _ => work(),
    }
}

impl<T: Display + FromStr> Codec<T> for Text {
    fn id(&self) -> u8 {
        id::TEXT
    }

    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
        use std::io::Write;
        write!(out, "{value}").map_err(Error::encode)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, Error> {
        let text = std::str::from_utf8(bytes).map_err(Error::decode)?;
        text.parse().map_err(|_| Error::new(ErrorKind::Decode, "the text does not parse as a value of this type"))
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
    fn few_bytes_cannot_claim_much_memory() {
        // Length 60, then a single byte: no memory is even requested for it.
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
    fn long_sequences_of_small_values_survive_a_round_trip() {
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
    fn a_value_that_decodes_to_a_different_one_is_refused() {
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
        fn a_value_survives_a_round_trip(value in any::<(u64, String, Option<Vec<i32>>)>(), float in -1e300_f64..1e300) {
            for codec in ALL {
                prop_assert_eq!(&round_trip(&*codec.boxed(), &value), &value);
                prop_assert_eq!(round_trip(&*codec.boxed(), &float).to_bits(), float.to_bits());
            }
            prop_assert_eq!(round_trip(&Text, &float).to_bits(), float.to_bits());
        }

        #[test]
        fn binary_codecs_keep_values_that_json_cannot(float in any::<f64>(), nested in any::<Option<Option<u8>>>()) {
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
