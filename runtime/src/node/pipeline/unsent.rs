//! Requests that are not to be sent yet, as the server has not answered enough of
//! those before them.

use std::collections::VecDeque;

use super::bytes::ByteQueue;
use super::queue::PendingReply;

/// Requests that are held back, in their order.
#[derive(Default)]
pub(super) struct Unsent {
    bytes: ByteQueue,
    replies: VecDeque<PendingReply>,
}

impl Unsent {
    /// Adds requests, and takes their bytes.
    pub(super) fn add(&mut self, bytes: &mut Vec<u8>, replies: impl Iterator<Item = PendingReply>) {
        self.bytes.append(bytes);
        self.replies.extend(replies);
    }

    /// Takes out the first request, and adds its bytes to `output`, unless its caller has been
    /// turned away: that request is never sent.
    pub(super) fn next(&mut self, output: &mut ByteQueue) -> Option<PendingReply> {
        let reply = self.replies.pop_front()?;
        if reply.caller.is_some() {
            output.extend(&self.bytes.rest()[..reply.len]);
        }
        self.bytes.leave(reply.len);
        Some(reply)
    }

    /// Returns the replies that callers wait for.
    pub(super) fn replies(&mut self) -> &mut VecDeque<PendingReply> {
        &mut self.replies
    }

    /// Returns how many requests there are.
    pub(super) fn len(&self) -> usize {
        self.replies.len()
    }

    /// Returns how many bytes there are.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.rest().len()
    }
}
