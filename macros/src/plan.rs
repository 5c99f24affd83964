//! Everything decided: [`Spec`] and [`Func`] → [`Plan`].
//!
//! Every rule that needs both the arguments and the signature stands here;
//! `expand` only writes down what a plan says.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{Expr, FnArg, GenericParam, Ident, ReturnType, Type};

use crate::attr::{Spec, Ttl};
use crate::errors::Errors;
use crate::func::{self, Func, Param};
use crate::template::{self, Format, Piece};

/// What the expansion does, with nothing left to check.
pub(crate) struct Plan {
    /// The label in spans and metrics: given, or the function's path.
    pub(crate) name: Option<String>,
    /// The template as shown in telemetry; without one, the parameters only.
    pub(crate) template: Template,
    pub(crate) key: Vec<Step>,
    pub(crate) ttl: Option<Ttl>,
    pub(crate) version: u32,
    pub(crate) entry: Option<Companion>,
    pub(crate) cache: Option<Expr>,
    pub(crate) krate: syn::Path,
    pub(crate) output: Type,
}

/// The function that gives a call's entry.
pub(crate) struct Companion {
    pub(crate) name: Ident,
    pub(crate) params: Vec<FnArg>,
}

/// The written form of the key.
pub(crate) enum Template {
    /// The author's words.
    Given(String),
    /// The function's path, and this behind it.
    Path(String),
}

/// One step of writing a key.
pub(crate) enum Step {
    /// The function's full path, `Self` and generics included.
    Function,
    Literal(String),
    /// A value, and the byte its text must not contain (if that is not
    /// escaped anyway).
    Value {
        expr: Expr,
        format: Format,
        terminator: Option<u8>,
    },
    /// A type parameter's name.
    Type(Ident),
    /// A const parameter's value.
    Const(Ident),
}

pub(crate) fn plan(spec: Spec, func: &Func, errors: &mut Errors) -> Option<Plan> {
    check_signature(func, errors);
    let output = output(func, errors);
    let params: Vec<Param> = func.params().collect();
    check_skip(&spec.skip, func, &params, errors);
    check_mutable_references(&spec.skip, &params, errors);
    let (template, key) = match &spec.key {
        Some(literal) => given_key(literal, &spec, func, &params, errors)?,
        None => default_key(&spec, func, &params),
    };
    let entry = spec.entry.clone().map(|name| companion(name, &spec, func, &params));
    Some(Plan {
        name: spec.name.map(|name| name.value()),
        template,
        key,
        ttl: spec.ttl,
        version: spec.version.unwrap_or(0),
        entry,
        cache: spec.cache,
        krate: spec.krate.unwrap_or_else(|| syn::parse_quote!(::memocached)),
        output: output?,
    })
}

fn check_signature(func: &Func, errors: &mut Errors) {
    let sig = &func.sig;
    if let Some(token) = &sig.constness {
        errors.push(token, "a `const fn` cannot reach a cache; remove `const`");
    }
    if let syn::Safety::Unsafe(token) = &sig.safety {
        errors.push(token, "an `unsafe fn` cannot be cached: a hit would skip the work its callers vouch for");
    }
    if let Some(abi) = &sig.abi {
        errors.push(abi, "an `extern` function cannot be cached; cache a plain function it calls");
    }
    if sig.ident == "main" {
        errors.push(&sig.ident, "`main` cannot be cached; cache a function it calls");
    }
    for attr in func.attrs.iter().filter(|attr| is_memcached(attr)) {
        errors.push(attr, "`#[memcached]` is given twice");
    }
}

fn is_memcached(attr: &syn::Attribute) -> bool {
    attr.path().segments.last().is_some_and(|segment| segment.ident == "memcached")
}

/// The type whose values are cached, or why there can be none.
fn output(func: &Func, errors: &mut Errors) -> Option<Type> {
    let ReturnType::Type(_, output) = &func.sig.output else {
        errors.push(&func.sig.ident, "a function that returns nothing has nothing to cache; remove `#[memcached]`");
        return None;
    };
    let why = match &**output {
        Type::Tuple(tuple) if tuple.elems.is_empty() => "a function that returns `()` has nothing to cache",
        Type::Never(_) => "a function that never returns has nothing to cache",
        Type::Reference(_) => "a cached value is decoded anew on each hit, so it must be owned; return it by value",
        Type::Ptr(_) => "a raw pointer means nothing in another process; return an owned value",
        Type::ImplTrait(_) => "the stored type must be named; write it instead of `impl Trait`",
        _ => return Some((**output).clone()),
    };
    errors.push(output, why);
    None
}

fn check_skip(skip: &[Ident], func: &Func, params: &[Param], errors: &mut Errors) {
    let generics = generics(func);
    for name in skip {
        let known = params.iter().any(|param| param.names.contains(name)) || find(&generics, name).is_some();
        if !known {
            errors.push(name, format!("no parameter is called `{name}`"));
        }
    }
}

type Key = (Template, Vec<Step>);

