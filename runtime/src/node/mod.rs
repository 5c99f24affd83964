//! One memcached server: its circuit, its connections, one exchange at a time.
//!
//! Blocking callers and async callers have pools of their own. What only reads
//! is asked again, once, if the connection turns out to have broken while it
//! lay idle; nothing else is tried again.

#[cfg(feature = "tokio")]
pub(crate) mod async_pool;
pub(crate) mod breaker;
pub(crate) mod observer;
#[cfg(feature = "tokio")]
pub(crate) mod pipeline;
pub(crate) mod pool;
pub(crate) mod prober;

use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use crate::cluster::failover::journal::Journal;
use crate::cluster::failover::watermark::Mark;
use crate::error::{Error, ErrorKind};
use crate::exchange::{Outcome, Request, Verb};
use crate::net::connection::Connection;
use crate::net::endpoint::Endpoint;
use crate::node::breaker::{Admission, Breaker, Pauses, Refusal};
use crate::node::observer::{Census, Connections};
use crate::node::pool::{Permit, Pool};
use crate::node::prober::Leash;
use crate::protocol::{Answer, Ticket};
use crate::server::Failover;
use crate::sync::lock;
use crate::time::budget::Deadline;

/// A server and what is known about it.
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) breaker: Breaker,
    census: &'static dyn Census,
    pool: Pool<Box<Connection>>,
    #[cfg(feature = "tokio")]
    async_pool: async_pool::AsyncPool,
    #[cfg(feature = "tokio")]
    pipelines: pipeline::Pipelines,
    /// What has been written elsewhere while this node was out.
    pub(crate) journal: Journal,
    /// What it has from before is of a time when it was out.
    pub(crate) mark: Mark,
    pub(crate) failover: Failover,
    this: Weak<Node>,
    prober: Mutex<Option<Leash>>,
}

/// Requests that have been sent, and whose replies are to be read.
pub(crate) struct Pending<'a> {
    node: &'a Node,
    admission: Admission,
    sent: Sent<'a>,
    requests: &'a [Request<'a>],
    outcomes: Vec<Outcome>,
}

type Place<'a> = Permit<'a, Box<Connection>>;

/// A connection that waits for nothing, and the right to have it open.
pub(crate) type Ready<'a> = (Place<'a>, Box<Connection>);

struct Sent<'a> {
    permit: Place<'a>,
    connection: Box<Connection>,
    tickets: Vec<Ticket>,
    verb: Verb,
    /// The connection may have broken before.
    was_idle: bool,
}

