//! Rendezvous (highest random weight), as pymemcache's `HashClient` does it.
//!
//! Each server has a number for each key, and the highest wins. Without
//! weights: pymemcache has none.

use super::murmur3::Murmur3;
use crate::server::Server;

/// The servers, ascending by their text.
#[derive(Clone, Debug)]
pub(crate) struct Rendezvous {
    /// The hash so far, of all that stands in front of the key.
    nodes: Vec<(Murmur3, usize)>,
}

impl Rendezvous {
    /// Builds the ring of two servers or more.
    pub(super) fn new(servers: &[(usize, &Server)]) -> Self {
        let mut nodes: Vec<_> = servers.iter().map(|(index, server)| (text(server), *index)).collect();
        nodes.sort();
        let begun = |text: String| Murmur3::seeded(0).then(text.as_bytes()).then(b"-");
        Rendezvous { nodes: nodes.into_iter().map(|(text, index)| (begun(text), index)).collect() }
    }

    /// Returns the index of the server that a key belongs to.
    pub(super) fn owner(&self, key: &[u8]) -> usize {
        // Of equal numbers it takes the last, which has the larger text.
        let winner = self.nodes.iter().max_by_key(|(begun, _)| begun.then(key).finish());
        winner.map_or(0, |(_, index)| *index)
    }
}

/// Names a server as pymemcache does: always with its port, IPv6 addresses without brackets,
/// sockets by path.
fn text(server: &Server) -> String {
    match server.port() {
        Some(port) => format!("{}:{port}", server.host()),
        None => server.host().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_its_port_or_is_a_path() {
        let text = |form: &str| text(&form.parse().unwrap());
        assert_eq!(text("cache"), "cache:11211");
        assert_eq!(text("[::1]:11212"), "::1:11212");
        assert_eq!(text("unix:///run/mc.sock"), "/run/mc.sock");
    }

    #[test]
    fn the_highest_number_wins() {
        let servers = Server::list("10.0.0.1 10.0.0.2 10.0.0.3").unwrap();
        let ring = Rendezvous::new(&servers.iter().enumerate().collect::<Vec<_>>());
        let numbers = ring.nodes.iter().map(|(begun, _)| begun.then(b"fib:30").finish());
        assert_eq!(numbers.collect::<Vec<_>>(), [3_026_695_661, 2_863_936_667, 14_448_412]);
        assert_eq!(ring.owner(b"fib:30"), 0);
    }

    #[test]
    fn of_equal_numbers_that_of_the_larger_text_wins() {
        let twin = Murmur3::seeded(0);
        assert_eq!(Rendezvous { nodes: vec![(twin, 0), (twin, 1)] }.owner(b"any"), 1);
        let servers = Server::list("b a c").unwrap();
        let ring = Rendezvous::new(&servers.iter().enumerate().collect::<Vec<_>>());
        assert_eq!(ring.nodes.iter().map(|(_, index)| *index).collect::<Vec<_>>(), [1, 0, 2]);
    }
}
