//! Batches whose replies come one by one, each of them soon: all of them together have the
//! time limit, and none begins it anew.

use std::time::{Duration, Instant};

use memocached::ErrorKind;

use crate::support::client::Setup;
use crate::support::memcached::{Memcached, until};
use crate::support::proxy::{Fault, Form, Pace, Proxy, Then};

const KEYS: usize = 1_000;
const LIMIT: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_millis(2);
/// Much longer than the limit, and half of what the replies take.
const BOUND: Duration = Duration::from_secs(1);

#[test]
fn replies_that_come_one_by_one_do_not_begin_the_limit_anew() {
    let server = Memcached::start();
    let proxy = Proxy::before(server.port);
    let keys: Vec<String> = (0..KEYS).map(|n| format!("batches:{n}")).collect();
    for client in (Setup { servers: proxy.address(), timeout: LIMIT, ..Setup::embedded() }).both() {
        until("a connection", || client.get::<u64>("nothing").ok());
        proxy.inflict(Fault { form: Form::Whole, pace: Pace::Late(PAUSE), then: Then::GoOn }, 0);
        let began = Instant::now();
        let failures = client.delete_many(&keys);
        assert!(began.elapsed() < BOUND, "{client:?}: {:?}", began.elapsed());
        assert!(failures.into_iter().all(|(_, error)| error.kind() == ErrorKind::Timeout), "{client:?}");
        proxy.heal();
    }
}
