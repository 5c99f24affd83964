//! A histogram with one set of attributes, kept from record to record.

use std::sync::RwLock;
use std::sync::atomic::Ordering;

use opentelemetry::KeyValue;
#[cfg(feature = "bound_instruments")]
use opentelemetry::metrics::BoundHistogram;
use opentelemetry::metrics::Histogram;

use super::metrics::{self, Bound};
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

/// What has been made of the instruments, and is made anew when they are bound
/// anew.
#[derive(Debug)]
pub(crate) struct Kept<S>(RwLock<Option<(u64, S)>>);

impl<S> Kept<S> {
    pub(crate) const fn none() -> Self {
        Kept(RwLock::new(None))
    }

    /// Works with what there is, if instruments are bound.
    pub(super) fn with(&self, make: impl FnOnce(&Bound) -> S, work: impl FnOnce(&S)) {
        let time = metrics::TIMES_BOUND.load(Ordering::Acquire);
        if time == 0 {
            return;
        }
        if let Some((made, kept)) = &*read(&self.0)
            && *made == time
        {
            return work(kept);
        }
        metrics::record(|bound| {
            let made = make(bound);
            work(&made);
            *write(&self.0) = Some((time, made));
        });
    }
}
