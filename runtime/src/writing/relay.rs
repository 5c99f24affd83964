//! Something that threads and tasks use in turn, and that is held while a holder waits
//! for a server.

use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
#[cfg(feature = "tokio")]
use std::task::Poll;
use std::task::Waker;

use crate::sync::{Condvar, Mutex, lock};
use crate::time::servant::wake_all;

#[derive(Debug)]
pub(super) struct Relay<T> {
    state: Mutex<State<T>>,
    returned: Condvar,
}

#[derive(Debug)]
struct State<T> {
    /// Absent while another writer has it.
    value: Option<T>,
    /// Of tasks that wait for it.
    wakers: Vec<Waker>,
}

/// A writer's turn, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Baton<'a, T> {
    relay: &'a Relay<T>,
    value: Option<T>,
}

impl<T> Relay<T> {
    pub(super) fn new(value: T) -> Self {
        Relay { state: Mutex::new(State { value: Some(value), wakers: Vec::new() }), returned: Condvar::new() }
    }

    fn turn(&self, state: &mut State<T>) -> Option<Baton<'_, T>> {
        state.value.take().map(|value| Baton { relay: self, value: Some(value) })
    }

    /// Takes the turn, unless another writer has it.
    pub(super) fn try_take(&self) -> Option<Baton<'_, T>> {
        self.turn(&mut lock(&self.state))
    }

    /// Waits for the turn, blocking.
    pub(super) fn take(&self) -> Baton<'_, T> {
        let mut state = lock(&self.state);
        loop {
            if let Some(turn) = self.turn(&mut state) {
                return turn;
            }
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the turn, yielding.
    #[cfg(feature = "tokio")]
    pub(super) async fn take_async(&self) -> Baton<'_, T> {
        std::future::poll_fn(|context| {
            let mut state = lock(&self.state);
            if let Some(turn) = self.turn(&mut state) {
                return Poll::Ready(turn);
            }
            state.wakers.push(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl<T> Drop for Baton<'_, T> {
    fn drop(&mut self) {
        let mut state = lock(&self.relay.state);
        state.value = self.value.take();
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.relay.returned.notify_all();
        wake_all(wakers);
    }
}

impl<T> Deref for Baton<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("a turn has its value until it ends")
    }
}

impl<T> DerefMut for Baton<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("a turn has its value until it ends")
    }
}
