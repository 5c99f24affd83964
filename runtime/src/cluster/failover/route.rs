//! The way of a request to the member where its key is now. That may not be the
//! key's own member, may have become it, or may have been out: what it has from
//! before is not served.
//!
//! Which member that is, `members` says. With failover, each process finds out
//! for itself that a node is out or back. It cannot know what others have
//! written elsewhere in the meantime, and so takes for old all that a node had
//! when it came back, and of keys that are not its own all that a node had when
//! they were first sent there.

use std::sync::{Arc, OnceLock};

use crate::cluster::failover::watermark::{Survey, Watermark, Watermarks};
use crate::cluster::members::{Detour, Member, Members};
use crate::error::Error;
use crate::exchange::{Grant, Guard, Numbering, Outcome, Reply, Request, Write};
use crate::protocol::{Dialect, Life};
use crate::server::Failover;
use crate::time::budget::Deadline;

/// The way to one member.
pub(crate) struct Route {
    pub(crate) member: Arc<Member>,
    pub(crate) number: usize,
    pub(crate) members: Arc<Members>,
    /// Set if the member may get keys that are not its own.
    pub(crate) detour: Option<Arc<Detour>>,
}

/// Items that are out of date, by key and number.
type Old = Vec<(String, u64)>;

impl Route {
    /// Sends one request and reads its reply.
    pub(crate) fn ask(&self, request: &Request<'_>, deadline: Deadline) -> Outcome {
        let node = &self.member.node;
        self.prepare(std::slice::from_ref(request), deadline)?;
        let outcome = node.ask(request, deadline);
        let old = self.old(request, &outcome);
        if old.is_empty() {
            return outcome;
        }
        self.remove(&old, deadline)?;
        let mut again = [node.ask(request, deadline)];
        self.leave_out(std::slice::from_ref(request), &mut again);
        let [outcome] = again;
        outcome
    }

    /// Sends one request and reads its reply, for an async caller.
    #[cfg(feature = "tokio")]
    pub(crate) async fn ask_async(&self, request: &Request<'_>, deadline: Deadline) -> Outcome {
        let node = &self.member.node;
        self.prepare_async(std::slice::from_ref(request), deadline).await?;
        let outcome = node.ask_async(request, deadline).await;
        let old = self.old(request, &outcome);
        if old.is_empty() {
            return outcome;
        }
        self.remove_async(&old, deadline).await?;
        let mut again = [node.ask_async(request, deadline).await];
        self.leave_out(std::slice::from_ref(request), &mut again);
        let [outcome] = again;
        outcome
    }

