//! Writes the expansion: [`Plan`] → one static of literals, the key, and one
//! call around the body.
//!
//! It decides nothing. Names that it introduces have the span `mixed_site`, so
//! the user's body cannot see them.

use std::time::Duration;

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Expr, Ident, Path};

use crate::body::{Replaced, Run, braced, inferred, shape, shared_shape};
use crate::duration::Period;
use crate::each::{self, Batch, Holds};
use crate::fingerprint::fingerprint;
use crate::freshness::Refresh;
use crate::func::{self, Func};
use crate::owned::names_no_lifetime;
use crate::plan::{Companion, Plan, Step, Template, Value};
use crate::returns::{self, Kind};
use crate::span::{hidden, located, span_of};
use crate::spec::{Codec, Freshness, Grace, Lasting, OnError, RefreshAhead, SingleFlight, Standard, Ttl};

/// Where the body gets the value that it replaces.
const SLOT: &str = "__memocached_previous";

/// Writes the cached function, and the companion if there is one.
pub(crate) fn expand(plan: &Plan, func: &Func) -> TokenStream {
    let Func { attrs, vis, sig, .. } = func;
    let run = match &plan.batch {
        Some(batch) => run_batch(batch, plan, func),
        None => {
            let call = hidden("__memocached_call");
            let address = address(Address::Begin, plan, func);
            run(ready_apart(&quote!(let #call = #address;), &memo(&call, plan), plan), plan, func)
        }
    };
    let entry = plan.entry.as_ref().map(|entry| companion(entry, plan, func));
    let mut sig = sig.clone();
    if let Some(batch) = &plan.batch {
        each::unchanged(&mut sig, batch);
    }
    quote! {
        #(#attrs)*
        #vis #sig {
            #run
        }
        #entry
    }
}

/// What a call is addressed for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Address {
    /// To begin it.
    Begin,
    /// To begin one of several.
    Element,
    /// To name its entry.
    Of,
}

impl Address {
    /// The runtime's function for it.
    fn function(self) -> Ident {
        format_ident!(
            "{}",
            match self {
                Address::Begin => "begin",
                Address::Element => "element",
                Address::Of => "of",
            }
        )
    }
}

/// Writes the expression that addresses a call: site, cache, freshness, single flight,
/// groups, key.
fn address(of: Address, plan: &Plan, func: &Func) -> TokenStream {
    let krate = &plan.krate;
    let site = site(plan, func);
    let when = plan.when.as_ref().filter(|_| of != Address::Of).map(|when| quote!(.when(#when)));
    let cache = plan.cache.as_ref().map(|cache| match &plan.batch {
        Some(_) if of == Address::Element => {
            let cache = hidden("__memocached_cache");
            quote!(.cache(#cache))
        }
        _ => quote!(.cache(#cache)),
    });
    let freshness = freshness(plan);
    let single_flight = match plan.single_flight {
        SingleFlight::Lease => None,
        SingleFlight::Local => Some(quote!(.single_flight(#krate::private::SingleFlight::Local))),
        SingleFlight::Off => Some(quote!(.single_flight(#krate::private::SingleFlight::Off))),
    };
    let groups = plan.groups.iter().map(|group| quote_spanned!(span_of(group)=> .group(&(#group))));
    let key = hidden("__memocached_key");
    let steps = plan.key.iter().map(|step| write_step(step, &key, func));
    let begin = of.function();
    quote! {
        #krate::private::Address::#begin(#site) #when #cache #freshness #single_flight #(#groups)* .key(&mut |#key| { #(#steps)* })
    }
}

/// Writes the freshness that the site's static does not contain.
fn freshness(plan: &Plan) -> TokenStream {
    let Freshness { ttl, grace, idle, refresh_ahead, near } = &plan.freshness;
    let written = |period| duration(period, &plan.krate);
    let ttl = match ttl {
        Some(Ttl::For(ttl @ Period::Expr(_))) => {
            let ttl = written(ttl);
            Some(quote!(.ttl(#ttl)))
        }
        Some(Ttl::For(Period::Fixed(..)) | Ttl::OfValue(_) | Ttl::Forever) | None => None,
    };
    let grace = grace.as_ref().map(|grace| match grace {
        Grace::OfValue(_) => quote!(.own_grace()),
        Grace::For(grace) => {
            let grace = written(grace);
            quote!(.grace(#grace))
        }
    });
    let idle = idle.as_ref().map(written).map(|idle| quote!(.idle(#idle)));
    let refresh = refresh_ahead.as_ref().map(|refresh| match refresh {
        RefreshAhead::Auto(_) => quote!(.refresh_auto()),
        RefreshAhead::Window(window) => {
            let window = written(window);
            quote!(.refresh_ahead(#window))
        }
    });
    let near = near.as_ref().map(written).map(|near| quote!(.near(#near)));
    quote!(#ttl #grace #idle #refresh #near)
}

/// Writes a duration; the runtime judges one that is an expression.
pub(crate) fn duration(period: &Period, krate: &Path) -> TokenStream {
    match period {
        Period::Fixed(duration, _) => {
            let millis = millis(*duration);
            quote!(::core::time::Duration::from_millis(#millis))
        }
        Period::Expr(expr) => quote!(#krate::private::duration(#expr)),
    }
}

/// Returns whole milliseconds, rounded up so that none of what is written becomes zero.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Writes the call with how and when its result is stored.
fn memo(call: &Ident, plan: &Plan) -> TokenStream {
    let output = &plan.returns.output;
    let at = value_span(plan);
    let store_if = vetoing(plan.store_if.as_ref(), plan);
    let cache_none = plan.cache_none.as_ref().map(|period| {
        let period = duration(period, &plan.krate);
        quote_spanned!(at=> .cache_none(#period))
    });
    let stale_if = plan.stale_if.as_ref().map(|stale_if| quote_spanned!(at=> .stale_if(#stale_if)));
    let cache_err = plan.cache_err.as_ref().map(|lasting| {
        let error = span_of(returns::error(output).unwrap_or(output));
        let codec = located(choice(plan), error);
        match lasting {
            Lasting::For(period) => {
                let period = duration(period, &plan.krate);
                quote_spanned!(at=> .cache_err(#period, #codec))
            }
            Lasting::OfError(closure) => quote_spanned!(at=> .cache_err_for(#closure, #codec)),
        }
    });
    let propagate = match plan.on_error {
        OnError::Propagate if plan.batch.is_none() => Some(quote_spanned!(at=> .propagate())),
        OnError::Propagate | OnError::Bypass => None,
    };
    let replacing = plan.previous.as_ref().map(|_| {
        let slot = located(hidden(SLOT).to_token_stream(), at);
        quote_spanned!(at=> .replacing(&#slot))
    });
    let is_shared = plan.freshness.near.is_some() && names_no_lifetime(output.to_token_stream());
    let shape = if is_shared { shared_shape } else { shape };
    let stored = stored(call, plan, shape(&plan.krate, &returned(plan), at));
    let stored = quote!(#stored #replacing #stale_if #store_if #cache_none #cache_err #propagate);
    let ready = ready(&stored, plan);
    let patience = plan.patience.as_ref().map(|period| {
        let period = duration(period, &plan.krate);
        quote!(.patient(#period))
    });
    quote!(#ready #patience)
}

/// Writes the call of `store_if`, if there is a veto.
fn vetoing(store_if: Option<&Expr>, plan: &Plan) -> Option<TokenStream> {
    store_if.map(|store_if| quote_spanned!(value_span(plan)=> .store_if(#store_if)))
}

/// Writes what settles a call.
fn ready(memo: &TokenStream, plan: &Plan) -> TokenStream {
    let at = value_span(plan);
    let krate = located(plan.krate.to_token_stream(), at);
    quote_spanned!(at=> #krate::private::ready(#memo))
}

/// Writes what readies a call, in a frame of its own that is gone when the body runs. An
/// argument that leaves the function cannot be evaluated there.
fn ready_apart(begin: &TokenStream, memo: &TokenStream, plan: &Plan) -> (TokenStream, TokenStream) {
    if leaves(begin.clone()) || leaves(memo.clone()) {
        return (begin.clone(), memo.clone());
    }
    let at = value_span(plan);
    let krate = located(plan.krate.to_token_stream(), at);
    (TokenStream::new(), quote_spanned!(at=> #krate::private::readied(|| { #begin #memo })))
}

/// Says whether code may return from the function around it, or wait in it.
fn leaves(code: TokenStream) -> bool {
    code.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ["return", "break", "continue", "await", "yield"].iter().any(|word| ident == word),
        TokenTree::Punct(punct) => punct.as_char() == '?',
        TokenTree::Group(group) => leaves(group.stream()),
        TokenTree::Literal(_) => false,
    })
}

/// Writes the call with its codec. The compiler finds out what of the return type is stored.
fn stored(call: &Ident, plan: &Plan, shape: TokenStream) -> TokenStream {
    let at = value_span(plan);
    let call = Ident::new(&call.to_string(), at);
    let codec = plan.codec.as_ref().map(|codec| {
        let codec = codec_path(codec, plan);
        quote_spanned!(at=> .codec(#codec))
    });
    let lasting = match &plan.freshness.ttl {
        Some(Ttl::OfValue(closure)) => Some(quote_spanned!(at=> .lasting(#closure))),
        Some(Ttl::For(_) | Ttl::Forever) | None => None,
    };
    let graced = match &plan.freshness.grace {
        Some(Grace::OfValue(closure)) => Some(quote_spanned!(at=> .graced(#closure))),
        Some(Grace::For(_)) | None => None,
    };
    quote_spanned!(at=> #call.shaped(#shape) #codec #lasting #graced)
}

/// Writes what the function returns, or for one of several elements would return.
fn returned(plan: &Plan) -> TokenStream {
    let (krate, output) = (&plan.krate, &plan.returns.output);
    match &plan.batch {
        Some(_) => {
            let at = span_of(output);
            let krate = located(krate.to_token_stream(), at);
            quote_spanned!(at=> <#output as #krate::private::Returns>::Returned)
        }
        None => output.to_token_stream(),
    }
}

/// Returns where a value that cannot be stored is reported: at its type, or at
/// the user's own codec.
fn value_span(plan: &Plan) -> Span {
    match &plan.codec {
        Some(Codec::Path(path)) => span_of(path),
        _ => span_of(&plan.returns.output),
    }
}

/// Writes the body inside the call that runs it.
fn run((begin, runner): (TokenStream, TokenStream), plan: &Plan, func: &Func) -> TokenStream {
    let run_async = match plan.refresh {
        Refresh::InPlace => "run_async",
        Refresh::Background => "run_detached",
    };
    let Plan { krate, returns, .. } = plan;
    let previous = plan.previous.as_ref().map(|name| (name, hidden(SLOT)));
    let previous = previous.as_ref().map(|(name, slot)| Replaced { name, slot });
    Run { begin, runner, run_async, krate, returns, previous, at: value_span(plan) }.around(func)
}

/// Writes the body inside a loop that runs it for the elements that are missing.
fn run_batch(batch: &Batch, plan: &Plan, func: &Func) -> TokenStream {
    let (krate, body, output) = (&plan.krate, &func.body, &plan.returns.output);
    let own = body.span();
    let (call, calls) = (hidden("__memocached_call"), hidden("__memocached_batch"));
    let answer = hidden("__memocached_answer");
    let (elements, missing) = (hidden("__memocached_elements"), hidden("__memocached_missing"));
    let Batch { element, param, mutability, holds } = batch;
    let cache = plan.cache.as_ref().map(|cache| {
        let name = hidden("__memocached_cache");
        quote!(let #name: &#krate::Cache = #cache;)
    });
    let (listed, given) = match holds {
        Holds::Type(ty) => {
            // All at the type itself, where a type that holds none is reported once.
            let at = ty.span();
            let gives = quote_spanned!(at=> <#ty as #krate::private::GivesElements<'_>>);
            let given = quote_spanned!(at=> #gives::given(&mut #missing));
            let given = quote! {
                let mut #missing = #elements.collect(#missing);
                let #mutability #param: #ty = #given;
            };
            (quote_spanned!(at=> #gives::list(#param)), given)
        }
        Holds::Iterator(_) => (
            quote!(#krate::private::ElementList::collected(#param)),
            quote!(let #mutability #param = #elements.collect(#missing);),
        ),
    };
    let (address, memo) = (address(Address::Element, plan, func), memo(&call, plan));
    let begin = match plan.on_error {
        OnError::Bypass => quote!(batch::<#output, _, _>),
        OnError::Propagate => quote!(batch_propagating::<#output, _, _>),
    };
    let begin = located(begin, span_of(output));
    let begin = quote! {
        #cache
        let #elements = #listed;
        let mut #calls = #elements.#begin(::core::iter::Iterator::map(#elements.iter(), |#element| {
            let #call = #address;
            #memo
        }));
    };
    let future = match plan.returns.kind {
        Kind::Blocking => {
            let closure = quote_spanned!(own=> || -> #output #body);
            let (next, compute) = (quote!(#calls.turn()), quote!(#calls.compute(#closure)));
            return turns(&begin, &next, &given, &compute, plan);
        }
        Kind::Async => {
            let block = braced(inferred(krate, output), body);
            quote_spanned!(own=> async #block)
        }
        Kind::Future | Kind::BoxedFuture => {
            let closure = quote_spanned!(own=> || #body);
            quote!(async { (#closure)().await })
        }
    };
    let run = match plan.refresh {
        Refresh::InPlace => {
            let (next, compute) = (quote!(#calls.turn_async().await), quote!(#calls.compute_async(#future).await));
            turns(&begin, &next, &given, &compute, plan)
        }
        Refresh::Background => quote! {
            #krate::private::in_background(move |#answer| async move {
                #begin
                #calls = #calls.answering(&#answer);
                while let ::core::option::Option::Some(#missing) = #calls.turn_answering(&#answer).await {
                    #given
                    #calls.compute_answering(#future, &#answer).await;
                }
            })
            .await
        },
    };
    match plan.returns.kind {
        Kind::Blocking | Kind::Async => run,
        Kind::Future => quote!(async move { #run }),
        Kind::BoxedFuture => quote!(#krate::private::Box::pin(async move { #run })),
    }
}

/// Writes the loop that runs the body for what is missing, until there is an answer.
fn turns(
    begin: &TokenStream,
    next: &TokenStream,
    given: &TokenStream,
    compute: &TokenStream,
    plan: &Plan,
) -> TokenStream {
    let (krate, missing) = (&plan.krate, hidden("__memocached_missing"));
    quote! {
        #begin
        loop {
            let #missing = match #next {
                #krate::private::BatchTurn::Compute(missing) => missing,
                #krate::private::BatchTurn::Return(returned) => break returned,
            };
            #given
            if let ::core::option::Option::Some(returned) = #compute {
                break returned;
            }
        }
    }
}

/// Writes a reference to the static that describes the function. The block hides
/// the static's name from the user's expressions.
fn site(plan: &Plan, func: &Func) -> TokenStream {
    let krate = &plan.krate;
    let function = function_name(func);
    let path = quote!(::core::concat!(::core::module_path!(), "::", #function));
    let name = plan.name.as_ref().map_or_else(|| path.clone(), ToTokens::to_token_stream);
    let template = match &plan.template {
        Template::Given(text) => text.to_token_stream(),
        Template::Path(params) => quote!(::core::concat!(::core::module_path!(), "::", #function, #params)),
    };
    let ttl = match &plan.freshness.ttl {
        Some(Ttl::For(Period::Fixed(ttl, _))) => {
            let millis = millis(*ttl);
            quote!(Millis(#millis))
        }
        Some(Ttl::Forever) => quote!(Forever),
        Some(Ttl::For(Period::Expr(_)) | Ttl::OfValue(_)) | None => quote!(Unset),
    };
    let version = plan.version;
    let each = plan.batch.as_ref().map(|_| quote!(.each()));
    let at_most = plan.at_most.as_ref().map(|at_most| quote!(.at_most(#at_most)));
    quote!({
        static SITE: #krate::private::Site = #krate::private::Site::new(#krate::private::Description {
            function: #function,
            path: #path,
            name: #name,
            template: #template,
            ttl: #krate::private::SiteTtl::#ttl,
            version: #version,
            file: ::core::file!(),
            line: ::core::line!(),
        })#each #at_most;
        &SITE
    })
}

/// Writes one step of writing a key.
pub(crate) fn write_step(step: &Step, key: &Ident, func: &Func) -> TokenStream {
    match step {
        Step::Function => {
            let name = function_name(func);
            let version = format!("#{:08x}", fingerprint(func));
            // A function without `self` may be nested in another.
            let location = match func.sig.receiver() {
                Some(_) => quote!(None),
                None => quote!(Some((::core::module_path!(), ::core::line!(), ::core::column!()))),
            };
            quote!(#key.function(&|| (), #name, ::core::option::Option::#location); #key.literal(#version);)
        }
        Step::Path => {
            let name = function_name(func);
            quote!(#key.part(::core::module_path!()); #key.literal("::"); #key.part(#name);)
        }
        // Its type counts even if its name says that it is not read.
        Step::TypeOf(name, cfgs) => {
            quote!(#(#cfgs)* #[allow(clippy::used_underscore_binding)] #key.type_of(&#name);)
        }
        Step::Literal(text) => quote!(#key.literal(#text);),
        Step::Type(name, terminator) => {
            let until = until(*terminator);
            quote!(#key #until.type_name::<#name>();)
        }
        Step::Const(name, terminator) => {
            let until = until(*terminator);
            quote!(#key #until.part(&#name);)
        }
        Step::Owner => quote!(#key.owner(&|| ());),
        Step::Value(Value { expr, format, terminator, cfgs, span }) => {
            let until = until(*terminator);
            let span = Span::mixed_site().located_at(*span);
            let write = Ident::new(format.function().unwrap_or("part"), span);
            let write = quote_spanned!(span=> #write(&#expr));
            quote!(#(#cfgs)* #key #until .#write;)
        }
    }
}

/// Writes which byte ends the next value.
fn until(terminator: Option<u8>) -> Option<TokenStream> {
    terminator.map(|byte| quote!(.until(#byte)))
}

/// Writes `fn name(the parameters of the key) -> Entry<…>`.
fn companion(companion: &Companion, plan: &Plan, func: &Func) -> TokenStream {
    let Companion { name, generics, params, store_if } = companion;
    let krate = &plan.krate;
    let output = returned(plan);
    let vis = &func.vis;
    let attrs = func::cfgs(&func.attrs).chain(func.attrs.iter().filter(|attr| attr.path().is_ident("allow")));
    let (generics, _, bounds) = generics.split_for_impl();
    let kind = if plan.returns.kind == Kind::Blocking { quote!(Entry) } else { quote!(AsyncEntry) };
    let call = hidden("__memocached_call");
    let address = address(Address::Of, plan, func);
    // As in the function, so that a type that cannot be stored is told once.
    let shape = shape(&plan.krate, &returned(plan), value_span(plan));
    let stored = stored(&call, plan, shape);
    let store_if = vetoing(store_if.as_ref(), plan);
    let ready = ready(&quote!(#stored #store_if), plan);
    // A trait that does not have this function is reported at its name.
    let mark = span_of(name);
    let about = format!("The cache entry of [`{}`] called with these arguments.", func.sig.ident);
    quote_spanned! {mark=>
        #(#attrs)*
        #[doc = #about]
        // Patterns may also bind names that the key does not read, or bind them as `mut`.
        #[allow(clippy::too_many_arguments, clippy::unused_self, unused_mut, unused_variables)]
        #[must_use]
        #vis fn #name #generics (#(#params),*) -> #krate::#kind<#output> #bounds {
            let #call = #address;
            #krate::#kind::of(#ready)
        }
    }
}

/// Returns what stands for the site's codec.
fn choice(plan: &Plan) -> TokenStream {
    let krate = &plan.krate;
    match &plan.codec {
        None => quote!(#krate::private::Configured),
        Some(codec) => {
            let path = codec_path(codec, plan);
            quote!(#krate::private::Chosen(#path))
        }
    }
}

fn codec_path(codec: &Codec, plan: &Plan) -> TokenStream {
    let krate = &plan.krate;
    match codec {
        Codec::Standard(standard, span) => {
            let name = Ident::new(type_name(*standard), *span);
            quote!(#krate::codec::#name)
        }
        Codec::Path(path) => path.to_token_stream(),
    }
}

/// Names the runtime's type of a codec.
fn type_name(standard: Standard) -> &'static str {
    match standard {
        Standard::Bincode => "Bincode",
        Standard::Postcard => "Postcard",
        Standard::Json => "Json",
        Standard::Text => "Text",
        Standard::BareJson => "BareJson",
        Standard::JsonSerde => "JsonSerde",
    }
}

fn function_name(func: &Func) -> String {
    let name = func.sig.ident.to_string();
    name.trim_start_matches("r#").to_owned()
}
