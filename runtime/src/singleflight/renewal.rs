//! Renews leases for as long as their holders compute.
//!
//! One thread for the process looks what is due; it sleeps while nothing is held.
//! Helpers renew what is due, one for each node, so that a slow node does not cost
//! the leases of the others. One exchange renews all leases of a node: on a busy
//! machine, one for each would take longer than the others may be late.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::exchange::{Outcome, Request};
use crate::sync::lock;
use crate::time::servant::{Servant, Service, survive};

/// Something that is renewed from time to time.
pub(crate) trait Renewed: Send + Sync + 'static {
    /// Returns the node that it is renewed on.
    fn home(&self) -> Home;

    /// Whether to renew it now.
    fn is_due(&self) -> bool;

    /// Begins to renew it, if it can be renewed together with others: the request for
    /// that. The answer is awaited from then on.
    fn begin(&self) -> Option<Request<'_>> {
        None
    }

    /// Asks its node, within the time limits of a request.
    fn ask(&self, _requests: &[Request<'_>]) -> Vec<Outcome> {
        Vec::new()
    }

    /// Takes in the answer, if there is one.
    fn answered(&self, _outcome: Option<Outcome>) {}

    /// Renews it alone, within the time limits of a request.
    fn renew(&self);
}

/// A node: the address of its store in memory, and its number there.
pub(crate) type Home = (usize, usize);

/// How often everything is looked at.
const ROUND: Duration = Duration::from_millis(40);

/// Renews it until it is gone. Where no thread can be started, nothing happens.
pub(crate) fn renew(renewed: Weak<dyn Renewed>) {
    let mut renewals = lock(&RENEWALS);
    match THREAD.ensure("memocached-renewal", run) {
        Service::Ongoing => {}
        // What is listed after a fork is the parent's, which renews it.
        Service::Begun => *renewals = Renewals::none(),
        Service::Denied => return,
    }
    renewals.all.push(renewed);
    if renewals.all.len() == 1 {
        ADDED.notify_one();
    }
}

struct Renewals {
    all: Vec<Weak<dyn Renewed>>,
    /// The nodes that a helper is busy with.
    busy: Vec<Home>,
}

impl Renewals {
    const fn none() -> Self {
        Renewals { all: Vec::new(), busy: Vec::new() }
    }
}

static RENEWALS: Mutex<Renewals> = Mutex::new(Renewals::none());
static ADDED: Condvar = Condvar::new();
static THREAD: Servant = Servant::new();

fn run() {
    loop {
        let mut renewals = lock(&RENEWALS);
        while renewals.all.is_empty() {
            renewals = ADDED.wait(renewals).unwrap_or_else(PoisonError::into_inner);
        }
        drop(renewals);
        std::thread::sleep(ROUND);
        for (home, due) in due() {
            let helper = std::thread::Builder::new().name("memocached-renew".into());
            // Where there is no thread to spare, all of this is late.
            if helper.spawn(move || renew_all(home, &due)).is_err() {
                lock(&RENEWALS).busy.retain(|busy| *busy != home);
            }
        }
    }
}

/// Returns what is due, by node. A helper is busy with those from now on.
fn due() -> HashMap<Home, Vec<Arc<dyn Renewed>>> {
    let mut renewals = lock(&RENEWALS);
    renewals.all.retain(|renewed| renewed.strong_count() > 0);
    let (all, busy) = (renewals.all.clone(), renewals.busy.clone());
    drop(renewals);
    let mut due = HashMap::<Home, Vec<_>>::new();
    for renewed in all.iter().filter_map(Weak::upgrade) {
        let home = renewed.home();
        if !busy.contains(&home) && survive(|| renewed.is_due()) == Some(true) {
            due.entry(home).or_default().push(renewed);
        }
    }
    lock(&RENEWALS).busy.extend(due.keys());
    due
}

fn renew_all(home: Home, due: &[Arc<dyn Renewed>]) {
    survive(|| renew_together(due));
    lock(&RENEWALS).busy.retain(|busy| *busy != home);
}

/// Renews what is due on one node, in one exchange as far as possible.
fn renew_together(due: &[Arc<dyn Renewed>]) {
    let (mut asking, mut requests, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for renewed in due {
        match survive(|| renewed.begin()).flatten() {
            Some(request) => {
                asking.push(renewed);
                requests.push(request);
            }
            None => alone.push(renewed),
        }
    }
    // Whatever happens, the holders must not wait for ever.
    let outcomes = asking.first().and_then(|first| survive(|| first.ask(&requests))).unwrap_or_default();
    let outcomes = outcomes.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
    for (renewed, outcome) in asking.iter().zip(outcomes) {
        survive(|| renewed.answered(outcome));
    }
    for renewed in alone {
        survive(|| renewed.renew());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Is due all the time, and says so when it is renewed. On a slow node that takes
    /// until the test lets it end.
    struct OneLease {
        home: Home,
        renewed: Mutex<mpsc::Sender<Home>>,
        slow: Option<Mutex<mpsc::Receiver<()>>>,
    }

    impl Renewed for OneLease {
        fn home(&self) -> Home {
            self.home
        }

        fn is_due(&self) -> bool {
            true
        }

        fn renew(&self) {
            let _ = lock(&self.renewed).send(self.home);
            if let Some(slow) = &self.slow {
                let _ = lock(slow).recv();
            }
        }
    }

    #[test]
    fn a_slow_node_does_not_cost_the_leases_of_the_others() {
        // Addresses that no store has.
        let [slow_node, node] = [(1, 0), (1, 1)];
        let (told, renewals) = mpsc::channel();
        let (end, slow) = mpsc::channel();
        let lease = |home, slow: Option<mpsc::Receiver<()>>| {
            let renewed = Mutex::new(told.clone());
            Arc::new(OneLease { home, renewed, slow: slow.map(Mutex::new) })
        };
        let leases: [Arc<dyn Renewed>; 2] = [lease(slow_node, Some(slow)), lease(node, None)];
        leases.iter().for_each(|lease| renew(Arc::downgrade(lease)));
        let next = || renewals.recv_timeout(Duration::from_secs(20)).expect("a renewal");
        while next() != slow_node {}
        for _ in 0..3 {
            assert_eq!(next(), node, "one renewal at a time of the slow node");
        }
        drop(end);
        while next() != slow_node {}
    }
}
