//! Reads and prints server addresses, in every form of `MEMCACHED_SERVERS`.
//!
//! `net` looks the names up and opens the connections.

pub(crate) mod discovery;

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// A memcached server and its weight in the ring.
///
/// | written as | reached by |
/// |---|---|
/// | `host`, `host:port`, `[v6]`, `[v6]:port`, with `tcp://` or `memcache://` in front | TCP |
/// | the same with `tls://` or `memcache+tls://` in front | TLS |
/// | `/path.sock`, with `unix:`, `unix://` or `memcache://` in front | a unix socket |
///
/// A weight may follow: `/?3` (libmemcached's form) or `?weight=3`. The forms
/// with `memcache` are those of the crate `memcache`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    pub(crate) address: Location,
    /// From 1 to 65,535; 0 is read as 1.
    pub(crate) weight: u32,
}

/// How to reach a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Location {
    /// A host name or an IP address, as written but without brackets.
    Tcp { host: String, port: u16, security: Security },
    /// The absolute path of a Unix socket.
    Unix(String),
}

/// Whether a TCP connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Security {
    Plain,
    Tls,
}

/// The protocol that the servers speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// Asks each server on the first connection to it.
    #[default]
    Auto,
    /// The meta protocol, which memcached has from 1.6.10 on.
    Meta,
    /// The classic text protocol, for older and managed servers and for
    /// proxies such as twemproxy and mcrouter. A miss takes an exchange more, and
    /// `grace` has no effect.
    Ascii,
}

/// How keys are spread over several servers.
///
/// Programs that share a cache must agree on the distribution and on the list
/// of servers. The ring hashes host names as they are written and never
/// resolves them. It leaves the namespace out, as libmemcached and pymemcache
/// leave out their key prefixes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Distribution {
    /// libmemcached's weighted ketama: a server that leaves or joins moves
    /// about its own share of the keys.
    ///
    /// The same as php-memcached with `OPT_LIBKETAMA_COMPATIBLE`, pylibmc with
    /// `ketama_weighted`, and twemproxy with `distribution: ketama` and `hash:
    /// md5`.
    #[default]
    Ketama,
    /// pymemcache's `HashClient` with keys of type `str`: a server that leaves
    /// moves its own keys only. Ignores weights. pymemcache's `key_prefix` is a
    /// namespace with a colon after it.
    Rendezvous,
    /// libmemcached's default, and php-memcached's: the hash of the key modulo
    /// the number of servers, in the order of the list. A server that leaves or
    /// joins moves nearly all keys. Ignores weights.
    Modula,
}

/// Where the keys of a failed server go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Failover {
    /// Nowhere: client calls fail and functions compute. No other server collects
    /// values that no invalidation reaches.
    #[default]
    None,
    /// To the server that would own them without the failed one, until the failed
    /// one returns.
    ///
    /// A server that returns does not serve what it kept from before its failure,
    /// since any process may have overwritten or deleted it elsewhere. Nor does a
    /// stand-in serve what it kept from an earlier outage. The items' numbers (CAS
    /// uniques) tell. Behind a proxy, and on servers that number no items
    /// (`memcached -C`), this process repeats only its own writes and deletes, of up
    /// to 65,536 keys: on such servers, what it wrote elsewhere beyond that may be
    /// served as it was before the failure.
    ///
    /// Each process finds out for itself that a server failed or returned. Until
    /// all have, processes may miss each other's writes: for up to five seconds,
    /// unless [`retry_after`](crate::Builder::retry_after) says otherwise. A process
    /// that alone cannot reach a server may miss writes for as long as that lasts.
    /// Once it can, it deletes there what it wrote or deleted elsewhere, up to 65,536
    /// keys. Other keys are never touched.
    Next,
}

const FORMS: &str = "a list of `host`, `host:port`, `[v6]:port`, `tls://host:port` or `/path.sock`, \
                     each with `?weight=3` after it to give it three shares of the keys";

/// The largest weight. The ring relies on small sums, and more is a typing error.
const MAX_WEIGHT: u32 = 65_535;

