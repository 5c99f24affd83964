//! The annotated function: its signature parsed, its body kept as raw tokens.
//!
//! The body is never looked into as syntax, so whatever the user writes there
//! is reported by the compiler exactly as without the attribute.

use proc_macro2::{Group, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, FnArg, Ident, Pat, Signature, Token, Visibility};

/// A function as the attribute sees it.
pub(crate) struct Func {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) body: Group,
}

/// A parameter as far as keys care: the names it binds and its own tokens.
pub(crate) struct Param<'a> {
    pub(crate) arg: &'a FnArg,
    pub(crate) names: Vec<Ident>,
}

impl Parse for Func {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let sig: Signature = input
            .parse()
            .map_err(|error| syn::Error::new(error.span(), "`#[memcached]` goes on a function; there is none here"))?;
        if input.peek(Token![;]) {
            let message = "this method has no body to cache; put `#[memcached]` on the implementation";
            return Err(input.error(message));
        }
        let TokenTree::Group(body) = input.parse()? else {
            return Err(input.error("expected the function's body"));
        };
        Ok(Func { attrs, vis, sig, body })
    }
}

impl Func {
    /// The parameters with the names their patterns bind; `self` binds `self`.
    pub(crate) fn params(&self) -> impl Iterator<Item = Param<'_>> {
        self.sig.inputs.iter().map(|arg| {
            let mut names = Vec::new();
            match arg {
                FnArg::Receiver(receiver) => names.push(Ident::new("self", receiver.self_token.span)),
                FnArg::Typed(typed) => bound_names(&typed.pat, &mut names),
            }
            Param { arg, names }
        })
    }

    /// Whether the body could read `name`: only then must a key know it.
    pub(crate) fn body_names(&self, name: &Ident) -> bool {
        mentions(self.body.stream(), name)
    }
}

fn bound_names(pat: &Pat, names: &mut Vec<Ident>) {
    match pat {
        Pat::Ident(ident) => {
            names.push(ident.ident.clone());
            if let Some((_, inner)) = &ident.subpat {
                bound_names(inner, names);
            }
        }
        Pat::Paren(paren) => bound_names(&paren.pat, names),
        Pat::Reference(reference) => bound_names(&reference.pat, names),
        Pat::Type(typed) => bound_names(&typed.pat, names),
        Pat::Tuple(tuple) => tuple.elems.iter().for_each(|pat| bound_names(pat, names)),
        Pat::TupleStruct(tuple) => tuple.elems.iter().for_each(|pat| bound_names(pat, names)),
        Pat::Slice(slice) => slice.elems.iter().for_each(|pat| bound_names(pat, names)),
        Pat::Struct(pat) => pat.fields.iter().for_each(|field| bound_names(&field.pat, names)),
        // Every alternative binds the same names.
        Pat::Or(or) => or.cases.first().into_iter().for_each(|pat| bound_names(pat, names)),
        _ => {}
    }
}

/// Whether these tokens could read `name`.
pub(crate) fn mentions(tokens: TokenStream, name: &Ident) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident.unraw() == name.unraw(),
        TokenTree::Group(group) => mentions(group.stream(), name),
        // A format string can name a variable without an identifier token.
        TokenTree::Literal(literal) => literal.to_string().contains(&name.unraw().to_string()),
        TokenTree::Punct(_) => false,
    })
}
