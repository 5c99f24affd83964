//! One memcached server: whether it is asked, and what its answers say about
//! it.
//!
//! Blocking and async callers have pools of their own, and exchange in
//! `blocking` and `tasks`. What only reads is asked again, once, if the
//! connection turns out to have broken while it lay idle; nothing else is tried
//! again.

#[cfg(feature = "tokio")]
pub(crate) mod async_pool;
mod blocking;
pub(crate) mod breaker;
pub(crate) mod observer;
#[cfg(feature = "tokio")]
pub(crate) mod pipeline;
pub(crate) mod pool;
pub(crate) mod prober;
#[cfg(feature = "tokio")]
mod tasks;
pub(crate) mod wording;

use std::sync::Weak;
use std::time::Instant;

pub(crate) use self::blocking::{Pending, Standby};
use crate::error::{Error, ErrorKind};
use crate::exchange::{Outcome, Request, Verb};
use crate::net::connection::Connection;
use crate::net::endpoint::Endpoint;
use crate::net::fault::{Fault, Trouble};
use crate::node::breaker::{Admission, Breaker, Exclusion, Pauses};
use crate::node::observer::{Connections, Observer};
use crate::node::pool::Pool;
use crate::node::prober::{Probed, Prober};
use crate::node::wording::{left_alone, worded};
use crate::protocol::Answer;
use crate::time::budget::Deadline;

/// A server, and what is known about it.
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) breaker: Breaker,
    observer: &'static dyn Observer,
    pool: Pool<Box<Connection>>,
    #[cfg(feature = "tokio")]
    async_pool: async_pool::AsyncPool,
    #[cfg(feature = "tokio")]
    pipelines: pipeline::Pipelines,
    prober: Prober,
}

impl Node {
    /// A node without connections. While it is out, the target is probed: what
    /// the node is a part of.
    pub(crate) fn new(
        endpoint: Endpoint,
        pool_size: usize,
        pauses: Pauses,
        target: Weak<dyn Probed>,
        observer: &'static dyn Observer,
    ) -> Self {
        Node {
            endpoint,
            breaker: Breaker::new(pauses),
            observer,
            pool: Pool::new(pool_size),
            // The shared connection is one of them.
            #[cfg(feature = "tokio")]
            async_pool: async_pool::AsyncPool::new(pool_size.saturating_sub(1)),
            #[cfg(feature = "tokio")]
            pipelines: pipeline::Pipelines::new(pool_size),
            prober: Prober::of(target),
        }
    }

    /// Whether the node is asked.
    pub(crate) fn is_up(&self) -> bool {
        !self.breaker.is_open()
    }

    /// What an answer comes to, or the fault in its stead.
    fn outcome(&self, verb: Verb, answer: Result<Answer, Fault>) -> Outcome {
        answer.and_then(|answer| answer.map_err(Fault::from)).map_err(|fault| self.worded(verb, fault))
    }

    /// Words the error for the caller.
    #[cold]
    fn worded(&self, verb: Verb, fault: Fault) -> Error {
        worded(&self.endpoint.server, verb, fault)
    }

    /// A permit that a caller has waited for, unless there was none in time.
    fn waited<P>(&self, since: Instant, permit: Option<P>) -> Result<P, Fault> {
        if permit.is_some() {
            self.observer.waited(since.elapsed());
        } else {
            self.observer.gave_up();
        }
        permit.ok_or_else(|| Trouble::AllInUse.into())
    }

    /// Lets a caller ask, unless the node is out.
    fn admit(&self, deadline: Deadline) -> Result<Admission, Error> {
        self.breaker.admit(deadline.begun()).map_err(|exclusion| {
            if exclusion == Exclusion::Forgotten {
                self.prober.start();
            }
            left_alone(&self.endpoint.server)
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
            // The caller's own trouble: nothing was asked.
            Some(ErrorKind::PoolExhausted | ErrorKind::OutOfTime | ErrorKind::NoRuntime) => {}
            Some(kind) => {
                self.endpoint.forget();
                self.failed(admission, kind);
            }
        }
    }

    /// Tells the breaker of a failure, and begins to probe if the node is out now.
    fn failed(&self, admission: Admission, kind: ErrorKind) {
        if self.breaker.failed(admission, kind, Instant::now()) {
            // What lies idle will be worth nothing after the outage.
            self.close_idle();
            self.prober.start();
        }
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

/// The answer, if it is one to this request; if not, the connection is of no
/// use.
fn answered(request: &Request<'_>, answer: Answer) -> Result<Answer, Fault> {
    match answer {
        Ok(reply) if !request.is_answered_by(&reply) => Err(ErrorKind::Protocol.into()),
        answer => Ok(answer),
    }
}

/// Whether requests whose connection had been idle may be sent once more.
fn may_ask_again(fault: &Fault, requests: &[Request<'_>]) -> bool {
    fault.kind() == ErrorKind::Io && requests.iter().all(Request::only_reads)
}

/// The verb that several requests at once are told under.
fn verb_of(requests: &[Request<'_>]) -> Verb {
    requests.first().map_or(Verb::Get, Request::verb)
}

/// Gives each request without an outcome this error; the first, whose reply was
/// awaited, the error itself with its source.
fn fill(outcomes: &mut Vec<Outcome>, requests: usize, error: Error) {
    let first = outcomes.len();
    outcomes.resize_with(requests, || Err(error.alike()));
    if let Some(outcome) = outcomes.get_mut(first) {
        *outcome = Err(error);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;
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

    /// What is never probed, as it does not exist.
    struct Unprobed;

    impl Probed for Unprobed {
        fn probe_at(&self) -> Option<Instant> {
            None
        }

        fn probe(&self) {}
    }

    fn node(endpoint: Endpoint, tally: &'static Tally) -> Node {
        Node::new(endpoint, 1, Pauses::default(), Weak::<Unprobed>::new(), tally)
    }

    impl Observer for Tally {
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
        let node = node(endpoint, tally);
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
        let node = node(endpoint, Box::leak(Box::<Tally>::default()));
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
