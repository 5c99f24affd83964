//! A value as it is stored for one key: codec and framing together.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::codec::{Codec, Framing};
use crate::envelope::{self, CLIENT_FLAGS, Contents, Identity, Refusal};
use crate::error::Error;
use crate::foreign;
use crate::key::Key;

/// Whose values these are: one key's, of one type, version and codec.
pub(crate) struct Form<V> {
    codec: Box<dyn Codec<V>>,
    identity: Identity,
    framing: Framing,
}

/// A value that was found.
#[derive(Debug)]
pub(crate) struct Found<V> {
    pub(crate) value: V,
    /// What it took to compute, in nanoseconds.
    pub(crate) cost: u64,
}

impl<V> Form<V> {
    pub(crate) fn of(key: &Key, codec: Box<dyn Codec<V>>, version: u32) -> Self {
        let structure = [codec.schema().to_le_bytes(), key.owner().to_le_bytes()].concat();
        let schema = xxh3_64_with_seed(&structure, u64::from(version));
        let identity = Identity { codec: codec.id(), schema, key: key.fingerprint() };
        Form { framing: codec.framing(), codec, identity }
    }

    /// What the bytes are marked with.
    pub(crate) fn flags(&self) -> u32 {
        match self.framing {
            Framing::Envelope => CLIENT_FLAGS,
            Framing::Bare => self.codec.flags(),
        }
    }

    /// The bytes to store.
    pub(crate) fn pack(&self, value: &V, cost: u64) -> Result<Vec<u8>, Error> {
        match self.framing {
            Framing::Envelope => {
                let mut bytes = envelope::begin(self.identity);
                self.codec.encode(value, &mut bytes)?;
                envelope::seal(&mut bytes, cost);
                Ok(bytes)
            }
            Framing::Bare => {
                let mut bytes = Vec::new();
                self.codec.encode(value, &mut bytes)?;
                Ok(bytes)
            }
        }
    }

    /// The value in stored bytes, if they are this form's.
    pub(crate) fn unpack(&self, bytes: &[u8], flags: u32) -> Result<Found<V>, Refusal> {
        let bare;
        let Contents { payload, cost } = match self.framing {
            Framing::Envelope => envelope::open(bytes, self.identity)?,
            Framing::Bare => {
                bare = foreign::bare(bytes, flags, self.codec.flags()).map_err(|_| Refusal::Foreign)?;
                Contents { payload: &bare, cost: 0 }
            }
        };
        let value = self.codec.decode(payload).map_err(|_| Refusal::Corrupt)?;
        Ok(Found { value, cost })
    }

    /// The cost in stored bytes that are this form's, without decoding.
    pub(crate) fn cost(&self, bytes: &[u8]) -> Option<u64> {
        envelope::open(bytes, self.identity).ok().map(|contents| contents.cost)
    }
}
