//! Expansions of functions whose values are in groups.

use expect_test::expect;
use quote::quote;

use super::assert_expands;

#[test]
fn a_value_in_one_group_and_a_companion_that_takes_what_names_it() {
    assert_expands(
        quote! {
            #[memcached(key = "user:<id>", skip(team, log), group = team_group(team), entry = user_entry)]
            fn user(id: u64, team: TeamId, log: &Log) -> User { find(id, team, log) }
        },
        expect![[r#"
            fn user(id: u64, team: TeamId, log: &Log) -> User {
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
                    .group(&(team_group(team)))
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
                                (&&&&&&::memocached::private::Probe::<User>::NEW)
                                    .__memocached_shape()
                            }),
                    )
                    .run(move || -> User { find(id, team, log) })
            }
            ///The cache entry of [`user`] called with these arguments.
            #[allow(clippy::too_many_arguments, clippy::unused_self, unused_mut, unused_variables)]
            #[must_use]
            fn user_entry(id: u64, team: TeamId) -> ::memocached::Entry<User> {
                let __memocached_call = ::memocached::private::Address::of({
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
                    .group(&(team_group(team)))
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
                                (&&&&&&::memocached::private::Probe::<User>::NEW)
                                    .__memocached_shape()
                            }),
                    ),
                )
            }
        "#]],
    );
}

#[test]
fn elements_in_groups_of_their_own() {
    assert_expands(
        quote! {
            #[memcached(key = "user:<id>", each(id in ids), group = [team(id.team), everything()])]
            async fn users(ids: &[UserId]) -> Vec<User> { find(ids).await }
        },
        expect![[r#"
            async fn users(ids: &[UserId]) -> Vec<User> {
                let __memocached_elements = <&[UserId] as ::memocached::private::HoldsElements>::list(
                    ids,
                );
                let mut __memocached_batch = __memocached_elements
                    .batch::<
                        Vec<User>,
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
                                        });
                                        &SITE
                                    })
                                    .group(&(team(id.team)))
                                    .group(&(everything()))
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
                                                <Vec<User> as ::memocached::private::Returns>::Returned,
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
                    let mut __memocached_missing = __memocached_elements
                        .collect(__memocached_missing);
                    let ids: &[UserId] = ::memocached::private::Given::given(
                        &mut __memocached_missing,
                    );
                    if let ::core::option::Option::Some(returned) = __memocached_batch
                        .compute_async(async {
                            #[allow(unreachable_code)]
                            if false {
                                return ::memocached::private::never::<Vec<User>>();
                            }
                            find(ids).await
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

#[test]
fn mistakes_about_groups() {
    assert_expands(
        quote! {
            #[memcached(key = "f:<n>", codec = text, group = [team(n), everything()])]
            fn f(n: u8) -> u8 { n }
        },
        expect![[r#"
            ::core::compile_error! {
                "`codec = text` stores the bytes of a value and nothing else, and values without an envelope have no room for the stamps of a group; take another codec, or leave `group` out"
            }
            fn f(n: u8) -> u8 {
                n
            }
        "#]],
    );
    assert_expands(
        quote! {
            #[memcached(key = "f:<n>", group = "team:<n>")]
            fn f(n: u8) -> u8 { n }
        },
        expect![[r#"
            ::core::compile_error! {
                "`group` takes a group and not its key; write `group = team(team)`"
            }
            fn f(n: u8) -> u8 {
                n
            }
        "#]],
    );
    assert_expands(
        quote! {
            #[memcached(key = "f:<n>", group = [], group, tags = ["a"])]
            fn f(n: u8) -> u8 { n }
        },
        expect![[r#"
            ::core::compile_error! {
                "no group is listed; leave `group` out"
            }
            ::core::compile_error! {
                "`group` is given twice; keep one"
            }
            ::core::compile_error! {
                "`group` needs a value; write `group = team(team)`"
            }
            ::core::compile_error! {
                "`tags` is no argument here; write `group = team(team)`"
            }
            fn f(n: u8) -> u8 {
                n
            }
        "#]],
    );
}
