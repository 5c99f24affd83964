//! Expansions by what the key is made of: template, parameters, generics, or
//! nothing that is written.

use expect_test::expect;
use quote::quote;

use super::{assert_expands, expanded};

#[test]
fn a_function_with_a_key_and_a_ttl() {
    assert_expands(
        quote! {
            #[memcached(key = "fib:<n>", ttl = 300)]
            /// Fibonacci's.
            #[must_use]
            pub fn fib(n: u64) -> u64 {
                if n < 2 { n } else { fib(n - 1) + fib(n - 2) }
            }
        },
        expect![[r#"
            /// Fibonacci's.
            #[must_use]
            pub fn fib(n: u64) -> u64 {
                ::memocached::private::readied(|| {
                        let __memocached_call = ::memocached::private::Address::begin({
                                static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                    function: "fib",
                                    path: ::core::concat!(::core::module_path!(), "::", "fib"),
                                    name: ::core::concat!(::core::module_path!(), "::", "fib"),
                                    template: "fib:<n>",
                                    ttl: ::memocached::private::SiteTtl::Millis(300000u64),
                                    version: 0u32,
                                    file: ::core::file!(),
                                    line: ::core::line!(),
                                });
                                &SITE
                            })
                            .key(
                                &mut |__memocached_key| {
                                    __memocached_key.literal("fib:");
                                    __memocached_key.part(&n);
                                    __memocached_key.owner(&|| ());
                                },
                            );
                        ::memocached::private::ready(
                            __memocached_call
                                .shaped({
                                    use ::memocached::private::shapes::*;
                                    (&&&&&&::memocached::private::Probe::<u64>::NEW)
                                        .__memocached_shape()
                                }),
                        )
                    })
                    .run(move || -> u64 { if n < 2 { n } else { fib(n - 1) + fib(n - 2) } })
            }
        "#]],
    );
}

#[test]
fn a_method_with_fields_and_calls_in_its_key() {
    assert_expands(
        quote! {
            #[memcached(key = "price:<self.tenant>/<item.id>-<item.kind()>")]
            fn price(&self, item: &Item) -> Price {
                self.compute(item)
            }
        },
        expect![[r#"
            fn price(&self, item: &Item) -> Price {
                ::memocached::private::readied(|| {
                        let __memocached_call = ::memocached::private::Address::begin({
                                static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                    function: "price",
                                    path: ::core::concat!(::core::module_path!(), "::", "price"),
                                    name: ::core::concat!(::core::module_path!(), "::", "price"),
                                    template: "price:<self.tenant>/<item.id>-<item.kind()>",
                                    ttl: ::memocached::private::SiteTtl::Unset,
                                    version: 0u32,
                                    file: ::core::file!(),
                                    line: ::core::line!(),
                                });
                                &SITE
                            })
                            .key(
                                &mut |__memocached_key| {
                                    __memocached_key.literal("price:");
                                    __memocached_key.until(47u8).part(&self.tenant);
                                    __memocached_key.literal("/");
                                    __memocached_key.until(45u8).part(&item.id);
                                    __memocached_key.literal("-");
                                    __memocached_key.part(&item.kind());
                                    __memocached_key.owner(&|| ());
                                },
                            );
                        ::memocached::private::ready(
                            __memocached_call
                                .shaped({
                                    use ::memocached::private::shapes::*;
                                    (&&&&&&::memocached::private::Probe::<Price>::NEW)
                                        .__memocached_shape()
                                }),
                        )
                    })
                    .run(move || -> Price { self.compute(item) })
            }
        "#]],
    );
}

