//! Pushes the end of values forward that are asked for.
//!
//! The stored bytes are written again, under the item's number: a touch could hit a lease
//! or a mark instead, and would keep it.

use std::time::Duration;

use super::super::mode::Mode;
use super::{Machine, Push, Readable};
use crate::cache::Cache;
#[cfg(feature = "tokio")]
use crate::detached;
use crate::exchange::{Guard, Item, Request, Token, Ttl, Verb, Write};
#[cfg(feature = "tokio")]
use crate::telemetry;
use crate::value::record::Record;

/// A value whose end is pushed forward, packed.
pub(crate) struct Pushed {
    key: String,
    bytes: Vec<u8>,
    flags: u32,
    ttl: Ttl,
    cas: u64,
}

impl Machine {
    /// Notes that the end of this value is pushed forward, if that is due.
    pub(super) fn push(&mut self, item: &Item, opened: &Readable) {
        let is_pushed = self.freshness.idle.is_some()
            && self.mode == Mode::Normal
            // Otherwise another caller is about to replace it.
            && item.token == Token::None
            && item.cas != 0
            && !opened.is_negative();
        let times = opened.times.zip(item.seconds_left).filter(|_| is_pushed);
        let times = times.and_then(|(times, left)| self.freshness.pushed(times, left));
        self.push = times.map(|times| {
            let found = Record { bytes: item.value.clone(), flags: item.flags };
            Push { found, times, cas: item.cas }
        });
    }

    /// Returns the push that is due, with the value packed by `pack`.
    pub(crate) fn pushed(&mut self, pack: impl FnOnce(&Push) -> Option<Record>) -> Option<Pushed> {
        let push = self.push.take()?;
        let record = pack(&push)?;
        let bytes = self.anchored(&record).into_owned();
        let ttl = Ttl::For(Duration::from_secs(push.times.kept.into()));
        Some(Pushed { key: self.stored_key().to_owned(), bytes, flags: record.flags, ttl, cas: push.cas })
    }
}

impl Pushed {
    fn request(&self) -> Request<'_> {
        let Pushed { key, bytes: value, flags, ttl, cas } = self;
        let (how, guard) = (Write::Set, Guard::Held(*cas));
        Request::Store { key, value, flags: *flags, ttl: *ttl, how, guard }
    }
}

/// Writes these values, without a caller that waits if there is a runtime for that.
pub(crate) fn write(pushed: Vec<Pushed>, cache: &Cache) {
    #[cfg(feature = "tokio")]
    if cache.store().is_remote() && detached::is_possible() {
        let cache = cache.clone();
        return detached::run(telemetry::within_current(async move {
            let requests: Vec<_> = pushed.iter().map(Pushed::request).collect();
            let _ = cache.store().ask_each_async(Verb::SetMany, &requests, &cache.budget()).await;
        }));
    }
    let requests: Vec<_> = pushed.iter().map(Pushed::request).collect();
    let _ = cache.store().ask_each(Verb::SetMany, &requests, &cache.budget());
}
