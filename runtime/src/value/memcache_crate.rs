//! Values that are known to the crate `memcache`, as its own client stores them.

use std::borrow::Cow;

use memcache::{FromMemcacheValue, ToMemcacheValue};

use crate::error::Error;
use crate::value::flags::uncompressed;
use crate::value::item::{FromItem, RawItem, ToItem};

/// A value with the traits of the crate `memcache`, or a reference to one, for
/// a client to read or store.
///
/// The bytes and flags are those that the crate's own client would store. Only
/// the flag 8 says here that bytes are compressed.
///
/// ```
/// use std::time::Duration;
///
/// use memocached::{Client, Memcache};
///
/// # fn main() -> Result<(), memocached::Error> {
/// let client = Client::from_env()?;
/// client.set("ratio", &Memcache(&0.25), Duration::from_secs(60))?;
/// assert_eq!(client.get("ratio")?, Some(Memcache(0.25)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Memcache<T>(pub T);

impl<T: ToMemcacheValue<Vec<u8>> + ?Sized> ToItem for Memcache<&T> {
    fn to_item(&self) -> Result<(Cow<'_, [u8]>, u32), Error> {
        let mut bytes = Vec::new();
        self.0.write_to(&mut bytes).map_err(Error::encode)?;
        Ok((Cow::Owned(bytes), self.0.get_flags()))
    }
}

impl<T: FromMemcacheValue> FromItem for Memcache<T> {
    fn from_item(item: RawItem) -> Result<Self, Error> {
        let (bytes, flags) = uncompressed(Cow::Owned(item.bytes), item.flags)?;
        T::from_memcache_value(bytes.into_owned(), flags).map(Memcache).map_err(Error::decode)
    }
}
