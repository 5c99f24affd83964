//! Every mistake is reported once, on the token that is wrong, with what to write
//! instead; a correct caller of a wrong function hears nothing.
//!
//! `TRYBUILD=overwrite cargo test --test ui` rewrites what the compiler says.

#[test]
fn mistakes_are_reported_where_they_are() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
