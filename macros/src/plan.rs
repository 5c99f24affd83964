//! Decides what the expansion does: [`Spec`] and [`Func`] → [`Plan`].
//!
//! Every rule that needs both the arguments and the signature is here. `expand`
//! only writes what a plan says.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, FnArg, GenericParam, Generics, Ident, Pat, Signature, Type};

use crate::duration::Period;
use crate::each::{self, Batch, Holds};
use crate::errors::Errors;
use crate::freshness::{self, Refresh};
use crate::func::{self, Func, Param, Role};
use crate::generics::{self, Names};
use crate::returns::{self, Returns};
use crate::spec::{self, Codec, Freshness, Lasting, OnError, SingleFlight, Spec};
use crate::template::{self, Format, Piece};

/// What the expansion does, with nothing left to check.
pub(crate) struct Plan {
    /// The label in spans and metrics; without one, the function's path.
    pub(crate) name: Option<String>,
    /// The template that telemetry shows.
    pub(crate) template: Template,
    pub(crate) key: Vec<Step>,
    pub(crate) freshness: Freshness,
    pub(crate) patience: Option<Period>,
    pub(crate) cache_none: Option<Period>,
    pub(crate) cache_err: Option<Lasting>,
    pub(crate) stale_if: Option<Expr>,
    pub(crate) store_if: Option<Expr>,
    /// What the body calls the value that it replaces.
    pub(crate) previous: Option<Ident>,
    pub(crate) when: Option<Expr>,
    pub(crate) single_flight: SingleFlight,
    pub(crate) at_most: Option<Expr>,
    pub(crate) on_error: OnError,
    pub(crate) codec: Option<Codec>,
    pub(crate) version: u32,
    pub(crate) entry: Option<Companion>,
    pub(crate) cache: Option<Expr>,
    pub(crate) groups: Vec<Expr>,
    pub(crate) krate: syn::Path,
    pub(crate) returns: Returns,
    pub(crate) refresh: Refresh,
    /// For a function that computes several values at once.
    pub(crate) batch: Option<Batch>,
}

/// The function that returns a call's entry.
pub(crate) struct Companion {
    pub(crate) name: Ident,
    pub(crate) generics: Generics,
    pub(crate) params: Vec<FnArg>,
    /// The veto that `put` asks. An entry outlives the arguments, so one that reads an argument
    /// is left out.
    pub(crate) store_if: Option<Expr>,
}

/// The template as text.
pub(crate) enum Template {
    /// The user's own.
    Given(String),
    /// The function's path followed by this.
    Path(String),
}

/// One step of writing a key.
pub(crate) enum Step {
    /// The function's full path, with `Self` and its generics.
    Function,
    /// The path of the module and the function's name.
    Path,
    /// The type of what an `impl Trait` parameter binds, and the parameter's `cfg`s.
    TypeOf(Ident, Vec<Attribute>),
    /// Text of the template.
    Literal(String),
    /// The value of a parameter, or a field or method of one.
    Value(Value),
    /// A type parameter's name, and the byte that it must escape.
    Type(Ident, Option<u8>),
    /// A const parameter's value, and the byte that it must escape.
    Const(Ident, Option<u8>),
    /// What tells apart the types that share this method.
    Owner,
}

/// A placeholder together with what the signature says about it.
pub(crate) struct Value {
    pub(crate) expr: Expr,
    pub(crate) format: Format,
    /// The byte that the value must escape, besides those that it always does.
    pub(crate) terminator: Option<u8>,
    /// The parameter's `cfg`s.
    pub(crate) cfgs: Vec<Attribute>,
    /// Where a type that cannot be part of a key is reported.
    pub(crate) span: Span,
}

