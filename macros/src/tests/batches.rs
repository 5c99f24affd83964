//! Expansions of functions with `each`.

use expect_test::expect;
use quote::quote;

use super::assert_expands;

#[test]
fn a_body_runs_in_a_loop_for_what_is_missing() {
    assert_expands(
        quote! {
            #[memcached(key = "user:<id>", each(id in ids), entry = user_entry, skip(self))]
            fn users(&self, mut ids: &'static [UserId]) -> Result<HashMap<UserId, User>, Error> {
                load(&mut ids)
            }
        },
        expect![[r#"
            fn users(&self, ids: &'static [UserId]) -> Result<HashMap<UserId, User>, Error> {
                let __memocached_elements = <&[UserId] as ::memocached::private::GivesElements<
                    '_,
                >>::list(ids);
                let mut __memocached_batch = __memocached_elements
                    .batch::<
                        Result<HashMap<UserId, User>, Error>,
                        _,
                        _,
                    >(
                        ::core::iter::Iterator::map(
                            __memocached_elements.iter(),
                            |id| {
                                let __memocached_call = ::memocached::private::Address::element({
                                        static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                                function: "users",
                                                path: ::core::concat!(
                                                    ::core::module_path!(), "::", "users"
                                                ),
                                                name: ::core::concat!(
                                                    ::core::module_path!(), "::", "users"
                                                ),
                                                template: "user:<id>",
                                                ttl: ::memocached::private::SiteTtl::Unset,
                                                version: 0u32,
                                                file: ::core::file!(),
                                                line: ::core::line!(),
                                            })
                                            .each();
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
                                            (&&&&&&::memocached::private::Probe::<
                                                <Result<
                                                    HashMap<UserId, User>,
                                                    Error,
                                                > as ::memocached::private::Returns>::Returned,
                                            >::NEW)
                                                .__memocached_shape()
                                        }),
                                )
                            },
                        ),
                    );
                loop {
                    let __memocached_missing = match __memocached_batch.turn() {
                        ::memocached::private::BatchTurn::Compute(missing) => missing,
                        ::memocached::private::BatchTurn::Return(returned) => break returned,
                    };
                    let mut __memocached_missing = __memocached_elements
                        .collect(__memocached_missing);
                    let mut ids: &[UserId] = <&[UserId] as ::memocached::private::GivesElements<
                        '_,
                    >>::given(&mut __memocached_missing);
                    if let ::core::option::Option::Some(returned) = __memocached_batch
                        .compute(|| -> Result<HashMap<UserId, User>, Error> { load(&mut ids) })
                    {
                        break returned;
                    }
                }
            }
            ///The cache entry of [`users`] called with these arguments.
            #[allow(clippy::too_many_arguments, clippy::unused_self, unused_mut, unused_variables)]
            #[must_use]
            fn user_entry(
                &self,
                id: &<&[UserId] as ::memocached::private::HoldsElements>::Element,
            ) -> ::memocached::Entry<
                <Result<HashMap<UserId, User>, Error> as ::memocached::private::Returns>::Returned,
            > {
                let __memocached_call = ::memocached::private::Address::of({
                        static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                function: "users",
                                path: ::core::concat!(::core::module_path!(), "::", "users"),
                                name: ::core::concat!(::core::module_path!(), "::", "users"),
                                template: "user:<id>",
                                ttl: ::memocached::private::SiteTtl::Unset,
                                version: 0u32,
                                file: ::core::file!(),
                                line: ::core::line!(),
                            })
                            .each();
                        &SITE
                    })
                    .key(
                        &mut |__memocached_key| {
                            __memocached_key.literal("user:");
                            __memocached_key.part(&id);
                            __memocached_key.owner(&|| ());
                        },
                    );
                ::memocached::Entry::of(
                    ::memocached::private::ready(
                        __memocached_call
                            .shaped({
                                use ::memocached::private::shapes::*;
                                (&&&&&&::memocached::private::Probe::<
                                    <Result<
                                        HashMap<UserId, User>,
                                        Error,
                                    > as ::memocached::private::Returns>::Returned,
                                >::NEW)
                                    .__memocached_shape()
                            }),
                    ),
                )
            }
        "#]],
    );
}

