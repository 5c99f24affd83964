//! What is left of a function after mistakes: each mistake, then the function
//! as it was.

use expect_test::expect;
use quote::quote;

use super::{assert_expands, expanded};

#[test]
fn mistakes_in_arguments_key_and_signature_are_told_at_once() {
    assert_expands(
        quote! {
            #[memcached(key = "f:<m>", tll = 300, codec = jsn, version = -1, skip(x), entry)]
            #[inline]
            unsafe fn f(n: u8) -> &'static str {
                "n"
            }
        },
        expect![[r#"
            ::core::compile_error! {
                "unknown argument `tll`; did you mean `ttl`?"
            }
            ::core::compile_error! {
                "unknown codec `jsn`; did you mean `json`?"
            }
            ::core::compile_error! {
                "`version` is a whole number from 0 to 4294967295"
            }
            ::core::compile_error! {
                "`entry` needs a value; write `entry = user_entry`"
            }
            ::core::compile_error! {
                "an `unsafe fn` cannot be cached: a hit would skip what its callers vouch for"
            }
            ::core::compile_error! {
                "a cached value is decoded anew on each hit, so it must be owned; return it by value"
            }
            ::core::compile_error! {
                "no parameter is called `x`; did you mean `n`?"
            }
            ::core::compile_error! {
                "`<m>` names no parameter of `f`; did you mean `n`?"
            }
            #[inline]
            unsafe fn f(n: u8) -> &'static str {
                "n"
            }
        "#]],
    );
}

#[test]
fn keywords_where_names_belong() {
    assert_expands(
        quote! {
            #[memcached(entry = self, crate = Self)]
            fn f(n: u8) -> u8 { n }
        },
        expect![[r#"
            ::core::compile_error! {
                "`entry` is the name of the companion; write `entry = user_entry`"
            }
            ::core::compile_error! {
                "`crate` takes the path of memocached; write `crate = my_prelude::memocached`"
            }
            fn f(n: u8) -> u8 {
                n
            }
        "#]],
    );
}

#[test]
fn a_parameter_that_the_key_leaves_out() {
    assert_expands(
        quote! {
            #[memcached(key = "user:<id>")]
            fn user(id: u64, locale: &str) -> User {
                find(id, locale)
            }
        },
        expect![[r#"
            ::core::compile_error! {
                "`locale` is not part of the key, so calls that differ in it would share one value; add `<locale>` to the key or `skip(locale)`"
            }
            fn user(id: u64, locale: &str) -> User {
                find(id, locale)
            }
        "#]],
    );
}

#[test]
fn what_is_no_function_stays_what_it_is() {
    assert_expands(
        quote! {
            #[memcached(key = "a")]
            struct S {
                n: u8,
            }
        },
        expect![[r#"
            ::core::compile_error! {
                "`#[memcached]` goes on a function, and this is not one"
            }
            struct S {
                n: u8,
            }
        "#]],
    );
}

#[test]
fn durations_that_are_none_and_durations_that_do_not_fit_together() {
    assert_expands(
        quote! {
            #[memcached(
                ttl = forever,
                grace = 300,
                refresh_ahead = auto,
                cache_none = 5,
                cache_err = 1.5,
                near = -1,
                single_flight = leese,
                codec = text
            )]
            fn f(n: u8) -> Option<u8> { None }
        },
        expect![[r#"
            ::core::compile_error! {
                "not a duration; write seconds (`300`), text (`\"5m\"`) or a `Duration`"
            }
            ::core::compile_error! {
                "`near` cannot be negative"
            }
            ::core::compile_error! {
                "`single_flight` is `lease`, `local` or `off`"
            }
            ::core::compile_error! {
                "a value that is kept forever never gets old; leave `grace` out, or give a `ttl`"
            }
            ::core::compile_error! {
                "a value that is kept forever never gets old; leave `refresh_ahead` out, or give a `ttl`"
            }
            ::core::compile_error! {
                "`codec = text` stores the bytes of a value and nothing else, so it cannot store `None`; take another codec, or leave `cache_none` out"
            }
            fn f(n: u8) -> Option<u8> {
                None
            }
        "#]],
    );
    assert_expands(
        quote! {
            #[memcached(
                ttl = "1m",
                grace = forever,
                refresh_ahead = 60,
                cache_none = 0,
                near = "0s",
                single_flight,
                gracee = 1,
                refreshahead = 1,
                nearby = 1
            )]
            fn f(n: u8) -> Option<u8> { None }
        },
        expect![[r#"
            ::core::compile_error! {
                "only `ttl` may be `forever`; `grace` has an end"
            }
            ::core::compile_error! {
                "a `cache_none` of zero has no effect; leave it out"
            }
            ::core::compile_error! {
                "a `near` of zero has no effect; leave it out"
            }
            ::core::compile_error! {
                "`single_flight` needs a value; write `single_flight = local`"
            }
            ::core::compile_error! {
                "unknown argument `gracee`; did you mean `grace`?"
            }
            ::core::compile_error! {
                "unknown argument `refreshahead`; did you mean `refresh_ahead`?"
            }
            ::core::compile_error! {
                "unknown argument `nearby`; did you mean `near`?"
            }
            ::core::compile_error! {
                "this window is not narrower than the ttl, so every call would refresh; `refresh_ahead` is the last part of the ttl"
            }
            fn f(n: u8) -> Option<u8> {
                None
            }
        "#]],
    );
}

#[test]
fn a_limit_that_is_none_and_a_patience_that_nobody_can_have() {
    for (arguments, function, told) in [
        (
            quote!(at_most = 0),
            quote!(
                fn f() -> u8 {
                    1
                }
            ),
            "no body could run",
        ),
        (
            quote!(at_most = -1),
            quote!(
                fn f() -> u8 {
                    1
                }
            ),
            "a whole number from 1 on",
        ),
        (
            quote!(at_most = 1.5),
            quote!(
                fn f() -> u8 {
                    1
                }
            ),
            "a whole number from 1 on",
        ),
        (
            quote!(at_most = N + 1),
            quote!(
                fn f<const N: usize>() -> u8 {
                    1
                }
            ),
            "only within a call",
        ),
        (
            quote!(patience = 1),
            quote!(
                async fn f() -> u8 {
                    1
                }
            ),
            "without `grace`",
        ),
        (
            quote!(patience = 1, grace = 1),
            quote!(
                fn f() -> u8 {
                    1
                }
            ),
            "make the function `async`",
        ),
        (
            quote!(patience = 1, grace = 1, skip(n)),
            quote!(
                async fn f(n: &u8) -> u8 {
                    1
                }
            ),
            "must own",
        ),
        (
            quote!(patience = 1, grace = 1),
            quote!(
                async fn f() -> u8 {
                    f().await
                }
            ),
            "must own",
        ),
        (
            quote!(patience = 1, grace = 1, each(x in n)),
            quote!(
                async fn f(n: Vec<u8>) -> Vec<u8> {
                    n
                }
            ),
            "`each`",
        ),
    ] {
        let expansion = expanded(quote!(#[memcached(#arguments)] #function));
        assert!(expansion.contains("compile_error") && expansion.contains(told), "{expansion}");
    }
}
