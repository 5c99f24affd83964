//! Expansions by what a site chooses about time: grace, early refresh, absence,
//! the near copy, which caller computes, and where a refresh runs.

use expect_test::expect;
use quote::quote;

use super::{assert_expands, expanded};

#[test]
fn every_choice_about_time_as_a_literal() {
    assert_expands(
        quote! {
            #[memcached(
                key = "<n>",
                ttl = "5m",
                grace = "1h",
                refresh_ahead = 30,
                cache_none = "500ms",
                cache_err = 1,
                store_if = |value| *value > 0,
                near = "1s",
                single_flight = local,
                on_error = propagate,
                codec = json
            )]
            fn f(n: u8) -> Result<Option<u8>, Failure> { find(n) }
        },
        expect![[r#"
            fn f(n: u8) -> Result<Option<u8>, Failure> {
                ::memocached::private::readied(|| {
                        let __memocached_call = ::memocached::private::Address::begin({
                                static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                    function: "f",
                                    path: ::core::concat!(::core::module_path!(), "::", "f"),
                                    name: ::core::concat!(::core::module_path!(), "::", "f"),
                                    template: "<n>",
                                    ttl: ::memocached::private::SiteTtl::Millis(300000u64),
                                    version: 0u32,
                                    file: ::core::file!(),
                                    line: ::core::line!(),
                                });
                                &SITE
                            })
                            .grace(::core::time::Duration::from_millis(3600000u64))
                            .refresh_ahead(::core::time::Duration::from_millis(30000u64))
                            .near(::core::time::Duration::from_millis(1000u64))
                            .single_flight(::memocached::private::SingleFlight::Local)
                            .key(
                                &mut |__memocached_key| {
                                    __memocached_key.part(&n);
                                    __memocached_key.owner(&|| ());
                                },
                            );
                        ::memocached::private::ready(
                            __memocached_call
                                .shaped({
                                    use ::memocached::private::sharing::*;
                                    let __memocached_shaped = {
                                        use ::memocached::private::shapes::*;
                                        (&&&&&&::memocached::private::Probe::<
                                            Result<Option<u8>, Failure>,
                                        >::NEW)
                                            .__memocached_shape()
                                    };
                                    let __memocached_sharing = (&&__memocached_shaped
                                        .probe::<fn(&()) -> Result<Option<u8>, Failure>>())
                                        .__memocached_sharing();
                                    __memocached_shaped.shared(__memocached_sharing)
                                })
                                .codec(::memocached::codec::Json)
                                .store_if(|value| *value > 0)
                                .cache_none(::core::time::Duration::from_millis(500u64))
                                .cache_err(
                                    ::core::time::Duration::from_millis(1000u64),
                                    ::memocached::private::Chosen(::memocached::codec::Json),
                                )
                                .propagate(),
                        )
                    })
                    .run(move || -> Result<Option<u8>, Failure> { find(n) })
            }
        "#]],
    );
}

