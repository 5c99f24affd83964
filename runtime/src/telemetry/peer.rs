//! A node as telemetry knows it: its name, its spans and its series.
//!
//! Whether a node is up is known to its cluster.

use std::sync::Mutex;
#[cfg(feature = "servers")]
use std::sync::atomic::AtomicU64;

use opentelemetry::KeyValue;

use super::calls::Successes;
use super::callsite::NamedSpans;
use super::names::attributes;
use crate::sync::lock;

/// So many nodes have telemetry of their own. The others share one: what is never
/// freed must not grow for as long as a program meets new names.
const MOST: usize = 1_000;
/// The address of those others.
const OTHERS: &str = "others";

/// A node's name and its telemetry, which is never freed.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: &'static str,
    pub(crate) port: Option<u16>,
    /// Address and port as people write them.
    pub(crate) name: String,
    /// The number of callers that waited for a connection in vain.
    #[cfg(feature = "servers")]
    pub(super) gave_up: AtomicU64,
    pub(super) successes: Successes,
    pub(super) spans: NamedSpans,
}

/// All peers so far. Caches come and go, but the names of spans stay.
static PEERS: Mutex<Vec<&'static Peer>> = Mutex::new(Vec::new());

impl Peer {
    /// Returns the peer at this address, which is created on first use.
    pub(crate) fn at(address: &str, port: Option<u16>) -> &'static Peer {
        let mut peers = lock(&PEERS);
        if let Some(known) = peers.iter().find(|peer| peer.address == address && peer.port == port) {
            return known;
        }
        if peers.len() >= MOST && (address, port) != (OTHERS, None) {
            drop(peers);
            return Peer::at(OTHERS, None);
        }
        let name = match port {
            Some(port) if address.contains(':') => format!("[{address}]:{port}"),
            Some(port) => format!("{address}:{port}"),
            None => address.to_owned(),
        };
        let peer = Box::leak(Box::new(Peer {
            address: address.to_owned().leak(),
            port,
            name,
            #[cfg(feature = "servers")]
            gave_up: AtomicU64::new(0),
            successes: Successes::none(),
            spans: NamedSpans::none(),
        }));
        peers.push(peer);
        peer
    }

    /// Returns all peers so far.
    #[cfg(feature = "servers")]
    pub(super) fn every() -> Vec<&'static Peer> {
        lock(&PEERS).clone()
    }

    /// Returns the node's address and port as attributes of metrics.
    pub(super) fn attributes(&self) -> Vec<KeyValue> {
        let mut attributes = vec![KeyValue::new(attributes::SERVER_ADDRESS, self.address)];
        attributes.extend(self.port.map(|port| KeyValue::new(attributes::SERVER_PORT, i64::from(port))));
        attributes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_an_end_to_peers() {
        for i in 0..3 * MOST {
            let _ = Peer::at(&format!("10.0.{}.{}", i / 256, i % 256), Some(1));
        }
        assert!(lock(&PEERS).len() <= MOST + 1);
        assert_eq!(Peer::at("one-more.example", Some(1)).name, OTHERS);
    }
}