/// Applies every rule; without a plan there is at least one mistake in `errors`.
pub(crate) fn plan(spec: Spec, func: &Func, errors: &mut Errors) -> Option<Plan> {
    check_signature(func, errors);
    freshness::check(&spec, errors);
    freshness::check_previous(&spec, func, errors);
    let returns = returns::returns(func, errors);
    let params: Vec<Param> = func.params().collect();
    check_skip(&spec.skip, func, &params, errors);
    check_at_most(&spec, func, &params, errors);
    check_mutable_references(&spec.skip, &params, errors);
    let batch = each::batch(&spec, func, &params, errors);
    if spec.each.is_some() && batch.is_none() {
        return None;
    }
    let params = match &batch {
        Some(batch) => each::by_element(params, batch),
        None => params,
    };
    let generics = kept_generics(&spec, func, &params);
    let (template, key) = match &spec.key {
        Some(literal) => {
            let mut key = given_key(literal, &spec.skip, func, &params, &generics, errors)?;
            if !spec.skip.iter().any(|name| name == "Self") {
                key.push(Step::Owner);
            }
            (Template::Given(literal.value()), key)
        }
        None => {
            let (shown, key) = default_key(vec![Step::Function], &spec.skip, func, &params, generics, errors);
            (Template::Path(shown), key)
        }
    };
    let returns = returns?;
    let entry = spec.entry.clone().map(|name| companion(name, &spec, &key, func, &returns, batch.as_ref()));
    let refresh = freshness::refresh(&spec, func, &params, &returns);
    freshness::check_patience(&spec, &refresh, returns.kind, errors);
    let groups = spec.groups().cloned().collect();
    Some(Plan {
        name: spec.name.map(|name| name.value()),
        template,
        key,
        freshness: spec.freshness,
        patience: spec.patience,
        cache_none: spec.cache_none,
        cache_err: spec.cache_err,
        stale_if: spec.stale_if,
        store_if: spec.store_if,
        previous: spec.previous,
        when: spec.when,
        single_flight: spec.single_flight.unwrap_or(SingleFlight::Lease),
        at_most: spec.at_most,
        on_error: spec.on_error.unwrap_or(OnError::Bypass),
        codec: spec.codec,
        version: spec.version.unwrap_or(0),
        entry,
        cache: spec.cache,
        groups,
        krate: spec::krate(spec.krate),
        returns,
        refresh,
        batch,
    })
}

fn check_signature(func: &Func, errors: &mut Errors) {
    let sig = &func.sig;
    check_const(sig, errors);
    if let syn::Safety::Unsafe(token) = &sig.safety {
        errors.push(token, "an `unsafe fn` cannot be cached: a hit would skip what its callers vouch for");
    }
    if let Some(abi) = &sig.abi {
        errors.push(abi, "an `extern` function cannot be cached; cache a plain function that it calls");
    }
    if sig.ident == "main" {
        errors.push(&sig.ident, "`main` cannot be cached; cache a function that it calls");
    }
    for attr in func.attrs.iter().filter(|attr| is_memcached(attr)) {
        errors.push(attr, "`#[memcached]` is given twice; keep one");
    }
}

/// Reports a function that must not do what a cache needs.
pub(crate) fn check_const(sig: &Signature, errors: &mut Errors) {
    if let Some(token) = &sig.constness {
        errors.push(token, "a `const fn` cannot reach a cache; remove `const`");
    }
}

fn is_memcached(attr: &Attribute) -> bool {
    attr.path().segments.last().is_some_and(|segment| segment.ident == "memcached")
}

fn check_skip(skip: &[Ident], func: &Func, params: &[Param], errors: &mut Errors) {
    let generics = generics(func);
    for (i, name) in skip.iter().enumerate() {
        if skip[..i].contains(name) {
            errors.push(name, format!("`{name}` is skipped twice; keep one"));
        }
        let known = params.iter().any(|param| param.names.contains(name)) || find(&generics, name).is_some();
        if !known && name != "Self" {
            errors.push(name, format!("no parameter is called `{name}`{}", func::meant(name, params)));
        }
    }
}

/// Reports a limit that depends on the call: it is one for all calls.
fn check_at_most(spec: &Spec, func: &Func, params: &[Param], errors: &mut Errors) {
    let Some(at_most) = &spec.at_most else { return };
    let generics = generics(func);
    let names = params.iter().flat_map(|param| &param.names).chain(generics.iter().map(|(name, _)| name));
    for name in names.filter(|name| func::mentions(at_most.to_token_stream(), name)) {
        let message =
            format!("`at_most` is one limit for all calls of the function; `{name}` is known only within a call");
        errors.push(at_most, message);
    }
}

