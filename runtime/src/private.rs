//! What expansions of the attribute name, and nothing else may.

pub use std::boxed::Box;

pub use crate::call::address::Address;
pub use crate::call::freshness::SingleFlight;
pub use crate::call::policy::{Chosen, Configured};
pub use crate::call::shapes::{self, Probe};
pub use crate::call::site::{Description, Site, SiteTtl};
pub use crate::call::{Memo, Ready, ready};

/// Stands for a value in code that is never reached.
#[must_use]
pub fn never<T>() -> T {
    unreachable!("only there for its type")
}
