//! Expansions by what a site chooses: freshness, condition, veto, codec, cache,
//! crate, label, version, companion.

use expect_test::expect;
use proc_macro2::TokenStream;
use quote::quote;

use super::{assert_expands, expanded};

#[test]
fn a_ttl_in_text() {
    assert_expands(
        quote! {
            #[memcached(key = "<n>", ttl = "1h30m")]
            fn f(n: u8) -> u8 { n }
        },
        expect![[r#"
            fn f(n: u8) -> u8 {
                ::memocached::private::readied(|| {
                        let __memocached_call = ::memocached::private::Address::begin({
                                static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                    function: "f",
                                    path: ::core::concat!(::core::module_path!(), "::", "f"),
                                    name: ::core::concat!(::core::module_path!(), "::", "f"),
                                    template: "<n>",
                                    ttl: ::memocached::private::SiteTtl::Millis(5400000u64),
                                    version: 0u32,
                                    file: ::core::file!(),
                                    line: ::core::line!(),
                                });
                                &SITE
                            })
                            .key(
                                &mut |__memocached_key| {
                                    __memocached_key.part(&n);
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
                    .run(move || -> u8 { n })
            }
        "#]],
    );
}

#[test]
fn times_that_the_value_and_the_error_give() {
    assert_expands(
        quote! {
            #[memcached(
                key = "<n>", ttl = |value| value.time(), grace = 5, cache_err = |error| error.time(),
                stale_if = |error| error.is_hidden(), entry = f_entry
            )]
            fn f(n: u8) -> Result<Value, Error> { n.into() }
        },
        expect![[r#"
            fn f(n: u8) -> Result<Value, Error> {
                ::memocached::private::readied(|| {
                        let __memocached_call = ::memocached::private::Address::begin({
                                static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                    function: "f",
                                    path: ::core::concat!(::core::module_path!(), "::", "f"),
                                    name: ::core::concat!(::core::module_path!(), "::", "f"),
                                    template: "<n>",
                                    ttl: ::memocached::private::SiteTtl::Unset,
                                    version: 0u32,
                                    file: ::core::file!(),
                                    line: ::core::line!(),
                                });
                                &SITE
                            })
                            .grace(::core::time::Duration::from_millis(5000u64))
                            .key(
                                &mut |__memocached_key| {
                                    __memocached_key.part(&n);
                                    __memocached_key.owner(&|| ());
                                },
                            );
                        ::memocached::private::ready(
                            __memocached_call
                                .shaped({
                                    use ::memocached::private::shapes::*;
                                    (&&&&&&::memocached::private::Probe::<Result<Value, Error>>::NEW)
                                        .__memocached_shape()
                                })
                                .lasting(|value| value.time())
                                .stale_if(|error| error.is_hidden())
                                .cache_err_for(
                                    |error| error.time(),
                                    ::memocached::private::Configured,
                                ),
                        )
                    })
                    .run(move || -> Result<Value, Error> { n.into() })
            }
            ///The cache entry of [`f`] called with these arguments.
            #[allow(clippy::too_many_arguments, clippy::unused_self, unused_mut, unused_variables)]
            #[must_use]
            fn f_entry(n: u8) -> ::memocached::Entry<Result<Value, Error>> {
                let __memocached_call = ::memocached::private::Address::of({
                        static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                            function: "f",
                            path: ::core::concat!(::core::module_path!(), "::", "f"),
                            name: ::core::concat!(::core::module_path!(), "::", "f"),
                            template: "<n>",
                            ttl: ::memocached::private::SiteTtl::Unset,
                            version: 0u32,
                            file: ::core::file!(),
                            line: ::core::line!(),
                        });
                        &SITE
                    })
                    .grace(::core::time::Duration::from_millis(5000u64))
                    .key(
                        &mut |__memocached_key| {
                            __memocached_key.part(&n);
                            __memocached_key.owner(&|| ());
                        },
                    );
                ::memocached::Entry::of(
                    ::memocached::private::ready(
                        __memocached_call
                            .shaped({
                                use ::memocached::private::shapes::*;
                                (&&&&&&::memocached::private::Probe::<Result<Value, Error>>::NEW)
                                    .__memocached_shape()
                            })
                            .lasting(|value| value.time()),
                    ),
                )
            }
        "#]],
    );
}

