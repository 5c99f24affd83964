//! The limit on how deeply a value may nest, so that encoding and decoding it
//! fit on any stack.
//!
//! Recursion reads or writes at least a byte at each level, so readers and
//! writers check there how far the stack has grown. What the bytes mean is up
//! to the formats.

use std::hint::black_box;
use std::io;

/// In bytes of stack; a spawned thread has two million.
const DEEPEST: usize = 256 << 10;

pub(super) const TOO_DEEP: &str = "the value is nested too deeply";

/// The stack address at which encoding or decoding began.
#[derive(Clone, Copy)]
pub(super) struct Depth(usize);

impl Depth {
    /// Starts measuring from the caller's stack frame.
    pub(super) fn here() -> Self {
        Depth(stack_address())
    }

    /// Whether the stack has grown past the limit.
    #[inline]
    pub(super) fn is_too_deep(self) -> bool {
        self.0.abs_diff(stack_address()) > DEEPEST
    }
}

#[inline]
fn stack_address() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(black_box(&here)).addr()
}

/// Appends bytes to a vector, and fails once the stack is too deep.
pub(super) struct ShallowWriter<'a> {
    out: &'a mut Vec<u8>,
    depth: Depth,
}

impl<'a> ShallowWriter<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        ShallowWriter { out, depth: Depth::here() }
    }
}

impl io::Write for ShallowWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.depth.is_too_deep() {
            return Err(io::Error::other(TOO_DEEP));
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
