//! The annotated function: its signature parsed, its body kept as raw tokens.
//!
//! Apart from its inner attributes the body is never parsed, so the compiler
//! reports mistakes in it exactly as it does without the attribute.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{AttrStyle, Attribute, FnArg, Ident, Pat, Signature, Token, Visibility};

use crate::nearest::nearest;

/// A function with its body unparsed.
pub(crate) struct Func {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) body: Group,
}

/// A parameter: the names it binds and its own tokens.
pub(crate) struct Param<'a> {
    pub(crate) arg: &'a FnArg,
    pub(crate) names: Vec<Ident>,
    pub(crate) role: Role,
}

/// What a parameter is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// For the body.
    Body,
    /// One element of a batch stands in its place.
    Element,
    /// For a group's key.
    Group,
}

/// An attribute that goes on functions, as messages speak of it.
pub(crate) struct Attr {
    pub(crate) name: &'static str,
    /// What a method without a body lacks.
    pub(crate) needs: &'static str,
}

impl Attr {
    pub(crate) const MEMCACHED: Attr = Attr { name: "memcached", needs: "body to cache" };
    pub(crate) const INVALIDATES: Attr = Attr { name: "invalidates", needs: "body that changes anything" };
    pub(crate) const UPDATES: Attr = Attr { name: "updates", needs: "body that changes anything" };
}

impl Func {
    /// Reads the item below an attribute.
    pub(crate) fn read(item: TokenStream, attr: &Attr) -> syn::Result<Func> {
        (|input: ParseStream| Func::parse(input, attr)).parse2(item)
    }

    fn parse(input: ParseStream, attr: &Attr) -> syn::Result<Func> {
        let mut attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let start = input.fork();
        let sig: Signature = input.parse().map_err(|error| not_a_function(&start, attr, error))?;
        if input.peek(Token![;]) {
            let Attr { name, needs } = attr;
            let message = format!("this method has no {needs}; put `#[{name}]` on its implementations");
            return Err(syn::Error::new_spanned(&sig.ident, message));
        }
        let inside = input.fork();
        let mut body = body(input.parse()?).ok_or_else(|| input.error("expected the function's body"))?;
        let inner = split_inner(&inside, &mut body)?;
        attrs.extend(inner.into_iter().map(|attr| Attribute { style: AttrStyle::Outer, ..attr }));
        Ok(Func { attrs, vis, sig, body })
    }
}

/// Reports an item that is not a function; a mistake in a function stays as it is.
fn not_a_function(start: ParseStream, attr: &Attr, error: syn::Error) -> syn::Error {
    if is_next(start) {
        return error;
    }
    match start.parse::<TokenTree>() {
        Ok(token) => {
            let message = format!("`#[{}]` goes on a function, and this is not one", attr.name);
            syn::Error::new_spanned(token, message)
        }
        Err(_) => error,
    }
}

/// Says whether the signature of a function seems to come next.
pub(crate) fn is_next(input: ParseStream) -> bool {
    // Behind at most `const async unsafe extern "C"`.
    input.cursor().token_stream().into_iter().take(6).any(|token| token.to_string() == "fn")
}

/// Returns the braces without the invisible group around a macro's fragment.
fn body(token: TokenTree) -> Option<Group> {
    let TokenTree::Group(group) = token else { return None };
    match group.delimiter() {
        Delimiter::Brace => Some(group),
        Delimiter::None => body(group.stream().into_iter().next()?),
        _ => None,
    }
}

/// Takes the inner attributes out of the body. They apply to the function and
/// are not allowed on the expression that the body becomes.
fn split_inner(input: ParseStream, body: &mut Group) -> syn::Result<Vec<Attribute>> {
    let inside;
    syn::braced!(inside in input);
    let attrs = inside.call(Attribute::parse_inner)?;
    if !attrs.is_empty() {
        let span = body.span();
        *body = Group::new(Delimiter::Brace, inside.parse()?);
        body.set_span(span);
    }
    Ok(attrs)
}

impl Func {
    /// Returns the parameters with the names that their patterns bind; `self` binds `self`.
    pub(crate) fn params(&self) -> impl Iterator<Item = Param<'_>> {
        self.sig.inputs.iter().map(|arg| {
            let names = match arg {
                FnArg::Receiver(receiver) => vec![Ident::new("self", receiver.self_token.span)],
                FnArg::Typed(typed) => bound_names(&typed.pat),
            };
            Param { arg, names, role: Role::Body }
        })
    }

    /// Says whether the body could read `name`; only then does the key need it.
    pub(crate) fn body_names(&self, name: &Ident) -> bool {
        mentions(self.body.stream(), name)
    }
}

