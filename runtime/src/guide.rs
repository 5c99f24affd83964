//! How to use the crate, page by page.
//!
//! - to use it: [`keys`], [`freshness`], [`changing_data`], [`batches`], [`entries`], [`load`],
//!   [`testing`], [`client`]
//! - to run it: [`servers`], [`deploying`], [`telemetry`], [`languages`], [`limitations`]
//! - to choose it: [`comparison`], [`migrating`]
//!
//! The arguments of the attribute are on [its own page](macro@crate::memcached).

/// Declares a page for each of the files in `docs/guide`.
macro_rules! pages {
    ($($page:ident)*) => {
        $(
            #[doc = include_str!(concat!("../docs/guide/", stringify!($page), ".md"))]
            pub mod $page {}
        )*
    };
}

pages! {
    keys freshness load batches changing_data entries testing client servers languages telemetry deploying
    migrating comparison limitations
}