#[test]
fn formats_and_the_separator_that_ends_each_value() {
    assert_expands(
        quote! {
            #[memcached(key = "<a:bits>/<b:debug>;<c:display><<<d:hash>")]
            fn formats(a: f64, b: Vec<u8>, c: &str, d: (u8, char)) -> u8 {
                1
            }
        },
        expect![[r#"
            fn formats(a: f64, b: Vec<u8>, c: &str, d: (u8, char)) -> u8 {
                ::memocached::private::readied(|| {
                        let __memocached_call = ::memocached::private::Address::begin({
                                static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                    function: "formats",
                                    path: ::core::concat!(::core::module_path!(), "::", "formats"),
                                    name: ::core::concat!(::core::module_path!(), "::", "formats"),
                                    template: "<a:bits>/<b:debug>;<c:display><<<d:hash>",
                                    ttl: ::memocached::private::SiteTtl::Unset,
                                    version: 0u32,
                                    file: ::core::file!(),
                                    line: ::core::line!(),
                                });
                                &SITE
                            })
                            .key(
                                &mut |__memocached_key| {
                                    __memocached_key.until(47u8).bits(&a);
                                    __memocached_key.literal("/");
                                    __memocached_key.until(59u8).debug(&b);
                                    __memocached_key.literal(";");
                                    __memocached_key.until(60u8).display(&c);
                                    __memocached_key.literal("<");
                                    __memocached_key.hash(&d);
                                    __memocached_key.owner(&|| ());
                                },
                            );
                        ::memocached::private::ready(
                            __memocached_call
                                .shaped({
                                    use ::memocached::private::shapes::*;
                                    (&&&&&&::memocached::private::Probe::<u8>::NEW)
                                        .__memocached_shape()
                                }),
                        )
                    })
                    .run(move || -> u8 { 1 })
            }
        "#]],
    );
}

#[test]
fn patterns_and_mutable_and_unread_parameters() {
    assert_expands(
        quote! {
            #[memcached(key = "patterns:<a>,<x>:<n>", skip(b, total))]
            fn patterns((a, b): (u8, u8), Point { x, .. }: Point, mut n: u64, _unread: &str, total: &mut u64) -> u64 {
                n += u64::from(a + b + x);
                *total += n;
                n
            }
        },
        expect![[r#"
            fn patterns(
                (a, b): (u8, u8),
                Point { x, .. }: Point,
                mut n: u64,
                _unread: &str,
                total: &mut u64,
            ) -> u64 {
                ::memocached::private::readied(|| {
                        let __memocached_call = ::memocached::private::Address::begin({
                                static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                    function: "patterns",
                                    path: ::core::concat!(::core::module_path!(), "::", "patterns"),
                                    name: ::core::concat!(::core::module_path!(), "::", "patterns"),
                                    template: "patterns:<a>,<x>:<n>",
                                    ttl: ::memocached::private::SiteTtl::Unset,
                                    version: 0u32,
                                    file: ::core::file!(),
                                    line: ::core::line!(),
                                });
                                &SITE
                            })
                            .key(
                                &mut |__memocached_key| {
                                    __memocached_key.literal("patterns:");
                                    __memocached_key.until(44u8).part(&a);
                                    __memocached_key.literal(",");
                                    __memocached_key.until(58u8).part(&x);
                                    __memocached_key.literal(":");
                                    __memocached_key.part(&n);
                                    __memocached_key.owner(&|| ());
                                },
                            );
                        ::memocached::private::ready(
                            __memocached_call
                                .shaped({
                                    use ::memocached::private::shapes::*;
                                    (&&&&&&::memocached::private::Probe::<u64>::NEW)
                                        .__memocached_shape()
                                }),
                        )
                    })
                    .run(move || -> u64 {
                        n += u64::from(a + b + x);
                        *total += n;
                        n
                    })
            }
        "#]],
    );
}

