//! Uses every argument of the attribute under every lint: a warning in an
//! expansion fails the build, and clippy's run with it.
//!
//! The dependency is renamed and reached through a re-export.

#![deny(
    warnings,
    missing_docs,
    unreachable_pub,
    unused_lifetimes,
    unused_qualifications,
    clippy::all,
    clippy::pedantic
)]

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub mod prelude {
    //! What a company's own crates would import.

    pub use memo as memocached;
    pub use memo::memcached;
}

use prelude::memcached;

/// A price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// In cents.
    pub cents: u64,
}

/// What may go wrong.
#[derive(Debug)]
pub enum Failure {
    /// No such item.
    Unknown,
    /// The cache could not be asked.
    Cache(memo::Error),
}

impl From<memo::Error> for Failure {
    fn from(error: memo::Error) -> Self {
        Failure::Cache(error)
    }
}

/// A shop.
#[derive(Debug)]
pub struct Shop {
    /// Whose it is.
    pub tenant: String,
    /// Where its prices are kept.
    pub cache: memo::Cache,
}

const HOUR: u64 = 60 * 60;
const DAY: Duration = Duration::from_hours(24);

impl Shop {
    /// Every argument at once.
    ///
    /// # Errors
    ///
    /// If the item is unknown or the cache cannot be asked.
    #[memcached(
        key = "price:<self.tenant>/<item>;<<<discount:bits>",
        skip(urgent),
        ttl = if urgent { DAY / 2 } else { DAY },
        store_if = |price| price.cents > 0,
        when = item != "secret",
        on_error = propagate,
        codec = json,
        version = 3,
        name = "prices",
        entry = price_entry,
        cache = &self.cache,
        crate = prelude::memocached,
    )]
    pub fn price(&self, item: &str, discount: f64, urgent: bool) -> Result<Price, Failure> {
        if item.is_empty() {
            return Err(Failure::Unknown);
        }
        let cents = if discount > 0.5 { 50 } else { 100 };
        Ok(Price { cents: cents * u64::from(!urgent) })
    }

    /// The same for an async function.
    ///
    /// # Errors
    ///
    /// If the item is unknown or the cache cannot be asked.
    #[memcached(
        key = "async_price:<self.tenant>:<item>",
        ttl = DAY,
        store_if = |price: &Price| price.cents > 0,
        when = !item.is_empty(),
        on_error = propagate,
        codec = postcard,
        version = 3,
        name = "async_prices",
        entry = async_price_entry,
        cache = &self.cache,
        crate = prelude::memocached
    )]
    pub async fn async_price(&self, item: &str) -> Result<Option<Price>, Failure> {
        if item.is_empty() {
            return Err(Failure::Unknown);
        }
        std::future::ready(()).await;
        Ok(Some(Price { cents: item.len() as u64 }))
    }
}

/// Text as other languages store it.
#[must_use]
#[memcached(key = "double:<n>", ttl = forever, codec = text, entry = double_entry, crate = memo)]
pub fn double(n: u64) -> u64 {
    n * 2
}

/// All defaults.
#[must_use]
#[memcached(crate = memo)]
pub fn joined(mut parts: Vec<String>, (left, right): (char, char)) -> String {
    parts.insert(0, left.to_string());
    parts.push(right.to_string());
    parts.concat()
}

/// One line in braces.
// rustfmt would make three lines of it.
#[rustfmt::skip]
#[memcached(key = "twice:<n>", crate = memo)]
pub async fn twice(n: u64) -> u64 { double(n) }

/// What an entry does not take has lifetimes and types of its own.
#[memcached(key = "found:<id>", ttl = HOUR, grace = 2 * HOUR, skip(find, _log), entry = found_entry, crate = memo)]
pub async fn found<'a, F, R>(id: u64, find: F, _log: &'a str) -> u64
where
    F: Fn(&'a str) -> R,
    R: std::future::Future<Output = u64>,
{
    find("").await + id
}

/// A future without a name, in the edition that does not capture by itself.
#[memcached(key = "length:<text>", crate = memo, entry = length_entry)]
pub fn length(text: &str) -> impl std::future::Future<Output = usize> + Send + '_ {
    async move { text.len() }
}

/// Attributes of other crates and of the language stay.
#[deprecated = "use `double`"]
#[inline]
#[track_caller]
#[must_use]
#[allow(clippy::unreadable_literal)]
#[memcached(key = "old:<n>", crate = memo)]
#[expect(clippy::cast_possible_truncation)]
pub fn old(n: u64) -> u32 {
    n as u32 | 0x10000000
}

/// Several values at once.
///
/// # Errors
///
/// Never.
#[memcached(
    key = "each:<id>",
    each(id in ids),
    crate = prelude::memocached,
    ttl = "1h",
    grace = 60,
    cache_none = 5,
    store_if = |price| price.cents > 0,
    when = *id > 0,
    entry = one_price_entry
)]
pub fn prices(ids: &[u64]) -> Result<std::collections::HashMap<u64, Price>, Failure> {
    Ok(ids.iter().map(|id| (*id, Price { cents: *id })).collect())
}

/// Several values at once, refreshed in the background.
#[memcached(key = "later:<id>", each(id in ids), crate = prelude::memocached, grace = 60)]
pub async fn later_prices(mut ids: Vec<u64>) -> Vec<Price> {
    std::future::ready(()).await;
    ids.push(7);
    ids.pop();
    ids.into_iter().map(|cents| Price { cents }).collect()
}
