//! Waiting for a flight as a task does.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use super::state::Arrival;
use super::{Flight, Landing, Waited, Waiter};
use crate::time::timer;

impl<B: Send + 'static> Waiter<B> {
    /// As [`Waiter::wait`], yielding.
    pub(crate) async fn wait_async(mut self) -> Waited<B> {
        let Some(_blocked) = self.flight.course.block() else { return Waited::InCircle };
        let arrival = Landfall(&self).await;
        self.arrived(arrival)
    }
}

/// Completes when the waiter has something to do.
struct Landfall<'a, B>(&'a Waiter<B>);

impl<B: Send + 'static> Future for Landfall<'_, B> {
    type Output = Arrival<B, Landing>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Waiter { flight, task, .. } = self.0;
        flight.board.poll(*task, context.waker(), |at| {
            let flight: Weak<Flight<B>> = Arc::downgrade(flight);
            timer::set(at, move || {
                if let Some(flight) = flight.upgrade() {
                    flight.board.wake();
                }
            });
        })
    }
}
