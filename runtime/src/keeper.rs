//! Looks after what must be seen to every so often for as long as it lives.
//!
//! One thread for the process, which sleeps while there is nothing to keep.

use std::sync::{Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use crate::sync::lock;

/// Something that is to be seen to.
pub(crate) trait Kept: Send + Sync {
    /// Does what is due, within a short time.
    fn tend(&self);
}

/// How often everything is seen to.
const ROUND: Duration = Duration::from_millis(40);

/// Tends it until it is gone. Where no thread can be had, nothing happens.
pub(crate) fn keep(kept: Weak<dyn Kept>) {
    static STARTED: OnceLock<bool> = OnceLock::new();
    let start = || std::thread::Builder::new().name("memocached-keeper".into()).spawn(run).is_ok();
    if !STARTED.get_or_init(start) {
        return;
    }
    let mut all = lock(&ALL);
    all.push(kept);
    if all.len() == 1 {
        ADDED.notify_one();
    }
}

static ALL: Mutex<Vec<Weak<dyn Kept>>> = Mutex::new(Vec::new());
static ADDED: Condvar = Condvar::new();

fn run() {
    loop {
        let mut all = lock(&ALL);
        while all.is_empty() {
            all = ADDED.wait(all).unwrap_or_else(PoisonError::into_inner);
        }
        drop(all);
        std::thread::sleep(ROUND);
        let mut all = lock(&ALL);
        all.retain(|kept| kept.strong_count() > 0);
        let now = all.clone();
        drop(all);
        now.iter().filter_map(Weak::upgrade).for_each(|kept| kept.tend());
    }
}
