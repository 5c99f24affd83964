//! A writer at work, as a value that its caller keeps until the data is changed.

use std::fmt;
use std::time::Duration;

use super::targets::{Invalidate, Targets};
use crate::error::Error;
use crate::writing::{Manner, Writer};

/// A writer at work: the entries of the data that it changes are marked.
///
/// While this lives, calls that read the entries compute and store nothing, in all
/// processes. Begin it before the first change, and end it with [`done`](Self::done)
/// after the commit. The marks are renewed meanwhile. Dropping this ends it as well; a
/// process that dies leaves marks that end by themselves after ten seconds.
///
/// ```
/// use memocached::memcached;
///
/// #[memcached(key = "name:<id>", ttl = 60, entry = name_entry)]
/// fn name(id: u64) -> String {
///     format!("user {id}")
/// }
///
/// # fn main() -> Result<(), memocached::Error> {
/// name(7);
/// let writing = name_entry(7).writing()?;
/// // Change the data, in a transaction. Before its commit:
/// assert!(writing.is_marked());
/// writing.done()?;
/// assert_eq!(name_entry(7).get()?, None);
/// # Ok(())
/// # }
/// ```
#[must_use = "the writer ends when this is dropped"]
pub struct Writing(Writer);

/// An async writer at work: the entries of the data that it changes are marked.
///
/// It is what [`Writing`] is for async code. Dropping it leaves the end to a thread of
/// this crate.
#[cfg(feature = "tokio")]
#[must_use = "the writer ends when this is dropped"]
pub struct AsyncWriting(Writer);

/// How a writer has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// Whether the marks stood from before the first change to the end, as far as is
    /// known. Otherwise a server lost one, or could not be reached for long; what a
    /// caller stored then has been removed at the end.
    pub was_marked: bool,
}

impl Written {
    fn of(was_marked: bool) -> Self {
        Written { was_marked }
    }
}

macro_rules! writing {
    ($writing:ident, $begin:ident, $finish:ident, ($($async:tt)*), ($($await:tt)*)) => {
        impl $writing {
            /// Marks entries: one, or several as a tuple or a list.
            ///
            /// # Errors
            ///
            /// If a mark could not be set, because a server cannot be reached or
            /// refuses. Marks that were set are removed again.
            pub $($async)* fn begin(targets: &impl Invalidate) -> Result<Self, Error> {
                let targets = Targets::of(targets);
                Self::mark(targets, Manner::default())$($await)*
            }

            /// Marks entries, and keeps calls from storing for this long after the end. Take
            /// the time by which reads of the data, such as those from a replica, may lag
            /// behind its writes. It is rounded up to whole seconds.
            ///
            /// # Errors
            ///
            /// The same as for `begin`.
            pub $($async)* fn begin_holding_off(
                targets: &impl Invalidate,
                hold_off: Duration,
            ) -> Result<Self, Error> {
                let targets = Targets::of(targets);
                let manner = Manner { hold_off: Some(hold_off), ..Manner::default() };
                Self::mark(targets, manner)$($await)*
            }

            $($async)* fn mark(Targets(destinations): Targets, manner: Manner) -> Result<Self, Error> {
                let (writer, marked) = Writer::$begin(destinations, manner)$($await)*;
                match marked {
                    Ok(()) => Ok($writing(writer)),
                    Err(error) => {
                        let _ = writer.$finish(None, Vec::new())$($await)*;
                        Err(error)
                    }
                }
            }

            /// Returns whether all marks are certain to stand now, unless a server has lost
            /// its items. Ask right before a commit: the answer is `false` if the marks could
            /// not be renewed for so long that they may have ended.
            #[must_use]
            pub fn is_marked(&self) -> bool {
                !self.marked_for().is_zero()
            }

            /// Returns how long all marks are certain to stand, even if they cannot be renewed
            /// any more, unless a server loses its items.
            #[must_use]
            pub fn marked_for(&self) -> Duration {
                self.0.stands_for()
            }

            /// Ends the writer after the data was changed, and removes what is stored.
            ///
            /// # Errors
            ///
            /// If a server cannot be reached or refuses. The server is asked again until it
            /// answers, for up to an hour.
            pub $($async)* fn done(self) -> Result<Written, Error> {
                self.0.$finish(None, Vec::new())$($await)*.map(Written::of)
            }
        }

        impl fmt::Debug for $writing {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($writing)).field("marked_for", &self.marked_for()).finish()
            }
        }
    };
}

#[cfg(all(test, feature = "tokio"))]
impl AsyncWriting {
    /// Ends as a writer whose process is killed: the marks are neither renewed nor removed.
    pub(crate) fn kill(self) {
        self.0.kill();
    }
}

writing!(Writing, begin, finish, (), ());
#[cfg(feature = "tokio")]
writing!(AsyncWriting, begin_async, finish_async, (async), (.await));