#[test]
fn choices_that_read_parameters_and_their_companion() {
    assert_expands(
        quote! {
            #[memcached(
                key = "f:<n>",
                skip(a, b, c, d, e),
                ttl = a,
                grace = b.grace,
                refresh_ahead = c / 2,
                cache_none = d,
                near = if e { DAY } else { SECOND },
                single_flight = off,
                entry = f_entry
            )]
            async fn f(n: u8, a: Duration, b: Grace, c: Duration, d: Duration, e: bool) -> Option<u8> {
                find(n).await
            }
        },
        expect![[r#"
            async fn f(
                n: u8,
                a: Duration,
                b: Grace,
                c: Duration,
                d: Duration,
                e: bool,
            ) -> Option<u8> {
                ::memocached::private::readied(|| {
                        let __memocached_call = ::memocached::private::Address::begin({
                                static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                    function: "f",
                                    path: ::core::concat!(::core::module_path!(), "::", "f"),
                                    name: ::core::concat!(::core::module_path!(), "::", "f"),
                                    template: "f:<n>",
                                    ttl: ::memocached::private::SiteTtl::Unset,
                                    version: 0u32,
                                    file: ::core::file!(),
                                    line: ::core::line!(),
                                });
                                &SITE
                            })
                            .ttl(::memocached::private::duration(a))
                            .grace(::memocached::private::duration(b.grace))
                            .refresh_ahead(::memocached::private::duration(c / 2))
                            .near(::memocached::private::duration(if e { DAY } else { SECOND }))
                            .single_flight(::memocached::private::SingleFlight::Off)
                            .key(
                                &mut |__memocached_key| {
                                    __memocached_key.literal("f:");
                                    __memocached_key.part(&n);
                                    __memocached_key.owner(&|| ());
                                },
                            );
                        ::memocached::private::ready(
                            __memocached_call
                                .shaped({
                                    use ::memocached::private::sharing::*;
                                    let __memocached_shaped = {
                                        use ::memocached::private::shapes::*;
                                        (&&&&&&::memocached::private::Probe::<Option<u8>>::NEW)
                                            .__memocached_shape()
                                    };
                                    let __memocached_sharing = (&&__memocached_shaped
                                        .probe::<fn(&()) -> Option<u8>>())
                                        .__memocached_sharing();
                                    __memocached_shaped.shared(__memocached_sharing)
                                })
                                .cache_none(::memocached::private::duration(d)),
                        )
                    })
                    .run_detached(async move {
                        #[allow(unreachable_code)]
                        if false {
                            return ::memocached::private::never::<Option<u8>>();
                        }
                        find(n).await
                    })
                    .await
            }
            ///The cache entry of [`f`] called with these arguments.
            #[allow(clippy::too_many_arguments, clippy::unused_self, unused_mut, unused_variables)]
            #[must_use]
            fn f_entry(
                n: u8,
                a: Duration,
                b: Grace,
                c: Duration,
                e: bool,
            ) -> ::memocached::AsyncEntry<Option<u8>> {
                let __memocached_call = ::memocached::private::Address::of({
                        static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                            function: "f",
                            path: ::core::concat!(::core::module_path!(), "::", "f"),
                            name: ::core::concat!(::core::module_path!(), "::", "f"),
                            template: "f:<n>",
                            ttl: ::memocached::private::SiteTtl::Unset,
                            version: 0u32,
                            file: ::core::file!(),
                            line: ::core::line!(),
                        });
                        &SITE
                    })
                    .ttl(::memocached::private::duration(a))
                    .grace(::memocached::private::duration(b.grace))
                    .refresh_ahead(::memocached::private::duration(c / 2))
                    .near(::memocached::private::duration(if e { DAY } else { SECOND }))
                    .single_flight(::memocached::private::SingleFlight::Off)
                    .key(
                        &mut |__memocached_key| {
                            __memocached_key.literal("f:");
                            __memocached_key.part(&n);
                            __memocached_key.owner(&|| ());
                        },
                    );
                ::memocached::AsyncEntry::of(
                    ::memocached::private::ready(
                        __memocached_call
                            .shaped({
                                use ::memocached::private::shapes::*;
                                (&&&&&&::memocached::private::Probe::<Option<u8>>::NEW)
                                    .__memocached_shape()
                            }),
                    ),
                )
            }
        "#]],
    );
}

#[test]
fn an_error_with_a_time_of_its_own_in_the_configured_codec() {
    assert_expands(
        quote! {
            #[memcached(key = "<n>", refresh_ahead = auto, cache_err = MOMENT, single_flight = lease)]
            fn f(n: u8) -> Result<u8, Failure> { find(n) }
        },
        expect![[r#"
            fn f(n: u8) -> Result<u8, Failure> {
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
                            .refresh_auto()
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
                                    (&&&&&&::memocached::private::Probe::<Result<u8, Failure>>::NEW)
                                        .__memocached_shape()
                                })
                                .cache_err(
                                    ::memocached::private::duration(MOMENT),
                                    ::memocached::private::Configured,
                                ),
                        )
                    })
                    .run(move || -> Result<u8, Failure> { find(n) })
            }
        "#]],
    );
}

/// What runs the body of a function below `#[memcached(…)]`.
fn runner(arguments: &str, function: &str) -> &'static str {
    let source = format!("#[memcached({arguments})] {function}");
    let expansion = expanded(source.parse().expect("tokens"));
    let runners = ["run", "run_async", "run_detached"];
    runners.into_iter().find(|runner| expansion.contains(&format!(".{runner}("))).expect("a body that is run")
}

