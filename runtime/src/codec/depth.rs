//! How deep in itself a value may be, for its encoding and decoding to fit on
//! any stack.
//!
//! What descends reads or writes a byte at each level, so the depth is looked
//! at there, by how far the stack has come.

use std::hint::black_box;
use std::io;

/// Bytes of stack: a spawned thread has two million.
const DEEPEST: usize = 256 << 10;

pub(super) const TOO_DEEP: &str = "the value is too deep in itself";

/// Where on the stack it all began.
#[derive(Clone, Copy)]
pub(super) struct Depth(usize);

impl Depth {
    pub(super) fn here() -> Self {
        Depth(place())
    }

    #[inline]
    pub(super) fn is_too_deep(self) -> bool {
        self.0.abs_diff(place()) > DEEPEST
    }
}

#[inline]
fn place() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(black_box(&here)).addr()
}

/// Bytes to be written to, as far as is not too deep.
pub(super) struct Shallow<'a> {
    out: &'a mut Vec<u8>,
    depth: Depth,
}

impl<'a> Shallow<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Shallow { out, depth: Depth::here() }
    }
}

impl io::Write for Shallow<'_> {
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
