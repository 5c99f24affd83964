//! Auto-discovery, as Amazon ElastiCache has it: a configuration endpoint knows
//! the servers of the cluster, and is asked again and again.
//!
//! One thread for each cluster that is set up so, which ends with the cluster.
//! How the cluster changes its members is the cluster's.

use std::sync::Weak;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::exchange::{Reply, Request, Verb};
use crate::net::connection::Connection;
use crate::net::endpoint::Endpoint;
use crate::net::fault::Fault;
use crate::node::wording::worded;
use crate::server::Server;
use crate::telemetry;
use crate::time::budget::Budget;

/// Where to ask, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Discovery {
    pub(crate) endpoint: Server,
    pub(crate) every: Duration,
}

/// What has the members that a configuration endpoint names.
pub(crate) trait Discovered: Send + Sync + 'static {
    /// The way to a server of this kind, outside of the pools.
    fn endpoint(&self, server: &Server) -> Endpoint;

    /// Replaces the members by exactly these servers.
    fn change_to(&self, servers: &[Server]) -> Result<(), Error>;
}

/// For one question and its answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How soon the thread notices that its cluster has ended.
const STEP: Duration = Duration::from_millis(100);

/// Keeps the members of a cluster as the endpoint names them. On trouble that is
/// told, and the members stay as they were.
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
    let mut known = 0;
    while let Some(strong) = cluster.upgrade() {
        match update(&*strong, &discovery.endpoint, known) {
            Ok(version) => known = version,
            Err(error) => telemetry::announce_undiscovered(&error),
        }
        drop(strong);
        let steps = discovery.every.as_nanos().div_ceil(STEP.as_nanos());
        for _ in 0..steps {
            if cluster.strong_count() == 0 {
                return;
            }
            std::thread::sleep(STEP.min(discovery.every));
        }
    }
}

/// Asks the endpoint once, and takes over a list that is newer than the known
/// one; the version that is known then.
fn update(cluster: &impl Discovered, server: &Server, known: u64) -> Result<u64, Error> {
    let (version, servers) = ask(cluster, server)?;
    if version <= known {
        return Ok(known);
    }
    cluster.change_to(&servers)?;
    Ok(version)
}

/// Asks the endpoint for its list.
fn ask(cluster: &impl Discovered, server: &Server) -> Result<(u64, Vec<Server>), Error> {
    list(&cluster.endpoint(server)).map_err(|fault| worded(server, Verb::Stats, fault))
}

/// Asks the endpoint for the version and the servers of its list.
fn list(endpoint: &Endpoint) -> Result<(u64, Vec<Server>), Fault> {
    let deadline = Budget::new(PATIENCE, PATIENCE).deadline();
    let mut connection = Connection::dial(endpoint, deadline)?;
    let ticket = connection.write(&Request::Servers)?;
    connection.flush(deadline)?;
    match connection.receive(ticket, deadline)?? {
        Reply::Text(text) => parse(&text).ok_or_else(|| ErrorKind::Protocol.into()),
        _ => Err(ErrorKind::Protocol.into()),
    }
}

/// `<version>\n<host|ip|port> <host|ip|port>…\n`
fn parse(text: &str) -> Option<(u64, Vec<Server>)> {
    let mut lines = text.lines();
    let version = lines.next()?.trim().parse().ok()?;
    let server = |item: &str| {
        let mut parts = item.split('|');
        let (host, address, port) = (parts.next()?, parts.next()?, parts.next()?);
        // The name is hashed, as other clients do it; without one, the address.
        let host = if host.is_empty() { address } else { host };
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        format!("{host}:{port}").parse::<Server>().ok()
    };
    let servers = lines.next()?.split_whitespace().map(server).collect::<Option<Vec<_>>>()?;
    (!servers.is_empty()).then_some((version, servers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_servers_is_read() {
        let (version, servers) = parse("12\na.example|10.0.0.1|11211 |10.0.0.2|11212\n").expect("a list");
        let names: Vec<String> = servers.iter().map(ToString::to_string).collect();
        assert_eq!((version, names), (12, vec!["a.example:11211".to_owned(), "10.0.0.2:11212".to_owned()]));
    }

    #[test]
    fn anything_else_is_refused_as_a_whole() {
        for text in ["", "x\na|b|1", "1\n", "1\na|b|0", "1\na|b", "1\na|b|1 c"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
