//! The secret, and the signatures made and verified with it.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{LENGTH, SIGNED};
use crate::key::Key;

/// The secret of all processes that share signed values.
#[derive(Clone)]
pub(crate) struct Secret {
    mac: Hmac<Sha256>,
    /// Distinguishes this secret from others without revealing it.
    number: u64,
}

/// The output length of SHA-256. A shorter secret could be found by trial and error.
const SHORTEST: usize = 32;

impl Secret {
    pub(crate) const FORM: &str = "a secret of at least 32 bytes, in hexadecimal digits or base64";

    /// Takes these bytes as the secret, unless they are too short.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < SHORTEST {
            return None;
        }
        let mac = Hmac::new_from_slice(bytes).ok()?;
        let signature = mac.clone().chain_update("the number of the secret").finalize().into_bytes();
        let number = u64::from_le_bytes(*signature.first_chunk()?);
        Some(Secret { mac, number })
    }

    /// Reads a secret in hexadecimal digits or base64.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        Self::new(&hexadecimal(text).or_else(|| base64(text))?)
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Returns the signer for values of this key.
    pub(crate) fn signing(&self, key: &Key) -> Signing {
        let mut mac = self.mac.clone();
        let (text, start) = key.full();
        mac.update(&(start as u64).to_le_bytes());
        mac.update(&(text.len() as u64).to_le_bytes());
        mac.update(text.as_bytes());
        Signing { mac, number: self.number }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}

/// Signs and verifies the values of one key.
pub(crate) struct Signing {
    mac: Hmac<Sha256>,
    number: u64,
}

impl Signing {
    /// Appends the signature to the bytes and adds the flag for it.
    pub(crate) fn sign(&self, mut bytes: Vec<u8>, flags: u32) -> (Vec<u8>, u32) {
        let flags = flags | SIGNED;
        let signature = self.over(&bytes, flags).finalize().into_bytes();
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&signature);
        (bytes, flags)
    }

    /// Whether the bytes claim to be signed with another secret.
    pub(crate) fn is_of_another(&self, bytes: &[u8]) -> bool {
        split(bytes).is_some_and(|(_, number, _)| number != self.number)
    }

    /// Verifies the signature and returns the bytes in front of it. The time this
    /// takes does not reveal which part of a bad signature is wrong.
    pub(crate) fn verified<'a>(&self, bytes: &'a [u8], flags: u32) -> Option<&'a [u8]> {
        let (bytes, _, signature) = split(bytes)?;
        self.over(bytes, flags).verify_slice(signature).ok()?;
        Some(bytes)
    }

    fn over(&self, bytes: &[u8], flags: u32) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(&flags.to_le_bytes());
        mac.update(bytes);
        mac
    }
}

/// Splits stored bytes into the signed bytes, the secret's number and the signature.
fn split(bytes: &[u8]) -> Option<(&[u8], u64, &[u8])> {
    let (bytes, trailer) = bytes.split_at_checked(bytes.len().checked_sub(LENGTH)?)?;
    let (number, signature) = trailer.split_first_chunk()?;
    Some((bytes, u64::from_le_bytes(*number), signature))
}

/// Decodes pairs of hexadecimal digits.
fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect::<Option<_>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    Some(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// Decodes base64 in either alphabet, padded or not.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(text.len());
    for group in text.chunks(4) {
        let mut bits = 0_u32;
        for c in group {
            let digit = match c {
                b'A'..=b'Z' => c - b'A',
                b'a'..=b'z' => c - b'a' + 26,
                b'0'..=b'9' => c - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(digit);
        }
        let [_, whole @ ..] = (bits << (6 * (4 - group.len()))).to_be_bytes();
        bytes.extend_from_slice(whole.get(..group.len() * 3 / 4).filter(|_| group.len() > 1)?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_in_either_form_and_refused_if_it_is_short() {
        let bytes: Vec<u8> = (0..33).map(|byte| byte * 7 + 3).collect();
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hexadecimal(&digits).as_ref(), Some(&bytes));
        assert_eq!(hexadecimal(&digits[1..]), None);
        for (text, bytes) in [("TWFu", "Man"), ("TWE=", "Ma"), ("TWE", "Ma"), ("TQ==", "M"), ("", "")] {
            assert_eq!(base64(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        assert_eq!(base64("-_+/").as_deref(), Some(&[0xfb, 0xff, 0xbf][..]));
        for wrong in ["T", "TWFuT", "TW!u", "TW=u", "é"] {
            assert_eq!(base64(wrong), None, "{wrong}");
        }
        assert!(Secret::from_text(&digits).is_some());
        assert!(Secret::from_text(&digits[..62]).is_none(), "31 bytes");
        assert!(Secret::from_text(&"A".repeat(42)).is_none(), "31 bytes");
        assert!(Secret::from_text(&"A".repeat(43)).is_some(), "32 bytes");
    }

    #[test]
    fn the_signature_is_hmac_sha_256() {
        // RFC 4231, test case 6: the key is longer than a block.
        let mut mac = Secret::new(&[0xaa; 131]).unwrap().mac;
        mac.update(b"Test Using Larger Than Block-Size Key - Hash Key First");
        let expected = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
        assert_eq!(mac.finalize().into_bytes().as_slice(), hexadecimal(expected).unwrap());
    }
}
