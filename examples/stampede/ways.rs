//! Lists four ways to get an expensive value; the last two use the attribute.

use std::time::Duration;

use memocached::{AsyncClient, memcached};
use tokio::time::sleep;

use crate::recording::Computation;

/// How long it takes to compute the price.
pub(crate) const TAKES: Duration = Duration::from_millis(200);
/// How long the price is kept; servers count whole seconds.
const TTL: Duration = Duration::from_secs(1);

/// Waits like a database query. A real one would also slow down under load.
async fn compute() -> u64 {
    let computation = Computation::begin();
    sleep(TAKES).await;
    computation.end();
    4_200
}

/// Does what most programs do first: a get and, on a miss, a set.
async fn by_hand(client: &AsyncClient) -> u64 {
    if let Ok(Some(price)) = client.get("price:by-hand").await {
        return price;
    }
    let price = compute().await;
    // If the store fails, the next call computes again.
    let _ = client.set("price:by-hand", &price, TTL).await;
    price
}

/// One caller computes and the others wait.
#[memcached(key = "price:memoized", ttl = TTL)]
async fn memoized() -> u64 {
    compute().await
}

/// One caller computes in the background and the others get the old price
/// meanwhile.
#[memcached(key = "price:with-grace", ttl = TTL, grace = "10s")]
async fn with_grace() -> u64 {
    compute().await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    NoCache,
    ByHand,
    Memoized,
    WithGrace,
}

impl Way {
    pub(crate) const ALL: [Way; 4] = [Way::NoCache, Way::ByHand, Way::Memoized, Way::WithGrace];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Way::NoCache => "no cache",
            Way::ByHand => "by hand",
            Way::Memoized => "#[memcached]",
            Way::WithGrace => "with grace",
        }
    }

    pub(crate) async fn price(self, client: &AsyncClient) -> u64 {
        match self {
            Way::NoCache => compute().await,
            Way::ByHand => by_hand(client).await,
            Way::Memoized => memoized().await,
            Way::WithGrace => with_grace().await,
        }
    }
}
