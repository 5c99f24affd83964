//! What a type's `Deserialize` is answered while it is traced: samples of every
//! primitive type, one element for each sequence, one variant of each enum.
//!
//! What is recorded of it, and which sample comes next, is decided in `trace`.

use std::any::type_name;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use super::shape::{Leaf, PlaceKind, Reader, is_serdes};
use super::trace::{SAMPLES, Stopped, Traced, Tracer};

/// Texts that types with their own textual format may accept.
const TEXTS: [&str; SAMPLES] = [
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
    ($($method:ident $visit:ident $type:ident $leaf:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
            self.leaf::<V>(Leaf::$leaf);
            let sample = self.sample(stringify!($type));
            visitor.$visit([0, 1, 2, 48, 100][sample.min(4)] as $type)
        }
    )*};
}

#[allow(clippy::cast_lossless, reason = "one table of samples for all types of numbers")]
impl<'de> Deserializer<'de> for &mut Tracer {
    type Error = Stopped;

    numbers! {
        deserialize_i8 visit_i8 i8 I8 deserialize_i16 visit_i16 i16 I16 deserialize_i32 visit_i32 i32 I32
        deserialize_i64 visit_i64 i64 I64 deserialize_i128 visit_i128 i128 I128 deserialize_u8 visit_u8 u8 U8
        deserialize_u16 visit_u16 u16 U16 deserialize_u32 visit_u32 u32 U32 deserialize_u64 visit_u64 u64 U64
        deserialize_u128 visit_u128 u128 U128 deserialize_f32 visit_f32 f32 F32 deserialize_f64 visit_f64 f64 F64
    }

