//! Runs a type's `Deserialize` on made-up data and records what it asks for.
//!
//! A run follows one variant of each enum, so runs are repeated until every
//! variant has been followed. A value that the type refuses, such as zero for a
//! `NonZero`, is replaced by the next sample, and the run starts over. Inside a
//! type that contains itself, options and sequences stay empty, and enums take
//! a variant that is known to terminate. Hashing the record is the parent's
//! task.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

/// The record of a type's structure.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Structure {
    pub(super) text: String,
    /// Whether the text covers the whole type.
    pub(super) complete: bool,
    /// Whether the type has a sequence whose elements may take no bytes, so that
    /// its length is not bounded by the bytes that follow.
    pub(super) weightless: bool,
}

/// Tracing gives up on types nested deeper than this, which bounds the stack.
const DEEPEST: usize = 48;
/// The most runs for one type, however many variants and refused samples it has.
const MOST_RUNS: usize = 2_000;

/// The part of tracing that is compiled for each type; as small as possible.
pub(super) struct Type {
    pub(super) name: fn() -> &'static str,
    /// Runs through the type once; whether the run reached its end.
    ends: fn(&mut Tracer) -> bool,
}

impl Type {
    pub(super) const fn of<T: DeserializeOwned>() -> &'static Type {
        const { &Type { name: std::any::type_name::<T>, ends: |tracer| T::deserialize(tracer).is_ok() } }
    }
}

/// Traces the structure of a type.
pub(super) fn structure(of: &Type) -> Structure {
    let mut tracer = Tracer::default();
    let mut runs = BTreeMap::new();
    for run in 0..MOST_RUNS {
        tracer.begin(run);
        let ended = (of.ends)(&mut tracer);
        let text = std::mem::take(&mut tracer.text);
        if ended {
            // One line per path; sorted, so the order of the runs is ignored.
            runs.insert(text, ());
            if tracer.enums.values().all(|seen| seen.next_unseen().is_none()) {
                return Structure { text: lines(runs), complete: true, weightless: tracer.weightless };
            }
        } else if !tracer.try_next_sample() {
            // Every run ends here, so the record up to this point is stable.
            runs.insert(text, ());
            break;
        }
    }
    Structure { text: lines(runs), complete: false, weightless: tracer.weightless }
}

fn lines(runs: BTreeMap<String, ()>) -> String {
    runs.into_keys().collect::<Vec<_>>().join("\n")
}

#[derive(Default)]
struct Tracer {
    text: String,
    /// The named types around the value being traced.
    around: Vec<&'static str>,
    depth: usize,
    /// By the type names of their visitors, which no two enums share.
    enums: BTreeMap<&'static str, Variants>,
    /// Which sample to give for each value that the type asks for, in order.
    samples: Vec<usize>,
    /// How many samples this run has given.
    given: usize,
    run: usize,
    /// How often the type has asked for something that takes bytes.
    taken: u64,
    weightless: bool,
}

/// The progress on an enum's variants.
#[derive(Default)]
struct Variants {
    /// For each variant: whether it has been entered, and left with a value.
    state: Vec<(bool, bool)>,
}

impl Variants {
    fn next_unseen(&self) -> Option<usize> {
        self.state.iter().position(|(entered, _)| !entered)
    }
}

/// The type refused a sample or cannot be traced further.
#[derive(Debug)]
struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the type cannot be traced further")
    }
}

impl std::error::Error for Stopped {}

impl serde::de::Error for Stopped {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Stopped
    }
}

type Traced<V> = Result<V, Stopped>;

impl Tracer {
    fn begin(&mut self, run: usize) {
        self.text.clear();
        self.around.clear();
        self.depth = 0;
        self.given = 0;
        self.run = run;
    }

    /// Replaces the last sample, which was refused, by the next one for the next
    /// run; false if there is none.
    fn try_next_sample(&mut self) -> bool {
        // Another sample may lead to other values after this one.
        self.samples.truncate(self.given);
        match self.samples.last_mut() {
            Some(sample) if *sample + 1 < SAMPLES => {
                *sample += 1;
                // Variants entered but not left must be entered again.
                for variants in self.enums.values_mut() {
                    variants.state.iter_mut().for_each(|(entered, left)| *entered &= *left);
                }
                true
            }
            _ => false,
        }
    }

