//! A web service whose slow queries are memoized, with traces over OTLP and
//! metrics for Prometheus.
//!
//! ```text
//! cargo run --example axum_service
//! curl -i http://127.0.0.1:8080/product/7    # 20 ms the first time; see X-Cache
//! curl http://127.0.0.1:8080/search/teapot
//! curl http://127.0.0.1:8080/metrics
//! ```
//!
//! `MEMCACHED_SERVERS` shares results with other processes,
//! `OTEL_EXPORTER_OTLP_ENDPOINT` says where traces go, and an argument sets the
//! address to listen on. `dashboards/` shows the traces and metrics.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Path, Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use memocached::{memcached, observed_async};
use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prometheus::{Registry, TextEncoder};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tracing::{Instrument, info_span};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[derive(Debug, Serialize, Deserialize)]
struct Product {
    id: u32,
    name: String,
}

/// Stands in for a database.
struct Catalogue {
    country: String,
}

impl Catalogue {
    /// Finds a product. A missing one is looked up again on every call.
    #[memcached(key = "product:<self.country>:<id>", ttl = "5m", name = "product")]
    async fn product(&self, id: u32) -> Option<Product> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        (id < 1_000).then(|| Product { id, name: format!("teapot {id}") })
    }
}

#[memcached(key = "search:<words>", ttl = "1m", name = "search")]
async fn search(words: &str) -> Vec<u32> {
    tokio::time::sleep(Duration::from_millis(50)).await;
    (0..20).filter(|id| format!("teapot {id}").contains(words)).collect()
}

async fn show_product(State(shop): State<Arc<Catalogue>>, Path(id): Path<u32>) -> Result<String, StatusCode> {
    let product = shop.product(id).await.ok_or(StatusCode::NOT_FOUND)?;
    Ok(format!("{}: {}\n", product.id, product.name))
}

async fn show_search(Path(words): Path<String>) -> String {
    format!("{:?}\n", search(&words).await)
}

/// Wraps each request in a span, the parent of the spans of memoized functions.
async fn traced(path: MatchedPath, request: Request, next: Next) -> Response {
    let name = format!("{} {}", request.method(), path.as_str());
    next.run(request).instrument(info_span!("request", otel.name = name, otel.kind = "server")).await
}

/// Says in a header what the cache did: `X-Cache: hit`, or `X-Cache: miss; absent`.
async fn told(request: Request, next: Next) -> Response {
    let (mut response, seen) = observed_async(next.run(request)).await;
    if let Some(outcome) = seen.call().and_then(|call| HeaderValue::try_from(call.outcome.to_string()).ok()) {
        response.headers_mut().insert("x-cache", outcome);
    }
    response
}

// Not `#[tokio::main]`: the exporter starts and shuts down outside the runtime.
fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let (registry, tracers) = install_telemetry()?;
    let metrics = async move || TextEncoder::new().encode_to_string(&registry.gather()).unwrap_or_default();
    let app = Router::new()
        .route("/product/{id}", get(show_product))
        .route("/search/{words}", get(show_search))
        .layer(from_fn(told))
        .layer(from_fn(traced))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(Catalogue { country: "se".into() }));
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("listening on http://{}", listener.local_addr()?);
        axum::serve(listener, app).with_graceful_shutdown(asked_to_stop()).await?;
        let left = memocached::drain_async(Duration::from_secs(5)).await;
        if !left.is_complete() {
            eprintln!("the cache is not up to date: {left:?}");
        }
        Ok::<_, std::io::Error>(())
    })?;
    println!("{}", memocached::report());
    Ok(tracers.shutdown()?)
}

/// Waits for a signal to stop. The server then finishes the requests it has
/// begun.
async fn asked_to_stop() {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        return;
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// Sets up metrics for Prometheus to scrape, and traces for the endpoint that
/// `OTEL_EXPORTER_OTLP_ENDPOINT` names.
fn install_telemetry() -> Result<(Registry, SdkTracerProvider), Box<dyn Error>> {
    let registry = Registry::new();
    let reader = opentelemetry_prometheus::exporter().with_registry(registry.clone()).build()?;
    let meters = SdkMeterProvider::builder().with_view(memocached::views::all()).with_reader(reader).build();
    global::set_meter_provider(meters);
    memocached::enable_metrics_views();

    let mut tracers = SdkTracerProvider::builder();
    if std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_some() {
        tracers = tracers.with_batch_exporter(SpanExporter::builder().with_http().build()?);
    }
    let tracers = tracers.build();
    let layer = tracing_opentelemetry::layer().with_tracer(tracers.tracer("axum_service"));
    tracing_subscriber::registry().with(LevelFilter::INFO).with(layer).init();
    Ok((registry, tracers))
}