    /// Finds out from which number on the member's items count, before requests
    /// that need to know, and removes what is old before those that work on what is there.
    pub(crate) fn prepare(&self, requests: &[Request<'_>], deadline: Deadline) -> Result<(), Error> {
        let node = &self.member.node;
        match &self.unmarked(requests)[..] {
            [] => {}
            unmarked => set(unmarked, node.ask_all(&Survey::new().requests(), deadline)?)?,
        }
        let looks: Vec<_> = requests.iter().filter_map(|request| self.to_look_first(request)).collect();
        if looks.is_empty() {
            return Ok(());
        }
        let found = node.ask_all(&looks, deadline)?;
        let old = self.all_old(&looks, &found);
        found.into_iter().try_for_each(|outcome| outcome.map(drop))?;
        if old.is_empty() { Ok(()) } else { self.remove(&old, deadline) }
    }

    /// Finds that out for an async caller.
    #[cfg(feature = "tokio")]
    pub(crate) async fn prepare_async(&self, requests: &[Request<'_>], deadline: Deadline) -> Result<(), Error> {
        let node = &self.member.node;
        match &self.unmarked(requests)[..] {
            [] => {}
            unmarked => set(unmarked, node.ask_all_async(&Survey::new().requests(), deadline).await?)?,
        }
        let looks: Vec<_> = requests.iter().filter_map(|request| self.to_look_first(request)).collect();
        if looks.is_empty() {
            return Ok(());
        }
        let found = node.ask_all_async(&looks, deadline).await?;
        let old = self.all_old(&looks, &found);
        found.into_iter().try_for_each(|outcome| outcome.map(drop))?;
        if old.is_empty() { Ok(()) } else { self.remove_async(&old, deadline).await }
    }

    /// Takes what is old out of the outcomes, and removes it from the member.
    pub(crate) fn sift(&self, requests: &[Request<'_>], outcomes: &mut [Outcome], deadline: Deadline) {
        let old = self.all_old(requests, outcomes);
        if !old.is_empty() {
            // What stays there is left out all the same.
            let _ = self.remove(&old, deadline);
            self.leave_out(requests, outcomes);
        }
    }

    /// Takes it out for an async caller.
    #[cfg(feature = "tokio")]
    pub(crate) async fn sift_async(&self, requests: &[Request<'_>], outcomes: &mut [Outcome], deadline: Deadline) {
        let old = self.all_old(requests, outcomes);
        if !old.is_empty() {
            // What stays there is left out all the same.
            let _ = self.remove_async(&old, deadline).await;
            self.leave_out(requests, outcomes);
        }
    }

    /// Returns the watermarks that are missing for keys that are not the member's own, or have
    /// not always been.
    fn unmarked(&self, requests: &[Request<'_>]) -> Vec<&OnceLock<Watermark>> {
        if self.detour.is_none() && !self.members.have_moved() {
            return Vec::new();
        }
        let keys = || requests.iter().flat_map(Request::keys);
        let foreign = self.detour.as_ref().and_then(|detour| detour.watermark(self.number));
        let foreign = foreign.filter(|watermark| watermark.get().is_none() && keys().any(|key| !self.is_home(key)));
        foreign.into_iter().chain(self.members.unmarked(self.number, keys())).collect()
    }

    /// Returns what to read before a request that works on what is there.
    fn to_look_first<'a>(&self, request: &Request<'a>) -> Option<Request<'a>> {
        let key = request.key()?;
        if self.detour.is_none() && !self.member.watermark.is_set() && !self.members.has_moved(key, self.number) {
            return None;
        }
        let works_on_it = match *request {
            Request::Count { .. } | Request::Touch { .. } | Request::Invalidate { .. } => true,
            Request::Store { guard: Guard::Unchanged(number), .. } => self.is_old(key, number),
            Request::Store { guard: Guard::Held(number), .. } | Request::Renew { cas: number, .. } => {
                self.is_of_unknown_life() || self.is_old(key, self.member.own_number(number))
            }
            Request::Store { how, guard: Guard::None, .. } => how != Write::Set,
            Request::Lookup { .. }
            | Request::Peek { .. }
            | Request::Get { .. }
            | Request::PeekMany { .. }
            | Request::GetAndTouch { .. }
            | Request::Delete { .. }
            | Request::Stats { .. }
            | Request::Version
            | Request::Servers
            | Request::FlushAll { .. }
            | Request::MemoryLimit { .. } => false,
        };
        works_on_it.then_some(Request::Get { key })
    }

    /// Whether the server has numbers within its life, and that is not known yet, as it has just
    /// joined: its numbers cannot be compared.
    fn is_of_unknown_life(&self) -> bool {
        let endpoint = &self.member.node.endpoint;
        endpoint.dialect() != Some(Dialect::Classic) && endpoint.lives.now() == Life::UNKNOWN
    }

    /// Whether a key is the member's own.
    fn is_home(&self, key: &str) -> bool {
        self.members.is_home(key, self.number)
    }

    /// Whether a key's item with this number is of no use here.
    fn is_old(&self, key: &str, number: u64) -> bool {
        self.member.watermark.is_after(number)
            || self.members.is_passed(key, self.number, number)
            || self.member.failover == Failover::Next
                && !self.is_home(key)
                && self.detour_watermark().is_none_or(|watermark| watermark.is_after(number))
    }

    /// Returns the server's own number of an item that was found.
    fn number(&self, request: &Request<'_>, number: u64) -> u64 {
        match request.numbering() {
            Numbering::None => number,
            Numbering::Received | Numbering::Sent => self.member.own_number(number),
        }
    }

    /// Returns what is old in an outcome.
    fn old(&self, request: &Request<'_>, outcome: &Outcome) -> Old {
        match (request.key(), outcome) {
            (Some(key), Ok(Reply::Found(item))) => {
                let number = self.number(request, item.cas);
                if self.is_old(key, number) { vec![(key.to_owned(), number)] } else { Old::new() }
            }
            (None, Ok(Reply::FoundMany(items))) => {
                let old = items.iter().filter(|(key, item)| self.is_old(key, item.cas));
                old.map(|(key, item)| (key.to_owned(), item.cas)).collect()
            }
            _ => Old::new(),
        }
    }

    /// Returns what is old in several outcomes.
    fn all_old(&self, requests: &[Request<'_>], outcomes: &[Outcome]) -> Old {
        if self.member.failover == Failover::None && !self.members.have_moved() {
            return Old::new();
        }
        requests.iter().zip(outcomes).flat_map(|(request, outcome)| self.old(request, outcome)).collect()
    }

    /// Takes what is old out of the outcomes.
    fn leave_out(&self, requests: &[Request<'_>], outcomes: &mut [Outcome]) {
        for (request, outcome) in requests.iter().zip(outcomes) {
            match outcome {
                Ok(Reply::FoundMany(items)) => items.retain(|key, item| !self.is_old(key, item.cas)),
                found if !self.old(request, found).is_empty() => *found = Ok(Reply::Missing(Grant::Free)),
                _ => {}
            }
        }
    }

    /// Removes what is old.
    fn remove(&self, old: &Old, deadline: Deadline) -> Result<(), Error> {
        let watermarks = self.watermarks();
        removed(&watermarks, self.member.node.ask_all(&self.removal(&Survey::new(), old), deadline)?)
    }

    /// Removes it for an async caller.
    #[cfg(feature = "tokio")]
    async fn remove_async(&self, old: &Old, deadline: Deadline) -> Result<(), Error> {
        let watermarks = self.watermarks();
        removed(&watermarks, self.member.node.ask_all_async(&self.removal(&Survey::new(), old), deadline).await?)
    }

    /// Returns the requests that remove what is old, behind a survey: the server may have
    /// been restarted, and what seems old is new then.
    fn removal<'a>(&self, survey: &'a Survey, old: &'a Old) -> Vec<Request<'a>> {
        let guard = |number| match self.member.node.endpoint.dialect() {
            Some(Dialect::Classic) => Guard::None,
            _ => Guard::Unchanged(number),
        };
        let remove = |(key, number): &'a (String, u64)| Request::Delete { key, guard: guard(*number) };
        survey.requests().into_iter().chain(old.iter().map(remove)).collect()
    }

    /// Returns the member's watermarks as they are before a survey.
    fn watermarks(&self) -> Watermarks<'_> {
        let own = std::iter::once(&self.member.watermark);
        own.chain(self.members.watermarks(self.number)).chain(self.detour_watermark()).collect()
    }

    /// Returns the one for keys that are not the member's own, if it is set.
    fn detour_watermark(&self) -> Option<&Watermark> {
        self.detour.as_ref()?.watermark(self.number)?.get()
    }
}

/// Corrects the watermarks by the survey before a removal.
///
/// # Errors
///
/// If the survey or a removal failed.
fn removed(watermarks: &Watermarks<'_>, mut outcomes: Vec<Outcome>) -> Result<(), Error> {
    let removals = outcomes.split_off(Survey::LEN.min(outcomes.len()));
    watermarks.correct(Survey::number(outcomes)?);
    removals.into_iter().try_for_each(|outcome| outcome.map(drop))
}

/// Sets watermarks, unless another caller has been first.
fn set(unmarked: &[&OnceLock<Watermark>], outcomes: Vec<Outcome>) -> Result<(), Error> {
    let number = Survey::number(outcomes)?;
    unmarked.iter().for_each(|watermark| drop(watermark.set(Watermark::at(number))));
    Ok(())
}
