//! Views for a `MeterProviderBuilder` of the OpenTelemetry SDK.
//!
//! The SDK is `opentelemetry_sdk` 0.33: a provider of another version takes no views of
//! this one.
//!
//! ```
//! use opentelemetry_sdk::metrics::SdkMeterProvider;
//!
//! let provider = SdkMeterProvider::builder()
//!     .with_view(memocached::views::fine_latency())
//!     .build();
//! opentelemetry::global::set_meter_provider(provider);
//! memocached::enable_metrics_views();
//! ```

use opentelemetry_sdk::metrics::{Aggregation, Instrument, Stream};

use super::names::metrics;

/// Bucket boundaries in seconds, from 10 µs. memcached answers faster than the first
/// of the usual boundaries, so quantiles from those are meaningless.
const FINE: &[f64] =
    &[10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 1.0];

/// The histograms measured in seconds.
const SECONDS: &[&str] = &[
    metrics::OPERATION_DURATION,
    metrics::CONNECTION_WAIT_TIME,
    metrics::CONNECTION_CREATE_TIME,
    metrics::COMPUTE_DURATION,
];

/// Gives durations in seconds finer buckets, from 10 µs to 1 s.
pub fn fine_latency() -> impl Fn(&Instrument) -> Option<Stream> + Send + Sync + 'static {
    |instrument| {
        let fine = SECONDS.contains(&instrument.name());
        fine.then(|| histogram(FINE)).flatten()
    }
}

/// Gives the latency in milliseconds the buckets of the Python client this
/// crate descends from.
pub fn seed() -> impl Fn(&Instrument) -> Option<Stream> + Send + Sync + 'static {
    |instrument| {
        (instrument.name() == metrics::CLIENT_LATENCY).then(|| histogram(super::instruments::SEED_BOUNDS)).flatten()
    }
}

/// Combines [`fine_latency`] and [`seed`].
pub fn all() -> impl Fn(&Instrument) -> Option<Stream> + Send + Sync + 'static {
    let (fine, seed) = (fine_latency(), seed());
    move |instrument| fine(instrument).or_else(|| seed(instrument))
}

fn histogram(boundaries: &[f64]) -> Option<Stream> {
    let aggregation = Aggregation::ExplicitBucketHistogram { boundaries: boundaries.to_vec(), record_min_max: true };
    Stream::builder().with_aggregation(aggregation).build().ok()
}
