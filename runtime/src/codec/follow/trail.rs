//! Where in its type a value stands, and whether each call was the expected one.

use std::cell::Cell;

use serde::ser::{Error, Serialize};

use crate::codec::depth::{Depth, TOO_DEEP};
use crate::codec::schema::shape::{Graph, Leaf, ROOT, SpotKind};

/// What a format cannot tell from other values though the calls agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blind {
    /// Nothing.
    Never,
    /// `Some(None)`, numbers that are not finite, bytes, and keys of maps that are
    /// no text or integer.
    #[cfg_attr(not(feature = "json"), allow(dead_code, reason = "only JSON is blind"))]
    Json,
}

/// The comparison of one value.
pub(crate) struct Trail {
    pub(super) graph: &'static Graph,
    pub(super) blind: Blind,
    depth: Depth,
    lost: Cell<bool>,
}

impl Trail {
    #[inline]
    pub(crate) fn new(graph: &'static Graph, blind: Blind) -> Self {
        Trail { graph, blind, depth: Depth::here(), lost: Cell::new(false) }
    }

    /// Returns the value in a form that is compared while it is written.
    #[inline]
    pub(crate) fn of<'a, T: Serialize + ?Sized>(&'a self, value: &'a T) -> Followed<'a, T> {
        Followed { value, step: Standing::new(self, self.graph.at(ROOT)) }
    }

    /// Whether some call was not the expected one.
    #[inline]
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.get()
    }
}

/// Whether two names are the same. Most often they are one text of the program's.
#[inline]
pub(super) fn is_named(known: &'static str, name: &'static str) -> bool {
    std::ptr::eq(known, name) || known == name
}

/// A value, and where it stands in its type.
pub(crate) struct Followed<'a, T: ?Sized> {
    pub(super) value: &'a T,
    pub(super) step: Standing<'a>,
}

#[derive(Clone, Copy)]
pub(super) struct Standing<'a> {
    pub(super) trail: &'a Trail,
    pub(super) node: &'a SpotKind,
    /// A copy of the node's: for the elements of a sequence it stays in a register.
    leaf: Option<Leaf>,
}

impl<'a> Standing<'a> {
    #[inline]
    fn new(trail: &'a Trail, node: &'a SpotKind) -> Self {
        let leaf = if let SpotKind::Leaf(leaf) = node { Some(*leaf) } else { None };
        Standing { trail, node, leaf }
    }

    #[inline]
    pub(super) fn expect(self, expected: bool) {
        if !expected {
            self.trail.lost.set(true);
        }
    }

    #[inline]
    pub(super) fn leaf(self, leaf: Leaf) {
        self.expect(self.leaf == Some(leaf));
    }

    #[inline]
    pub(super) fn finite(self, finite: bool) {
        self.expect(finite || self.trail.blind == Blind::Never);
    }

    #[inline]
    pub(super) fn at(self, node: &'a SpotKind) -> Standing<'a> {
        Standing::new(self.trail, node)
    }

    #[inline]
    pub(super) fn to(self, place: usize) -> Standing<'a> {
        self.at(self.trail.graph.at(place))
    }

    /// Goes on without knowing the way.
    #[inline]
    pub(super) fn lose(self) -> Standing<'a> {
        self.expect(false);
        self.at(&SpotKind::Unknown)
    }

    #[inline]
    pub(super) fn with<T: ?Sized>(self, value: &'a T) -> Followed<'a, T> {
        Followed { value, step: self }
    }

    /// Refuses to go too deep. Every recursion of a type comes through here: no tuple
    /// contains itself.
    #[inline]
    pub(super) fn descend<E: Error>(self) -> Result<(), E> {
        if !self.trail.depth.is_deep() {
            return Ok(());
        }
        self.expect(false);
        if self.trail.depth.is_too_deep() { Err(E::custom(TOO_DEEP)) } else { Ok(()) }
    }

    #[inline]
    pub(super) fn variant(self, number: u32, name: &'static str) -> Standing<'a> {
        let number = number as usize;
        match self.node {
            SpotKind::Enum(names, spots) if names.get(number).is_some_and(|known| is_named(known, name)) => {
                self.trail.graph.all(spots).get(number).map_or_else(|| self.lose(), |node| self.at(node))
            }
            _ => self.lose(),
        }
    }

    #[inline]
    pub(super) fn inside_newtype(self) -> Standing<'a> {
        match self.node {
            SpotKind::Newtype(inner) => self.to(*inner),
            _ => self.lose(),
        }
    }

    /// Whether JSON writes `null` for some value here.
    #[inline]
    pub(super) fn may_be_null(self) -> bool {
        match self.node {
            SpotKind::Option(_) | SpotKind::Leaf(Leaf::Unit | Leaf::UnitStruct) => true,
            SpotKind::Newtype(inner) => self.to(*inner).may_be_null(),
            _ => false,
        }
    }

    #[inline]
    pub(super) fn is_plain_key(self) -> bool {
        use Leaf::{I8, I16, I32, I64, Text, U8, U16, U32, U64};
        matches!(self.node, SpotKind::Leaf(Text | I8 | I16 | I32 | I64 | U8 | U16 | U32 | U64))
    }
}