#[test]
fn a_ttl_without_an_end() {
    assert_expands(
        quote! {
            #[memcached(key = "<n>", ttl = forever)]
            fn f(n: u8) -> u8 { n }
        },
        expect![[r#"
            fn f(n: u8) -> u8 {
                ::memocached::private::readied(|| {
                        let __memocached_call = ::memocached::private::Address::begin({
                                static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                    function: "f",
                                    path: ::core::concat!(::core::module_path!(), "::", "f"),
                                    name: ::core::concat!(::core::module_path!(), "::", "f"),
                                    template: "<n>",
                                    ttl: ::memocached::private::SiteTtl::Forever,
                                    version: 0u32,
                                    file: ::core::file!(),
                                    line: ::core::line!(),
                                });
                                &SITE
                            })
                            .key(
                                &mut |__memocached_key| {
                                    __memocached_key.part(&n);
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
                    .run(move || -> u8 { n })
            }
        "#]],
    );
}

#[test]
fn a_ttl_that_is_computed() {
    assert_expands(
        quote! {
            #[memcached(key = "<n>", ttl = if n > 9 { DAY } else { DAY / 2 })]
            fn f(n: u8) -> u8 { n }
        },
        expect![[r#"
            fn f(n: u8) -> u8 {
                ::memocached::private::readied(|| {
                        let __memocached_call = ::memocached::private::Address::begin({
                                static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                    function: "f",
                                    path: ::core::concat!(::core::module_path!(), "::", "f"),
                                    name: ::core::concat!(::core::module_path!(), "::", "f"),
                                    template: "<n>",
                                    ttl: ::memocached::private::SiteTtl::Unset,
                                    version: 0u32,
                                    file: ::core::file!(),
                                    line: ::core::line!(),
                                });
                                &SITE
                            })
                            .ttl(::memocached::private::duration(if n > 9 { DAY } else { DAY / 2 }))
                            .key(
                                &mut |__memocached_key| {
                                    __memocached_key.part(&n);
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
                    .run(move || -> u8 { n })
            }
        "#]],
    );
}

#[test]
fn a_condition_a_veto_and_a_codec() {
    assert_expands(
        quote! {
            #[memcached(key = "<n>", when = n < 100, store_if = |value| !value.is_empty(), codec = codecs::Packed)]
            fn f(n: u8) -> String { n.to_string() }
        },
        expect![[r#"
            fn f(n: u8) -> String {
                ::memocached::private::readied(|| {
                        let __memocached_call = ::memocached::private::Address::begin({
                                static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                    function: "f",
                                    path: ::core::concat!(::core::module_path!(), "::", "f"),
                                    name: ::core::concat!(::core::module_path!(), "::", "f"),
                                    template: "<n>",
                                    ttl: ::memocached::private::SiteTtl::Unset,
                                    version: 0u32,
                                    file: ::core::file!(),
                                    line: ::core::line!(),
                                });
                                &SITE
                            })
                            .when(n < 100)
                            .key(
                                &mut |__memocached_key| {
                                    __memocached_key.part(&n);
                                    __memocached_key.owner(&|| ());
                                },
                            );
                        ::memocached::private::ready(
                            __memocached_call
                                .shaped({
                                    use ::memocached::private::shapes::*;
                                    (&&&&&&::memocached::private::Probe::<String>::NEW)
                                        .__memocached_shape()
                                })
                                .codec(codecs::Packed)
                                .store_if(|value| !value.is_empty()),
                        )
                    })
                    .run(move || -> String { n.to_string() })
            }
        "#]],
    );
}

#[test]
fn a_label_a_version_a_cache_and_a_crate() {
    assert_expands(
        quote! {
            #[memcached(
                key = "<n>",
                skip(self),
                name = "label",
                version = 3,
                cache = &self.cache,
                crate = prelude::memocached
            )]
            fn f(&self, n: u8) -> u8 { n }
        },
        expect![[r#"
            fn f(&self, n: u8) -> u8 {
                prelude::memocached::private::readied(|| {
                        let __memocached_call = prelude::memocached::private::Address::begin({
                                static SITE: prelude::memocached::private::Site = prelude::memocached::private::Site::new(prelude::memocached::private::Description {
                                    function: "f",
                                    path: ::core::concat!(::core::module_path!(), "::", "f"),
                                    name: "label",
                                    template: "<n>",
                                    ttl: prelude::memocached::private::SiteTtl::Unset,
                                    version: 3u32,
                                    file: ::core::file!(),
                                    line: ::core::line!(),
                                });
                                &SITE
                            })
                            .cache(&self.cache)
                            .key(
                                &mut |__memocached_key| {
                                    __memocached_key.part(&n);
                                    __memocached_key.owner(&|| ());
                                },
                            );
                        prelude::memocached::private::ready(
                            __memocached_call
                                .shaped({
                                    use prelude::memocached::private::shapes::*;
                                    (&&&&&&prelude::memocached::private::Probe::<u8>::NEW)
                                        .__memocached_shape()
                                }),
                        )
                    })
                    .run(move || -> u8 { n })
            }
        "#]],
    );
}

#[test]
fn a_companion_with_a_codec_takes_the_parameters_that_the_key_writes() {
    assert_expands(
        quote! {
            #[memcached(key = "scaled:<n>:<_by>", skip(unit), codec = text, entry = scaled_entry)]
            #[cfg(unix)]
            #[inline]
            #[allow(non_snake_case)]
            pub(crate) fn scaled<T>(mut n: T, (_by, unit): (u8, Unit), _unread: u8, _like: impl Area) -> T
            where
                T: KeyPart,
            {
                n *= unit;
                n
            }
        },
        expect![[r##"
            #[cfg(unix)]
            #[inline]
            #[allow(non_snake_case)]
            pub(crate) fn scaled<T>(
                mut n: T,
                (_by, unit): (u8, Unit),
                _unread: u8,
                _like: impl Area,
            ) -> T
            where
                T: KeyPart,
            {
                ::memocached::private::readied(|| {
                        let __memocached_call = ::memocached::private::Address::begin({
                                static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                    function: "scaled",
                                    path: ::core::concat!(::core::module_path!(), "::", "scaled"),
                                    name: ::core::concat!(::core::module_path!(), "::", "scaled"),
                                    template: "scaled:<n>:<_by>",
                                    ttl: ::memocached::private::SiteTtl::Unset,
                                    version: 0u32,
                                    file: ::core::file!(),
                                    line: ::core::line!(),
                                });
                                &SITE
                            })
                            .key(
                                &mut |__memocached_key| {
                                    __memocached_key.literal("scaled:");
                                    __memocached_key.until(58u8).part(&n);
                                    __memocached_key.literal(":");
                                    __memocached_key.part(&_by);
                                    __memocached_key.literal(";");
                                    __memocached_key.type_name::<T>();
                                    __memocached_key.literal(";");
                                    #[allow(clippy::used_underscore_binding)]
                                    __memocached_key.type_of(&_like);
                                    __memocached_key.owner(&|| ());
                                },
                            );
                        ::memocached::private::ready(
                            __memocached_call
                                .shaped({
                                    use ::memocached::private::shapes::*;
                                    (&&&&&&::memocached::private::Probe::<T>::NEW)
                                        .__memocached_shape()
                                })
                                .codec(::memocached::codec::Text),
                        )
                    })
                    .run(move || -> T {
                        n *= unit;
                        n
                    })
            }
            #[cfg(unix)]
            #[allow(non_snake_case)]
            ///The cache entry of [`scaled`] called with these arguments.
            #[allow(clippy::too_many_arguments, clippy::unused_self, unused_mut, unused_variables)]
            #[must_use]
            pub(crate) fn scaled_entry<T>(
                mut n: T,
                (_by, unit): (u8, Unit),
                _like: impl Area,
            ) -> ::memocached::Entry<T>
            where
                T: KeyPart,
            {
                let __memocached_call = ::memocached::private::Address::of({
                        static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                            function: "scaled",
                            path: ::core::concat!(::core::module_path!(), "::", "scaled"),
                            name: ::core::concat!(::core::module_path!(), "::", "scaled"),
                            template: "scaled:<n>:<_by>",
                            ttl: ::memocached::private::SiteTtl::Unset,
                            version: 0u32,
                            file: ::core::file!(),
                            line: ::core::line!(),
                        });
                        &SITE
                    })
                    .key(
                        &mut |__memocached_key| {
                            __memocached_key.literal("scaled:");
                            __memocached_key.until(58u8).part(&n);
                            __memocached_key.literal(":");
                            __memocached_key.part(&_by);
                            __memocached_key.literal(";");
                            __memocached_key.type_name::<T>();
                            __memocached_key.literal(";");
                            #[allow(clippy::used_underscore_binding)]
                            __memocached_key.type_of(&_like);
                            __memocached_key.owner(&|| ());
                        },
                    );
                ::memocached::Entry::of(
                    ::memocached::private::ready(
                        __memocached_call
                            .shaped({
                                use ::memocached::private::shapes::*;
                                (&&&&&&::memocached::private::Probe::<T>::NEW).__memocached_shape()
                            })
                            .codec(::memocached::codec::Text),
                    ),
                )
            }
        "##]],
    );
}

#[test]
fn a_companion_of_an_async_function_takes_what_key_cache_and_ttl_read() {
    assert_expands(
        quote! {
            #[memcached(
                key = "price:<item>",
                skip(self, urgent, log),
                ttl = if urgent { DAY / 2 } else { DAY },
                cache = &self.cache,
                entry = price_entry
            )]
            async fn price(&self, item: &str, urgent: bool, log: &Log) -> Result<Price, Failure> {
                log.write(self.ask(item).await?)
            }
        },
        expect![[r#"
            async fn price(&self, item: &str, urgent: bool, log: &Log) -> Result<Price, Failure> {
                ::memocached::private::readied(|| {
                        let __memocached_call = ::memocached::private::Address::begin({
                                static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                    function: "price",
                                    path: ::core::concat!(::core::module_path!(), "::", "price"),
                                    name: ::core::concat!(::core::module_path!(), "::", "price"),
                                    template: "price:<item>",
                                    ttl: ::memocached::private::SiteTtl::Unset,
                                    version: 0u32,
                                    file: ::core::file!(),
                                    line: ::core::line!(),
                                });
                                &SITE
                            })
                            .cache(&self.cache)
                            .ttl(::memocached::private::duration(if urgent { DAY / 2 } else { DAY }))
                            .key(
                                &mut |__memocached_key| {
                                    __memocached_key.literal("price:");
                                    __memocached_key.part(&item);
                                    __memocached_key.owner(&|| ());
                                },
                            );
                        ::memocached::private::ready(
                            __memocached_call
                                .shaped({
                                    use ::memocached::private::shapes::*;
                                    (&&&&&&::memocached::private::Probe::<
                                        Result<Price, Failure>,
                                    >::NEW)
                                        .__memocached_shape()
                                }),
                        )
                    })
                    .run_async(async move {
                        #[allow(unreachable_code)]
                        if false {
                            return ::memocached::private::never::<Result<Price, Failure>>();
                        }
                        log.write(self.ask(item).await?)
                    })
                    .await
            }
            ///The cache entry of [`price`] called with these arguments.
            #[allow(clippy::too_many_arguments, clippy::unused_self, unused_mut, unused_variables)]
            #[must_use]
            fn price_entry(
                &self,
                item: &str,
                urgent: bool,
            ) -> ::memocached::AsyncEntry<Result<Price, Failure>> {
                let __memocached_call = ::memocached::private::Address::of({
                        static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                            function: "price",
                            path: ::core::concat!(::core::module_path!(), "::", "price"),
                            name: ::core::concat!(::core::module_path!(), "::", "price"),
                            template: "price:<item>",
                            ttl: ::memocached::private::SiteTtl::Unset,
                            version: 0u32,
                            file: ::core::file!(),
                            line: ::core::line!(),
                        });
                        &SITE
                    })
                    .cache(&self.cache)
                    .ttl(::memocached::private::duration(if urgent { DAY / 2 } else { DAY }))
                    .key(
                        &mut |__memocached_key| {
                            __memocached_key.literal("price:");
                            __memocached_key.part(&item);
                            __memocached_key.owner(&|| ());
                        },
                    );
                ::memocached::AsyncEntry::of(
                    ::memocached::private::ready(
                        __memocached_call
                            .shaped({
                                use ::memocached::private::shapes::*;
                                (&&&&&&::memocached::private::Probe::<Result<Price, Failure>>::NEW)
                                    .__memocached_shape()
                            }),
                    ),
                )
            }
        "#]],
    );
}

#[test]
fn a_companion_asks_a_veto_that_reads_no_argument() {
    let asks = |store_if: TokenStream| {
        let source = quote! {
            #[memcached(key = "f:<n>:<self.id>", store_if = #store_if, entry = f_entry)]
            fn f(&self, n: u8) -> u8 { n }
        };
        expanded(source).matches("store_if").count() == 2
    };
    assert!(asks(quote!(is_wanted)) && asks(quote!(|value| *value > 1)) && asks(quote!(|&n: &u8| n > 1)));
    assert!(asks(quote!(|value| value.n() > value.n)) && asks(quote!(|value| value != "unknown")));
    assert!(!asks(quote!(|value| (0..n).contains(value))) && !asks(quote!(|value| format!("{n}") != "")));
    assert!(!asks(quote!(|value| *value > n)) && !asks(quote!(|value| self.wants(value))) && !asks(quote!(wanted(n))));
}
