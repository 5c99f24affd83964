//! A histogram with one set of attributes, kept from one record to the next.
//!
//! The histograms themselves are created in `instruments`.

use std::sync::RwLock;

use opentelemetry::KeyValue;
#[cfg(feature = "bound_instruments")]
use opentelemetry::metrics::BoundHistogram;
use opentelemetry::metrics::Histogram;

use super::instruments::{self, Instruments};
use crate::sync::{read, write};

/// One series of a histogram.
#[derive(Debug)]
pub(crate) struct Series<T> {
    #[cfg(feature = "bound_instruments")]
    histogram: BoundHistogram<T>,
    #[cfg(not(feature = "bound_instruments"))]
    histogram: Histogram<T>,
    #[cfg(not(feature = "bound_instruments"))]
    attributes: Vec<KeyValue>,
}

#[cfg(feature = "bound_instruments")]
impl<T> Series<T> {
    pub(super) fn of(histogram: &Histogram<T>, attributes: Vec<KeyValue>) -> Self {
        Series { histogram: histogram.bind(&attributes) }
    }

    pub(super) fn record(&self, value: T) {
        self.histogram.record(value);
    }
}

#[cfg(not(feature = "bound_instruments"))]
impl<T: Clone> Series<T> {
    pub(super) fn of(histogram: &Histogram<T>, attributes: Vec<KeyValue>) -> Self {
        Series { histogram: histogram.clone(), attributes }
    }

    pub(super) fn record(&self, value: T) {
        self.histogram.record(value, &self.attributes);
    }
}

/// A value derived from the instruments, and derived again whenever they are bound.
#[derive(Debug)]
pub(crate) struct Kept<S>(RwLock<Option<(u64, S)>>);

impl<S> Kept<S> {
    /// Starts without a value.
    pub(crate) const fn none() -> Self {
        Kept(RwLock::new(None))
    }

    /// Runs `work` on the value, if the instruments are bound.
    pub(super) fn with(&self, make: impl FnOnce(&Instruments) -> S, work: impl FnOnce(&S)) {
        let times = instruments::times_bound();
        if times == 0 {
            return;
        }
        if let Some((made_at, kept)) = &*read(&self.0)
            && *made_at == times
        {
            return work(kept);
        }
        instruments::record(|instruments| {
            let made = make(instruments);
            work(&made);
            *write(&self.0) = Some((times, made));
        });
    }
}
