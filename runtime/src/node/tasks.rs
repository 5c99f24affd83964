//! Exchanges of async callers with a node: one request, or several at once.
//!
//! Takes the connections out of the async pool, or shares one through
//! `pipeline`; whether the node is asked at all is for `mod` to say.

use std::time::{Duration, Instant};

use tokio::runtime::Id;

use super::{Node, answered, fill, may_ask_again, verb_of};
use crate::error::{Error, ErrorKind};
use crate::exchange::{Outcome, Request};
use crate::net::async_connection::AsyncConnection;
use crate::net::fault::{Fault, Trouble};
use crate::node::async_pool::{AsyncPermit, runtime};
use crate::node::breaker::Admission;
use crate::node::pipeline::{Queue, Way};
use crate::protocol::Answer;
use crate::time::budget::Deadline;

/// A caller that gave up after this long without a reply says something about
/// the node, which answers within microseconds.
const SUSPICIOUS: Duration = Duration::from_millis(20);

impl Node {
    /// Sends one request and reads its reply.
    pub(crate) async fn ask_async(&self, request: &Request<'_>, deadline: Deadline) -> Outcome {
        request.check(self.endpoint.access.item_limit)?;
        let attempt = self.attempt(deadline)?;
        let outcome = self.outcome(request.verb(), self.exchange_async(request, deadline).await);
        attempt.end(outcome.as_ref().err());
        outcome
    }

    /// Asks once, and once more if an idle connection has broken.
    async fn exchange_async(&self, request: &Request<'_>, deadline: Deadline) -> Result<Answer, Fault> {
        let runtime = runtime().ok_or(Trouble::NoRuntime)?;
        if let Some(answer) = self.exchange_in_line(runtime, request, deadline).await {
            return answer;
        }
        let permit = self.checkout_async(runtime, deadline).await?;
        if let Some(idle) = self.idle_async(&permit, deadline) {
            let answer = converse(idle, request, deadline, &permit).await;
            if !answer.as_ref().is_err_and(|fault| may_ask_again(fault, &[*request])) {
                return answer;
            }
            self.async_pool.clear();
        }
        let fresh = self.dial_async(deadline).await?;
        converse(fresh, request, deadline, &permit).await
    }

