use memocached::memcached;

trait Prices {
    fn price(&self, item: u64) -> u64;
}

struct Shop;

impl Prices for Shop {
    #[memcached(key = "price:<item>", skip(self), entry = price_entry)]
    fn price(&self, item: u64) -> u64 {
        item
    }
}

fn main() {}
