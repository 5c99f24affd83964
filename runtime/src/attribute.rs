//! The macros as users see them. Their pages are in the crate `memocached-macros`.

#[doc(inline)]
pub use memocached_macros::{KeyPart, group, invalidates, memcached, updates};

/// The examples of those pages, as tests.
#[cfg(doctest)]
#[doc = include_str!("../../macros/src/memcached.md")]
#[doc = include_str!("../../macros/src/key_part.md")]
#[doc = include_str!("../../macros/src/invalidates.md")]
#[doc = include_str!("../../macros/src/updates.md")]
#[doc = include_str!("../../macros/src/group.md")]
pub struct Pages;
