//! Writes the expansion of `#[invalidates]` or `#[updates]`: [`Plan`] → what changes,
//! and one call around the body.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::{Expr, Ident};

use super::Change;
use super::plan::Plan;
use crate::body::{Run, shape};
use crate::expand::duration;
use crate::func::Func;
use crate::span::{located, span_of};

/// Writes the function.
pub(super) fn expand(plan: &Plan, func: &Func) -> TokenStream {
    let Func { attrs, vis, sig, .. } = func;
    let Plan { krate, returns, .. } = plan;
    let at = span_of(&returns.output);
    let write = Ident::new("__memocached_write", at);
    let begin = begin(&write, plan);
    let run = Run { begin, runner: write.to_token_stream(), run_async: "run_async", krate, returns, at }.around(func);
    quote! {
        #(#attrs)*
        #vis #sig {
            #run
        }
    }
}

/// Writes the statements that say what changes, and how.
fn begin(write: &Ident, plan: &Plan) -> TokenStream {
    let output = &plan.returns.output;
    let at = span_of(output);
    let krate = located(plan.krate.to_token_stream(), at);
    let shape = shape(&plan.krate, output, at);
    let hold_off = plan.hold_off.as_ref().map(|period| {
        let period = duration(period, &plan.krate);
        quote!(.hold_off(#period))
    });
    let unmarked = (!plan.is_marked).then(|| quote!(.unmarked()));
    let (updated, changes) = match plan.change {
        Change::Invalidate => (TokenStream::new(), plan.targets.iter().map(invalidated).collect()),
        Change::Update => plan.targets.iter().map(updated).unzip::<_, _, TokenStream, TokenStream>(),
    };
    let after = plan.after.as_ref().map(|after| quote_spanned!(span_of(after)=> .after(#after)));
    let refusing = plan.is_refusing.then(|| quote_spanned!(at=> .refusing()));
    quote_spanned! {at=>
        #updated
        let #write = #krate::private::WriterCall::of(#shape) #hold_off #unmarked #changes #after #refusing;
    }
}

/// Writes that an entry or a group is invalidated.
fn invalidated(target: &Expr) -> TokenStream {
    quote_spanned!(span_of(target)=> .entry(&(#target)))
}

/// Writes the entry that is updated, and that it is.
fn updated(target: &Expr) -> (TokenStream, TokenStream) {
    let at = span_of(target);
    let entry = Ident::new("__memocached_entry", at);
    let kept = quote_spanned!(at=> let #entry = #target;);
    (kept, quote_spanned!(at=> .updates(&#entry, |value| #entry.updating(value))))
}