    /// The right to have a connection open.
    async fn checkout_async(&self, runtime: Id, deadline: Deadline) -> Result<AsyncPermit<'_>, Fault> {
        if let Some(permit) = self.async_pool.try_checkout(runtime) {
            return Ok(permit);
        }
        let since = Instant::now();
        self.waited(since, self.async_pool.checkout(runtime, deadline).await)
    }

    /// Opens a connection.
    async fn dial_async(&self, deadline: Deadline) -> Result<AsyncConnection, Fault> {
        let since = Instant::now();
        let connection = AsyncConnection::dial(&self.endpoint, deadline).await?;
        self.observer.opened(since.elapsed());
        Ok(connection)
    }

    /// Asks on the connection that callers share, if there are enough of them.
    /// `None` if the caller has to use one of its own.
    async fn exchange_in_line(
        &self,
        runtime: Id,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Option<Result<Answer, Fault>> {
        let queue = match self.pipelines.way(runtime, self.async_pool.in_use()) {
            Way::Own => return None,
            Way::Open(opening) => match self.dial_async(deadline).await {
                Ok(connection) => return converse_in_line(&opening.open(connection), request, deadline).await,
                Err(fault) => return Some(Err(fault)),
            },
            Way::Shared(queue) => queue,
        };
        if !self.endpoint.is_at(queue.peer) {
            queue.close();
        }
        let answer = converse_in_line(&queue, request, deadline).await?;
        if answer.as_ref().is_err_and(|fault| may_ask_again(fault, &[*request])) {
            // The server was restarted, so the others are broken too.
            self.async_pool.clear();
            return None;
        }
        Some(answer)
    }

    /// Sends several requests at once and reads the replies, in their order.
    /// Keys and values have been checked.
    pub(crate) async fn ask_all_async(
        &self,
        requests: &[Request<'_>],
        deadline: Deadline,
    ) -> Result<Vec<Outcome>, Error> {
        let attempt = self.attempt(deadline)?;
        let mut outcomes = Vec::with_capacity(requests.len());
        let done = self.exchange_all_async(requests, deadline, &mut outcomes).await;
        let done = done.map_err(|fault| self.worded(verb_of(requests), fault));
        attempt.end(done.as_ref().err());
        match done {
            Err(error) if outcomes.is_empty() => return Err(error),
            Err(error) => fill(&mut outcomes, requests.len(), error),
            Ok(()) => {}
        }
        Ok(outcomes)
    }

    /// Asks once, and once more if an idle connection has broken.
    async fn exchange_all_async(
        &self,
        requests: &[Request<'_>],
        deadline: Deadline,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), Fault> {
        let runtime = runtime().ok_or(Trouble::NoRuntime)?;
        let permit = self.checkout_async(runtime, deadline).await?;
        if let Some(idle) = self.idle_async(&permit, deadline) {
            let done = self.converse_on(idle, requests, deadline, &permit, outcomes).await;
            let again = outcomes.is_empty() && done.as_ref().is_err_and(|fault| may_ask_again(fault, requests));
            if !again {
                return done;
            }
            self.async_pool.clear();
        }
        let fresh = self.dial_async(deadline).await?;
        self.converse_on(fresh, requests, deadline, &permit, outcomes).await
    }

    /// Exchanges several requests on a connection, which goes back to the pool if all
    /// is well.
    async fn converse_on(
        &self,
        mut connection: AsyncConnection,
        requests: &[Request<'_>],
        deadline: Deadline,
        permit: &AsyncPermit<'_>,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), Fault> {
        let tickets = connection.send(requests, deadline).await?;
        for (ticket, request) in tickets.into_iter().zip(requests) {
            let answer = answered(request, connection.receive(ticket, deadline).await?)?;
            outcomes.push(self.outcome(verb_of(requests), Ok(answer)));
        }
        connection.rest(deadline).inspect_err(|_| outcomes.clear())?;
        permit.give_back(connection);
        Ok(())
    }

    /// An idle connection that works, if there is one.
    fn idle_async(&self, permit: &AsyncPermit<'_>, deadline: Deadline) -> Option<AsyncConnection> {
        let mut idle = permit.idle()?;
        if idle.is_usable(&self.endpoint, deadline) {
            return Some(idle);
        }
        // The server was restarted, so the others are broken too.
        self.async_pool.clear();
        None
    }

    /// Begins an exchange, unless the node is out.
    fn attempt(&self, deadline: Deadline) -> Result<Attempt<'_>, Error> {
        Ok(Attempt { node: self, admission: Some(self.admit(deadline)?), since: deadline.begun() })
    }
}

/// One exchange on a connection, which goes back to the pool if all is well.
async fn converse(
    mut connection: AsyncConnection,
    request: &Request<'_>,
    deadline: Deadline,
    permit: &AsyncPermit<'_>,
) -> Result<Answer, Fault> {
    let ticket = connection.write(request)?;
    connection.flush(deadline).await?;
    let answer = answered(request, connection.receive(ticket, deadline).await?)?;
    connection.rest(deadline)?;
    permit.give_back(connection);
    Ok(answer)
}

/// One exchange on a shared connection. `None` if its queue is full.
async fn converse_in_line(queue: &Queue, request: &Request<'_>, deadline: Deadline) -> Option<Result<Answer, Fault>> {
    let pushed = match queue.push(request, deadline) {
        Ok(pushed) => pushed?,
        Err(unspeakable) => return Some(Err(unspeakable.into())),
    };
    Some(match tokio::time::timeout_at(deadline.instant().into(), pushed).await {
        Ok(Ok(delivery)) => delivery,
        Ok(Err(_)) => Err(ErrorKind::Io.into()),
        Err(_) => Err(ErrorKind::Timeout.into()),
    })
}

/// An exchange under way, which its caller may drop.
struct Attempt<'a> {
    node: &'a Node,
    /// Gone once the outcome is known.
    admission: Option<Admission>,
    since: Instant,
}

impl Attempt<'_> {
    /// Reports what came of it.
    fn end(mut self, error: Option<&Error>) {
        if let Some(admission) = self.admission.take() {
            self.node.judge(admission, error);
        }
    }
}

/// The caller gave up.
impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(admission) = self.admission.take()
            && self.since.elapsed() >= SUSPICIOUS
        {
            self.node.failed(admission, ErrorKind::Timeout);
        }
    }
}
