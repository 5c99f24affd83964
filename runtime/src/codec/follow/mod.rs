//! Writes a value and compares it, call by call, with what its type is known to read.
//!
//! Where each call is the one that the type's `Deserialize` expects, the value comes
//! back, and need not be decoded to be sure of it. The structure comes from
//! `schema`; the bytes are written by the format.

mod parts;
mod trail;

use std::fmt::Display;

use serde::ser::{Serialize, Serializer};

use self::parts::{FollowedElements, Ordered};
pub(super) use self::trail::{Blind, Trail};
use self::trail::{Followed, Standing};
use super::schema::shape::{Leaf, SpotKind};

impl<T: Serialize + ?Sized> Serialize for Followed<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, format: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Follow { format, step: self.step })
    }
}

/// A serializer between a value and its format.
struct Follow<'a, S> {
    format: S,
    step: Standing<'a>,
}

macro_rules! leaves {
    ($($method:ident($type:ty) = $leaf:ident;)*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            self.step.leaf(Leaf::$leaf);
            self.format.$method(value)
        }
    )*};
}

impl<'a, S: Serializer> Serializer for Follow<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = FollowedElements<'a, S::SerializeSeq>;
    type SerializeTuple = Ordered<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Ordered<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Ordered<'a, S::SerializeTupleVariant>;
    type SerializeMap = FollowedElements<'a, S::SerializeMap>;
    type SerializeStruct = Ordered<'a, S::SerializeStruct>;
    type SerializeStructVariant = Ordered<'a, S::SerializeStructVariant>;

    leaves! {
        serialize_bool(bool) = Bool; serialize_char(char) = Char; serialize_str(&str) = Text;
        serialize_i8(i8) = I8; serialize_i16(i16) = I16; serialize_i32(i32) = I32; serialize_i64(i64) = I64;
        serialize_i128(i128) = I128; serialize_u8(u8) = U8; serialize_u16(u16) = U16; serialize_u32(u32) = U32;
        serialize_u64(u64) = U64; serialize_u128(u128) = U128;
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        self.step.leaf(Leaf::F32);
        self.step.finite(value.is_finite());
        self.format.serialize_f32(value)
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        self.step.leaf(Leaf::F64);
        self.step.finite(value.is_finite());
        self.format.serialize_f64(value)
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<S::Ok, S::Error> {
        self.step.leaf(Leaf::Bytes);
        self.step.expect(self.step.trail.blind == Blind::Never);
        self.format.serialize_bytes(value)
    }

    #[inline]
    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.step.expect(matches!(self.step.node, SpotKind::Option(_)));
        self.format.serialize_none()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.step.descend()?;
        let inner = match self.step.node {
            SpotKind::Option(inner) => self.step.to(*inner),
            _ => self.step.lose(),
        };
        inner.expect(inner.trail.blind == Blind::Never || !inner.may_be_null());
        self.format.serialize_some(&inner.with(value))
    }

    #[inline]
    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.step.leaf(Leaf::Unit);
        self.format.serialize_unit()
    }

    #[inline]
    fn serialize_unit_struct(self, name: &'static str) -> Result<S::Ok, S::Error> {
        self.step.leaf(Leaf::UnitStruct);
        self.format.serialize_unit_struct(name)
    }

    #[inline]
    fn serialize_unit_variant(self, name: &'static str, number: u32, variant: &'static str) -> Result<S::Ok, S::Error> {
        self.step.variant(number, variant).leaf(Leaf::UnitVariant);
        self.format.serialize_unit_variant(name, number, variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error> {
        self.step.descend()?;
        self.format.serialize_newtype_struct(name, &self.step.inside_newtype().with(value))
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        number: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.step.descend()?;
        let inner = self.step.variant(number, variant).inside_newtype();
        self.format.serialize_newtype_variant(name, number, variant, &inner.with(value))
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.step.descend()?;
        let element = match self.step.node {
            SpotKind::Seq(element) => self.step.to(*element),
            _ => self.step.lose(),
        };
        Ok(FollowedElements { format: self.format.serialize_seq(len)?, key: element, value: element })
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.step.descend()?;
        let (key, value) = match self.step.node {
            SpotKind::Map(key, value) => (self.step.to(*key), self.step.to(*value)),
            _ => (self.step.lose(), self.step.lose()),
        };
        key.expect(key.trail.blind == Blind::Never || key.is_plain_key());
        Ok(FollowedElements { format: self.format.serialize_map(len)?, key, value })
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        Ok(Ordered { parts: self.step.parts(len), format: self.format.serialize_tuple(len)? })
    }

    #[inline]
    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeTupleStruct, S::Error> {
        self.step.descend()?;
        Ok(Ordered { parts: self.step.parts(len), format: self.format.serialize_tuple_struct(name, len)? })
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        number: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        self.step.descend()?;
        let parts = self.step.variant(number, variant).parts(len);
        Ok(Ordered { parts, format: self.format.serialize_tuple_variant(name, number, variant, len)? })
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        self.step.descend()?;
        Ok(Ordered { parts: self.step.fields(), format: self.format.serialize_struct(name, len)? })
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        number: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        self.step.descend()?;
        let parts = self.step.variant(number, variant).fields();
        Ok(Ordered { parts, format: self.format.serialize_struct_variant(name, number, variant, len)? })
    }

    #[inline]
    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.step.leaf(Leaf::Text);
        self.format.collect_str(value)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.format.is_human_readable()
    }
}

#[cfg(all(test, feature = "bincode", feature = "json"))]
mod tests {
    use std::borrow::Cow;
    use std::collections::{BTreeMap, HashMap, HashSet};
    use std::num::NonZero;
    use std::sync::Arc;

