//! Which types have the same fingerprint, and what is asked of them for it.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZero;

use serde::Deserialize;

use super::*;

fn is_complete<T: DeserializeOwned>() -> bool {
    trace::structure(Type::of::<T>()).complete
}

macro_rules! versions {
    ($($name:ident { $($item:item)* })*) => {$( mod $name { use super::*; $(#[derive(Deserialize)] $item)* } )*};
}

versions! {
    v1 {
        pub(super) struct User { id: NonZero<u64>, name: String, age: u32, score: u32 }
        pub(super) enum Kind { A, B(u8) }
        pub(super) struct Order { kinds: Vec<Kind>, by_name: HashMap<String, Kind>, note: Option<Kind> }
        pub(super) enum Expr { Add(Box<Expr>, Box<Expr>), Call { arguments: Vec<Expr> }, Literal(i64) }
        pub(super) enum Left { Right(Box<Right>), Left }
        pub(super) enum Right { Left(Box<Left>), Right(u8) }
        pub(super) struct List { value: u8, next: Option<Box<List>> }
    }
    same {
        pub(super) struct User { id: NonZero<u64>, name: String, age: u32, score: u32 }
        pub(super) enum Kind { A, B(u8) }
        pub(super) struct Order { kinds: Vec<Kind>, by_name: HashMap<String, Kind>, note: Option<Kind> }
        pub(super) enum Expr { Add(Box<Expr>, Box<Expr>), Call { arguments: Vec<Expr> }, Literal(i64) }
        pub(super) enum Left { Right(Box<Right>), Left }
        pub(super) enum Right { Left(Box<Left>), Right(u8) }
        pub(super) struct List { value: u8, next: Option<Box<List>> }
    }
    swapped {
        pub(super) struct User { id: NonZero<u64>, name: String, score: u32, age: u32 }
        pub(super) enum Kind { B(u8), A }
        pub(super) struct Order { kinds: Vec<Kind>, note: Option<Kind>, by_name: HashMap<String, Kind> }
        pub(super) enum Expr { Call { arguments: Vec<Expr> }, Add(Box<Expr>, Box<Expr>), Literal(i64) }
        pub(super) struct List { next: Option<Box<List>>, value: u8 }
    }
    dropped {
        pub(super) struct User { id: NonZero<u64>, name: String, age: u32 }
        pub(super) enum Kind { A }
        pub(super) struct Order { kinds: Vec<Kind>, by_name: HashMap<String, Kind> }
        pub(super) enum Expr { Add(Box<Expr>, Box<Expr>), Literal(i64) }
        pub(super) struct List { next: Option<Box<List>> }
    }
    signed {
        pub(super) struct User { id: NonZero<u64>, name: String, age: i32, score: u32 }
        pub(super) enum Kind { A, B(i8) }
        pub(super) struct Order { kinds: Vec<Kind>, by_name: HashMap<String, Kind>, note: Option<Kind> }
        pub(super) enum Expr { Add(Box<Expr>, Box<Expr>), Call { arguments: Vec<Expr> }, Literal(u64) }
        pub(super) enum Left { Right(Box<Right>), Left }
        pub(super) enum Right { Left(Box<Left>), Right(i8) }
        pub(super) struct List { value: i8, next: Option<Box<List>> }
    }
    renamed {
        pub(super) struct User { id: NonZero<u64>, title: String, age: u32, score: u32 }
        pub(super) enum Kind { A, C(u8) }
        pub(super) struct Order { kinds: Vec<Kind>, by_name: HashMap<String, Kind>, remark: Option<Kind> }
        pub(super) enum Expr { Add(Box<Expr>, Box<Expr>), Apply { arguments: Vec<Expr> }, Literal(i64) }
        pub(super) struct List { item: u8, next: Option<Box<List>> }
    }
}

#[test]
fn the_same_structure_elsewhere_has_the_same_fingerprint() {
    assert_eq!(fingerprint::<v1::User>(), fingerprint::<same::User>());
    assert_eq!(fingerprint::<v1::Kind>(), fingerprint::<same::Kind>());
    assert_eq!(fingerprint::<v1::Order>(), fingerprint::<same::Order>());
    assert_eq!(fingerprint::<v1::Expr>(), fingerprint::<same::Expr>());
    assert_eq!(fingerprint::<v1::Left>(), fingerprint::<same::Left>());
    assert_eq!(fingerprint::<v1::List>(), fingerprint::<same::List>());
}

macro_rules! all_differ {
    ($type:ident: $($version:ident),*) => {
        $(assert_ne!(fingerprint::<v1::$type>(), fingerprint::<$version::$type>(), stringify!($version));)*
    };
}

#[test]
fn every_change_of_a_type_changes_the_fingerprint() {
    all_differ!(User: swapped, dropped, signed, renamed);
    all_differ!(Kind: swapped, dropped, signed, renamed);
}

#[test]
fn a_change_deep_inside_changes_the_fingerprint() {
    all_differ!(Order: swapped, dropped, signed, renamed);
    assert_ne!(fingerprint::<Vec<v1::User>>(), fingerprint::<Vec<signed::User>>());
    assert_ne!(fingerprint::<BTreeMap<u8, v1::Kind>>(), fingerprint::<BTreeMap<u8, signed::Kind>>());
    assert_ne!(fingerprint::<Option<u32>>(), fingerprint::<u32>());
    assert_ne!(fingerprint::<(u8, u16)>(), fingerprint::<(u16, u8)>());
}

#[test]
fn recursive_types_are_traced_to_the_end() {
    all_differ!(Expr: swapped, dropped, signed, renamed);
    all_differ!(List: swapped, dropped, signed, renamed);
    all_differ!(Left: signed);
    assert!(is_complete::<v1::Expr>());
    assert!(is_complete::<v1::Left>());
    assert!(is_complete::<v1::List>());
}

#[test]
fn types_that_refuse_zero_are_traced_to_the_end() {
    assert!(is_complete::<(NonZero<u8>, char, std::net::IpAddr, std::time::Duration)>());
    assert_ne!(fingerprint::<(NonZero<u8>, u32)>(), fingerprint::<(NonZero<u8>, i32)>());
}

#[test]
fn a_type_that_cannot_be_traced_is_identified_by_its_name() {
    struct Refuses;
    impl<'de> Deserialize<'de> for Refuses {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom("no"))
        }
    }
    struct Panics;
    impl<'de> Deserialize<'de> for Panics {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("on purpose")
        }
    }
    assert!(!is_complete::<Refuses>());
    assert_ne!(fingerprint::<Refuses>(), fingerprint::<Panics>());
}

/// Types whose own code does not expect what it has never written.
mod own {
    use std::hash::Hash;

    use super::*;

    #[derive(PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
    #[serde(from = "String")]
    pub(super) struct Tag(String);
    impl From<String> for Tag {
        fn from(text: String) -> Self {
            panic!("{text} is no tag")
        }
    }

    #[derive(Deserialize)]
    #[serde(from = "Plain")]
    pub(super) struct Converted;
    #[derive(Deserialize)]
    pub(super) struct Plain {
        number: u8,
        kind: v1::Kind,
    }
    impl From<Plain> for Converted {
        fn from(_: Plain) -> Self {
            panic!("this was never plain")
        }
    }

    #[derive(Deserialize)]
    #[serde(from = "Other")]
    pub(super) struct ConvertedFromOther;
    #[derive(Deserialize)]
    pub(super) struct Other {
        number: u8,
        kind: signed::Kind,
    }
    impl From<Other> for ConvertedFromOther {
        fn from(_: Other) -> Self {
            panic!("this was never other")
        }
    }

    /// Read by a visitor that is written by hand.
    pub(super) struct Parsed;
    impl<'de> Deserialize<'de> for Parsed {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Parser;
            impl serde::de::Visitor<'_> for Parser {
                type Value = Parsed;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a text")
                }
                fn visit_str<E>(self, text: &str) -> Result<Parsed, E> {
                    panic!("{text} is no such text")
                }
            }
            deserializer.deserialize_str(Parser)
        }
    }

    fn read<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(text.strip_prefix('#').expect("a sign").parse().expect("a number"))
    }

    #[derive(Deserialize)]
    pub(super) enum Choice {
        One(Tag),
        Two { tag: Tag, number: u8 },
        Three(u8, Parsed),
        Four,
    }

    #[derive(Deserialize)]
    pub(super) struct All {
        tag: Tag,
        #[serde(deserialize_with = "read", alias = "n")]
        number: u32,
        parsed: Box<Parsed>,
        optional: Option<Tag>,
        list: Vec<Converted>,
        by_tag: HashMap<Tag, u8>,
        tags: BTreeMap<u8, Tag>,
        both: HashMap<Tag, Tag>,
        choices: Vec<Choice>,
        pair: (u8, Tag),
        several: [Tag; 3],
        shared: std::sync::Arc<Vec<Option<Converted>>>,
        last: u16,
    }

    #[derive(Deserialize)]
    pub(super) struct Changed<T> {
        tag: Tag,
        more: T,
    }

    #[derive(Deserialize)]
    pub(super) enum Tree {
        Node(Box<Tree>, Box<Tree>, u8),
        Leaf(Tag),
    }
}

