//! The postcard format, decoded within limits of memory and stack.
//!
//! Whether a value survives a round trip is checked by the codec, not here.

use serde::Serialize;
use serde::de::DeserializeOwned;

use postcard::de_flavors::{Flavor, Slice};

use super::depth::Depth;
use super::schema;
use crate::error::{Error, ErrorKind};

pub(super) fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
    postcard::to_io(value, out).map(drop).map_err(Error::encode)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    schema::refuse_weightless::<T>()?;
    let reader = ShallowSlice { bytes: Slice::new(bytes), depth: Depth::here() };
    let mut decoder = postcard::Deserializer::from_flavor(reader);
    let value = T::deserialize(&mut decoder).map_err(Error::decode)?;
    match decoder.finalize().map_err(Error::decode)? {
        [] => Ok(value),
        _ => Err(Error::new(ErrorKind::Decode, "bytes are left over after the value")),
    }
}

/// Reads bytes, and fails once the stack is too deep.
struct ShallowSlice<'a> {
    bytes: Slice<'a>,
    depth: Depth,
}

impl ShallowSlice<'_> {
    #[inline]
    fn check(&self) -> postcard::Result<()> {
        if self.depth.is_too_deep() { Err(postcard::Error::SerdeDeCustom) } else { Ok(()) }
    }
}

impl<'a> Flavor<'a> for ShallowSlice<'a> {
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
