//! What expansions of the attribute name, and nothing else may.

pub use std::boxed::Box;

pub use crate::call::{Address, Memo, Ready, ready};
pub use crate::policy::{Chosen, Configured};
pub use crate::shape::{Probe, shapes};
pub use crate::site::{Description, Site, SiteTtl};
pub use crate::terms::SingleFlight;

/// Stands for a value in code that is never reached.
#[must_use]
pub fn never<T>() -> T {
    unreachable!("only there for its type")
}
