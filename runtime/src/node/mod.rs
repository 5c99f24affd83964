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

use std::sync::{RwLock, Weak};
use std::time::Instant;

pub(crate) use self::blocking::{Pending, Standby};
use crate::error::{Error, ErrorKind};
use crate::exchange::{Outcome, Request, Verb};
use crate::net::connection::Connection;
use crate::net::endpoint::Endpoint;
use crate::net::fault::{Fault, Trouble, Verdict};
use crate::node::breaker::{Admission, Breaker, Exclusion, Pauses};
use crate::node::observer::{Connections, LeftAlone, Observer};
use crate::node::pool::Pool;
use crate::node::prober::{Probed, Prober};
use crate::node::wording::{left_alone, worded};
use crate::protocol::Answer;
use crate::sync::{read, write};
use crate::time::budget::Deadline;

/// A server, and what is known about it.
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) breaker: Breaker,
    /// Why it is out, or was last.
    cause: RwLock<Option<Error>>,
    observer: &'static dyn Observer,
    pool: Pool<Box<Connection>>,
    #[cfg(feature = "tokio")]
    async_pool: async_pool::AsyncPool,
    #[cfg(feature = "tokio")]
    pipelines: pipeline::Pipelines,
    prober: Prober,
}

impl Node {
    /// Creates a node without connections. While it is out, the target is probed: what the
    /// node is a part of.
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
            cause: RwLock::default(),
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

    /// Whether the node has not been asked since then.
    pub(crate) fn is_out_since(&self, then: Instant) -> bool {
        self.breaker.is_open_since(then)
    }

    /// Returns the outcome of an answer, or of the fault in its stead.
    fn outcome(&self, verb: Verb, answer: Result<Answer, Fault>) -> Outcome {
        answer.and_then(|answer| answer.map_err(Fault::from)).map_err(|fault| self.worded(verb, fault))
    }

    /// Words the error for the caller.
    #[cold]
    fn worded(&self, verb: Verb, fault: Fault) -> Error {
        worded(&self.endpoint.server, verb, fault)
    }

