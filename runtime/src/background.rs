//! Work that nobody waits for, on the runtime of whoever starts it.

/// Runs `work` on the current tokio runtime; outside of one, not at all.
pub(crate) fn run(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(work);
    }
}