/// Whether tracing a type met code of its own that panics.
fn panics<T: DeserializeOwned>() -> bool {
    catch_unwind(|| trace::structure(Type::of::<T>())).is_err()
}

#[test]
fn no_made_up_value_meets_the_types_own_code() {
    assert!(!panics::<own::Tag>() && is_complete::<own::Tag>());
    assert!(!panics::<own::Converted>() && is_complete::<own::Converted>());
    assert!(!panics::<own::Parsed>() && is_complete::<own::Parsed>());
    assert!(!panics::<own::Choice>() && is_complete::<own::Choice>());
    assert!(!panics::<own::All>() && is_complete::<own::All>());
}

#[test]
fn what_stands_beside_the_types_own_code_is_traced() {
    use own::{Changed, Converted, ConvertedFromOther, Tag};

    assert_eq!(fingerprint::<Changed<v1::Order>>(), fingerprint::<Changed<same::Order>>());
    assert_ne!(fingerprint::<Changed<v1::Order>>(), fingerprint::<Changed<signed::Order>>());
    assert_ne!(fingerprint::<Changed<Converted>>(), fingerprint::<Changed<ConvertedFromOther>>());
    assert_ne!(fingerprint::<Changed<HashMap<Tag, v1::Kind>>>(), fingerprint::<Changed<HashMap<Tag, signed::Kind>>>());
    assert_ne!(fingerprint::<Vec<Changed<u8>>>(), fingerprint::<Vec<Changed<i8>>>());
    assert_ne!(fingerprint::<own::Choice>(), fingerprint::<v1::Kind>());
    assert!(!is_bounded::<Vec<Changed<Vec<()>>>>() && is_bounded::<own::All>());
}

