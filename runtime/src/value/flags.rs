//! The flags by which clients in other languages describe their bytes.
//!
//! They are those of pymemcache and of clients built on libmemcached: 0 for
//! bytes, 2 for integers, 16 for text, and 8 in addition for bytes compressed
//! with zlib. 1 marks pickled objects, which only Python can read.

use std::borrow::Cow;

use crate::error::Error;

pub(crate) const BYTES: u32 = 0;
pub(crate) const INTEGER: u32 = 2;
/// Also an integer: a `long` of Python 2.
pub(crate) const LONG: u32 = 4;
const COMPRESSED: u32 = 8;
pub(crate) const TEXT: u32 = 16;

/// Strips the flag for compression.
pub(crate) fn kind(flags: u32) -> u32 {
    flags & !COMPRESSED
}

/// Decompresses the bytes if their flags say that they are compressed.
pub(crate) fn uncompressed(bytes: Cow<'_, [u8]>, flags: u32) -> Result<(Cow<'_, [u8]>, u32), Error> {
    match flags & COMPRESSED {
        0 => Ok((bytes, flags)),
        _ => Ok((Cow::Owned(inflate(&bytes)?), kind(flags))),
    }
}

/// Compresses bytes from the length `threshold` on, if that makes them shorter and they
/// can be decompressed again.
pub(crate) fn compressed(bytes: Cow<'_, [u8]>, flags: u32, threshold: Option<usize>) -> (Cow<'_, [u8]>, u32) {
    let is_of_length = |threshold| (threshold..=LARGEST).contains(&bytes.len());
    if !threshold.is_some_and(is_of_length) || flags & COMPRESSED != 0 {
        return (bytes, flags);
    }
    match deflate(&bytes) {
        Some(fewer) if fewer.len() < bytes.len() => (Cow::Owned(fewer), flags | COMPRESSED),
        _ => (bytes, flags),
    }
}

/// Returns the bytes for a codec whose own flags are `own`, decompressed. `payload`
/// takes those with other flags, if the codec can read them.
pub(crate) fn bare<'a>(
    bytes: &'a [u8],
    flags: u32,
    own: u32,
    payload: impl FnOnce(Cow<'a, [u8]>, u32) -> Result<Cow<'a, [u8]>, Error>,
) -> Result<Cow<'a, [u8]>, Error> {
    if flags == own {
        return Ok(Cow::Borrowed(bytes));
    }
    let (bytes, flags) = uncompressed(Cow::Borrowed(bytes), flags)?;
    payload(bytes, flags)
}

/// The longest value to decompress: as long as items on servers configured for
/// large ones.
const LARGEST: usize = 128 << 20;

/// Decompresses a zlib stream that ends exactly where the bytes do. Bytes appended
/// to a compressed value make it unreadable, rather than being dropped silently.
#[cfg(feature = "servers")]
fn inflate(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    use miniz_oxide::inflate::stream::{InflateState, inflate};
    use miniz_oxide::{DataFormat, MZFlush, MZStatus};

    let mut state = InflateState::new_boxed(DataFormat::Zlib);
    let (mut rest, mut part, mut out) = (bytes, vec![0; 32 << 10], Vec::new());
    loop {
        let step = inflate(&mut state, rest, &mut part, MZFlush::None);
        rest = &rest[step.bytes_consumed..];
        out.extend_from_slice(&part[..step.bytes_written]);
        match step.status {
            Ok(MZStatus::StreamEnd) if rest.is_empty() && out.len() <= LARGEST => return Ok(out),
            Ok(MZStatus::Ok) if step.bytes_written > 0 && out.len() <= LARGEST => {}
            _ => return Err(Error::decode("the compressed bytes are damaged or too long")),
        }
    }
}

/// Compresses at a level that takes half as long as zlib's default and makes the result
/// a few percent longer.
#[cfg(feature = "servers")]
fn deflate(bytes: &[u8]) -> Option<Vec<u8>> {
    Some(miniz_oxide::deflate::compress_to_vec_zlib(bytes, 4))
}

#[cfg(not(feature = "servers"))]
fn deflate(_: &[u8]) -> Option<Vec<u8>> {
    None
}

