//! What a node tells of its connections, for telemetry to count.
//!
//! Counts nothing itself. A caller that gets a connection at once tells nothing:
//! that is nearly every call, and it must cost nothing.

use std::time::Duration;

/// What learns of a node's connections.
pub(crate) trait Observer: Send + Sync {
    /// Learns that a caller had to wait this long for the right to use a
    /// connection.
    fn waited(&self, took: Duration);

    /// Learns that a caller waited for that in vain.
    fn gave_up(&self);

    /// Learns that opening a connection took this long.
    fn opened(&self, took: Duration);
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