    fn note(&mut self, kind: &str) {
        let _ = write!(self.text, "{kind} ");
    }

    /// Notes something that takes bytes: a value, a variant's number or a length.
    fn take(&mut self, kind: &str) {
        self.taken += 1;
        self.note(kind);
    }

    /// Notes a value and returns the number of the sample to give for it.
    fn sample(&mut self, kind: &str) -> usize {
        self.take(kind);
        if self.samples.len() == self.given {
            self.samples.push(0);
        }
        self.given += 1;
        self.samples[self.given - 1]
    }

    /// Whether the value is inside a type that contains itself.
    fn is_recurring(&self) -> bool {
        let (last, before) = match self.around.split_last() {
            Some(split) => split,
            None => return false,
        };
        before.contains(last) || before.iter().enumerate().any(|(i, name)| before[..i].contains(name))
    }

    fn within<V>(&mut self, name: &'static str, trace: impl FnOnce(&mut Self) -> Traced<V>) -> Traced<V> {
        self.around.push(name);
        let traced = self.deeper(trace);
        self.around.pop();
        traced
    }

    fn deeper<V>(&mut self, trace: impl FnOnce(&mut Self) -> Traced<V>) -> Traced<V> {
        self.descend()?;
        let traced = trace(self);
        self.ascend();
        traced
    }

    fn descend(&mut self) -> Traced<()> {
        if self.depth == DEEPEST {
            return Err(Stopped);
        }
        self.depth += 1;
        self.note("(");
        Ok(())
    }

    fn ascend(&mut self) {
        self.note(")");
        self.depth -= 1;
    }

    /// Chooses the variant to follow.
    fn choose(&mut self, visitor: &'static str, count: usize) -> Traced<usize> {
        let (recurring, run) = (self.is_recurring(), self.run);
        let variants = self.enums.entry(visitor).or_default();
        variants.state.resize(count, (false, false));
        let ending: Vec<usize> = (0..count).filter(|i| variants.state[*i].1).collect();
        let chosen = match (variants.next_unseen(), &ending[..]) {
            (Some(unseen), []) => unseen,
            (Some(unseen), _) if !recurring => unseen,
            (_, [_, ..]) if recurring => ending[0],
            // In turn, since unseen variants may be behind any of them.
            (_, [_, ..]) => ending[run % ending.len()],
            (None, []) => return Err(Stopped),
        };
        variants.state[chosen].0 = true;
        Ok(chosen)
    }
}

/// The number of samples of the type that has the most.
const SAMPLES: usize = TEXTS.len();

/// Texts that types with their own textual format may accept.
const TEXTS: [&str; 10] = [
    "",
    "a",
    "1",
    "00",
    "127.0.0.1",
    "2020-01-01",
    "00:00:00",
    "2020-01-01T00:00:00Z",
    "00000000-0000-0000-0000-000000000000",
    "http://localhost/",
];

/// Lengths of byte strings that types may accept.
const BYTES: [usize; 5] = [0, 16, 32, 4, 1];

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
            let sample = self.sample(stringify!($type));
            visitor.$visit([0, 1, 2, 48, 100][sample.min(4)] as $type)
        }
    )*};
}

#[allow(clippy::cast_lossless, reason = "one table of samples for all types of numbers")]
impl<'de> Deserializer<'de> for &mut Tracer {
    type Error = Stopped;

    numbers! {
        deserialize_i8 visit_i8 i8 deserialize_i16 visit_i16 i16 deserialize_i32 visit_i32 i32
        deserialize_i64 visit_i64 i64 deserialize_i128 visit_i128 i128 deserialize_u8 visit_u8 u8
        deserialize_u16 visit_u16 u16 deserialize_u32 visit_u32 u32 deserialize_u64 visit_u64 u64
        deserialize_u128 visit_u128 u128 deserialize_f32 visit_f32 f32 deserialize_f64 visit_f64 f64
    }

