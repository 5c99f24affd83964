//! Tests of memoized functions: each has a cache, a clock and faults of its own.
//!
//! ```text
//! cargo test --example testing
//! ```

use memocached::{invalidates, memcached};

/// What the functions read and change.
#[derive(Debug, Default)]
struct Shop {
    prices: std::sync::Mutex<std::collections::HashMap<u32, u64>>,
}

impl Shop {
    #[memcached(key = "price:<item>", ttl = "1m", grace = "1h", cache_none = "10s", entry = price_entry, skip(self))]
    fn price(&self, item: u32) -> Option<u64> {
        self.prices.lock().expect("a lock").get(&item).copied()
    }

    #[invalidates(self.price_entry(item))]
    fn set_price(&self, item: u32, cents: u64) {
        self.prices.lock().expect("a lock").insert(item, cents);
    }
}

fn main() {
    let shop = Shop::default();
    shop.set_price(7, 250);
    println!("{:?}: run `cargo test --example testing`", shop.price(7));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use memocached::Cache;
    use memocached::testing::{assert_hit, assert_miss, with_cache};

    use super::Shop;

    #[test]
    fn a_price_is_read_once_a_minute() {
        let (shop, cache) = (Shop::default(), Cache::embedded());
        let clock = cache.clock();
        with_cache(&cache, || {
            shop.set_price(7, 250);
            assert_eq!(assert_miss!(shop.price(7)), Some(250));
            clock.advance(Duration::from_secs(59));
            assert_eq!(assert_hit!(shop.price(7)), Some(250));
            clock.advance(Duration::from_secs(2));
            assert_eq!(assert_miss!(shop.price(7)), Some(250));
        });
    }

    #[test]
    fn a_new_price_shows_at_once() {
        let (shop, cache) = (Shop::default(), Cache::embedded());
        with_cache(&cache, || {
            assert_eq!(assert_miss!(shop.price(7)), None);
            assert_eq!(assert_hit!(shop.price(7)), None);
            shop.set_price(7, 250);
            assert_eq!(assert_miss!(shop.price(7)), Some(250));
        });
    }

    #[test]
    fn prices_are_read_without_a_cache_while_it_is_down() {
        let (shop, cache) = (Shop::default(), Cache::embedded());
        with_cache(&cache, || {
            shop.set_price(7, 250);
            cache.faults().down();
            assert_eq!([(); 2].map(|()| assert_miss!(shop.price(7))), [Some(250); 2]);
            cache.faults().heal();
            assert_miss!(shop.price(7));
            assert_eq!(assert_hit!(shop.price(7)), Some(250));
        });
    }
}
