//! Expands `group!`: functions that return groups, each made from a key's template.
//!
//! A template means what it means in `#[memcached]`, except that the key is the
//! template and nothing else: the same template always means the same group.

use proc_macro2::{Delimiter, Group as TokenGroup, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Expr, FnArg, Lit, LitStr, Path, ReturnType, Signature, Token};

use crate::attr::{krate, plain};
use crate::errors::Errors;
use crate::expand::write_step;
use crate::func::{self, Func, Param, Role};
use crate::plan::{Step, default_key, given_key};
use crate::span::hidden;
use crate::spec;

/// The function of a group.
struct Item {
    /// Its body is empty.
    func: Func,
    /// Missing if it could not be read, or may read `self`.
    key: Option<Key>,
}

/// What a group's function says about the key.
enum Key {
    Given(LitStr),
    /// Nothing: it is the function's path and every parameter.
    Default,
}

/// Writes the functions. After mistakes it writes those too, and functions of which
/// only the signature is right, so that their callers raise no errors of their own.
pub(crate) fn expand(tokens: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let (krate, items) = parse(tokens, &mut errors);
    let functions: TokenStream = items.iter().map(|item| function(item, &krate, &mut errors)).collect();
    let mistakes = errors.into_compile_errors();
    quote!(#mistakes #functions)
}

/// Reads `crate = path;`, then all functions; a mistake in one does not hide mistakes
/// in the next.
fn parse(tokens: TokenStream, errors: &mut Errors) -> (Path, Vec<Item>) {
    let (mut path, mut items) = (None, Vec::new());
    let read = |input: ParseStream| {
        while !input.is_empty() {
            let is_read = if input.peek(Token![crate]) && input.peek2(Token![=]) {
                let position = match (&path, &items[..]) {
                    (None, []) => Position::First,
                    _ => Position::Later,
                };
                errors.ok(place(input, position)).map(|place| path = Some(place))
            } else {
                item(input, &mut items, errors)
            };
            if is_read.is_none() {
                skip_item(input)?;
            }
        }
        Ok(())
    };
    if let Err(error) = read.parse2(tokens) {
        errors.push_error(error);
    }
    (spec::krate(path), items)
}

/// Where something stands in the list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    First,
    Later,
}

/// Reads `crate = path;`.
fn place(input: ParseStream, position: Position) -> syn::Result<Path> {
    let name: Token![crate] = input.parse()?;
    if position == Position::Later {
        return Err(syn::Error::new_spanned(name, "`crate = …;` stands once, before the first group"));
    }
    input.parse::<Token![=]>()?;
    let path = krate(input)?;
    input.parse::<Token![;]>()?;
    Ok(path)
}

/// Reads one function. If only its signature could be read, what follows is still to
/// be skipped.
fn item(input: ParseStream, items: &mut Vec<Item>, errors: &mut Errors) -> Option<()> {
    let mut func = errors.ok(head(input))?;
    let is_method = check_signature(&mut func.sig, errors);
    let key = errors.ok(key(input));
    if key.is_some() && input.parse::<Option<Token![;]>>().is_ok_and(|end| end.is_none()) {
        errors.push_error(syn::Error::new(input.span(), "expected `;` behind a group"));
    }
    let is_read = key.as_ref().map(|_| ());
    // What reads `self` is no mistake of its own.
    items.push(Item { func, key: key.filter(|_| !is_method) });
    is_read
}

