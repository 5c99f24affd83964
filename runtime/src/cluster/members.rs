//! Who is in a cluster, and where keys belong with some of them out.
//!
//! A snapshot: members that come and go make a new one. Numbers of members are
//! never used again, so that one from an older snapshot names the same member
//! or nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, RwLock};

use crate::cluster::failover::watermark::Mark;
use crate::cluster::ring::Ring;
use crate::node::Node;
use crate::server::{Distribution, Failover, Server};
use crate::sync::{read, write};
use crate::telemetry::peer::Peer;

/// One node as a member of a cluster.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) node: Arc<Node>,
    pub(crate) peer: &'static Peer,
}

/// How keys are spread over the members.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) distribution: Distribution,
    pub(crate) failover: Failover,
    /// What keys have in front that does not count: the namespace.
    pub(crate) prefix: String,
}

/// The members by number, and the rings over them.
pub(crate) struct Members {
    by_number: BTreeMap<usize, Member>,
    rules: Rules,
    /// Over all of them.
    home: Ring,
    /// As it was when it was last asked for.
    detour: RwLock<Option<Arc<Detour>>>,
}

/// Where keys go for as long as none goes out or comes back.
pub(crate) struct Detour {
    /// Of all members.
    turns: Vec<u64>,
    /// Over those that are up.
    ring: Ring,
    /// What those had before, under keys that are not theirs, is of earlier
    /// detours.
    marks: BTreeMap<usize, OnceLock<Mark>>,
}

impl Detour {
    /// From when on what this member has counts, once that has been found out.
    pub(crate) fn mark(&self, number: usize) -> Option<&OnceLock<Mark>> {
        self.marks.get(&number)
    }
}

impl Members {
    pub(crate) fn new(by_number: BTreeMap<usize, Member>, rules: Rules) -> Self {
        let servers = by_number.iter().map(|(number, member)| (*number, &member.node.endpoint.server));
        let home = Ring::new(rules.distribution, servers);
        Members { by_number, rules, home, detour: RwLock::new(None) }
    }

    pub(crate) fn get(&self, number: usize) -> Option<&Member> {
        self.by_number.get(&number)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (usize, &Member)> {
        self.by_number.iter().map(|(number, member)| (*number, member))
    }

    /// The number of the member to ask about a key.
    pub(crate) fn place(&self, key: &str) -> usize {
        match self.rules.failover {
            Failover::None => self.home(key),
            Failover::Next => self.away(key),
        }
    }

    /// The number of the member that a key belongs to.
    pub(crate) fn home(&self, key: &str) -> usize {
        self.home.place(self.name_of(key))
    }

    /// What of a key counts for the ring.
    fn name_of<'a>(&self, key: &'a str) -> &'a [u8] {
        // To compare with nothing is slow on CPUs that read it masked.
        let prefix = &self.rules.prefix;
        let name = if prefix.is_empty() { key } else { key.strip_prefix(prefix).unwrap_or(key) };
        name.as_bytes()
    }

    /// The number of the member that a key belongs to for as long as others
    /// are out; where all are, its own.
    fn away(&self, key: &str) -> usize {
        let home = self.home(key);
        if self.get(home).is_none_or(|member| member.node.is_up()) {
            return home;
        }
        self.detour().map_or(home, |detour| detour.ring.place(self.name_of(key)))
    }

    /// Where keys go now, if some members are out but not all.
    pub(crate) fn detour(&self) -> Option<Arc<Detour>> {
        let turns: Vec<u64> = self.all().map(|(_, member)| member.node.breaker.turns()).collect();
        let is_up = |turns: &u64| turns.is_multiple_of(2);
        if turns.iter().all(is_up) || !turns.iter().any(is_up) {
            return None;
        }
        if let Some(known) = &*read(&self.detour)
            && known.turns == turns
        {
            return Some(Arc::clone(known));
        }
        let up: Vec<_> = self.all().zip(&turns).filter(|(_, turns)| is_up(turns)).map(|(member, _)| member).collect();
        let servers = up.iter().map(|(number, member)| (*number, &member.node.endpoint.server));
        let ring = Ring::new(self.rules.distribution, servers);
        let marks = up.iter().map(|(number, _)| (*number, OnceLock::new())).collect();
        let detour = Arc::new(Detour { turns, ring, marks });
        *write(&self.detour) = Some(Arc::clone(&detour));
        Some(detour)
    }

    /// Other members, under the same rules.
    pub(crate) fn changed_to(&self, by_number: BTreeMap<usize, Member>) -> Self {
        Members::new(by_number, self.rules.clone())
    }

    /// The members with this one among them.
    pub(crate) fn with(&self, number: usize, member: Member) -> Self {
        let mut by_number = self.by_number.clone();
        by_number.insert(number, member);
        self.changed_to(by_number)
    }

    /// The members without this one.
    pub(crate) fn without(&self, number: usize) -> Self {
        let mut by_number = self.by_number.clone();
        by_number.remove(&number);
        self.changed_to(by_number)
    }

    pub(crate) fn find(&self, server: &Server) -> Option<usize> {
        let is_at = |member: &Member| member.node.endpoint.server.address == server.address;
        self.all().find(|(_, member)| is_at(member)).map(|(number, _)| number)
    }
}
