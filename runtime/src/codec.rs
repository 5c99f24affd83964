//! Values ↔ bytes. The only file that names a serializer.
//!
//! A codec trusts its input no further than not to crash: whether the bytes
//! are this type's at all is vouched for by the envelope.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind};

/// Turns values of type `T` into bytes and back.
pub(crate) trait Codec<T> {
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
}

/// The codecs a cache can be configured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standard {
    #[cfg(feature = "bincode")]
    Bincode,
}

impl Standard {
    /// The codec used where none is named; none may be built in.
    pub(crate) fn built_in() -> Result<Self, Error> {
        #[cfg(feature = "bincode")]
        return Ok(Standard::Bincode);
        #[cfg(not(feature = "bincode"))]
        Err(Error::new(ErrorKind::Configuration, "memocached was built without a codec: enable its feature `bincode`"))
    }
}

impl<T: Serialize + DeserializeOwned> Codec<T> for Standard {
    fn id(&self) -> u8 {
        match *self {
            #[cfg(feature = "bincode")]
            Standard::Bincode => 1,
        }
    }

    #[cfg_attr(not(feature = "bincode"), allow(unused_variables))]
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
        match *self {
            #[cfg(feature = "bincode")]
            Standard::Bincode => binary::encode(value, out),
        }
    }

    #[cfg_attr(not(feature = "bincode"), allow(unused_variables))]
    fn decode(&self, bytes: &[u8]) -> Result<T, Error> {
        match *self {
            #[cfg(feature = "bincode")]
            Standard::Bincode => binary::decode(bytes),
        }
    }
}

fn failed(what: &str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Encode, what).with_source(source)
}

#[cfg(feature = "bincode")]
mod binary {
    use bincode::config::{Configuration, Limit, standard};
    use bincode::serde::{decode_from_slice, encode_into_std_write};
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::{Error, failed};
    use crate::error::ErrorKind;

    pub(super) fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
        let written = encode_into_std_write(value, out, standard());
        written.map(drop).map_err(|source| failed("the value has no form in bincode", source))
    }

    pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
        let decoded = match bytes.len() {
            0..=0x800 => limited::<T, 0x1000>(bytes),
            0x801..=0x8000 => limited::<T, 0x1_0000>(bytes),
            0x8001..=0x8_0000 => limited::<T, 0x10_0000>(bytes),
            _ => limited::<T, 0x100_0000>(bytes),
        };
        let (value, consumed) = decoded.map_err(|source| failed("the bytes are no such value in bincode", source))?;
        if consumed == bytes.len() {
            Ok(value)
        } else {
            Err(Error::new(ErrorKind::Encode, "bytes are left over behind the value"))
        }
    }

    /// Without a limit a few bytes that claim a huge length abort the process;
    /// `LIMIT` counts the memory that is claimed, so it leaves some room.
    fn limited<T: DeserializeOwned, const LIMIT: usize>(
        bytes: &[u8],
    ) -> Result<(T, usize), bincode::error::DecodeError> {
        let config: Configuration<_, _, Limit<LIMIT>> = standard().with_limit::<LIMIT>();
        decode_from_slice(bytes, config)
    }
}

#[cfg(all(test, feature = "bincode"))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip<T: Serialize + DeserializeOwned>(value: &T) -> T {
        let mut bytes = Vec::new();
        Standard::Bincode.encode(value, &mut bytes).expect("encodes");
        Standard::Bincode.decode(&bytes).expect("decodes")
    }

    #[test]
    fn bytes_left_over_are_refused() {
        let decoded: Result<u8, _> = Standard::Bincode.decode(&[1, 2]);
        assert!(decoded.is_err());
    }

    #[test]
    fn a_claim_of_a_huge_length_is_refused() {
        let bomb = [0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        let decoded: Result<Vec<u64>, _> = Standard::Bincode.decode(&bomb);
        assert!(decoded.is_err());
    }

    proptest! {
        #[test]
        fn a_value_comes_back(
            value in any::<(u64, String, Option<Vec<i32>>)>(),
            float in any::<f64>(),
            nested in any::<Option<Option<u8>>>(),
        ) {
            prop_assert_eq!(&round_trip(&value), &value);
            prop_assert_eq!(round_trip(&float).to_bits(), float.to_bits());
            prop_assert_eq!(round_trip(&nested), nested);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            let _: Result<Vec<(String, Vec<u64>)>, _> = Standard::Bincode.decode(&bytes);
        }
    }
}
