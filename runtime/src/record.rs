//! A value as it is stored for one key: codec and envelope together.

use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::codec::{Codec, Standard};
use crate::envelope::{self, Contents, Identity, Refusal};
use crate::error::Error;
use crate::key::Key;
use crate::schema;

/// Whose values these are: one key's, of one type, version and codec.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    codec: Standard,
    identity: Identity,
}

/// A value that was found.
#[derive(Debug)]
pub(crate) struct Found<V> {
    pub(crate) value: V,
    /// What it took to compute, in nanoseconds.
    pub(crate) cost: u64,
}

impl Form {
    pub(crate) fn of<V: Serialize + DeserializeOwned>(key: &Key, codec: Standard, version: u32) -> Self {
        let schema = xxh3_64_with_seed(&schema::fingerprint::<V>().to_le_bytes(), u64::from(version));
        let identity = Identity { codec: Codec::<V>::id(&codec), schema, key: key.fingerprint() };
        Form { codec, identity }
    }

    /// The bytes to store.
    pub(crate) fn pack<V: Serialize + DeserializeOwned>(&self, value: &V, cost: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = envelope::begin(self.identity);
        self.codec.encode(value, &mut bytes)?;
        envelope::seal(&mut bytes, cost);
        Ok(bytes)
    }

    /// The value in stored bytes, if they are this form's.
    pub(crate) fn unpack<V: Serialize + DeserializeOwned>(&self, bytes: &[u8]) -> Result<Found<V>, Refusal> {
        let Contents { payload, cost } = envelope::open(bytes, self.identity)?;
        let value = self.codec.decode(payload).map_err(|_| Refusal::Corrupt)?;
        Ok(Found { value, cost })
    }
}