/// Why an address is refused. No reason repeats what was written, which may hold
/// a password.
mod reason {
    pub(super) const CREDENTIALS: &str =
        "user and password are set with MEMCACHED_USERNAME and MEMCACHED_PASSWORD, not before `@`";
    pub(super) const UDP: &str = "UDP replies can be forged, and servers have UDP switched off: write `host:port`";
    pub(super) const SCHEME: &str = "only `tcp`, `tls`, `unix`, `memcache` and `memcache+tls` may stand before `://`";
    pub(super) const TLS_SOCKET: &str = "TLS is for `host:port`, not for sockets";
    pub(super) const SOCKET: &str =
        "a socket is the absolute path of a file, in printable ASCII without spaces and commas";
    pub(super) const NO_HOST: &str = "the host is missing";
    pub(super) const HOST: &str = "a host has only letters, digits, `.`, `-` and `_`";
    pub(super) const V6: &str = "an IPv6 address, and nothing else, stands in brackets: `[::1]:11211`";
    pub(super) const PORT: &str = "a port is a number from 1 to 65535";
    pub(super) const WEIGHT: &str = "only a weight from 0 to 65535 may follow `?`, as in `?weight=3` or `/?3`";
    pub(super) const SEPARATOR: &str = "separate servers by commas";
    pub(super) const TWICE: &str = "it is listed twice, with different weights or once with TLS and once without";
}

impl Server {
    pub(crate) const DEFAULT_PORT: u16 = 11211;

    /// Returns the host or the path, which OpenTelemetry calls `server.address`.
    pub(crate) fn host(&self) -> &str {
        match &self.address {
            Location::Tcp { host, .. } => host,
            Location::Unix(path) => path,
        }
    }

    /// Whether its connections use TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn wants_tls(&self) -> bool {
        matches!(self.address, Location::Tcp { security: Security::Tls, .. })
    }

    /// Returns the TCP port; a socket has none.
    pub(crate) fn port(&self) -> Option<u16> {
        match self.address {
            Location::Tcp { port, .. } => Some(port),
            Location::Unix(_) => None,
        }
    }

    /// Reads a list separated by commas or white space. An error says what is
    /// accepted and what was found instead.
    ///
    /// A server that is listed twice in the same way counts once. With two
    /// weights, or once with TLS and once without, the list is refused: either
    /// entry may be the mistake.
    pub(crate) fn list(text: &str) -> Result<Vec<Server>, String> {
        let mut servers: Vec<Server> = Vec::new();
        let items = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|item| !item.is_empty());
        for (index, item) in items.enumerate() {
            let refuse = |why| format!("{FORMS}; {} is refused: {why}", shown(text, index, item));
            let server: Server = item.parse().map_err(refuse)?;
            match servers.iter().find(|other| (other.host(), other.port()) == (server.host(), server.port())) {
                None => servers.push(server),
                Some(same) if *same == server => {}
                Some(_) => return Err(refuse(reason::TWICE)),
            }
        }
        if servers.is_empty() { Err(FORMS.to_owned()) } else { Ok(servers) }
    }
}

/// Names an item of a list in an error. A password may contain commas and
/// spaces: where the list could hold one, shows nothing of it.
fn shown(list: &str, index: usize, item: &str) -> String {
    if list.contains('@') { format!("number {} of the list", index + 1) } else { format!("{item:?}") }
}

impl FromStr for Server {
    /// The reason, which repeats nothing of the text.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, address) = scheme(text);
        // First of all: the password may be what cannot be read.
        if address.contains('@') && !address.starts_with('/') {
            return Err(reason::CREDENTIALS);
        }
        if address.contains(';') && !address.starts_with('/') {
            return Err(reason::SEPARATOR);
        }
        let (address, weight) = match address.split_once('?') {
            None => (address, 1),
            Some((address, query)) => (address.strip_suffix('/').unwrap_or(address), weight(query)?),
        };
        let location = match (scheme, address.starts_with('/')) {
            ("tcp" | "memcache", false) => tcp(address, Security::Plain),
            ("tls" | "memcache+tls", false) => tcp(address, Security::Tls),
            ("unix", _) | ("memcache", true) => unix(address),
            ("tls" | "memcache+tls", true) => Err(reason::TLS_SOCKET),
            ("tcp", true) => Err(reason::NO_HOST),
            ("udp" | "memcache+udp", _) => Err(reason::UDP),
            _ => Err(reason::SCHEME),
        };
        Ok(Server { address: location?, weight })
    }
}

/// Splits the scheme from the address.
fn scheme(text: &str) -> (&str, &str) {
    if text.starts_with('/') {
        return ("unix", text);
    }
    let path = || text.strip_prefix("unix:").map(|path| ("unix", path));
    text.split_once("://").or_else(path).unwrap_or(("tcp", text))
}

