//! Reads where a list of servers comes from, in every form of
//! `MEMCACHED_DISCOVERY`.
//!
//! `cluster/discovery` asks for the list.

use std::net::IpAddr;
use std::time::Duration;

use super::Server;

/// Where the list of servers comes from, if it is not written down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "servers"), allow(dead_code, reason = "clusters alone ask"))]
pub(crate) struct Discovery {
    pub(crate) source: Source,
    /// The endpoint to ask. Of a name, the servers' port and security.
    pub(crate) endpoint: Server,
    /// The time between two questions.
    pub(crate) every: Duration,
}

/// What names the servers.
///
/// | written as | names |
/// |---|---|
/// | `elasticache://host:port`, or just `host:port` | what a configuration endpoint of Amazon ElastiCache lists |
/// | `gcp://host:port` | what a discovery endpoint of Google Cloud's Memorystore lists |
/// | `dns://name:port` | a server at each address of a name |
///
/// With `+tls` before `://`, all are reached by TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    ElastiCache,
    /// Such an endpoint is no server, even if it should list itself.
    Memorystore,
    Name,
}

const FORMS: &str = "`elasticache://host:port`, `gcp://host:port` or `dns://name:port`, each with `+tls` before `://` \
                     for TLS; or the `host:port` or `tls://host:port` of a configuration endpoint";

/// Why it is refused. No reason repeats what was written, which may hold a
/// password.
mod reason {
    pub(super) const SCHEME: &str =
        "only `elasticache`, `gcp` and `dns`, with or without `+tls`, `tcp` and `tls` may stand before `://`";
    pub(super) const SERVICE: &str =
        "the system does not look up SRV records: write `dns://name:port`, with the port of the servers";
    pub(super) const LIST: &str = "it is one endpoint or one name, not a list";
    pub(super) const REST: &str = "it has a host and a port, and neither a path nor a query";
    pub(super) const NO_PORT: &str = "the port is missing";
    pub(super) const ADDRESS: &str = "an address stands for itself alone: write a name, or set MEMCACHED_SERVERS";
}

impl Discovery {
    /// How long from one question to the next, by default.
    const EVERY: Duration = Duration::from_secs(60);

    /// Reads what names the servers, which is asked every minute. An error says what
    /// is accepted.
    pub(crate) fn named(text: &str) -> Result<Self, String> {
        let (source, endpoint) = read(text).map_err(|why| format!("{FORMS}; it is refused: {why}"))?;
        Ok(Discovery { source, endpoint, every: Discovery::EVERY })
    }

    /// The name that the certificates of the servers are for, where they are listed
    /// by their addresses.
    #[cfg(feature = "tls")]
    pub(crate) fn certified_name(&self) -> Option<&str> {
        (self.source == Source::Name).then(|| self.endpoint.host())
    }
}

fn read(text: &str) -> Result<(Source, Server), &'static str> {
    let (scheme, address) = text.split_once("://").unwrap_or(("", text));
    // A password may have any of these; that there is one is told below.
    let has = |any: [char; 2]| !text.contains('@') && address.contains(any);
    if has([',', ' ']) {
        return Err(reason::LIST);
    }
    if has(['/', '?']) {
        return Err(reason::REST);
    }
    let (kind, way) = match scheme.strip_suffix("+tls") {
        Some(kind) => (kind, "tls"),
        None => (scheme, "tcp"),
    };
    let source = match kind {
        "elasticache" => Source::ElastiCache,
        "gcp" => Source::Memorystore,
        "dns" => Source::Name,
        "dnssrv" => return Err(reason::SERVICE),
        "" | "tcp" | "tls" | "memcache" => return Ok((Source::ElastiCache, text.parse()?)),
        _ => return Err(reason::SCHEME),
    };
    let endpoint: Server = format!("{way}://{address}").parse()?;
    if address.ends_with(']') || !address.contains(':') {
        return Err(reason::NO_PORT);
    }
    if source == Source::Name && endpoint.host().parse::<IpAddr>().is_ok() {
        return Err(reason::ADDRESS);
    }
    Ok((source, endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        for (text, source, server) in [
            ("cfg", Source::ElastiCache, "cfg:11211"),
            ("cfg:1", Source::ElastiCache, "cfg:1"),
            ("tcp://cfg:1", Source::ElastiCache, "cfg:1"),
            ("tls://[::1]:1", Source::ElastiCache, "tls://[::1]:1"),
            ("memcache+tls://cfg", Source::ElastiCache, "tls://cfg"),
            ("elasticache://cfg:1", Source::ElastiCache, "cfg:1"),
            ("elasticache+tls://cfg:1", Source::ElastiCache, "tls://cfg:1"),
            ("gcp://10.0.0.1:1", Source::Memorystore, "10.0.0.1:1"),
            ("gcp+tls://[::1]:1", Source::Memorystore, "tls://[::1]:1"),
            ("dns://cache.shop.svc.cluster.local:1", Source::Name, "cache.shop.svc.cluster.local:1"),
            ("dns+tls://cache:1", Source::Name, "tls://cache:1"),
        ] {
            assert_eq!(read(text), Ok((source, server.parse().expect("a server"))), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_for_its_own_reason() {
        for (why, texts) in [
            (reason::SCHEME, &["foo://x", "redis://joe:s3cret@x", "DNS://x:1", "udp://x:1", "tls+dns://x:1"][..]),
            (reason::SERVICE, &["dnssrv://x", "dnssrv://_memcache._tcp.x", "dnssrv+tls://x:1"]),
            (reason::LIST, &["a:1,b:1", "dns://a:1,b:1", "gcp://a:1 b:1"]),
            (reason::REST, &["/run/mc.sock", "unix:/run/mc.sock", "cfg:1/", "dns://x:1/a", "gcp://x:1?weight=3"]),
            (reason::NO_PORT, &["dns://x", "gcp://10.0.0.1", "elasticache+tls://[::1]"]),
            (reason::ADDRESS, &["dns://10.0.0.1:1", "dns+tls://[::1]:1"]),
        ] {
            for text in texts {
                assert_eq!(read(text), Err(why), "{text:?}");
            }
        }
        for text in
            ["", "cfg:0", "dns://", "dns://:1", "dns://x:0", "dns://x:70000", "dns://a_é:1", "dns://joe:s3cret@x:1"]
        {
            let told = Discovery::named(text).unwrap_err();
            assert!(told.starts_with(FORMS) && !told.contains("s3cret"), "{told}");
        }
    }
}
