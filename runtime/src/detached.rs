//! Futures that run side by side, or that no caller waits for.
//!
//! Knows nothing of what they do.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

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
        // In a box: tokio is compiled for each type that it spawns.
        let work: Work<'static, ()> = Box::pin(async move {
            let _running = running;
            work.await;
        });
        runtime.spawn(work);
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
    if !is_worker() {
        return work();
    }
    let mut work = Some(work);
    let handed_over =
        catch_unwind(AssertUnwindSafe(|| tokio::task::block_in_place(|| work.take().expect("it runs once")())));
    match (handed_over, work) {
        (Ok(returned), _) => returned,
        // A current-thread runtime that has entered the handle of another one.
        (Err(_), Some(work)) => work(),
        (Err(panic), None) => resume_unwind(panic),
    }
}

/// Whether this thread is a worker of a multi-threaded runtime, with tasks to run.
fn is_worker() -> bool {
    use tokio::runtime::{Handle, RuntimeFlavor};

    Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread) && schedules()
}

/// Whether this thread schedules tasks: it puts off the wake-up of one that yields. Where
/// another thread drives tasks, as a `LocalSet` does, that wakes at once, and handing over
/// may panic.
fn schedules() -> bool {
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    let _ = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(&waker));
    !woken.0.load(Ordering::Relaxed)
}

/// Whether it was woken.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
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
        // Taken out: work that panics has no rest.
        let Some(mut work) = self.work.take() else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            self.work = Some(work);
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use tokio::runtime::{Builder, Handle};
    use tokio::task::{LocalSet, block_in_place, spawn_local};

    use super::*;

    /// Waits for another task of the runtime, whose only worker this may be.
    fn wait_for_a_task() {
        let (done, is_done) = channel();
        let runtime = Handle::current();
        hand_over(move || {
            runtime.spawn(async move { done.send(()) });
            is_done.recv_timeout(Duration::from_secs(20)).expect("the other task runs");
        });
    }

    #[test]
    fn a_worker_is_handed_over_whatever_its_name_is() {
        for name in ["tokio-rt-worker", "api"] {
            let runtime = Builder::new_multi_thread().worker_threads(1).thread_name(name).build().expect("a runtime");
            let nested = async { block_in_place(wait_for_a_task) };
            runtime.block_on(runtime.spawn(async { wait_for_a_task() })).expect("it was handed over");
            runtime.block_on(runtime.spawn(nested)).expect("it was handed over before");
            runtime.block_on(async { wait_for_a_task() });
            runtime.block_on(runtime.spawn_blocking(wait_for_a_task)).expect("there was nothing to hand over");
        }
    }

    #[test]
    fn where_handing_over_would_panic_work_runs_all_the_same() {
        let runtime = Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        let drive = |handle: &Handle| {
            handle.block_on(LocalSet::new().run_until(async {
                wait_for_a_task();
                spawn_local(async { wait_for_a_task() }).await.expect("no panic");
            }));
        };
        drive(runtime.handle());
        let on_the_pool = runtime.spawn_blocking(move || drive(&Handle::current()));
        runtime.block_on(on_the_pool).expect("no panic");
        let on_a_worker = runtime.spawn(async move { block_in_place(|| drive(&Handle::current())) });
        runtime.block_on(on_a_worker).expect("no panic");
        let single = Builder::new_current_thread().build().expect("a runtime");
        single.block_on(single.spawn(async { hand_over(|| ()) })).expect("no panic");
        let other = runtime.handle().clone();
        let inside_another = async move {
            let _entered = other.enter();
            hand_over(|| 7)
        };
        assert_eq!(single.block_on(single.spawn(inside_another)).expect("no panic"), 7);
    }

    #[test]
    fn work_that_panics_is_not_left_to_others() {
        static IS_LEFT: AtomicBool = AtomicBool::new(false);
        let work = Resolute::new(Box::pin(async { panic!("on purpose") }), |_: Work<'_, ()>| {
            IS_LEFT.store(true, Ordering::Relaxed);
        });
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        assert!(catch_unwind(AssertUnwindSafe(|| runtime.block_on(work))).is_err());
        assert!(!IS_LEFT.load(Ordering::Relaxed));
    }
}
