//! The way of a request to the node where its key is now, which may not be the
//! key's own, or may have been out: what it has from before is not served.
//!
//! With failover, each process sees for itself that a node is out or back. What
//! others have written elsewhere in the meantime it cannot know, and so takes
//! for old all that a node had when it came back, and of keys that are not its
//! own all that a node had when they were first sent there.

use std::sync::{Arc, OnceLock};

use crate::cluster::failover::watermark::{Mark, Survey};
use crate::cluster::members::{Detour, Member, Members};
use crate::error::Error;
use crate::exchange::{Grant, Guard, Outcome, Reply, Request, Write};
use crate::protocol::Dialect;
use crate::server::Failover;
use crate::time::budget::Deadline;

/// To one node.
pub(crate) struct Route {
    pub(crate) member: Member,
    pub(crate) number: usize,
    pub(crate) members: Arc<Members>,
    /// If keys may be here that are not the node's own.
    pub(crate) detour: Option<Arc<Detour>>,
}

/// Items that are out of date, by key and number.
type Old = Vec<(String, u64)>;

impl Route {
    /// One request and its reply.
    pub(crate) fn ask(&self, request: &Request<'_>, deadline: Deadline) -> Outcome {
        let node = &self.member.node;
        self.prepare(std::slice::from_ref(request), deadline)?;
        if let Some(look) = self.to_look_first(request) {
            self.ask(&look, deadline)?;
        }
        let outcome = node.ask(request, deadline);
        let old = self.old(request, &outcome);
        if old.is_empty() {
            return outcome;
        }
        self.correct(node.ask_all(&self.removal(&Survey::new(), &old), deadline)?)?;
        node.ask(request, deadline)
    }

    /// As [`Route::ask`].
    #[cfg(feature = "tokio")]
    pub(crate) async fn ask_async(&self, request: &Request<'_>, deadline: Deadline) -> Outcome {
        let node = &self.member.node;
        self.prepare_async(std::slice::from_ref(request), deadline).await?;
        if let Some(look) = self.to_look_first(request) {
            Box::pin(self.ask_async(&look, deadline)).await?;
        }
        let outcome = node.ask_async(request, deadline).await;
        let old = self.old(request, &outcome);
        if old.is_empty() {
            return outcome;
        }
        self.correct(node.ask_all_async(&self.removal(&Survey::new(), &old), deadline).await?)?;
        node.ask_async(request, deadline).await
    }

