//! Negative results: what is stored when a function returns no value, or an error.
//!
//! They are stored under the value's key with a ttl of their own, and tagged so that
//! neither is mistaken for the other. When to store one is decided in `machine`.

use std::time::Duration;

use crate::call::shape::{HoldsErr, HoldsNone, Shape};
use crate::codec::{Codec, Codecs};
use crate::error::{Error, ErrorKind};
use crate::value::envelope::{Refusal, Times};
use crate::value::record::{Form, Found, Record};

/// One kind of negative result: no value, or an error.
pub(crate) struct Negative<S: Shape> {
    kind: Box<dyn Kind<S>>,
}

impl<S: Shape> Negative<S> {
    /// Builds the kind for return values without a value.
    pub(crate) fn none(ttl: Duration) -> Self
    where
        S: HoldsNone + 'static,
        S::Return: 'static,
    {
        let of = |returned: &_| if S::is_none(returned) { Some(&()) } else { None };
        let (codec, ttl) = (Codecs::only(Box::new(Nothing)), Box::new(move |(): &()| Some(ttl)));
        Negative { kind: Box::new(Of { tag: 1, codec, of, into: |()| S::none(), ttl }) }
    }

    /// Builds the kind for errors, each of which tells how long it is kept.
    pub(crate) fn err(ttl: TtlOf<S::Error>, codec: Codecs<S::Error>) -> Self
    where
        S: HoldsErr + 'static,
        S::Return: 'static,
        S::Error: 'static,
    {
        Negative { kind: Box::new(Of { tag: 2, codec, of: S::error, into: S::from_error, ttl }) }
    }

    /// Whether a return value is of this kind.
    pub(crate) fn is(&self, returned: &S::Return) -> bool {
        self.kind.is(returned)
    }

    /// Returns how long a return value of this kind is kept.
    pub(crate) fn ttl(&self, returned: &S::Return) -> Option<Duration> {
        self.kind.ttl(returned)
    }

    /// Packs a return value for the key of `form`; `None` if it is of another kind,
    /// or if the form has no room for a tag.
    pub(crate) fn pack(
        &self,
        form: &Form<S::Value>,
        returned: &S::Return,
        times: Times,
    ) -> Option<Result<Record, Error>> {
        self.kind.pack(form, returned, times)
    }

    /// Unpacks a return value of this kind.
    pub(crate) fn unpack(&self, form: &Form<S::Value>, bytes: &[u8], flags: u32) -> Result<Found<S::Return>, Refusal> {
        self.kind.unpack(form, bytes, flags)
    }
}

/// A [`Negative`] without the type that it stores.
trait Kind<S: Shape>: Send + Sync {
    fn is(&self, returned: &S::Return) -> bool;
    fn ttl(&self, returned: &S::Return) -> Option<Duration>;
    fn pack(&self, form: &Form<S::Value>, returned: &S::Return, times: Times) -> Option<Result<Record, Error>>;
    fn unpack(&self, form: &Form<S::Value>, bytes: &[u8], flags: u32) -> Result<Found<S::Return>, Refusal>;
}

/// A kind of return values that hold a `W` instead of a value, and its codec.
struct Of<R, W> {
    tag: u64,
    codec: Codecs<W>,
    of: for<'a> fn(&'a R) -> Option<&'a W>,
    into: fn(W) -> R,
    ttl: TtlOf<W>,
}

/// Tells how long a `W` is kept, if at all.
pub(crate) type TtlOf<W> = Box<dyn Fn(&W) -> Option<Duration> + Send + Sync>;

impl<S: Shape, W> Kind<S> for Of<S::Return, W> {
    fn is(&self, returned: &S::Return) -> bool {
        (self.of)(returned).is_some()
    }

    fn ttl(&self, returned: &S::Return) -> Option<Duration> {
        (self.ttl)((self.of)(returned)?)
    }

    fn pack(&self, form: &Form<S::Value>, returned: &S::Return, times: Times) -> Option<Result<Record, Error>> {
        form.pack_beside(self.tag, &self.codec, (self.of)(returned)?, times)
    }

    fn unpack(&self, form: &Form<S::Value>, bytes: &[u8], flags: u32) -> Result<Found<S::Return>, Refusal> {
        let Found { value, times, tag } = form.unpack_beside(self.tag, &self.codec, bytes, flags)?;
        Ok(Found { value: (self.into)(value), times, tag })
    }
}

/// The codec of the absent value, which has no bytes.
struct Nothing;

impl Codec<()> for Nothing {
    fn id(&self) -> u8 {
        0
    }

    fn encode(&self, (): &(), _: &mut Vec<u8>) -> Result<(), Error> {
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() { Ok(()) } else { Err(Error::new(ErrorKind::Decode, "an absent value has no bytes")) }
    }
}
