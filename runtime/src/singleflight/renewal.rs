//! Looks after what must be seen to every so often for as long as it lives.
//!
//! One thread for the process, which sleeps while there is nothing to keep.

use std::sync::{Condvar, Mutex, PoisonError, Weak};
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
    let mut keeping = lock(&KEEPING);
    let process = std::process::id();
    if keeping.process != process {
        let thread = std::thread::Builder::new().name("memocached-keeper".into());
        if thread.spawn(run).is_err() {
            return;
        }
        // What is there after a fork is the parent's, which keeps it.
        *keeping = Keeping { process, all: Vec::new() };
    }
    keeping.all.push(kept);
    if keeping.all.len() == 1 {
        ADDED.notify_one();
    }
}

struct Keeping {
    /// Where the thread is.
    process: u32,
    all: Vec<Weak<dyn Kept>>,
}

static KEEPING: Mutex<Keeping> = Mutex::new(Keeping { process: 0, all: Vec::new() });
static ADDED: Condvar = Condvar::new();

fn run() {
    loop {
        let mut keeping = lock(&KEEPING);
        while keeping.all.is_empty() {
            keeping = ADDED.wait(keeping).unwrap_or_else(PoisonError::into_inner);
        }
        drop(keeping);
        std::thread::sleep(ROUND);
        let mut keeping = lock(&KEEPING);
        keeping.all.retain(|kept| kept.strong_count() > 0);
        let now = keeping.all.clone();
        drop(keeping);
        now.iter().filter_map(Weak::upgrade).for_each(|kept| kept.tend());
    }
}