    /// Finds out from when on what is here counts, before requests that need
    /// to know.
    pub(crate) fn prepare(&self, requests: &[Request<'_>], deadline: Deadline) -> Result<(), Error> {
        match self.unmarked(requests) {
            Some(mark) => set(mark, self.member.node.ask_all(&Survey::new().requests(), deadline)?),
            None => Ok(()),
        }
    }

    /// As [`Route::prepare`].
    #[cfg(feature = "tokio")]
    pub(crate) async fn prepare_async(&self, requests: &[Request<'_>], deadline: Deadline) -> Result<(), Error> {
        match self.unmarked(requests) {
            Some(mark) => set(mark, self.member.node.ask_all_async(&Survey::new().requests(), deadline).await?),
            None => Ok(()),
        }
    }

    /// Takes what is old out of the outcomes, and removes it from the node.
    pub(crate) fn sift(&self, requests: &[Request<'_>], outcomes: &mut [Outcome], deadline: Deadline) {
        let old = self.all_old(requests, outcomes);
        if !old.is_empty() {
            let removed = self.member.node.ask_all(&self.removal(&Survey::new(), &old), deadline);
            let _ = removed.and_then(|outcomes| self.correct(outcomes));
            self.leave_out(requests, outcomes);
        }
    }

    /// As [`Route::sift`].
    #[cfg(feature = "tokio")]
    pub(crate) async fn sift_async(&self, requests: &[Request<'_>], outcomes: &mut [Outcome], deadline: Deadline) {
        let old = self.all_old(requests, outcomes);
        if !old.is_empty() {
            let removed = self.member.node.ask_all_async(&self.removal(&Survey::new(), &old), deadline).await;
            let _ = removed.and_then(|outcomes| self.correct(outcomes));
            self.leave_out(requests, outcomes);
        }
    }

    /// The mark that is missing for keys that are not the node's own.
    fn unmarked(&self, requests: &[Request<'_>]) -> Option<&OnceLock<Mark>> {
        let mark = self.detour.as_ref()?.mark(self.number).filter(|mark| mark.get().is_none())?;
        requests.iter().flat_map(Request::keys).any(|key| !self.is_home(key)).then_some(mark)
    }

    /// What to read before a request that works on what is there.
    fn to_look_first<'a>(&self, request: &Request<'a>) -> Option<Request<'a>> {
        let key = request.key()?;
        let works_on_it = match *request {
            Request::Count { .. } | Request::Touch { .. } | Request::Invalidate { .. } => true,
            Request::Store { guard: Guard::Unchanged(number), .. } => self.is_old(key, number),
            Request::Store { how, .. } => how != Write::Set,
            _ => false,
        };
        (works_on_it && (self.detour.is_some() || self.member.node.mark.is_set())).then_some(Request::Peek { key })
    }

    fn is_home(&self, key: &str) -> bool {
        self.members.home(key) == self.number
    }

    /// Whether a key's item with this number is of no use here.
    fn is_old(&self, key: &str, number: u64) -> bool {
        let node = &self.member.node;
        let mark = || self.detour.as_ref().and_then(|detour| detour.mark(self.number)?.get());
        node.mark.is_after(number)
            || node.failover == Failover::Next && !self.is_home(key) && mark().is_none_or(|mark| mark.is_after(number))
    }

    fn old(&self, request: &Request<'_>, outcome: &Outcome) -> Old {
        match (request.key(), outcome) {
            (Some(key), Ok(Reply::Found(item))) if self.is_old(key, item.cas) => vec![(key.to_owned(), item.cas)],
            (None, Ok(Reply::FoundMany(items))) => {
                let old = items.iter().filter(|(key, item)| self.is_old(key, item.cas));
                old.map(|(key, item)| (key.to_owned(), item.cas)).collect()
            }
            _ => Old::new(),
        }
    }

    fn all_old(&self, requests: &[Request<'_>], outcomes: &[Outcome]) -> Old {
        if self.member.node.failover == Failover::None {
            return Old::new();
        }
        requests.iter().zip(outcomes).flat_map(|(request, outcome)| self.old(request, outcome)).collect()
    }

    fn leave_out(&self, requests: &[Request<'_>], outcomes: &mut [Outcome]) {
        for (request, outcome) in requests.iter().zip(outcomes) {
            match outcome {
                Ok(Reply::FoundMany(items)) => items.retain(|key, item| !self.is_old(key, item.cas)),
                found if !self.old(request, found).is_empty() => *found = Ok(Reply::Missing(Grant::Free)),
                _ => {}
            }
        }
    }

    /// A survey, in case the server has been restarted and what seems old is
    /// new, and the removal of what is old.
    fn removal<'a>(&self, survey: &'a Survey, old: &'a Old) -> Vec<Request<'a>> {
        let guard = |number| match self.member.node.endpoint.dialect() {
            Some(Dialect::Classic) => Guard::None,
            _ => Guard::Unchanged(number),
        };
        let remove = |(key, number): &'a (String, u64)| Request::Delete { key, guard: guard(*number) };
        survey.requests().into_iter().chain(old.iter().map(remove)).collect()
    }

    /// Takes note of what a survey says.
    fn correct(&self, outcomes: Vec<Outcome>) -> Result<(), Error> {
        let now = Survey::number(outcomes)?;
        self.member.node.mark.correct(now);
        if let Some(mark) = self.detour.as_ref().and_then(|detour| detour.mark(self.number)?.get()) {
            mark.correct(now);
        }
        Ok(())
    }
}

/// Another caller may have been first.
fn set(mark: &OnceLock<Mark>, outcomes: Vec<Outcome>) -> Result<(), Error> {
    let _ = mark.set(Mark::at(Survey::number(outcomes)?));
    Ok(())
}
