//! The connections to one node: which caller may have one, and which has to
//! wait.
//!
//! `lending` is the whole of it, once on real locks and once on those of the
//! model checker.

mod lending;
#[cfg(test)]
mod shuttle_tests;

use crate::sync as locks;
#[cfg(feature = "tokio")]
pub(crate) use lending::SCARCITY;
pub(crate) use lending::{Permit, Pool};

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_connection_given_back_is_lent_again() {
        let pool = Pool::new(2);
        let permit = pool.checkout(Duration::ZERO).unwrap();
        assert_eq!(permit.idle, None);
        permit.give_back("connection");
        assert_eq!(pool.checkout(Duration::ZERO).unwrap().idle, Some("connection"));
    }

    #[test]
    fn a_connection_not_given_back_frees_its_permit() {
        let pool = Pool::<()>::new(1);
        let permit = pool.checkout(Duration::ZERO);
        assert!(pool.checkout(Duration::from_millis(1)).is_none());
        drop(permit);
        assert!(pool.checkout(Duration::ZERO).is_some());
    }

    #[test]
    fn where_no_more_can_be_opened_those_that_are_open_are_lent() {
        let pool = Pool::new(8);
        assert!(!pool.make_do(), "there is none");
        let first = pool.checkout(Duration::ZERO).unwrap();
        assert!(pool.make_do());
        assert!(pool.try_checkout().is_none());
        first.give_back("connection");
        assert_eq!(pool.try_checkout().unwrap().idle, Some("connection"));
    }

    #[test]
    fn a_waiter_gets_the_permit_that_becomes_free() {
        let pool = Pool::<()>::new(1);
        let permit = pool.checkout(Duration::ZERO);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| pool.checkout(Duration::from_secs(60)).is_some());
            drop(permit);
            assert!(waiter.join().unwrap());
        });
    }
}
