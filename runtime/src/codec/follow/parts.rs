//! The parts of a value: elements, entries and fields.

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};

use super::trail::{Standing, is_named};
use crate::codec::schema::shape::SpotKind;

/// The elements of a sequence, or the entries of a map.
pub(super) struct FollowedElements<'a, S> {
    pub(super) format: S,
    pub(super) key: Standing<'a>,
    pub(super) value: Standing<'a>,
}

impl<S: SerializeSeq> SerializeSeq for FollowedElements<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.format.serialize_element(&self.value.with(value))
    }

    #[inline]
    fn end(self) -> Result<S::Ok, S::Error> {
        self.format.end()
    }
}

impl<S: SerializeMap> SerializeMap for FollowedElements<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.format.serialize_key(&self.key.with(key))
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.format.serialize_value(&self.value.with(value))
    }

    #[inline]
    fn end(self) -> Result<S::Ok, S::Error> {
        self.format.end()
    }
}

/// The parts of a tuple or struct that are still to come.
pub(super) struct FollowedParts<'a> {
    step: Standing<'a>,
    nodes: &'a [SpotKind],
    /// Those of a struct's fields, with the other names that each may have.
    names: &'a [&'static str],
}

impl<'a> FollowedParts<'a> {
    #[inline]
    fn lost(step: Standing<'a>) -> Self {
        FollowedParts { step: step.lose(), nodes: &[], names: &[] }
    }

    #[inline]
    fn advance(&mut self) -> Standing<'a> {
        match self.nodes.split_first() {
            Some((next, rest)) => {
                self.nodes = rest;
                self.step.at(next)
            }
            None => self.step.lose(),
        }
    }

    /// Advances to the field of this name.
    #[inline]
    fn advance_to(&mut self, name: &'static str) -> Standing<'a> {
        match self.names.split_first() {
            Some((next, rest)) if is_named(next, name) => self.names = rest,
            _ => self.skip_to(name),
        }
        self.advance()
    }

    /// Leaves out the other names of a field.
    #[cold]
    fn skip_to(&mut self, name: &'static str) {
        match self.names.iter().position(|known| *known == name) {
            Some(index) => self.names = &self.names[index + 1..],
            None => self.step.expect(false),
        }
    }

    #[inline]
    fn end(&self) {
        self.step.expect(self.nodes.is_empty());
    }
}

impl<'a> Standing<'a> {
    #[inline]
    pub(super) fn parts(self, count: usize) -> FollowedParts<'a> {
        match self.node {
            SpotKind::Tuple(spots) if spots.len() == count => {
                FollowedParts { step: self, nodes: self.trail.graph.all(spots), names: &[] }
            }
            _ => FollowedParts::lost(self),
        }
    }

    #[inline]
    pub(super) fn fields(self) -> FollowedParts<'a> {
        match self.node {
            SpotKind::Struct(names, spots) => FollowedParts { step: self, nodes: self.trail.graph.all(spots), names },
            _ => FollowedParts::lost(self),
        }
    }
}

/// A tuple or struct, whose parts have an order.
pub(super) struct Ordered<'a, S> {
    pub(super) parts: FollowedParts<'a>,
    pub(super) format: S,
}

macro_rules! tuples {
    ($($trait:ident::$method:ident)*) => {$(
        impl<S: $trait> $trait for Ordered<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                self.format.$method(&self.parts.advance().with(value))
            }

            #[inline]
            fn end(self) -> Result<S::Ok, S::Error> {
                self.parts.end();
                self.format.end()
            }
        }
    )*};
}

tuples! {
    SerializeTuple::serialize_element
    SerializeTupleStruct::serialize_field
    SerializeTupleVariant::serialize_field
}

macro_rules! structs {
    ($($trait:ident)*) => {$(
        impl<S: $trait> $trait for Ordered<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), S::Error> {
                self.format.serialize_field(name, &self.parts.advance_to(name).with(value))
            }

            #[inline]
            fn skip_field(&mut self, name: &'static str) -> Result<(), S::Error> {
                self.parts.step.expect(false);
                self.format.skip_field(name)
            }

            #[inline]
            fn end(self) -> Result<S::Ok, S::Error> {
                self.parts.end();
                self.format.end()
            }
        }
    )*};
}

structs!(SerializeStruct SerializeStructVariant);
