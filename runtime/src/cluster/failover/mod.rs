//! What failover takes: the way around a node that is out, and what must be put
//! right before it is asked again.
//!
//! When a node is out, its breaker says.

pub(crate) mod journal;
pub(crate) mod recovery;
pub(crate) mod route;
pub(crate) mod watermark;
