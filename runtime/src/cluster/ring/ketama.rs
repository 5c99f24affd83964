//! Ketama, weighted, as libmemcached does it.
//!
//! Each server owns points on a circle of 32-bit numbers, and a key belongs to
//! the first point at or behind its own number. It mends nothing: a spread as
//! uneven as libmemcached's is what keeps the clients together.

use crate::server::Server;

/// The circle.
#[derive(Clone, Debug)]
pub(crate) struct Ketama {
    /// Points with their server's index, ascending: of equal points the one
    /// with the lowest index comes first.
    points: Vec<(u32, usize)>,
}

impl Ketama {
    /// Builds the ring of two servers or more.
    pub(super) fn new(servers: &[(usize, &Server)]) -> Self {
        let total: u64 = servers.iter().map(|(_, server)| u64::from(server.weight)).sum();
        let mut points = Vec::new();
        for (index, server) in servers {
            let label = label(server);
            for round in 0..rounds(server.weight, total, servers.len()) {
                let digest = md5::compute(format!("{label}-{round}")).0;
                points.extend(digest.chunks_exact(4).map(|word| (little_endian(word), *index)));
            }
        }
        points.sort_unstable();
        Ketama { points }
    }

    /// Returns the index of the server that a key belongs to.
    pub(super) fn owner(&self, key: &[u8]) -> usize {
        self.successor(little_endian(&md5::compute(key).0[..4]))
    }

    /// Returns the server of the first point at or behind this number.
    fn successor(&self, hash: u32) -> usize {
        let next = self.points.partition_point(|(point, _)| *point < hash);
        // Past the last point the circle begins again.
        self.points[next % self.points.len()].1
    }
}

/// Names a server as libmemcached does. memcached's own port is left out, and a socket has
/// port 0. IPv6 addresses have no brackets.
fn label(server: &Server) -> String {
    match server.port() {
        Some(Server::DEFAULT_PORT) => server.host().to_owned(),
        port => format!("{}:{}", server.host(), port.unwrap_or(0)),
    }
}

/// Returns how many rounds of 4 points a server gets: 40 on average. In `f32`, as in
/// libmemcached: of 25 equal servers each has 39 rounds, not 40.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn rounds(weight: u32, total: u64, servers: usize) -> u32 {
    let share = weight as f32 / total as f32;
    (share * 160.0 / 4.0 * servers as f32).floor() as u32
}

/// Reads four bytes as a number.
fn little_endian(word: &[u8]) -> u32 {
    u32::from_le_bytes([word[0], word[1], word[2], word[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(servers: &[Server]) -> Ketama {
        Ketama::new(&servers.iter().enumerate().collect::<Vec<_>>())
    }

    fn equal(n: usize) -> Vec<Server> {
        (0..n).map(|i| format!("10.0.{}.{}", i / 250, i % 250).parse().unwrap()).collect()
    }

    fn points(n: usize) -> usize {
        ring(&equal(n)).points.len()
    }

    #[test]
    fn points_are_words_of_the_digest_of_a_label_and_a_round() {
        let servers = ["10.0.0.1", "10.0.0.2"].map(|host| host.parse().unwrap());
        let points = ring(&servers).points;
        for word in [563_378_236, 920_037_467, 4_058_903_954, 1_084_864_719] {
            assert!(points.contains(&(word, 0)), "{word}");
        }
        assert_eq!(little_endian(&md5::compute(b"fib:30").0[..4]), 30_156_947);
    }

    #[test]
    fn a_label_has_the_port_unless_it_is_memcacheds_own() {
        let label = |text: &str| label(&text.parse().unwrap());
        assert_eq!(label("cache"), "cache");
        assert_eq!(label("tls://cache:11212"), "cache:11212");
        assert_eq!(label("/run/mc.sock"), "/run/mc.sock:0");
        assert_eq!((label("[::1]"), label("[::1]:1")), ("::1".into(), "::1:1".into()));
    }

    #[test]
    fn points_are_counted_in_single_precision() {
        let fewer = [25, 47, 50, 55, 61, 71, 94, 100];
        for n in 2..=100 {
            assert_eq!(points(n), n * if fewer.contains(&n) { 156 } else { 160 }, "{n}");
        }
    }

    #[test]
    fn points_go_by_weight_and_are_rounded_down() {
        let servers = Server::list("a/?600 b/?300 c/?200 d/?350 e/?1000").unwrap();
        assert_eq!(ring(&servers).points.len(), 788);
        // Too light for a single round, and so without keys.
        assert_eq!(rounds(1, 65_536, 2), 0);
        let servers = Server::list("a b/?65535").unwrap();
        assert!(ring(&servers).points.iter().all(|(_, index)| *index == 1));
    }

    #[test]
    fn equal_points_belong_to_the_first_server_in_the_list() {
        let points = ring(&equal(2_000)).points;
        let twins: Vec<_> = points.windows(2).filter(|pair| pair[0].0 == pair[1].0).collect();
        assert!(!twins.is_empty());
        let circle = Ketama { points: points.clone() };
        for twin in twins {
            assert_eq!(circle.successor(twin[0].0), twin[0].1.min(twin[1].1));
        }
    }

    #[test]
    fn the_circle_is_closed() {
        let circle = ring(&equal(2));
        assert_eq!(circle.successor(u32::MAX), circle.points[0].1);
        assert_eq!(circle.successor(0), circle.points[0].1);
    }
}
