//! The key of a call, which no two different calls share.
//!
//! This folder ensures that the text is injective and safe on the wire: bytes
//! `!` to `~`, no spaces. Which arguments go into a key is up to the attribute.

mod builder;
#[cfg(any(test, fuzzing))]
pub(crate) mod calls;
pub(crate) mod format;
#[cfg(test)]
mod injective;
mod part;
mod writer;

use xxhash_rust::xxh3::xxh3_128_with_seed;

pub(crate) use builder::KeyBuilder;
pub use format::Bits;
pub use writer::{KeyPart, KeyWriter};

/// Returns the prefix that a namespace gives each key, in two pieces.
pub(crate) fn prefix(namespace: &str) -> [&str; 2] {
    [namespace, if namespace.is_empty() { "" } else { ":" }]
}

/// The rendered key of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// The key as memcached gets it.
    wire: String,
    /// Where the key begins after the namespace, in bytes.
    start: usize,
    /// The full key, if `wire` holds only a prefix and a hash of it.
    full: Option<String>,
    /// Distinguishes the types that implement one trait's method under the same
    /// key; 0 for other functions.
    owner: u64,
}

impl Key {
    /// Returns the key as memcached gets it, with the namespace: at most 250 bytes.
    pub(crate) fn wire(&self) -> &str {
        &self.wire
    }

    /// Returns the same, without the rest.
    pub(crate) fn into_wire(self) -> String {
        self.wire
    }

    /// Returns the key as the template renders it, without the namespace.
    pub(crate) fn text(&self) -> &str {
        let (full, start) = self.full();
        &full[start..]
    }

    /// Returns the number that identifies `Self` in the envelope where the key
    /// does not name it.
    pub(crate) fn owner(&self) -> u64 {
        self.owner
    }

    /// Returns the hash that the envelope carries, so that a value whose key is the
    /// same only on the wire is not mistaken for this call's.
    pub(crate) fn fingerprint(&self) -> u128 {
        let (text, start) = self.full();
        // The seed tells key `b:c` in namespace `a` from key `c` in `a:b`.
        xxh3_128_with_seed(text.as_bytes(), start as u64)
    }

    /// Returns namespace and key at full length, and where the key begins.
    pub(crate) fn full(&self) -> (&str, usize) {
        (self.full.as_deref().unwrap_or(&self.wire), self.start)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::collections::{BTreeMap, BTreeSet, HashMap};
    use std::fmt;

    use proptest::prelude::*;

    use super::builder::{around, has};
    use super::*;
    use crate::exchange::MAX_KEY;

    fn render(write: impl FnOnce(&mut KeyBuilder)) -> Key {
        let mut key = KeyBuilder::new("");
        write(&mut key);
        key.finish().expect("every value can be written")
    }

    fn part(value: &impl KeyPart) -> String {
        render(|key| key.part(value)).wire
    }

    #[test]
    fn a_number_after_a_literal_is_readable() {
        let key = render(|key| {
            key.literal("fib:");
            key.part(&30_u64);
        });
        assert_eq!(key.wire(), "fib:30");
    }

    #[test]
    fn similar_values_have_different_keys() {
        assert_ne!(part(&("ab", "c")), part(&("a", "bc")));
        assert_ne!(part(&None::<&str>), part(&Some("None")));
        assert_ne!(part(&None::<&str>), part(&Some("~")));
        assert_ne!(part(&None::<&str>), part(&Some("")));
        assert_ne!(part(&Some(None::<u8>)), part(&None::<Option<u8>>));
        assert_ne!(part(&vec!["a", "b"]), part(&vec!["a,b"]));
        assert_ne!(part(&vec![""]), part(&Vec::<&str>::new()));
    }

    #[test]
    fn values_written_piece_by_piece_have_different_keys() {
        struct Pair(&'static str, &'static str);
        impl KeyPart for Pair {
            fn write(&self, key: &mut KeyWriter) {
                key.leaf(self.0);
                self.1.write(key);
            }
        }
        assert_ne!(part(&Pair("ab", "c")), part(&Pair("a", "bc")));
        assert_ne!(part(&Pair("ab", "")), part(&Pair("", "ab")));
        let until = |pair: &Pair, next: &str| {
            render(|key| {
                key.until(b'-').part(pair);
                key.literal("-");
                key.part(next);
            })
        };
        assert_ne!(until(&Pair("a", "1-2"), "3"), until(&Pair("a", "1"), "2-3"));
    }

    #[test]
    fn no_key_is_empty() {
        assert_eq!(part(&""), "%");
        assert_ne!(part(&""), part(&"%"));
    }

    #[test]
    fn maps_with_the_same_entries_have_the_same_key() {
        let pairs = [("b", 2), ("a", 1), ("c", 3)];
        let hashed: HashMap<_, _> = pairs.into_iter().collect();
        let sorted: BTreeMap<_, _> = pairs.into_iter().collect();
        assert_eq!(part(&hashed), "{a=1,b=2,c=3}");
        assert_eq!(part(&hashed), part(&sorted));
    }

    #[test]
    fn a_namespace_is_on_the_wire_only() {
        let mut key = KeyBuilder::new("shop");
        key.literal("fib:");
        key.part(&30_u64);
        let key = key.finish().unwrap();
        assert_eq!((key.wire(), key.text()), ("shop:fib:30", "fib:30"));
    }

    #[test]
    fn a_long_key_is_a_prefix_and_a_hash() {
        let long = |tail: &str| render(|key| key.part(&format!("{}{tail}", "x".repeat(300))));
        let (a, b) = (long("a"), long("b"));
        assert_eq!(a.wire().len(), 250);
        assert_ne!(a.wire(), b.wire());
        assert_ne!(a.fingerprint(), b.fingerprint());
        assert!(a.text().ends_with("xa"));
    }

    #[test]
    fn the_path_around_a_function_has_the_generics_of_its_type_and_not_its_own() {
        assert_eq!(around("app::fib::{{closure}}"), "app");
        assert_eq!(around("app::fib<u8, 3>::{{closure}}::{{closure}}"), "app");
        assert_eq!(around("app::Repo<a::B>::load<T>::{{closure}}"), "app::Repo<a::B>");
        assert_eq!(around("<app::One as app::Named>::of::{{closure}}"), "<app::One as app::Named>");
        assert_eq!(around("app::fib<a::B, [c::D; 3], (e::F,), fn() -> g::H>::{{closure}}"), "app");
        assert_eq!(around("<app::R<fn() -> a::B> as app::N>::of::{{closure}}"), "<app::R<fn() -> a::B> as app::N>");
    }

    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    struct Refuses;

    impl fmt::Display for Refuses {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Err(fmt::Error)
        }
    }

