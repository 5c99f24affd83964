//! Which generic parameters a piece of a function needs.
//!
//! It goes by names: a parameter is needed where its name stands, and so is
//! whatever the bounds of a needed one name.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{GenericParam, Generics, Type, WherePredicate};

/// Names as they stand in code; that of a lifetime begins with `'`.
pub(crate) type Names = BTreeSet<String>;

/// Collects the names in these tokens.
pub(crate) fn names(tokens: TokenStream) -> Names {
    let mut found = Names::new();
    collect(tokens, &mut found);
    found
}

/// Says whether this word stands anywhere in a type, such as the `impl` of an unnamed one.
pub(crate) fn says(ty: &Type, word: &str) -> bool {
    names(ty.to_token_stream()).contains(word)
}

fn collect(tokens: TokenStream, found: &mut Names) {
    let mut is_lifetime = false;
    for token in tokens {
        match &token {
            TokenTree::Ident(name) if is_lifetime => found.insert(format!("'{name}")),
            TokenTree::Ident(name) => found.insert(name.to_string()),
            TokenTree::Group(group) => {
                collect(group.stream(), found);
                false
            }
            _ => false,
        };
        is_lifetime = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '\'');
    }
}

/// Adds the parameters that the bounds of those named here name.
pub(crate) fn closed(generics: &Generics, mut named: Names) -> Names {
    loop {
        let bounds = generics.params.iter().filter(|param| named.contains(&name(param))).map(|param| match param {
            GenericParam::Lifetime(param) => param.bounds.to_token_stream(),
            GenericParam::Type(param) => param.bounds.to_token_stream(),
            GenericParam::Const(param) => param.ty.to_token_stream(),
        });
        let predicates = predicates(generics).filter(|predicate| {
            let bounded = match predicate {
                WherePredicate::Lifetime(predicate) => predicate.lifetime.to_token_stream(),
                WherePredicate::Type(predicate) => predicate.bounded_ty.to_token_stream(),
                _ => TokenStream::new(),
            };
            !names(bounded).is_disjoint(&named)
        });
        let further = bounds.chain(predicates.map(ToTokens::to_token_stream)).flat_map(names);
        let all: Names = named.iter().cloned().chain(further).collect();
        if all.len() == named.len() {
            return named;
        }
        named = all;
    }
}

/// Leaves out the parameters that these tokens do not need, and what is said of
/// them.
pub(crate) fn needed(generics: &Generics, tokens: TokenStream) -> Generics {
    let named = closed(generics, names(tokens));
    let unneeded: Names = generics.params.iter().map(name).filter(|name| !named.contains(name)).collect();
    let mut kept = generics.clone();
    kept.params = generics.params.iter().filter(|param| !unneeded.contains(&name(param))).cloned().collect();
    if let Some(clause) = &mut kept.where_clause {
        let is_about_kept = |predicate: &&WherePredicate| names(predicate.to_token_stream()).is_disjoint(&unneeded);
        clause.predicates = predicates(generics).filter(is_about_kept).cloned().collect();
    }
    kept
}

fn predicates(generics: &Generics) -> impl Iterator<Item = &WherePredicate> {
    generics.where_clause.iter().flat_map(|clause| &clause.predicates)
}

/// Returns a parameter's name as [`names`] finds it.
fn name(param: &GenericParam) -> String {
    match param {
        GenericParam::Lifetime(param) => param.lifetime.to_string(),
        GenericParam::Type(param) => param.ident.to_string(),
        GenericParam::Const(param) => param.ident.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use quote::{ToTokens, quote};
    use syn::Signature;

    use super::needed;

    #[test]
    fn what_is_not_named_goes_with_its_bounds() {
        let sig: Signature = syn::parse_quote!(
            fn f<'a, 'b: 'a, T: Into<U>, U, F: Fn(T) -> R, R, const N: usize>()
            where
                U: 'b,
                F: Send
        );
        let kept = |tokens| {
            let generics = needed(&sig.generics, tokens);
            let (bounds, clause) = (generics.params.to_token_stream(), generics.where_clause.to_token_stream());
            format!("{bounds} {clause}").replace(' ', "")
        };
        assert_eq!(kept(quote!(&u8)), "");
        assert_eq!(kept(quote!(&'a [u8; N])), "'a,constN:usize");
        assert_eq!(kept(quote!(R)), "R");
        assert_eq!(kept(quote!(T)), "'a,'b:'a,T:Into<U>,UwhereU:'b");
        assert!(kept(quote!(F)).ends_with("whereU:'b,F:Send"));
    }
}
