//! The timers of async I/O.
//!
//! A test may pause its runtime's clock, which then leaps from timer to timer while
//! servers take real time. So these go by the system's clock then: in builds for tests
//! alone.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::Sleep;

#[cfg(all(feature = "testing", not(test)))]
use super::paused::{self, Bell};

/// A timer that can be set anew.
pub(crate) struct Reminder {
    at: Instant,
    /// Absent while the clock is paused.
    sleep: Option<Pin<Box<Sleep>>>,
    #[cfg(all(feature = "testing", not(test)))]
    bell: Bell,
}

impl Reminder {
    /// Creates a timer that goes off at this time.
    pub(crate) fn at(at: Instant) -> Self {
        Reminder {
            at,
            sleep: Some(Box::pin(tokio::time::sleep_until(at.into()))),
            #[cfg(all(feature = "testing", not(test)))]
            bell: Bell::default(),
        }
    }

    /// Returns when it goes off.
    pub(crate) fn due(&self) -> Instant {
        self.at
    }

    /// Makes it go off at this time instead.
    pub(crate) fn reset(&mut self, at: Instant) {
        self.at = at;
        #[cfg(all(feature = "testing", not(test)))]
        if paused::is_paused() {
            self.sleep = None;
        }
        if let Some(sleep) = &mut self.sleep {
            sleep.as_mut().reset(at.into());
        }
    }

    /// Becomes ready once it has gone off.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        #[cfg(all(feature = "testing", not(test)))]
        if paused::is_paused() {
            self.sleep = None;
            return self.bell.poll(self.at, context);
        }
        let at = self.at;
        self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at.into()))).as_mut().poll(context)
    }
}
