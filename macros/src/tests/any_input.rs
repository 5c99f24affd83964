//! The macros give something for any input: an expansion, or mistakes and the
//! function as it was. They never panic and never lose the function.
//!
//! `PROPTEST_CASES` sets the number of inputs of each test.

use std::str::FromStr;

use proc_macro2::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{Select, select};
use quote::quote;

use crate::any_text::{derived, grouped, holds};
use crate::argument::{Argument, WriterArgument};

const WORDS: &str = "a ¦ n ¦ T ¦ Self ¦ self ¦ _ ¦ _n ¦ r#n ¦ r#match ¦ é ¦ crate ¦ super ¦ forever ¦ auto
    ¦ lease ¦ local ¦ off ¦ bypass ¦ propagate ¦ json ¦ main ¦ memocached ¦ Pin ¦ Box ¦ Future ¦ Output ¦ BoxFuture ¦ fn ¦ async ¦ await ¦ const ¦ unsafe ¦ extern
    ¦ static ¦ pub ¦ in ¦ mut ¦ ref ¦ dyn ¦ impl ¦ for ¦ where ¦ struct ¦ enum ¦ union ¦ if ¦ else ¦ match ¦ let ¦ return
    ¦ move ¦ loop ¦ break ¦ as ¦ true ¦ type ¦ use ¦ box ¦ yield ¦ gen ¦ macro_rules ¦ default ¦ safe ¦ raw ¦ try";

const LITERALS: &str = r##"0 ¦ 1 ¦ 300 ¦ 0x1f ¦ 1u8 ¦ -1 ¦ 4294967296 ¦ 340282366920938463463374607431768211456 ¦ 1.5 ¦ 1e9
    ¦ -1.5f64 ¦ 'a' ¦ '<' ¦ b'x' ¦ b"<n>" ¦ c"<n>" ¦ "" ¦ "5m" ¦ "18446744073709551615w" ¦ "f:<n>" ¦ "<a>:<n>" ¦ "<"
    ¦ "<self.a.0>" ¦ "<n:bits>/<T>" ¦ "<<<n.a()>>" ¦ "<>" ¦ "é" ¦ r#"<r#n>"# ¦ "<n>"suffix"##;

/// What may stand behind an argument's name.
fn values(argument: Argument) -> &'static str {
    match argument {
        Argument::Key => r#""f" ¦ "f:<_n>" ¦ "<_n.a()>/<_a.0:bits>" ¦ "<T>:<_n>;<r#in>" ¦ "<self.a>,<n>""#,
        Argument::Skip => "() ¦ (self) ¦ (n, T) ¦ (Self, r#in,)",
        Argument::Each => "(id in ids) ¦ (n in n) ¦ (element in a) ¦ (x in self)",
        Argument::Ttl => {
            r#"300 ¦ "1h30m" ¦ "99999w" ¦ forever ¦ DAY * 2 ¦ if n { a } else { b } ¦ match n { 1 | 2 => a, _ => {} } ¦ |v| v.n"#
        }
        Argument::Grace => r#"300 ¦ |v| v.n ¦ "1h30m" ¦ "99999w" ¦ DAY * 2 ¦ n ¦ self.a"#,
        Argument::RefreshAhead => r#"1 ¦ "500ms" ¦ auto ¦ DAY / 2 ¦ _n.a()"#,
        Argument::Patience => r#""50ms" ¦ 1 ¦ n"#,
        Argument::CacheNone => r#"1 ¦ "500ms" ¦ n"#,
        Argument::CacheErr => r#"1 ¦ "500ms" ¦ A::B ¦ |e: &E| e.a"#,
        Argument::StaleIf => "|e| e.a ¦ |_: &u8| true ¦ a::b",
        Argument::StoreIf => {
            "|v| v > &0 ¦ move |v: &u8| -> bool { true } ¦ for<'a> |v: &'a u8| true ¦ a::b ¦ async |v| v"
        }
        Argument::When => {
            "n < 100 && *a ¦ (n) ¦ { n } ¦ return ¦ n? ¦ n as u64 << 3 ¦ |v| |w| v ¦ m!(n, <) ¦ a = b ¦ a..=b ¦ !-n"
        }
        Argument::Near => r#"1 ¦ "500ms" ¦ DAY * 2 ¦ if n { a } else { b }"#,
        Argument::SingleFlight => "lease ¦ local ¦ off",
        Argument::AtMost => "1 ¦ 8usize ¦ A::B ¦ N * 2 ¦ n ¦ { 1 + 1 }",
        Argument::OnError => "bypass ¦ propagate",
        Argument::Codec => "bincode ¦ postcard ¦ json ¦ text ¦ a::Packed<u8> ¦ <T as Coded>::Codec",
        Argument::Version => "0 ¦ 4294967295 ¦ 0x1f",
        Argument::Name => r##""users" ¦ "<é>" ¦ r#"""#"##,
        Argument::Entry => "companion ¦ r#in ¦ é",
        Argument::Cache => {
            "&self.a ¦ n ¦ &raw const n ¦ S { n, ..b }.a ¦ unsafe { n } ¦ async move { n }.await ¦ n.a::<T>().0.0[1]"
        }
        Argument::Group => "team(n) ¦ [a, n] ¦ [team(id),] ¦ { n } ¦ &self.a ¦ [a; 2] ¦ [..]",
        Argument::Idle => values(Argument::Near),
        Argument::Previous => "old ¦ r#match ¦ n ¦ é",
        Argument::Crate => "a ¦ ::a::b ¦ crate::a ¦ super ¦ self",
    }
}