impl Node {
    pub(crate) fn new(
        endpoint: Endpoint,
        pool_size: usize,
        pauses: Pauses,
        failover: Failover,
        census: &'static dyn Census,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Node {
            endpoint,
            breaker: Breaker::new(pauses),
            census,
            pool: Pool::new(pool_size),
            // One place is the shared connection's.
            #[cfg(feature = "tokio")]
            async_pool: async_pool::AsyncPool::new(pool_size.saturating_sub(1)),
            #[cfg(feature = "tokio")]
            pipelines: pipeline::Pipelines::new(pool_size),
            journal: Journal::default(),
            mark: Mark::default(),
            failover,
            this: this.clone(),
            prober: Mutex::default(),
        })
    }

    pub(crate) fn is_up(&self) -> bool {
        !self.breaker.is_open()
    }

    /// One request and its reply.
    pub(crate) fn ask(&self, request: &Request<'_>, deadline: Deadline) -> Outcome {
        request.check()?;
        let admission = self.admit(deadline)?;
        let outcome = self.exchange(request, deadline);
        self.judge(admission, outcome.as_ref().err());
        outcome
    }

    /// Several requests at once, whose keys and values have been checked.
    pub(crate) fn ask_all(&self, requests: &[Request<'_>], deadline: Deadline) -> Result<Vec<Outcome>, Error> {
        Ok(self.begin(None, requests, deadline)?.finish(deadline))
    }

    fn exchange(&self, request: &Request<'_>, deadline: Deadline) -> Outcome {
        let (mut permit, idle) = self.checkout(deadline)?;
        if let Some(idle) = idle {
            let outcome = self.converse(idle, request, deadline, permit);
            if !outcome.as_ref().is_err_and(|error| may_ask_again(error, &[*request])) {
                return outcome;
            }
            // The server was restarted, so the others are broken too.
            self.pool.clear();
            permit = self.checkout(deadline)?.0;
        }
        let fresh = self.dial(deadline)?;
        self.converse(fresh, request, deadline, permit)
    }

    fn converse(
        &self,
        mut connection: Box<Connection>,
        request: &Request<'_>,
        deadline: Deadline,
        permit: Place<'_>,
    ) -> Outcome {
        let (endpoint, verb) = (&self.endpoint, request.verb());
        let ticket = connection.write(endpoint, request)?;
        connection.flush(endpoint, verb, deadline)?;
        let answer = connection.receive(endpoint, ticket, verb, deadline)?;
        let outcome = self.outcome(request, verb, answer)?;
        connection.rest(endpoint, verb, deadline)?;
        permit.give_back(connection);
        outcome
    }

    /// What an answer comes to.
    ///
    /// # Errors
    ///
    /// If it is none to this request, so that the connection is of no use.
    fn outcome(&self, request: &Request<'_>, verb: Verb, answer: Answer) -> Result<Outcome, Error> {
        match answer {
            Ok(reply) if !request.is_answered_by(&reply) => Err(self.endpoint.failed(verb, ErrorKind::Protocol)),
            answer => Ok(answer.map_err(|kind| self.endpoint.failed(verb, kind))),
        }
    }

    /// The right to have a connection open, and an idle one that works if
    /// there is one.
    fn checkout(&self, deadline: Deadline) -> Result<(Place<'_>, Option<Box<Connection>>), Error> {
        let permit = match self.pool.try_checkout() {
            Some(permit) => permit,
            None => {
                let since = Instant::now();
                self.waited(since, self.pool.checkout(deadline.left().unwrap_or_default()))?
            }
        };
        Ok(self.usable(permit, deadline))
    }

    /// A permit that has been waited for, unless there was none in time.
    fn waited<P>(&self, since: Instant, permit: Option<P>) -> Result<P, Error> {
        if permit.is_some() {
            self.census.waited(since.elapsed());
        } else {
            self.census.gave_up();
        }
        permit.ok_or_else(|| {
            let message = format!("all connections to {} were in use for too long", self.endpoint.server);
            Error::new(ErrorKind::PoolExhausted, message)
        })
    }

    fn dial(&self, deadline: Deadline) -> Result<Box<Connection>, Error> {
        let since = Instant::now();
        let connection = Connection::dial(&self.endpoint, deadline)?;
        self.census.opened(since.elapsed());
        Ok(connection)
    }

    fn usable<'a>(&'a self, mut permit: Place<'a>, deadline: Deadline) -> (Place<'a>, Option<Box<Connection>>) {
        let mut idle = permit.idle.take();
        if idle.as_mut().is_some_and(|idle| !idle.is_usable(&self.endpoint, deadline)) {
            // The server was restarted or has moved, and so the others are of
            // no use either.
            idle = None;
            self.pool.clear();
        }
        (permit, idle)
    }

    /// A connection to send on without waiting, if there is one.
    pub(crate) fn ready(&self, deadline: Deadline) -> Option<Ready<'_>> {
        let (permit, idle) = self.usable(self.pool.try_checkout()?, deadline);
        Some((permit, idle?))
    }

    /// Sends several requests at once. Their keys and values have been checked.
    pub(crate) fn begin<'a>(
        &'a self,
        ready: Option<Ready<'a>>,
        requests: &'a [Request<'a>],
        deadline: Deadline,
    ) -> Result<Pending<'a>, Error> {
        let admission = self.admit(deadline)?;
        match self.send(ready, requests, deadline) {
            Ok(sent) => Ok(Pending { node: self, admission, sent, requests, outcomes: Vec::new() }),
            Err(error) => {
                self.judge(admission, Some(&error));
                Err(error)
            }
        }
    }

    fn send<'a>(
        &'a self,
        ready: Option<Ready<'a>>,
        requests: &[Request<'_>],
        deadline: Deadline,
    ) -> Result<Sent<'a>, Error> {
        let verb = requests.first().map_or(Verb::Get, Request::verb);
        let (permit, idle) = match ready {
            Some((permit, connection)) => (permit, Some(connection)),
            None => self.checkout(deadline)?,
        };
        if let Some(mut connection) = idle {
            match self.say(&mut connection, requests, verb, deadline) {
                Ok(tickets) => return Ok(Sent { permit, connection, tickets, verb, was_idle: true }),
                Err(error) if !may_ask_again(&error, requests) => return Err(error),
                Err(_) => self.pool.clear(),
            }
        }
        let mut connection = self.dial(deadline)?;
        let tickets = self.say(&mut connection, requests, verb, deadline)?;
        Ok(Sent { permit, connection, tickets, verb, was_idle: false })
    }

    /// Sends requests on a connection.
    pub(crate) fn say(
        &self,
        connection: &mut Connection,
        requests: &[Request<'_>],
        verb: Verb,
        deadline: Deadline,
    ) -> Result<Vec<Ticket>, Error> {
        let written = requests.iter().map(|request| connection.write(&self.endpoint, request));
        let tickets = written.collect::<Result<Vec<_>, _>>()?;
        connection.flush(&self.endpoint, verb, deadline)?;
        Ok(tickets)
    }

    fn admit(&self, deadline: Deadline) -> Result<Admission, Error> {
        self.breaker.admit(deadline.begun()).map_err(|refusal| {
            if refusal == Refusal::Forgotten {
                self.start_prober();
            }
            let message = format!("{} has failed and is left alone for a while", self.endpoint.server);
            Error::new(ErrorKind::CircuitOpen, message)
        })
    }

    /// Tells the breaker what an outcome says about the node's health.
    fn judge(&self, admission: Admission, error: Option<&Error>) {
        match error.map(Error::kind) {
            None | Some(ErrorKind::Server | ErrorKind::TooLarge | ErrorKind::NotANumber) => {
                self.breaker.succeeded(admission);
            }
            Some(ErrorKind::Rejected) => {
                self.endpoint.forget();
                self.breaker.succeeded(admission);
            }
            // Our own trouble: nothing was asked.
            Some(ErrorKind::PoolExhausted | ErrorKind::OutOfTime | ErrorKind::NoRuntime) => {}
            Some(kind) => {
                self.endpoint.forget();
                self.failed(admission, kind);
            }
        }
    }

    fn failed(&self, admission: Admission, kind: ErrorKind) {
        if self.breaker.failed(admission, kind, Instant::now()) {
            // What lies idle will be worth nothing after the outage.
            self.close_idle();
            self.start_prober();
        }
    }

    fn start_prober(&self) {
        *lock(&self.prober) = prober::start(self.this.clone());
    }

    /// Closes the connections that are not in use.
    pub(crate) fn close_idle(&self) {
        self.pool.clear();
        #[cfg(feature = "tokio")]
        {
            self.async_pool.clear();
            self.pipelines.clear();
        }
    }

    /// Says goodbye on the connections that are not in use, and closes them.
    pub(crate) fn quit(&self) {
        for connection in self.pool.take_all() {
            connection.quit();
        }
        #[cfg(feature = "tokio")]
        for connection in self.async_pool.take_all() {
            connection.quit();
        }
        #[cfg(feature = "tokio")]
        self.pipelines.clear();
    }

    /// The connections that are open now.
    pub(crate) fn connections(&self) -> Connections {
        let connections = self.pool.connections();
        #[cfg(feature = "tokio")]
        let connections = connections + self.async_pool.connections() + self.pipelines.connections();
        connections
    }
}