#[cfg(not(feature = "servers"))]
fn inflate(_: &[u8]) -> Result<Vec<u8>, Error> {
    Err(Error::decode("compressed values need memocached's feature `servers`"))
}

/// Panics if a truncated or extended stream is read, or if bytes do not survive
/// compression.
#[cfg(all(any(test, fuzzing), feature = "servers"))]
pub(crate) fn any_bytes(bytes: &[u8]) {
    // The bytes taken for a stream, and a stream that contains them.
    for (compressed, plain) in [(bytes.to_vec(), None), (deflate(bytes).expect("compressed"), Some(bytes))] {
        let read = |bytes: &[u8]| inflate(bytes).ok();
        let Some(whole) = read(&compressed) else {
            assert_eq!(plain, None);
            continue;
        };
        // One compressed byte stands for at most four runs of 258 bytes.
        assert!(plain.is_none_or(|plain| plain == whole) && whole.len() <= compressed.len() * 1_032);
        let end = whole.len() % compressed.len();
        assert_eq!(read(&compressed[..end]), None);
        assert_eq!(read(&[&compressed, &b"x"[..]].concat()), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;

    /// A codec with flags of its own.
    struct Own(u32);

    impl Codec<()> for Own {
        fn id(&self) -> u8 {
            64
        }

        fn encode(&self, (): &(), _: &mut Vec<u8>) -> Result<(), Error> {
            Ok(())
        }

        fn decode(&self, _: &[u8]) -> Result<(), Error> {
            Ok(())
        }

        fn flags(&self) -> u32 {
            self.0
        }
    }

    fn read(bytes: &[u8], flags: u32, own: u32) -> Option<Vec<u8>> {
        bare(bytes, flags, own, |bytes, flags| Own(own).payload(bytes, flags)).ok().map(Cow::into_owned)
    }

    #[test]
    fn a_codec_reads_its_own_flags_and_those_of_bytes_and_integers() {
        for flags in [TEXT, BYTES, INTEGER, LONG] {
            assert_eq!(read(b"5", flags, TEXT).as_deref(), Some(&b"5"[..]));
        }
        assert_eq!(read(b"I5\n.", 1, TEXT), None, "a pickled object");
        assert_eq!(read(b"5", TEXT, BYTES), None);
        assert_eq!(read(b"5", 9, 9).as_deref(), Some(&b"5"[..]), "a codec chooses the meaning of its own flags");
    }

    #[cfg(feature = "servers")]
    #[test]
    fn what_is_too_long_to_be_decompressed_is_not_compressed() {
        assert_eq!(compressed(vec![0; LARGEST + 1].into(), BYTES, Some(64)).1, BYTES);
    }

    #[cfg(feature = "servers")]
    #[test]
    fn compressed_bytes_are_read_whole_or_not_at_all() {
        let compressed = deflate(&[b'x'; 1000]).unwrap();
        assert_eq!(read(&compressed, TEXT | COMPRESSED, TEXT), Some(vec![b'x'; 1000]));
        assert_eq!(read(&compressed, 1 | COMPRESSED, TEXT), None);
        assert_eq!(read(b"not zlib", TEXT | COMPRESSED, TEXT), None);
        assert_eq!(read(&[&compressed[..], b"appended"].concat(), TEXT | COMPRESSED, TEXT), None);
        assert_eq!(read(&compressed[..compressed.len() - 1], TEXT | COMPRESSED, TEXT), None);
    }

    #[cfg(feature = "servers")]
    #[test]
    fn bytes_come_back_and_are_compressed_only_if_that_shortens_them() {
        for length in [0, 1, 63, 64, 1_000, 1_000_000] {
            let bytes = vec![b'x'; length];
            let (stored, flags) = compressed(Cow::Borrowed(&bytes), TEXT, Some(64));
            assert_eq!(flags & COMPRESSED != 0, length >= 64, "{length}");
            assert!(read(&stored, flags, TEXT).as_ref() == Some(&bytes), "{length} bytes");
        }
        let noise: Vec<u8> = (0..200_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        assert_eq!(compressed(Cow::Borrowed(&noise), BYTES, Some(64)), (Cow::Borrowed(&noise[..]), BYTES));
    }
}
