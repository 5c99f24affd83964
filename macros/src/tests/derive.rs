//! Implementations of `KeyPart` by the kind of type.

use expect_test::expect;
use quote::quote;

use super::assert_derives;

#[test]
fn a_struct_without_the_fields_that_make_no_difference() {
    assert_derives(
        quote! {
            struct User {
                id: u64,
                #[key(skip)]
                seen: Instant,
                r#type: Kind,
            }
        },
        expect![[r#"
            #[automatically_derived]
            impl ::memocached::KeyPart for User {
                fn write(&self, key: &mut ::memocached::KeyWriter) {
                    key.group(
                        [
                            &&self.id as &dyn ::memocached::KeyPart,
                            &&self.r#type as &dyn ::memocached::KeyPart,
                        ] as [&dyn ::memocached::KeyPart; 2usize],
                    );
                }
            }
        "#]],
    );
}

#[test]
fn a_generic_tuple_struct() {
    assert_derives(
        quote! {
            struct Pair<'a, T: Clone = u8, const N: usize = 1>(&'a [T; N], #[key(skip)] f64, u8) where T: Copy;
        },
        expect![[r#"
            #[automatically_derived]
            impl<'a, T: Clone + ::memocached::KeyPart, const N: usize> ::memocached::KeyPart
            for Pair<'a, T, N>
            where
                T: Copy,
            {
                fn write(&self, key: &mut ::memocached::KeyWriter) {
                    key.group(
                        [
                            &&self.0 as &dyn ::memocached::KeyPart,
                            &&self.2 as &dyn ::memocached::KeyPart,
                        ] as [&dyn ::memocached::KeyPart; 2usize],
                    );
                }
            }
        "#]],
    );
}

#[test]
fn an_enum_with_every_kind_of_variant() {
    assert_derives(
        quote! {
            #[key(crate = prelude::memocached)]
            enum Request<T> {
                All,
                r#Match(u32, #[key(skip)] f64, #[key(bits)] f64),
                Named { name: String, #[key(skip)] trace: u8, page: Option<T> },
            }
        },
        expect![[r##"
            #[automatically_derived]
            impl<T: prelude::memocached::KeyPart> prelude::memocached::KeyPart for Request<T> {
                fn write(&self, key: &mut prelude::memocached::KeyWriter) {
                    match self {
                        Self::All {} => {
                            key.variant("All", [] as [&dyn prelude::memocached::KeyPart; 0usize])
                        }
                        Self::r#Match { 0: field_0, 1: _, 2: field_2 } => {
                            key.variant(
                                "Match",
                                [
                                    &field_0 as &dyn prelude::memocached::KeyPart,
                                    &prelude::memocached::private::bits(field_2)
                                        as &dyn prelude::memocached::KeyPart,
                                ] as [&dyn prelude::memocached::KeyPart; 2usize],
                            )
                        }
                        Self::Named { name: field_0, trace: _, page: field_2 } => {
                            key.variant(
                                "Named",
                                [
                                    &field_0 as &dyn prelude::memocached::KeyPart,
                                    &field_2 as &dyn prelude::memocached::KeyPart,
                                ] as [&dyn prelude::memocached::KeyPart; 2usize],
                            )
                        }
                    }
                }
            }
        "##]],
    );
}

#[test]
fn an_enum_without_variants_and_a_struct_without_fields() {
    assert_derives(
        quote! { enum Never {} },
        expect![[r#"
            #[automatically_derived]
            impl ::memocached::KeyPart for Never {
                fn write(&self, key: &mut ::memocached::KeyWriter) {
                    match *self {}
                }
            }
        "#]],
    );
    assert_derives(
        quote! { struct Unit; },
        expect![[r#"
            #[automatically_derived]
            impl ::memocached::KeyPart for Unit {
                fn write(&self, key: &mut ::memocached::KeyWriter) {
                    key.group([] as [&dyn ::memocached::KeyPart; 0usize]);
                }
            }
        "#]],
    );
}

#[test]
fn mistakes_are_told_at_once() {
    assert_derives(
        quote! {
            #[key(skip)]
            struct S {
                #[key(sha)]
                a: u8,
                #[key = "x"]
                b: u8,
            }
        },
        expect![[r#"
            ::core::compile_error! {
                "on a type, `#[key(..)]` takes `crate = path` only"
            }
            ::core::compile_error! {
                "unknown option `sha`; the options are `display`, `debug`, `hash`, `bits` and `skip`"
            }
            ::core::compile_error! {
                "expected parentheses: #[key(...)]"
            }
            #[automatically_derived]
            impl ::memocached::KeyPart for S {
                fn write(&self, key: &mut ::memocached::KeyWriter) {
                    let _ = key;
                }
            }
        "#]],
    );
    assert_derives(
        quote! { enum E { #[key(skip)] A(u8) } },
        expect![[r#"
            ::core::compile_error! {
                "a variant is always part of the key; `#[key(..)]` goes on its fields"
            }
            #[automatically_derived]
            impl ::memocached::KeyPart for E {
                fn write(&self, key: &mut ::memocached::KeyWriter) {
                    let _ = key;
                }
            }
        "#]],
    );
    assert_derives(
        quote! { union U { a: u8, b: i8 } },
        expect![[r#"
            ::core::compile_error! {
                "a union does not say which of its fields is valid; implement `KeyPart` by hand"
            }
            #[automatically_derived]
            impl ::memocached::KeyPart for U {
                fn write(&self, key: &mut ::memocached::KeyWriter) {
                    let _ = key;
                }
            }
        "#]],
    );
}
