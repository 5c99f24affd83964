//! The value that a body replaces, and what the body says of the new one.

use std::cell::RefCell;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::sync::lock;
use crate::telemetry;

/// The stored value that a function with `previous` is about to replace.
///
/// It is stale, or about to be. If it turns out to be still right, the body returns it
/// by [`unchanged`](Previous::unchanged), and its stored bytes are kept for another ttl
/// without being encoded.
///
/// ```
/// use memocached::{Previous, memcached};
///
/// # struct Page { text: String, etag: String }
/// # fn fetch(_: &str, _: Option<&[u8]>) -> Option<Page> {
/// #     Some(Page { text: "Hello".into(), etag: "\"1\"".into() })
/// # }
/// #[memcached(key = "page:<url>", ttl = "1m", grace = "1h", previous = old)]
/// fn page(url: &str) -> String {
///     let etag = old.as_ref().and_then(|old: &Previous<String>| old.tag());
///     match (fetch(url, etag), old) {
///         (None, Some(old)) => old.unchanged(), // 304 Not Modified
///         (None, None) => String::new(),
///         (Some(page), _) => {
///             memocached::tag(&page.etag);
///             page.text
///         }
///     }
/// }
///
/// assert_eq!(page("/"), "Hello");
/// ```
pub struct Previous<V> {
    value: V,
    age: Option<Duration>,
    tag: Box<[u8]>,
    notes: Arc<Notes>,
}

impl<V> Previous<V> {
    /// Returns the value.
    pub fn value(&self) -> &V {
        &self.value
    }

    /// Returns how long ago the value was computed or found unchanged, in whole seconds.
    /// `None` if that is unknown: the value was invalidated or stored without an end,
    /// the server does not tell the time, or the codec stores bare bytes.
    pub fn age(&self) -> Option<Duration> {
        self.age
    }

    /// Returns the tag that the value was given by [`tag`], if it was given one.
    pub fn tag(&self) -> Option<&[u8]> {
        (!self.tag.is_empty()).then_some(&self.tag)
    }

    /// Says that the value is still right, and returns it for the body to return.
    ///
    /// The stored bytes are then kept for another ttl, under the old tag unless [`tag`]
    /// sets another. If the body returns another value after this, other calls are still
    /// served the old one; where its type is `PartialEq`, some of these mistakes are
    /// detected.
    pub fn unchanged(self) -> V {
        self.notes.unchanged.store(true, Ordering::Relaxed);
        self.value
    }
}

impl<V: fmt::Debug> fmt::Debug for Previous<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Previous { value, age, tag, .. } = self;
        f.debug_struct("Previous").field("value", value).field("age", age).field("tag", tag).finish()
    }
}

/// The most bytes of a tag.
const LONGEST_TAG: usize = 64;

/// Gives the value that the running body returns a tag, such as an `ETag`, by which to
/// recognise it. [`Previous::tag`] returns it when the value is replaced.
///
/// The tag belongs to the innermost function with `previous` whose body runs, and has no
/// effect outside of one. A tag of more than 64 bytes is not kept, which is logged once at
/// WARN. Codecs that store bare bytes, such as `text`, have no room for a tag.
pub fn tag(tag: impl AsRef<[u8]>) {
    let tag = tag.as_ref();
    if tag.len() > LONGEST_TAG {
        return telemetry::tag_too_long(tag.len(), LONGEST_TAG);
    }
    let notes = NOTES.try_with(|notes| notes.borrow().clone()).ok().flatten();
    if let Some(notes) = notes {
        *lock(&notes.tag) = Some(tag.into());
    }
}

thread_local! {
    /// Where the innermost body with `previous` notes what it says.
    static NOTES: RefCell<Option<Arc<Notes>>> = const { RefCell::new(None) };
}

/// What a body says of the value that it returns.
#[derive(Debug, Default)]
struct Notes {
    unchanged: AtomicBool,
    tag: Mutex<Option<Box<[u8]>>>,
}

/// Where a call leaves the value that its body replaces.
#[derive(Debug)]
pub struct PreviousSlot<V> {
    previous: Arc<Mutex<Option<Previous<V>>>>,
    notes: Arc<Notes>,
}

impl<V> Clone for PreviousSlot<V> {
    fn clone(&self) -> Self {
        PreviousSlot { previous: Arc::clone(&self.previous), notes: Arc::clone(&self.notes) }
    }
}

impl<V> Default for PreviousSlot<V> {
    fn default() -> Self {
        PreviousSlot { previous: Arc::default(), notes: Arc::default() }
    }
}

impl<V> PreviousSlot<V> {
    /// Leaves a value.
    pub(super) fn put(&self, value: V, age: Option<Duration>, tag: Box<[u8]>) {
        *lock(&self.previous) = Some(Previous { value, age, tag, notes: Arc::clone(&self.notes) });
    }

    /// Whether the body has returned the value that it was given.
    pub(super) fn is_unchanged(&self) -> bool {
        self.notes.unchanged.load(Ordering::Relaxed)
    }

    /// Returns what the body has set to recognise its value by.
    pub(super) fn tag(&self) -> Option<Box<[u8]>> {
        lock(&self.notes.tag).take()
    }

    /// Takes the value that was left.
    #[must_use]
    pub fn take(&self) -> Option<Previous<V>> {
        lock(&self.previous).take()
    }

    /// Takes notes of what is said on this thread, until the guard is dropped.
    #[must_use]
    pub fn enter(&self) -> NotesBefore {
        NotesBefore(note_in(Some(Arc::clone(&self.notes))))
    }

    /// Takes notes of what a body says.
    pub async fn within<F: Future>(self, body: F) -> F::Output {
        let mut body = pin!(body);
        std::future::poll_fn(|context| {
            let _entered = self.enter();
            body.as_mut().poll(context)
        })
        .await
    }
}

/// Restores where notes were taken before, even by a panic.
#[derive(Debug)]
pub struct NotesBefore(Option<Arc<Notes>>);

impl Drop for NotesBefore {
    fn drop(&mut self) {
        drop(note_in(self.0.take()));
    }
}

fn note_in(notes: Option<Arc<Notes>>) -> Option<Arc<Notes>> {
    NOTES.try_with(|current| current.replace(notes)).ok().flatten()
}