#[test]
fn raw_names_and_parameters_that_may_not_be_there() {
    assert_expands(
        quote! {
            #[memcached(key = "raw:<r#in>:<off>")]
            fn r#match(r#in: u8, #[cfg(feature = "off")] off: impl Area) -> u8 {
                r#in
            }
        },
        expect![[r#"
            fn r#match(r#in: u8, #[cfg(feature = "off")] off: impl Area) -> u8 {
                ::memocached::private::readied(|| {
                        let __memocached_call = ::memocached::private::Address::begin({
                                static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                    function: "match",
                                    path: ::core::concat!(::core::module_path!(), "::", "match"),
                                    name: ::core::concat!(::core::module_path!(), "::", "match"),
                                    template: "raw:<r#in>:<off>",
                                    ttl: ::memocached::private::SiteTtl::Unset,
                                    version: 0u32,
                                    file: ::core::file!(),
                                    line: ::core::line!(),
                                });
                                &SITE
                            })
                            .key(
                                &mut |__memocached_key| {
                                    __memocached_key.literal("raw:");
                                    __memocached_key.until(58u8).part(&r#in);
                                    __memocached_key.literal(":");
                                    #[cfg(feature = "off")] __memocached_key.part(&off);
                                    __memocached_key.literal(";");
                                    #[cfg(feature = "off")] #[allow(clippy::used_underscore_binding)]
                                    __memocached_key.type_of(&off);
                                    __memocached_key.owner(&|| ());
                                },
                            );
                        ::memocached::private::ready(
                            __memocached_call
                                .shaped({
                                    use ::memocached::private::shapes::*;
                                    (&&&&&&::memocached::private::Probe::<u8>::NEW)
                                        .__memocached_shape()
                                }),
                        )
                    })
                    .run(move || -> u8 { r#in })
            }
        "#]],
    );
}

#[test]
fn generic_parameters_stand_behind_a_written_key() {
    assert_expands(
        quote! {
            #[memcached(key = "generic:<value>:<N>")]
            fn generic<'a, T: KeyPart + 'a, const N: usize>(value: &'a T, _area: &impl Area) -> Vec<T>
            where
                T: Clone,
            {
                vec![value.clone(); N]
            }
        },
        expect![[r#"
            fn generic<'a, T: KeyPart + 'a, const N: usize>(
                value: &'a T,
                _area: &impl Area,
            ) -> Vec<T>
            where
                T: Clone,
            {
                ::memocached::private::readied(|| {
                        let __memocached_call = ::memocached::private::Address::begin({
                                static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                    function: "generic",
                                    path: ::core::concat!(::core::module_path!(), "::", "generic"),
                                    name: ::core::concat!(::core::module_path!(), "::", "generic"),
                                    template: "generic:<value>:<N>",
                                    ttl: ::memocached::private::SiteTtl::Unset,
                                    version: 0u32,
                                    file: ::core::file!(),
                                    line: ::core::line!(),
                                });
                                &SITE
                            })
                            .key(
                                &mut |__memocached_key| {
                                    __memocached_key.literal("generic:");
                                    __memocached_key.until(58u8).part(&value);
                                    __memocached_key.literal(":");
                                    __memocached_key.part(&N);
                                    __memocached_key.literal(";");
                                    __memocached_key.type_name::<T>();
                                    __memocached_key.literal(";");
                                    #[allow(clippy::used_underscore_binding)]
                                    __memocached_key.type_of(&_area);
                                    __memocached_key.owner(&|| ());
                                },
                            );
                        ::memocached::private::ready(
                            __memocached_call
                                .shaped({
                                    use ::memocached::private::shapes::*;
                                    (&&&&&&::memocached::private::Probe::<Vec<T>>::NEW)
                                        .__memocached_shape()
                                }),
                        )
                    })
                    .run(move || -> Vec<T> { vec![value.clone(); N] })
            }
        "#]],
    );
}

#[test]
fn without_a_key_it_is_the_path_with_a_fingerprint_and_every_parameter() {
    assert_expands(
        quote! {
            #[memcached]
            fn joined<T: Display>(parts: Vec<T>, (left, right): (char, char), _unread: u8) -> String {
                format!("{left}{}{right}", parts.len())
            }
        },
        expect![[r##"
            fn joined<T: Display>(
                parts: Vec<T>,
                (left, right): (char, char),
                _unread: u8,
            ) -> String {
                ::memocached::private::readied(|| {
                        let __memocached_call = ::memocached::private::Address::begin({
                                static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                    function: "joined",
                                    path: ::core::concat!(::core::module_path!(), "::", "joined"),
                                    name: ::core::concat!(::core::module_path!(), "::", "joined"),
                                    template: ::core::concat!(
                                        ::core::module_path!(), "::", "joined",
                                        ";<T>:<parts>:<left>:<right>"
                                    ),
                                    ttl: ::memocached::private::SiteTtl::Unset,
                                    version: 0u32,
                                    file: ::core::file!(),
                                    line: ::core::line!(),
                                });
                                &SITE
                            })
                            .key(
                                &mut |__memocached_key| {
                                    __memocached_key
                                        .function(
                                            &|| (),
                                            "joined",
                                            ::core::option::Option::Some((
                                                ::core::module_path!(),
                                                ::core::line!(),
                                                ::core::column!(),
                                            )),
                                        );
                                    __memocached_key.literal("#48e595bb");
                                    __memocached_key.literal(";");
                                    __memocached_key.type_name::<T>();
                                    __memocached_key.literal(":");
                                    __memocached_key.part(&parts);
                                    __memocached_key.literal(":");
                                    __memocached_key.part(&left);
                                    __memocached_key.literal(":");
                                    __memocached_key.part(&right);
                                },
                            );
                        ::memocached::private::ready(
                            __memocached_call
                                .shaped({
                                    use ::memocached::private::shapes::*;
                                    (&&&&&&::memocached::private::Probe::<String>::NEW)
                                        .__memocached_shape()
                                }),
                        )
                    })
                    .run(move || -> String { format!("{left}{}{right}", parts.len()) })
            }
        "##]],
    );
}

#[test]
fn without_a_key_a_method_has_its_types_path() {
    assert_expands(
        quote! {
            #[memcached(skip(self))]
            fn doubled(&self, n: u32, of: impl Area) -> u32 {
                self.factor() * n
            }
        },
        expect![[r##"
            fn doubled(&self, n: u32, of: impl Area) -> u32 {
                ::memocached::private::readied(|| {
                        let __memocached_call = ::memocached::private::Address::begin({
                                static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                    function: "doubled",
                                    path: ::core::concat!(::core::module_path!(), "::", "doubled"),
                                    name: ::core::concat!(::core::module_path!(), "::", "doubled"),
                                    template: ::core::concat!(
                                        ::core::module_path!(), "::", "doubled", ":<n>:<of>"
                                    ),
                                    ttl: ::memocached::private::SiteTtl::Unset,
                                    version: 0u32,
                                    file: ::core::file!(),
                                    line: ::core::line!(),
                                });
                                &SITE
                            })
                            .key(
                                &mut |__memocached_key| {
                                    __memocached_key
                                        .function(&|| (), "doubled", ::core::option::Option::None);
                                    __memocached_key.literal("#be22c338");
                                    __memocached_key.literal(";");
                                    #[allow(clippy::used_underscore_binding)]
                                    __memocached_key.type_of(&of);
                                    __memocached_key.literal(":");
                                    __memocached_key.part(&n);
                                    __memocached_key.literal(":");
                                    __memocached_key.part(&of);
                                },
                            );
                        ::memocached::private::ready(
                            __memocached_call
                                .shaped({
                                    use ::memocached::private::shapes::*;
                                    (&&&&&&::memocached::private::Probe::<u32>::NEW)
                                        .__memocached_shape()
                                }),
                        )
                    })
                    .run(move || -> u32 { self.factor() * n })
            }
        "##]],
    );
}

#[test]
fn the_fingerprint_follows_the_tokens_and_not_their_layout() {
    let of = |function: &str| expanded(format!("#[memcached]\n{function}").parse().expect("tokens"));
    let one = of("fn f(n: u8) -> u8 { n + 1 }");
    assert_eq!(one, of("fn f(n: u8) -> u8 { n + 1 }"));
    assert_eq!(one, of("fn f(n : u8)->u8 {\n    // Not a token.\n    n+1\n}"));
    assert_ne!(one, of("fn f(n: u8) -> u8 { n + 2 }"));
}
