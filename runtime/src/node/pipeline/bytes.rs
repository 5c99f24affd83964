//! Bytes that are sent in the order in which they came.

use crate::protocol::KEPT;

/// A queue of bytes: added at the end, sent from the front.
#[derive(Default)]
pub(super) struct ByteQueue {
    bytes: Vec<u8>,
    /// How many of them have left.
    left: usize,
}

impl ByteQueue {
    /// Adds these bytes, and leaves none of them there.
    pub(super) fn append(&mut self, bytes: &mut Vec<u8>) {
        if self.bytes.is_empty() {
            std::mem::swap(&mut self.bytes, bytes);
        } else {
            self.bytes.append(bytes);
        }
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the bytes that are there.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.left..]
    }

    /// Lets the first bytes leave. Their room is used again once it is the greater part.
    pub(super) fn leave(&mut self, len: usize) {
        self.left += len;
        if self.left > self.bytes.len() / 2 {
            self.bytes.drain(..std::mem::take(&mut self.left));
            self.bytes.shrink_to(self.bytes.len().max(KEPT));
        }
    }

    /// Returns how many bytes are kept, those that have left included.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_their_order_and_so_does_their_room() {
        let mut queue = ByteQueue::default();
        queue.append(&mut b"abcdef".to_vec());
        queue.leave(2);
        queue.append(&mut b"gh".to_vec());
        queue.extend(b"i");
        assert_eq!(queue.rest(), b"cdefghi");
        queue.leave(4);
        assert_eq!((queue.rest(), queue.kept()), (&b"ghi"[..], 3));
        queue.append(&mut vec![b'x'; 10 * KEPT]);
        queue.leave(3 + 10 * KEPT);
        assert!(queue.rest().is_empty() && queue.bytes.capacity() <= KEPT);
    }
}
