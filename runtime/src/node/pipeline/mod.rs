//! A connection that many tasks share, for when the pool's are all in use.
//!
//! Callers put requests into a `queue`; a task of the runtime, the `driver`,
//! sends what is queued with one call, up to a limit of unanswered requests, reads
//! the replies in the same order, and knows how long the server has had each
//! request. It drops the reply to a caller that has gone. It closes a connection
//! that has failed in any way and tells all callers that wait on it.
//! Opens no connection.

mod bytes;
mod driver;
mod queue;
mod unsent;
mod watch;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use tokio::runtime::Id;

use crate::net::async_connection::AsyncConnection;
use crate::net::fault::Fault;
use crate::node::observer::Connections;
use crate::protocol::RequestNumbers;
use crate::sync::lock;

use driver::Driver;
pub(crate) use queue::Queue;

/// With this many callers at once, sharing is faster: each system call serves
/// several of them.
const CROWD: usize = 4;

/// The shared connections to one node, one for each runtime.
pub(crate) struct Pipelines {
    lines: Mutex<Vec<(Id, Line)>>,
    /// With this many callers at once, they share.
    crowd: usize,
}

/// The shared connection of one runtime.
enum Line {
    /// A caller opens the connection.
    Opening,
    Open(Arc<Queue>),
}

/// The connection for a caller to use.
pub(crate) enum Way<'a> {
    /// One of its own, out of the pool.
    Own,
    /// The one that callers share.
    Shared(Arc<Queue>),
    /// The one that callers share, which this caller must open first.
    Open(Opening<'a>),
}

/// The right to open the connection of a runtime.
pub(crate) struct Opening<'a> {
    pipelines: &'a Pipelines,
    runtime: Id,
}

impl Pipelines {
    /// Creates the pipelines to a node that this many connections may be open to. If that is
    /// one, none is shared.
    pub(crate) fn new(pool_size: usize) -> Self {
        let crowd = if pool_size > 1 { CROWD.min(pool_size - 1) } else { usize::MAX };
        Pipelines { lines: Mutex::default(), crowd }
    }

    /// Chooses a connection for a caller, when this many others have connections
    /// of their own. If one has failed that all its callers had left, the fault as
    /// well.
    pub(crate) fn way(&self, runtime: Id, others: usize) -> (Way<'_>, Option<Fault>) {
        let mut lines = lock(&self.lines);
        let known = lines.iter().find(|(owner, _)| *owner == runtime);
        let mut untold = None;
        match known.map(|(_, line)| line) {
            Some(Line::Open(queue)) if !queue.is_closed() => {
                let is_crowded = queue.company.load(Ordering::Relaxed) > 1 || others >= self.crowd;
                return (if is_crowded { Way::Shared(Arc::clone(queue)) } else { Way::Own }, None);
            }
            Some(Line::Opening) => return (Way::Own, None),
            Some(Line::Open(queue)) => untold = queue.take_untold(),
            None => {}
        }
        if others < self.crowd {
            return (Way::Own, untold);
        }
        // The connections of runtimes that have ended go too.
        lines.retain(|(_, line)| !matches!(line, Line::Open(queue) if queue.is_closed()));
        lines.push((runtime, Line::Opening));
        (Way::Open(Opening { pipelines: self, runtime }), untold)
    }

    /// Returns the open connection of a runtime, if there is one.
    pub(crate) fn shared(&self, runtime: Id) -> Option<Arc<Queue>> {
        let lines = lock(&self.lines);
        lines.iter().find_map(|(owner, line)| match line {
            Line::Open(queue) if *owner == runtime && !queue.is_closed() => Some(Arc::clone(queue)),
            _ => None,
        })
    }

    /// Returns the connections that are open now.
    pub(crate) fn connections(&self) -> Connections {
        let lines = lock(&self.lines);
        let is_used = |line: &Line| match line {
            Line::Opening => Some(true),
            Line::Open(queue) => (!queue.is_closed()).then(|| queue.requests.load(Ordering::Relaxed) > 0),
        };
        let open: Vec<bool> = lines.iter().filter_map(|(_, line)| is_used(line)).collect();
        let used = open.iter().filter(|used| **used).count();
        Connections { idle: open.len() - used, used }
    }

    /// Closes each connection as soon as no caller waits on it.
    pub(crate) fn clear(&self) {
        lock(&self.lines).retain(|(_, line)| match line {
            Line::Open(queue) => {
                queue.close();
                false
            }
            Line::Opening => true,
        });
    }
}

impl Drop for Pipelines {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Opening<'_> {
    /// Lets a task of this runtime drive the connection from now on.
    pub(crate) fn open(self, connection: AsyncConnection) -> Arc<Queue> {
        let peer = connection.peer;
        let (socket, session) = connection.into_parts();
        let queue = Arc::new(Queue::new(session.wording(), RequestNumbers::unique(), peer));
        tokio::spawn(Driver::new(Arc::clone(&queue), socket, session).run());
        self.end(Some(Line::Open(Arc::clone(&queue))));
        queue
    }

    /// Replaces the mark that the connection is being opened.
    fn end(&self, line: Option<Line>) {
        let mut lines = lock(&self.pipelines.lines);
        lines.retain(|(owner, line)| *owner != self.runtime || matches!(line, Line::Open(_)));
        lines.extend(line.map(|line| (self.runtime, line)));
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.end(None);
    }
}
