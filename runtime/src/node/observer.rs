//! What a node tells of its connections and outages, for telemetry to count.
//!
//! Counts nothing itself. A caller that gets a connection at once tells nothing:
//! that is nearly every call, and it must cost nothing.

use std::time::Duration;

use crate::error::Error;
use crate::exchange::Verb;

/// What learns of a node's connections.
pub(crate) trait Observer: Send + Sync {
    /// Learns that a caller had to wait this long for the right to use a
    /// connection.
    fn waited(&self, took: Duration);

    /// Learns that a caller waited for that in vain.
    fn gave_up(&self);

    /// Learns that opening a connection took this long.
    fn opened(&self, took: Duration);

    /// Learns that the node is not asked for a while.
    fn left_alone(&self, outage: &LeftAlone<'_>);
}

/// The beginning of an outage.
pub(crate) struct LeftAlone<'a> {
    /// What the node was asked for.
    pub(crate) verb: Verb,
    /// What came of it, with all causes.
    pub(crate) error: &'a Error,
    /// How long the node is left alone before it is looked at again.
    pub(crate) pause: Duration,
}

/// The open connections to a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Connections {
    pub(crate) idle: usize,
    /// Including those that are being opened.
    pub(crate) used: usize,
}

impl std::ops::Add for Connections {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Connections { idle: self.idle + more.idle, used: self.used + more.used }
    }
}
