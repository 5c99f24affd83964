//! The structure of a type as a graph, with which a value can be compared while it
//! is written.
//!
//! `trace` adds to the graph what a type's `Deserialize` asks for; `follow` walks
//! through it. A spot where the type's own code takes part (a conversion, a
//! visitor written by hand) stays unknown: what it makes of the bytes can only be
//! seen by decoding them.

use std::any::type_name;
use std::collections::HashMap;
use std::ops::Range;

use serde::de::Visitor;

/// The structure of a type. A spot in it is the index of a node.
#[derive(Debug, Default)]
pub(in crate::codec) struct Graph {
    nodes: Vec<SpotKind>,
}

/// What is known of one spot in a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::codec) enum SpotKind {
    Unknown,
    Leaf(Leaf),
    Option(usize),
    Newtype(usize),
    Seq(usize),
    Map(usize, usize),
    Tuple(Range<usize>),
    Struct(&'static [&'static str], Range<usize>),
    /// The variants in the order of their numbers.
    Enum(&'static [&'static str], Range<usize>),
}

/// A spot without others inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::codec) enum Leaf {
    Bool,
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    U128,
    F32,
    F64,
    Char,
    Text,
    Bytes,
    Unit,
    UnitStruct,
    UnitVariant,
}

/// The spot of the whole value.
pub(in crate::codec) const ROOT: usize = 0;
/// The parts of larger tuples are not told apart.
const MOST_PARTS: usize = 256;
static UNKNOWN: SpotKind = SpotKind::Unknown;

impl Graph {
    /// The graph of a type of which nothing is known.
    pub(super) const EMPTY: Graph = Graph { nodes: Vec::new() };

    #[inline]
    pub(in crate::codec) fn at(&self, spot: usize) -> &SpotKind {
        self.nodes.get(spot).unwrap_or(&UNKNOWN)
    }

    /// Returns the nodes of the parts of a spot.
    #[inline]
    pub(in crate::codec) fn all(&self, spots: &Range<usize>) -> &[SpotKind] {
        self.nodes.get(spots.clone()).unwrap_or_default()
    }
}

/// A graph that is being traced.
#[derive(Debug)]
pub(super) struct GraphBuilder {
    /// `None`: not reached yet.
    spots: Vec<Option<SpotKind>>,
    /// The spots of a type's parts, by the name of the type's visitor and of the
    /// variant: a type that contains itself has them only once.
    known: HashMap<(&'static str, Option<usize>), SpotKind>,
}

impl Default for GraphBuilder {
    fn default() -> Self {
        GraphBuilder { spots: vec![None], known: HashMap::new() }
    }
}

/// A spot while it is being traced.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spot {
    pub(super) index: usize,
    /// The name of the type that is read there.
    pub(super) asked: &'static str,
}

/// The reader of a spot: the names of a visitor's type and of the type it returns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader {
    pub(super) visitor: &'static str,
    pub(super) yields: &'static str,
}

impl Reader {
    pub(super) fn of<'de, V: Visitor<'de>>() -> Self {
        Reader { visitor: type_name::<V>(), yields: type_name::<V::Value>() }
    }

    /// Names the type inside of the option that is returned.
    pub(super) fn optional(self) -> &'static str {
        let inner = self.yields.strip_prefix("core::option::Option<");
        inner.and_then(|inner| inner.strip_suffix('>')).unwrap_or_default()
    }

    /// Whether serde's own code reads the spot, and what it returns is the value:
    /// then equal calls mean equal values.
    fn is_serdes_own(self, asked: &str) -> bool {
        is_serdes(self.visitor) && same_type(asked, self.yields)
    }

    /// Whether the type's own code makes the value of what the visitor returns: it is
    /// converted, or a field has a function that reads it.
    pub(super) fn is_converted(self, asked: &str) -> bool {
        let inner = seen_through(asked);
        let is_std = |name: &str| ["alloc::", "core::", "std::"].iter().any(|std| name.starts_with(std));
        !asked.is_empty() && !is_std(inner) && !same_type(asked, self.yields)
    }
}

impl GraphBuilder {
    /// Completes the graph. If the whole type has been `traced`, a struct has no more
    /// fields than were read: a field's other names count as fields too.
    pub(super) fn finish(self, traced: bool) -> Graph {
        let is_read: Vec<bool> = self.spots.iter().map(Option::is_some).collect();
        let completed = |node: Option<SpotKind>| match node.unwrap_or(SpotKind::Unknown) {
            SpotKind::Struct(names, mut spots) if traced => {
                spots.end = spots.clone().rfind(|spot| is_read[*spot]).map_or(spots.start, |last| last + 1);
                SpotKind::Struct(names, spots)
            }
            node => node,
        };
        Graph { nodes: self.spots.into_iter().map(completed).collect() }
    }

    /// Adds a spot that is no part of the type.
    pub(super) fn elsewhere(&mut self) -> usize {
        self.spots.push(None);
        self.spots.len() - 1
    }

    /// Notes what is read at a spot.
    pub(super) fn leaf(&mut self, at: Spot, leaf: Leaf, reader: Reader) {
        let node = if reader.is_serdes_own(at.asked) { SpotKind::Leaf(leaf) } else { SpotKind::Unknown };
        self.settle(at.index, node);
    }