/// Whether requests whose connection had been idle may be sent once more.
fn may_ask_again(error: &Error, requests: &[Request<'_>]) -> bool {
    error.kind() == ErrorKind::Io && requests.iter().all(Request::only_reads)
}

impl Pending<'_> {
    /// Whether there are replies that have not come by then.
    pub(crate) fn is_late(&mut self, by: Deadline) -> bool {
        self.read(by).is_err()
    }

    /// Reads the replies, in the order of the requests. If the connection
    /// fails on the way, the rest have its error.
    pub(crate) fn finish(mut self, deadline: Deadline) -> Vec<Outcome> {
        let mut read = self.read(deadline);
        let again = self.sent.was_idle && self.outcomes.is_empty();
        if again && read.as_ref().is_err_and(|error| may_ask_again(error, self.requests)) {
            read = self.ask_again(deadline);
        }
        if read.is_ok() {
            read = self.sent.connection.rest(&self.node.endpoint, self.sent.verb, deadline);
            if read.is_err() {
                self.outcomes.clear();
            }
        }
        self.node.judge(self.admission, read.as_ref().err());
        match read {
            Err(error) => self.outcomes.resize_with(self.requests.len(), || Err(error.alike())),
            Ok(()) => self.sent.permit.give_back(self.sent.connection),
        }
        self.outcomes
    }

    fn read(&mut self, deadline: Deadline) -> Result<(), Error> {
        let (endpoint, Sent { connection, tickets, verb, .. }) = (&self.node.endpoint, &mut self.sent);
        while let Some(ticket) = tickets.get(self.outcomes.len()) {
            let answer = connection.receive(endpoint, *ticket, *verb, deadline)?;
            let request = &self.requests[self.outcomes.len()];
            self.outcomes.push(self.node.outcome(request, *verb, answer)?);
        }
        Ok(())
    }

    fn ask_again(&mut self, deadline: Deadline) -> Result<(), Error> {
        let (node, sent) = (self.node, &mut self.sent);
        node.pool.clear();
        sent.connection = node.dial(deadline)?;
        sent.tickets = node.say(&mut sent.connection, self.requests, sent.verb, deadline)?;
        self.read(deadline)
    }
}

