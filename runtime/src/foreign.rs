//! What clients in other languages say of their bytes by flags.
//!
//! The flags are those of pymemcache and of libmemcached's users: 0 for bytes,
//! 2 for integers, 16 for text; and 8 beside another for what is compressed
//! with zlib. 1 is for objects of Python's, which nobody else can read.

use std::borrow::Cow;

use crate::error::Error;

pub(crate) const BYTES: u32 = 0;
pub(crate) const INTEGER: u32 = 2;
/// Integers too, in the days of Python 2.
pub(crate) const LONG: u32 = 4;
const COMPRESSED: u32 = 8;
pub(crate) const TEXT: u32 = 16;

/// Bytes and flags without compression.
pub(crate) fn uncompressed(bytes: &[u8], flags: u32) -> Result<(Cow<'_, [u8]>, u32), Error> {
    match flags & COMPRESSED {
        0 => Ok((Cow::Borrowed(bytes), flags)),
        _ => Ok((Cow::Owned(inflate(bytes)?), flags & !COMPRESSED)),
    }
}

/// The bytes for a codec that marks its own with `own`; bytes that are not said
/// to be anything else will do as well.
pub(crate) fn bare(bytes: &[u8], flags: u32, own: u32) -> Result<Cow<'_, [u8]>, Error> {
    if flags == own {
        return Ok(Cow::Borrowed(bytes));
    }
    match uncompressed(bytes, flags)? {
        (bytes, flags) if flags == own || matches!(flags, BYTES | INTEGER | LONG) => Ok(bytes),
        (_, flags) => Err(Error::decode(format!("flags {flags} are not those of this codec's values"))),
    }
}

/// No more than the largest items of servers that are set up to hold large
/// ones.
#[cfg(feature = "memcache")]
const LARGEST: usize = 128 << 20;

#[cfg(feature = "memcache")]
fn inflate(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(bytes, LARGEST)
        .map_err(|error| Error::decode(error.to_string()))
}

#[cfg(not(feature = "memcache"))]
fn inflate(_: &[u8]) -> Result<Vec<u8>, Error> {
    Err(Error::decode("compressed values need memocached's feature `memcache`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], flags: u32, own: u32) -> Option<Vec<u8>> {
        bare(bytes, flags, own).ok().map(Cow::into_owned)
    }

    #[test]
    fn a_codec_reads_its_own_and_what_is_not_said_to_be_anything_else() {
        for flags in [TEXT, BYTES, INTEGER, LONG] {
            assert_eq!(read(b"5", flags, TEXT).as_deref(), Some(&b"5"[..]));
        }
        assert_eq!(read(b"I5\n.", 1, TEXT), None, "an object of Python's");
        assert_eq!(read(b"5", TEXT, BYTES), None);
        assert_eq!(read(b"5", 9, 9).as_deref(), Some(&b"5"[..]), "its own flags mean what it says");
    }

    #[cfg(feature = "memcache")]
    #[test]
    fn compressed_bytes_are_what_they_were_before() {
        let compressed = miniz_oxide::deflate::compress_to_vec_zlib(&[b'x'; 1000], 6);
        assert_eq!(read(&compressed, TEXT | COMPRESSED, TEXT), Some(vec![b'x'; 1000]));
        assert_eq!(read(&compressed, 1 | COMPRESSED, TEXT), None);
        assert_eq!(read(b"not zlib", TEXT | COMPRESSED, TEXT), None);
    }
}