/// What may stand behind the name of an argument of a function that changes data.
fn values_of_writer(argument: WriterArgument) -> &'static str {
    match argument {
        WriterArgument::After => values(Argument::StoreIf),
        WriterArgument::HoldOff => values(Argument::Near),
        WriterArgument::Mark => "on ¦ off",
        WriterArgument::OnError => "bypass ¦ refuse",
        WriterArgument::Crate => values(Argument::Crate),
    }
}

/// What may not stand behind some arguments, or behind any.
const ODD_VALUES: &str = r##"-1 ¦ 0 ¦ 1.5 ¦ 1u8 ¦ 99999999999999999999999 ¦ "0s" ¦ "" ¦ "<m>" ¦ "<1 + 1>" ¦ b"x" ¦ 'x' ¦ jsn
    ¦ r#json ¦ self ¦ Self ¦ crate ¦ super ¦ _ ¦ |a, b| a ¦ || n ¦ static || n ¦ a::<T>::b ¦ break 'a n ¦ loop {} ¦ .. ¦ m! { n } ¦ [n; 2] ¦ (n,)
    ¦ let a = n ¦ yield n ¦ #[a] n ¦ struct ¦ = ¦ => n ¦ n n ¦ "a" "b" ¦ 'a: loop {} ¦ { n }.a() ¦ a < b > c ¦ a += b
    ¦ |v| -> u8 { 1 } + 1 ¦ builtin # offset_of(A, b) ¦ for a in b {} ¦ const { 1 } ¦"##;

const ATTRIBUTES: &str = "#[must_use] ¦ #[doc = \"f\"] ¦ #[cfg(any())] ¦ #[allow(unused)] ¦ #[async_trait]";
const ODD_ATTRIBUTES: &str = "#[memcached] ¦ #[a::memcached(key = \"n\")] ¦ #[] ¦ #![a]";

const QUALIFIERS: &str = "¦ pub ¦ pub(crate) ¦ pub(in a::b) async ¦ async";
const ODD_QUALIFIERS: &str =
    "const ¦ unsafe ¦ const async unsafe ¦ extern \"C\" ¦ extern ¦ default ¦ gen ¦ safe ¦ async gen";

const NAMES: &str = "f ¦ r#match ¦ é";
const ODD_NAMES: &str = "main ¦ fn ¦ companion ¦ self";

