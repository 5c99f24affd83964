//! Where a server is: the forms of `MEMCACHED_SERVERS`.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// A memcached server: host, TCP port and weight in the ring.
///
/// Parses `host`, `host:port`, `[v6]` and `[v6]:port`, each with an optional
/// weight as `/?3` or `?weight=3`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) weight: u32,
}

const FORM: &str = "write `host`, `host:port` or `[v6]:port`, with `/?3` behind it for a weight of 3";

/// More would be a slip of the finger; the ring counts on sums staying small.
const MAX_WEIGHT: u32 = 65_535;

impl Server {
    pub(crate) const DEFAULT_PORT: u16 = 11211;

    /// The weight as it counts in the ring, where 0 means 1.
    pub(crate) fn share(&self) -> u32 {
        self.weight.max(1)
    }

    /// Reads a list separated by commas or white space; a server named twice
    /// counts once.
    pub(crate) fn list(text: &str) -> Result<Vec<Server>, Error> {
        let mut servers: Vec<Server> = Vec::new();
        for item in text.split(|c: char| c == ',' || c.is_whitespace()).filter(|item| !item.is_empty()) {
            let server: Server = item.parse()?;
            if !servers.iter().any(|other| other.host == server.host && other.port == server.port) {
                servers.push(server);
            }
        }
        if servers.is_empty() {
            return Err(Error::new(ErrorKind::Configuration, format!("the list of servers is empty; {FORM}")));
        }
        Ok(servers)
    }
}

impl FromStr for Server {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).ok_or_else(|| Error::new(ErrorKind::Configuration, format!("{text:?} is no server; {FORM}")))
    }
}

fn parse(text: &str) -> Option<Server> {
    let (address, weight) = match text.split_once('?') {
        None => (text, 1),
        Some((address, weight)) => {
            let weight = weight.strip_prefix("weight=").unwrap_or(weight);
            (address.strip_suffix('/').unwrap_or(address), weight.parse().ok().filter(|weight| *weight <= MAX_WEIGHT)?)
        }
    };
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, port.strip_prefix(':').or(port.is_empty().then_some("")))
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port).filter(|port| !port.is_empty())),
            None => (address, Some("")),
        },
    };
    let port = match port? {
        "" => Server::DEFAULT_PORT,
        port => port.parse().ok().filter(|port| *port != 0)?,
    };
    let named = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:%".contains(&b));
    named.then(|| Server { host: host.to_owned(), port, weight })
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> Option<(String, u16, u32)> {
        text.parse::<Server>().ok().map(|server| (server.host, server.port, server.weight))
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(server("cache"), Some(("cache".into(), 11211, 1)));
        assert_eq!(server("10.0.0.1:11300"), Some(("10.0.0.1".into(), 11300, 1)));
        assert_eq!(server("[::1]:11300"), Some(("::1".into(), 11300, 1)));
        assert_eq!(server("[::1]"), Some(("::1".into(), 11211, 1)));
        assert_eq!(server("cache:11211/?3"), Some(("cache".into(), 11211, 3)));
        assert_eq!(server("cache:11211?weight=3"), Some(("cache".into(), 11211, 3)));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            ":",
            "cache:",
            "cache:0",
            "cache:70000",
            "a:b:c",
            "[::1",
            "[x]:1",
            "udp://cache",
            "c/?x",
            "c/?65536",
            "a b",
        ] {
            assert_eq!(server(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_list_has_commas_or_spaces_and_no_doubles() {
        let hosts = |text| Server::list(text).map(|list| list.into_iter().map(|s| s.to_string()).collect::<Vec<_>>());
        assert_eq!(hosts("a:1, b  c,a:1").unwrap(), ["a:1", "b:11211", "c:11211"]);
        assert!(hosts(" , ").is_err());
    }
}
