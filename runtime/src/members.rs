//! Who is in a cluster, and where keys belong with some of them out.
//!
//! A snapshot: members that come and go make a new one. Numbers of members are
//! never used again, so that one from an older snapshot names the same member
//! or nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use crate::node::Node;
use crate::ring::{Distribution, Ring};
use crate::server::Server;
use crate::sync::{read, write};
use crate::telemetry::client::Peer;

/// One node as a member of a cluster.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) node: Arc<Node>,
    pub(crate) peer: &'static Peer,
}

/// The members by number, and the rings over them.
pub(crate) struct Members {
    by_number: BTreeMap<usize, Member>,
    distribution: Distribution,
    /// Over all of them.
    home: Ring,
    /// Over those that were up when it was last asked for.
    detour: RwLock<Option<(Vec<usize>, Arc<Ring>)>>,
}

impl Members {
    pub(crate) fn new(by_number: BTreeMap<usize, Member>, distribution: Distribution) -> Self {
        let servers = by_number.iter().map(|(number, member)| (*number, &member.node.endpoint.server));
        let home = Ring::new(distribution, servers);
        Members { by_number, distribution, home, detour: RwLock::new(None) }
    }

    pub(crate) fn get(&self, number: usize) -> Option<&Member> {
        self.by_number.get(&number)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (usize, &Member)> {
        self.by_number.iter().map(|(number, member)| (*number, member))
    }

    /// The number of the member that a key belongs to.
    pub(crate) fn home(&self, key: &[u8]) -> usize {
        self.home.place(key)
    }

    /// The number of the member that a key belongs to for as long as others
    /// are out; where all are, its own.
    pub(crate) fn detour(&self, key: &[u8]) -> usize {
        let home = self.home(key);
        if self.get(home).is_none_or(|member| member.node.is_up()) {
            return home;
        }
        let up: Vec<usize> = self.all().filter(|(_, member)| member.node.is_up()).map(|(number, _)| number).collect();
        if up.is_empty() {
            return home;
        }
        if let Some((known, ring)) = &*read(&self.detour)
            && *known == up
        {
            return ring.place(key);
        }
        let servers = up.iter().filter_map(|number| Some((*number, &self.get(*number)?.node.endpoint.server)));
        let ring = Arc::new(Ring::new(self.distribution, servers));
        let number = ring.place(key);
        *write(&self.detour) = Some((up, ring));
        number
    }

    /// The members with this one among them.
    pub(crate) fn with(&self, number: usize, member: Member) -> Self {
        let mut by_number = self.by_number.clone();
        by_number.insert(number, member);
        Members::new(by_number, self.distribution)
    }

    /// The members without this one.
    pub(crate) fn without(&self, number: usize) -> Self {
        let mut by_number = self.by_number.clone();
        by_number.remove(&number);
        Members::new(by_number, self.distribution)
    }

    pub(crate) fn servers(&self) -> impl Iterator<Item = &Server> {
        self.by_number.values().map(|member| &member.node.endpoint.server)
    }

    pub(crate) fn find(&self, server: &Server) -> Option<usize> {
        let is_at = |member: &Member| member.node.endpoint.server.address == server.address;
        self.all().find(|(_, member)| is_at(member)).map(|(number, _)| number)
    }
}
