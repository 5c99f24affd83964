//! Signatures on stored values: who can write to the servers but does not know
//! the secret can make none.
//!
//! A signature is HMAC-SHA-256 over the full key, the flags and all bytes that
//! are stored, and stands behind them, with the secret's number in front of it.
//! It does not tell old values from new ones: who can write can put back what
//! was there before.

#[cfg(feature = "authenticated")]
mod secret;
#[cfg(not(feature = "authenticated"))]
#[path = "no_secret.rs"]
mod secret;

pub(crate) use secret::{Secret, Signing};

/// What is signed is marked with this, among the flags of this crate's values.
pub(crate) const SIGNED: u32 = 0x100;

/// How many bytes both have.
pub(crate) const LENGTH: usize = 8 + 32;
