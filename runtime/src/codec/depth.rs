//! The limit on how deeply a value may nest, so that encoding and decoding it
//! fit on any stack.
//!
//! Recursion begins another part of a value at each level, and reads at least a
//! byte. So `follow` and the readers check there how far the stack has grown. What
//! the bytes mean is up to the formats.

use std::hint::black_box;

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
        self.grown() > DEEPEST
    }

    /// Whether the stack has grown so far that decoding might go past the limit.
    #[inline]
    pub(super) fn is_deep(self) -> bool {
        self.grown() > DEEPEST / 16
    }

    #[inline]
    fn grown(self) -> usize {
        self.0.abs_diff(stack_address())
    }
}

#[inline]
fn stack_address() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(black_box(&here)).addr()
}