const GENERICS: &str = "¦ <T> ¦ <> ¦ <'a, T: Clone + 'a, const N: usize> ¦ <'a: 'b, 'b, r#T> ¦ <#[cfg(any())] T>";
const ODD_GENERICS: &str = "<T ¦ <T: ?Sized = u8, U> ¦ <const N: u8 = { 1 }> ¦ <impl> ¦ <'a: T>";

const RECEIVERS: &str =
    "¦ ¦ &self, ¦ self, ¦ mut self, ¦ &'a self, ¦ self: Arc<Self>, ¦ mut self: Box<Self>, ¦ self: _,";
const PARAMETERS: &str =
    "n: u64 ¦ mut n: u64 ¦ ref n: T ¦ _n: &[T; N] ¦ _n: T ¦ n: impl Fn(u8) -> u8 ¦ _n: &(impl A + B)
    ¦ n @ 1..=5: u8 ¦ n: fn(&u8) ¦ n: _ ¦ n: m!() ¦ _: &str ¦ (a, mut b): (u8, u8) ¦ (n): u8 ¦ &(a, .., b): &(u8, u8)
    ¦ P { x, y: z, .. }: P ¦ P { 0: ref mut n }: P ¦ [a, n @ ..]: [u8; 3] ¦ S(n) | O(n): E ¦ &n: &u8 ¦ (_a, _): (T, u8)
    ¦ #[cfg(any())] n: u8 ¦ #[doc = \"n\"] r#in: u8 ¦ é: u8 ¦ A::B: u8 ¦ m!(): u8 ¦ n: &'static [(u8, A<'static>)]
    ¦ n: impl Fn(u8) -> u8 + Send + 'static ¦ n: Box<dyn A<B = u8> + Send> ¦ n: <S as A>::B";
const ODD_PARAMETERS: &str = "&mut self ¦ self: Pin<&mut Self> ¦ n: &mut Vec<u8> ¦ n: Pin<&mut T> ¦ n: dyn A + Send
    ¦ const { 1 }: u8 ¦ ..: u8 ¦ 'x'..: u8 ¦ u8 ¦ ... ¦ n: ... ¦ Self: u8 ¦ crate: u8 ¦ n ¦";

const RETURNS: &str =
    "u64 ¦ T ¦ Result<Option<T>, E> ¦ (u8) ¦ ((),) ¦ impl Future<Output = u8> + Send + '_ ¦ A<{ N }, 1, -1>
    ¦ (impl a::Future<Output = (u8)>) ¦ Pin<Box<dyn Future<Output = T> + Send + 'a>> ¦ Pin<Box<u8>> ¦ BoxFuture<'_, u8>
    ¦ impl Future<Output = u8> + Send ¦ Pin<Box<(dyn Future<Output = Vec<T>>)>> ¦ Pin<Box<dyn Future<Output = u8> + Send>> ¦ Cow<'_, str> ¦ [u8; { 1 + 1 }] ¦ <T as A>::B ¦ m!() ¦ A::<T>::B ¦ _";
const ODD_RETURNS: &str =
    "() ¦ ! ¦ &'a str ¦ *const u8 ¦ fn() -> u8 ¦ for<'a> fn(&'a u8) ¦ impl Future ¦ impl A ¦ Pin<>
    ¦ BoxFuture ¦ a::LocalBoxFuture<'a> ¦ dyn A ¦ Vec<&u8> ¦ unsafe extern \"C\" fn() ¦";

const BOUNDS: &str = "¦ where T: Clone, ¦ where ¦ where for<'a> &'a T: A<B = u8>, Self: Sized ¦ where 'a: 'b";

const GROUP_KEYS: &str = r#"¦ = "all" ¦ = "f:<n>" ¦ = "<_n>:<n.a()>" ¦ = "<self>" ¦ = "<T>/<n:bits>""#;

const BODIES: &str = "{ n } ¦ {} ¦ { let n = n; _n } ¦ { \"{n}\" } ¦ { #![allow(unused)] a? } ¦ { return 1 } ¦ { _n }";
const ODD_BODIES: &str = "{ 1 + ; } ¦ { n } n ¦ ; ¦ = n; ¦ { #![] } ¦ { #!a } ¦";

