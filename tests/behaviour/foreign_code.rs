//! Other people's code around a memoized function: what they run when a thread
//! ends.

use std::cell::RefCell;

use memocached::{Cache, memcached};

use crate::support::memcached::Memcached;
use crate::support::process::{again, output, role};

#[memcached(key = "foreign:double:<n>", cache = cache, skip(cache))]
fn double(cache: &Cache, n: u64) -> u64 {
    2 * n
}

/// Asks for values when its thread ends.
struct Last(Cache);

impl Drop for Last {
    fn drop(&mut self) {
        println!("last: {} {}", double(&self.0, 2), double(&self.0, 3));
    }
}

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

/// Calls the function in the destructor of a thread-local that outlives the
/// library's own.
fn call_at_the_threads_end(cache: &Cache) {
    let cache = cache.clone();
    let thread = std::thread::spawn(move || {
        LAST.with_borrow_mut(|last| *last = Some(Last(cache.clone())));
        double(&cache, 2)
    });
    assert_eq!(thread.join().unwrap(), 4);
}

#[test]
fn a_thread_locals_destructor_may_call() {
    if role().is_none() {
        // A panic in such a destructor would abort this process.
        let said = output(&mut again("behaviour::foreign_code::a_thread_locals_destructor_may_call", "child"));
        assert_eq!(said.matches("last: 4 6").count(), 2, "{said}");
        return;
    }
    let server = Memcached::start();
    call_at_the_threads_end(&Cache::builder().build().unwrap());
    call_at_the_threads_end(&server.cache());
}
