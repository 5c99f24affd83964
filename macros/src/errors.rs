//! Collects mistakes, so that the user sees all of them at once.
//!
//! It does not decide what is a mistake; the stages that push into it do.

use proc_macro2::TokenStream;
use quote::ToTokens;

/// The mistakes found so far, each with the token that it is about.
#[derive(Default)]
pub(crate) struct Errors(Vec<syn::Error>);

impl Errors {
    /// Adds a mistake about `tokens`.
    pub(crate) fn push(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.0.push(syn::Error::new_spanned(tokens, message));
    }

    /// Adds a mistake that already knows its span.
    pub(crate) fn push_error(&mut self, error: syn::Error) {
        self.0.push(error);
    }

    /// Returns the value of a step, or adds its mistake.
    pub(crate) fn ok<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push_error(error)).ok()
    }

    /// Returns the value of a step that found no mistake, or adds all that it found.
    pub(crate) fn ok_of<T>(&mut self, step: impl FnOnce(&mut Errors) -> Option<T>) -> Option<T> {
        let mut found = Errors::default();
        let value = step(&mut found).filter(|_| found.0.is_empty());
        self.0.append(&mut found.0);
        value
    }

    /// Returns the value if there was no mistake, otherwise all mistakes.
    pub(crate) fn finish<T>(self, value: T) -> Result<T, Errors> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// Writes one `compile_error!` for each mistake.
    pub(crate) fn into_compile_errors(self) -> TokenStream {
        self.0.iter().map(syn::Error::to_compile_error).collect()
    }
}
