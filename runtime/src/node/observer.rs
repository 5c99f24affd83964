//! What a node tells of its connections, to whoever counts them.
//!
//! A caller who gets a connection at once tells nothing: that is nearly every
//! call, and it is to cost nothing.

use std::time::Duration;

/// Who is told.
pub(crate) trait Census: Send + Sync {
    /// A caller had to wait this long for the right to use a connection.
    fn waited(&self, took: Duration);

    /// A caller waited for that in vain.
    fn gave_up(&self);

    /// Opening a connection took this long.
    fn opened(&self, took: Duration);
}

/// The open connections to a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Connections {
    pub(crate) idle: usize,
    /// Those being opened included.
    pub(crate) used: usize,
}

impl std::ops::Add for Connections {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Connections { idle: self.idle + more.idle, used: self.used + more.used }
    }
}
