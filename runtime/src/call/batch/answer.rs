//! The answer to a call whose work goes on after it.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use crate::cache::global;
use crate::detached;
use crate::sync::lock;

/// Where the caller of a batch gets its answer.
#[derive(Debug)]
pub struct EarlyAnswer<R>(Arc<Mutex<AnswerState<R>>>);

#[derive(Debug)]
enum AnswerState<R> {
    Open,
    Given(R),
    Taken,
}

impl<R> Clone for EarlyAnswer<R> {
    fn clone(&self) -> Self {
        EarlyAnswer(Arc::clone(&self.0))
    }
}

impl<R> EarlyAnswer<R> {
    /// Gives the answer, unless there is one.
    pub(super) fn give(&self, answer: R) {
        let mut state = lock(&self.0);
        if let AnswerState::Open = *state {
            *state = AnswerState::Given(answer);
        }
    }

    pub(super) fn is_given(&self) -> bool {
        !matches!(*lock(&self.0), AnswerState::Open)
    }

    /// Waits until the caller has the answer that was given, which it takes as soon as
    /// this waits.
    pub(super) async fn taken(&self) {
        let is_taken = || !matches!(*lock(&self.0), AnswerState::Given(_));
        poll_fn(|_| if is_taken() { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    fn take(&self) -> Option<R> {
        let mut state = lock(&self.0);
        match std::mem::replace(&mut *state, AnswerState::Taken) {
            AnswerState::Given(answer) => Some(answer),
            before => {
                *state = before;
                None
            }
        }
    }
}

/// Runs work until it has given an answer. What is left of it then runs in the
/// background.
pub async fn in_background<R, F>(work: impl FnOnce(EarlyAnswer<R>) -> F) -> R
where
    F: Future<Output = ()> + Send + 'static,
{
    let answer = EarlyAnswer(Arc::new(Mutex::new(AnswerState::Open)));
    let mut work = Some(Box::pin(work(answer.clone())));
    poll_fn(|context| {
        if let Some(running) = &mut work
            && running.as_mut().poll(context).is_ready()
        {
            work = None;
        }
        let Some(answer) = answer.take() else { return Poll::Pending };
        work.take().into_iter().for_each(|work| detached::run(global::carried(work)));
        Poll::Ready(answer)
    })
    .await
}