impl Param<'_> {
    /// Whether it is in the key whatever its name and its type say. Then it cannot be
    /// skipped.
    pub(crate) fn is_certain(&self) -> bool {
        self.role != Role::Body
    }

    /// Returns the attributes on the parameter.
    pub(crate) fn attrs(&self) -> &[Attribute] {
        match self.arg {
            FnArg::Receiver(receiver) => &receiver.attrs,
            FnArg::Typed(typed) => &typed.attrs,
        }
    }
}

/// Selects the attributes that decide whether an item is compiled at all.
pub(crate) fn cfgs(attrs: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attrs.iter().filter(|attr| attr.path().is_ident("cfg"))
}

/// Returns the names that a pattern binds.
pub(crate) fn bound_names(pat: &Pat) -> Vec<Ident> {
    match pat {
        Pat::Ident(ident) => {
            let inner = ident.subpat.iter().flat_map(|(_, inner)| bound_names(inner));
            std::iter::once(ident.ident.clone()).chain(inner).collect()
        }
        Pat::Paren(paren) => bound_names(&paren.pat),
        Pat::Reference(reference) => bound_names(&reference.pat),
        Pat::Type(typed) => bound_names(&typed.pat),
        Pat::Tuple(tuple) => tuple.elems.iter().flat_map(bound_names).collect(),
        Pat::TupleStruct(tuple) => tuple.elems.iter().flat_map(bound_names).collect(),
        Pat::Slice(slice) => slice.elems.iter().flat_map(bound_names).collect(),
        Pat::Struct(pat) => pat.fields.iter().flat_map(|field| bound_names(&field.pat)).collect(),
        // Every alternative binds the same names.
        Pat::Or(or) => or.cases.first().map(bound_names).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// Suggests a parameter for a misspelt name.
pub(crate) fn meant(name: &Ident, params: &[Param]) -> String {
    let names: Vec<String> = params.iter().flat_map(|param| &param.names).map(Ident::to_string).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    nearest(&name.to_string(), &names).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// Says whether these tokens could read `name`.
pub(crate) fn mentions(tokens: TokenStream, name: &Ident) -> bool {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut rest = &tokens[..];
    while let [first, tail @ ..] = rest {
        if let Some(behind) = behind_rebinding(rest, name) {
            rest = behind;
            continue;
        }
        let mentioned = match first {
            TokenTree::Ident(ident) => ident.unraw() == name.unraw(),
            TokenTree::Group(group) => mentions(group.stream(), name),
            // A format string can name a variable without an identifier token.
            TokenTree::Literal(literal) => literal.to_string().contains(&name.unraw().to_string()),
            TokenTree::Punct(_) => false,
        };
        if mentioned {
            return true;
        }
        rest = tail;
    }
    false
}

/// Leaves out what can be no variable: the names of fields and methods, and texts without braces.
pub(crate) fn variables(tokens: TokenStream) -> TokenStream {
    let mut dots = 0;
    let is_variable = |token: &TokenTree| {
        let is_member = dots == 1;
        dots = if matches!(token, TokenTree::Punct(dot) if dot.as_char() == '.') { dots + 1 } else { 0 };
        match token {
            TokenTree::Ident(_) => !is_member,
            TokenTree::Literal(literal) => literal.to_string().contains('{'),
            TokenTree::Group(_) | TokenTree::Punct(_) => true,
        }
    };
    let within = |token| match token {
        TokenTree::Group(group) => TokenTree::from(Group::new(group.delimiter(), variables(group.stream()))),
        token => token,
    };
    tokens.into_iter().filter(is_variable).map(within).collect()
}

/// Returns what follows `let name = name;`. `#[async_trait]` writes that for
/// every parameter, and it does not count as reading one.
fn behind_rebinding<'a>(tokens: &'a [TokenTree], name: &Ident) -> Option<&'a [TokenTree]> {
    let [TokenTree::Ident(keyword), tail @ ..] = tokens else { return None };
    let tail = match tail {
        [TokenTree::Ident(mutable), tail @ ..] if mutable == "mut" => tail,
        tail => tail,
    };
    match tail {
        [TokenTree::Ident(a), TokenTree::Punct(equals), TokenTree::Ident(b), TokenTree::Punct(end), tail @ ..]
            if keyword == "let" && a == name && b == name && equals.as_char() == '=' && end.as_char() == ';' =>
        {
            Some(tail)
        }
        _ => None,
    }
}