fn tcp(address: &str, security: Security) -> Result<Location, &'static str> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => v6(rest)?,
        None => name(address)?,
    };
    let port = match port {
        None => Server::DEFAULT_PORT,
        Some(digits) => number(digits).and_then(|port| port.try_into().ok()).ok_or(reason::PORT)?,
    };
    if port == 0 {
        return Err(reason::PORT);
    }
    Ok(Location::Tcp { host: host.to_owned(), port, security })
}

/// Reads an IPv6 address and its port; the caller took the opening bracket.
fn v6(rest: &str) -> Result<(&str, Option<&str>), &'static str> {
    let (host, rest) = rest.split_once(']').ok_or(reason::V6)?;
    host.parse::<Ipv6Addr>().map_err(|_| reason::V6)?;
    match rest {
        "" => Ok((host, None)),
        rest => rest.strip_prefix(':').map(|port| (host, Some(port))).ok_or(reason::V6),
    }
}

/// Reads any other host and its port.
fn name(address: &str) -> Result<(&str, Option<&str>), &'static str> {
    let (host, port) = address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port)));
    if port.is_some_and(|port| port.contains(':')) {
        return Err(reason::V6);
    }
    if host.is_empty() {
        return Err(reason::NO_HOST);
    }
    let named = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    named.then_some((host, port)).ok_or(reason::HOST)
}

fn unix(path: &str) -> Result<Location, &'static str> {
    let file = path.starts_with('/') && !path.ends_with('/');
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    (file && plain).then(|| Location::Unix(path.to_owned())).ok_or(reason::SOCKET)
}

fn weight(query: &str) -> Result<u32, &'static str> {
    let weight = number(query.strip_prefix("weight=").unwrap_or(query));
    weight.filter(|weight| *weight <= MAX_WEIGHT).map(|weight| weight.max(1)).ok_or(reason::WEIGHT)
}

