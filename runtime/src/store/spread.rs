//! Requests spread over the nodes, and their outcomes in the order of the requests.

#[cfg(feature = "servers")]
use crate::cluster::members::Members;
use crate::exchange::{NodeBatch, Outcome, Request, unanswered};

/// A request, and the number of the node to ask; without one, that of its key.
pub(crate) struct At<'a> {
    pub(crate) node: Option<usize>,
    pub(crate) request: Request<'a>,
}

impl<'a> At<'a> {
    pub(super) fn home(requests: &[Request<'a>]) -> Vec<Self> {
        requests.iter().map(|request| At { node: None, request: *request }).collect()
    }

    /// Returns all of them, if they are for one node that each of them names.
    pub(super) fn only_batch(requests: &[Self]) -> Option<NodeBatch<'a>> {
        let node = requests.first()?.node?;
        let is_only = requests.iter().all(|at| at.node == Some(node));
        is_only.then(|| NodeBatch { node, requests: requests.iter().map(|at| at.request).collect() })
    }
}

/// Which node each key belongs to.
pub(crate) enum Placement {
    One,
    #[cfg(feature = "servers")]
    Among(std::sync::Arc<Members>),
}

impl Placement {
    /// Returns the number of the node to ask about a key.
    pub(crate) fn node_of(&self, key: &str) -> usize {
        match self {
            Placement::One => 0,
            #[cfg(feature = "servers")]
            Placement::Among(members) => members.locate(key),
        }
    }
}

/// Requests by node, with the place of each among all.
pub(super) struct Spread<'a> {
    pub(super) batches: Vec<NodeBatch<'a>>,
    places: Vec<Vec<usize>>,
    len: usize,
}

impl<'a> Spread<'a> {
    pub(super) fn of(placement: &Placement, requests: &[At<'a>]) -> Self {
        let mut spread = Spread { batches: Vec::new(), places: Vec::new(), len: requests.len() };
        for (place, At { node, request }) in requests.iter().enumerate() {
            let home = || request.key().map_or(0, |key| placement.node_of(key));
            let node = node.unwrap_or_else(home);
            let index = spread.batches.iter().position(|batch| batch.node == node).unwrap_or_else(|| {
                spread.batches.push(NodeBatch { node, requests: Vec::with_capacity(requests.len()) });
                spread.places.push(Vec::with_capacity(requests.len()));
                spread.batches.len() - 1
            });
            spread.batches[index].requests.push(*request);
            spread.places[index].push(place);
        }
        spread
    }

    /// Puts the outcomes into the order of the requests.
    pub(super) fn gather(self, outcomes: Vec<Vec<Outcome>>) -> Vec<Outcome> {
        let mut all: Vec<Option<Outcome>> = (0..self.len).map(|_| None).collect();
        for (place, outcome) in self.places.into_iter().flatten().zip(outcomes.into_iter().flatten()) {
            all[place] = Some(outcome);
        }
        all.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(unanswered()))).collect()
    }
}
