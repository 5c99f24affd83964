//! Auto-discovery: a configuration endpoint or a name knows the servers of the
//! cluster, and is asked again and again.
//!
//! One thread for each cluster that is set up so, which ends with the cluster.
//! How the cluster changes its members is the cluster's.

mod belief;
mod endpoint;
mod names;

use std::sync::Weak;
use std::time::Duration;

use self::belief::{Believed, Listing, News};
use crate::error::{Error, ErrorKind};
use crate::exchange::Verb;
use crate::net::endpoint::Endpoint;
use crate::net::fault::Fault;
use crate::node::wording::worded;
use crate::server::Server;
use crate::server::discovery::{Discovery, Source};
use crate::telemetry;
use crate::time::servant::survive;

/// What has the members that are discovered.
pub(crate) trait Discovered: Send + Sync + 'static {
    /// The way to a server of this kind, outside of the pools.
    fn endpoint(&self, server: &Server) -> Endpoint;

    /// Replaces the members by exactly these servers. Those that leave still answer what
    /// was assigned to them before.
    fn change_to(&self, servers: &[Server]) -> Result<(), Error>;

    /// Parts with the members that have left.
    fn settle(&self);
}

/// How soon the thread notices that its cluster has ended.
const STEP: Duration = Duration::from_millis(100);

/// Keeps the members of a cluster as they are named. On trouble that is told, and
/// the members stay as they were.
pub(crate) fn start<D: Discovered>(cluster: Weak<D>, discovery: Discovery) {
    let thread = std::thread::Builder::new().name("memocached-discovery".into());
    let spawned = thread.spawn(move || run(&cluster, &discovery));
    if let Err(error) = spawned {
        let message = "no thread for auto-discovery";
        telemetry::announce_undiscovered(&Error::new(ErrorKind::Configuration, message).with_source(error));
    }
}

/// Updates the cluster again and again, for as long as it lives.
fn run<D: Discovered>(cluster: &Weak<D>, discovery: &Discovery) {
    let (mut known, mut is_failing) = (Believed::default(), false);
    while let Some(endpoint) = cluster.upgrade().map(|strong| strong.endpoint(&discovery.endpoint)) {
        // Telling of it runs other people's code.
        let updated = survive(|| update(cluster, &endpoint, discovery.source, &mut known)).unwrap_or(Ok(()));
        // Once for each time that it begins to fail.
        if let (Err(error), false) = (&updated, is_failing) {
            survive(|| telemetry::announce_undiscovered(error));
        }
        is_failing = updated.is_err();
        let steps = discovery.every.as_nanos().div_ceil(STEP.as_nanos());
        for _ in 0..steps {
            std::thread::sleep(STEP.min(discovery.every));
            let Some(cluster) = cluster.upgrade() else { return };
            cluster.settle();
        }
    }
}

/// Asks once, and takes over the list if that is to be believed. An answer may take
/// long, and does not keep the cluster alive.
fn update<D: Discovered>(
    cluster: &Weak<D>,
    endpoint: &Endpoint,
    source: Source,
    known: &mut Believed,
) -> Result<(), Error> {
    let named = &endpoint.server;
    let list = list(endpoint, source).map_err(|fault| worded(named, Verb::Stats, fault))?;
    let news = known.weigh(&list);
    let Some(cluster) = cluster.upgrade().filter(|_| news != News::None) else { return Ok(()) };
    cluster.change_to(&list.servers)?;
    let version = list.version.filter(|_| news == News::Unnumbered);
    known.believe(list);
    if let Some(version) = version {
        telemetry::announce_renumbered(&named.to_string(), version);
    }
    Ok(())
}

/// Asks for the list of servers.
fn list(endpoint: &Endpoint, source: Source) -> Result<Listing, Fault> {
    match source {
        Source::ElastiCache | Source::Memorystore => endpoint::list(endpoint, source),
        Source::Name => names::list(&endpoint.server),
    }
}