#[test]
fn an_async_function_that_owns_its_data_is_refreshed_in_the_background() {
    for function in [
        "async fn f(n: String) -> u8 { 1 }",
        "async fn f(n: &'static str) -> Result<u8, Failure> { Ok(1) }",
        "fn f(n: u8) -> impl Future<Output = u8> + Send { g(n) }",
        "fn f(n: u8) -> Pin<Box<dyn Future<Output = u8> + Send>> { g(n) }",
        "fn f(n: u8) -> BoxFuture<'static, u8> { g(n) }",
    ] {
        assert_eq!(runner("grace = 1", function), "run_detached", "{function}");
        assert_eq!(runner("refresh_ahead = auto", function), "run_detached", "{function}");
        assert_eq!(runner("ttl = 9, near = 1, cache_err = 1", function), "run_async", "{function}");
    }
}

#[test]
fn other_functions_are_refreshed_in_place() {
    for function in [
        "async fn f(n: &str) -> u8 { 1 }",
        "async fn f(self: Arc<Self>) -> u8 { 1 }",
        "async fn f<T>(n: T) -> u8 { 1 }",
        "async fn f(n: u8) -> Result<u8, Box<dyn Error>> { Ok(1) }",
        "fn f(n: u8) -> impl Future<Output = u8> { g(n) }",
        "fn f<'a>(n: u8) -> Pin<Box<dyn Future<Output = u8> + Send + 'a>> { g(n) }",
        "fn f(n: u8) -> LocalBoxFuture<'static, u8> { g(n) }",
        "fn f<'a>(n: u8) -> BoxFuture<'a, u8> { g(n) }",
    ] {
        assert_eq!(runner("grace = 1", function), "run_async", "{function}");
    }
    assert_eq!(runner("grace = 1", "fn f(n: u8) -> u8 { 1 }"), "run");
}

#[test]
fn a_veto_that_reads_a_parameter_keeps_a_refresh_in_place() {
    let function = "async fn f(n: u8) -> u8 { 1 }";
    assert_eq!(runner("grace = 1, store_if = |value| *value > 9", function), "run_detached");
    assert_eq!(runner("grace = 1, store_if = |value| *value > n", function), "run_async");
}

#[test]
fn the_old_value_is_left_where_the_body_takes_it() {
    let previous =
        |function| expanded(quote!(#[memcached(key = "<n>", ttl = 60, grace = |v| v.grace, previous = old)] #function));
    let blocking = previous(quote!(
        fn f(n: u8) -> User {
            old.map_or(User, |old| old.unchanged())
        }
    ));
    let call = blocking.split_once("let __memocached_call").expect("a call");
    assert!(call.0.contains("let __memocached_previous = <::memocached::private::PreviousSlot"), "{blocking}");
    for part in [
        ".own_grace()",
        ".graced(|v| v.grace)",
        ".replacing(&__memocached_previous)",
        "let old = __memocached_previous.take()",
    ] {
        assert!(call.1.contains(part), "no {part} in {blocking}");
    }
    let future = previous(quote!(
        async fn f(n: u8) -> User {
            old.map_or(User, |old| old.unchanged())
        }
    ));
    assert!(future.contains("::core::clone::Clone::clone(&__memocached_previous)"), "{future}");
    assert!(future.contains(".run_detached("), "{future}");
}

#[test]
fn a_limit_and_a_patience_with_a_function_that_owns_its_arguments() {
    assert_expands(
        quote! {
            #[memcached(key = "<n>", grace = 60, patience = "50ms", at_most = LIMIT)]
            async fn f(n: u8) -> u8 { n }
        },
        expect![[r#"
            async fn f(n: u8) -> u8 {
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
                                    })
                                    .at_most(LIMIT);
                                &SITE
                            })
                            .grace(::core::time::Duration::from_millis(60000u64))
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
                            .patient(::core::time::Duration::from_millis(50u64))
                    })
                    .run_detached(async move {
                        #[allow(unreachable_code)]
                        if false {
                            return ::memocached::private::never::<u8>();
                        }
                        n
                    })
                    .await
            }
        "#]],
    );
}
