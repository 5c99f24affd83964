//! How to use the crate, page by page.
//!
//! - [`keys`]: templates, and how keys are written
//! - [`freshness`]: how long values live, and which caller computes new ones
//! - [`load`]: how many bodies run at once, and what happens when a hot key expires
//! - [`batches`]: functions that compute many values at once
//! - [`changing_data`]: writers, transactions and groups
//! - [`entries`]: the entry of a call, modes, and what the cache did
//! - [`testing`]: tests without servers, sleeping or global state
//! - [`client`]: the client that the attribute is built on
//! - [`servers`]: the environment, clusters, and servers that fail
//! - [`languages`]: Python and PHP
//! - [`telemetry`]: traces, logs and metrics
//! - [`deploying`]: time-outs, Kubernetes, rolling deploys and shutting down
//! - [`migrating`]: from other crates
//! - [`comparison`]: other crates, and where they are better
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
    migrating comparison
}