/// With fields for `A` and variants for `V`.
const TYPES: &str = "struct S; ¦ struct S<T>(A); ¦ struct S<'a, T: A = u8, const N: usize = 1>(A, A) where T: B;
    ¦ struct S { a: A } ¦ struct S<T> where T: B { a: A, pub r#b: A } ¦ enum E {} ¦ enum E<T> { V, V, V = 1 }
    ¦ pub enum r#E { V } ¦ union U { a: A } ¦ struct S { A, A, } ¦ fn f() {}";
const FIELDS: &str = "u8 ¦ &'a [T; N] ¦ dyn A ¦ (u8, T) ¦ _ ¦ fn(&T) ¦ m!() ¦";
const VARIANTS: &str = "W ¦ r#match ¦ W() ¦ W(A, A) ¦ r#W { a: A } ¦ W {} ¦ W(A) = 1 ¦ W { A }";
const KEYS: &str = "¦ #[key(skip)] ¦ #[serde(skip)] ¦ ¦";
const ODD_KEYS: &str = "#[key(crate = a::b)] ¦ #[key] ¦ #[key()] ¦ #[key = 1] ¦ #[key(skip, skip)] ¦ #[key(skip = 1)]
    ¦ #[key(skip(a))] ¦ #[key(crate)] ¦ #[key(crate = 1)] ¦ #[key(hash)] ¦ #[key(\"skip\")] ¦ #[key { skip }]";

/// As many as `PROPTEST_CASES` says, else as many as take a few seconds.
fn cases() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: cases.unwrap_or(1_000), ..ProptestConfig::default() }
}

fn one_of(choices: &'static str) -> Select<&'static str> {
    select(choices.split('¦').map(str::trim).collect::<Vec<_>>())
}

fn mostly(usual: &'static str, odd: &'static str) -> impl Strategy<Value = &'static str> {
    prop_oneof![15 => one_of(usual), 1 => one_of(odd)]
}

/// Source text as tokens; text that is none is an input without tokens.
fn lexed(text: &str) -> TokenStream {
    text.parse().unwrap_or_default()
}

/// As it comes out of a `macro_rules` macro: literals and groups in groups
/// without delimiters, and all of it in another.
fn fragments(text: &str) -> TokenStream {
    let wrap = |tokens| TokenTree::from(Group::new(Delimiter::None, tokens));
    let tokens = lexed(text).into_iter().map(|token| match token {
        TokenTree::Literal(_) | TokenTree::Group(_) => wrap(token.into()),
        token => token,
    });
    wrap(tokens.collect()).into()
}

/// Tokens in any order, in groups as deep as four.
fn tokens() -> impl Strategy<Value = TokenStream> {
    let tree = token().prop_recursive(4, 32, 8, |tree| {
        let delimiter = select(&[Delimiter::Parenthesis, Delimiter::Brace, Delimiter::Bracket, Delimiter::None][..]);
        let stream = vec(tree, 0..8).prop_map(TokenStream::from_iter);
        (delimiter, stream).prop_map(|(delimiter, stream)| Group::new(delimiter, stream).into())
    });
    vec(tree, 0..12).prop_map(TokenStream::from_iter)
}

fn token() -> impl Strategy<Value = TokenTree> {
    let word = prop_oneof![one_of(WORDS), select(Argument::names())].prop_map(|word| match word.strip_prefix("r#") {
        Some(raw) => Ident::new_raw(raw, Span::call_site()).into(),
        None => Ident::new(word, Span::call_site()).into(),
    });
    let literal = one_of(LITERALS).prop_map(|literal| Literal::from_str(literal).expect("a literal").into());
    let spacing = select(&[Spacing::Alone, Spacing::Joint][..]);
    let punctuation = (select("=,;:#!$?<>&|+-*/.@'~^%".chars().collect::<Vec<_>>()), spacing);
    let punctuation = punctuation.prop_map(|(c, spacing)| Punct::new(c, spacing).into());
    prop_oneof![4 => word, 2 => literal, 4 => punctuation]
}

