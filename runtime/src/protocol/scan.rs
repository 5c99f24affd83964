//! Splits replies into lines, words, numbers and values. What they mean is up to
//! the dialects.

use memchr::memchr;

use super::ticket::Malformed;
use crate::error::ErrorKind;

/// In bytes; memcached sends no longer lines.
const LONGEST_LINE: usize = 2 * 1024;
/// In bytes; no server is configured for larger items.
const LARGEST_VALUE: usize = 1 << 30;

/// The bytes are not a reply of memcached's to the request.
pub(super) const ALIEN: Malformed = Malformed(ErrorKind::Protocol);

/// Returns the first line without its terminator, and its length with it; `None`
/// while it is incomplete.
pub(super) fn line(input: &[u8]) -> Result<Option<(&[u8], usize)>, Malformed> {
    let within = &input[..input.len().min(LONGEST_LINE)];
    match memchr(b'\n', within) {
        Some(end) => match &within[..end] {
            [line @ .., b'\r'] => Ok(Some((line, end + 1))),
            _ => Err(ALIEN),
        },
        None if input.len() < LONGEST_LINE => Ok(None),
        None => Err(ALIEN),
    }
}

/// Returns the value of `size` bytes at the start, and its length with the
/// terminator; `None` while it is incomplete.
pub(super) fn value(input: &[u8], size: usize) -> Result<Option<(&[u8], usize)>, Malformed> {
    if size > LARGEST_VALUE {
        return Err(ALIEN);
    }
    let Some(whole) = input.get(..size + 2) else { return Ok(None) };
    match whole.strip_suffix(b"\r\n") {
        Some(value) => Ok(Some((value, size + 2))),
        None => Err(ALIEN),
    }
}

/// Copies the bytes of a value.
pub(super) fn owned(value: &[u8]) -> Vec<u8> {
    // On some CPUs, a copy in one piece takes up to ten times as long if the two
    // addresses nearly agree in their lower twelve bits. Memory allocated in
    // turn with the buffer tends to be aligned like that.
    const PIECE: usize = 2 * 1024;
    let mut bytes = Vec::with_capacity(value.len());
    value.chunks(PIECE).for_each(|piece| bytes.extend_from_slice(piece));
    bytes
}

/// Splits a line at its spaces.
pub(super) fn words(mut line: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        while let [b' ', rest @ ..] = line {
            line = rest;
        }
        let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let (word, rest) = line.split_at(end);
        line = rest;
        (!word.is_empty()).then_some(word)
    })
}

/// Parses digits and nothing else; `None` on overflow.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    /// This many never overflow.
    const FEW: usize = 19;
    let digit = |byte: &u8| Some(u64::from(byte.wrapping_sub(b'0'))).filter(|digit| *digit < 10);
    let (few, more) = digits.split_at(digits.len().min(FEW));
    if few.is_empty() {
        return None;
    }
    let number = few.iter().try_fold(0_u64, |sum, byte| Some(sum * 10 + digit(byte)?))?;
    more.iter().try_fold(number, |sum, byte| sum.checked_mul(10)?.checked_add(digit(byte)?))
}

/// Parses digits that fit the size of a value.
pub(super) fn size(digits: &[u8]) -> Result<usize, Malformed> {
    number(digits).and_then(|number| usize::try_from(number).ok()).ok_or(ALIEN)
}

/// Converts bytes to text, replacing invalid UTF-8.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_with_crlf_and_has_a_limited_length() {
        assert_eq!(line(b"HD\r\nrest"), Ok(Some((&b"HD"[..], 4))));
        assert_eq!(line(b"HD\r"), Ok(None));
        assert_eq!(line(b"HD\n"), Err(ALIEN));
        assert_eq!(line(&[&[b'x'; 2_000][..], b"\r\n"].concat()), Ok(Some((&[b'x'; 2_000][..], 2_002))));
        assert_eq!(line(&[b'x'; LONGEST_LINE]), Err(ALIEN));
    }

    #[test]
    fn a_value_has_exactly_the_stated_length() {
        assert_eq!(value(b"ab\r\nrest", 2), Ok(Some((&b"ab"[..], 4))));
        assert_eq!(value(b"ab\r", 2), Ok(None));
        assert_eq!(value(b"abc\r\n", 2), Err(ALIEN));
        assert_eq!(value(b"", usize::MAX), Err(ALIEN));
    }

    #[test]
    fn a_number_consists_of_digits_only() {
        assert_eq!(number(b"007"), Some(7));
        for wrong in ["", "-1", "+1", "1 ", "x"] {
            assert_eq!(number(wrong.as_bytes()), None, "{wrong:?}");
        }
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for wrong in ["18446744073709551616", "1844674407370955161x", "99999999999999999999", "184467440737095516150"] {
            assert_eq!(number(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
