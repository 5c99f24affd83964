//! Finished spans, as OpenTelemetry's SDK hands them to an exporter.

use std::collections::HashSet;
use std::sync::Once;

use opentelemetry::Value;
use opentelemetry::trace::{SpanKind, TracerProvider as _};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Registry};

/// Records the spans of one thread.
pub(crate) struct Recording {
    exporter: InMemorySpanExporter,
    provider: SdkTracerProvider,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Recording {
    /// Begins to record what this thread does.
    pub(crate) fn begin() -> Self {
        // A callsite that another thread is the first to reach just now could
        // be switched off for good, unless a subscriber may always listen.
        static UNDECIDED: Once = Once::new();
        UNDECIDED.call_once(|| {
            let undecided = Registry::default().with(dynamic_filter_fn(|_, _| false));
            let _ = tracing::subscriber::set_global_default(undecided);
        });
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = Registry::default().with(EnvFilter::new("off,memocached=debug,behaviour=info")).with(layer);
        let guard = tracing::subscriber::set_default(subscriber);
        // Another test may just have had a callsite switched off for good.
        tracing::callsite::rebuild_interest_cache();
        Recording { exporter, provider, _guard: guard }
    }

    /// The spans that have ended so far.
    pub(crate) fn spans(&self) -> Spans {
        self.provider.force_flush().expect("spans in memory");
        Spans(self.exporter.get_finished_spans().expect("spans in memory"))
    }

    /// The spans that have ended since they were taken last.
    pub(crate) fn take(&self) -> Vec<SpanData> {
        let Spans(spans) = self.spans();
        self.exporter.reset();
        spans
    }
}

/// Finished spans, in the order in which they began.
pub(crate) struct Spans(Vec<SpanData>);

impl Spans {
    /// Names with two spaces for each level.
    pub(crate) fn tree(&self) -> String {
        let mut lines = Vec::new();
        let roots = self.0.iter().filter(|span| !self.0.iter().any(|other| is_parent(other, span)));
        let mut roots: Vec<_> = roots.collect();
        roots.sort_by_key(|span| span.start_time);
        roots.iter().for_each(|root| self.branch(root, 0, &mut lines));
        lines.join("\n")
    }

    pub(crate) fn named(&self, name: &str) -> Vec<&SpanData> {
        self.0.iter().filter(|span| span.name == name).collect()
    }

    /// Of how many traces there are exchanges.
    pub(crate) fn traces(&self) -> usize {
        let exchanges = self.0.iter().filter(|span| span.span_kind == SpanKind::Client);
        exchanges.map(|span| span.span_context.trace_id()).collect::<HashSet<_>>().len()
    }

    fn branch(&self, span: &SpanData, depth: usize, lines: &mut Vec<String>) {
        lines.push(format!("{}{}", "  ".repeat(depth), span.name));
        let mut children: Vec<_> = self.0.iter().filter(|other| is_parent(span, other)).collect();
        children.sort_by_key(|span| span.start_time);
        children.iter().for_each(|child| self.branch(child, depth + 1, lines));
    }
}

fn is_parent(parent: &SpanData, child: &SpanData) -> bool {
    child.parent_span_id == parent.span_context.span_id()
}

/// An attribute of a span.
pub(crate) fn attribute(span: &SpanData, key: &str) -> Option<Value> {
    span.attributes.iter().find(|pair| pair.key.as_str() == key).map(|pair| pair.value.clone())
}

/// The texts of a span's events.
pub(crate) fn events(span: &SpanData) -> Vec<&str> {
    span.events.events.iter().map(|event| &*event.name).collect()
}