/// Makes the steps that write a template and what it leaves out.
pub(crate) fn given_key(
    literal: &syn::LitStr,
    skip: &[Ident],
    func: &Func,
    params: &[Param],
    kept: &[Generic],
    errors: &mut Errors,
) -> Option<Vec<Step>> {
    let pieces = template::parse(&literal.value()).map_err(|mistake| errors.push(literal, mistake)).ok()?;
    let generics = generics(func);
    let mut roots = Vec::new();
    let mut key = Vec::new();
    let mut unclear = false;
    for (i, piece) in pieces.iter().enumerate() {
        let (source, format) = match piece {
            Piece::Literal(text) => {
                key.push(Step::Literal(text.clone()));
                continue;
            }
            Piece::Placeholder { expr, format } => (expr, *format),
        };
        let Some((mut expr, written)) = placeholder(source, literal, errors) else {
            unclear = true;
            continue;
        };
        let terminator = match pieces.get(i + 1) {
            Some(Piece::Literal(text)) => template::terminator(text),
            _ => None,
        };
        if let Some((name, step)) = find(&generics, &written) {
            if source != &written.to_string() || format != Format::Part {
                errors.push(literal, format!("`{written}` is a generic parameter; write just `<{written}>`"));
            }
            key.push(step(name.clone(), terminator));
        } else if let Some((param, name)) = bound(params, &written) {
            let whole = matches!(expr, Expr::Path(_));
            if whole && format == Format::Part {
                check_type(name, param, errors);
            }
            // With the parameter's own span, so that hygiene resolves it.
            *root(&mut expr)? = name.clone();
            let span = if whole { type_span(param) } else { literal.span() };
            let cfgs = func::cfgs(param.attrs()).cloned().collect();
            key.push(Step::Value(Value { expr, format, terminator, cfgs, span }));
        } else {
            unclear = true;
            errors.push(literal, unbound(source, &written, func, params));
        }
        if skip.contains(&written) {
            errors.push(literal, format!("`{written}` is both in the key and skipped; keep one"));
        }
        roots.push(written);
    }
    for (name, step) in kept.iter().filter(|(name, _)| !roots.contains(name)) {
        key.extend([Step::Literal(";".into()), step(name.clone(), None)]);
    }
    for step in anonymous(params, skip) {
        key.extend([Step::Literal(";".into()), step]);
    }
    // The parameter that a wrong placeholder meant would be reported as missing.
    if !unclear {
        check_complete(literal, &roots, skip, func, params, errors);
    }
    Some(key)
}

/// Says what is wrong with a placeholder that names no parameter.
fn unbound(source: &str, written: &Ident, func: &Func, params: &[Param]) -> String {
    let function = &func.sig.ident;
    if let Some(element) = params.iter().find(|param| param.role == Role::Element).and_then(|param| param.names.first())
        && func.params().any(|param| param.names.contains(written))
    {
        return format!("`<{source}>` stands for all elements; write `<{element}>` for one of them");
    }
    let meant = func::meant(written, params);
    let list =
        params.iter().filter(|param| !param.is_certain() && each::is_list(param)).find_map(|param| param.names.first());
    let each =
        list.map_or_else(String::new, |list| format!(", or one element of `{list}`, by `each({written} in {list})`?"));
    match (&*meant, &*each) {
        (meant, "") => format!("`<{source}>` names no parameter of `{function}`{meant}"),
        ("", each) => format!("`<{source}>` names no parameter of `{function}`{}", each.replacen(", or", "; is it", 1)),
        (meant, each) => {
            format!("`<{source}>` names no parameter of `{function}`{}{each}", meant.trim_end_matches('?'))
        }
    }
}

