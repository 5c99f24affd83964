//! Futures that run side by side, or that no caller waits for.
//!
//! Knows nothing of what they do.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// The futures under way that no caller waits for.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
/// Whether no more of them may begin.
static IS_OVER: AtomicBool = AtomicBool::new(false);

/// Whether there is a runtime for [`run`] to run on, and more may run.
pub(crate) fn is_possible() -> bool {
    !IS_OVER.load(Ordering::SeqCst) && tokio::runtime::Handle::try_current().is_ok()
}

/// Runs a future to its end on the current runtime. Where that is not possible, it is
/// dropped.
pub(crate) fn run(work: impl Future<Output = ()> + Send + 'static) {
    // Counted before it looks whether it may: what `end` does not keep away is counted.
    let running = Underway::begin();
    if is_possible()
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
    {
        runtime.spawn(async move {
            let _running = running;
            work.await;
        });
    }
}

/// Lets no future begin any more that no caller waits for.
pub(crate) fn end() {
    IS_OVER.store(true, Ordering::SeqCst);
}

/// Counts the futures under way that no caller waits for.
pub(crate) fn running() -> usize {
    RUNNING.load(Ordering::SeqCst)
}

/// A future under way that no caller waits for.
struct Underway(());

impl Underway {
    fn begin() -> Self {
        RUNNING.fetch_add(1, Ordering::SeqCst);
        Underway(())
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::SeqCst);
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
    /// Wraps work that goes on if its caller stops.
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
