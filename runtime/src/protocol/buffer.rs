//! The buffer of received bytes that have not been decoded yet.
//!
//! It knows neither sockets nor the protocol.

/// A window of bytes in memory that grows on demand.
#[derive(Debug)]
pub(super) struct Buffer {
    memory: Vec<u8>,
    start: usize,
    end: usize,
}

/// Buffers larger than this many bytes are freed after use.
pub(crate) const KEPT: usize = 64 * 1024;

/// In bytes.
const SMALLEST: usize = 16 * 1024;

impl Buffer {
    pub(super) fn new() -> Self {
        Buffer { memory: vec![0; SMALLEST], start: 0, end: 0 }
    }

    /// Returns the bytes to decode.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Returns room for more bytes, which is never empty. The buffer grows as bytes
    /// arrive, never because a reply claims a length.
    pub(super) fn space(&mut self) -> &mut [u8] {
        let size = self.memory.len();
        if size - self.end < size / 4 {
            if self.start >= size / 2 {
                self.memory.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            } else {
                self.memory.resize(size * 2, 0);
            }
        }
        &mut self.memory[self.end..]
    }

    /// Records that this many bytes of the room have been filled.
    pub(super) fn filled(&mut self, bytes: usize) {
        self.end += bytes;
    }

    /// Drops this many bytes from the front, which have been decoded.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
            if self.memory.len() > KEPT {
                self.memory = vec![0; SMALLEST];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_stream_of_short_pieces_needs_little_memory() {
        let mut buffer = Buffer::new();
        for piece in 0..=u8::MAX {
            let space = buffer.space();
            space[..1_000].fill(piece);
            buffer.filled(1_000);
            // Each piece is consumed only after the next one has arrived.
            if piece > 0 {
                assert!(buffer.bytes()[..1_000].iter().all(|byte| *byte == piece - 1));
                buffer.consume(1_000);
            }
        }
        assert!(buffer.bytes().iter().all(|byte| *byte == u8::MAX) && buffer.bytes().len() == 1_000);
        assert_eq!(buffer.memory.len(), SMALLEST);
    }

    #[test]
    fn the_memory_of_a_large_reply_is_freed() {
        let left_by = |length: usize| {
            let mut buffer = Buffer::new();
            while buffer.bytes().len() < length {
                let bytes = buffer.space().len().min(length - buffer.bytes().len());
                buffer.filled(bytes);
            }
            buffer.consume(length);
            buffer.memory.len()
        };
        assert_eq!([1_000, 40_000, 100_000].map(left_by), [SMALLEST, KEPT, SMALLEST]);
    }
}
