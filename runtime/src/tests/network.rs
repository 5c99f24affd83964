//! A network between async callers and the embedded store, for tests: requests and
//! replies take their time, and some are lost.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ErrorKind};
use crate::exchange::Outcome;

/// The network of one store. It is prompt and reliable until it is spoilt.
#[derive(Debug, Default)]
pub(crate) struct Network {
    dice: OnceLock<Dice>,
    losses: AtomicU64,
}

/// One request or reply in so many is lost.
const LOST: u64 = 100;
/// Others can go first so many times before a request arrives, or its reply.
const SLOWEST: u64 = 4;

impl Network {
    /// Makes it slow and unreliable.
    pub(crate) fn spoil(&self, dice: Dice) {
        self.dice.set(dice).expect("it is spoilt once");
    }

    pub(crate) fn is_slow(&self) -> bool {
        self.dice.get().is_some()
    }

    /// Counts what has been lost.
    pub(crate) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    /// Carries a request to the store, and the reply back.
    pub(crate) async fn carry(&self, ask: impl FnOnce() -> Outcome) -> Outcome {
        let Some(dice) = self.dice.get() else { return ask() };
        dice.pause(SLOWEST).await;
        if dice.roll(LOST) == 0 {
            return self.lose();
        }
        let outcome = ask();
        dice.pause(SLOWEST).await;
        if dice.roll(LOST) == 0 { self.lose() } else { outcome }
    }

    fn lose(&self) -> Outcome {
        self.losses.fetch_add(1, Ordering::Relaxed);
        Err(Error::new(ErrorKind::Timeout, "lost on the way"))
    }
}

/// Numbers that are drawn at random and repeat with the seed (SplitMix64).
#[derive(Debug)]
pub(crate) struct Dice(AtomicU64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Dice(AtomicU64::new(seed))
    }

    /// Draws a number below `sides`.
    pub(crate) fn roll(&self, sides: u64) -> u64 {
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut bits = self.0.fetch_add(GOLDEN, Ordering::Relaxed).wrapping_add(GOLDEN);
        bits = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ bits >> 31) % sides
    }

    /// Lets other tasks go first, fewer times than `most`.
    pub(crate) async fn pause(&self, most: u64) {
        for _ in 0..self.roll(most) {
            tokio::task::yield_now().await;
        }
    }
}
