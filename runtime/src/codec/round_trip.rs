//! Checks that a value survives a round trip through a codec.
//!
//! Some of serde's attributes (`skip_serializing_if`, `untagged`, `flatten`)
//! and some values (`Some(None)` in JSON) decode to a different value without
//! an error. So a value is stored only if the decoded copy serializes exactly
//! like the original. Each is reduced to a digest of the calls that its
//! `Serialize` makes; the order of elements in sequences and maps is ignored,
//! since sets and maps have none. This file never sees the encoded bytes.

use std::fmt::{self, Display};

use serde::Serialize;
use serde::ser::{self, Serializer};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Returns whether both values serialize alike.
pub(super) fn same<T: Serialize>(a: &T, b: &T) -> bool {
    matches!((digest(a), digest(b)), (Ok(a), Ok(b)) if a == b)
}

fn digest<T: Serialize + ?Sized>(value: &T) -> Digested {
    value.serialize(Digest)
}

type Digested = Result<u64, Refused>;

/// The value's own `Serialize` failed.
#[derive(Debug)]
pub(super) struct Refused;

impl Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value cannot be serialized")
    }
}

impl std::error::Error for Refused {}

impl ser::Error for Refused {
    fn custom<T: Display>(_: T) -> Self {
        Refused
    }
}

/// A serializer whose methods return a digest of their arguments.
struct Digest;

fn leaf(kind: u64, bytes: &[u8]) -> Digested {
    Ok(xxh3_64_with_seed(bytes, kind))
}

fn named(kind: u64, name: &str, inner: u64) -> Digested {
    Ok(xxh3_64_with_seed(name.as_bytes(), inner.wrapping_add(kind)))
}

macro_rules! numbers {
    ($($method:ident($type:ty) = $kind:literal;)*) => {$(
        fn $method(self, value: $type) -> Digested {
            leaf($kind, &value.to_le_bytes())
        }
    )*};
}

impl Serializer for Digest {
    type Ok = u64;
    type Error = Refused;
    type SerializeSeq = Parts;
    type SerializeTuple = Parts;
    type SerializeTupleStruct = Parts;
    type SerializeTupleVariant = Parts;
    type SerializeMap = Parts;
    type SerializeStruct = Parts;
    type SerializeStructVariant = Parts;

    numbers! {
        serialize_i8(i8) = 1; serialize_i16(i16) = 2; serialize_i32(i32) = 3; serialize_i64(i64) = 4;
        serialize_i128(i128) = 5; serialize_u8(u8) = 6; serialize_u16(u16) = 7; serialize_u32(u32) = 8;
        serialize_u64(u64) = 9; serialize_u128(u128) = 10; serialize_f32(f32) = 11; serialize_f64(f64) = 12;
    }

    fn serialize_bool(self, value: bool) -> Digested {
        leaf(13, &[value.into()])
    }

    fn serialize_char(self, value: char) -> Digested {
        leaf(14, &u32::from(value).to_le_bytes())
    }

    fn serialize_str(self, value: &str) -> Digested {
        leaf(15, value.as_bytes())
    }

    fn serialize_bytes(self, value: &[u8]) -> Digested {
        leaf(16, value)
    }

    fn serialize_none(self) -> Digested {
        leaf(17, &[])
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Digested {
        named(18, "", digest(value)?)
    }

    fn serialize_unit(self) -> Digested {
        leaf(19, &[])
    }

    fn serialize_unit_struct(self, name: &'static str) -> Digested {
        named(20, name, 0)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Digested {
        named(21, variant, 0)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Digested {
        named(22, name, digest(value)?)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Digested {
        named(23, variant, digest(value)?)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Parts, Refused> {
        Ok(Parts::new(24, Order::Free))
    }

    fn serialize_tuple(self, _: usize) -> Result<Parts, Refused> {
        Ok(Parts::new(25, Order::Fixed))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Parts, Refused> {
        Ok(Parts::new(26, Order::Fixed))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Parts, Refused> {
        Ok(Parts::new(u64::from(variant) << 8 | 27, Order::Fixed))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Parts, Refused> {
        Ok(Parts::new(28, Order::Free))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Parts, Refused> {
        Ok(Parts::new(29, Order::Fixed))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Parts, Refused> {
        Ok(Parts::new(u64::from(variant) << 8 | 30, Order::Fixed))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Fixed,
    Free,
}

/// Combines the digests of several parts into one.
struct Parts {
    kind: u64,
    order: Order,
    sum: u64,
    count: u64,
    /// The digest of a map's key, until its value follows.
    key: u64,
}

impl Parts {
    fn new(kind: u64, order: Order) -> Self {
        Parts { kind, order, sum: 0, count: 0, key: 0 }
    }

    fn add(&mut self, part: u64) {
        self.count += 1;
        self.sum = match self.order {
            Order::Free => self.sum.wrapping_add(xxh3_64(&part.to_le_bytes())),
            Order::Fixed => xxh3_64_with_seed(&part.to_le_bytes(), self.sum),
        };
    }

    fn finish(self) -> Digested {
        leaf(self.kind, &[self.sum.to_le_bytes(), self.count.to_le_bytes()].concat())
    }
}

macro_rules! parts {
    ($($trait:ident::$method:ident)*) => {$(
        impl ser::$trait for Parts {
            type Ok = u64;
            type Error = Refused;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
                self.add(digest(value)?);
                Ok(())
            }

            fn end(self) -> Digested {
                self.finish()
            }
        }
    )*};
}

parts! {
    SerializeSeq::serialize_element
    SerializeTuple::serialize_element
    SerializeTupleStruct::serialize_field
    SerializeTupleVariant::serialize_field
}

macro_rules! fields {
    ($($trait:ident)*) => {$(
        impl ser::$trait for Parts {
            type Ok = u64;
            type Error = Refused;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Refused> {
                self.add(named(31, key, digest(value)?)?);
                Ok(())
            }

            fn end(self) -> Digested {
                self.finish()
            }
        }
    )*};
}

fields!(SerializeStruct SerializeStructVariant);

impl ser::SerializeMap for Parts {
    type Ok = u64;
    type Error = Refused;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refused> {
        self.key = digest(key)?;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        let entry = [self.key.to_le_bytes(), digest(value)?.to_le_bytes()].concat();
        self.add(xxh3_64(&entry));
        Ok(())
    }

    fn end(self) -> Digested {
        self.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap, HashSet};

    use super::*;

    #[test]
    fn different_values_have_different_digests() {
        assert!(!same(&Some(None::<u8>), &None));
        assert!(!same(&f64::NAN, &0.0));
        assert!(!same(&(1_u8, 2_u8), &(2_u8, 1_u8)));
        assert!(!same(&vec![1, 2], &vec![1, 3]));
        assert!(!same(&vec![0_u8; 2], &vec![0_u8; 3]));
        assert!(!same(&BTreeMap::from([(1, 2), (3, 4)]), &BTreeMap::from([(1, 4), (3, 2)])));
        assert!(!same(&Ok::<u8, u8>(1), &Err(1)));
    }

    #[test]
    fn the_order_of_sets_and_maps_is_ignored() {
        let numbers = 0..1_000;
        let set = || numbers.clone().collect::<HashSet<u32>>();
        let map = || numbers.clone().map(|n| (n, n)).collect::<HashMap<u32, u32>>();
        assert!(same(&set(), &set()));
        assert!(same(&map(), &map()));
        assert!(same(&f64::NAN, &f64::NAN));
    }
}
