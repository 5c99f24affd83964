//! What holds of any bytes, for property tests and fuzz targets: each function
//! panics where it does not.

#[cfg(all(feature = "bincode", feature = "postcard", feature = "json"))]
use crate::codec;

/// Reads bytes as replies only if they are replies.
pub fn replies(bytes: &[u8]) {
    crate::protocol::stream_tests::any_bytes(bytes);
}

/// Refuses bytes that are found in place of a value.
pub fn envelope(bytes: &[u8]) {
    crate::value::envelope::any_bytes(bytes);
}

/// Reads what an envelope vouches for as a value that can be stored, or refuses it.
#[cfg(all(feature = "bincode", feature = "postcard", feature = "json"))]
pub fn bincode(bytes: &[u8]) {
    codec::any_bytes::any_bytes(codec::Standard::Bincode, bytes);
}

/// Does the same with postcard.
#[cfg(all(feature = "bincode", feature = "postcard", feature = "json"))]
pub fn postcard(bytes: &[u8]) {
    codec::any_bytes::any_bytes(codec::Standard::Postcard, bytes);
}

/// Does the same with JSON.
#[cfg(all(feature = "bincode", feature = "postcard", feature = "json"))]
pub fn json(bytes: &[u8]) {
    codec::any_bytes::any_bytes(codec::Standard::Json, bytes);
}

/// Reads what other clients have compressed whole, or refuses it.
pub fn compressed(bytes: &[u8]) {
    crate::value::flags::any_bytes(bytes);
}

/// Gives different arguments different keys.
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
