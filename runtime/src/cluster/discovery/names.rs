//! Asks the system for the addresses of a name, each of which is a server's.
//!
//! The system does not tell for how long they are valid, and it may take long:
//! this is for the thread that discovers, and not for callers.

use std::net::{IpAddr, ToSocketAddrs};

use super::belief::Listing;
use crate::net::fault::Fault;
use crate::server::{Location, Server};

/// The servers at the addresses of this one's name, in an order that does not
/// depend on the answer's.
pub(super) fn list(named: &Server) -> Result<Listing, Fault> {
    let Location::Tcp { host, port, security } = &named.address else {
        return Err(Fault::unreachable("a path is no name"));
    };
    let found = (host.as_str(), *port).to_socket_addrs();
    let found = found.map_err(|error| Fault::unreachable("the name could not be resolved").because(error))?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(Fault::unreachable("the name has no address"));
    }
    let server = |address: IpAddr| {
        let (host, port, security) = (address.to_string(), *port, *security);
        Server { address: Location::Tcp { host, port, security }, weight: 1 }
    };
    Ok(Listing { version: None, servers: addresses.into_iter().map(server).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_of_a_name_is_a_server_reached_as_the_name_says() {
        let list = list(&"tls://localhost:4711".parse().expect("a server")).expect("a list");
        let is_one = |server: &Server| {
            let is_loopback = server.host().parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
            is_loopback && server.to_string().ends_with(":4711") && format!("{server:?}").contains("Tls")
        };
        assert!(!list.servers.is_empty() && list.servers.iter().all(is_one), "{list:?}");
    }

    #[test]
    fn a_name_without_an_address_is_no_list() {
        let fault = list(&"no-such-host.invalid:1".parse().expect("a server")).expect_err("no list");
        assert!(fault.source.is_some(), "{fault:?}");
    }
}