    /// Notes the parts of a spot; returns their spots. `build` makes a node of
    /// as many spots. `variant` is the variant that has the parts.
    pub(super) fn parts(
        &mut self,
        at: Spot,
        reader: Reader,
        variant: Option<usize>,
        count: usize,
        build: impl FnOnce(Range<usize>) -> SpotKind,
    ) -> Range<usize> {
        let first = self.spots.len();
        if count > MOST_PARTS {
            self.settle(at.index, SpotKind::Unknown);
            self.spots.resize(first + count, None);
            return first..first + count;
        }
        let fresh = build(first..first + count);
        let is_known = reader.is_serdes_own(at.asked) || (variant.is_some() && is_serdes(reader.visitor));
        let known = self.known.get(&(reader.visitor, variant)).filter(|known| known.is_like(&fresh));
        let node = match (is_known, known) {
            (true, Some(known)) => known.clone(),
            (is_known, _) => {
                self.spots.resize(first + count, None);
                if is_known {
                    self.known.insert((reader.visitor, variant), fresh.clone());
                }
                fresh
            }
        };
        let spots = node.spots();
        self.settle(at.index, if is_known { node } else { SpotKind::Unknown });
        spots
    }

    /// Settles what a spot holds. Two runs that find different things there leave it unknown.
    pub(super) fn settle(&mut self, index: usize, node: SpotKind) {
        let spot = &mut self.spots[index];
        match spot {
            Some(known) if *known != node => *spot = Some(SpotKind::Unknown),
            _ => *spot = Some(node),
        }
    }
}

impl SpotKind {
    fn spots(&self) -> Range<usize> {
        match self {
            SpotKind::Unknown | SpotKind::Leaf(_) => 0..0,
            SpotKind::Option(one) | SpotKind::Newtype(one) | SpotKind::Seq(one) => *one..*one + 1,
            SpotKind::Map(key, value) => *key..*value + 1,
            SpotKind::Tuple(spots) | SpotKind::Struct(_, spots) | SpotKind::Enum(_, spots) => spots.clone(),
        }
    }

    /// Whether both are the same but for the spots of their parts.
    fn is_like(&self, other: &SpotKind) -> bool {
        let names_and_count = |node: &SpotKind| match node {
            SpotKind::Struct(names, spots) | SpotKind::Enum(names, spots) => (*names, spots.len()),
            node => (&[][..], node.spots().len()),
        };
        std::mem::discriminant(self) == std::mem::discriminant(other) && names_and_count(self) == names_and_count(other)
    }
}

/// Whether a visitor is one that serde derives.
pub(super) fn is_derived(visitor: &str) -> bool {
    without_generics(visitor).ends_with("::__Visitor")
}

/// Whether a visitor is one that serde has or derives.
pub(super) fn is_serdes(visitor: &str) -> bool {
    ["serde::", "serde_core::", "serde_bytes::"].iter().any(|own| visitor.starts_with(own)) || is_derived(visitor)
}

/// Cuts the generic arguments of a path's last segment.
fn without_generics(path: &str) -> &str {
    if !path.ends_with('>') {
        return path;
    }
    let mut depth = 0_u32;
    let opening = path.bytes().rposition(|byte| {
        match byte {
            b'>' => depth += 1,
            b'<' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    &path[..opening.unwrap_or(path.len())]
}

/// Returns whether the types are the same, but for pointers and cells around the value that
/// serde sees through.
fn same_type(asked: &str, yields: &str) -> bool {
    let mut asked = asked;
    loop {
        if asked == yields || (asked, yields) == ("str", "alloc::string::String") {
            return true;
        }
        let slice = asked.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Some(element) = slice
            && yields.strip_prefix("alloc::vec::Vec<").and_then(|rest| rest.strip_suffix('>')) == Some(element)
        {
            return true;
        }
        match within_pointer(asked) {
            Some(inner) => asked = inner,
            None => return false,
        }
    }
}

/// Returns the type behind all pointers and cells that serde sees through.
fn seen_through(asked: &str) -> &str {
    within_pointer(asked).map_or(asked, seen_through)
}

/// Returns the type behind a pointer or in a cell that serde sees through.
fn within_pointer(asked: &str) -> Option<&str> {
    const SEEN_THROUGH: [&str; 11] = [
        "alloc::boxed::Box<",
        "alloc::rc::Rc<",
        "alloc::sync::Arc<",
        "alloc::borrow::Cow<'_, ",
        "alloc::borrow::Cow<",
        "core::cell::Cell<",
        "core::cell::RefCell<",
        "core::num::wrapping::Wrapping<",
        "core::cmp::Reverse<",
        "std::sync::poison::mutex::Mutex<",
        "std::sync::poison::rwlock::RwLock<",
    ];
    SEEN_THROUGH.iter().find_map(|outer| asked.strip_prefix(outer)?.strip_suffix('>'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visitor_is_told_by_its_path() {
        assert!(is_serdes("serde_core::de::impls::<impl serde_core::de::Deserialize for u8>::deserialize::P"));
        assert!(is_serdes("app::_::<impl serde_core::de::Deserialize for app::User<T>>::deserialize::__Visitor<T>"));
        assert!(!is_serdes("app::<impl serde_core::de::Deserialize for app::User>::deserialize::UserVisitor"));
        assert!(!is_serdes("app::Checked<app::_::<impl D for app::User>::deserialize::__Visitor>"));
    }

    #[test]
    fn only_pointers_are_seen_through() {
        assert!(same_type("u8", "u8"));
        assert!(same_type("alloc::sync::Arc<alloc::boxed::Box<u8>>", "u8"));
        assert!(same_type("alloc::boxed::Box<str>", "alloc::string::String"));
        assert!(same_type("alloc::sync::Arc<[u8]>", "alloc::vec::Vec<u8>"));
        assert!(!same_type("app::Id", "u64"));
        assert!(!same_type("core::option::Option<u8>", "u8"));
    }
}
