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
pub use crate::call::shapes::Probe;
pub use crate::call::site::{Description, Site, SiteTtl};
pub use crate::call::targets::updatable;
pub use crate::call::writer::WriterCall;
pub use crate::call::{Memo, Ready, readied, ready};
#[cfg(feature = "testing")]
pub use crate::testing::{judged_hit, judged_miss, judged_stale};

pub use crate::key::format::{bits, debug, display, hash};

/// The traits that find the shape of a return type. They have no names here, which would
/// hide those of a user's types.
pub mod shapes {
    pub use crate::call::shapes::{
        ProbeFallible as _, ProbeFallibleEq as _, ProbeFallibleOptional as _, ProbeFallibleOptionalEq as _,
        ProbeOptional as _, ProbeOptionalEq as _, ProbePlain as _, ProbePlainEq as _,
    };
}

/// The traits that find out whether near hits share a value, without their names.
pub mod sharing {
    pub use crate::call::sharing::{SharesArc as _, SharesCopy as _, SharesNothing as _};
}

/// Stands in for a value in unreachable code.
#[must_use]
pub fn never<T>() -> T {
    unreachable!("this call is only there for its type")
}
