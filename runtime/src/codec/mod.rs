//! Values ↔ bytes. The only place that names a serializer.
//!
//! A codec trusts its input no further than not to crash: whether the bytes
//! are this type's at all is vouched for by the envelope.

#[cfg(all(any(test, fuzzing), feature = "bincode", feature = "postcard", feature = "json"))]
pub(crate) mod any_bytes;
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
mod depth;
#[cfg(all(test, feature = "bincode", feature = "postcard", feature = "json"))]
mod hostile_tests;
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

/// A few bytes could claim that there are any number of what takes none, and
/// that many would be read.
#[cfg(any(feature = "bincode", feature = "postcard"))]
fn refuse_weightless<T: DeserializeOwned>() -> Result<(), Error> {
    if schema::is_bounded::<T>() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Decode, "there is a sequence in it of what takes no bytes, such as `Vec<()>`"))
}

#[cfg(any(feature = "bincode", feature = "json"))]
const NO_SUCH_VALUE: &str = "the bytes are no value of this type";

#[cfg(feature = "bincode")]
mod binary {
    use bincode::config::standard;
    use bincode::de::read::{BorrowReader, Reader, SliceReader};
    use bincode::de::{BorrowDecode, BorrowDecoder, Decoder, DecoderImpl};
    use bincode::error::DecodeError;
    use bincode::serde::{BorrowCompat, encode_into_std_write};
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::depth::{Depth, Shallow, TOO_DEEP};
    use super::{Error, ErrorKind};

    pub(super) fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
        encode_into_std_write(value, &mut Shallow::new(out), standard()).map(drop).map_err(Error::encode)
    }

    pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
        super::refuse_weightless::<T>()?;
        let mut decoder = decoder(bytes).map_err(refused)?;
        let BorrowCompat(value) = BorrowCompat::<T>::borrow_decode(&mut decoder).map_err(refused)?;
        match decoder.reader().peek_read(1) {
            None => Ok(value),
            Some(_) => Err(Error::new(ErrorKind::Decode, "bytes are left over behind the value")),
        }
    }

    /// What a type says of the bytes it refuses may quote them.
    fn refused(error: DecodeError) -> Error {
        match error {
            DecodeError::UnexpectedEnd { .. }
            | DecodeError::LimitExceeded
            | DecodeError::Utf8 { .. }
            | DecodeError::Other(_) => Error::decode(error),
            _ => Error::new(ErrorKind::Decode, super::NO_SUCH_VALUE),
        }
    }

    /// Without a limit a few bytes that claim a huge length abort the process.
    /// bincode's is part of a type, and with several of them all that decodes a
    /// value would be compiled several times. So there is one, the largest, and
    /// what these bytes may not claim is claimed beforehand.
    #[inline]
    fn decoder(bytes: &[u8]) -> Result<impl BorrowDecoder<'_, Context = ()>, DecodeError> {
        // A byte can stand for a `u128`, of which bincode claims all 16.
        let room = bytes.len().saturating_mul(16);
        let mut decoder = DecoderImpl::new(Shallows::new(bytes), standard().with_limit::<{ usize::MAX }>(), ());
        decoder.claim_bytes_read(usize::MAX - room)?;
        Ok(decoder)
    }

    /// Bytes to be read, as far as is not too deep.
    struct Shallows<'a> {
        bytes: SliceReader<'a>,
        depth: Depth,
    }

    impl<'a> Shallows<'a> {
        fn new(bytes: &'a [u8]) -> Self {
            Shallows { bytes: SliceReader::new(bytes), depth: Depth::here() }
        }

        #[inline]
        fn check(&self) -> Result<(), DecodeError> {
            if self.depth.is_too_deep() { Err(DecodeError::Other(TOO_DEEP)) } else { Ok(()) }
        }
    }

    impl Reader for Shallows<'_> {
        #[inline]
        fn read(&mut self, bytes: &mut [u8]) -> Result<(), DecodeError> {
            self.check()?;
            self.bytes.read(bytes)
        }

        // Who gets nothing here reads.
        #[inline]
        fn peek_read(&mut self, n: usize) -> Option<&[u8]> {
            self.check().ok()?;
            self.bytes.peek_read(n)
        }

        #[inline]
        fn consume(&mut self, n: usize) {
            self.bytes.consume(n);
        }
    }

    impl<'a> BorrowReader<'a> for Shallows<'a> {
        #[inline]
        fn take_bytes(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
            self.check()?;
            self.bytes.take_bytes(length)
        }
    }
}

#[cfg(feature = "postcard")]
mod compact {
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use postcard::de_flavors::{Flavor, Slice};

    use super::depth::{Depth, Shallow};
    use super::{Error, ErrorKind};

    pub(super) fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
        postcard::to_io(value, Shallow::new(out)).map(drop).map_err(Error::encode)
    }

    pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
        super::refuse_weightless::<T>()?;
        let shallows = Shallows { bytes: Slice::new(bytes), depth: Depth::here() };
        let mut decoder = postcard::Deserializer::from_flavor(shallows);
        let value = T::deserialize(&mut decoder).map_err(Error::decode)?;
        match decoder.finalize().map_err(Error::decode)? {
            [] => Ok(value),
            _ => Err(Error::new(ErrorKind::Decode, "bytes are left over behind the value")),
        }
    }

    /// Bytes to be read, as far as is not too deep.
    struct Shallows<'a> {
        bytes: Slice<'a>,
        depth: Depth,
    }

    impl Shallows<'_> {
        #[inline]
        fn check(&self) -> postcard::Result<()> {
            if self.depth.is_too_deep() { Err(postcard::Error::SerdeDeCustom) } else { Ok(()) }
        }
    }

    impl<'a> Flavor<'a> for Shallows<'a> {
        type Remainder = &'a [u8];
        type Source = &'a [u8];

        #[inline]
        fn pop(&mut self) -> postcard::Result<u8> {
            self.check()?;
            self.bytes.pop()
        }

        #[inline]
        fn size_hint(&self) -> Option<usize> {
            self.bytes.size_hint()
        }

        #[inline]
        fn try_take_n(&mut self, count: usize) -> postcard::Result<&'a [u8]> {
            self.check()?;
            self.bytes.try_take_n(count)
        }

        fn finalize(self) -> postcard::Result<&'a [u8]> {
            self.bytes.finalize()
        }
    }
}

#[cfg(feature = "json")]
mod readable {
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use serde_json::error::Category;

    use super::depth::Shallow;
    use super::{Error, ErrorKind};

    pub(super) fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
        serde_json::to_writer(Shallow::new(out), value).map_err(Error::encode)
    }

    pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(bytes).map_err(refused)
    }

    /// serde_json quotes what it refuses.
    fn refused(error: serde_json::Error) -> Error {
        let (line, column) = (error.line(), error.column());
        let what = match error.classify() {
            Category::Eof => "the JSON ends too soon",
            Category::Syntax => "the bytes are no JSON",
            Category::Data | Category::Io => super::NO_SUCH_VALUE,
        };
        Error::new(ErrorKind::Decode, format!("{what}: line {line}, column {column}"))
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