fn given_key(literal: &syn::LitStr, spec: &Spec, func: &Func, params: &[Param], errors: &mut Errors) -> Option<Key> {
    let text = literal.value();
    let pieces = match template::parse(&text) {
        Ok(pieces) => pieces,
        Err(mistake) => {
            errors.push(literal, mistake);
            return None;
        }
    };
    let generics = generics(func);
    let mut roots = Vec::new();
    let mut key = Vec::new();
    for (i, piece) in pieces.iter().enumerate() {
        let (source, format) = match piece {
            Piece::Literal(text) => {
                key.push(Step::Literal(text.clone()));
                continue;
            }
            Piece::Placeholder { expr, format } => (expr, *format),
        };
        let Some((mut expr, written)) = placeholder(source, literal, errors) else { continue };
        let terminator = match pieces.get(i + 1) {
            Some(Piece::Literal(text)) => template::terminator(text),
            _ => None,
        };
        if let Some(step) = find(&generics, &written) {
            key.push(step);
        } else if let Some(name) = params.iter().flat_map(|param| &param.names).find(|name| **name == written) {
            // The parameter's own span, so that macro hygiene finds it.
            *root(&mut expr).expect("a placeholder has a root") = name.clone();
            key.push(Step::Value { expr, format, terminator });
        } else {
            errors.push(literal, format!("`<{source}>` names no parameter of `{}`", func.sig.ident));
        }
        roots.push(written);
    }
    for (name, step) in &generics {
        if !roots.contains(name) && !spec.skip.contains(name) {
            key.push(Step::Literal(";".into()));
            key.push(step(name.clone()));
        }
    }
    check_complete(&roots, &spec.skip, func, params, errors);
    Some((Template::Given(text), key))
}

/// A placeholder's expression and the name it starts at.
fn placeholder(source: &str, literal: &syn::LitStr, errors: &mut Errors) -> Option<(Expr, Ident)> {
    let parsed = syn::LitStr::new(source, literal.span()).parse::<Expr>().ok();
    let found = parsed.and_then(|mut expr| root(&mut expr).cloned().map(|root| (expr, root)));
    if found.is_none() {
        errors.push(literal, format!("`<{source}>` is no parameter, field or method call, as in `<user.id>`"));
    }
    found
}

fn root(expr: &mut Expr) -> Option<&mut Ident> {
    match expr {
        Expr::Path(path) if path.path.get_ident().is_some() => Some(&mut path.path.segments[0].ident),
        Expr::Field(field) => root(&mut field.base),
        Expr::MethodCall(call) if call.args.is_empty() => root(&mut call.receiver),
        _ => None,
    }
}

/// Every parameter is in the key, skipped, or cannot be observed.
fn check_complete(roots: &[Ident], skip: &[Ident], func: &Func, params: &[Param], errors: &mut Errors) {
    // A mutable reference has a mistake of its own.
    for param in params.iter().filter(|param| !is_mutable_reference(param.arg)) {
        for name in param.names.iter().filter(|name| !roots.contains(name) && !skip.contains(name)) {
            if is_observable(name, func) {
                let message = format!(
                    "`{name}` is not part of the key, so calls that differ in it would share one value; \
                     add `<{name}>` to the key or `skip({name})`"
                );
                errors.push(name, message);
            }
        }
    }
}

fn is_observable(name: &Ident, func: &Func) -> bool {
    !name.unraw().to_string().starts_with('_') || func.body_names(name)
}

fn check_mutable_references(skip: &[Ident], params: &[Param], errors: &mut Errors) {
    for param in params.iter().filter(|param| is_mutable_reference(param.arg)) {
        if !param.names.iter().any(|name| skip.contains(name)) {
            let names = param.names.first().map_or_else(String::new, Ident::to_string);
            errors.push(
                param.arg,
                format!("a hit would lose what the function writes through `{names}`; return it, or `skip({names})`"),
            );
        }
    }
}

fn is_mutable_reference(arg: &FnArg) -> bool {
    match arg {
        FnArg::Receiver(receiver) => matches!(&receiver.kind, syn::ReceiverKind::Reference(_, _, Some(_))),
        FnArg::Typed(typed) => matches!(&*typed.ty, Type::Reference(reference) if reference.mutability.is_some()),
    }
}

/// Without a `key`: the function's path, then every parameter that counts.
fn default_key(spec: &Spec, func: &Func, params: &[Param]) -> Key {
    let mut shown = String::new();
    let mut key = vec![Step::Function];
    let names = params.iter().flat_map(|param| &param.names);
    for name in names.filter(|name| !spec.skip.contains(name) && is_observable(name, func)) {
        shown.push_str(&format!(":<{name}>"));
        key.push(Step::Literal(":".into()));
        key.push(Step::Value { expr: syn::parse_quote!(#name), format: Format::Part, terminator: None });
    }
    (Template::Path(shown), key)
}

/// A companion takes what the expressions of key, cache and ttl read.
fn companion(name: Ident, spec: &Spec, func: &Func, params: &[Param]) -> Companion {
    let ttl = match &spec.ttl {
        Some(Ttl::Expr(expr)) => Some(expr.to_token_stream()),
        _ => None,
    };
    let others: TokenStream = spec.cache.iter().map(ToTokens::to_token_stream).chain(ttl).collect();
    let is_read = |name: &Ident| {
        let in_key = !spec.skip.contains(name) && is_observable(name, func);
        in_key || func::mentions(others.clone(), name)
    };
    let read = params.iter().filter(|param| param.names.iter().any(is_read));
    Companion { name, params: read.map(|param| param.arg.clone()).collect() }
}

/// A type or const parameter and the step that writes it.
type Generic = (Ident, fn(Ident) -> Step);

fn generics(func: &Func) -> Vec<Generic> {
    let params = func.sig.generics.params.iter();
    params
        .filter_map(|param| match param {
            GenericParam::Type(param) => Some((param.ident.clone(), Step::Type as fn(Ident) -> Step)),
            GenericParam::Const(param) => Some((param.ident.clone(), Step::Const as fn(Ident) -> Step)),
            GenericParam::Lifetime(_) => None,
        })
        .collect()
}

fn find(generics: &[Generic], name: &Ident) -> Option<Step> {
    generics.iter().find(|(known, _)| known == name).map(|(known, step)| step(known.clone()))
}
