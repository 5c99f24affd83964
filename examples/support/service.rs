//! What a service has around its routes: telemetry, and a signal to stop.

use std::error::Error;

use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prometheus::{Registry, TextEncoder};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Metrics for Prometheus to scrape, and traces for the endpoint that
/// `OTEL_EXPORTER_OTLP_ENDPOINT` names.
#[derive(Clone)]
pub(crate) struct Telemetry {
    registry: Registry,
    tracers: SdkTracerProvider,
}

impl Telemetry {
    pub(crate) fn install() -> Result<Self, Box<dyn Error>> {
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
        Ok(Telemetry { registry, tracers })
    }

    /// What a scrape is answered.
    pub(crate) fn metrics(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }

    pub(crate) fn shut_down(self) -> Result<(), Box<dyn Error>> {
        Ok(self.tracers.shutdown()?)
    }
}

/// Waits for a signal to stop. The server then finishes the requests it has
/// begun.
pub(crate) async fn asked_to_stop() {
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
