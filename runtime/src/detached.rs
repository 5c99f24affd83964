//! Futures that run side by side, or that no caller waits for.
//!
//! Knows nothing of what they do.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Whether there is a runtime for [`run`] to run on.
pub(crate) fn is_possible() -> bool {
    tokio::runtime::Handle::try_current().is_ok()
}

/// Runs a future to its end on the current runtime, if there is one.
pub(crate) fn run(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(work);
    }
}

/// Runs work that blocks. A worker of a multi-threaded runtime is handed over
/// meanwhile, so that the tasks which the work waits for can run on it.
pub(crate) fn hand_over<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};

    // On a thread that drives a `LocalSet`, handing over would panic. Only its name
    // tells a worker from such a thread.
    let is_worker = std::thread::current().name().is_some_and(|name| name.starts_with("tokio-r"));
    let runtime = Handle::try_current().ok().filter(|_| is_worker && tokio::task::try_id().is_some());
    match runtime.map(|runtime| runtime.runtime_flavor()) {
        Some(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Work in a box.
pub(crate) type Work<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Work that its caller waits for and that must not stop halfway. If the caller
/// stops, `abandon` gets the rest.
pub(crate) struct Resolute<T> {
    work: Option<Work<'static, T>>,
    abandon: fn(Work<'static, T>),
}

impl<T> Resolute<T> {
    /// Work that this takes over if its caller stops.
    pub(crate) fn new(work: Work<'static, T>, abandon: fn(Work<'static, T>)) -> Self {
        Resolute { work: Some(work), abandon }
    }
}

impl<T> Future for Resolute<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl<T> Drop for Resolute<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            (self.abandon)(work);
        }
    }
}

/// Runs several futures at once on this task, and returns what they return, in
/// their order.
pub(crate) async fn all<F: Future>(work: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<Pin<Box<F>>> = work.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut waiting = false;
        for (future, slot) in running.iter_mut().zip(&mut done) {
            if slot.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(output) => *slot = Some(output),
                    Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    done.into_iter().flatten().collect()
}
