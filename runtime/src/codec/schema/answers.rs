//! What a type's `Deserialize` is answered while it is traced: samples of every
//! primitive type, one element for each sequence, one variant of each enum.
//!
//! What is recorded of it, and which sample comes next, is decided in `trace`.

use std::any::type_name;
use std::ops::Range;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::shape::{Leaf, Reader, SpotKind, is_derived, is_serdes};
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
            let sample = self.value(stringify!($type), Reader::of::<V>())?;
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
        let sample = self.value("bool", Reader::of::<V>())?;
        visitor.visit_bool(sample == 1)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.leaf::<V>(Leaf::Char);
        let sample = self.value("char", Reader::of::<V>())?;
        visitor.visit_char(['a', '0'][sample.min(1)])
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.leaf::<V>(Leaf::Text);
        let sample = self.value("text", Reader::of::<V>())?;
        visitor.visit_str(TEXTS[sample.min(TEXTS.len() - 1)])
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.leaf::<V>(Leaf::Bytes);
        let sample = self.value("bytes", Reader::of::<V>())?;
        visitor.visit_bytes(&[0; 32][..BYTES[sample.min(BYTES.len() - 1)]])
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        let reader = Reader::of::<V>();
        self.whole(reader, |tracer| {
            tracer.take("option");
            let parts = tracer.parts(reader, None, 1, |parts| SpotKind::Option(parts.start));
            if tracer.is_recurring() {
                visitor.visit_none()
            } else if tracer.is_sealed(0) {
                tracer.pass(0);
                visitor.visit_none()
            } else {
                let way = tracer.enter(0, parts.clone().next(), reader.optional());
                tracer.deeper(|tracer| visitor.visit_some(tracer)).inspect(|_| tracer.come_back(way))
            }
        })
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
        let reader = Reader::of::<V>();
        self.whole(reader, |tracer| {
            tracer.note(name);
            let parts = tracer.parts(reader, None, 1, |parts| SpotKind::Newtype(parts.start));
            if is_serdes(reader.visitor) {
                // In this way the type of the field is known.
                tracer.within(name, |tracer| visitor.visit_seq(Elements::fixed(tracer, parts, reader.yields)))
            } else if tracer.is_sealed(0) {
                tracer.pass(0);
                Err(tracer.exhausted())
            } else {
                let way = tracer.enter(0, None, "");
                tracer.within(name, |tracer| visitor.visit_newtype_struct(tracer)).inspect(|_| tracer.come_back(way))
            }
        })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        let reader = Reader::of::<V>();
        self.whole(reader, |tracer| {
            tracer.take("seq");
            let parts = tracer.parts(reader, None, 1, |parts| SpotKind::Seq(parts.start));
            let left = usize::from(!tracer.is_recurring());
            tracer.deeper(|tracer| visitor.visit_seq(Elements::free(tracer, parts, left, reader.yields)))
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Traced<V::Value> {
        let reader = Reader::of::<V>();
        self.whole(reader, |tracer| {
            tracer.note(&format!("tuple-{len}"));
            let parts = tracer.parts(reader, None, len, SpotKind::Tuple);
            tracer.deeper(|tracer| {
                let is_array = reader.yields.starts_with('[');
                visitor.visit_seq(Elements { is_array, ..Elements::fixed(tracer, parts, reader.yields) })
            })
        })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, name: &'static str, len: usize, visitor: V) -> Traced<V::Value> {
        let reader = Reader::of::<V>();
        self.whole(reader, |tracer| {
            tracer.note(&format!("{name}-{len}"));
            let parts = tracer.parts(reader, None, len, SpotKind::Tuple);
            tracer.within(name, |tracer| visitor.visit_seq(Elements::fixed(tracer, parts, reader.yields)))
        })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        let reader = Reader::of::<V>();
        self.whole(reader, |tracer| {
            tracer.take("map");
            let parts = tracer.parts(reader, None, 2, |parts| SpotKind::Map(parts.start, parts.start + 1));
            let left = usize::from(!tracer.is_recurring());
            tracer.deeper(|tracer| visitor.visit_map(Elements::free(tracer, parts, left, reader.yields)))
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Traced<V::Value> {
        let reader = Reader::of::<V>();
        self.whole(reader, |tracer| {
            // All names before any value, so that they count even if one is refused.
            tracer.note(&format!("{name}{fields:?}"));
            let parts = tracer.parts(reader, None, fields.len(), |parts| SpotKind::Struct(fields, parts));
            tracer.within(name, |tracer| visitor.visit_map(Fields::of::<V>(tracer, fields, parts)))
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Traced<V::Value> {
        let reader = Reader::of::<V>();
        self.whole(reader, |tracer| {
            tracer.take(&format!("{name}{variants:?}"));
            let parts = tracer.parts(reader, None, variants.len(), |parts| SpotKind::Enum(variants, parts));
            tracer.within(name, |tracer| {
                let chosen = match tracer.choose(reader.visitor, variants.len()) {
                    Err(_) if tracer.has_sealed(reader.visitor) => return Err(tracer.exhausted()),
                    chosen => chosen?,
                };
                tracer.note(variants[chosen]);
                let way = tracer.enter(chosen, parts.clone().nth(chosen), reader.yields);
                let made = tracer.part(false, |tracer| visitor.visit_enum(Variant { tracer, reader, chosen }));
                tracer.leave(reader.visitor, chosen, made.is_ok(), way);
                made
            })
        })
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        let sample = self.sample("text");
        self.unknown();
        visitor.visit_str(TEXTS[sample.min(TEXTS.len() - 1)])
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        self.unknown();
        self.deserialize_unit(visitor)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The fields of a struct, as a map, since fields can be left out there.
struct Fields<'a> {
    tracer: &'a mut Tracer,
    names: &'static [&'static str],
    /// Derived visitors know their fields by number as well, others by name only.
    is_derived: bool,
    spots: Range<usize>,
    next: usize,
    has_sealed: bool,
}

impl<'a> Fields<'a> {
    fn of<V>(tracer: &'a mut Tracer, names: &'static [&'static str], spots: Range<usize>) -> Self {
        Fields { tracer, names, is_derived: is_derived(type_name::<V>()), spots, next: 0, has_sealed: false }
    }

    /// Goes to the next field that is not sealed; `None` if there is none.
    fn advance(&mut self) -> Option<FieldName> {
        while self.next < self.spots.len() && self.tracer.is_sealed(self.next) {
            self.tracer.pass(self.next);
            self.has_sealed = true;
            self.next += 1;
        }
        let name = self.names.get(self.next)?;
        Some(if self.is_derived { FieldName::Number(self.next as u64) } else { FieldName::Text(name) })
    }

    /// Ends the fields. There are no more, or the rest are other names of earlier ones.
    fn end(&mut self) -> Traced<()> {
        self.next = self.spots.len();
        if self.has_sealed { Err(self.tracer.exhausted()) } else { Ok(()) }
    }

    fn enter(&mut self, asked: &'static str) -> usize {
        let way = match asked == type_name::<IgnoredAny>() {
            true => {
                self.next = self.spots.len();
                self.tracer.enter(self.next, None, asked)
            }
            false => self.tracer.enter(self.next, self.spots.clone().nth(self.next), asked),
        };
        self.next += 1;
        way
    }
}

/// How a field is named.
enum FieldName {
    Number(u64),
    Text(&'static str),
}

impl<'de> Deserializer<'de> for FieldName {
    type Error = Stopped;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Traced<V::Value> {
        match self {
            FieldName::Number(number) => visitor.visit_u64(number),
            FieldName::Text(name) => visitor.visit_str(name),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Stopped;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Traced<Option<S::Value>> {
        let key = self.advance().and_then(|name| seed.deserialize(name).ok());
        if key.is_none() {
            self.end()?;
        }
        Ok(key)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Traced<S::Value> {
        let way = self.enter(type_name::<S::Value>());
        let value = seed.deserialize(&mut *self.tracer)?;
        self.tracer.come_back(way);
        Ok(value)
    }
}

/// The elements of a sequence, or the entries of a map.
struct Elements<'a> {
    tracer: &'a mut Tracer,
    /// Their spots in the graph: one for all, or one for each if their number is
    /// fixed. A map's keys and values have a spot each.
    spots: Range<usize>,
    left: usize,
    /// [`Tracer::taken`] before the last element.
    since: u64,
    /// The number of the elements, if the type fixes it.
    fixed: Option<usize>,
    /// Whether all elements have one type.
    is_array: bool,
    /// The name of what they are read for.
    of: &'static str,
}

impl<'a> Elements<'a> {
    fn fixed(tracer: &'a mut Tracer, spots: Range<usize>, of: &'static str) -> Self {
        let left = spots.len();
        Elements { tracer, spots, left, since: 0, fixed: Some(left), is_array: false, of }
    }

    fn free(tracer: &'a mut Tracer, spots: Range<usize>, left: usize, of: &'static str) -> Self {
        Elements { tracer, spots, left, since: 0, fixed: None, is_array: true, of }
    }

    /// Checks whether the last element took any bytes.
    fn weigh(&mut self) {
        if self.fixed.is_none() && self.tracer.taken() == self.since {
            self.tracer.weightless();
        }
    }

    /// Reads a part: an element, a key or a value.
    fn read<'de, S: DeserializeSeed<'de>>(&mut self, number: usize, seed: S) -> Traced<S::Value> {
        let way = self.tracer.enter(number, self.spots.clone().nth(number), type_name::<S::Value>());
        let value = seed.deserialize(&mut *self.tracer)?;
        self.tracer.come_back(way);
        Ok(value)
    }
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Stopped;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Traced<Option<S::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        let number = self.fixed.map_or(0, |fixed| fixed - self.left);
        self.left -= 1;
        self.since = self.tracer.taken();
        if !self.tracer.is_sealed(number) {
            let element = self.read(number, seed)?;
            self.weigh();
            return Ok(Some(element));
        }
        self.tracer.pass(number);
        self.weigh();
        if self.left > 0 && !self.is_array {
            return Err(self.tracer.cut_off(self.of));
        }
        if self.fixed.is_some() { Err(self.tracer.exhausted()) } else { Ok(None) }
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
        if self.tracer.is_sealed(0) {
            self.tracer.pass(0);
            return Err(self.tracer.cut_off(self.of));
        }
        self.read(0, seed).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Traced<S::Value> {
        if self.tracer.is_sealed(1) {
            self.tracer.pass(1);
            self.weigh();
            return Err(self.tracer.exhausted());
        }
        let value = self.read(1, seed)?;
        self.weigh();
        Ok(value)
    }

    fn next_entry_seed<K: DeserializeSeed<'de>, V: DeserializeSeed<'de>>(
        &mut self,
        key: K,
        value: V,
    ) -> Traced<Option<(K::Value, V::Value)>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.since = self.tracer.taken();
        let sealed = [0, 1].map(|part| self.tracer.is_sealed(part));
        let key = if sealed[0] { None } else { Some(self.read(0, key)?) };
        if sealed[0] {
            self.tracer.pass(0);
        }
        if sealed[1] {
            self.tracer.pass(1);
        } else {
            let way = self.tracer.enter(1, self.spots.clone().nth(1), type_name::<V::Value>());
            // Without a key there is no entry: the value is sealed as well.
            let value = self.tracer.part(sealed[0], |tracer| value.deserialize(tracer))?;
            self.tracer.come_back(way);
            if let Some(key) = key {
                self.weigh();
                return Ok(Some((key, value)));
            }
        }
        self.weigh();
        Ok(None)
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
        let parts = self.tracer.parts(self.reader, Some(self.chosen), 1, |parts| SpotKind::Newtype(parts.start));
        self.tracer.go_to(parts.clone().next(), type_name::<S::Value>());
        self.tracer.deeper(|tracer| seed.deserialize(tracer))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Traced<V::Value> {
        self.tracer.note(&format!("tuple-{len}"));
        let reader = Reader::of::<V>();
        let parts = self.tracer.parts(reader, Some(self.chosen), len, SpotKind::Tuple);
        self.tracer.deeper(|tracer| visitor.visit_seq(Elements::fixed(tracer, parts, reader.yields)))
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Traced<V::Value> {
        self.tracer.note(&format!("{fields:?}"));
        let (reader, chosen) = (Reader::of::<V>(), Some(self.chosen));
        let parts = self.tracer.parts(reader, chosen, fields.len(), |parts| SpotKind::Struct(fields, parts));
        self.tracer.deeper(|tracer| visitor.visit_map(Fields::of::<V>(tracer, fields, parts)))
    }
}