#[cfg(feature = "tokio")]
mod on_tokio {
    use std::time::{Duration, Instant};

    use tokio::runtime::Id;

    use super::{Admission, Deadline, Error, ErrorKind, Node, Outcome, Request, Verb, may_ask_again};
    use crate::net::async_connection::AsyncConnection;
    use crate::node::async_pool::{Permit, runtime};
    use crate::node::pipeline::{Queue, Way};

    /// A caller who gave up after this long without a reply says something
    /// about the node, which answers within microseconds.
    const SUSPICIOUS: Duration = Duration::from_millis(20);

    impl Node {
        pub(crate) async fn ask_async(&self, request: &Request<'_>, deadline: Deadline) -> Outcome {
            request.check()?;
            let waiting = self.wait(deadline)?;
            let outcome = self.exchange_async(request, deadline).await;
            waiting.end(outcome.as_ref().err());
            outcome
        }

        async fn exchange_async(&self, request: &Request<'_>, deadline: Deadline) -> Outcome {
            let runtime = self.runtime()?;
            if let Some(outcome) = self.exchange_in_line(runtime, request, deadline).await {
                return outcome;
            }
            let permit = self.checkout_async(runtime, deadline).await?;
            if let Some(idle) = self.idle_async(&permit, deadline) {
                let outcome = self.converse_async(idle, request, deadline, &permit).await;
                if !outcome.as_ref().is_err_and(|error| may_ask_again(error, &[*request])) {
                    return outcome;
                }
                self.async_pool.clear();
            }
            let fresh = self.dial_async(deadline).await?;
            self.converse_async(fresh, request, deadline, &permit).await
        }

        async fn converse_async(
            &self,
            mut connection: AsyncConnection,
            request: &Request<'_>,
            deadline: Deadline,
            permit: &Permit<'_>,
        ) -> Outcome {
            let (endpoint, verb) = (&self.endpoint, request.verb());
            let ticket = connection.write(endpoint, request)?;
            connection.flush(endpoint, verb, deadline).await?;
            let answer = connection.receive(endpoint, ticket, verb, deadline).await?;
            let outcome = self.outcome(request, verb, answer)?;
            connection.rest(endpoint, verb, deadline)?;
            permit.give_back(connection);
            outcome
        }

        async fn checkout_async(&self, runtime: Id, deadline: Deadline) -> Result<Permit<'_>, Error> {
            if let Some(permit) = self.async_pool.try_checkout(runtime) {
                return Ok(permit);
            }
            let since = Instant::now();
            self.waited(since, self.async_pool.checkout(runtime, deadline).await)
        }

        async fn dial_async(&self, deadline: Deadline) -> Result<AsyncConnection, Error> {
            let since = Instant::now();
            let connection = AsyncConnection::dial(&self.endpoint, deadline).await?;
            self.census.opened(since.elapsed());
            Ok(connection)
        }

        fn runtime(&self) -> Result<Id, Error> {
            runtime().ok_or_else(|| {
                let server = &self.endpoint.server;
                let message = format!("{server} cannot be reached: async functions need a tokio runtime");
                Error::new(ErrorKind::NoRuntime, message)
            })
        }

