//! Renews leases for as long as their holders compute.
//!
//! One thread for the process, which sleeps while there is nothing to renew.

use std::sync::{Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::sync::lock;

/// Something that is renewed from time to time.
pub(crate) trait Renewed: Send + Sync {
    /// Renews it if that is due, within a short time.
    fn renew_if_due(&self);
}

/// How often everything is looked at.
const ROUND: Duration = Duration::from_millis(40);

/// Renews it until it is gone. Where no thread can be started, nothing happens.
pub(crate) fn renew(renewed: Weak<dyn Renewed>) {
    let mut renewals = lock(&RENEWALS);
    let process = std::process::id();
    if renewals.process != process {
        let thread = std::thread::Builder::new().name("memocached-renewal".into());
        if thread.spawn(run).is_err() {
            return;
        }
        // What is listed after a fork is the parent's, which renews it.
        *renewals = Renewals { process, all: Vec::new() };
    }
    renewals.all.push(renewed);
    if renewals.all.len() == 1 {
        ADDED.notify_one();
    }
}

struct Renewals {
    /// The process whose thread it is.
    process: u32,
    all: Vec<Weak<dyn Renewed>>,
}

static RENEWALS: Mutex<Renewals> = Mutex::new(Renewals { process: 0, all: Vec::new() });
static ADDED: Condvar = Condvar::new();

fn run() {
    loop {
        let mut renewals = lock(&RENEWALS);
        while renewals.all.is_empty() {
            renewals = ADDED.wait(renewals).unwrap_or_else(PoisonError::into_inner);
        }
        drop(renewals);
        std::thread::sleep(ROUND);
        let mut renewals = lock(&RENEWALS);
        renewals.all.retain(|renewed| renewed.strong_count() > 0);
        let now = renewals.all.clone();
        drop(renewals);
        now.iter().filter_map(Weak::upgrade).for_each(|renewed| renewed.renew_if_due());
    }
}
