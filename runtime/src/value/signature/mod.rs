//! Signatures on stored values, which an attacker who can write to the servers
//! cannot forge without the secret.
//!
//! A signature is HMAC-SHA-256 over the full key, the flags and the stored bytes.
//! It is appended to those bytes, after the secret's number. It does not prevent
//! replay: an attacker can put an older value of the same key back.

#[cfg(feature = "authenticated")]
mod secret;
#[cfg(not(feature = "authenticated"))]
#[path = "no_secret.rs"]
mod secret;

pub(crate) use secret::{Secret, Signing};

/// The flag that marks a value of this crate as signed.
pub(crate) const SIGNED: u32 = 0x100;

/// The length in bytes of the secret's number and the signature together.
pub(crate) const LENGTH: usize = 8 + 32;