    /// Returns the permit that a caller has waited for, unless there was none in time.
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
        let admitted = self.breaker.admit(deadline.begun());
        admitted.map(|admission| admission.of_poll(deadline.is_of_poll())).map_err(|exclusion| {
            if exclusion == Exclusion::Forgotten {
                self.prober.start();
            }
            left_alone(&self.endpoint.server, read(&self.cause).clone())
        })
    }

    /// Tells the breaker what came of an exchange, and words the error.
    fn settle<T>(&self, admission: Admission, verb: Verb, outcome: Result<T, Fault>) -> Result<T, Error> {
        let fault = match outcome {
            Ok(done) => {
                self.breaker.succeeded(admission);
                return Ok(done);
            }
            Err(fault) => fault,
        };
        let (verdict, kind) = (fault.trouble.verdict(), fault.kind());
        let error = self.worded(verb, fault);
        match verdict {
            Verdict::Answers => {
                if kind == ErrorKind::Rejected {
                    self.endpoint.forget();
                }
                self.breaker.succeeded(admission);
            }
            // Nothing was asked, or what was is judged elsewhere.
            Verdict::Unknown => {}
            // There are others of ours, which work.
            Verdict::Full if self.connections() != Connections::default() => {}
            Verdict::Full | Verdict::Fails => {
                self.endpoint.forget();
                self.failed(admission, verb, &error);
            }
        }
        Err(error)
    }

    /// Learns of a failure that has no caller any more.
    #[cfg(feature = "tokio")]
    fn learn(&self, verb: Verb, fault: Fault) {
        if let Ok(admission) = self.breaker.admit(Instant::now()) {
            let _ = self.settle::<()>(admission, verb, Err(fault));
        }
    }

    /// Tells the breaker of a failure, and begins to probe if the node is out now.
    fn failed(&self, admission: Admission, verb: Verb, error: &Error) {
        let now = Instant::now();
        if self.breaker.failed(admission, error.kind(), now) {
            *write(&self.cause) = Some(error.clone());
            let pause = self.breaker.probe_at().map_or_else(Default::default, |at| at.saturating_duration_since(now));
            self.observer.left_alone(&LeftAlone { verb, error, pause });
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

    /// Returns the connections that are open now.
    pub(crate) fn connections(&self) -> Connections {
        let connections = self.pool.connections();
        #[cfg(feature = "tokio")]
        let connections = connections + self.async_pool.connections() + self.pipelines.connections();
        connections
    }
}

/// Returns the answer, if it is one to this request; if not, the connection is of no use.
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

/// Returns the verb that several requests at once are told under.
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
    use crate::full::Full;
    use crate::memcached::{Memcached, until};
    use crate::net::endpoint::Access;
    use crate::net::resolve::Addresses;
    use crate::time::budget::Budget;

    const SECOND: Duration = Duration::from_secs(1);

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
        fn left_alone(&self, _: &LeftAlone<'_>) {}

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

    /// A node whose name has these addresses on the loopback interface.
    fn named(ports: &[u16]) -> Node {
        let ports = ports.to_vec();
        let address = |port: &u16| SocketAddr::from(([127, 0, 0, 1], *port));
        let look_up = move || Ok(ports.iter().map(address).collect());
        let mut endpoint = Endpoint::new("cache.example".parse().expect("a server"), Access::default());
        endpoint.addresses = Some(Addresses::new(Some(Box::new(look_up)), Vec::new()));
        node(endpoint, Box::leak(Box::<Tally>::default()))
    }

    /// A call's limits by default.
    fn usual() -> Deadline {
        Budget::new(Duration::from_millis(100), Duration::from_millis(250)).deadline()
    }

    /// Asks as a blocking caller and as an async one, on a runtime of its own.
    fn ask_both(node: &Node) -> [Result<(), Error>; 2] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let blocking = node.ask(&Request::Version, usual()).map(drop);
        [blocking, runtime.block_on(async { node.ask_async(&Request::Version, usual()).await }).map(drop)]
    }

    #[test]
    fn an_address_that_swallows_connections_does_not_hide_the_others() {
        let (server, hole) = (Memcached::start(), Full::new());
        for ports in [[hole.port, server.port], [server.port, hole.port]] {
            let node = named(&ports);
            for _ in 0..20 {
                assert!(ask_both(&node).iter().all(Result::is_ok));
                node.close_idle();
            }
        }
    }

    #[test]
    fn a_server_that_takes_no_connections_costs_the_limit_and_no_more() {
        let hole = Full::new();
        let node = named(&[hole.port]);
        let began = Instant::now();
        for asked in ask_both(&node) {
            assert_eq!(asked.expect_err("no server answers").kind(), ErrorKind::Timeout);
        }
        assert!(began.elapsed() < 20 * SECOND, "{:?}", began.elapsed());
    }

    #[test]
    fn a_name_without_a_live_address_is_left_alone_soon() {
        let holes = [Full::new(), Full::new()];
        let node = named(&[holes[0].port, holes[1].port]);
        let mut kinds = Vec::new();
        for _ in 0..3 {
            kinds.extend(ask_both(&node).map(|asked| asked.expect_err("no server answers").kind()));
        }
        let expected = [[ErrorKind::Timeout; 3], [ErrorKind::CircuitOpen; 3]].concat();
        assert_eq!(kinds, expected);
    }

    #[test]
    fn a_name_with_several_addresses_is_one_server_at_a_time() {
        let mut servers = [Memcached::start(), Memcached::start()];
        let order = std::sync::Mutex::new(false);
        let ports = [servers[0].port, servers[1].port];
        let addresses = Addresses::new(
            Some(Box::new(move || {
                // Each answer has another order.
                let mut is_turned = crate::sync::lock(&order);
                *is_turned = !*is_turned;
                let mut ports = ports;
                if *is_turned {
                    ports.reverse();
                }
                Ok(ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect())
            })),
            Vec::new(),
        );
        let mut endpoint = Endpoint::new("cache.example".parse().expect("a server"), Access::default());
        endpoint.addresses = Some(addresses.clone());
        let node = node(endpoint, Box::leak(Box::<Tally>::default()));
        let count = |servers: &[Memcached; 2]| servers.each_ref().map(|server| server.stat("cmd_set"));
        let set = |node: &Node| {
            let (how, guard, ttl) = (Write::Set, Guard::None, Ttl::Forever);
            node.ask(&Request::Store { key: "k", value: b"1", flags: 0, ttl, how, guard }, within(20 * SECOND))
        };
        for _ in 0..30 {
            set(&node).expect("it is stored");
            addresses.look_up();
            node.close_idle();
        }
        let sets = count(&servers);
        assert!(sets.contains(&30) && sets.contains(&0), "{sets:?}");
        let first = usize::from(sets[1] == 30);
        servers[first].kill();
        for _ in 0..30 {
            set(&node).expect("it is stored on the other");
            addresses.look_up();
            node.close_idle();
        }
        assert_eq!(servers[1 - first].stat("cmd_set"), 30);
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
