//! Sets up the examples' telemetry: the tree of spans on standard output, and
//! with `OTEL_EXPORTER_OTLP_ENDPOINT` traces and metrics over OTLP.

use std::error::Error;

use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{MetricExporter, SpanExporter};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_forest::{ForestLayer, Printer};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::tree;

/// The providers that export, if any.
pub(crate) struct Telemetry {
    exporting: Option<(SdkTracerProvider, SdkMeterProvider)>,
}

impl Telemetry {
    /// Installs the subscriber and the exporters. Call it once, first.
    /// `RUST_LOG` chooses what to show; `filter` applies without it.
    pub(crate) fn install(filter: &str) -> Result<Self, Box<dyn Error>> {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
        let printer = ForestLayer::from(Printer::new().formatter(tree::print));
        let subscriber = tracing_subscriber::registry().with(filter).with(printer);
        if std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_none() {
            subscriber.init();
            return Ok(Telemetry { exporting: None });
        }

        let tracers =
            SdkTracerProvider::builder().with_batch_exporter(SpanExporter::builder().with_http().build()?).build();
        let meters = SdkMeterProvider::builder()
            .with_view(memocached::views::all())
            .with_periodic_exporter(MetricExporter::builder().with_http().build()?)
            .build();
        // Leaves out attributes that would obscure what the cache did.
        let layer =
            tracing_opentelemetry::layer().with_location(false).with_threads(false).with_tracked_inactivity(false);
        subscriber.with(layer.with_tracer(tracers.tracer("memocached-example"))).init();
        global::set_meter_provider(meters.clone());
        memocached::enable_metrics_views();
        Ok(Telemetry { exporting: Some((tracers, meters)) })
    }

    /// Sends everything that is still pending.
    pub(crate) fn flush(self) -> Result<(), Box<dyn Error>> {
        if let Some((tracers, meters)) = self.exporting {
            tracers.shutdown()?;
            // Jaeger accepts only traces; that is no reason to fail.
            let _ = meters.shutdown();
        }
        Ok(())
    }
}
