//! Expands `#[derive(KeyPart)]`: a value is written as a group of its fields, an
//! enum's after the variant's name.
//!
//! How a group becomes text is decided in the runtime.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Attribute, Data, DeriveInput, Field, Fields, Ident, Index, Member, Path, Variant, parse_quote};

use crate::errors::Errors;
use crate::generics;
use crate::nearest::unknown;
use crate::span::{located, span_of};
use crate::template::Format;

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
    let kept = fields.iter().enumerate().filter_map(|(i, field)| {
        let format = format(field, errors)?;
        let member = member(i, field);
        Some((field, format, located(quote!(&self.#member), span_of(&field.ty))))
    });
    let parts = list(kept.collect(), krate);
    quote!(key.group(#parts);)
}

fn arm(variant: &Variant, krate: &Path, errors: &mut Errors) -> TokenStream {
    for attr in variant.attrs.iter().filter(|attr| attr.path().is_ident("key")) {
        errors.push(attr, "a variant is always part of the key; `#[key(..)]` goes on its fields");
    }
    let name = &variant.ident;
    let mut patterns = Vec::new();
    let mut kept = Vec::new();
    for (i, field) in variant.fields.iter().enumerate() {
        let member = member(i, field);
        let Some(format) = format(field, errors) else {
            patterns.push(quote!(#member: _));
            continue;
        };
        let bound = format_ident!("field_{i}", span = span_of(&field.ty));
        patterns.push(quote!(#member: #bound));
        kept.push((field, format, quote!(#bound)));
    }
    let parts = list(kept, krate);
    let text = name.to_string();
    let text = text.trim_start_matches("r#");
    quote!(Self::#name { #(#patterns),* } => key.variant(#text, #parts),)
}

/// Writes an array of references to the fields, each in its format. The compiler
/// reports a field whose type cannot be part of a key where that type is written.
fn list(fields: Vec<(&Field, Format, TokenStream)>, krate: &Path) -> TokenStream {
    let count = fields.len();
    let parts = fields.into_iter().map(|(field, format, reference)| {
        let at = span_of(&field.ty);
        let krate = located(krate.to_token_stream(), at);
        let part = match format.function() {
            Some(function) => {
                let function = Ident::new(function, at);
                quote_spanned!(at=> #krate::private::#function(#reference))
            }
            None => reference,
        };
        quote_spanned!(at=> &#part as &dyn #krate::KeyPart)
    });
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

/// Reads `#[key(..)]` on a field: its format, or `None` if it is skipped.
fn format(field: &Field, errors: &mut Errors) -> Option<Format> {
    let (mut format, mut is_skipped) = (Format::Part, false);
    for attr in field.attrs.iter().filter(|attr| attr.path().is_ident("key")) {
        let read = attr.parse_nested_meta(|meta| {
            let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
            match Format::called(&name) {
                Some(found) => format = found,
                None if name == "skip" => is_skipped = true,
                None => return Err(meta.error(unknown("option", &name, &[&Format::names()[..], &["skip"]].concat()))),
            }
            Ok(())
        });
        errors.ok(read);
    }
    if !is_skipped && format == Format::Part && generics::says(&field.ty, "dyn") {
        let message = "the key cannot tell which type is behind `dyn`; write `#[key(debug)]` if its output does, \
                       or implement `KeyPart` for the whole type by hand";
        errors.push(&field.ty, message);
    }
    (!is_skipped).then_some(format)
}
