//! Writes the expansion of `#[invalidates]` or `#[updates]`: [`WriterPlan`] → what changes,
//! and one call around the body.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::{Expr, Ident};

use super::Change;
use super::plan::WriterPlan;
use crate::body::{Run, shape};
use crate::expand::duration;
use crate::func::Func;
use crate::span::{located, span_of};

/// Writes the function.
pub(super) fn expand(plan: &WriterPlan, func: &Func) -> TokenStream {
    let Func { attrs, vis, sig, .. } = func;
    let WriterPlan { krate, returns, .. } = plan;
    let at = span_of(&returns.output);
    let write = Ident::new("__memocached_write", at);
    let begin = begin(&write, plan);
    let runner = write.to_token_stream();
    let run = Run { begin, runner, run_async: "run_async", krate, returns, previous: None, at }.around(func);
    quote! {
        #(#attrs)*
        #vis #sig {
            #run
        }
    }
}

/// Writes the statements that say what changes, and how.
fn begin(write: &Ident, plan: &WriterPlan) -> TokenStream {
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
        Change::Update => {
            plan.targets.iter().map(|target| updated(target, plan)).unzip::<_, _, TokenStream, TokenStream>()
        }
    };
    let after = plan.after.as_ref().map(after);
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

/// Writes what else is invalidated afterwards.
fn after(after: &Expr) -> TokenStream {
    // What it gives may be nothing that can be invalidated.
    let at = match after {
        Expr::Closure(closure) => span_of(&closure.body),
        other => span_of(other),
    };
    quote_spanned!(at=> .after(#after))
}

/// Writes the entry that is updated, and that it is.
fn updated(target: &Expr, plan: &WriterPlan) -> (TokenStream, TokenStream) {
    let at = span_of(target);
    let krate = located(plan.krate.to_token_stream(), at);
    let entry = Ident::new("__memocached_entry", at);
    let kept = quote_spanned! {at=>
        let #entry = #target;
        let #entry = #krate::private::updatable(&#entry);
    };
    (
        kept,
        quote_spanned!(at=> .updates(#entry, #entry.updating_stamps(), |value, stamps| #entry.updating(value, stamps))),
    )
}
