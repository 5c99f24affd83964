//! The hash of the key modulo the number of servers, as libmemcached does it
//! by default.
//!
//! Without weights, and without stability: a server that leaves or joins moves
//! nearly all keys.

use crate::server::Server;

/// The servers' indices, in the order of the list.
#[derive(Clone, Debug)]
pub(crate) struct Modula(Vec<usize>);

impl Modula {
    /// Builds the ring of two servers or more.
    pub(super) fn new(servers: &[(usize, &Server)]) -> Self {
        Modula(servers.iter().map(|(index, _)| *index).collect())
    }

    /// Returns the index of the server that a key belongs to.
    pub(super) fn owner(&self, key: &[u8]) -> usize {
        self.0[one_at_a_time(key) as usize % self.0.len()]
    }
}

/// Computes Bob Jenkins' hash of that name (Dr. Dobb's Journal, September 1997).
fn one_at_a_time(key: &[u8]) -> u32 {
    let mut hash = 0_u32;
    for byte in key {
        hash = hash.wrapping_add(u32::from(*byte));
        hash = hash.wrapping_add(hash << 10);
        hash ^= hash >> 6;
    }
    hash = hash.wrapping_add(hash << 3);
    hash ^= hash >> 11;
    hash.wrapping_add(hash << 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_jenkins_own() {
        assert_eq!(one_at_a_time(b""), 0);
        assert_eq!(one_at_a_time(b"a"), 0xca2e_9442);
        assert_eq!(one_at_a_time(b"The quick brown fox jumps over the lazy dog"), 0x519e_91f5);
    }
}