/// Parses a placeholder into its expression and the name at its root.
fn placeholder(source: &str, literal: &syn::LitStr, errors: &mut Errors) -> Option<(Expr, Ident)> {
    let parsed = syn::LitStr::new(source, literal.span()).parse::<Expr>().ok();
    let found = parsed.and_then(|mut expr| root(&mut expr).cloned().map(|root| (expr, root)));
    if found.is_none() {
        errors.push(literal, format!("`<{source}>` is not a parameter, field or method call such as `<user.id>`"));
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

/// Finds the parameter that binds `name`, and the name as it is bound.
fn bound<'a>(params: &'a [Param<'a>], name: &Ident) -> Option<(&'a Param<'a>, &'a Ident)> {
    params.iter().find_map(|param| param.names.iter().find(|bound| *bound == name).map(|name| (param, name)))
}

/// Reports a value behind `dyn`: its type is known only at run time, and would not be in the key.
fn check_type(name: &Ident, param: &Param, errors: &mut Errors) {
    if let FnArg::Typed(typed) = param.arg
        && generics::says(type_within(&typed.pat, &typed.ty, name), "dyn")
    {
        let or = if param.is_certain() { String::new() } else { format!(", or `skip({name})`") };
        let message = format!(
            "the key cannot tell which type is behind `dyn` in `{name}`; write a field or method that does, \
             as `<{name}.kind()>`{or}"
        );
        errors.push(&typed.ty, message);
    }
}

/// Returns the type of the part of a pattern that binds the name, as far as it is written.
fn type_within<'a>(pat: &Pat, ty: &'a Type, name: &Ident) -> &'a Type {
    let binds = |pat: &Pat| func::bound_names(pat).contains(name);
    match (pat, ty) {
        (Pat::Tuple(pat), Type::Tuple(tuple)) if pat.elems.len() == tuple.elems.len() => {
            let part = pat.elems.iter().zip(&tuple.elems).find(|(pat, _)| binds(pat));
            part.map_or(ty, |(pat, ty)| type_within(pat, ty, name))
        }
        _ => ty,
    }
}

/// Returns the span of a parameter's type, or of its pattern: the names in a
/// pattern have no written types.
fn type_span(param: &Param) -> Span {
    match param.arg {
        FnArg::Typed(typed) if matches!(*typed.pat, Pat::Ident(_)) => typed.ty.span(),
        FnArg::Typed(typed) => typed.pat.span(),
        FnArg::Receiver(receiver) => receiver.span(),
    }
}

/// Reports parameters that the body could read but that are neither in the key
/// nor skipped.
fn check_complete(
    literal: &syn::LitStr,
    roots: &[Ident],
    skip: &[Ident],
    func: &Func,
    params: &[Param],
    errors: &mut Errors,
) {
    // Other mutable references are reported by `check_mutable_references`.
    for param in params.iter().filter(|param| param.is_certain() || !is_mutable_reference(param.arg)) {
        for name in param.names.iter().filter(|name| !roots.contains(name) && !skip.contains(name)) {
            if param.is_certain() || is_observable(name, func) {
                match template::braced(&literal.value(), &name.to_string()) {
                    Some(source) => {
                        errors.push(literal, format!("write `<{source}>`, not `{{{source}}}`: braces are text"))
                    }
                    None => errors.push(name, missing(name, param)),
                }
            }
        }
    }
}

/// Says what follows from a key that lacks a parameter, and what to write.
fn missing(name: &Ident, param: &Param) -> String {
    let add = if name == "self" { "<self.field>".to_owned() } else { format!("<{name}>") };
    let or = if param.is_certain() { String::new() } else { format!(" or `skip({name})`") };
    let would = match param.role {
        Role::Body | Role::Element => "calls that differ in it would share one value",
        Role::Group => "groups that differ in it would be one",
    };
    format!("`{name}` is not part of the key, so {would}; add `{add}` to the key{or}")
}

fn is_observable(name: &Ident, func: &Func) -> bool {
    !name.unraw().to_string().starts_with('_') || func.body_names(name)
}

/// Reports mutable references: a hit would not write through them.
fn check_mutable_references(skip: &[Ident], params: &[Param], errors: &mut Errors) {
    for param in params.iter().filter(|param| is_mutable_reference(param.arg)) {
        if param.names.iter().any(|name| skip.contains(name)) {
            continue;
        }
        let name = param.names.first().map_or_else(String::new, Ident::to_string);
        let message = format!("a hit would lose what is written through `{name}`; return it, or `skip({name})`");
        match param.arg {
            FnArg::Receiver(receiver) => errors.push(receiver, message),
            FnArg::Typed(typed) => errors.push(&typed.ty, message),
        }
    }
}

fn is_mutable_reference(arg: &FnArg) -> bool {
    match arg {
        FnArg::Receiver(receiver) => match &receiver.kind {
            syn::ReceiverKind::Reference(_, _, mutable) => mutable.is_some(),
            syn::ReceiverKind::Typed(_, ty) => is_mutable(ty),
            _ => false,
        },
        FnArg::Typed(typed) => is_mutable(&typed.ty),
    }
}

