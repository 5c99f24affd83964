//! A web service whose slow queries are memoized, with traces over OTLP and
//! metrics for Prometheus.
//!
//! ```text
//! cargo run --example axum_service
//! curl -i http://127.0.0.1:8080/product/7    # 20 ms the first time; see X-Cache
//! curl -i http://127.0.0.1:8080/products/6,7 # only 6 is looked up
//! curl http://127.0.0.1:8080/search/teapot   # /metrics is for Prometheus
//! curl -X PUT -d samovar http://127.0.0.1:8080/product/7
//! ```
//!
//! `MEMCACHED_SERVERS` shares results with other processes, an argument sets the
//! address to listen on. `dashboards/` shows the traces and metrics.

#[path = "support/service.rs"]
mod service;

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use memocached::{group, invalidates, memcached, observed_async};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tracing::{Instrument, info_span};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Product {
    id: u32,
    name: String,
}

group! {
    /// What depends on any name in a country.
    fn names(country: &str) = "names:<country>";
}

/// The shop of one country, and its database.
#[derive(Clone)]
struct Shop {
    country: &'static str,
    names: Arc<Mutex<BTreeMap<u32, String>>>,
}

impl Shop {
    /// Finds a product. A missing one is looked up again after ten seconds.
    #[memcached(
        key = "product:<self.country>:<id>", ttl = "5m", grace = "1h", cache_none = "10s", at_most = 32,
        name = "product", entry = product_entry
    )]
    async fn product(&self, id: u32) -> Option<Product> {
        self.query(|names| Some(Product { id, name: names.get(&id)?.clone() })).await
    }

    /// Finds several products with one query, in the same entries.
    #[memcached(key = "product:<self.country>:<id>", each(id in ids), ttl = "5m", grace = "1h", name = "products")]
    async fn products(&self, ids: &[u32]) -> HashMap<u32, Product> {
        let product = |names: &BTreeMap<_, String>, id| Some((id, Product { id, name: names.get(&id)?.clone() }));
        self.query(|names| ids.iter().filter_map(|id| product(names, *id)).collect()).await
    }

    /// Finds the products whose names contain these words.
    #[memcached(key = "search:<self.country>:<words>", ttl = "1m", group = names(self.country), name = "search")]
    async fn search(&self, words: &str) -> Vec<u32> {
        self.query(|names| names.iter().filter(|(_, name)| name.contains(words)).map(|(id, _)| *id).collect()).await
    }

    /// Renames a product. No call that begins afterwards gets the old name.
    #[invalidates(self.product_entry(id), names(self.country))]
    async fn rename(&self, id: u32, name: String) {
        self.query(|names| names.insert(id, name)).await;
    }

    /// Takes as long as a query that finds no index.
    async fn query<T>(&self, answer: impl FnOnce(&mut BTreeMap<u32, String>) -> T) -> T {
        tokio::time::sleep(Duration::from_millis(20)).await;
        answer(&mut self.names.lock().unwrap_or_else(|broken| broken.into_inner()))
    }
}

fn line(product: &Product) -> String {
    format!("{}: {}\n", product.id, product.name)
}

async fn show_product(State(shop): State<Shop>, Path(id): Path<u32>) -> Result<String, StatusCode> {
    shop.product(id).await.as_ref().map(line).ok_or(StatusCode::NOT_FOUND)
}

async fn show_products(State(shop): State<Shop>, Path(ids): Path<String>) -> Result<String, StatusCode> {
    let ids: Result<Vec<u32>, _> = ids.split(',').map(str::parse).collect();
    let ids = ids.map_err(|_| StatusCode::BAD_REQUEST)?;
    let products = shop.products(&ids).await;
    Ok(ids.iter().filter_map(|id| products.get(id)).map(line).collect())
}

async fn show_search(State(shop): State<Shop>, Path(words): Path<String>) -> String {
    format!("{:?}\n", shop.search(&words).await)
}

async fn rename_product(State(shop): State<Shop>, Path(id): Path<u32>, name: String) {
    shop.rename(id, name).await;
}

/// Wraps each request in a span, the parent of the spans of memoized functions.
async fn traced(path: MatchedPath, request: Request, next: Next) -> Response {
    let name = format!("{} {}", request.method(), path.as_str());
    next.run(request).instrument(info_span!("request", otel.name = name, otel.kind = "server")).await
}

/// Says in a header what the cache did: `X-Cache: hit`, or `X-Cache: miss; absent`.
async fn told(request: Request, next: Next) -> Response {
    let (mut response, seen) = observed_async(next.run(request)).await;
    let outcome = seen.call().map(|call| call.outcome.to_string().parse());
    if let Some(Ok(outcome)) = outcome {
        response.headers_mut().insert("x-cache", outcome);
    }
    response
}

// Not `#[tokio::main]`: the exporter starts and shuts down outside the runtime.
fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let telemetry = service::Telemetry::install()?;
    let scraped = telemetry.clone();
    let names = Arc::new(Mutex::new((0..1_000).map(|id| (id, format!("teapot {id}"))).collect()));
    let app = Router::new()
        .route("/product/{id}", get(show_product).put(rename_product))
        .route("/products/{ids}", get(show_products))
        .route("/search/{words}", get(show_search))
        .layer(from_fn(told))
        .layer(from_fn(traced))
        .route("/metrics", get(async move || scraped.metrics()))
        .with_state(Shop { country: "se", names });
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("listening on http://{}", listener.local_addr()?);
        axum::serve(listener, app).with_graceful_shutdown(service::asked_to_stop()).await?;
        println!("left undone: {:?}", memocached::drain_async(Duration::from_secs(5)).await);
        Ok::<_, std::io::Error>(())
    })?;
    println!("{}", memocached::report());
    telemetry.shut_down()
}