/// Visitors ask for the parts one after the other, so nothing follows one that cannot be
/// made up. The names of the types must do.
#[test]
fn what_stands_behind_the_types_own_code_in_a_tuple_is_told_by_its_name() {
    use own::{Changed, Converted, Parsed, Tag, Tree};

    #[derive(Deserialize)]
    struct Pair(Tag, v1::Kind);

    assert!(!panics::<(Tag, u8)>() && !is_complete::<(Tag, u8)>());
    assert!(!panics::<Vec<(Converted, v1::User)>>() && !is_complete::<Vec<(Converted, v1::User)>>());
    assert!(!panics::<HashMap<String, (u8, Parsed, u8)>>() && !is_complete::<HashMap<String, (u8, Parsed, u8)>>());
    assert!(!panics::<Pair>() && !is_complete::<Pair>());
    assert!(!panics::<Tree>() && !is_complete::<Tree>());
    assert_ne!(fingerprint::<(Tag, u8)>(), fingerprint::<(Tag, i8)>());
    assert_ne!(fingerprint::<Changed<(Tag, u8)>>(), fingerprint::<Changed<(Tag, i8)>>());
    assert_ne!(fingerprint::<(u8, Tag, v1::Kind)>(), fingerprint::<(i8, Tag, v1::Kind)>());
    assert_ne!(fingerprint::<(Tag, v1::Kind)>(), fingerprint::<(Tag, signed::Kind)>());
}

#[test]
fn sequences_whose_elements_take_no_bytes_are_detected() {
    #[derive(PartialEq, Eq, Hash, Deserialize)]
    struct Unit;
    #[derive(Deserialize)]
    struct Empty {
        unit: Unit,
        none: [u8; 0],
    }
    #[derive(Deserialize)]
    struct Deep {
        all: Vec<(u8, Option<Vec<Empty>>)>,
    }
    assert!(!is_bounded::<Vec<()>>());
    assert!(!is_bounded::<std::collections::HashSet<Unit>>());
    assert!(!is_bounded::<HashMap<(), Unit>>());
    assert!(!is_bounded::<Deep>());
    assert!(is_bounded::<(Unit, [(); 3], Vec<u8>, Vec<Option<()>>, Vec<Vec<u8>>, HashMap<(), u8>, String)>());
    assert!(is_bounded::<v1::Order>() && is_bounded::<v1::Expr>());
}

#[test]
fn tracing_gives_up_on_an_endless_type() {
    #[derive(Deserialize)]
    struct Endless {
        inner: Box<Endless>,
    }
    assert!(!is_complete::<Endless>());
}