    /// Stops: the structure depends on the data, of which there is none.
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Traced<V::Value> {
        self.note("any");
        // No other sample would help.
        self.samples.truncate(self.given);
        self.samples.push(SAMPLES);
        self.given += 1;
        Err(Stopped)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        let sample = self.sample("bool");
        visitor.visit_bool(sample == 1)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        let sample = self.sample("char");
        visitor.visit_char(['a', '0'][sample.min(1)])
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        let sample = self.sample("text");
        visitor.visit_str(TEXTS[sample.min(TEXTS.len() - 1)])
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        let sample = self.sample("bytes");
        visitor.visit_bytes(&[0; 32][..BYTES[sample.min(BYTES.len() - 1)]])
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.take("option");
        if self.is_recurring() { visitor.visit_none() } else { self.deeper(|tracer| visitor.visit_some(tracer)) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.note("unit");
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Traced<V::Value> {
        self.note(name);
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Traced<V::Value> {
        self.note(name);
        self.within(name, |tracer| visitor.visit_newtype_struct(tracer))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.take("seq");
        let left = usize::from(!self.is_recurring());
        self.deeper(|tracer| visitor.visit_seq(Elements { tracer, left, since: 0, fixed: false }))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Traced<V::Value> {
        self.note(&format!("tuple-{len}"));
        self.deeper(|tracer| visitor.visit_seq(Elements::fixed(tracer, len)))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, name: &'static str, len: usize, visitor: V) -> Traced<V::Value> {
        self.note(&format!("{name}-{len}"));
        self.within(name, |tracer| visitor.visit_seq(Elements::fixed(tracer, len)))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.take("map");
        let left = usize::from(!self.is_recurring());
        self.deeper(|tracer| visitor.visit_map(Elements { tracer, left, since: 0, fixed: false }))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Traced<V::Value> {
        // All names before any value, so that they count even if one is refused.
        self.note(&format!("{name}{fields:?}"));
        self.within(name, |tracer| visitor.visit_seq(Elements::fixed(tracer, fields.len())))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Traced<V::Value> {
        self.take(&format!("{name}{variants:?}"));
        self.within(name, |tracer| {
            let key = std::any::type_name::<V>();
            let chosen = tracer.choose(key, variants.len())?;
            tracer.note(variants[chosen]);
            let value = visitor.visit_enum(Variant { tracer, chosen })?;
            if let Some(state) = tracer.enums.get_mut(key).and_then(|seen| seen.state.get_mut(chosen)) {
                state.1 = true;
            }
            Ok(value)
        })
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.deserialize_unit(visitor)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The elements of a sequence, or the entries of a map.
struct Elements<'a> {
    tracer: &'a mut Tracer,
    left: usize,
    /// [`Tracer::taken`] before the last element.
    since: u64,
    /// Whether the type fixes their number.
    fixed: bool,
}

impl<'a> Elements<'a> {
    fn fixed(tracer: &'a mut Tracer, left: usize) -> Self {
        Elements { tracer, left, since: 0, fixed: true }
    }

    /// Checks whether the last element took any bytes.
    fn weigh(&mut self) {
        self.tracer.weightless |= !self.fixed && self.tracer.taken == self.since;
    }
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Stopped;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Traced<Option<S::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.since = self.tracer.taken;
        let element = seed.deserialize(&mut *self.tracer)?;
        self.weigh();
        Ok(Some(element))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for Elements<'_> {
    type Error = Stopped;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Traced<Option<S::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.since = self.tracer.taken;
        seed.deserialize(&mut *self.tracer).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Traced<S::Value> {
        let value = seed.deserialize(&mut *self.tracer)?;
        self.weigh();
        Ok(value)
    }
}

/// Gives the chosen variant to an enum's visitor.
struct Variant<'a> {
    tracer: &'a mut Tracer,
    chosen: usize,
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Stopped;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Traced<(S::Value, Self)> {
        let number = u32::try_from(self.chosen).map_err(Stopped::custom)?;
        let number: serde::de::value::U32Deserializer<Stopped> = number.into_deserializer();
        Ok((seed.deserialize(number)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Stopped;

    fn unit_variant(self) -> Traced<()> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Traced<S::Value> {
        self.tracer.deeper(|tracer| seed.deserialize(tracer))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Traced<V::Value> {
        self.tracer.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Traced<V::Value> {
        self.tracer.note(&format!("{fields:?}"));
        self.tracer.deeper(|tracer| visitor.visit_seq(Elements::fixed(tracer, fields.len())))
    }
}