fn head(input: ParseStream) -> syn::Result<Func> {
    let attrs = input.call(Attribute::parse_outer)?;
    let vis = input.parse()?;
    if !func::is_next(input) {
        return Err(input.error(r#"expected a group, such as `fn team(id: u64) = "team:<id>";`"#));
    }
    let sig = input.parse()?;
    Ok(Func { attrs, vis, sig, body: TokenGroup::new(Delimiter::Brace, TokenStream::new()) })
}

/// Reads what stands between a signature and the `;`.
fn key(input: ParseStream) -> syn::Result<Key> {
    if input.peek(syn::token::Brace) {
        return Err(input.error(r#"a group has a key in place of a body; write `= "team:<id>";`"#));
    }
    let equals: Option<Token![=]> = input.parse()?;
    match equals {
        Some(equals) if input.is_empty() || input.peek(Token![;]) => {
            Err(syn::Error::new_spanned(equals, r#"a key stands behind `=`; write `= "team:<id>";`"#))
        }
        Some(_) => match plain(input.parse()?) {
            Expr::Lit(syn::ExprLit { lit: Lit::Str(text), .. }) => Ok(Key::Given(text)),
            expr => {
                let message = r#"the key of a group is a string; write `= "team:<id>";`"#;
                Err(syn::Error::new_spanned(expr, message))
            }
        },
        None => Ok(Key::Default),
    }
}

/// Skips to behind the next `;` or braces.
fn skip_item(input: ParseStream) -> syn::Result<()> {
    while !input.is_empty() {
        match input.parse()? {
            TokenTree::Punct(end) if end.as_char() == ';' => break,
            TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => break,
            _ => {}
        }
    }
    Ok(())
}

/// Reports what the function of a group cannot be, and takes it from the signature;
/// says whether `self` was in it.
fn check_signature(sig: &mut Signature, errors: &mut Errors) -> bool {
    let safety = match std::mem::replace(&mut sig.safety, syn::Safety::Default) {
        syn::Safety::Default => None,
        safety => Some(safety.into_token_stream()),
    };
    let constness = sig.constness.take().map(ToTokens::into_token_stream);
    let asyncness = sig.asyncness.take().map(ToTokens::into_token_stream);
    let abi = sig.abi.take().map(ToTokens::into_token_stream);
    let variadic = sig.variadic.take().map(ToTokens::into_token_stream);
    for token in [constness, asyncness, safety, abi, variadic].into_iter().flatten() {
        let message = format!("a group is a plain function; remove `{token}`");
        errors.push(token, message);
    }
    if let ReturnType::Type(_, output) = std::mem::replace(&mut sig.output, ReturnType::Default) {
        errors.push(output, "what is returned is a `Group`; leave the type out");
    }
    let inputs = std::mem::take(&mut sig.inputs);
    let count = inputs.len();
    sig.inputs = inputs.into_iter().filter(|arg| !is_receiver(arg, errors)).collect();
    sig.inputs.len() < count
}

/// Reports `self`.
fn is_receiver(arg: &FnArg, errors: &mut Errors) -> bool {
    let FnArg::Receiver(receiver) = arg else { return false };
    errors.push(receiver, "a group is no method, so that all can name it; take what its key reads as parameters");
    true
}

/// Writes the function of a group.
fn function(item: &Item, krate: &Path, errors: &mut Errors) -> TokenStream {
    let Item { func, key } = item;
    let Func { attrs, vis, sig, .. } = func;
    let (unused, body) = match key.as_ref().and_then(|key| errors.ok_of(|errors| steps(func, key, errors))) {
        Some(steps) => {
            let key = hidden("__memocached_key");
            let steps = steps.iter().map(|step| write_step(step, &key, func));
            (None, quote!(#krate::Group::of(&mut |#key| { #(#steps)* })))
        }
        None => (Some(quote!(#[allow(unused_variables)])), quote!(#krate::private::never())),
    };
    let is_marked = attrs.iter().any(|attr| attr.path().is_ident("must_use"));
    let must_use = (!is_marked).then(|| quote!(#[must_use]));
    let mut sig = sig.clone();
    sig.output = syn::parse_quote!(-> #krate::Group);
    quote! {
        #(#attrs)*
        #unused
        #must_use
        #vis #sig {
            #body
        }
    }
}

/// Makes the steps that write the key; every parameter is in it.
fn steps(func: &Func, key: &Key, errors: &mut Errors) -> Option<Vec<Step>> {
    let params: Vec<Param> = func.params().map(|param| Param { role: Role::Group, ..param }).collect();
    match key {
        Key::Given(text) => given_key(text, &[], func, &params, &[], errors),
        Key::Default => Some(default_key(vec![Step::Path], &[], func, &params, Vec::new(), errors).1),
    }
}
