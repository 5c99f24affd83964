//! The hash that rendezvous placement compares: MurmurHash3 in 32 bits.
//!
//! After Austin Appleby's `MurmurHash3_x86_32`, which is in the public domain.
//! It can be continued from a common beginning, and is no defence against
//! chosen keys.

/// A hash under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Murmur3 {
    hash: u32,
    /// The bytes of a word that is not complete yet, and nothing above them.
    word: u32,
    length: u32,
}

impl Murmur3 {
    /// Returns the hash of nothing, with this seed.
    pub(super) fn seeded(seed: u32) -> Self {
        Murmur3 { hash: seed, word: 0, length: 0 }
    }

    /// Returns the hash with these bytes behind the others.
    pub(super) fn then(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.word |= u32::from(*byte) << (self.length % 4 * 8);
            self.length = self.length.wrapping_add(1);
            if self.length.is_multiple_of(4) {
                self.hash ^= scrambled(self.word);
                self.hash = self.hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
                self.word = 0;
            }
        }
        self
    }

    /// Returns the hash of all bytes so far.
    pub(super) fn finish(self) -> u32 {
        let mut hash = self.hash ^ scrambled(self.word) ^ self.length;
        hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
        hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
        hash ^ hash >> 16
    }
}

/// Mixes the bits of a word.
fn scrambled(word: u32) -> u32 {
    word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(text: &[u8], seed: u32) -> u32 {
        Murmur3::seeded(seed).then(text).finish()
    }

    #[test]
    fn the_hash_is_that_of_other_implementations() {
        assert_eq!((hash(b"6666", 0), hash(b"6666", 10)), (1_361_238_019, 2_981_722_772));
        assert_eq!((hash(b"", 0), hash(b"", 1)), (0, 0x514e_28b7));
        assert_eq!(hash(b"hello", 0), 0x248b_fa47);
        assert_eq!(hash(b"The quick brown fox jumps over the lazy dog", 0x9747_b28c), 0x2fa8_26cd);
    }

    proptest! {
        #[test]
        fn it_makes_no_difference_where_it_is_continued(bytes in any::<Vec<u8>>(), at in any::<prop::sample::Index>()) {
            let (first, rest) = bytes.split_at(at.index(bytes.len() + 1));
            prop_assert_eq!(Murmur3::seeded(0).then(first).then(rest).finish(), hash(&bytes, 0));
        }
    }
}
