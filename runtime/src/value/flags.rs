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

/// Flags but for compression.
pub(crate) fn kind(flags: u32) -> u32 {
    flags & !COMPRESSED
}

/// Bytes and flags without compression.
pub(crate) fn uncompressed(bytes: Cow<'_, [u8]>, flags: u32) -> Result<(Cow<'_, [u8]>, u32), Error> {
    match flags & COMPRESSED {
        0 => Ok((bytes, flags)),
        _ => Ok((Cow::Owned(inflate(&bytes)?), kind(flags))),
    }
}

/// Bytes and flags as they are to be stored: compressed from `threshold` bytes
/// on, where that makes them fewer.
pub(crate) fn compressed(bytes: Cow<'_, [u8]>, flags: u32, threshold: Option<usize>) -> (Cow<'_, [u8]>, u32) {
    if threshold.is_none_or(|threshold| bytes.len() < threshold) || flags & COMPRESSED != 0 {
        return (bytes, flags);
    }
    match deflate(&bytes) {
        Some(fewer) if fewer.len() < bytes.len() => (Cow::Owned(fewer), flags | COMPRESSED),
        _ => (bytes, flags),
    }
}

/// The bytes for a codec that marks its own with `own`; bytes that are not said
/// to be anything else will do as well.
pub(crate) fn bare(bytes: &[u8], flags: u32, own: u32) -> Result<Cow<'_, [u8]>, Error> {
    if flags == own {
        return Ok(Cow::Borrowed(bytes));
    }
    match uncompressed(Cow::Borrowed(bytes), flags)? {
        (bytes, flags) if flags == own || matches!(flags, BYTES | INTEGER | LONG) => Ok(bytes),
        (_, flags) => Err(Error::decode(format!("flags {flags} are not those of this codec's values"))),
    }
}

/// No more than the largest items of servers that are set up to hold large
/// ones.
#[cfg(feature = "memcache")]
const LARGEST: usize = 128 << 20;

/// All of the bytes and no more are compressed: what was appended to them later
/// makes them unreadable, and not shorter than they are.
#[cfg(feature = "memcache")]
fn inflate(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    use miniz_oxide::inflate::stream::{InflateState, inflate};
    use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

    let mut state = InflateState::new_boxed(DataFormat::Zlib);
    let mut out = vec![0; bytes.len().saturating_mul(4).clamp(1024, LARGEST)];
    let (mut read, mut written) = (0, 0);
    loop {
        let step = inflate(&mut state, &bytes[read..], &mut out[written..], MZFlush::None);
        read += step.bytes_consumed;
        written += step.bytes_written;
        let is_full = written == out.len() && written < LARGEST;
        let goes_on = step.bytes_consumed + step.bytes_written > 0;
        match step.status {
            Ok(MZStatus::StreamEnd) if read == bytes.len() => break,
            Ok(MZStatus::Ok) | Err(MZError::Buf) if is_full => out.resize((2 * written).min(LARGEST), 0),
            Ok(MZStatus::Ok) if goes_on && written < LARGEST => {}
            _ => return Err(Error::decode("the compressed bytes are damaged or too long")),
        }
    }
    out.truncate(written);
    Ok(out)
}

/// zlib's own default between speed and size.
#[cfg(feature = "memcache")]
fn deflate(bytes: &[u8]) -> Option<Vec<u8>> {
    Some(miniz_oxide::deflate::compress_to_vec_zlib(bytes, 6))
}

#[cfg(not(feature = "memcache"))]
fn deflate(_: &[u8]) -> Option<Vec<u8>> {
    None
}

#[cfg(not(feature = "memcache"))]
fn inflate(_: &[u8]) -> Result<Vec<u8>, Error> {
    Err(Error::decode("compressed values need memocached's feature `memcache`"))
}

/// Panics if compressed bytes are read in part, or as what they are not.
#[cfg(all(any(test, fuzzing), feature = "memcache"))]
pub(crate) fn any_bytes(bytes: &[u8]) {
    // The bytes themselves, and what has them inside.
    for (compressed, plain) in [(bytes.to_vec(), None), (deflate(bytes).expect("compressed"), Some(bytes))] {
        let read = |bytes: &[u8]| inflate(bytes).ok();
        let Some(whole) = read(&compressed) else {
            assert_eq!(plain, None);
            continue;
        };
        // A byte stands for four copies of 258 at most.
        assert!(plain.is_none_or(|plain| plain == whole) && whole.len() <= compressed.len() * 1_032);
        let end = whole.len() % compressed.len();
        assert_eq!(read(&compressed[..end]), None);
        assert_eq!(read(&[&compressed, &b"x"[..]].concat()), None);
    }
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
        assert_eq!(read(&[&compressed[..], b"appended"].concat(), TEXT | COMPRESSED, TEXT), None);
        assert_eq!(read(&compressed[..compressed.len() - 1], TEXT | COMPRESSED, TEXT), None);
    }

    #[cfg(feature = "memcache")]
    #[test]
    fn any_bytes_come_back_and_only_what_gets_shorter_is_compressed() {
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