    impl KeyPart for Refuses {
        fn write(&self, key: &mut KeyWriter) {
            key.formatted(format_args!("{self}"));
        }
    }

    #[test]
    fn a_display_that_fails_gives_no_key() {
        let mut key = KeyBuilder::new("");
        key.display(&Refuses);
        assert_eq!(key.finish(), None);
    }

    #[test]
    fn the_text_of_a_value_is_stable_across_versions() {
        let texts = [
            (part(&true), "true"),
            (part(&-5), "-5"),
            (part(&"a b/é"), "a%20b%2F%C3%A9"),
            (part(&(1, "a", ())), "(1,a,())"),
            (part(&["a", "", "b"]), "[a,%,b]"),
            (part(&BTreeMap::from([("a", 1), ("b", 2)])), "{a=1,b=2}"),
            (part(&BTreeSet::from(["b", "", "a"])), "{%,a,b}"),
            (part(&[Some(Some(1)), Some(None), None]), "[1,~~,~]"),
            (render(|key| key.until(b'-').part(&BTreeSet::from(["a-b"]))).wire, "{a%2Db}"),
            (render(|key| key.display(&"a b")).wire, "a%20b"),
            (render(|key| key.debug(&"a b")).wire, "%22a%20b%22"),
            (render(|key| key.bits(&&0.1_f32)).wire, "000000003DCCCCCD"),
            (render(|key| key.bits(&&0.1_f64)).wire, "3FB999999999999A"),
            (render(|key| key.hash(&7_u8)).wire, "CA358758F6D27E6CF45272937977A748"),
            (render(|key| key.type_name::<str>()).wire, "str"),
            (render(|key| key.type_of(&7_u8)).wire, "u8"),
        ];
        for (text, expected) in &texts {
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn a_minus_sign_does_not_end_a_value() {
        enum Id {
            Number(i8),
            None,
        }
        impl KeyPart for Id {
            fn write(&self, key: &mut KeyWriter) {
                match self {
                    Id::Number(number) => number.write(key),
                    Id::None => key.leaf(""),
                }
            }
        }
        let two = |id: &Id, next: &str| {
            render(|key| {
                key.until(b'-').part(id);
                key.literal("-");
                key.part(next);
            })
        };
        assert_ne!(two(&Id::Number(-1), "2"), two(&Id::None, "1-2"));
    }

    #[test]
    fn a_function_is_named_by_its_path_and_by_its_position_inside_another() {
        let name = |around: &str, module: &str| {
            let position = Some((module, 30, 4));
            render(|key| key.function_in(around, "fib", position)).wire
        };
        assert_eq!(render(|key| key.function(&|| (), "fib", None)).wire, "memocached%3A%3Akey%3A%3Atests::fib");
        assert_eq!(name("app", "app"), "app::fib");
        assert_eq!(name("app::main", "app"), "app%3A%3Amain::fib%2330.4");
    }

    #[test]
    fn a_method_has_separate_entries_for_each_type() {
        let key = |closure: &str| {
            render(|key| {
                key.literal("name");
                key.owner_of(closure);
            })
        };
        let one = key("<app::One as app::Named>::name::{{closure}}");
        let two = key("<app::Two as app::Named>::name::{{closure}}");
        assert_eq!((one.wire(), two.wire()), ("name", "name"));
        assert_ne!(one.owner(), two.owner());
        let method = key("app::One::name::{{closure}}");
        assert_eq!((method.wire(), method.owner()), ("name", 0));
        for owner in ["app::Repo<u8>", "<app::Repo<u8> as app::Named>"] {
            let of_type = |generic: &str| key(&format!("{}::name::{{{{closure}}}}", owner.replace("u8", generic)));
            assert_ne!(of_type("u8").wire(), of_type("u16").wire());
        }
        struct Generic<T>(T);
        impl<T> Generic<T> {
            fn key(&self) -> Key {
                render(|key| key.owner(&|| ()))
            }
        }
        assert_ne!(Generic(1_u8).key(), Generic(1_u16).key());
    }

    #[test]
    fn a_type_has_one_name_wherever_its_impl_stands_and_whatever_the_compiler_says_of_lifetimes() {
        let key = |closure: &str| {
            let key = render(|key| {
                key.literal("name");
                key.owner_of(&format!("{closure}::name::{{{{closure}}}}"));
            });
            (key.wire.clone(), key.owner())
        };
        for method in ["app::b::<impl app::a::One>", "app::<impl app::One<'_>>", "app::One<'_>", "app::One<'_, '_>"] {
            assert_eq!(key(method), ("name".into(), 0), "{method}");
        }
        let same = [
            ("app::b::<impl app::a::Repo<'_, u8>>", "app::a::Repo<u8>"),
            ("app::b::<impl app::a::Repo<u8>>::outer", "app::a::Repo<u8>::outer"),
            ("app::b::<impl app::Named for app::One>", "<app::One as app::Named>"),
            ("app::b::<impl app::Named for app::One<'_>>", "<app::One as app::Named>"),
            ("app::b::<impl app::Of<app::C> for fn(&'_ u8) -> D>", "<fn(&u8) -> D as app::Of<app::C>>"),
            ("<app::Repo<'_, u8> as app::Named<'_>>", "<app::Repo<u8> as app::Named>"),
        ];
        for (one, other) in same {
            assert_eq!(key(one), key(other), "{one}");
        }
        assert_ne!(key("app::Sign<'_'>"), key("app::Sign"));
        assert_eq!(render(|key| key.type_name::<Cow<'_, str>>()).wire, "alloc%3A%3Aborrow%3A%3ACow%3Cstr%3E");
        assert_eq!(render(|key| key.function_in("app::One<'_>", "name", None)).wire, "app%3A%3AOne::name");
    }

    #[test]
    fn an_element_that_cannot_be_written_gives_no_key() {
        let mut key = KeyBuilder::new("");
        key.part(&BTreeSet::from([Refuses]));
        assert_eq!(key.finish(), None);
    }

    #[test]
    fn no_key_is_stored_as_a_longer_one_that_was_shortened() {
        let long = render(|key| key.literal(&"a".repeat(MAX_KEY + 1)));
        let short = render(|key| {
            key.literal(long.wire());
            assert_eq!(key.wire(), None);
        });
        assert_eq!((long.wire().len(), short.wire().len()), (MAX_KEY, MAX_KEY));
        assert_ne!(short.wire(), long.wire());
    }

    proptest! {
        #[test]
        fn a_byte_is_found_wherever_it_is(text in "[;<=|\u{bc}\0]{0,20}", byte in prop::sample::select(b"<;\0\xbc".to_vec())) {
            prop_assert_eq!(has(&text, byte), text.as_bytes().contains(&byte));
        }

        #[test]
        fn any_text_is_safe_on_the_wire(text in any::<String>(), bytes in any::<Vec<u8>>()) {
            let key = render(|key| { key.part(&text); key.literal(":"); key.part(&bytes); });
            prop_assert!(key.wire().len() <= MAX_KEY);
            prop_assert!(key.wire().bytes().all(|b| b.is_ascii_graphic()));
        }

        #[test]
        fn different_arguments_give_different_keys(
            a in ("[-:~a,x]{0,3}", any::<Option<Option<u8>>>(), prop::collection::vec("[,a~]{0,2}", 0..3)),
            b in ("[-:~a,x]{0,3}", any::<Option<Option<u8>>>(), prop::collection::vec("[,a~]{0,2}", 0..3)),
        ) {
            let render = |(x, y, z): &(String, Option<Option<u8>>, Vec<String>)| render(|key| {
                key.until(b'-').part(x);
                key.literal("x-");
                key.part(y);
                key.literal(",");
                key.part(z);
            });
            prop_assert_eq!(a == b, render(&a) == render(&b));
        }
    }
}