/// Says whether a type is `&mut T`, or a `Pin` of one.
fn is_mutable(ty: &Type) -> bool {
    match returns::plain(ty) {
        Type::Reference(reference) => reference.mutability.is_some(),
        Type::Path(path) => path
            .path
            .segments
            .last()
            .is_some_and(|segment| segment.ident == "Pin" && returns::argument(segment).is_some_and(is_mutable)),
        _ => false,
    }
}

/// Makes the key of a function without `key`: what begins it, then every parameter
/// that the body could read. Also shows them as a template does.
pub(crate) fn default_key(
    mut key: Vec<Step>,
    skip: &[Ident],
    func: &Func,
    params: &[Param],
    kept: Vec<Generic>,
    errors: &mut Errors,
) -> (String, Vec<Step>) {
    let mut shown = String::new();
    for (name, step) in kept {
        shown.push_str(&format!(";<{name}>"));
        key.extend([Step::Literal(";".into()), step(name, None)]);
    }
    for step in anonymous(params, skip) {
        key.extend([Step::Literal(";".into()), step]);
    }
    for param in params {
        let is_read = |name: &Ident| param.is_certain() || is_observable(name, func);
        for name in param.names.iter().filter(|name| !skip.contains(name) && is_read(name)) {
            check_type(name, param, errors);
            shown.push_str(&format!(":<{name}>"));
            let cfgs = func::cfgs(param.attrs()).cloned().collect();
            let expr = syn::parse_quote!(#name);
            let value = Value { expr, format: Format::Part, terminator: None, cfgs, span: type_span(param) };
            key.extend([Step::Literal(":".into()), Step::Value(value)]);
        }
    }
    (shown, key)
}

/// Plans the companion; it takes `self` where the function does, and what the
/// key, the cache, the groups and the durations read.
fn companion(
    name: Ident,
    spec: &Spec,
    key: &[Step],
    func: &Func,
    returns: &Returns,
    batch: Option<&Batch>,
) -> Companion {
    let mut used: TokenStream = spec.address().map(ToTokens::to_token_stream).collect();
    let is_read = |name: &Ident| key.iter().any(|step| reads(step, name)) || func::mentions(used.clone(), name);
    let is_taken = |param: &Param| matches!(param.arg, FnArg::Receiver(_)) || param.names.iter().any(is_read);
    let takes = |param: Param| match batch.filter(|batch| param.names.contains(&batch.param)) {
        Some(batch) => Some(one_of(batch, spec)),
        None => is_taken(&param).then(|| shared(param.arg.clone())),
    };
    let params: Vec<FnArg> = func.params().filter_map(takes).collect();
    used.extend(params.iter().map(ToTokens::to_token_stream));
    used.extend(returns.output.to_token_stream());
    let store_if = spec.store_if.clone().filter(|store_if| !reads_argument(store_if, func, batch));
    used.extend(store_if.to_token_stream());
    used.extend(key.iter().filter_map(|step| match step {
        Step::Type(name, _) | Step::Const(name, _) => Some(name.to_token_stream()),
        Step::Function | Step::Path | Step::TypeOf(..) | Step::Literal(_) | Step::Value(_) | Step::Owner => None,
    }));
    // A closure that names a function lives as long as an entry, whatever types the name has.
    let store_if = store_if.map(|veto| match veto {
        Expr::Path(path) => syn::parse_quote!(|value| (#path)(value)),
        veto => veto,
    });
    Companion { name, generics: generics::needed(&func.sig.generics, used), params, store_if }
}

/// Says whether this reads an argument of the function. Names that the closure itself binds do
/// not count.
fn reads_argument(expr: &Expr, func: &Func, batch: Option<&Batch>) -> bool {
    let (own, read) = match expr {
        Expr::Closure(closure) => (closure.inputs.iter().flat_map(func::bound_names).collect(), &*closure.body),
        expr => (Vec::new(), expr),
    };
    let names = func.params().flat_map(|param| param.names).chain(batch.map(|batch| batch.element.clone()));
    let read = func::variables(read.to_token_stream());
    names.filter(|name| !own.contains(name)).any(|name| func::mentions(read.clone(), &name))
}

/// Makes the parameter that takes one element of a batch.
fn one_of(batch: &Batch, spec: &Spec) -> FnArg {
    let element = &batch.element;
    match &batch.holds {
        // `&impl A + B` is no type.
        Holds::Iterator(item) if matches!(&**item, Type::ImplTrait(item) if item.bounds.len() > 1) => {
            syn::parse_quote!(#element: &(#item))
        }
        Holds::Iterator(item) => syn::parse_quote!(#element: &#item),
        Holds::Type(ty) => {
            let krate = spec::krate(spec.krate.clone());
            syn::parse_quote!(#element: &<#ty as #krate::private::HoldsElements>::Element)
        }
    }
}

/// Makes `&self` of `&mut self`: an entry changes nothing in it.
fn shared(mut arg: FnArg) -> FnArg {
    if let FnArg::Receiver(receiver) = &mut arg
        && let syn::ReceiverKind::Reference(_, _, mutable) = &mut receiver.kind
    {
        *mutable = None;
    }
    arg
}

fn reads(step: &Step, name: &Ident) -> bool {
    match step {
        Step::TypeOf(read, _) => read == name,
        Step::Value(value) => root(&mut value.expr.clone()).is_some_and(|root| root == name),
        Step::Function | Step::Path | Step::Literal(_) | Step::Type(..) | Step::Const(..) | Step::Owner => false,
    }
}

/// A type or const parameter, and what makes the step that writes it.
pub(crate) type Generic = (Ident, ToStep);
type ToStep = fn(Ident, Option<u8>) -> Step;

fn generics(func: &Func) -> Vec<Generic> {
    let params = func.sig.generics.params.iter();
    params
        .filter_map(|param| match param {
            GenericParam::Type(param) => Some((param.ident.clone(), Step::Type as ToStep)),
            GenericParam::Const(param) => Some((param.ident.clone(), Step::Const as ToStep)),
            GenericParam::Lifetime(_) => None,
        })
        .collect()
}

/// Returns the generic parameters that calls can differ in: neither skipped nor
/// there for skipped parameters alone.
fn kept_generics(spec: &Spec, func: &Func, params: &[Param]) -> Vec<Generic> {
    let is_skipped = |param: &&Param| param.names.iter().any(|name| spec.skip.contains(name));
    let (skipped, kept): (Vec<&Param>, Vec<&Param>) = params.iter().partition(is_skipped);
    let exprs = spec.address().chain(&spec.when).chain(&spec.store_if);
    let mut used: TokenStream = exprs.map(ToTokens::to_token_stream).collect();
    used.extend(kept.iter().map(|param| param.arg.to_token_stream()));
    used.extend(func.sig.output.to_token_stream());
    used.extend(func.body.stream());
    let closed = |tokens| generics::closed(&func.sig.generics, generics::names(tokens));
    let used: Names = closed(used);
    let skipped: Names = closed(skipped.iter().map(|param| param.arg.to_token_stream()).collect());
    let is_skipped = |name: &str| skipped.contains(name) && !used.contains(name);
    let mut generics = generics(func);
    generics.retain(|(name, _)| !spec.skip.contains(name) && !is_skipped(&name.to_string()));
    generics
}

/// Makes the steps for the types of parameters that contain an `impl Trait`, which has no
/// name.
fn anonymous<'a>(params: &'a [Param<'a>], skip: &'a [Ident]) -> impl Iterator<Item = Step> {
    let is_unnamed = |ty| generics::says(ty, "impl");
    let anonymous = params.iter().filter(move |param| match (param.arg, param.role) {
        (FnArg::Typed(typed), Role::Body) => is_unnamed(&typed.ty),
        (FnArg::Typed(typed), Role::Element) => each::items(&typed.ty).is_some_and(is_unnamed),
        (FnArg::Typed(_), Role::Group) | (FnArg::Receiver(_), _) => false,
    });
    anonymous.flat_map(|param| {
        let names = param.names.iter().filter(|name| !skip.contains(name));
        names.map(|name| Step::TypeOf(name.clone(), func::cfgs(param.attrs()).cloned().collect()))
    })
}

fn find<'a>(generics: &'a [Generic], name: &Ident) -> Option<&'a Generic> {
    generics.iter().find(|(known, _)| known == name)
}