    use serde::de::DeserializeOwned;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::codec::schema;

    /// Whether the value is known to come back without being decoded.
    fn is_followed<T: Serialize + DeserializeOwned>(value: &T, blind: Blind) -> bool {
        let trail = Trail::new(schema::graph::<T>(), blind);
        let written = match blind {
            Blind::Never => crate::codec::binary::encode(&trail.of(value), &mut Vec::new()),
            Blind::Json => crate::codec::readable::encode(&trail.of(value), &mut Vec::new()),
        };
        written.is_ok() && !trail.is_lost()
    }

    #[track_caller]
    fn assert_followed<T: Serialize + DeserializeOwned>(value: &T) {
        assert!(is_followed(value, Blind::Never), "bincode: {}", std::any::type_name::<T>());
        assert!(is_followed(value, Blind::Json), "json: {}", std::any::type_name::<T>());
    }

    #[track_caller]
    fn assert_lost<T: Serialize + DeserializeOwned>(value: &T) {
        assert!(!is_followed(value, Blind::Never), "bincode: {}", std::any::type_name::<T>());
        assert!(!is_followed(value, Blind::Json), "json: {}", std::any::type_name::<T>());
    }

    #[derive(Serialize, Deserialize)]
    struct Unit;
    #[derive(Serialize, Deserialize)]
    struct Id(u64);
    #[derive(Serialize, Deserialize)]
    struct Pair<T>(T, Option<T>);
    #[derive(Serialize, Deserialize)]
    struct Page {
        id: Id,
        #[serde(alias = "heading", alias = "a")]
        title: String,
        next: Option<Box<Page>>,
        tags: Vec<Tag>,
        by_name: BTreeMap<String, Pair<i32>>,
    }
    #[derive(Serialize, Deserialize)]
    enum Tag {
        None,
        Weight(f32),
        Range(u8, u8),
        Both { left: Box<Tag>, right: Arc<str> },
    }

    fn page(next: Option<Box<Page>>) -> Page {
        let both = Tag::Both { left: Box::new(Tag::Weight(1.5)), right: "x".into() };
        Page {
            id: Id(7),
            title: "t".into(),
            next,
            tags: vec![Tag::None, Tag::Range(1, 2), both],
            by_name: BTreeMap::from([("a".into(), Pair(1, None)), ("b".into(), Pair(1, Some(2)))]),
        }
    }

    #[test]
    fn derived_types_and_those_of_std_are_followed() {
        assert_followed(&page(Some(Box::new(page(None)))));
        assert_followed(&(1_u8, -2_i128, 'x', true, "text".to_owned(), 1.5_f64, (), Unit));
        assert_followed(&vec![Some(vec![[1_u16; 3]]), None]);
        assert_followed(&HashMap::from([(1_u64, HashSet::from([2_u8]))]));
        assert_followed(&(NonZero::new(1_u32), std::time::Duration::from_secs(1), Ok::<u8, String>(1)));
        assert_followed(&(Arc::<[u8]>::from([1]), Cow::Borrowed("x"), std::path::PathBuf::from("/")));
        assert!(is_followed(&(f64::NAN, Some(Some(1)), Some(None::<u8>)), Blind::Never));
    }

    #[test]
    fn what_json_cannot_tell_apart_is_not_followed() {
        assert!(!is_followed(&f64::NAN, Blind::Json));
        assert!(!is_followed(&Some(None::<u8>), Blind::Json));
        assert!(!is_followed(&Some(()), Blind::Json));
    }

    #[derive(Serialize, Deserialize)]
    struct Skips {
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<u8>,
        last: Option<u8>,
    }
    #[derive(Serialize, Deserialize)]
    #[allow(dead_code, reason = "serde leaves a field out")]
    struct Halves {
        #[serde(skip_serializing, default)]
        next: u8,
        last: u8,
    }
    #[derive(Serialize, Deserialize)]
    struct With {
        #[serde(deserialize_with = "clamped")]
        number: u8,
    }
    #[derive(Serialize, Deserialize)]
    #[serde(from = "u8")]
    struct From_(u8);
    #[derive(Serialize, Deserialize)]
    struct Holds {
        from: From_,
        option: Option<From_>,
    }
    #[derive(Serialize, Deserialize)]
    struct Renamed {
        #[serde(rename(serialize = "a", deserialize = "b"))]
        number: u8,
    }
    #[derive(Serialize)]
    struct Clamps(u8);

    impl From<u8> for From_ {
        fn from(number: u8) -> Self {
            From_(number.min(1))
        }
    }
    impl<'de> Deserialize<'de> for Clamps {
        fn deserialize<D: serde::Deserializer<'de>>(bytes: D) -> Result<Self, D::Error> {
            clamped(bytes).map(Clamps)
        }
    }
    fn clamped<'de, D: serde::Deserializer<'de>>(bytes: D) -> Result<u8, D::Error> {
        u8::deserialize(bytes).map(|number| number.min(1))
    }

    #[test]
    fn where_a_types_own_code_takes_part_the_value_is_decoded() {
        assert_lost(&Skips { next: None, last: Some(1) });
        assert_followed(&Skips { next: Some(1), last: None });
        assert_lost(&Halves { next: 1, last: 1 });
        assert_lost(&With { number: 7 });
        assert_lost(&From_(7));
        assert_lost(&vec![From_(7)]);
        assert_lost(&Holds { from: From_(1), option: None });
        assert_lost(&Pair(From_(1), None));
        assert_lost(&Clamps(7));
        assert_lost(&Some(Clamps(7)));
        assert_lost(&Renamed { number: 1 });
    }
}
