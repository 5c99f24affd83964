//! Exchanges of async callers with a node: one request, or several at once.
//!
//! Takes the connections out of the async pool, or shares one through
//! `pipeline`; whether the node is asked at all is for `mod` to say.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::Id;

use super::{Node, answered, fill, may_ask_again, verb_of};
use crate::error::{Error, ErrorKind};
use crate::exchange::{Numbering, Outcome, Request, Verb};
use crate::net::async_connection::AsyncConnection;
use crate::net::fault::{Fault, Trouble, Verdict};
use crate::node::async_pool::{AsyncPermit, runtime};
use crate::node::breaker::Admission;
use crate::node::pipeline::{Queue, Way};
use crate::protocol::Answer;
use crate::time::budget::Deadline;
use crate::time::patience::{Patience, now};

impl Node {
    /// Sends one request and reads its reply.
    pub(crate) async fn ask_async(&self, request: &Request<'_>, deadline: Deadline) -> Outcome {
        request.check(self.endpoint.access.item_limit)?;
        let (mut attempt, asked) = (self.attempt(request.verb(), deadline)?, AtomicBool::new(false));
        let mut exchange = pin!(self.exchange_async(request, deadline, &asked));
        let answer = poll_fn(|context| attempt.note(&asked, exchange.as_mut().poll(context))).await;
        attempt.end(answer.and_then(|answer| answer.map_err(Fault::from)))
    }

    /// Asks once, and once more if an idle connection has broken. Notes when the
    /// node is being asked.
    async fn exchange_async(
        &self,
        request: &Request<'_>,
        deadline: Deadline,
        asked: &AtomicBool,
    ) -> Result<Answer, Fault> {
        let runtime = runtime().ok_or(Trouble::NoRuntime)?;
        if let Some(answer) = self.exchange_in_line(runtime, request, deadline, asked).await {
            return answer;
        }
        let permit = self.checkout_async(runtime, deadline).await?;
        asked.store(true, Ordering::Relaxed);
        if let Some(idle) = self.idle_async(&permit, deadline) {
            let answer = converse(idle, request, deadline, &permit).await;
            if !answer.as_ref().is_err_and(|fault| may_ask_again(fault, &[*request])) {
                return answer;
            }
            self.async_pool.clear();
        }
        let answer = match self.dial_async(deadline).await {
            // The runtime may have been busy meanwhile.
            Ok(fresh) => converse(fresh, request, deadline.at_least_fair(), &permit).await,
            Err(fault) => Err(fault),
        };
        match answer {
            Err(fault) if fault.trouble.verdict() == Verdict::Full => {
                drop(permit);
                asked.store(false, Ordering::Relaxed);
                Box::pin(self.make_do(runtime, request, deadline, fault)).await
            }
            answer => answer,
        }
    }

    /// Asks on a connection that works, as the server takes no more: waits for one, if
    /// there is any.
    async fn make_do(
        &self,
        runtime: Id,
        request: &Request<'_>,
        deadline: Deadline,
        fault: Fault,
    ) -> Result<Answer, Fault> {
        if let Some(queue) = self.pipelines.shared(runtime)
            && let Some(answer) = converse_in_line(&queue, request, deadline).await
        {
            match answer {
                // It may have been opened in vain just now.
                Err(fault) if fault.kind() == ErrorKind::PoolExhausted || may_ask_again(&fault, &[*request]) => {}
                answer => return answer,
            }
        }
        while self.async_pool.make_do() {
            let permit = self.checkout_async(runtime, deadline).await?;
            match self.idle_async(&permit, deadline) {
                Some(idle) => return converse(idle, request, deadline, &permit).await,
                None => permit.keep_back(),
            }
        }
        Err(fault)
    }

    /// Takes the right to have a connection open.
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

    /// Opens a connection that tasks share: what they ask is written in the life that
    /// the server is in now.
    async fn dial_for_line(&self, deadline: Deadline) -> Result<AsyncConnection, Fault> {
        let mut connection = self.dial_async(deadline).await?;
        connection.learn_life(Numbering::Sent, deadline.at_least_fair()).await?;
        Ok(connection)
    }

