//! Expands `#[derive(KeyPart)]`: a value is written as a group of its fields, an
//! enum's after the variant's name.
//!
//! How a group becomes text is decided in the runtime.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Field, Fields, Index, Member, Path, Variant, parse_quote};

use crate::errors::Errors;

/// Writes the implementation. After a mistake it writes the errors and an empty
/// implementation, so that code that uses the type raises no errors of its own.
pub(crate) fn derive(input: &DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let mut krate: Path = parse_quote!(::memocached);
    for attr in input.attrs.iter().filter(|attr| attr.path().is_ident("key")) {
        if let Some(path) = errors.ok(container(attr)) {
            krate = path;
        }
    }
    let body = match &input.data {
        Data::Struct(data) => structure(&data.fields, &krate, &mut errors),
        Data::Enum(data) => {
            let arms: Vec<TokenStream> =
                data.variants.iter().map(|variant| arm(variant, &krate, &mut errors)).collect();
            if arms.is_empty() { quote!(match *self {}) } else { quote!(match self { #(#arms)* }) }
        }
        Data::Union(data) => {
            let message = "a union does not say which of its fields is valid; implement `KeyPart` by hand";
            errors.push(data.union_token, message);
            TokenStream::new()
        }
    };
    let mut generics = input.generics.clone();
    for param in generics.type_params_mut() {
        param.bounds.push(parse_quote!(#krate::KeyPart));
    }
    let (params, arguments, bounds) = generics.split_for_impl();
    let name = &input.ident;
    let (mistakes, body) = match errors.finish(body) {
        Ok(body) => (TokenStream::new(), body),
        Err(errors) => (errors.into_compile_errors(), quote!(let _ = key;)),
    };
    quote! {
        #mistakes
        #[automatically_derived]
        impl #params #krate::KeyPart for #name #arguments #bounds {
            fn write(&self, key: &mut #krate::KeyWriter) {
                #body
            }
        }
    }
}

fn structure(fields: &Fields, krate: &Path, errors: &mut Errors) -> TokenStream {
    let kept = fields.iter().enumerate().filter(|(_, field)| !is_skipped(field, errors));
    let parts = list(kept.map(|(i, field)| (field, member(i, field).to_token_stream(), quote!(&&self.))), krate);
    quote!(key.group(#parts);)
}

fn arm(variant: &Variant, krate: &Path, errors: &mut Errors) -> TokenStream {
    for attr in variant.attrs.iter().filter(|attr| attr.path().is_ident("key")) {
        errors.push(attr, "a variant is always part of the key; put `#[key(skip)]` on its fields");
    }
    let name = &variant.ident;
    let mut patterns = Vec::new();
    let mut kept = Vec::new();
    for (i, field) in variant.fields.iter().enumerate() {
        let member = member(i, field);
        if is_skipped(field, errors) {
            patterns.push(quote!(#member: _));
        } else {
            let bound = format_ident!("field_{i}", span = Span::mixed_site());
            patterns.push(quote!(#member: #bound));
            kept.push((field, quote!(#bound), TokenStream::new()));
        }
    }
    let parts = list(kept, krate);
    let text = name.to_string();
    let text = text.trim_start_matches("r#");
    quote!(Self::#name { #(#patterns),* } => key.variant(#text, #parts),)
}

/// Writes an array of references to the fields. The compiler reports a field
/// whose type cannot be part of a key where that type is written.
fn list<'a>(fields: impl IntoIterator<Item = (&'a Field, TokenStream, TokenStream)>, krate: &Path) -> TokenStream {
    let parts: Vec<TokenStream> = fields
        .into_iter()
        .map(|(field, name, prefix)| {
            let at = Span::mixed_site().located_at(field.ty.span());
            quote_spanned!(at=> #prefix #name as &dyn #krate::KeyPart)
        })
        .collect();
    let count = parts.len();
    quote!([#(#parts),*] as [&dyn #krate::KeyPart; #count])
}

fn member(i: usize, field: &Field) -> Member {
    field.ident.as_ref().map_or_else(|| Member::from(Index::from(i)), |name| name.clone().into())
}

/// Reads `#[key(crate = path)]`.
fn container(attr: &Attribute) -> syn::Result<Path> {
    let mut path = None;
    attr.parse_nested_meta(|meta| {
        if meta.path.is_ident("crate") {
            path = Some(meta.value()?.call(Path::parse_mod_style)?);
            Ok(())
        } else {
            Err(meta.error("on a type, `#[key(..)]` takes `crate = path` only"))
        }
    })?;
    path.ok_or_else(|| syn::Error::new_spanned(attr, "`#[key(..)]` on a type takes `crate = path`"))
}

/// Reads `#[key(skip)]`.
fn is_skipped(field: &Field, errors: &mut Errors) -> bool {
    let mut skipped = false;
    for attr in field.attrs.iter().filter(|attr| attr.path().is_ident("key")) {
        let read = attr.parse_nested_meta(|meta| {
            if meta.path.is_ident("skip") {
                skipped = true;
                Ok(())
            } else {
                Err(meta.error("on a field, `#[key(..)]` takes `skip` only"))
            }
        });
        errors.ok(read);
    }
    skipped
}