/// Most of these are functions, and most of those can be cached.
fn function() -> impl Strategy<Value = String> {
    let attributes = vec(mostly(ATTRIBUTES, ODD_ATTRIBUTES), 0..2).prop_map(|attributes| attributes.join(" "));
    let head = (mostly(QUALIFIERS, ODD_QUALIFIERS), mostly(NAMES, ODD_NAMES), mostly(GENERICS, ODD_GENERICS));
    let parameters = vec(mostly(PARAMETERS, ODD_PARAMETERS), 0..5).prop_map(|parameters| parameters.join(", "));
    let tail = (mostly(RETURNS, ODD_RETURNS), one_of(BOUNDS), mostly(BODIES, ODD_BODIES));
    (attributes, head, one_of(RECEIVERS), parameters, tail).prop_map(
        |(attributes, (qualifiers, name, generics), receiver, parameters, (output, bounds, body))| {
            format!(
                "{attributes} {qualifiers} fn {name}{generics}({receiver} {parameters}) -> {output} {bounds} {body}"
            )
        },
    )
}

/// Most of these are right by themselves, if not for every function.
fn arguments() -> impl Strategy<Value = String> {
    let given: Vec<_> = Argument::ALL.iter().map(|argument| weighted(0.2, given(*argument))).collect();
    let name = prop_oneof![select(Argument::names()), one_of(WORDS)];
    let odd = (name, one_of("= ¦ = ¦ = ¦ () ¦ ¦ =="), one_of(ODD_VALUES));
    let odd = odd.prop_map(|(name, joint, value)| format!("{name} {joint} {value}"));
    (given, weighted(0.2, odd), mostly(",", ",, ¦ ; ¦ ¦ =>")).prop_map(|(given, odd, separator)| {
        let all: Vec<String> = given.into_iter().flatten().chain(odd).collect();
        all.join(separator)
    })
}

fn given(argument: Argument) -> impl Strategy<Value = String> {
    let joint = if matches!(argument, Argument::Skip | Argument::Each) { "" } else { " = " };
    one_of(values(argument)).prop_map(move |value| format!("{argument}{joint}{value}"))
}

/// Most of these are right by themselves, if not for both attributes.
fn arguments_of_writer() -> impl Strategy<Value = String> {
    let targets = vec(mostly(values(Argument::When), ODD_VALUES), 0..3);
    let given = |argument: &WriterArgument| {
        let argument = *argument;
        one_of(values_of_writer(argument)).prop_map(move |value| format!("{argument} = {value}"))
    };
    let given: Vec<_> = WriterArgument::ALL.iter().map(|argument| weighted(0.2, given(argument))).collect();
    let name = prop_oneof![select(WriterArgument::names()), one_of(WORDS)];
    let odd = (name, one_of("= ¦ = ¦ = ¦ () ¦ ¦ =="), one_of(ODD_VALUES));
    let odd = odd.prop_map(|(name, joint, value)| format!("{name} {joint} {value}"));
    (targets, given, weighted(0.2, odd), mostly(",", ",, ¦ ; ¦ ¦ =>")).prop_map(|(targets, given, odd, separator)| {
        let all: Vec<String> =
            targets.into_iter().map(str::to_owned).chain(given.into_iter().flatten()).chain(odd).collect();
        all.join(separator)
    })
}

/// Most of these are right.
fn groups() -> impl Strategy<Value = String> {
    let head =
        (mostly(ATTRIBUTES, ODD_ATTRIBUTES), mostly("¦ pub ¦ pub(in a::b)", QUALIFIERS), mostly(NAMES, ODD_NAMES));
    let parameters = vec(mostly(PARAMETERS, ODD_PARAMETERS), 0..3).prop_map(|parameters| parameters.join(", "));
    let tail = (one_of(BOUNDS), mostly(GROUP_KEYS, ODD_VALUES), mostly(";", "¦ ;; ¦ , ¦ {}"));
    let group = (head, mostly(GENERICS, ODD_GENERICS), parameters, tail).prop_map(
        |((attribute, qualifiers, name), generics, parameters, (bounds, key, end))| {
            format!("{attribute} {qualifiers} fn {name}{generics}({parameters}) {bounds} {key} {end}")
        },
    );
    let place = mostly("¦ crate = a::b;", "crate = 1; ¦ crate ¦ crate = Self;");
    (place, vec(group, 0..4)).prop_map(|(place, groups)| format!("{place} {}", groups.join(" ")))
}

