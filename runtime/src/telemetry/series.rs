//! A histogram with one set of attributes, kept from one record to the next.

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

/// Something made from the instruments, which is remade when they are bound anew.
#[derive(Debug)]
pub(crate) struct Kept<S>(RwLock<Option<(u64, S)>>);

impl<S> Kept<S> {
    pub(crate) const fn none() -> Self {
        Kept(RwLock::new(None))
    }

    /// Works with it, if the instruments are bound.
    pub(super) fn with(&self, make: impl FnOnce(&Instruments) -> S, work: impl FnOnce(&S)) {
        let time = instruments::times_bound();
        if time == 0 {
            return;
        }
        if let Some((made, kept)) = &*read(&self.0)
            && *made == time
        {
            return work(kept);
        }
        instruments::record(|instruments| {
            let made = make(instruments);
            work(&made);
            *write(&self.0) = Some((time, made));
        });
    }
}
