//! What a memoized function takes of the stack, and of a future.
//!
//! Recursion shows it: each level of a memoized function costs as much more than a
//! level of the plain one as the attribute adds.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;

use memocached::memcached;

/// Bytes that a level may take beyond the plain function's. Without optimization
/// each step of a call has a frame of its own.
const BLOCKING: usize = if cfg!(debug_assertions) { 1_200 } else { 300 };
const ASYNC: usize = if cfg!(debug_assertions) { 7_000 } else { 1_024 };
/// Bytes of a future beyond its body's.
const FUTURE: usize = 160;

const LEVELS: u64 = 40;

thread_local! {
    /// Where the stack was at each level.
    static STACK: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Notes where the stack is.
#[inline(never)]
fn mark() {
    let here = 0_u8;
    let address = std::ptr::from_ref(std::hint::black_box(&here)).addr();
    STACK.with_borrow_mut(|stack| stack.push(address));
}

/// The bytes between two levels that `run` takes of the stack.
fn per_level(run: fn()) -> usize {
    let measured = move || {
        run();
        STACK.take()
    };
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(measured).unwrap();
    let stack = thread.join().unwrap();
    assert_eq!(stack.len(), 1 + LEVELS as usize);
    (stack[0] - stack[stack.len() - 1]) / LEVELS as usize
}

#[memcached(key = "recursion:blocking:<n>", grace = 60, ttl = 60)]
fn blocking(n: u64) -> u64 {
    mark();
    if n == 0 { 0 } else { 1 + blocking(n - 1) }
}

#[inline(never)]
fn plain(n: u64) -> u64 {
    mark();
    std::hint::black_box(if n == 0 { 0 } else { 1 + plain(n - 1) })
}

#[memcached(key = "recursion:async:<n>", ttl = 60)]
async fn tasks(n: u64) -> u64 {
    mark();
    if n == 0 { 0 } else { 1 + Box::pin(tasks(n - 1)).await }
}

fn plain_tasks(n: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(async move {
        mark();
        if n == 0 { 0 } else { 1 + plain_tasks(n - 1).await }
    })
}

#[memcached(key = "recursion:leaf:<n>", ttl = 60)]
async fn leaf(n: u64) -> u64 {
    n
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_level_of_recursion_takes_little_more_of_the_stack() {
    let memoized = per_level(|| assert_eq!(blocking(LEVELS), LEVELS));
    let without = per_level(|| assert_eq!(plain(LEVELS), LEVELS));
    println!("blocking: {memoized} bytes a level, {without} without the attribute");
    assert!(memoized - without <= BLOCKING, "{memoized} bytes a level, {without} without the attribute");
}

#[test]
fn a_level_of_async_recursion_takes_little_more_of_the_stack() {
    let memoized = per_level(|| assert_eq!(run(tasks(LEVELS)), LEVELS));
    let without = per_level(|| assert_eq!(run(plain_tasks(LEVELS)), LEVELS));
    println!("async: {memoized} bytes a level, {without} without the attribute");
    assert!(memoized - without <= ASYNC, "{memoized} bytes a level, {without} without the attribute");
}

#[test]
fn a_memoized_functions_future_is_small() {
    let size = size_of_val(&leaf(7));
    println!("future: {size} bytes");
    assert!(size <= FUTURE, "{size} bytes");
}
