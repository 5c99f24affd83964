//! A call's value: what is found of it, and what is stored.
//!
//! A [`Flow`] knows the value's type and leaves every decision to its
//! [`Place`], which does not, and so is compiled once.

use crate::call::machine::{Arrival, Opened, Packing, Place, Verdict};
use crate::call::negative::Negative;
use crate::call::policy::StoreIf;
use crate::call::shape::{Shape, Split};
use crate::error::Error;
use crate::exchange::Ttl;
use crate::telemetry::call::{CallSpan, Due};
use crate::value::envelope::Refusal;
use crate::value::record::{Form, Found, Record};

/// One call that has a cache and a key.
pub(crate) struct Flow<S: Shape> {
    pub(crate) form: Form<S::Value>,
    pub(crate) negatives: Vec<Negative<S>>,
    pub(crate) place: Place,
}

/// What a call does next.
pub(crate) enum Next<S: Shape> {
    /// Returns this.
    Return(S::Return),
    /// Computes, and falls back on this value if that fails.
    Refresh(S::Value, Due),
    /// Computes.
    Compute,
    /// Waits for what it has asked for.
    Wait,
}

/// What there is in place of a new value, should it come to nothing.
pub(crate) enum Fallback<V> {
    None,
    Value(V),
    /// One that the caller has got already.
    Served,
}

/// What the body's return value comes to.
pub(crate) enum Outcome<S: Shape> {
    /// A value, to be returned once the record is stored.
    Value(S::Value, Option<Packing>),
    /// No value, to be returned at once; the record can be stored behind it.
    Other(S::Return, Option<Packing>),
}

impl<S: Shape> Flow<S> {
    /// What to do after `arrival`. From then on the place knows what this call
    /// may store.
    ///
    /// # Errors
    ///
    /// If the cache could not be asked.
    pub(crate) fn judge(&mut self, arrival: Arrival, span: &CallSpan) -> Result<Next<S>, Error> {
        let mut found = None;
        let Flow { form, negatives, place } = self;
        let open = &mut |bytes: &[u8], flags| {
            let (opened, returned) = unpack(form, negatives, bytes, flags)?;
            found = Some(returned);
            Ok(opened)
        };
        Ok(match (place.judge(arrival, open, span)?, found) {
            (Verdict::Use, Some(Unpacked::Value(value))) => Next::Return(S::join(value)),
            (Verdict::Use, Some(Unpacked::Negative(returned))) => Next::Return(returned),
            (Verdict::Refresh(due), Some(Unpacked::Value(value))) => Next::Refresh(value, due),
            (Verdict::Wait, _) => Next::Wait,
            _ => Next::Compute,
        })
    }

    /// The return value that is kept in this process, with what it took to
    /// compute.
    pub(crate) fn near(&self, record: &Record) -> Option<(S::Return, u64)> {
        let (opened, unpacked) = unpack(&self.form, &self.negatives, &record.bytes, record.flags).ok()?;
        let returned = match unpacked {
            Unpacked::Value(value) => S::join(value),
            Unpacked::Negative(returned) => returned,
        };
        Some((returned, opened.cost))
    }

    /// What to store of what the body has returned, and what to return.
    /// `fallback` is a value that is returned in place of an error.
    pub(crate) fn pack(
        &mut self,
        returned: S::Return,
        fallback: Fallback<S::Value>,
        cost: u64,
        wanted: &impl StoreIf<S::Value>,
        span: &CallSpan,
    ) -> Outcome<S> {
        let Flow { form, negatives, place } = self;
        match (S::split(returned), fallback) {
            (Split::Value(value), fallback) => {
                if let Fallback::Value(_) = fallback {
                    span.renewed();
                }
                let packing = place.pack(&|| wanted.allows(&value), &|| form.pack(&value, cost), None, span);
                Outcome::Value(value, packing)
            }
            (Split::Failed(_), Fallback::Value(value)) => {
                span.stale_on_error();
                place.back_off();
                Outcome::Value(value, None)
            }
            (Split::Failed(returned), Fallback::Served) => {
                span.refresh_failed();
                place.back_off();
                Outcome::Other(returned, None)
            }
            (Split::Empty(returned) | Split::Failed(returned), fallback) => {
                let packing = match negatives.iter().find(|kind| kind.is(&returned)) {
                    Some(kind) => {
                        let pack = || kind.pack(form, &returned, cost).unwrap_or_else(|| Err(Error::encode(UNMARKED)));
                        place.pack(&|| true, &pack, Some(Ttl::For(kind.ttl)), span)
                    }
                    None => None,
                };
                if let Fallback::Value(_) = fallback {
                    span.renewed();
                }
                // What was found before is no longer so.
                if packing.is_none() && !matches!(fallback, Fallback::None) {
                    place.renounce();
                }
                Outcome::Other(returned, packing)
            }
        }
    }
}

const UNMARKED: &str = "bare bytes cannot say that there is no value";

enum Unpacked<S: Shape> {
    Value(S::Value),
    Negative(S::Return),
}

fn unpack<S: Shape>(
    form: &Form<S::Value>,
    negatives: &[Negative<S>],
    bytes: &[u8],
    flags: u32,
) -> Result<(Opened, Unpacked<S>), Refusal> {
    let refusal = match form.unpack(bytes, flags) {
        Ok(Found { value, cost }) => return Ok((Opened { cost, negative: false }, Unpacked::Value(value))),
        Err(refusal) => refusal,
    };
    let found = negatives.iter().find_map(|kind| kind.unpack(form, bytes, flags).ok());
    found.map(|Found { value, cost }| (Opened { cost, negative: true }, Unpacked::Negative(value))).ok_or(refusal)
}
