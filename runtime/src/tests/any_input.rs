//! What holds of any bytes, for property tests and fuzz targets: each function
//! panics where it does not.

#[cfg(all(feature = "bincode", feature = "postcard", feature = "json"))]
use crate::codec;

/// What comes in place of replies is read as replies only if it is some.
pub fn replies(bytes: &[u8]) {
    crate::protocol::stream_tests::any_bytes(bytes);
}

/// What is found in place of a value is refused.
pub fn envelope(bytes: &[u8]) {
    crate::value::envelope::any_bytes(bytes);
}

/// What an envelope vouches for is read as a value that can be stored, or refused.
#[cfg(all(feature = "bincode", feature = "postcard", feature = "json"))]
pub fn bincode(bytes: &[u8]) {
    codec::any_bytes::any_bytes(codec::Standard::Bincode, bytes);
}

/// As for bincode.
#[cfg(all(feature = "bincode", feature = "postcard", feature = "json"))]
pub fn postcard(bytes: &[u8]) {
    codec::any_bytes::any_bytes(codec::Standard::Postcard, bytes);
}

/// As for bincode.
#[cfg(all(feature = "bincode", feature = "postcard", feature = "json"))]
pub fn json(bytes: &[u8]) {
    codec::any_bytes::any_bytes(codec::Standard::Json, bytes);
}

/// What other clients have compressed is read whole or refused.
pub fn compressed(bytes: &[u8]) {
    crate::value::flags::any_bytes(bytes);
}

/// Different arguments give different keys.
pub fn key(bytes: &[u8]) {
    crate::key::calls::any_bytes(bytes);
}

/// Variables give settings within their bounds, or a mistake with its name.
pub fn configuration(bytes: &[u8]) {
    crate::config::any_text::any_text(&String::from_utf8_lossy(bytes));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_holds_of_any_bytes_holds_of_random_ones(bytes in any::<Vec<u8>>()) {
            super::replies(&bytes);
            super::envelope(&bytes);
            super::key(&bytes);
            super::configuration(&bytes);
            super::compressed(&bytes);
            #[cfg(all(feature = "bincode", feature = "postcard", feature = "json"))]
            for any_bytes in [super::bincode, super::postcard, super::json] {
                any_bytes(&bytes);
            }
        }
    }
}