    /// Stops: the structure depends on the data, of which there is none.
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Traced<V::Value> {
        Err(self.stop())
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.leaf::<V>(Leaf::Bool);
        let sample = self.sample("bool");
        visitor.visit_bool(sample == 1)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.leaf::<V>(Leaf::Char);
        let sample = self.sample("char");
        visitor.visit_char(['a', '0'][sample.min(1)])
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.leaf::<V>(Leaf::Text);
        let sample = self.sample("text");
        visitor.visit_str(TEXTS[sample.min(TEXTS.len() - 1)])
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.leaf::<V>(Leaf::Bytes);
        let sample = self.sample("bytes");
        visitor.visit_bytes(&[0; 32][..BYTES[sample.min(BYTES.len() - 1)]])
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.take("option");
        let reader = Reader::of::<V>();
        let parts = self.parts(reader, None, 1, |parts| PlaceKind::Option(parts[0]));
        self.go_to(parts.first(), reader.optional());
        if self.is_recurring() { visitor.visit_none() } else { self.deeper(|tracer| visitor.visit_some(tracer)) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.leaf::<V>(Leaf::Unit);
        self.note("unit");
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Traced<V::Value> {
        self.leaf::<V>(Leaf::UnitStruct);
        self.note(name);
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Traced<V::Value> {
        self.note(name);
        let reader = Reader::of::<V>();
        let parts = self.parts(reader, None, 1, |parts| PlaceKind::Newtype(parts[0]));
        if is_serdes(reader.visitor) {
            // In this way the type of the field is known.
            return self.within(name, |tracer| visitor.visit_seq(Elements::fixed(tracer, parts)));
        }
        self.go_to(None, "");
        self.within(name, |tracer| visitor.visit_newtype_struct(tracer))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.take("seq");
        let parts = self.parts(Reader::of::<V>(), None, 1, |parts| PlaceKind::Seq(parts[0]));
        let left = usize::from(!self.is_recurring());
        self.deeper(|tracer| visitor.visit_seq(Elements::free(tracer, parts, left)))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Traced<V::Value> {
        self.note(&format!("tuple-{len}"));
        let parts = self.parts(Reader::of::<V>(), None, len, PlaceKind::Tuple);
        self.deeper(|tracer| visitor.visit_seq(Elements::fixed(tracer, parts)))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, name: &'static str, len: usize, visitor: V) -> Traced<V::Value> {
        self.note(&format!("{name}-{len}"));
        let parts = self.parts(Reader::of::<V>(), None, len, PlaceKind::Tuple);
        self.within(name, |tracer| visitor.visit_seq(Elements::fixed(tracer, parts)))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.take("map");
        let parts = self.parts(Reader::of::<V>(), None, 2, |parts| PlaceKind::Map(parts[0], parts[1]));
        let left = usize::from(!self.is_recurring());
        self.deeper(|tracer| visitor.visit_map(Elements::free(tracer, parts, left)))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Traced<V::Value> {
        // All names before any value, so that they count even if one is refused.
        self.note(&format!("{name}{fields:?}"));
        let parts = self.parts(Reader::of::<V>(), None, fields.len(), |parts| PlaceKind::Struct(fields, parts));
        self.within(name, |tracer| visitor.visit_seq(Elements::fixed(tracer, parts)))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Traced<V::Value> {
        self.take(&format!("{name}{variants:?}"));
        let reader = Reader::of::<V>();
        let parts = self.parts(reader, None, variants.len(), |parts| PlaceKind::Enum(variants, parts));
        self.within(name, |tracer| {
            let chosen = tracer.choose(reader.visitor, variants.len())?;
            tracer.note(variants[chosen]);
            tracer.go_to(parts.get(chosen), reader.yields);
            let value = visitor.visit_enum(Variant { tracer, reader, chosen })?;
            tracer.leave(reader.visitor, chosen);
            Ok(value)
        })
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        let traced = self.deserialize_str(visitor);
        self.unknown();
        traced
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.unknown();
        self.deserialize_unit(visitor)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The elements of a sequence, or the entries of a map.
struct Elements<'a> {
    tracer: &'a mut Tracer,
    /// Their places in the graph: one for all, or one for each if their number is
    /// fixed. A map's keys and values have a place each.
    places: Vec<usize>,
    left: usize,
    /// [`Tracer::taken`] before the last element.
    since: u64,
    /// The number of the elements, if the type fixes it.
    fixed: Option<usize>,
}

impl<'a> Elements<'a> {
    fn fixed(tracer: &'a mut Tracer, places: Vec<usize>) -> Self {
        let left = places.len();
        Elements { tracer, places, left, since: 0, fixed: Some(left) }
    }

    fn free(tracer: &'a mut Tracer, places: Vec<usize>, left: usize) -> Self {
        Elements { tracer, places, left, since: 0, fixed: None }
    }

    /// Checks whether the last element took any bytes.
    fn weigh(&mut self) {
        if self.fixed.is_none() && self.tracer.taken() == self.since {
            self.tracer.weightless();
        }
    }
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Stopped;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Traced<Option<S::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        let place = self.fixed.map_or(0, |fixed| fixed - self.left);
        self.left -= 1;
        self.since = self.tracer.taken();
        self.tracer.go_to(self.places.get(place), type_name::<S::Value>());
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
        self.since = self.tracer.taken();
        self.tracer.go_to(self.places.first(), type_name::<S::Value>());
        seed.deserialize(&mut *self.tracer).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Traced<S::Value> {
        self.tracer.go_to(self.places.get(1), type_name::<S::Value>());
        let value = seed.deserialize(&mut *self.tracer)?;
        self.weigh();
        Ok(value)
    }
}

/// Gives the chosen variant to an enum's visitor.
struct Variant<'a> {
    tracer: &'a mut Tracer,
    /// The enum's.
    reader: Reader,
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
        self.tracer.unit_variant();
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Traced<S::Value> {
        let parts = self.tracer.parts(self.reader, Some(self.chosen), 1, |parts| PlaceKind::Newtype(parts[0]));
        self.tracer.go_to(parts.first(), type_name::<S::Value>());
        self.tracer.deeper(|tracer| seed.deserialize(tracer))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Traced<V::Value> {
        self.tracer.note(&format!("tuple-{len}"));
        let parts = self.tracer.parts(Reader::of::<V>(), Some(self.chosen), len, PlaceKind::Tuple);
        self.tracer.deeper(|tracer| visitor.visit_seq(Elements::fixed(tracer, parts)))
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Traced<V::Value> {
        self.tracer.note(&format!("{fields:?}"));
        let (reader, chosen) = (Reader::of::<V>(), Some(self.chosen));
        let parts = self.tracer.parts(reader, chosen, fields.len(), |parts| PlaceKind::Struct(fields, parts));
        self.tracer.deeper(|tracer| visitor.visit_seq(Elements::fixed(tracer, parts)))
    }
}
