//! The rules for `each`: a function that computes values for several elements at
//! once.
//!
//! For everything about the key, one element stands in the place of the parameter
//! that holds them.

use quote::ToTokens;
use syn::{FnArg, GenericArgument, Generics, Ident, Pat, PathArguments, Signature, Token, Type, TypeParamBound};

use crate::errors::Errors;
use crate::func::{self, Func, Param, Role};
use crate::returns::plain;
use crate::spec::{Each, Spec};

/// How a batch is called.
pub(crate) struct Batch {
    /// The name of one element.
    pub(crate) element: Ident,
    /// The name of the parameter that holds the elements.
    pub(crate) param: Ident,
    pub(crate) mutability: Option<Token![mut]>,
    pub(crate) holds: Holds,
}

/// How the parameter holds the elements.
pub(crate) enum Holds {
    /// As a value of this type.
    Type(Box<Type>),
    /// As an `impl IntoIterator` with items of this type.
    Iterator(Box<Type>),
}

/// Applies the rules; without a batch where `each` is given, there is a mistake in
/// `errors`.
pub(crate) fn batch(spec: &Spec, func: &Func, params: &[Param], errors: &mut Errors) -> Option<Batch> {
    let Each { element, param: name } = spec.each.as_ref()?.as_ref()?;
    let Some(param) = params.iter().find(|param| param.names.contains(name)) else {
        errors.push(name, format!("no parameter is called `{name}`{}", func::meant(name, params)));
        return None;
    };
    if params.iter().any(|param| param.names.contains(element)) {
        errors.push(element, format!("`{element}` is a parameter; give one element of `{name}` a name of its own"));
        return None;
    }
    for skipped in spec.skip.iter().filter(|skipped| *skipped == element || *skipped == name) {
        errors
            .push(skipped, format!("the elements of `{name}` are told apart by their keys, so they cannot be skipped"));
    }
    if let Some(cache) = spec.cache.as_ref().filter(|cache| func::mentions(cache.to_token_stream(), element)) {
        errors.push(cache, format!("all elements of `{name}` are in one cache, which cannot depend on `{element}`"));
    }
    if let Some(cache_err) = &spec.cache_err {
        let message = "a function with `each` that fails stores nothing; leave `cache_err` out";
        errors.push(cache_err.written(), message);
    }
    if let Some(stale_if) = &spec.stale_if {
        errors.push(stale_if, "a function with `each` that fails returns its error; leave `stale_if` out");
    }
    let (FnArg::Typed(typed), Some(mutability)) = (param.arg, by_name(param.arg)) else {
        errors.push(name, format!("`{name}` is taken apart by a pattern; take it as a whole, as `{name}: &[T]`"));
        return None;
    };
    let holds = match (plain(&typed.ty), items(&typed.ty)) {
        (Type::ImplTrait(_), Some(item)) => Holds::Iterator(Box::new(item.clone())),
        (ty, _) if matches!(ty, Type::ImplTrait(_)) || is_generic(ty, &func.sig.generics) => {
            let message =
                format!("the type of an element of `{name}` is not named; write `impl IntoIterator<Item = T>`");
            errors.push(ty, message);
            return None;
        }
        (ty, _) => Holds::Type(Box::new(local(ty))),
    };
    Some(Batch { element: element.clone(), param: name.clone(), mutability, holds })
}

/// Puts one element in the place of the parameter that holds them.
pub(crate) fn by_element<'a>(params: Vec<Param<'a>>, batch: &Batch) -> Vec<Param<'a>> {
    let by_element = |mut param: Param<'a>| {
        if param.names.contains(&batch.param) {
            (param.names, param.role) = (vec![batch.element.clone()], Role::Element);
        }
        param
    };
    params.into_iter().map(by_element).collect()
}

/// Takes the `mut` from the parameter that holds the elements: the body changes what
/// takes its place.
pub(crate) fn unchanged(sig: &mut Signature, batch: &Batch) {
    for arg in &mut sig.inputs {
        if let FnArg::Typed(typed) = arg
            && let Pat::Ident(ident) = &mut *typed.pat
            && ident.ident == batch.param
        {
            ident.mutability = None;
        }
    }
}

/// Returns the `mut` of a parameter that is a plain name.
fn by_name(arg: &FnArg) -> Option<Option<Token![mut]>> {
    let FnArg::Typed(typed) = arg else { return None };
    match &*typed.pat {
        Pat::Ident(ident) if ident.subpat.is_none() => Some(ident.mutability),
        _ => None,
    }
}

/// Whether the type is a type parameter of the function.
fn is_generic(ty: &Type, generics: &Generics) -> bool {
    let Type::Path(path) = ty else { return false };
    path.path.get_ident().is_some_and(|name| generics.type_params().any(|param| param.ident == *name))
}

/// Returns the type of a local variable that takes the parameter's place: a reference lives
/// for less time than the caller's.
fn local(ty: &Type) -> Type {
    let mut ty = ty.clone();
    if let Type::Reference(reference) = &mut ty {
        reference.lifetime = None;
    }
    ty
}

/// Finds `T` in `impl IntoIterator<Item = T>`.
pub(crate) fn items(ty: &Type) -> Option<&Type> {
    let Type::ImplTrait(unnamed) = plain(ty) else { return None };
    unnamed.bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else { return None };
        let PathArguments::AngleBracketed(arguments) = &bound.path.segments.last()?.arguments else { return None };
        arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(assoc) if assoc.ident == "Item" => Some(&assoc.ty),
            _ => None,
        })
    })
}

/// Whether a parameter looks like a list, which may be meant to hold elements.
pub(crate) fn is_list(param: &Param) -> bool {
    let FnArg::Typed(typed) = param.arg else { return false };
    let ty = match plain(&typed.ty) {
        Type::Reference(reference) => plain(&reference.elem),
        ty => ty,
    };
    match ty {
        Type::Slice(_) => true,
        Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == "Vec"),
        _ => false,
    }
}
