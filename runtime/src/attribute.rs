//! The macros as users see them. Their pages are in the crate `memocached-macros`.

#[doc(inline)]
pub use memocached_macros::{KeyPart, memcached};

/// The examples of those pages, as tests.
#[cfg(doctest)]
#[doc = include_str!("../../macros/src/memcached.md")]
#[doc = include_str!("../../macros/src/key_part.md")]
pub struct Pages;
