//! Which nodes are in a cluster, and which of them keys belong to while some
//! are out.
//!
//! A snapshot: members that come and go make a new one. Asks no node. A
//! member's number is never used again, so that one from an older snapshot
//! names the same member or none.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, RwLock, Weak};

use crate::cluster::failover::journal::Journal;
use crate::cluster::failover::watermark::Watermark;
use crate::cluster::moves::{Former, Moves, RingKey};
use crate::cluster::ring::Ring;
use crate::exchange::EVERYWHERE;
use crate::net::endpoint::Endpoint;
use crate::node::Node;
use crate::node::breaker::{Pauses, Turn};
use crate::node::prober::Probed;
use crate::server::{Distribution, Failover, Server};
use crate::sync::{read, write};
use crate::telemetry::peer::Peer;

/// One node as a member of a cluster, and what it takes to come back after an
/// outage.
pub(crate) struct Member {
    pub(crate) node: Node,
    pub(crate) peer: &'static Peer,
    pub(crate) failover: Failover,
    /// What has been written elsewhere while the node was out.
    pub(crate) journal: Journal,
    /// What the node has from before it came back is out of date.
    pub(crate) watermark: Watermark,
}

impl Member {
    /// Creates a member without connections.
    pub(crate) fn new(endpoint: Endpoint, pool_size: usize, pauses: Pauses, failover: Failover) -> Arc<Self> {
        let peer = Peer::at(endpoint.server.host(), endpoint.server.port());
        Arc::new_cyclic(|this: &Weak<Member>| {
            let target: Weak<dyn Probed> = this.clone();
            Member {
                node: Node::new(endpoint, pool_size, pauses, target, peer),
                peer,
                failover,
                journal: Journal::default(),
                watermark: Watermark::default(),
            }
        })
    }
}

impl Member {
    /// Returns the server's own number of an item that a lookup has found.
    pub(crate) fn own_number(&self, number: u64) -> u64 {
        self.node.endpoint.lives.now().cas(number)
    }
}

/// How keys are spread over the members.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) distribution: Distribution,
    pub(crate) failover: Failover,
    /// What stands in front of keys and does not count: the namespace.
    pub(crate) prefix: String,
}

/// The members by number, and the rings over them.
pub(crate) struct Members {
    by_number: BTreeMap<usize, Arc<Member>>,
    rules: Rules,
    /// Over all of them.
    home: Arc<Ring>,
    /// How their keys have come to them.
    moves: Moves,
    /// Those that have just left. No key is theirs, but they are asked what was assigned
    /// to them before.
    leaving: BTreeMap<usize, Arc<Member>>,
    /// As it was when it was last asked for.
    detour: RwLock<Option<Arc<Detour>>>,
}

/// Where keys go until the next member goes out or comes back.
pub(crate) struct Detour {
    /// Of all members.
    turns: Vec<Turn>,
    /// Over those that are up.
    ring: Ring,
    /// Of those that are up: what they had before, under keys that are not
    /// theirs, is of earlier detours.
    watermarks: BTreeMap<usize, OnceLock<Watermark>>,
}

impl Detour {
    /// Returns from which number on this member's items count, once that has been found out.
    pub(crate) fn watermark(&self, number: usize) -> Option<&OnceLock<Watermark>> {
        self.watermarks.get(&number)
    }
}

impl Members {
    /// Members that keys are spread over by these rules.
    pub(crate) fn new(by_number: BTreeMap<usize, Arc<Member>>, rules: Rules) -> Self {
        let servers = by_number.iter().map(|(number, member)| (*number, &member.node.endpoint.server));
        let home = Arc::new(Ring::new(rules.distribution, servers));
        let (moves, leaving) = (Moves::default(), BTreeMap::new());
        Members { by_number, rules, home, moves, leaving, detour: RwLock::new(None) }
    }

