//! By how much values may end earlier than their ttl says.
//!
//! Only the limit; chance is drawn where a ttl is shortened.

/// The share of a ttl by which it is shortened at most, in percent, so that
/// values stored together do not end together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Jitter(pub(crate) u8);

impl Jitter {
    /// A caller that asks for a time does not want less than half of it.
    pub(crate) const MOST: u8 = 50;
}

impl Default for Jitter {
    fn default() -> Self {
        Jitter(10)
    }
}
