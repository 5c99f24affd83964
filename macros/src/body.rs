//! Writes a function's body inside the call that runs it, for each way in which a
//! function may be async.

use proc_macro2::{Delimiter, Group, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Ident, Path, ReturnType, Type};

use crate::func::Func;
use crate::returns::{Kind, Returns};
use crate::span::{hidden, located, span_of};

/// What runs a body.
pub(crate) struct Run<'a> {
    /// The statements in front of it.
    pub(crate) begin: TokenStream,
    /// The value that is called with the body.
    pub(crate) runner: TokenStream,
    /// Its method for a body that is a future.
    pub(crate) run_async: &'static str,
    pub(crate) krate: &'a Path,
    pub(crate) returns: &'a Returns,
    /// The value that the body replaces, if it wants that.
    pub(crate) previous: Option<Replaced<'a>>,
    /// Where the compiler reports a return type that does not fit.
    pub(crate) at: Span,
}

/// The value that a body replaces.
pub(crate) struct Replaced<'a> {
    /// What the body calls it.
    pub(crate) name: &'a Ident,
    /// Where the call leaves it.
    pub(crate) slot: &'a Ident,
}

impl Replaced<'_> {
    /// Writes the statement in front of the body that takes it.
    fn taken(&self) -> TokenStream {
        let Replaced { name, slot } = self;
        quote_spanned!(name.span()=> let #name = #slot.take();)
    }
}

impl Run<'_> {
    /// Writes all of it. If the function returns a future, it begins when the future is
    /// first polled.
    pub(crate) fn around(&self, func: &Func) -> TokenStream {
        let Run { runner, krate, at, .. } = self;
        let output = &self.returns.output;
        // The compiler names a variable in a closure only if the closure is the user's.
        let own = func.body.span();
        let run_async = format_ident!("{}", self.run_async, span = *at);
        let begin = self.begin();
        let body = match &self.previous {
            Some(previous) => braced(previous.taken(), &func.body),
            None => func.body.clone(),
        };
        match self.returns.kind {
            Kind::Blocking => {
                let body = match &self.previous {
                    Some(Replaced { slot, .. }) => {
                        let notes = hidden("__memocached_notes");
                        braced(quote!(let #notes = #slot.enter();), &body)
                    }
                    None => body,
                };
                let closure = quote_spanned!(own=> move || -> #output #body);
                quote_spanned!(*at=> #begin #runner.run(#closure))
            }
            Kind::Async => {
                let block = braced(inferred(krate, output), &body);
                let future = self.noted(quote_spanned!(own=> async move #block));
                quote_spanned!(*at=> #begin #runner.#run_async(#future).await)
            }
            Kind::Future => {
                let closure = quote_spanned!(own=> move || #body);
                let future = self.noted(quote!(async move { (#closure)().await }));
                quote!(async move { #begin #runner.#run_async(#future).await })
            }
            Kind::BoxedFuture => {
                let ReturnType::Type(_, boxed) = &func.sig.output else { return TokenStream::new() };
                let closure = quote_spanned!(own=> move || -> #boxed #body);
                let future = self.noted(quote!(async move { (#closure)().await }));
                quote!(#krate::private::Box::pin(async move { #begin #runner.#run_async(#future).await }))
            }
        }
    }

    /// Writes the statements in front of the call.
    fn begin(&self) -> TokenStream {
        let Run { begin, krate, .. } = self;
        let slot = self.previous.as_ref().map(|Replaced { slot, .. }| {
            quote!(let #slot = <#krate::private::PreviousSlot<_> as ::core::default::Default>::default();)
        });
        quote!(#slot #begin)
    }

    /// Writes the future of a body so that notes are taken of what it says of its value.
    fn noted(&self, future: TokenStream) -> TokenStream {
        match &self.previous {
            Some(Replaced { slot, .. }) => quote!(::core::clone::Clone::clone(&#slot).within(#future)),
            None => future,
        }
    }
}

/// Writes the expression that finds out what of the return type is a value.
pub(crate) fn shape(krate: &Path, output: &impl ToTokens, at: Span) -> TokenStream {
    let krate = located(krate.to_token_stream(), at);
    quote_spanned! {at=>
        {
            use #krate::private::shapes::*;
            (&&&&&&#krate::private::Probe::<#output>::NEW).__memocached_shape()
        }
    }
}

/// Writes the same expression, which also finds out whether near hits share the value.
pub(crate) fn shared_shape(krate: &Path, output: &impl ToTokens, at: Span) -> TokenStream {
    let shape = shape(krate, output, at);
    let krate = located(krate.to_token_stream(), at);
    let (shaped, sharing) = (hidden("__memocached_shaped"), hidden("__memocached_sharing"));
    quote_spanned! {at=>
        {
            use #krate::private::sharing::*;
            let #shaped = #shape;
            let #sharing = (&&#shaped.probe::<fn(&()) -> #output>()).__memocached_sharing();
            #shaped.shared(#sharing)
        }
    }
}

/// Tells the compiler the type of every `return` and `?` in an async body, as the
/// signature does for a function.
pub(crate) fn inferred(krate: &Path, output: &Type) -> TokenStream {
    let at = span_of(output);
    let krate = located(krate.to_token_stream(), at);
    quote_spanned! {at=>
        #[allow(unreachable_code)]
        if false {
            return #krate::private::never::<#output>();
        }
    }
}

/// Puts statements in front of a body, inside its own braces: further ones
/// around it would count as unnecessary.
pub(crate) fn braced(mut statements: TokenStream, body: &Group) -> Group {
    // As a whole: taken apart, a macro's fragment would lose what holds it together.
    statements.extend([body.stream()]);
    let mut braced = Group::new(Delimiter::Brace, statements);
    braced.set_span(body.span());
    braced
}
