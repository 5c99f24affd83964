//! Key → server, in the same place as other languages' clients put it.
//!
//! *Ketama, weighted*, as libmemcached does it (also php-memcached, pylibmc's
//! `ketama_weighted`, twemproxy): each server owns points on a circle of 32-bit
//! numbers, and a key belongs to the first point at or behind its own number.
//! The single-precision rounding of the number of points is part of it.

use md5::{Digest, Md5};

use crate::server::Server;

/// The circle.
#[derive(Clone, Debug)]
pub(crate) struct Ring {
    /// Points with their server's index, ascending.
    points: Vec<(u32, usize)>,
}

impl Ring {
    /// Places `servers`, in the order in which they are listed.
    pub(crate) fn ketama(servers: &[Server]) -> Self {
        if servers.len() < 2 {
            return Ring { points: Vec::new() };
        }
        let total: u64 = servers.iter().map(|server| u64::from(server.weight)).sum();
        let mut points = Vec::new();
        for (index, server) in servers.iter().enumerate() {
            let label = label(server);
            for round in 0..rounds(server.weight, total, servers.len()) {
                let digest = Md5::digest(format!("{label}-{round}"));
                points.extend(digest.chunks_exact(4).map(|word| (little_endian(word), index)));
            }
        }
        points.sort_unstable();
        Ring { points }
    }

    /// The index of the server that `key` belongs to.
    pub(crate) fn place(&self, key: &[u8]) -> usize {
        if self.points.is_empty() {
            return 0;
        }
        let hash = little_endian(&Md5::digest(key)[..4]);
        let next = self.points.partition_point(|(point, _)| *point < hash);
        // Past the last point the circle begins again.
        self.points[next % self.points.len()].1
    }
}

/// The port is left out where it is memcached's own; a socket's is 0. IPv6
/// addresses have no brackets here.
fn label(server: &Server) -> String {
    match server.port() {
        Some(Server::DEFAULT_PORT) => server.host().to_owned(),
        port => format!("{}:{}", server.host(), port.unwrap_or(0)),
    }
}

/// 40 rounds of 4 points for each server on average, in `f32` as in
/// libmemcached: with 25 equal servers each has 39 rounds, not 40.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn rounds(weight: u32, total: u64, servers: usize) -> u32 {
    let part = weight as f32 / total as f32;
    (part * 40.0 * servers as f32).floor() as u32
}

fn little_endian(word: &[u8]) -> u32 {
    u32::from_le_bytes([word[0], word[1], word[2], word[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal(n: usize) -> Vec<Server> {
        (1..=n).map(|i| format!("10.0.0.{i}").parse().unwrap()).collect()
    }

    #[test]
    fn keys_land_where_libmemcached_puts_them() {
        // `fib:0` to `fib:23` on three servers, as placed by libmemcached 1.1.4.
        let expected = [0, 0, 0, 0, 0, 0, 1, 1, 0, 2, 2, 2, 1, 0, 0, 2, 2, 2, 0, 1, 2, 1, 1, 1];
        let ring = Ring::ketama(&equal(3));
        let placed = (0..24).map(|i| ring.place(format!("fib:{i}").as_bytes()));
        assert_eq!(placed.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn points_are_counted_in_single_precision() {
        assert_eq!(Ring::ketama(&equal(3)).points.len(), 480);
        assert_eq!(Ring::ketama(&equal(25)).points.len(), 25 * 156);
    }

    #[test]
    fn one_server_owns_everything() {
        assert_eq!(Ring::ketama(&equal(1)).place(b"any"), 0);
    }

    #[test]
    fn a_server_that_leaves_moves_only_its_own_keys() {
        let (four, three) = (Ring::ketama(&equal(4)), Ring::ketama(&equal(3)));
        for key in (0..2_000).map(|i| format!("key:{i}")) {
            let before = four.place(key.as_bytes());
            assert!(before == 3 || before == three.place(key.as_bytes()), "{key}");
        }
    }
}
