//! Expansions of functions that change data, by how their bodies are run and by what
//! they say about it; and their mistakes.

use expect_test::expect;
use quote::quote;

use super::assert_expands;

#[test]
fn a_function_that_returns_nothing() {
    assert_expands(
        quote! {
            #[invalidates(user_entry(id))]
            pub fn remove(id: UserId) { delete(id) }
        },
        expect![[r#"
            pub fn remove(id: UserId) {
                let __memocached_write = ::memocached::private::WriterCall::of({
                        use ::memocached::private::shapes::*;
                        (&&&&&&::memocached::private::Probe::<()>::NEW).__memocached_shape()
                    })
                    .entry(&(user_entry(id)));
                __memocached_write.run(move || -> () { delete(id) })
            }
        "#]],
    );
}

#[test]
fn every_argument_on_an_async_method() {
    assert_expands(
        quote! {
            #[invalidates(
                user_entry(id),
                hold_off = "2s",
                self.team_entry(team),
                after = |renamed: &User| team_entry(renamed.team),
                on_error = refuse,
                mark = on,
                crate = my::memocached,
            )]
            #[tracing::instrument]
            async fn rename(&self, id: UserId, team: TeamId) -> Result<User, Error> {
                self.store(id, team).await?
            }
        },
        expect![[r#"
            #[tracing::instrument]
            async fn rename(&self, id: UserId, team: TeamId) -> Result<User, Error> {
                let __memocached_write = my::memocached::private::WriterCall::of({
                        use my::memocached::private::shapes::*;
                        (&&&&&&my::memocached::private::Probe::<Result<User, Error>>::NEW)
                            .__memocached_shape()
                    })
                    .hold_off(::core::time::Duration::from_millis(2000u64))
                    .entry(&(user_entry(id)))
                    .entry(&(self.team_entry(team)))
                    .after(|renamed: &User| team_entry(renamed.team))
                    .refusing();
                __memocached_write
                    .run_async(async move {
                        #[allow(unreachable_code)]
                        if false {
                            return my::memocached::private::never::<Result<User, Error>>();
                        }
                        self.store(id, team).await?
                    })
                    .await
            }
        "#]],
    );
}

#[test]
fn what_is_said_by_expressions_and_without_marks() {
    assert_expands(
        quote! {
            #[invalidates(a == b, if n == 0 { one } else { other }, hold_off = self.lag * 2)]
            fn f(&mut self, n: u8) -> &Row { self.row(n) }
        },
        expect![[r#"
            fn f(&mut self, n: u8) -> &Row {
                let __memocached_write = ::memocached::private::WriterCall::of({
                        use ::memocached::private::shapes::*;
                        (&&&&&&::memocached::private::Probe::<&Row>::NEW).__memocached_shape()
                    })
                    .hold_off(::memocached::private::duration(self.lag * 2))
                    .entry(&(a == b))
                    .entry(&(if n == 0 { one } else { other }));
                __memocached_write.run(move || -> &Row { self.row(n) })
            }
        "#]],
    );
    assert_expands(
        quote! {
            #[invalidates(after = |user| user_entry(user.id), mark = off, on_error = bypass)]
            unsafe extern "C" fn f(n: u8) -> Option<User> { insert(n) }
        },
        expect![[r#"
            unsafe extern "C" fn f(n: u8) -> Option<User> {
                let __memocached_write = ::memocached::private::WriterCall::of({
                        use ::memocached::private::shapes::*;
                        (&&&&&&::memocached::private::Probe::<Option<User>>::NEW)
                            .__memocached_shape()
                    })
                    .unmarked()
                    .after(|user| user_entry(user.id));
                __memocached_write.run(move || -> Option<User> { insert(n) })
            }
        "#]],
    );
}

#[test]
fn functions_that_return_futures() {
    assert_expands(
        quote! {
            #[invalidates(user_entry(id))]
            fn rename(id: UserId) -> impl Future<Output = ()> + Send {
                async move { store(id).await }
            }
        },
        expect![[r#"
            fn rename(id: UserId) -> impl Future<Output = ()> + Send {
                async move {
                    let __memocached_write = ::memocached::private::WriterCall::of({
                            use ::memocached::private::shapes::*;
                            (&&&&&&::memocached::private::Probe::<()>::NEW).__memocached_shape()
                        })
                        .entry(&(user_entry(id)));
                    __memocached_write
                        .run_async(async move {
                            (move || { async move { store(id).await } })().await
                        })
                        .await
                }
            }
        "#]],
    );
    assert_expands(
        quote! {
            #[updates(user_entry(id))]
            fn rename(&self, id: UserId) -> Pin<Box<dyn Future<Output = Result<User, Error>> + Send + '_>> {
                Box::pin(async move { self.store(id).await })
            }
        },
        expect![[r#"
            fn rename(
                &self,
                id: UserId,
            ) -> Pin<Box<dyn Future<Output = Result<User, Error>> + Send + '_>> {
                ::memocached::private::Box::pin(async move {
                    let __memocached_entry = user_entry(id);
                    let __memocached_entry = ::memocached::private::updatable(&__memocached_entry);
                    let __memocached_write = ::memocached::private::WriterCall::of({
                            use ::memocached::private::shapes::*;
                            (&&&&&&::memocached::private::Probe::<Result<User, Error>>::NEW)
                                .__memocached_shape()
                        })
                        .updates(
                            __memocached_entry,
                            __memocached_entry.updating_stamps(),
                            |value, stamps| __memocached_entry.updating(value, stamps),
                        );
                    __memocached_write
                        .run_async(async move {
                            (move || -> Pin<
                                Box<dyn Future<Output = Result<User, Error>> + Send + '_>,
                            > { Box::pin(async move { self.store(id).await }) })()
                                .await
                        })
                        .await
                })
            }
        "#]],
    );
}

#[test]
fn an_entry_that_is_updated() {
    assert_expands(
        quote! {
            #[updates(user_entry(id), on_error = refuse)]
            fn rename(id: UserId, name: String) -> Result<User, Error> { store(id, name) }
        },
        expect![[r#"
            fn rename(id: UserId, name: String) -> Result<User, Error> {
                let __memocached_entry = user_entry(id);
                let __memocached_entry = ::memocached::private::updatable(&__memocached_entry);
                let __memocached_write = ::memocached::private::WriterCall::of({
                        use ::memocached::private::shapes::*;
                        (&&&&&&::memocached::private::Probe::<Result<User, Error>>::NEW)
                            .__memocached_shape()
                    })
                    .updates(
                        __memocached_entry,
                        __memocached_entry.updating_stamps(),
                        |value, stamps| __memocached_entry.updating(value, stamps),
                    )
                    .refusing();
                __memocached_write.run(move || -> Result<User, Error> { store(id, name) })
            }
        "#]],
    );
    assert_expands(
        quote! {
            #[updates(self.user_entry(id))]
            async fn rename(&self, id: UserId) -> Option<User> { self.store(id).await }
        },
        expect![[r#"
            async fn rename(&self, id: UserId) -> Option<User> {
                let __memocached_entry = self.user_entry(id);
                let __memocached_entry = ::memocached::private::updatable(&__memocached_entry);
                let __memocached_write = ::memocached::private::WriterCall::of({
                        use ::memocached::private::shapes::*;
                        (&&&&&&::memocached::private::Probe::<Option<User>>::NEW)
                            .__memocached_shape()
                    })
                    .updates(
                        __memocached_entry,
                        __memocached_entry.updating_stamps(),
                        |value, stamps| __memocached_entry.updating(value, stamps),
                    );
                __memocached_write
                    .run_async(async move {
                        #[allow(unreachable_code)]
                        if false {
                            return ::memocached::private::never::<Option<User>>();
                        }
                        self.store(id).await
                    })
                    .await
            }
        "#]],
    );
}

#[test]
fn the_first_of_several_attributes_leaves_the_others_as_they_are() {
    assert_expands(
        quote! {
            #[updates(user_entry(id))]
            #[invalidates(team_entry(team))]
            #[memocached::invalidates(everything())]
            fn rename(id: UserId, team: TeamId) -> User { store(id, team) }
        },
        expect![[r#"
            #[invalidates(team_entry(team))]
            #[memocached::invalidates(everything())]
            fn rename(id: UserId, team: TeamId) -> User {
                let __memocached_entry = user_entry(id);
                let __memocached_entry = ::memocached::private::updatable(&__memocached_entry);
                let __memocached_write = ::memocached::private::WriterCall::of({
                        use ::memocached::private::shapes::*;
                        (&&&&&&::memocached::private::Probe::<User>::NEW).__memocached_shape()
                    })
                    .updates(
                        __memocached_entry,
                        __memocached_entry.updating_stamps(),
                        |value, stamps| __memocached_entry.updating(value, stamps),
                    );
                __memocached_write.run(move || -> User { store(id, team) })
            }
        "#]],
    );
    assert_expands(
        quote! {
            #[memcached(key = "next:<id>", entry = next_entry)]
            #[invalidates(list_entry())]
            fn next(id: u64) -> u64 { insert(id) }
        },
        expect![[r##"
            #[invalidates(list_entry())]
            fn next(id: u64) -> u64 {
                ::memocached::private::readied(|| {
                        let __memocached_call = ::memocached::private::Address::begin({
                                static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                                    function: "next",
                                    path: ::core::concat!(::core::module_path!(), "::", "next"),
                                    name: ::core::concat!(::core::module_path!(), "::", "next"),
                                    template: "next:<id>",
                                    ttl: ::memocached::private::SiteTtl::Unset,
                                    version: 0u32,
                                    file: ::core::file!(),
                                    line: ::core::line!(),
                                });
                                &SITE
                            })
                            .key(
                                &mut |__memocached_key| {
                                    __memocached_key.literal("next:");
                                    __memocached_key.part(&id);
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
                    .run(move || -> u64 { insert(id) })
            }
            ///The cache entry of [`next`] called with these arguments.
            #[allow(clippy::too_many_arguments, clippy::unused_self, unused_mut, unused_variables)]
            #[must_use]
            fn next_entry(id: u64) -> ::memocached::Entry<u64> {
                let __memocached_call = ::memocached::private::Address::of({
                        static SITE: ::memocached::private::Site = ::memocached::private::Site::new(::memocached::private::Description {
                            function: "next",
                            path: ::core::concat!(::core::module_path!(), "::", "next"),
                            name: ::core::concat!(::core::module_path!(), "::", "next"),
                            template: "next:<id>",
                            ttl: ::memocached::private::SiteTtl::Unset,
                            version: 0u32,
                            file: ::core::file!(),
                            line: ::core::line!(),
                        });
                        &SITE
                    })
                    .key(
                        &mut |__memocached_key| {
                            __memocached_key.literal("next:");
                            __memocached_key.part(&id);
                            __memocached_key.owner(&|| ());
                        },
                    );
                ::memocached::Entry::of(
                    ::memocached::private::ready(
                        __memocached_call
                            .shaped({
                                use ::memocached::private::shapes::*;
                                (&&&&&&::memocached::private::Probe::<u64>::NEW).__memocached_shape()
                            }),
                    ),
                )
            }
        "##]],
    );
}

#[test]
fn mistakes_in_the_arguments_are_told_at_once() {
    assert_expands(
        quote! {
            #[invalidates(
                "user:1",
                hold_off = 0,
                holdoff = 1,
                mark = of,
                on_error = propagate,
                after = |a, b| a,
                after = 5,
                group = team(n),
                crate = Self,
                mark,
                n n
            )]
            const fn f(n: u8) -> u8 { n }
        },
        expect![[r#"
            ::core::compile_error! {
                "a literal is neither an entry nor a group; write `user_entry(id)`"
            }
            ::core::compile_error! {
                "a `hold_off` of zero has no effect; leave it out"
            }
            ::core::compile_error! {
                "unknown argument `holdoff`; did you mean `hold_off`?"
            }
            ::core::compile_error! {
                "`mark` is `on` or `off`"
            }
            ::core::compile_error! {
                "`on_error` is `bypass` or `refuse`"
            }
            ::core::compile_error! {
                "`after` takes a closure with one parameter, a reference to the value; write `|value| …`"
            }
            ::core::compile_error! {
                "`after` is given twice; keep one"
            }
            ::core::compile_error! {
                "`after` takes a closure over the value; write `after = |team: &Team| team_entry(team.id)`"
            }
            ::core::compile_error! {
                "what changes stands by itself, without `group =`; write `team(team)`"
            }
            ::core::compile_error! {
                "`crate` takes the path of memocached; write `crate = my_prelude::memocached`"
            }
            ::core::compile_error! {
                "`mark` is given twice; keep one"
            }
            ::core::compile_error! {
                "`mark` needs a value; write `mark = off`"
            }
            ::core::compile_error! {
                "expected `,` between arguments"
            }
            ::core::compile_error! {
                "a `const fn` cannot reach a cache; remove `const`"
            }
            const fn f(n: u8) -> u8 {
                n
            }
        "#]],
    );
    assert_expands(
        quote! {
            #[updates(a(n), b(n), after = |n, m| n, after = |n| n, hold_off = forever, mark = off, mrak = 1)]
            fn f(n: u8) -> u8 { n }
        },
        expect![[r#"
            ::core::compile_error! {
                "`updates` replaces one entry; for `after`, put `#[memocached::invalidates(…)]` beside it"
            }
            ::core::compile_error! {
                "`after` takes a closure with one parameter, a reference to the value; write `|value| …`"
            }
            ::core::compile_error! {
                "`after` is given twice; keep one"
            }
            ::core::compile_error! {
                "`updates` replaces one entry; for `after`, put `#[memocached::invalidates(…)]` beside it"
            }
            ::core::compile_error! {
                "`updates` replaces one entry; for `hold_off`, put `#[memocached::invalidates(…)]` beside it"
            }
            ::core::compile_error! {
                "only `ttl` may be `forever`; `hold_off` has an end"
            }
            ::core::compile_error! {
                "an update is always marked; leave `mark` out"
            }
            ::core::compile_error! {
                "unknown argument `mrak`; the arguments are `on_error` and `crate`"
            }
            ::core::compile_error! {
                "`updates` replaces one entry; for another, put the attribute beside this one again"
            }
            fn f(n: u8) -> u8 {
                n
            }
        "#]],
    );
}

#[test]
fn nothing_that_changes() {
    assert_expands(
        quote! {
            #[invalidates(hold_off = 2, mark = off)]
            fn f(n: u8) -> u8 { n }
        },
        expect![[r#"
            ::core::compile_error! {
                "name what is invalidated; write `user_entry(id)`"
            }
            ::core::compile_error! {
                "without a mark nothing stays that could be held off; leave `hold_off` or `mark = off` out"
            }
            fn f(n: u8) -> u8 {
                n
            }
        "#]],
    );
    assert_expands(
        quote! {
            #[updates]
            fn f(n: u8) -> u8 { n }
        },
        expect![[r#"
            ::core::compile_error! {
                "name what is updated; write `user_entry(id)`"
            }
            fn f(n: u8) -> u8 {
                n
            }
        "#]],
    );
}

#[test]
fn what_needs_a_mark_and_has_none() {
    assert_expands(
        quote! {
            #[invalidates(a(n), on_error = refuse, mark = off, hold_off = 2)]
            fn f(n: u8) -> Result<u8, Error> { Ok(n) }
        },
        expect![[r#"
            ::core::compile_error! {
                "without a mark nothing stays that could be held off; leave `hold_off` or `mark = off` out"
            }
            ::core::compile_error! {
                "without a mark nothing can fail before the body; leave `on_error = refuse` or `mark = off` out"
            }
            fn f(n: u8) -> Result<u8, Error> {
                Ok(n)
            }
        "#]],
    );
    assert_expands(
        quote! {
            #[updates(a(n), on_error = refuse, mark = off)]
            fn f(n: u8) -> Result<u8, Error> { Ok(n) }
        },
        expect![[r#"
            ::core::compile_error! {
                "an update is always marked; leave `mark` out"
            }
            fn f(n: u8) -> Result<u8, Error> {
                Ok(n)
            }
        "#]],
    );
}

#[test]
fn return_types_without_a_value_or_a_name() {
    for output in [quote!(), quote!(-> ()), quote!(-> Result<(), Error>), quote!(-> io::Result<Option<()>>)] {
        let function = quote!(fn f(n: u8) #output { todo!() });
        let invalidates = super::expanded(quote!(#[invalidates(after = |n| a(n))] #function));
        assert!(invalidates.contains("`f` returns nothing that `after` could look at; name what"), "{invalidates}");
        let updates = super::expanded(quote!(#[updates(a(n))] #function));
        assert!(updates.contains("`f` returns nothing that the entry could be updated with;"), "{updates}");
    }
    assert_expands(
        quote! {
            #[invalidates(a(n))]
            fn f(n: u8) -> Result<impl Iterator<Item = u8>, Error> { find(n) }
        },
        expect![[r#"
            ::core::compile_error! {
                "whether the function fails is up to the type that it returns, which must be named; write the type instead of `impl Trait`"
            }
            fn f(n: u8) -> Result<impl Iterator<Item = u8>, Error> {
                find(n)
            }
        "#]],
    );
    assert_expands(
        quote! {
            #[invalidates(a(n))]
            fn f(n: u8) -> ! { loop {} }
        },
        expect![[r#"
            ::core::compile_error! {
                "a function that never returns is never done with a change; remove the attribute"
            }
            fn f(n: u8) -> ! {
                loop {}
            }
        "#]],
    );
}

#[test]
fn items_that_are_no_functions_with_bodies() {
    assert_expands(
        quote! {
            #[invalidates(a())]
            struct S;
        },
        expect![[r#"
            ::core::compile_error! {
                "`#[invalidates]` goes on a function, and this is not one"
            }
            struct S;
        "#]],
    );
    let method = crate::write(
        super::Change::Update,
        quote!(a(n)),
        quote!(
            fn f(&self, n: u8) -> u8;
        ),
    )
    .to_string();
    let message = "this method has no body that changes anything; put `#[updates]` on its implementations";
    assert!(method.contains(message) && method.ends_with("fn f (& self , n : u8) -> u8 ;"), "{method}");
}
