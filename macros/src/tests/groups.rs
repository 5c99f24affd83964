//! Expansions of groups, and of functions whose values are in groups.

use expect_test::expect;
use quote::quote;

use super::{assert_defines, assert_expands};

#[test]
fn a_value_in_one_group_and_a_companion_that_takes_what_names_it() {
    assert_expands(
        quote! {
            #[memcached(key = "user:<id>", skip(team, log), group = team_group(team), entry = user_entry)]
            fn user(id: u64, team: TeamId, log: &Log) -> User { find(id, team, log) }
        },
        expect![[r#"
            fn user(id: u64, team: TeamId, log: &Log) -> User {
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
                    })
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
                let __memocached_elements = <&[UserId] as ::memocached::private::GivesElements<
                    '_,
                >>::list(ids);
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
                                            })
                                            .each();
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
                    let ids: &[UserId] = <&[UserId] as ::memocached::private::GivesElements<
                        '_,
                    >>::given(&mut __memocached_missing);
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

#[test]
fn functions_of_groups_by_their_keys() {
    assert_defines(
        quote! {
            /// Everything of one team.
            pub fn team(id: TeamId) = "team:<id>";
            pub(crate) fn everything() = "all";
            #[must_use = "names"]
            fn region<'a, T: KeyPart>(user: &'a User, id: T, at: SystemTime) = "<user.region.name()>/<id>,<at:debug>";
        },
        expect![[r#"
            /// Everything of one team.
            #[must_use]
            pub fn team(id: TeamId) -> ::memocached::Group {
                ::memocached::Group::of(
                    &mut |__memocached_key| {
                        __memocached_key.literal("team:");
                        __memocached_key.part(&id);
                    },
                )
            }
            #[must_use]
            pub(crate) fn everything() -> ::memocached::Group {
                ::memocached::Group::of(
                    &mut |__memocached_key| {
                        __memocached_key.literal("all");
                    },
                )
            }
            #[must_use = "names"]
            fn region<'a, T: KeyPart>(user: &'a User, id: T, at: SystemTime) -> ::memocached::Group {
                ::memocached::Group::of(
                    &mut |__memocached_key| {
                        __memocached_key.until(47u8).part(&user.region.name());
                        __memocached_key.literal("/");
                        __memocached_key.until(44u8).part(&id);
                        __memocached_key.literal(",");
                        __memocached_key.debug(&at);
                    },
                )
            }
        "#]],
    );
}

#[test]
fn a_group_without_a_key_has_its_path_and_every_parameter() {
    assert_defines(
        quote! {
            crate = my::memocached;
            fn of_path();
            fn r#match<T>((a, _b): (u8, u8), #[cfg(any())] c: impl KeyPart, T(d): T) where T: KeyPart;
        },
        expect![[r##"
            #[must_use]
            fn of_path() -> my::memocached::Group {
                my::memocached::Group::of(
                    &mut |__memocached_key| {
                        __memocached_key.part(::core::module_path!());
                        __memocached_key.literal("::");
                        __memocached_key.part("of_path");
                    },
                )
            }
            #[must_use]
            fn r#match<T>(
                (a, _b): (u8, u8),
                #[cfg(any())]
                c: impl KeyPart,
                T(d): T,
            ) -> my::memocached::Group
            where
                T: KeyPart,
            {
                my::memocached::Group::of(
                    &mut |__memocached_key| {
                        __memocached_key.part(::core::module_path!());
                        __memocached_key.literal("::");
                        __memocached_key.part("match");
                        __memocached_key.literal(":");
                        __memocached_key.part(&a);
                        __memocached_key.literal(":");
                        __memocached_key.part(&_b);
                        __memocached_key.literal(":");
                        #[cfg(any())] __memocached_key.part(&c);
                        __memocached_key.literal(":");
                        __memocached_key.part(&d);
                    },
                )
            }
        "##]],
    );
}

#[test]
fn mistakes_in_all_groups_are_told_at_once() {
    assert_defines(
        quote! {
            pub fn wrong(teem: u64) = "team:<team>";
            fn missing(_id: u64, ids: &mut [u64], all: &[u64]) = "all:<id>";
            fn list(ids: &[u64]) = "all:<one>";
            fn left_out(_id: u64, changed: &mut u64) = "all";
            pub const async unsafe extern "C" fn qualified(&self, n: u8) -> Group = "<self.id>,<n>";
            fn space(n: u8) = "<n> <n>";
            fn no_text(n: u8) = 5;
            fn nothing(n: u8) = ;
            fn body(n: u8) { n }
            struct S;
            crate = late;
            fn unclosed(n: u8) = "<n"
            fn last(n: u8) = "<n>";
        },
        expect![[r#"
            ::core::compile_error! {
                "a group is a plain function; remove `const`"
            }
            ::core::compile_error! {
                "a group is a plain function; remove `async`"
            }
            ::core::compile_error! {
                "a group is a plain function; remove `unsafe`"
            }
            ::core::compile_error! {
                "a group is a plain function; remove `extern \"C\"`"
            }
            ::core::compile_error! {
                "what is returned is a `Group`; leave the type out"
            }
            ::core::compile_error! {
                "a group is no method, so that all can name it; take what its key reads as parameters"
            }
            ::core::compile_error! {
                "the key of a group is a string; write `= \"team:<id>\";`"
            }
            ::core::compile_error! {
                "a key stands behind `=`; write `= \"team:<id>\";`"
            }
            ::core::compile_error! {
                "a group has a key in place of a body; write `= \"team:<id>\";`"
            }
            ::core::compile_error! {
                "expected a group, such as `fn team(id: u64) = \"team:<id>\";`"
            }
            ::core::compile_error! {
                "`crate = …;` stands once, before the first group"
            }
            ::core::compile_error! {
                "expected `;` behind a group"
            }
            ::core::compile_error! {
                "`<team>` names no parameter of `wrong`; did you mean `teem`?"
            }
            ::core::compile_error! {
                "`<id>` names no parameter of `missing`; did you mean `_id`?"
            }
            ::core::compile_error! {
                "`<one>` names no parameter of `list`"
            }
            ::core::compile_error! {
                "`_id` is not part of the key, so groups that differ in it would be one; add `<_id>` to the key"
            }
            ::core::compile_error! {
                "`changed` is not part of the key, so groups that differ in it would be one; add `<changed>` to the key"
            }
            ::core::compile_error! {
                "' ' cannot stand in a key; use printable ASCII without spaces"
            }
            ::core::compile_error! {
                "`<n` has no closing `>`; write `<<` for a literal `<`"
            }
            #[allow(unused_variables)]
            #[must_use]
            pub fn wrong(teem: u64) -> ::memocached::Group {
                ::memocached::private::never()
            }
            #[allow(unused_variables)]
            #[must_use]
            fn missing(_id: u64, ids: &mut [u64], all: &[u64]) -> ::memocached::Group {
                ::memocached::private::never()
            }
            #[allow(unused_variables)]
            #[must_use]
            fn list(ids: &[u64]) -> ::memocached::Group {
                ::memocached::private::never()
            }
            #[allow(unused_variables)]
            #[must_use]
            fn left_out(_id: u64, changed: &mut u64) -> ::memocached::Group {
                ::memocached::private::never()
            }
            #[allow(unused_variables)]
            #[must_use]
            pub fn qualified(n: u8) -> ::memocached::Group {
                ::memocached::private::never()
            }
            #[allow(unused_variables)]
            #[must_use]
            fn space(n: u8) -> ::memocached::Group {
                ::memocached::private::never()
            }
            #[allow(unused_variables)]
            #[must_use]
            fn no_text(n: u8) -> ::memocached::Group {
                ::memocached::private::never()
            }
            #[allow(unused_variables)]
            #[must_use]
            fn nothing(n: u8) -> ::memocached::Group {
                ::memocached::private::never()
            }
            #[allow(unused_variables)]
            #[must_use]
            fn body(n: u8) -> ::memocached::Group {
                ::memocached::private::never()
            }
            #[allow(unused_variables)]
            #[must_use]
            fn unclosed(n: u8) -> ::memocached::Group {
                ::memocached::private::never()
            }
            #[must_use]
            fn last(n: u8) -> ::memocached::Group {
                ::memocached::Group::of(
                    &mut |__memocached_key| {
                        __memocached_key.part(&n);
                    },
                )
            }
        "#]],
    );
    assert_defines(
        quote! { crate = Self; fn f(n: u8) = "<n>" },
        expect![[r#"
            ::core::compile_error! {
                "`crate` takes the path of memocached; write `crate = my_prelude::memocached`"
            }
            ::core::compile_error! {
                "expected `;` behind a group"
            }
            #[must_use]
            fn f(n: u8) -> ::memocached::Group {
                ::memocached::Group::of(
                    &mut |__memocached_key| {
                        __memocached_key.part(&n);
                    },
                )
            }
        "#]],
    );
}
