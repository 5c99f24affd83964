//! Auto-discovery, as Amazon ElastiCache has it: a configuration endpoint knows
//! the servers of the cluster, and is asked again and again.
//!
//! One thread for each cluster that is set up so, which ends with the cluster.
//! How the cluster changes its members is the cluster's.

use std::collections::HashSet;
use std::sync::Weak;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::exchange::{Reply, Request, Verb};
use crate::net::connection::Connection;
use crate::net::endpoint::Endpoint;
use crate::net::fault::Fault;
use crate::node::wording::worded;
use crate::server::{Discovery, Location, Security, Server};
use crate::telemetry;
use crate::time::budget::Budget;

/// What has the members that a configuration endpoint names.
pub(crate) trait Discovered: Send + Sync + 'static {
    /// Returns the way to a server of this kind, outside of the pools.
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
    let (mut known, mut is_failing) = (Believed::default(), false);
    while let Some(strong) = cluster.upgrade() {
        let updated = update(&*strong, &discovery.endpoint, &mut known);
        drop(strong);
        // Once for each time that it begins to fail.
        if let (Err(error), false) = (&updated, is_failing) {
            telemetry::announce_undiscovered(error);
        }
        is_failing = updated.is_err();
        let steps = discovery.every.as_nanos().div_ceil(STEP.as_nanos());
        for _ in 0..steps {
            if cluster.strong_count() == 0 {
                return;
            }
            std::thread::sleep(STEP.min(discovery.every));
        }
    }
}

/// Asks the endpoint once, and takes over its list if that is to be believed.
fn update(cluster: &impl Discovered, server: &Server, known: &mut Believed) -> Result<(), Error> {
    let list = list(&cluster.endpoint(server)).map_err(|fault| worded(server, Verb::Stats, fault))?;
    let news = known.weigh(&list);
    if news == News::None {
        return Ok(());
    }
    cluster.change_to(&list.servers)?;
    if news == News::Unnumbered {
        telemetry::announce_renumbered(&server.to_string(), list.version);
    }
    *known = Believed { list: Some(list), doubted: None };
    Ok(())
}

/// What an endpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listing {
    version: u64,
    servers: Vec<Server>,
}

/// The list that the members come from.
#[derive(Default)]
struct Believed {
    list: Option<Listing>,
    /// An older one, which the endpoint said last.
    doubted: Option<Listing>,
}

/// What is new in a list.
#[derive(Debug, PartialEq, Eq)]
enum News {
    None,
    Newer,
    /// It differs though its version is not higher.
    Unnumbered,
}

impl Believed {
    /// Judges a list. Of several endpoints behind one name, the newest is right. One
    /// that was restarted counts from the start again: an older list is believed
    /// once it has been said twice in a row.
    fn weigh(&mut self, heard: &Listing) -> News {
        let doubted = self.doubted.take();
        let Some(known) = &self.list else { return News::Newer };
        if heard.version > known.version {
            return News::Newer;
        }
        let is_same = HashSet::<&Server>::from_iter(&heard.servers) == HashSet::from_iter(&known.servers);
        let is_sure = heard.version == known.version || doubted.as_ref() == Some(heard);
        match (heard.version == known.version && is_same, is_sure) {
            (true, _) => News::None,
            (false, true) => News::Unnumbered,
            (false, false) => {
                self.doubted = Some(heard.clone());
                News::None
            }
        }
    }
}

/// Asks the endpoint for the version and the servers of its list.
fn list(endpoint: &Endpoint) -> Result<Listing, Fault> {
    let deadline = Budget::new(PATIENCE, PATIENCE).deadline();
    let mut connection = Connection::dial(endpoint, deadline)?;
    let ticket = connection.send_one(&Request::Servers, deadline)?;
    match connection.receive(ticket, deadline)?? {
        Reply::Text(text) => parse(&text, &endpoint.server).ok_or_else(|| ErrorKind::Protocol.into()),
        _ => Err(ErrorKind::Protocol.into()),
    }
}

/// Reads `<version>\n<host|ip|port> <host|ip|port>…\n`. The servers are reached
/// as the endpoint is: in the clear, or by TLS.
fn parse(text: &str, endpoint: &Server) -> Option<Listing> {
    let mut lines = text.lines();
    let version = lines.next()?.trim().parse().ok()?;
    let scheme = match endpoint.address {
        Location::Tcp { security: Security::Tls, .. } => "tls",
        _ => "tcp",
    };
    let server = |item: &str| {
        let mut parts = item.split('|');
        let (host, address, port) = (parts.next()?, parts.next()?, parts.next()?);
        // The name is hashed, as other clients do it; without one, the address.
        let host = if host.is_empty() { address } else { host };
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        format!("{scheme}://{host}:{port}").parse::<Server>().ok()
    };
    let servers = lines.next()?.split_whitespace().map(server).collect::<Option<Vec<_>>>()?;
    (!servers.is_empty()).then_some(Listing { version, servers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, endpoint: &str) -> Option<Listing> {
        parse(text, &endpoint.parse().expect("a server"))
    }

    #[test]
    fn a_list_of_servers_is_read() {
        let list = read("12\na.example|10.0.0.1|11211 |10.0.0.2|11212\n", "cfg:1").expect("a list");
        let names: Vec<String> = list.servers.iter().map(ToString::to_string).collect();
        assert_eq!((list.version, names), (12, vec!["a.example:11211".to_owned(), "10.0.0.2:11212".to_owned()]));
    }

    #[test]
    fn servers_are_reached_as_their_endpoint_is() {
        for endpoint in ["cfg:1", "tls://cfg:1"] {
            let list = read("1\na|10.0.0.1|11211 |::1|11212\n", endpoint).expect("a list");
            let is_alike = |server: &Server| match (&server.address, endpoint.starts_with("tls")) {
                (Location::Tcp { security, .. }, is_tls) => (*security == Security::Tls) == is_tls,
                _ => false,
            };
            assert!(list.servers.iter().all(is_alike), "{list:?}");
        }
    }

    #[test]
    fn anything_else_is_refused_as_a_whole() {
        for text in ["", "x\na|b|1", "1\n", "1\na|b|0", "1\na|b", "1\na|b|1 c"] {
            assert_eq!(read(text, "cfg:1"), None, "{text:?}");
        }
    }

    #[test]
    fn an_older_list_is_believed_when_it_is_said_twice_in_a_row() {
        let list = |version, ports: &str| read(&format!("{version}\n{ports}"), "cfg:1").expect("a list");
        let mut known = Believed { list: Some(list(4, "a|b|4 a|b|5")), doubted: None };
        for (heard, news) in [
            (list(4, "a|b|5 a|b|4"), News::None),
            (list(3, "a|b|3"), News::None),
            (list(4, "a|b|4 a|b|5"), News::None),
            (list(3, "a|b|3"), News::None),
            (list(3, "a|b|2"), News::None),
            (list(3, "a|b|2"), News::Unnumbered),
            (list(4, "a|b|4"), News::Unnumbered),
            (list(5, "a|b|4"), News::Newer),
        ] {
            assert_eq!(known.weigh(&heard), news, "{heard:?}");
        }
    }
}
