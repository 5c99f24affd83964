//! The bincode format, decoded within limits of memory and stack.
//!
//! Whether a value survives a round trip is checked by the codec, not here.

use bincode::config::standard;
use bincode::de::read::{BorrowReader, Reader, SliceReader};
use bincode::de::{BorrowDecode, BorrowDecoder, Decoder, DecoderImpl};
use bincode::error::DecodeError;
use bincode::serde::{BorrowCompat, decode_from_slice, encode_into_std_write};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::depth::{Depth, TOO_DEEP};
use super::schema;
use crate::error::{Error, ErrorKind};

const NOT_A_VALUE: &str = "the bytes do not encode a value of this type";
const LEFT_OVER: &str = "bytes are left over after the value";

pub(super) fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
    encode_into_std_write(value, out, standard()).map(drop).map_err(Error::encode)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    schema::refuse_weightless::<T>()?;
    let mut decoder = decoder(bytes).map_err(refused)?;
    let BorrowCompat(value) = BorrowCompat::<T>::borrow_decode(&mut decoder).map_err(refused)?;
    match decoder.reader().peek_read(1) {
        None => Ok(value),
        Some(_) => Err(Error::new(ErrorKind::Decode, LEFT_OVER)),
    }
}

/// Decodes bytes that have been within the limits before, a third faster than with limits.
pub(super) fn decode_again<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    match decode_from_slice(bytes, standard()).map_err(refused)? {
        (value, len) if len == bytes.len() => Ok(value),
        _ => Err(Error::new(ErrorKind::Decode, LEFT_OVER)),
    }
}

/// Drops messages that may quote the bytes: a type's own `Deserialize` writes them.
fn refused(error: DecodeError) -> Error {
    match error {
        DecodeError::UnexpectedEnd { .. }
        | DecodeError::LimitExceeded
        | DecodeError::Utf8 { .. }
        | DecodeError::Other(_) => Error::decode(error),
        _ => Error::new(ErrorKind::Decode, NOT_A_VALUE),
    }
}

/// Returns a decoder that may allocate at most 16 bytes per input byte: a few bytes that
/// claim a huge length could abort the process otherwise.
#[inline]
fn decoder(bytes: &[u8]) -> Result<impl BorrowDecoder<'_, Context = ()>, DecodeError> {
    // One byte can encode a `u128`, for which bincode claims all 16. The limit is a const
    // parameter, so it is the largest, and what lies beyond the input's share is claimed.
    let room = bytes.len().saturating_mul(16);
    let mut decoder = DecoderImpl::new(ShallowReader::new(bytes), standard().with_limit::<{ usize::MAX }>(), ());
    decoder.claim_bytes_read(usize::MAX - room)?;
    Ok(decoder)
}

/// Reads bytes, and fails once the stack is too deep.
struct ShallowReader<'a> {
    bytes: SliceReader<'a>,
    depth: Depth,
}

impl<'a> ShallowReader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        ShallowReader { bytes: SliceReader::new(bytes), depth: Depth::here() }
    }

    #[inline]
    fn check(&self) -> Result<(), DecodeError> {
        if self.depth.is_too_deep() { Err(DecodeError::Other(TOO_DEEP)) } else { Ok(()) }
    }
}

impl Reader for ShallowReader<'_> {
    #[inline]
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), DecodeError> {
        self.check()?;
        self.bytes.read(bytes)
    }

    // A decoder that gets `None` here calls `read`, which returns the error.
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

impl<'a> BorrowReader<'a> for ShallowReader<'a> {
    #[inline]
    fn take_bytes(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        self.check()?;
        self.bytes.take_bytes(length)
    }
}