    /// Returns the member of this number.
    pub(crate) fn get(&self, number: usize) -> Option<&Arc<Member>> {
        self.by_number.get(&number).or_else(|| self.leaving.get(&number))
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// Returns all members with their numbers.
    pub(crate) fn all(&self) -> impl Iterator<Item = (usize, &Arc<Member>)> {
        self.by_number.iter().map(|(number, member)| (*number, member))
    }

    /// Returns the number of the member to ask about a key.
    pub(crate) fn locate(&self, key: &str) -> usize {
        match self.rules.failover {
            Failover::None => self.home(key),
            Failover::Next => self.away(key),
        }
    }

    /// Returns the number of the member that a key belongs to.
    pub(crate) fn home(&self, key: &str) -> usize {
        self.home.owner(self.name_of(key))
    }

    /// Whether a key belongs to the member with this number, as those of the items do that
    /// each member has.
    pub(crate) fn is_home(&self, key: &str, number: usize) -> bool {
        self.home(key) == number || key.starts_with(EVERYWHERE)
    }

    /// Returns what of a key tells where it belongs.
    fn ring_key<'a>(&self, key: &'a str) -> RingKey<'a> {
        if key.starts_with(EVERYWHERE) { RingKey::Everywhere } else { RingKey::Name(self.name_of(key)) }
    }

    /// Whether any key has come from another member.
    pub(crate) fn have_moved(&self) -> bool {
        !self.moves.is_empty()
    }

    /// Whether a key has come to the member with this number from another.
    pub(crate) fn has_moved(&self, key: &str, number: usize) -> bool {
        self.have_moved() && self.moves.have_brought(number, self.ring_key(key))
    }

    /// Whether the member has an item of this number from before another had its key.
    pub(crate) fn is_passed(&self, key: &str, number: usize, item: u64) -> bool {
        self.have_moved() && self.moves.have_passed(number, self.ring_key(key), item)
    }

    /// Returns the watermark that is missing for one of these keys, if it has come from another
    /// member.
    pub(crate) fn unmarked<'a>(
        &self,
        number: usize,
        keys: impl Iterator<Item = &'a str>,
    ) -> Option<&OnceLock<Watermark>> {
        self.moves.unmarked(number, keys.map(|key| self.ring_key(key)))
    }

    /// Returns the watermarks of a member that changes have set.
    pub(crate) fn watermarks(&self, number: usize) -> impl Iterator<Item = &Watermark> {
        self.moves.watermarks(number)
    }

    /// Returns what of a key counts for the ring.
    fn name_of<'a>(&self, key: &'a str) -> &'a [u8] {
        // To compare with nothing is slow on CPUs that read it masked.
        let prefix = &self.rules.prefix;
        let name = if prefix.is_empty() { key } else { key.strip_prefix(prefix).unwrap_or(key) };
        name.as_bytes()
    }

    /// Returns the number of the member that a key belongs to for as long as others are out;
    /// where all are, its own.
    fn away(&self, key: &str) -> usize {
        let home = self.home(key);
        if self.get(home).is_none_or(|member| member.node.is_up()) {
            return home;
        }
        self.detour().map_or(home, |detour| detour.ring.owner(self.name_of(key)))
    }

    /// Returns where keys go now, if some members are out but not all.
    pub(crate) fn detour(&self) -> Option<Arc<Detour>> {
        let turns: Vec<Turn> = self.all().map(|(_, member)| member.node.breaker.turn()).collect();
        let ups = turns.iter().filter(|turn| turn.is_up()).count();
        if ups == turns.len() || ups == 0 {
            return None;
        }
        if let Some(known) = &*read(&self.detour)
            && known.turns == turns
        {
            return Some(Arc::clone(known));
        }
        let up: Vec<_> = self.all().zip(&turns).filter(|(_, turn)| turn.is_up()).map(|(member, _)| member).collect();
        let servers = up.iter().map(|(number, member)| (*number, &member.node.endpoint.server));
        let ring = Ring::new(self.rules.distribution, servers);
        let watermarks = up.iter().map(|(number, _)| (*number, OnceLock::new())).collect();
        let detour = Arc::new(Detour { turns, ring, watermarks });
        *write(&self.detour) = Some(Arc::clone(&detour));
        Some(detour)
    }

    /// Returns other members, under the same rules. The first there are find their keys as they
    /// are; later, keys move.
    pub(crate) fn changed_to(&self, by_number: BTreeMap<usize, Arc<Member>>) -> Self {
        let mut moves = Moves::default();
        if !self.is_empty() {
            let former = Former { ring: Arc::clone(&self.home), numbers: self.by_number.keys().copied().collect() };
            moves = self.moves.and(former, by_number.keys().copied());
        }
        let mut leaving = self.by_number.clone();
        leaving.retain(|number, _| !by_number.contains_key(number));
        Members { moves, leaving, ..Members::new(by_number, self.rules.clone()) }
    }

    /// The same members, if there are some that are leaving, without them.
    pub(crate) fn settled(&self) -> Option<Self> {
        (!self.leaving.is_empty()).then(|| self.chosen(self.by_number.clone()))
    }

    /// Members whose keys are taken as they are.
    fn chosen(&self, by_number: BTreeMap<usize, Arc<Member>>) -> Self {
        Members { moves: self.moves.clone(), ..Members::new(by_number, self.rules.clone()) }
    }

    /// Returns the members with this one among them.
    pub(crate) fn with(&self, number: usize, member: Arc<Member>) -> Self {
        let mut by_number = self.by_number.clone();
        by_number.insert(number, member);
        self.chosen(by_number)
    }

    /// Returns the members without this one.
    pub(crate) fn without(&self, number: usize) -> Self {
        let mut by_number = self.by_number.clone();
        by_number.remove(&number);
        self.chosen(by_number)
    }

    /// Returns the number of the member at this server's address.
    pub(crate) fn find(&self, server: &Server) -> Option<usize> {
        let is_at = |member: &Arc<Member>| member.node.endpoint.server.address == server.address;
        self.all().find(|(_, member)| is_at(member)).map(|(number, _)| number)
    }
}