        /// Asks on the connection that callers share, if there are enough of
        /// them. None: the caller is to use one of its own.
        async fn exchange_in_line(&self, runtime: Id, request: &Request<'_>, deadline: Deadline) -> Option<Outcome> {
            let queue = match self.pipelines.way(runtime, self.async_pool.in_use()) {
                Way::Own => return None,
                Way::Open(opening) => match self.dial_async(deadline).await {
                    Ok(connection) => return self.converse_in_line(&opening.open(connection), request, deadline).await,
                    Err(error) => return Some(Err(error)),
                },
                Way::Shared(queue) => queue,
            };
            if !self.endpoint.is_at(queue.peer) {
                queue.close();
            }
            let outcome = self.converse_in_line(&queue, request, deadline).await?;
            if outcome.as_ref().is_err_and(|error| may_ask_again(error, &[*request])) {
                // The server was restarted, so the others are broken too.
                self.async_pool.clear();
                return None;
            }
            Some(outcome)
        }

        /// None if there is no room in the queue.
        async fn converse_in_line(&self, queue: &Queue, request: &Request<'_>, deadline: Deadline) -> Option<Outcome> {
            let pushed = match queue.push(request, deadline) {
                Ok(pushed) => tokio::time::timeout_at(deadline.instant().into(), pushed?).await,
                Err(_) => Ok(Ok(Err(ErrorKind::Rejected))),
            };
            let delivery = pushed.unwrap_or(Ok(Err(ErrorKind::Timeout))).unwrap_or(Err(ErrorKind::Io));
            Some(delivery.flatten().map_err(|kind| self.endpoint.failed(request.verb(), kind)))
        }

        /// Sends several requests at once and reads the replies, in their
        /// order. Keys and values have been checked.
        pub(crate) async fn ask_all_async(
            &self,
            requests: &[Request<'_>],
            deadline: Deadline,
        ) -> Result<Vec<Outcome>, Error> {
            let waiting = self.wait(deadline)?;
            let mut outcomes = Vec::with_capacity(requests.len());
            let done = self.converse_with_all(requests, deadline, &mut outcomes).await;
            waiting.end(done.as_ref().err());
            match done {
                Err(error) if outcomes.is_empty() => Err(error),
                Err(error) => {
                    outcomes.resize_with(requests.len(), || Err(error.alike()));
                    Ok(outcomes)
                }
                Ok(()) => Ok(outcomes),
            }
        }

        async fn converse_with_all(
            &self,
            requests: &[Request<'_>],
            deadline: Deadline,
            outcomes: &mut Vec<Outcome>,
        ) -> Result<(), Error> {
            let permit = self.checkout_async(self.runtime()?, deadline).await?;
            if let Some(idle) = self.idle_async(&permit, deadline) {
                let done = self.converse_on(idle, requests, deadline, &permit, outcomes).await;
                let again = outcomes.is_empty() && done.as_ref().is_err_and(|error| may_ask_again(error, requests));
                if !again {
                    return done;
                }
                self.async_pool.clear();
            }
            let fresh = self.dial_async(deadline).await?;
            self.converse_on(fresh, requests, deadline, &permit, outcomes).await
        }

        async fn converse_on(
            &self,
            mut connection: AsyncConnection,
            requests: &[Request<'_>],
            deadline: Deadline,
            permit: &Permit<'_>,
            outcomes: &mut Vec<Outcome>,
        ) -> Result<(), Error> {
            let endpoint = &self.endpoint;
            let verb = requests.first().map_or(Verb::Get, Request::verb);
            let written = requests.iter().map(|request| connection.write(endpoint, request));
            let tickets = written.collect::<Result<Vec<_>, _>>()?;
            connection.flush(endpoint, verb, deadline).await?;
            for (ticket, request) in tickets.into_iter().zip(requests) {
                let answer = connection.receive(endpoint, ticket, verb, deadline).await?;
                outcomes.push(self.outcome(request, verb, answer)?);
            }
            connection.rest(endpoint, verb, deadline).inspect_err(|_| outcomes.clear())?;
            permit.give_back(connection);
            Ok(())
        }

        /// An idle connection that works, if there is one.
        fn idle_async(&self, permit: &Permit<'_>, deadline: Deadline) -> Option<AsyncConnection> {
            let mut idle = permit.idle()?;
            if idle.is_usable(&self.endpoint, deadline) {
                return Some(idle);
            }
            // The server was restarted, so the others are broken too.
            self.async_pool.clear();
            None
        }

        fn wait(&self, deadline: Deadline) -> Result<Waiting<'_>, Error> {
            Ok(Waiting { node: self, admission: Some(self.admit(deadline)?), since: deadline.begun() })
        }
    }

    /// An exchange under way, which its caller may drop.
    struct Waiting<'a> {
        node: &'a Node,
        /// Gone once the outcome is known.
        admission: Option<Admission>,
        since: Instant,
    }

