//! Bytes of bincode, read within limits.

use bincode::config::standard;
use bincode::de::read::{BorrowReader, Reader, SliceReader};
use bincode::de::{BorrowDecode, BorrowDecoder, Decoder, DecoderImpl};
use bincode::error::DecodeError;
use bincode::serde::{BorrowCompat, encode_into_std_write};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::depth::{Depth, Shallow, TOO_DEEP};
use super::schema;
use crate::error::{Error, ErrorKind};

const NO_SUCH_VALUE: &str = "the bytes are no value of this type";

pub(super) fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
    encode_into_std_write(value, &mut Shallow::new(out), standard()).map(drop).map_err(Error::encode)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    schema::refuse_weightless::<T>()?;
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
        _ => Error::new(ErrorKind::Decode, NO_SUCH_VALUE),
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