    /// Asks on the connection that callers share, if there are enough of them.
    /// `None` if the caller has to use one of its own.
    async fn exchange_in_line(
        &self,
        runtime: Id,
        request: &Request<'_>,
        deadline: Deadline,
        asked: &AtomicBool,
    ) -> Option<Result<Answer, Fault>> {
        let (way, untold) = self.pipelines.way(runtime, self.async_pool.in_use());
        if let Some(fault) = untold {
            self.learn(request.verb(), fault);
        }
        let queue = match way {
            Way::Own => return None,
            Way::Open(opening) => {
                asked.store(true, Ordering::Relaxed);
                let dialled = self.dial_for_line(deadline).await;
                asked.store(false, Ordering::Relaxed);
                match dialled {
                    Ok(connection) => opening.open(connection),
                    Err(fault) if fault.trouble.verdict() == Verdict::Full => return None,
                    Err(fault) => return Some(Err(fault)),
                }
            }
            Way::Shared(queue) => queue,
        };
        if !self.endpoint.is_at(queue.peer) || !queue.is_of_life(self.endpoint.lives.now()) {
            queue.close();
        }
        let answer = converse_in_line(&queue, request, deadline).await?;
        if answer.as_ref().is_err_and(|fault| fault.kind() == ErrorKind::PoolExhausted) {
            // The server took no more connections, and did nothing.
            return None;
        }
        if answer.as_ref().is_err_and(|fault| may_ask_again(fault, &[*request])) {
            if queue.has_worked() {
                // The server was restarted, so the others are broken too.
                self.async_pool.clear();
            }
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
        let (mut attempt, asked) = (self.attempt(verb_of(requests), deadline)?, AtomicBool::new(false));
        let mut outcomes = Vec::with_capacity(requests.len());
        let done = {
            let mut exchange = pin!(self.exchange_all_async(requests, deadline, &mut outcomes, &asked));
            poll_fn(|context| attempt.note(&asked, exchange.as_mut().poll(context))).await
        };
        match attempt.end(done) {
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
        asked: &AtomicBool,
    ) -> Result<(), Fault> {
        let runtime = runtime().ok_or(Trouble::NoRuntime)?;
        let permit = self.checkout_async(runtime, deadline).await?;
        asked.store(true, Ordering::Relaxed);
        if let Some(idle) = self.idle_async(&permit, deadline) {
            let done = self.converse_on(idle, requests, deadline, &permit, outcomes).await;
            let again = outcomes.is_empty() && done.as_ref().is_err_and(|fault| may_ask_again(fault, requests));
            if !again {
                return done;
            }
            self.async_pool.clear();
        }
        let fresh = self.dial_async(deadline).await?;
        self.converse_on(fresh, requests, deadline.at_least_fair(), &permit, outcomes).await
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
        while outcomes.len() < requests.len() {
            let rest = &requests[outcomes.len()..];
            for (ticket, request) in connection.send(rest, deadline).await?.into_iter().zip(rest) {
                let answer = answered(request, connection.receive(ticket).await?)?;
                outcomes.push(self.outcome(verb_of(requests), Ok(answer)));
            }
        }
        connection.rest(deadline).inspect_err(|_| outcomes.clear())?;
        permit.give_back(connection);
        Ok(())
    }

    /// Takes an idle connection that works, if there is one.
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
    fn attempt(&self, verb: Verb, deadline: Deadline) -> Result<Attempt<'_>, Error> {
        let admission = Some(self.admit(deadline)?);
        let silence = Patience::new(Duration::MAX, deadline.begun());
        Ok(Attempt { node: self, admission, verb, deadline, silence })
    }
}

/// Carries out one exchange on a connection, which goes back to the pool if all is well.
async fn converse(
    mut connection: AsyncConnection,
    request: &Request<'_>,
    deadline: Deadline,
    permit: &AsyncPermit<'_>,
) -> Result<Answer, Fault> {
    let ticket = connection.send_one(request, deadline).await?;
    let answer = answered(request, connection.receive(ticket).await?)?;
    permit.hold();
    connection.rest(deadline)?;
    permit.give_back(connection);
    Ok(answer)
}

/// Carries out one exchange on a shared connection, whose driver says when time is up. `None`
/// if its queue is full.
async fn converse_in_line(queue: &Queue, request: &Request<'_>, deadline: Deadline) -> Option<Result<Answer, Fault>> {
    let pushed = match queue.push(request, deadline) {
        Ok(pushed) => pushed?,
        Err(unspeakable) => return Some(Err(unspeakable.into())),
    };
    Some(pushed.await.unwrap_or_else(|_| Err(Trouble::Shared(ErrorKind::Io).into())))
}

/// An exchange under way, which its caller may drop.
struct Attempt<'a> {
    node: &'a Node,
    /// Gone once the outcome is known.
    admission: Option<Admission>,
    verb: Verb,
    deadline: Deadline,
    /// How long the node has been asked without an answer.
    silence: Patience,
}

impl Attempt<'_> {
    /// Notes that the exchange has been polled, and whether the node `is_asked`: the
    /// wait for one of our own connections says nothing about it.
    fn note<T>(&mut self, is_asked: &AtomicBool, polled: Poll<T>) -> Poll<T> {
        if polled.is_pending() {
            match is_asked.load(Ordering::Relaxed) {
                true => _ = self.silence.look(now()),
                false => self.silence = Patience::new(Duration::MAX, now()),
            }
        }
        polled
    }

    /// Reports what came of it.
    fn end<T>(mut self, outcome: Result<T, Fault>) -> Result<T, Error> {
        match self.admission.take() {
            Some(admission) => self.node.settle(admission, self.verb, outcome),
            None => outcome.map_err(|fault| self.node.worded(self.verb, fault)),
        }
    }
}

/// The caller gave up.
impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(admission) = self.admission.take()
            && self.deadline.is_fair(self.silence.waited())
        {
            let error = self.node.worded(self.verb, ErrorKind::Timeout.into());
            self.node.failed(admission, self.verb, &error);
        }
    }
}
