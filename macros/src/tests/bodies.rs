//! Expansions by how the body is run: as a block, as a future, and what its
//! errors may be.

use expect_test::expect;
use quote::quote;

use super::assert_expands;

#[test]
fn attributes_inside_a_body_are_the_functions() {
    assert_expands(
        quote! {
            #[memcached(key = "lax:<n>")]
            #[inline]
            fn lax(n: u8) -> u8 {
                #![allow(unused_variables)]
                let unused = 1;
                n
            }
        },
        expect![[r##"
            #[inline]
            #[allow(unused_variables)]
            fn lax(n: u8) -> u8 {
                ::memocached::private::readied(|| {
                        let __memocached_call = ::memocached::private::Address::begin({
                                static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                    function: "lax",
                                    path: ::core::concat!(::core::module_path!(), "::", "lax"),
                                    name: ::core::concat!(::core::module_path!(), "::", "lax"),
                                    template: "lax:<n>",
                                    ttl: ::memocached::private::SiteTtl::Unset,
                                    version: 0u32,
                                    file: ::core::file!(),
                                    line: ::core::line!(),
                                });
                                &SITE
                            })
                            .key(
                                &mut |__memocached_key| {
                                    __memocached_key.literal("lax:");
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
                    .run(move || -> u8 {
                        let unused = 1;
                        n
                    })
            }
        "##]],
    );
}

#[test]
fn an_async_function() {
    assert_expands(
        quote! {
            #[memcached(key = "user:<id>")]
            async fn user(id: u64) -> Option<User> {
                fetch(id).await
            }
        },
        expect![[r#"
            async fn user(id: u64) -> Option<User> {
                ::memocached::private::readied(|| {
                        let __memocached_call = ::memocached::private::Address::begin({
                                static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                    function: "user",
                                    path: ::core::concat!(::core::module_path!(), "::", "user"),
                                    name: ::core::concat!(::core::module_path!(), "::", "user"),
                                    template: "user:<id>",
                                    ttl: ::memocached::private::SiteTtl::Unset,
                                    version: 0u32,
                                    file: ::core::file!(),
                                    line: ::core::line!(),
                                });
                                &SITE
                            })
                            .key(
                                &mut |__memocached_key| {
                                    __memocached_key.literal("user:");
                                    __memocached_key.part(&id);
                                    __memocached_key.owner(&|| ());
                                },
                            );
                        ::memocached::private::ready(
                            __memocached_call
                                .shaped({
                                    use ::memocached::private::shapes::*;
                                    (&&&&&&::memocached::private::Probe::<Option<User>>::NEW)
                                        .__memocached_shape()
                                }),
                        )
                    })
                    .run_async(async move {
                        #[allow(unreachable_code)]
                        if false {
                            return ::memocached::private::never::<Option<User>>();
                        }
                        fetch(id).await
                    })
                    .await
            }
        "#]],
    );
}

#[test]
fn a_function_that_returns_a_future_without_a_name() {
    assert_expands(
        quote! {
            #[memcached(key = "length:<text>")]
            fn length(text: &str) -> impl Future<Output = usize> + Send + '_ {
                async move { text.len() }
            }
        },
        expect![[r#"
            fn length(text: &str) -> impl Future<Output = usize> + Send + '_ {
                async move {
                    ::memocached::private::readied(|| {
                            let __memocached_call = ::memocached::private::Address::begin({
                                    static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                        function: "length",
                                        path: ::core::concat!(
                                            ::core::module_path!(), "::", "length"
                                        ),
                                        name: ::core::concat!(
                                            ::core::module_path!(), "::", "length"
                                        ),
                                        template: "length:<text>",
                                        ttl: ::memocached::private::SiteTtl::Unset,
                                        version: 0u32,
                                        file: ::core::file!(),
                                        line: ::core::line!(),
                                    });
                                    &SITE
                                })
                                .key(
                                    &mut |__memocached_key| {
                                        __memocached_key.literal("length:");
                                        __memocached_key.part(&text);
                                        __memocached_key.owner(&|| ());
                                    },
                                );
                            ::memocached::private::ready(
                                __memocached_call
                                    .shaped({
                                        use ::memocached::private::shapes::*;
                                        (&&&&&&::memocached::private::Probe::<usize>::NEW)
                                            .__memocached_shape()
                                    }),
                            )
                        })
                        .run_async(async move { (move || { async move { text.len() } })().await })
                        .await
                }
            }
        "#]],
    );
}

/// As `#[async_trait]` writes it.
#[test]
fn a_method_that_returns_a_boxed_future() {
    assert_expands(
        quote! {
            #[memcached(key = "boxed:<self.id>:<n>")]
            fn boxed<'life0, 'async_trait>(
                &'life0 self,
                n: u8,
                _unread: u8,
            ) -> ::core::pin::Pin<Box<
                dyn ::core::future::Future<Output = Result<u8, String>> + ::core::marker::Send + 'async_trait,
            >>
            where
                'life0: 'async_trait,
                Self: 'async_trait,
            {
                Box::pin(async move {
                    let __self = self;
                    let n = n;
                    let _unread = _unread;
                    Ok(n + __self.id)
                })
            }
        },
        expect![[r#"
            fn boxed<'life0, 'async_trait>(
                &'life0 self,
                n: u8,
                _unread: u8,
            ) -> ::core::pin::Pin<
                Box<
                    dyn ::core::future::Future<
                        Output = Result<u8, String>,
                    > + ::core::marker::Send + 'async_trait,
                >,
            >
            where
                'life0: 'async_trait,
                Self: 'async_trait,
            {
                ::memocached::private::Box::pin(async move {
                    ::memocached::private::readied(|| {
                            let __memocached_call = ::memocached::private::Address::begin({
                                    static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                        function: "boxed",
                                        path: ::core::concat!(::core::module_path!(), "::", "boxed"),
                                        name: ::core::concat!(::core::module_path!(), "::", "boxed"),
                                        template: "boxed:<self.id>:<n>",
                                        ttl: ::memocached::private::SiteTtl::Unset,
                                        version: 0u32,
                                        file: ::core::file!(),
                                        line: ::core::line!(),
                                    });
                                    &SITE
                                })
                                .key(
                                    &mut |__memocached_key| {
                                        __memocached_key.literal("boxed:");
                                        __memocached_key.until(58u8).part(&self.id);
                                        __memocached_key.literal(":");
                                        __memocached_key.part(&n);
                                        __memocached_key.owner(&|| ());
                                    },
                                );
                            ::memocached::private::ready(
                                __memocached_call
                                    .shaped({
                                        use ::memocached::private::shapes::*;
                                        (&&&&&&::memocached::private::Probe::<
                                            Result<u8, String>,
                                        >::NEW)
                                            .__memocached_shape()
                                    }),
                            )
                        })
                        .run_async(async move {
                            (move || -> ::core::pin::Pin<
                                Box<
                                    dyn ::core::future::Future<
                                        Output = Result<u8, String>,
                                    > + ::core::marker::Send + 'async_trait,
                                >,
                            > {
                                Box::pin(async move {
                                    let __self = self;
                                    let n = n;
                                    let _unread = _unread;
                                    Ok(n + __self.id)
                                })
                            })()
                                .await
                        })
                        .await
                })
            }
        "#]],
    );
}

#[test]
fn a_result_that_carries_the_caches_errors() {
    assert_expands(
        quote! {
            #[memcached(key = "rate:<day>", on_error = propagate)]
            fn rate(day: Date) -> Result<Option<f64>, Failure> {
                Ok(bank()?.rate(day))
            }
        },
        expect![[r#"
            fn rate(day: Date) -> Result<Option<f64>, Failure> {
                ::memocached::private::readied(|| {
                        let __memocached_call = ::memocached::private::Address::begin({
                                static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                    function: "rate",
                                    path: ::core::concat!(::core::module_path!(), "::", "rate"),
                                    name: ::core::concat!(::core::module_path!(), "::", "rate"),
                                    template: "rate:<day>",
                                    ttl: ::memocached::private::SiteTtl::Unset,
                                    version: 0u32,
                                    file: ::core::file!(),
                                    line: ::core::line!(),
                                });
                                &SITE
                            })
                            .key(
                                &mut |__memocached_key| {
                                    __memocached_key.literal("rate:");
                                    __memocached_key.part(&day);
                                    __memocached_key.owner(&|| ());
                                },
                            );
                        ::memocached::private::ready(
                            __memocached_call
                                .shaped({
                                    use ::memocached::private::shapes::*;
                                    (&&&&&&::memocached::private::Probe::<
                                        Result<Option<f64>, Failure>,
                                    >::NEW)
                                        .__memocached_shape()
                                })
                                .propagate(),
                        )
                    })
                    .run(move || -> Result<Option<f64>, Failure> { Ok(bank()?.rate(day)) })
            }
        "#]],
    );
}
