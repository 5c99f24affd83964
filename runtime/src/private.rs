//! The items that expansions of the attribute name. They are not part of the public
//! API.

pub use std::boxed::Box;

pub use crate::call::address::Address;
#[cfg(feature = "tokio")]
pub use crate::call::batch::answer::in_background;
pub use crate::call::batch::elements::{ElementList, GivesElements, HoldsElements};
pub use crate::call::batch::results::Returns;
pub use crate::call::batch::{Batch, BatchTurn};
pub use crate::call::freshness::SingleFlight;
pub use crate::call::period::duration;
pub use crate::call::policy::{Chosen, Configured};
pub use crate::call::previous::PreviousSlot;
pub use crate::call::shapes::{self, Probe};
pub use crate::call::sharing;
pub use crate::call::site::{Description, Site, SiteTtl};
pub use crate::call::targets::updatable;
pub use crate::call::writer::WriterCall;
pub use crate::call::{Memo, Ready, readied, ready};
#[cfg(feature = "testing")]
pub use crate::testing::{judged_hit, judged_miss, judged_stale};

pub use crate::key::format::{bits, debug, display, hash};

/// Stands in for a value in unreachable code.
#[must_use]
pub fn never<T>() -> T {
    unreachable!("this call is only there for its type")
}
