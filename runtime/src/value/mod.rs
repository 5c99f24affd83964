//! A value as it is stored: its bytes, their flags and their signature.
//!
//! Nothing here moves bytes to a server or decides whether to store them.

pub(crate) mod envelope;
pub(crate) mod flags;
pub(crate) mod item;
pub(crate) mod likeness;
pub(crate) mod mark;
#[cfg(feature = "memcache")]
pub(crate) mod memcache_crate;
pub(crate) mod record;
pub(crate) mod signature;
pub(crate) mod stamp;
