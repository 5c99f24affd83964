//! Asks a configuration endpoint for its list, as Amazon ElastiCache and Google
//! Cloud's Memorystore have it.

use std::time::Duration;

use super::belief::Listing;
use crate::error::ErrorKind;
use crate::exchange::{Reply, Request};
use crate::net::connection::Connection;
use crate::net::endpoint::Endpoint;
use crate::net::fault::Fault;
use crate::server::discovery::Source;
use crate::server::{Location, Security, Server};
use crate::time::budget::Budget;

/// For one question and its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks for the version and the servers of the list.
pub(super) fn list(endpoint: &Endpoint, source: Source) -> Result<Listing, Fault> {
    let deadline = Budget::new(PATIENCE, PATIENCE).deadline();
    let mut connection = Connection::dial(endpoint, deadline)?;
    let ticket = connection.send_one(&Request::Servers, deadline)?;
    match connection.receive(ticket, deadline)?? {
        Reply::Text(text) => parse(&text, &endpoint.server, source).ok_or_else(|| ErrorKind::Protocol.into()),
        _ => Err(ErrorKind::Protocol.into()),
    }
}

/// Reads `<version>\n<host|ip|port> <host|ip|port>…\n`. The servers are reached
/// as the endpoint is: in the clear, or by TLS.
fn parse(text: &str, endpoint: &Server, source: Source) -> Option<Listing> {
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
    let mut servers = lines.next()?.split_whitespace().map(server).collect::<Option<Vec<_>>>()?;
    servers.retain(|server| source != Source::Memorystore || server.address != endpoint.address);
    (!servers.is_empty()).then_some(Listing { version: Some(version), servers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, endpoint: &str) -> Option<Listing> {
        parse(text, &endpoint.parse().expect("a server"), Source::ElastiCache)
    }

    #[test]
    fn a_list_of_servers_is_read() {
        let list = read("12\na.example|10.0.0.1|11211 |10.0.0.2|11212\n", "cfg:1").expect("a list");
        let names: Vec<String> = list.servers.iter().map(ToString::to_string).collect();
        assert_eq!((list.version, names), (Some(12), vec!["a.example:11211".to_owned(), "10.0.0.2:11212".to_owned()]));
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
    fn of_memorystore_the_endpoint_is_no_server_whatever_it_lists() {
        let endpoint = "tls://10.0.0.1:11211".parse().expect("a server");
        let read = |text, source| parse(text, &endpoint, source).map(|list| list.servers.len());
        let [both, alone] = ["1\n|10.0.0.1|11211 |10.0.0.2|11211\n", "1\n10.0.0.1|10.0.0.1|11211\n"];
        assert_eq!([both, alone].map(|text| read(text, Source::ElastiCache)), [Some(2), Some(1)]);
        assert_eq!([both, alone].map(|text| read(text, Source::Memorystore)), [Some(1), None]);
    }
}
