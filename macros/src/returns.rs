//! Reads the return type: what the function yields, and how the body runs.
//!
//! Whether that type can be stored is left to the compiler.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::punctuated::Punctuated;
use syn::{GenericArgument, PathArguments, PathSegment, ReturnType, Token, Type, TypeParamBound};

use crate::errors::Errors;
use crate::func::Func;
use crate::owned;
use crate::span::span_of;

/// How the body runs, and what it yields.
pub(crate) struct Returns {
    pub(crate) kind: Kind,
    /// The type of the value, or the `Result` or `Option` around it.
    pub(crate) output: Type,
    /// Whether the future is declared as `Send` and as borrowing nothing. For
    /// an `async fn` the compiler checks that.
    pub(crate) is_free: bool,
}

/// What the body is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A block.
    Blocking,
    /// The block of an `async fn`.
    Async,
    /// A block that returns an `impl Future`.
    Future,
    /// A block that returns a boxed future, as under `#[async_trait]`.
    BoxedFuture,
}

/// Reads the return type, or reports why its values cannot be cached.
pub(crate) fn returns(func: &Func, errors: &mut Errors) -> Option<Returns> {
    if matches!(func.sig.output, ReturnType::Default) {
        let message = "a function that returns nothing has nothing to cache; remove `#[memcached]`";
        errors.push(&func.sig.ident, message);
        return None;
    }
    let returns = read(func);
    if let Some(why) = uncacheable(&returns.output) {
        errors.push(&returns.output, why);
        return None;
    }
    Some(returns)
}

/// Reads any return type; without one it is `()`.
pub(crate) fn read(func: &Func) -> Returns {
    let nothing = Type::Tuple(syn::parse_quote_spanned!(span_of(&func.sig.ident)=> ()));
    let declared = match &func.sig.output {
        ReturnType::Type(_, declared) => plain(declared),
        ReturnType::Default => &nothing,
    };
    let (kind, output, is_free) = if func.sig.asyncness.is_some() {
        (Kind::Async, declared, true)
    } else if let Some((output, is_free)) = future(declared) {
        (Kind::Future, output, is_free)
    } else if let Some((output, is_free)) = boxed_future(declared) {
        (Kind::BoxedFuture, output, is_free)
    } else {
        (Kind::Blocking, declared, false)
    };
    Returns { kind, output: plain(output).clone(), is_free }
}

/// Says why values of this type cannot be cached, if that is plain to see.
fn uncacheable(output: &Type) -> Option<&'static str> {
    Some(match output {
        Type::Tuple(tuple) if tuple.elems.is_empty() => {
            "a function that returns `()` has nothing to cache; remove `#[memcached]`"
        }
        Type::Never(_) => "a function that never returns has nothing to cache; remove `#[memcached]`",
        Type::Reference(_) => "a cached value is decoded anew on each hit, so it must be owned; return it by value",
        Type::Ptr(_) => "a raw pointer means nothing in another process; return an owned value",
        Type::ImplTrait(_) => "a stored value's type must be named; write the type instead of `impl Trait`",
        Type::FnPtr(_) => "a function pointer means nothing in another process; return an owned value",
        other if borrows(other.to_token_stream()) => {
            "a cached value is decoded anew on each hit, so nothing in it can be borrowed; use owned types"
        }
        _ => return None,
    })
}

/// Says whether a type contains a `&`.
fn borrows(ty: TokenStream) -> bool {
    ty.into_iter().any(|token| match token {
        TokenTree::Punct(punct) => punct.as_char() == '&',
        TokenTree::Group(group) => borrows(group.stream()),
        _ => false,
    })
}

/// Finds `T` in `impl Future<Output = T> + …`, and whether the future is free.
fn future(ty: &Type) -> Option<(&Type, bool)> {
    match ty {
        Type::ImplTrait(ty) => Some((output_of(&ty.bounds)?, is_free(&ty.bounds))),
        _ => None,
    }
}

/// Finds `T` in `Pin<Box<dyn Future<Output = T> + …>>` or `BoxFuture<'_, T>`,
/// and whether the future is free.
///
/// It goes by name, since a macro sees no types.
fn boxed_future(ty: &Type) -> Option<(&Type, bool)> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    if last.ident == "BoxFuture" || last.ident == "LocalBoxFuture" {
        return Some((argument(last)?, last.ident == "BoxFuture" && owned::is_owned(ty)));
    }
    let boxed = argument(last).filter(|_| last.ident == "Pin")?;
    let Type::Path(boxed) = plain(boxed) else { return None };
    let last = boxed.path.segments.last()?;
    match plain(argument(last).filter(|_| last.ident == "Box")?) {
        Type::TraitObject(object) => Some((output_of(&object.bounds)?, is_free(&object.bounds))),
        _ => None,
    }
}

fn is_free(bounds: &Punctuated<TypeParamBound, Token![+]>) -> bool {
    owned::are_owned(bounds) && owned::sends(bounds)
}

/// Returns `T` of `Name<'a, T>`.
pub(crate) fn argument(segment: &PathSegment) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

/// Finds `E` in `Result<T, E>`: the last of two types.
pub(crate) fn error(output: &Type) -> Option<&Type> {
    let Type::Path(path) = output else { return None };
    let PathArguments::AngleBracketed(arguments) = &path.path.segments.last()?.arguments else { return None };
    match arguments.args.iter().skip(1).last() {
        Some(GenericArgument::Type(error)) => Some(error),
        _ => None,
    }
}

/// Says whether a type has no value in it, however it is wrapped, as far as it shows.
pub(crate) fn is_nothing(output: &Type) -> bool {
    match plain(output) {
        Type::Tuple(tuple) => tuple.elems.is_empty(),
        Type::Path(path) => path.path.segments.last().is_some_and(|last| {
            (last.ident == "Result" || last.ident == "Option") && argument(last).is_some_and(is_nothing)
        }),
        _ => false,
    }
}

/// Finds `T` of `Future<Output = T>` among these bounds.
fn output_of(bounds: &Punctuated<TypeParamBound, Token![+]>) -> Option<&Type> {
    bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else { return None };
        let last = bound.path.segments.last().filter(|segment| segment.ident == "Future")?;
        let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
        arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(assoc) if assoc.ident == "Output" => Some(&assoc.ty),
            _ => None,
        })
    })
}

/// Removes parentheses and the invisible group around a macro's fragment.
pub(crate) fn plain(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => plain(&group.elem),
        Type::Paren(paren) => plain(&paren.elem),
        ty => ty,
    }
}
