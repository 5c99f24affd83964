//! Assembles requests from words: text, bytes and numbers.
//!
//! Which words make up a request is up to the dialects.

/// A part of a request.
pub(super) trait Word {
    /// Appends the word to `out`.
    fn put(self, out: &mut Vec<u8>);
}

impl Word for &[u8] {
    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

impl Word for &str {
    fn put(self, out: &mut Vec<u8>) {
        self.as_bytes().put(out);
    }
}

impl Word for u64 {
    #[inline]
    fn put(self, out: &mut Vec<u8>) {
        itoa::Buffer::new().format(self).put(out);
    }
}

impl Word for u32 {
    fn put(self, out: &mut Vec<u8>) {
        u64::from(self).put(out);
    }
}

impl Word for usize {
    fn put(self, out: &mut Vec<u8>) {
        (self as u64).put(out);
    }
}

/// Appends words to the output.
macro_rules! say {
    ($out:expr, $($word:expr),+) => {{
        $($crate::protocol::words::Word::put($word, $out);)+
    }};
}

pub(super) use say;

#[cfg(test)]
mod tests {
    #[test]
    fn a_number_is_written_with_all_its_digits() {
        for number in [0, 7, 10, 99, 100, 4_294_967_296, u64::MAX] {
            let mut out = b"x".to_vec();
            say!(&mut out, number, " ");
            assert_eq!(out, format!("x{number} ").into_bytes());
        }
    }
}
