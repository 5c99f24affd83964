//! What is stored where a function has no value to return: that it has none, or
//! its error.
//!
//! It is stored under the same key as a value would be, for a time of its own,
//! and marked so that neither is taken for the other.

use std::time::Duration;

use crate::call::shape::{HoldsErr, HoldsNone, Shape};
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::value::envelope::Refusal;
use crate::value::record::{Form, Found, Record};

/// One kind of return value without a value.
pub(crate) struct Negative<S: Shape> {
    /// How long it is kept.
    pub(crate) ttl: Duration,
    kind: Box<dyn Kind<S>>,
}

impl<S: Shape> Negative<S> {
    /// That there is no value.
    pub(crate) fn none(ttl: Duration) -> Self
    where
        S: HoldsNone + 'static,
        S::Return: 'static,
    {
        let of = |returned: &_| if S::is_none(returned) { Some(&()) } else { None };
        Negative { ttl, kind: Box::new(Of { tag: 1, codec: Box::new(Nothing), of, into: |()| S::none() }) }
    }

    /// An error.
    pub(crate) fn err(ttl: Duration, codec: Box<dyn Codec<S::Error>>) -> Self
    where
        S: HoldsErr + 'static,
        S::Return: 'static,
        S::Error: 'static,
    {
        Negative { ttl, kind: Box::new(Of { tag: 2, codec, of: S::error, into: S::from_error }) }
    }

    /// Whether a return value is of this kind.
    pub(crate) fn is(&self, returned: &S::Return) -> bool {
        self.kind.is(returned)
    }

    /// What to store of a return value, with the form of values at hand; `None`
    /// if it is of another kind, or there is no way to mark it.
    pub(crate) fn pack(&self, form: &Form<S::Value>, returned: &S::Return, cost: u64) -> Option<Result<Record, Error>> {
        self.kind.pack(form, returned, cost)
    }

    /// The return value that was stored, if it is of this kind.
    pub(crate) fn unpack(&self, form: &Form<S::Value>, bytes: &[u8], flags: u32) -> Result<Found<S::Return>, Refusal> {
        self.kind.unpack(form, bytes, flags)
    }
}

trait Kind<S: Shape>: Send + Sync {
    fn is(&self, returned: &S::Return) -> bool;
    fn pack(&self, form: &Form<S::Value>, returned: &S::Return, cost: u64) -> Option<Result<Record, Error>>;
    fn unpack(&self, form: &Form<S::Value>, bytes: &[u8], flags: u32) -> Result<Found<S::Return>, Refusal>;
}

/// What a return value holds in place of a value, and how it is stored.
struct Of<R, W> {
    tag: u64,
    codec: Box<dyn Codec<W>>,
    of: for<'a> fn(&'a R) -> Option<&'a W>,
    into: fn(W) -> R,
}

impl<S: Shape, W> Kind<S> for Of<S::Return, W> {
    fn is(&self, returned: &S::Return) -> bool {
        (self.of)(returned).is_some()
    }

    fn pack(&self, form: &Form<S::Value>, returned: &S::Return, cost: u64) -> Option<Result<Record, Error>> {
        form.pack_beside(self.tag, &*self.codec, (self.of)(returned)?, cost)
    }

    fn unpack(&self, form: &Form<S::Value>, bytes: &[u8], flags: u32) -> Result<Found<S::Return>, Refusal> {
        let Found { value, cost } = form.unpack_beside(self.tag, &*self.codec, bytes, flags)?;
        Ok(Found { value: (self.into)(value), cost })
    }
}

/// The bytes of nothing are none.
struct Nothing;

impl Codec<()> for Nothing {
    fn id(&self) -> u8 {
        0
    }

    fn encode(&self, (): &(), _: &mut Vec<u8>) -> Result<(), Error> {
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() { Ok(()) } else { Err(Error::new(ErrorKind::Decode, "nothing has no bytes")) }
    }
}