fn type_definition() -> impl Strategy<Value = String> {
    let key = || mostly(KEYS, ODD_KEYS);
    (key(), one_of(TYPES), vec((key(), one_of(VARIANTS)), 3), vec((key(), one_of(FIELDS)), 6)).prop_map(
        |(key, definition, variants, fields)| {
            let mut text = format!("{key} {definition}");
            for (key, variant) in variants {
                text = text.replacen('V', &format!("{key} {variant}"), 1);
            }
            for (key, field) in fields {
                text =
                    text.replacen("a: A", &format!("{key} a: {field}"), 1).replacen('A', &format!("{key} {field}"), 1);
            }
            text
        },
    )
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_tokens_may_be_arguments_and_item(arguments in tokens(), item in tokens()) {
        holds(arguments.clone(), quote!(fn f(n: u8) -> u8 { n }));
        holds(arguments, item.clone());
        holds(TokenStream::new(), quote!(fn f(#item) -> u8 { n }));
        holds(TokenStream::new(), quote!(fn f() -> #item { #item }));
    }

    #[test]
    fn any_arguments_may_stand_on_any_function(arguments in arguments(), function in function()) {
        holds(lexed(&arguments), lexed(&function));
        holds(fragments(&arguments), fragments(&function));
    }

    #[test]
    fn any_arguments_may_stand_on_any_function_that_changes_data(
        arguments in arguments_of_writer(),
        function in function(),
    ) {
        holds(lexed(&arguments), lexed(&function));
        holds(fragments(&arguments), fragments(&function));
    }

    #[test]
    fn any_groups_may_be_defined(groups in groups(), tokens in tokens()) {
        grouped(lexed(&groups));
        grouped(fragments(&groups));
        grouped(quote!(fn f(n: u8) = #tokens; fn g(#tokens);));
        grouped(tokens);
    }

    #[test]
    fn any_text_may_be_a_key_a_name_and_a_duration(
        text in "[<>:&%a.b(),self r#\"é;-]{0,24}",
        key in "f(:<(_n|_a\\.0|T|_b\\.a\\(\\)|_[nab.()r#]{0,4})(:bits|:hash)?>[,;/<]?){0,4}",
        duration in "([0-9]{1,20}(ms|s|m|h|d|w|weeks)? ?){1,3}",
    ) {
        let function = "fn f<T>(_n: u8, r#_a: (u8, u8), mut _b: T) -> T { 1 }";
        let texts = [("key", &text), ("key", &key), ("name", &text), ("ttl", &duration), ("grace", &duration)];
        for (name, text) in texts {
            let text = Literal::string(text);
            holds(lexed(&format!("{name} = {text}, entry = e")), lexed(function));
        }
    }

    #[test]
    fn any_text_is_a_template_or_refused(
        any in any::<String>(),
        nearly in "(<<?|>|:|::| |a|n\\.0|bits|hash|~|&|%|,|;|é){0,16}",
    ) {
        crate::any_text::template(&any);
        crate::any_text::template(&nearly);
    }

    #[test]
    fn any_source_may_be_below_the_attribute(arguments in arguments(), function in function(), any in any::<String>()) {
        crate::any_text::attribute(&format!("use memocached::memcached;\n#[memcached({arguments})]\n{function}\nfn main() {{}}"));
        crate::any_text::attribute(&any);
    }

    #[test]
    fn any_type_may_derive(definition in type_definition(), key in tokens(), field in tokens()) {
        let generated = [quote!(struct S { #[key(#key)] a: u8 }), quote!(enum E { V(#field) }), field];
        for stream in [lexed(&definition)].into_iter().chain(generated) {
            derived(stream);
        }
    }
}