    impl Waiting<'_> {
        fn end(mut self, error: Option<&Error>) {
            if let Some(admission) = self.admission.take() {
                self.node.judge(admission, error);
            }
        }
    }

    impl Drop for Waiting<'_> {
        fn drop(&mut self) {
            if let Some(admission) = self.admission.take()
                && self.since.elapsed() >= SUSPICIOUS
            {
                self.node.failed(admission, ErrorKind::Timeout);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::exchange::{Guard, Ttl, Write};
    use crate::memcached::{Memcached, until};
    use crate::net::endpoint::Access;
    use crate::net::resolve::Addresses;
    use crate::time::budget::Budget;

    #[derive(Default)]
    struct Tally {
        gave_up: AtomicUsize,
        opened: AtomicUsize,
    }

    impl Census for Tally {
        fn waited(&self, _: Duration) {}

        fn gave_up(&self) {
            self.gave_up.fetch_add(1, Ordering::Relaxed);
        }

        fn opened(&self, _: Duration) {
            self.opened.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn within(limit: Duration) -> Deadline {
        Budget::new(limit, limit).deadline()
    }

    #[test]
    fn connections_are_counted_and_so_are_those_who_get_none() {
        const MINUTE: Duration = Duration::from_secs(60);
        let (server, tally) = (Memcached::start(), Box::leak(Box::<Tally>::default()));
        let endpoint = Endpoint::new(server.address().parse().expect("an address"), Access::default());
        let node = Node::new(endpoint, 1, Pauses::default(), Failover::None, tally);
        assert_eq!(node.connections(), Connections::default());

        let pending = node.begin(None, &[Request::Version], within(MINUTE)).expect("sent");
        assert_eq!(node.connections(), Connections { idle: 0, used: 1 });
        let error = node.ask(&Request::Version, within(Duration::from_millis(1))).expect_err("no second connection");
        assert_eq!((error.kind(), tally.gave_up.load(Ordering::Relaxed)), (ErrorKind::PoolExhausted, 1));

        assert!(pending.finish(within(MINUTE)).iter().all(Result::is_ok));
        assert_eq!(node.connections(), Connections { idle: 1, used: 0 });
        assert!(node.ask(&Request::Version, within(MINUTE)).is_ok());
        assert_eq!(tally.opened.load(Ordering::Relaxed), 1);
        node.quit();
        assert_eq!(node.connections(), Connections::default());
    }

    #[test]
    fn connections_follow_a_name_to_its_new_address() {
        let servers = [Memcached::start(), Memcached::start()];
        let port = Arc::new(AtomicU16::new(servers[0].port));
        let now = Arc::clone(&port);
        let look_up = move || Ok(vec![SocketAddr::from(([127, 0, 0, 1], now.load(Ordering::Relaxed)))]);
        let addresses = Addresses::new(Some(Box::new(look_up)), Vec::new());
        let mut endpoint = Endpoint::new("cache.example".parse().expect("a server"), Access::default());
        endpoint.addresses = Some(addresses.clone());
        let node = Node::new(endpoint, 1, Pauses::default(), Failover::None, Box::leak(Box::<Tally>::default()));
        let deadline = || Budget::new(Duration::from_secs(20), Duration::from_secs(20)).deadline();
        let (how, guard, ttl) = (Write::Set, Guard::None, Ttl::Forever);
        let set = |key| {
            let request = Request::Store { key, value: b"1", flags: 0, ttl, how, guard };
            node.ask(&request, deadline()).expect("it is stored");
        };
        set("before");
        assert!(servers[0].stored("before").is_some());
        port.store(servers[1].port, Ordering::Relaxed);
        addresses.age();
        until("a connection to the new address", || {
            set("after");
            servers[1].stored("after")
        });
    }
}
