//! A value as it is stored: its bytes, what marks them, and who vouches for
//! them.

pub(crate) mod envelope;
pub(crate) mod flags;
pub(crate) mod item;
pub(crate) mod record;
pub(crate) mod signature;
