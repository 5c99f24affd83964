//! Writes a function's body inside the call that runs it, for each way in which a
//! function may be async.

use proc_macro2::{Delimiter, Group, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Path, ReturnType, Type};

use crate::func::Func;
use crate::returns::{Kind, Returns};
use crate::span::{located, span_of};

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
    /// Where the compiler reports a return type that does not fit.
    pub(crate) at: Span,
}

impl Run<'_> {
    /// Writes all of it. If the function returns a future, it begins when the future is
    /// first polled.
    pub(crate) fn around(&self, func: &Func) -> TokenStream {
        let Run { begin, runner, krate, at, .. } = self;
        let (body, output) = (&func.body, &self.returns.output);
        // The compiler names a variable in a closure only if the closure is the user's.
        let own = body.span();
        let run_async = format_ident!("{}", self.run_async, span = *at);
        match self.returns.kind {
            Kind::Blocking => {
                let closure = quote_spanned!(own=> move || -> #output #body);
                quote_spanned!(*at=> #begin #runner.run(#closure))
            }
            Kind::Async => {
                let block = braced(inferred(krate, output), body);
                let future = quote_spanned!(own=> async move #block);
                quote_spanned!(*at=> #begin #runner.#run_async(#future).await)
            }
            Kind::Future => {
                let closure = quote_spanned!(own=> move || #body);
                quote! {
                    async move {
                        #begin
                        #runner.#run_async(async move { (#closure)().await }).await
                    }
                }
            }
            Kind::BoxedFuture => {
                let ReturnType::Type(_, boxed) = &func.sig.output else { return TokenStream::new() };
                let closure = quote_spanned!(own=> move || -> #boxed #body);
                quote! {
                    #krate::private::Box::pin(async move {
                        #begin
                        #runner.#run_async(async move { (#closure)().await }).await
                    })
                }
            }
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

/// Writes the expression that finds out whether near hits share a value of this return
/// type.
pub(crate) fn sharing(krate: &Path, output: &impl ToTokens, at: Span) -> TokenStream {
    let krate = located(krate.to_token_stream(), at);
    quote_spanned! {at=>
        {
            use #krate::private::sharing::*;
            (&&#krate::private::SharingProbe::<#output, fn(&()) -> #output>::NEW).__memocached_sharing()
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
