//! The codecs of one function's values: the first choice, and another for values
//! that the first cannot carry.
//!
//! How a value is checked is up to each codec. The envelope tells which of them
//! wrote the stored bytes.

use std::any::type_name;
use std::borrow::Cow;

use super::{Codec, Framing, id};
use crate::error::{Error, ErrorKind};

/// The codecs that values of type `V` are stored with.
pub struct Codecs<V> {
    first: Box<dyn Codec<V>>,
    /// Shares the framing and the fingerprint of the first.
    second: Option<Box<dyn Codec<V>>>,
    /// The fingerprint of the type's structure.
    schema: u64,
}

impl<V> Codecs<V> {
    /// Stores with this codec alone.
    pub(crate) fn only(codec: Box<dyn Codec<V>>) -> Self {
        Codecs { schema: codec.schema(), first: codec, second: None }
    }

    /// Stores with the first codec, or else with the second, values of a structure
    /// with this fingerprint.
    #[cfg(all(feature = "json", any(feature = "bincode", feature = "postcard")))]
    pub(super) fn either(first: Box<dyn Codec<V>>, second: Box<dyn Codec<V>>, schema: u64) -> Self {
        Codecs { first, second: Some(second), schema }
    }

    /// Appends the encoded `value` to `out`; returns the id of the codec that did.
    ///
    /// # Errors
    ///
    /// If no codec carries the value. The error names the type, the cause and the
    /// remedy.
    pub(crate) fn encode(&self, value: &V, out: &mut Vec<u8>) -> Result<u8, Error> {
        let start = out.len();
        let Err(cause) = self.first.encode(value, out) else { return Ok(self.first.id()) };
        let cause = match &self.second {
            Some(second) => {
                out.truncate(start);
                match second.encode(value, out) {
                    Ok(()) => return Ok(second.id()),
                    Err(cause) => cause,
                }
            }
            None => cause,
        };
        let message = format!("a value of type `{}` cannot be stored: {cause}; {}", type_name::<V>(), self.remedy());
        Err(Error::new(ErrorKind::Encode, message).with_source(cause))
    }

    /// Returns what to do about a value that none of the codecs carries.
    fn remedy(&self) -> &'static str {
        match (&self.second, self.first.id()) {
            (None, id::BINCODE | id::POSTCARD) if cfg!(feature = "json") => "leave `codec` out, or set `codec = json`",
            (None, id::BINCODE | id::POSTCARD) => "enable memocached's feature `json`",
            _ => "write a codec for it (`codec = path`), or change the type",
        }
    }

    /// Decodes what the codec with this id has encoded.
    pub(crate) fn decode(&self, id: u8, bytes: &[u8]) -> Result<V, Error> {
        self.codec(id).decode(bytes)
    }

    /// Decodes what this process has encoded with the codec with this id, or decoded before.
    pub(crate) fn decode_again(&self, id: u8, bytes: &[u8]) -> Result<V, Error> {
        self.codec(id).decode_again(bytes)
    }

    #[inline]
    fn codec(&self, id: u8) -> &dyn Codec<V> {
        match &self.second {
            Some(second) if id == second.id() => &**second,
            _ => &*self.first,
        }
    }

    /// Returns whether one of the codecs has this id.
    pub(crate) fn include(&self, id: u8) -> bool {
        self.first.id() == id || self.second.as_ref().is_some_and(|second| second.id() == id)
    }

    /// Returns the id of each codec.
    pub(crate) fn ids(&self) -> [Option<u8>; 2] {
        [Some(self.first.id()), self.second.as_ref().map(|second| second.id())]
    }

    pub(crate) fn framing(&self) -> Framing {
        self.first.framing()
    }

    pub(crate) fn flags(&self) -> u32 {
        self.first.flags()
    }

    /// Returns the bytes to decode of a bare value with these flags.
    pub(crate) fn payload<'a>(&self, bytes: Cow<'a, [u8]>, flags: u32) -> Result<Cow<'a, [u8]>, Error> {
        self.first.payload(bytes, flags)
    }

    pub(crate) fn schema(&self) -> u64 {
        self.schema
    }
}
