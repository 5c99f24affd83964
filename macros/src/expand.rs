//! [`Plan`] → tokens: one static of literals, the key, and one call around
//! the body.
//!
//! Nothing is decided here. Names made up here have the span `mixed_site`, so
//! the user's body cannot see them.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::{FnArg, Ident};

use crate::attr::Ttl;
use crate::func::Func;
use crate::plan::{Companion, Plan, Step, Template};
use crate::template::Format;

/// The function with its cache, and the companion if one is asked for.
pub(crate) fn expand(plan: &Plan, func: &Func) -> TokenStream {
    let Func { attrs, vis, sig, body } = func;
    let krate = &plan.krate;
    let output = &plan.output;
    let call = hidden("call");
    let opened = opened(&format_ident!("begin"), plan, func);
    let shape = quote!({
        #[allow(unused_imports)]
        use #krate::private::shapes::*;
        (&&&#krate::private::Probe::<#output>::NEW).shape()
    });
    let run = if sig.asyncness.is_some() {
        // The `if false` tells the compiler the type of every `return` and
        // `?` in the body, as the signature does for a function.
        quote! {
            #call.run_async(#shape, async move {
                #[allow(unreachable_code)]
                if false {
                    return #krate::private::never::<#output>();
                }
                #body
            }).await
        }
    } else {
        quote!(#call.run(#shape, move || -> #output #body))
    };
    let entry = plan.entry.as_ref().map(|entry| companion(entry, plan, func));
    quote! {
        #(#attrs)*
        #vis #sig {
            let #call = #opened;
            #run
        }
        #entry
    }
}

/// The expression that addresses a call, or begins one: site, cache, ttl, key.
fn opened(how: &Ident, plan: &Plan, func: &Func) -> TokenStream {
    let krate = &plan.krate;
    let site = site(plan, func);
    let cache = plan.cache.as_ref().map(|cache| quote!(.cache(#cache)));
    let ttl = match &plan.ttl {
        Some(Ttl::Expr(ttl)) => Some(quote!(.ttl(#ttl))),
        _ => None,
    };
    let key = hidden("key");
    let steps = plan.key.iter().map(|step| write_step(step, &key));
    quote!({
        #site
        #krate::private::Address::#how(&SITE) #cache #ttl .key(|#key| { #(#steps)* })
    })
}

/// The static that describes the function: literals, and nothing else.
fn site(plan: &Plan, func: &Func) -> TokenStream {
    let krate = &plan.krate;
    let function = func.sig.ident.to_string();
    let function = function.trim_start_matches("r#");
    let path = quote!(::core::concat!(::core::module_path!(), "::", #function));
    let name = plan.name.as_ref().map_or_else(|| path.clone(), ToTokens::to_token_stream);
    let template = match &plan.template {
        Template::Given(text) => text.to_token_stream(),
        Template::Path(params) => quote!(::core::concat!(::core::module_path!(), "::", #function, #params)),
    };
    let ttl = match &plan.ttl {
        Some(Ttl::Fixed(ttl)) => {
            let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
            quote!(Millis(#millis))
        }
        Some(Ttl::Forever) => quote!(Forever),
        Some(Ttl::Expr(_)) | None => quote!(Unset),
    };
    let version = plan.version;
    quote! {
        static SITE: #krate::private::Site = #krate::private::Site::new(#krate::private::Description {
            function: #function,
            name: #name,
            template: #template,
            ttl: #krate::private::SiteTtl::#ttl,
            version: #version,
            file: ::core::file!(),
            line: ::core::line!(),
        });
    }
}

fn write_step(step: &Step, key: &Ident) -> TokenStream {
    match step {
        Step::Function => quote!(#key.function(&|| ());),
        Step::Literal(text) => quote!(#key.literal(#text);),
        Step::Type(name) => quote!(#key.type_name::<#name>();),
        Step::Const(name) => quote!(#key.part(&#name);),
        Step::Value { expr, format, terminator } => {
            let until = terminator.map(|byte| quote!(.until(#byte)));
            let write = match format {
                Format::Part => quote!(part(&#expr)),
                Format::Display => quote!(display(&#expr)),
                Format::Debug => quote!(debug(&#expr)),
                Format::Hash => quote!(hash(&#expr)),
                Format::Bits => quote!(bits(#expr)),
            };
            quote!(#key #until .#write;)
        }
    }
}

/// `fn name(the parameters of the key) -> Entry<…>`.
fn companion(Companion { name, params }: &Companion, plan: &Plan, func: &Func) -> TokenStream {
    let krate = &plan.krate;
    let output = &plan.output;
    let vis = &func.vis;
    let (generics, _, bounds) = func.sig.generics.split_for_impl();
    let params = params.iter().map(|param| match param {
        FnArg::Receiver(receiver) => receiver.to_token_stream(),
        FnArg::Typed(typed) => without_mut(typed),
    });
    let kind = if func.sig.asyncness.is_some() { quote!(AsyncEntry) } else { quote!(Entry) };
    let opened = opened(&format_ident!("of"), plan, func);
    let about = format!("The cache entry of [`{}`] called with these arguments.", func.sig.ident);
    quote! {
        #[doc = #about]
        #[must_use]
        #vis fn #name #generics (#(#params),*) -> #krate::#kind<#output> #bounds {
            #krate::#kind::of(#opened)
        }
    }
}

/// A companion reads its parameters only, so `mut` would be unused there.
fn without_mut(typed: &syn::PatType) -> TokenStream {
    let mut typed = typed.clone();
    if let syn::Pat::Ident(ident) = &mut *typed.pat {
        ident.mutability = None;
    }
    typed.into_token_stream()
}

fn hidden(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}
