//! How late a busy machine runs a thread, so that limits of time hold there too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A thread that does nothing but sleep, and notes how much longer that took.
pub(crate) struct Lag {
    worst: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    watching: Option<JoinHandle<()>>,
}

const NAP: Duration = Duration::from_millis(1);

impl Lag {
    pub(crate) fn watch() -> Self {
        let (worst, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (noted, ends) = (Arc::clone(&worst), Arc::clone(&is_over));
        let watching = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                let begun = Instant::now();
                std::thread::sleep(NAP);
                let late = begun.elapsed().saturating_sub(NAP).as_micros();
                noted.fetch_max(u64::try_from(late).unwrap(), Ordering::Relaxed);
            }
        });
        Lag { worst, is_over, watching: Some(watching) }
    }

    /// Asserts that something took no longer than this. What depends on several
    /// threads in a row may be late by the machine's lag since the last check a few
    /// times over.
    pub(crate) fn check(&self, what: &str, took: Duration, most: Duration) {
        let lag = Duration::from_micros(self.worst.swap(0, Ordering::Relaxed));
        println!("{what}: {took:?} of {most:?}, lag {lag:?}");
        assert!(took <= most + 5 * lag, "{what}: {took:?}, more than {most:?} (lag {lag:?})");
    }
}

impl Drop for Lag {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.watching.take().map(JoinHandle::join);
    }
}
