//! One memcached server: its circuit, its connections, one exchange at a time.
//!
//! Blocking callers and async callers have pools of their own. A connection
//! that broke while it lay idle is replaced once; nothing else is tried again.

use std::time::Instant;

use crate::breaker::{Admission, Breaker};
use crate::budget::Deadline;
use crate::error::{Error, ErrorKind};
use crate::exchange::{Outcome, Request};
use crate::pool::Pool;
use crate::server::Server;
use crate::wire::Connection;

/// A server and what is known about it.
pub(crate) struct Node {
    server: Server,
    breaker: Breaker,
    pool: Pool<Connection>,
    #[cfg(feature = "tokio")]
    async_pool: crate::async_pool::AsyncPool,
}

impl Node {
    pub(crate) fn new(server: Server, pool_size: usize) -> Self {
        Node {
            server,
            breaker: Breaker::default(),
            pool: Pool::new(pool_size),
            #[cfg(feature = "tokio")]
            async_pool: crate::async_pool::AsyncPool::new(pool_size),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        !self.breaker.is_open()
    }

    pub(crate) fn ask(&self, request: &Request<'_>, deadline: Deadline) -> Outcome {
        let admission = self.admit(request)?;
        let outcome = self.exchange(request, deadline);
        self.judge(admission, &outcome);
        outcome
    }

    fn exchange(&self, request: &Request<'_>, deadline: Deadline) -> Outcome {
        let patience = deadline.left().unwrap_or_default();
        let mut permit = self.pool.checkout(patience).ok_or_else(|| self.exhausted())?;
        if let Some(mut idle) = permit.idle.take() {
            let outcome = idle.exchange(&self.server, request, deadline);
            if !broke(&outcome) {
                if outcome.is_ok() {
                    permit.give_back(idle);
                }
                return outcome;
            }
            // The server was restarted, so the others are broken too.
            self.pool.clear();
        }
        let mut fresh = Connection::dial(&self.server, deadline)?;
        let outcome = fresh.exchange(&self.server, request, deadline);
        if outcome.is_ok() {
            permit.give_back(fresh);
        }
        outcome
    }

    fn admit(&self, request: &Request<'_>) -> Result<Admission, Error> {
        request.check_size()?;
        let admission = self.breaker.admit(Instant::now());
        if admission == Some(Admission::Probe) {
            // What lay idle through the outage is worth nothing.
            self.close_idle();
        }
        admission.ok_or_else(|| {
            let message = format!("{} has failed and is left alone for a while", self.server);
            Error::new(ErrorKind::CircuitOpen, message)
        })
    }

    /// Tells the breaker what an outcome says about the node's health.
    fn judge(&self, admission: Admission, outcome: &Outcome) {
        match outcome.as_ref().map_err(Error::kind) {
            Ok(_) | Err(ErrorKind::Server | ErrorKind::Rejected | ErrorKind::TooLarge) => {
                self.breaker.succeeded(admission);
            }
            // Our own trouble: nothing was asked.
            Err(ErrorKind::PoolExhausted | ErrorKind::OutOfTime | ErrorKind::NoRuntime) => {}
            Err(kind) => {
                self.breaker.failed(admission, kind, Instant::now());
            }
        }
    }

    fn close_idle(&self) {
        self.pool.clear();
        #[cfg(feature = "tokio")]
        self.async_pool.clear();
    }

    fn exhausted(&self) -> Error {
        Error::new(ErrorKind::PoolExhausted, format!("all connections to {} were in use for too long", self.server))
    }
}

#[cfg(feature = "tokio")]
mod on_tokio {
    use std::time::{Duration, Instant};

    use super::{Admission, Deadline, Error, ErrorKind, Node, Outcome, Request, broke};
    use crate::async_pool::runtime;
    use crate::wire::AsyncConnection;

    /// A caller who gave up after this long without a reply says something
    /// about the node, which answers within microseconds.
    const SUSPICIOUS: Duration = Duration::from_millis(20);

    impl Node {
        pub(crate) async fn ask_async(&self, request: &Request<'_>, deadline: Deadline) -> Outcome {
            let admission = self.admit(request)?;
            let waiting = Waiting { node: self, admission, since: Some(Instant::now()) };
            let outcome = self.exchange_async(request, deadline).await;
            waiting.end();
            self.judge(admission, &outcome);
            outcome
        }

        async fn exchange_async(&self, request: &Request<'_>, deadline: Deadline) -> Outcome {
            let runtime = runtime().ok_or_else(|| {
                let message = format!("{} cannot be reached: async functions need a tokio runtime", self.server);
                Error::new(ErrorKind::NoRuntime, message)
            })?;
            let _permit = self.async_pool.checkout(deadline).await.ok_or_else(|| self.exhausted())?;
            if let Some(mut idle) = self.async_pool.take_idle(runtime) {
                let outcome = idle.exchange(&self.server, request, deadline).await;
                if !broke(&outcome) {
                    if outcome.is_ok() {
                        self.async_pool.give_back(runtime, idle);
                    }
                    return outcome;
                }
                self.async_pool.clear();
            }
            let mut fresh = AsyncConnection::dial(&self.server, deadline).await?;
            let outcome = fresh.exchange(&self.server, request, deadline).await;
            if outcome.is_ok() {
                self.async_pool.give_back(runtime, fresh);
            }
            outcome
        }
    }

    /// An exchange under way, which its caller may drop.
    struct Waiting<'a> {
        node: &'a Node,
        admission: Admission,
        since: Option<Instant>,
    }

    impl Waiting<'_> {
        fn end(mut self) {
            self.since = None;
        }
    }

    impl Drop for Waiting<'_> {
        fn drop(&mut self) {
            if self.since.is_some_and(|since| since.elapsed() >= SUSPICIOUS) {
                self.node.breaker.failed(self.admission, ErrorKind::Timeout, Instant::now());
            }
        }
    }
}

/// Whether the connection was closed, as it is when the server was restarted
/// while it lay idle. Requests are safe to be asked twice.
fn broke(outcome: &Outcome) -> bool {
    outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Io)
}
