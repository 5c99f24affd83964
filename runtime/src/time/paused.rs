//! Real time while a test has paused its runtime's clock.
//!
//! A paused clock leaps to the next timer whenever all tasks wait, so that servers
//! would have no time to answer.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::sync::lock;
use crate::time::timer;

/// Whether the clock of the current runtime is paused.
pub(super) fn is_paused() -> bool {
    let before = Instant::now();
    let now = tokio::time::Instant::now().into_std();
    !(before..=Instant::now()).contains(&now)
}

/// Wakes a task at a time of the system's clock.
#[derive(Default)]
pub(super) struct Bell(Arc<Mutex<BellState>>);

#[derive(Default)]
struct BellState {
    /// When it rings next.
    set: Option<Instant>,
    waker: Option<Waker>,
}

impl Bell {
    /// Becomes ready at this time.
    pub(super) fn poll(&self, at: Instant, context: &Context<'_>) -> Poll<()> {
        if Instant::now() >= at {
            return Poll::Ready(());
        }
        let mut state = lock(&self.0);
        state.waker = Some(context.waker().clone());
        if state.set.is_none_or(|set| set > at) {
            state.set = Some(at);
            drop(state);
            let bell = Arc::clone(&self.0);
            timer::set(at, move || {
                let mut state = lock(&bell);
                state.set = None;
                let waker = state.waker.take();
                // Not under the lock: a waker is other people's code.
                drop(state);
                if let Some(waker) = waker {
                    waker.wake();
                }
            });
        }
        Poll::Pending
    }
}

/// Keeps the paused clock where it is, until this is dropped.
pub(super) struct Standstill(#[expect(dead_code, reason = "dropping it ends the wait")] oneshot::Sender<()>);

impl Standstill {
    /// Keeps the clock from leaping: it does not while a blocking task runs.
    pub(super) fn begin() -> Self {
        let (ended, ends) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let _ = ends.blocking_recv();
        });
        Standstill(ended)
    }
}
