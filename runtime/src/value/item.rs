//! Values of the client ↔ bytes and flags, as other languages' clients have
//! them. `flags` tells what each flag means.

use std::borrow::Cow;

use crate::error::Error;
use crate::exchange::Item;
use crate::value::flags::{BYTES, INTEGER, LONG, TEXT, uncompressed};

/// Bytes and flags as they are stored.
///
/// An item has nothing else that clients choose, so no field will join these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RawItem {
    /// The value.
    pub bytes: Vec<u8>,
    /// What the writer said the bytes are.
    pub flags: u32,
}

/// A value that a client can store: bytes, text or an integer.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be stored by a client",
    label = "neither bytes, text nor an integer",
    note = "store it with a codec: `client.set_as(key, codec, &value, ttl)`"
)]
pub trait ToItem {
    /// Returns its bytes and flags.
    ///
    /// # Errors
    ///
    /// If it has no form.
    fn to_item(&self) -> Result<(Cow<'_, [u8]>, u32), Error>;
}

/// A value that a client can read: bytes, text or an integer.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read by a client",
    label = "neither bytes, text nor an integer",
    note = "read it with a codec: `client.get_as(key, codec)`"
)]
pub trait FromItem: Sized {
    /// Reads the value from its bytes and flags.
    ///
    /// # Errors
    ///
    /// If they are none of this type.
    fn from_item(item: RawItem) -> Result<Self, Error>;
}

/// As it is, flags and all.
impl ToItem for RawItem {
    fn to_item(&self) -> Result<(Cow<'_, [u8]>, u32), Error> {
        Ok((Cow::Borrowed(&self.bytes), self.flags))
    }
}

impl FromItem for RawItem {
    fn from_item(item: RawItem) -> Result<Self, Error> {
        Ok(item)
    }
}

impl ToItem for [u8] {
    fn to_item(&self) -> Result<(Cow<'_, [u8]>, u32), Error> {
        Ok((Cow::Borrowed(self), BYTES))
    }
}

impl ToItem for Vec<u8> {
    fn to_item(&self) -> Result<(Cow<'_, [u8]>, u32), Error> {
        self.as_slice().to_item()
    }
}

impl<const N: usize> ToItem for [u8; N] {
    fn to_item(&self) -> Result<(Cow<'_, [u8]>, u32), Error> {
        self.as_slice().to_item()
    }
}

/// The bytes of whatever is stored.
impl FromItem for Vec<u8> {
    fn from_item(item: RawItem) -> Result<Self, Error> {
        plain(item).map(|item| item.bytes)
    }
}

impl ToItem for str {
    fn to_item(&self) -> Result<(Cow<'_, [u8]>, u32), Error> {
        Ok((Cow::Borrowed(self.as_bytes()), TEXT))
    }
}

impl ToItem for String {
    fn to_item(&self) -> Result<(Cow<'_, [u8]>, u32), Error> {
        self.as_str().to_item()
    }
}

impl FromItem for String {
    fn from_item(item: RawItem) -> Result<Self, Error> {
        let RawItem { bytes, flags } = plain(item)?;
        match flags {
            BYTES | INTEGER | LONG | TEXT => String::from_utf8(bytes).map_err(Error::decode),
            flags => Err(Error::decode(format!("flags {flags} are not those of text"))),
        }
    }
}

impl<T: ToItem + ?Sized> ToItem for &T {
    fn to_item(&self) -> Result<(Cow<'_, [u8]>, u32), Error> {
        (**self).to_item()
    }
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl ToItem for $integer {
            fn to_item(&self) -> Result<(Cow<'_, [u8]>, u32), Error> {
                Ok((Cow::Owned(self.to_string().into_bytes()), INTEGER))
            }
        }

        impl FromItem for $integer {
            fn from_item(item: RawItem) -> Result<Self, Error> {
                // A number that was counted down keeps its width, with spaces.
                String::from_item(item)?.trim_end().parse().map_err(Error::decode)
            }
        }
    )*};
}

integers!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);

impl From<Item> for RawItem {
    fn from(item: Item) -> Self {
        RawItem { bytes: item.value, flags: item.flags }
    }
}

/// Returns the item uncompressed.
fn plain(item: RawItem) -> Result<RawItem, Error> {
    let (bytes, flags) = uncompressed(Cow::Owned(item.bytes), item.flags)?;
    Ok(RawItem { bytes: bytes.into_owned(), flags })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: FromItem>(bytes: &[u8], flags: u32) -> Option<T> {
        T::from_item(RawItem { bytes: bytes.to_vec(), flags }).ok()
    }

    #[test]
    fn flags_are_those_of_other_languages() {
        assert_eq!(b"ab".to_item().unwrap(), (Cow::Borrowed(&b"ab"[..]), 0));
        assert_eq!("ab".to_item().unwrap(), (Cow::Borrowed(&b"ab"[..]), 16));
        assert_eq!((-5_i32).to_item().unwrap(), (Cow::Borrowed(&b"-5"[..]), 2));
    }

    #[test]
    fn what_other_languages_store_is_read() {
        assert_eq!(read::<i32>(b"-5", 2), Some(-5));
        assert_eq!(read::<u64>(b"9 ", 0), Some(9));
        assert_eq!(read::<u8>(b"256", 2), None);
        assert_eq!(read::<String>("é".as_bytes(), 16).as_deref(), Some("é"));
        assert_eq!(read::<String>(b"\xff", 16), None);
        assert_eq!(read::<Vec<u8>>(b"\xff", 0), Some(vec![0xff]));
        assert_eq!(read::<String>(b"pickled", 1), None);
    }

    #[cfg(feature = "servers")]
    #[test]
    fn compressed_values_are_read() {
        let text = "x".repeat(1000);
        let (compressed, flags) = crate::value::flags::compressed(text.as_bytes().into(), TEXT, Some(64));
        assert_eq!(flags, 16 | 8);
        assert_eq!(read::<String>(&compressed, flags), Some(text));
        assert_eq!(read::<Vec<u8>>(b"not zlib", 8), None);
    }
}