/// Reads digits only; std would take a plus sign as well.
fn number(digits: &str) -> Option<u32> {
    digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Prints the address alone, without weight and scheme.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Location::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Location::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Location::Unix(path) => f.write_str(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tcp(host: &str, port: u16, security: Security, weight: u32) -> Server {
        Server { address: Location::Tcp { host: host.into(), port, security }, weight }
    }

    fn plain(host: &str, port: u16) -> Server {
        tcp(host, port, Security::Plain, 1)
    }

    fn socket(path: &str, weight: u32) -> Server {
        Server { address: Location::Unix(path.into()), weight }
    }

    #[test]
    fn every_form_is_read() {
        for (text, server) in [
            ("cache", plain("cache", 11211)),
            ("10.0.0.1:11300", plain("10.0.0.1", 11300)),
            ("my_cache-1.example.com", plain("my_cache-1.example.com", 11211)),
            ("[::1]", plain("::1", 11211)),
            ("[::1]:11300", plain("::1", 11300)),
            ("tcp://cache", plain("cache", 11211)),
            ("tcp://[::1]:11300", plain("::1", 11300)),
            ("memcache://cache:11300", plain("cache", 11300)),
            ("tls://cache", tcp("cache", 11211, Security::Tls, 1)),
            ("tls://[::1]:11300?weight=3", tcp("::1", 11300, Security::Tls, 3)),
            ("memcache+tls://cache:11300", tcp("cache", 11300, Security::Tls, 1)),
            ("/run/mc.sock", socket("/run/mc.sock", 1)),
            ("unix:/run/mc.sock", socket("/run/mc.sock", 1)),
            ("unix:///run/mc@1.sock", socket("/run/mc@1.sock", 1)),
            ("memcache:///run/mc.sock", socket("/run/mc.sock", 1)),
            ("/run/mc.sock?weight=3", socket("/run/mc.sock", 3)),
            ("/run/mc.sock/?3", socket("/run/mc.sock", 3)),
            ("cache:11211/?3", tcp("cache", 11211, Security::Plain, 3)),
            ("cache?weight=65535", tcp("cache", 11211, Security::Plain, 65_535)),
            ("cache/?0", plain("cache", 11211)),
        ] {
            assert_eq!(text.parse(), Ok(server), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_for_its_own_reason() {
        for (why, texts) in [
            (reason::NO_HOST, &["", ":", ":1", "tcp://", "tls://:1", "tcp:///run/mc.sock", "memcache://?3"][..]),
            (reason::HOST, &["c%61che", "caché", "a\nb", "a b", "cache/", "a\0"]),
            (reason::PORT, &["cache:", "cache:0", "cache:70000", "[::1]:", "cache:+1", "cache:-1", "tls://cache:x"]),
            (reason::V6, &["a:b:c", "::1", "fe80::1:11211", "[::1", "[x]:1", "[::1]1", "[]", "[127.0.0.1]"]),
            (reason::WEIGHT, &["c/?x", "c/?65536", "c?", "c?weight=", "c?weight=+1", "c?timeout=1", "/s?3&weight=3"]),
            (
                reason::SOCKET,
                &["/", "//", "/run/", "unix:", "unix:mc.sock", "unix://run/mc.sock", "/a b", "/é", "/a,b"],
            ),
            (reason::TLS_SOCKET, &["tls:///run/mc.sock", "memcache+tls:///run/mc.sock"]),
            (reason::UDP, &["udp://cache", "memcache+udp://cache:11211", "udp:///run/mc.sock"]),
            (reason::SCHEME, &["http://cache", "://cache", "TLS://cache", "memcache+unix:///run/mc.sock"]),
            (reason::CREDENTIALS, &["u:pw@cache", "u@cache:1", "memcache://u:p/w?x@cache", "redis://u:pw@cache", "@"]),
        ] {
            for text in texts {
                assert_eq!(text.parse::<Server>(), Err(why), "{text:?}");
            }
        }
    }

    #[test]
    fn a_list_with_semicolons_is_told_of_commas() {
        for list in ["a;b", "a:1;b:2", "[::1]:1;b", "a?weight=3;b", "a; b"] {
            let text = hosts(list).unwrap_err();
            assert!(text.contains("separate servers by commas"), "{text}");
        }
        assert_eq!(hosts("/run/a;b.sock").unwrap(), ["/run/a;b.sock"]);
    }

    fn hosts(list: &str) -> Result<Vec<String>, String> {
        Server::list(list).map(|servers| servers.iter().map(Server::to_string).collect())
    }

    #[test]
    fn a_list_has_commas_or_spaces_and_no_doubles() {
        assert_eq!(hosts("a:1, b  /c,a:1\n[::1]").unwrap(), ["a:1", "b:11211", "/c", "[::1]:11211"]);
        assert_eq!(hosts("a, tcp://a:11211, a/?1, a/?0").unwrap(), ["a:11211"]);
        assert_eq!(hosts(" , "), Err(FORMS.to_owned()));
    }

    #[test]
    fn a_server_described_in_two_ways_is_refused() {
        for list in ["a, a/?2", "a/?2 a", "a, tls://a", "/a /a?weight=2"] {
            assert!(hosts(list).unwrap_err().contains(reason::TWICE), "{list}");
        }
    }

    #[test]
    fn what_is_refused_is_named_with_what_is_accepted() {
        let text = hosts("a, b:0").unwrap_err();
        assert!(text.starts_with(FORMS) && text.ends_with(r#""b:0" is refused: a port is a number from 1 to 65535"#));
    }

    #[test]
    fn credentials_are_never_repeated() {
        // The second password falls apart into items.
        for list in ["ok, joe:s3cret@cache", "ok joe:s3cret,s3cret /s3cret@cache", "ok memcache://joe:s3cret@cache?3"] {
            let text = hosts(list).unwrap_err();
            assert!(!text.contains("s3cret") && !text.contains("joe"), "{text}");
            assert!(text.contains("number 2 of the list"), "{text}");
        }
        assert!(hosts("joe:s3cret@cache").unwrap_err().contains("MEMCACHED_PASSWORD"));
    }

    /// Much that is nearly a server.
    fn nearly() -> impl Strategy<Value = String> {
        let scheme = "(|/|unix:|unix://|tcp://|tls://|memcache://|memcache\\+tls://|udp://)";
        (scheme, r"[a-c\[\]:/.?@,1 é-]{0,12}", r"(|:11211|:0|/|/\?3|\?weight=2|@c)").prop_map(|(a, b, c)| a + &b + &c)
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd_to_be_judged(any in any::<String>(), nearly in nearly()) {
            let _ = (any.parse::<Server>(), Server::list(&any));
            if let Ok(servers) = Server::list(&nearly) {
                prop_assert!(servers.iter().all(|server| server.weight > 0 && server.port() != Some(0)));
            }
        }

        #[test]
        fn what_is_printed_is_read_as_the_same_server(text in nearly()) {
            let Ok(server) = text.parse::<Server>() else { return Ok(()) };
            let again: Server = server.to_string().parse().unwrap();
            prop_assert_eq!((again.host(), again.port()), (server.host(), server.port()));
            let plain = matches!(server.address, Location::Unix(_) | Location::Tcp { security: Security::Plain, .. });
            prop_assert_eq!(again.address == server.address, plain);
        }
    }
}