#[test]
fn an_async_body_that_owns_its_data_refreshes_in_the_background() {
    assert_expands(
        quote! {
            #[memcached(key = "price:<id>", each(id in ids), grace = 60, when = *id > 0, cache = CACHE)]
            async fn prices(ids: Vec<u64>) -> Vec<Price> {
                load(ids).await
            }
        },
        expect![[r#"
            async fn prices(ids: Vec<u64>) -> Vec<Price> {
                ::memocached::private::in_background(move |__memocached_answer| async move {
                        let __memocached_cache: &::memocached::Cache = CACHE;
                        let __memocached_elements = <Vec<
                            u64,
                        > as ::memocached::private::GivesElements<'_>>::list(ids);
                        let mut __memocached_batch = __memocached_elements
                            .batch::<
                                Vec<Price>,
                                _,
                                _,
                            >(
                                ::core::iter::Iterator::map(
                                    __memocached_elements.iter(),
                                    |id| {
                                        let __memocached_call = ::memocached::private::Address::element({
                                                static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                                        function: "prices",
                                                        path: ::core::concat!(
                                                            ::core::module_path!(), "::", "prices"
                                                        ),
                                                        name: ::core::concat!(
                                                            ::core::module_path!(), "::", "prices"
                                                        ),
                                                        template: "price:<id>",
                                                        ttl: ::memocached::private::SiteTtl::Unset,
                                                        version: 0u32,
                                                        file: ::core::file!(),
                                                        line: ::core::line!(),
                                                    })
                                                    .each();
                                                &SITE
                                            })
                                            .when(*id > 0)
                                            .cache(__memocached_cache)
                                            .grace(::core::time::Duration::from_millis(60000u64))
                                            .key(
                                                &mut |__memocached_key| {
                                                    __memocached_key.literal("price:");
                                                    __memocached_key.part(&id);
                                                    __memocached_key.owner(&|| ());
                                                },
                                            );
                                        ::memocached::private::ready(
                                            __memocached_call
                                                .shaped({
                                                    use ::memocached::private::shapes::*;
                                                    (&&&&&&::memocached::private::Probe::<
                                                        <Vec<Price> as ::memocached::private::Returns>::Returned,
                                                    >::NEW)
                                                        .__memocached_shape()
                                                }),
                                        )
                                    },
                                ),
                            );
                        __memocached_batch = __memocached_batch.answering(&__memocached_answer);
                        while let ::core::option::Option::Some(__memocached_missing) = __memocached_batch
                            .turn_answering(&__memocached_answer)
                            .await
                        {
                            let mut __memocached_missing = __memocached_elements
                                .collect(__memocached_missing);
                            let ids: Vec<u64> = <Vec<
                                u64,
                            > as ::memocached::private::GivesElements<
                                '_,
                            >>::given(&mut __memocached_missing);
                            __memocached_batch
                                .compute_answering(
                                    async {
                                        #[allow(unreachable_code)]
                                        if false {
                                            return ::memocached::private::never::<Vec<Price>>();
                                        }
                                        load(ids).await
                                    },
                                    &__memocached_answer,
                                )
                                .await;
                        }
                    })
                    .await
            }
        "#]],
    );
}

#[test]
fn an_iterator_becomes_another_iterator() {
    assert_expands(
        quote! {
            #[memcached(key = "price:<id>", each(id in ids), on_error = propagate)]
            async fn prices(ids: impl IntoIterator<Item = u64>) -> Result<Vec<Price>, Error> {
                load(ids).await
            }
        },
        expect![[r#"
            async fn prices(ids: impl IntoIterator<Item = u64>) -> Result<Vec<Price>, Error> {
                let __memocached_elements = ::memocached::private::ElementList::collected(ids);
                let mut __memocached_batch = __memocached_elements
                    .batch_propagating::<
                        Result<Vec<Price>, Error>,
                        _,
                        _,
                    >(
                        ::core::iter::Iterator::map(
                            __memocached_elements.iter(),
                            |id| {
                                let __memocached_call = ::memocached::private::Address::element({
                                        static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                                function: "prices",
                                                path: ::core::concat!(
                                                    ::core::module_path!(), "::", "prices"
                                                ),
                                                name: ::core::concat!(
                                                    ::core::module_path!(), "::", "prices"
                                                ),
                                                template: "price:<id>",
                                                ttl: ::memocached::private::SiteTtl::Unset,
                                                version: 0u32,
                                                file: ::core::file!(),
                                                line: ::core::line!(),
                                            })
                                            .each();
                                        &SITE
                                    })
                                    .key(
                                        &mut |__memocached_key| {
                                            __memocached_key.literal("price:");
                                            __memocached_key.part(&id);
                                            __memocached_key.owner(&|| ());
                                        },
                                    );
                                ::memocached::private::ready(
                                    __memocached_call
                                        .shaped({
                                            use ::memocached::private::shapes::*;
                                            (&&&&&&::memocached::private::Probe::<
                                                <Result<
                                                    Vec<Price>,
                                                    Error,
                                                > as ::memocached::private::Returns>::Returned,
                                            >::NEW)
                                                .__memocached_shape()
                                        }),
                                )
                            },
                        ),
                    );
                loop {
                    let __memocached_missing = match __memocached_batch.turn_async().await {
                        ::memocached::private::BatchTurn::Compute(missing) => missing,
                        ::memocached::private::BatchTurn::Return(returned) => break returned,
                    };
                    let ids = __memocached_elements.collect(__memocached_missing);
                    if let ::core::option::Option::Some(returned) = __memocached_batch
                        .compute_async(async {
                            #[allow(unreachable_code)]
                            if false {
                                return ::memocached::private::never::<Result<Vec<Price>, Error>>();
                            }
                            load(ids).await
                        })
                        .await
                    {
                        break returned;
                    }
                }
            }
        "#]],
    );
}
