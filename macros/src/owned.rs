//! Decides whether a call owns all its data, so that its body may run to the
//! end after the caller is gone.
//!
//! It judges by how types are written, since a macro sees no types. Doubt means
//! no: the body then runs in place, which is always right. It does not see
//! elided lifetimes (`Guard` for `Guard<'_>`, an error in an `async fn`) or the
//! type parameters of a surrounding `impl`; the compiler reports what those
//! borrow.

use proc_macro2::{TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::{FnArg, GenericArgument, Lifetime, PathArguments, ReturnType, Token, Type, TypeParamBound};

use crate::func::Func;

/// Says whether all that this function takes and returns is certainly owned.
///
/// `self` is not: its type is unknown here and may borrow.
pub(crate) fn owns_its_data(func: &Func, output: &Type) -> bool {
    let is_owned_argument = |arg: &FnArg| match arg {
        FnArg::Receiver(_) => false,
        FnArg::Typed(typed) => is_owned(&typed.ty),
    };
    func.sig.generics.type_params().next().is_none()
        && func.sig.inputs.iter().all(is_owned_argument)
        && is_owned(output)
}

/// Says whether a type, as it is written, holds no borrowed data.
pub(crate) fn is_owned(ty: &Type) -> bool {
    match ty {
        Type::Group(group) => is_owned(&group.elem),
        Type::Paren(paren) => is_owned(&paren.elem),
        Type::Array(array) => is_owned(&array.elem),
        Type::Slice(slice) => is_owned(&slice.elem),
        Type::Tuple(tuple) => tuple.elems.iter().all(is_owned),
        Type::Reference(reference) => reference.lifetime.as_ref().is_some_and(is_static) && is_owned(&reference.elem),
        Type::Path(path) => path.qself.as_ref().is_none_or(|qself| is_owned(&qself.ty)) && is_owned_path(&path.path),
        // A trait object without a lifetime is `'static` unless a reference
        // surrounds it; an `impl Trait` without one may borrow.
        Type::TraitObject(object) => are_owned(&object.bounds) && sends(&object.bounds),
        Type::ImplTrait(unnamed) => {
            let is_static = |bound: &TypeParamBound| matches!(bound, TypeParamBound::Lifetime(_));
            are_owned(&unnamed.bounds) && sends(&unnamed.bounds) && unnamed.bounds.iter().any(is_static)
        }
        _ => false,
    }
}

fn is_static(lifetime: &Lifetime) -> bool {
    lifetime.ident == "static"
}

fn is_owned_path(path: &syn::Path) -> bool {
    path.segments.iter().all(|segment| {
        segment.ident != "Self"
            && match &segment.arguments {
                PathArguments::None => true,
                PathArguments::AngleBracketed(arguments) => arguments.args.iter().all(is_owned_argument),
                PathArguments::Parenthesized(arguments) => {
                    arguments.inputs.iter().all(|input| is_owned(&input.ty))
                        && match &arguments.output {
                            ReturnType::Default => true,
                            ReturnType::Type(_, ty) => is_owned(ty),
                        }
                }
            }
    })
}

fn is_owned_argument(argument: &GenericArgument) -> bool {
    match argument {
        GenericArgument::Lifetime(lifetime) => is_static(lifetime),
        GenericArgument::Type(ty) => is_owned(ty),
        GenericArgument::AssocType(assoc) => is_owned(&assoc.ty),
        GenericArgument::Const(_) | GenericArgument::AssocConst(_) => true,
        _ => false,
    }
}

/// Says whether no bound mentions borrowed data.
pub(crate) fn are_owned(bounds: &Punctuated<TypeParamBound, Token![+]>) -> bool {
    bounds.iter().all(|bound| match bound {
        TypeParamBound::Trait(bound) => is_owned_path(&bound.path),
        TypeParamBound::Lifetime(lifetime) => is_static(lifetime),
        _ => false,
    })
}

/// Says whether a type names no lifetime but `'static`, as far as it shows. It may still
/// hide one, or have a type parameter.
pub(crate) fn names_no_lifetime(ty: TokenStream) -> bool {
    let mut after_quote = false;
    ty.into_iter().all(|token| {
        let is_lifetime =
            std::mem::replace(&mut after_quote, matches!(&token, TokenTree::Punct(p) if p.as_char() == '\''));
        match token {
            TokenTree::Ident(ident) if is_lifetime => ident == "static",
            TokenTree::Ident(ident) => ident != "Self",
            // What a macro names does not show.
            TokenTree::Punct(punct) => !matches!(punct.as_char(), '!' | '&'),
            TokenTree::Group(group) => names_no_lifetime(group.stream()),
            TokenTree::Literal(_) => true,
        }
    })
}

/// Says whether `Send` is among these bounds.
pub(crate) fn sends(bounds: &Punctuated<TypeParamBound, Token![+]>) -> bool {
    bounds.iter().any(|bound| match bound {
        TypeParamBound::Trait(bound) => bound.path.segments.last().is_some_and(|segment| segment.ident == "Send"),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use syn::Type;

    use super::{is_owned, names_no_lifetime, owns_its_data};
    use crate::func::{Attr, Func};

    fn owns(function: &str) -> bool {
        owns_returning(function, &syn::parse_quote!(u8))
    }

    fn owns_returning(function: &str, output: &Type) -> bool {
        let func = Func::read(function.parse().expect("tokens"), &Attr::MEMCACHED).expect("a function");
        owns_its_data(&func, output)
    }

    #[test]
    fn types_that_hold_nothing_borrowed_are_owned() {
        for ty in [
            "u64",
            "(String, [u8; 4], Vec<Option<std::sync::Arc<User>>>)",
            "&'static str",
            "&'static [&'static str]",
            "Cow<'static, str>",
            "Map<String, N, { N + 1 }, Item = u8>",
            "<Vec<u8> as IntoIterator>::Item",
            "Arc<dyn Store + Send + Sync>",
            "Box<dyn Fn(u8) -> u8 + Send + 'static>",
            "impl Iterator<Item = u8> + Send + 'static",
        ] {
            assert!(is_owned(&syn::parse_str(ty).expect(ty)), "{ty}");
        }
    }

    #[test]
    fn types_that_borrow_or_could_are_not() {
        for ty in [
            "&str",
            "&'a str",
            "&'static &str",
            "(u8, &u8)",
            "[&u8; 2]",
            "Cow<'_, str>",
            "Vec<Row<'a>>",
            "Wrapper<Item = &'a u8>",
            "<&'a [u8] as IntoIterator>::Item",
            "Self",
            "Vec<Self>",
            "Self::Id",
            "dyn Store",
            "Arc<dyn Store>",
            "Box<dyn Store + Send + 'a>",
            "Box<dyn Store<'a> + Send>",
            "impl Store + Send",
            "impl Store + 'static",
            "impl Fn(&u8) + Send + 'static",
            "fn(&u8) -> u8",
            "*const u8",
            "name!()",
            "_",
        ] {
            assert!(!is_owned(&syn::parse_str(ty).expect(ty)), "{ty}");
        }
    }

    #[test]
    fn a_type_that_names_a_lifetime_or_could_is_seen() {
        for ty in ["Arc<User>", "Result<Option<Arc<[u8; 4]>>, Box<dyn Error>>", "Arc<Cow<'static, str>>"] {
            assert!(names_no_lifetime(ty.parse().expect(ty)), "{ty}");
        }
        for ty in ["Arc<Cow<'a, str>>", "Vec<(u8, Row<'_>)>", "Arc<Self>", "Arc<Self::Id>", "Arc<name!()>", "&u8"] {
            assert!(!names_no_lifetime(ty.parse().expect(ty)), "{ty}");
        }
    }

    #[test]
    fn every_parameter_counts_read_or_not() {
        assert!(owns("async fn f() -> u8 {}"));
        assert!(owns("async fn f(n: u64, (_, name): (u8, String), _log: Log) -> u8 {}"));
        assert!(owns("async fn f<'a, const N: usize>(n: [u8; N]) -> u8 {}"));
        assert!(!owns("async fn f(n: u64, _log: &Log) -> u8 {}"));
    }

    #[test]
    fn what_is_behind_self_or_a_type_parameter_may_be_borrowed() {
        for receiver in ["self", "mut self", "&self", "self: Arc<Self>", "self: Box<Self>", "self: Pin<&Self>"] {
            assert!(!owns(&format!("async fn f({receiver}) -> u8 {{}}")), "{receiver}");
        }
        assert!(!owns("async fn f<T>(value: T) -> u8 {}"));
        assert!(!owns("async fn f<T: Rate>() -> u8 {}"));
    }

    #[test]
    fn what_is_given_back_counts_as_well() {
        let owns = |output| owns_returning("async fn f(n: u8) -> u8 {}", &output);
        assert!(owns(syn::parse_quote!(Result<User, Box<dyn Error + Send + Sync>>)));
        assert!(!owns(syn::parse_quote!(Result<User, Box<dyn Error>>)));
        assert!(!owns(syn::parse_quote!(Option<Self>)));
    }
}
