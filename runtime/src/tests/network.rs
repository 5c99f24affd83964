//! A network between callers and the embedded store, for tests: requests and replies
//! take their time, some are lost, and some of those arrive after all.
//!
//! Tasks wait for it by yielding. A thread waits until it is its turn again, which it
//! has if it was begun [`in_turns`].

use std::cell::RefCell;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::yield_now;

use crate::error::{Error, ErrorKind};
use crate::exchange::{Outcome, Request};
use crate::sync::lock;

/// The network of one store. It is prompt and reliable until it is spoilt.
#[derive(Debug, Default)]
pub(crate) struct Network {
    dice: OnceLock<Dice>,
    losses: AtomicU64,
    strays: Mutex<Vec<Stray>>,
}

/// One packet in so many is lost, in part or as a whole, or the replies to it are.
const LOST: u64 = 50;
/// Others can go first so many times before a packet arrives, or its replies.
const SLOWEST: u64 = 4;
/// A packet finds one that was lost before it arrive once in so many times.
const STRAYING: u64 = 16;

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

    /// Loses for good what is still on its way.
    pub(crate) fn lose_strays(&self) {
        lock(&self.strays).clear();
    }

    /// Carries a packet to the store, and the replies back. Others' requests may come
    /// between those of one packet.
    pub(crate) async fn carry(&self, requests: &[Request<'_>], ask: impl Fn(&Request<'_>) -> Outcome) -> Vec<Outcome> {
        let Some(dice) = self.dice.get() else { return requests.iter().map(ask).collect() };
        dice.pause(SLOWEST).await;
        self.arrive_late(dice, &ask);
        let lost = (dice.roll(LOST) == 0).then(|| dice.roll(requests.len() as u64 + 1) as usize);
        let mut outcomes = Vec::new();
        for request in &requests[..lost.unwrap_or(requests.len())] {
            if !outcomes.is_empty() {
                dice.pause(2).await;
            }
            outcomes.push(ask(request));
        }
        dice.pause(SLOWEST).await;
        let Some(lost) = lost else { return outcomes };
        self.losses.fetch_add(1, Ordering::Relaxed);
        if dice.roll(2) == 0 {
            lock(&self.strays).extend(requests[lost..].iter().filter_map(Stray::of));
        }
        requests.iter().map(|_| Err(Error::new(ErrorKind::Timeout, "lost on the way"))).collect()
    }

    /// Does the same for a thread that takes turns, or that no runtime has begun.
    pub(crate) fn carry_blocking(
        &self,
        requests: &[Request<'_>],
        ask: impl Fn(&Request<'_>) -> Outcome,
    ) -> Vec<Outcome> {
        match takes_turns() || Handle::try_current().is_err() {
            true => by_turns(self.carry(requests, ask)),
            false => requests.iter().map(ask).collect(),
        }
    }

    /// Now and then lets a write arrive whose caller has given it up.
    fn arrive_late(&self, dice: &Dice, ask: &dyn Fn(&Request<'_>) -> Outcome) {
        let mut strays = lock(&self.strays);
        if !strays.is_empty() && dice.roll(STRAYING) == 0 {
            let index = dice.roll(strays.len() as u64) as usize;
            let stray = strays.swap_remove(index);
            drop(strays);
            (stray.0)(ask);
        }
    }
}

/// A write that is still on its way.
struct Stray(Box<Sent>);

type Sent = dyn FnOnce(&dyn Fn(&Request<'_>) -> Outcome) + Send;

impl Stray {
    /// Keeps a request that changes something.
    fn of(request: &Request<'_>) -> Option<Self> {
        let key = request.key()?.to_owned();
        Some(match *request {
            Request::Store { value, flags, ttl, how, guard, .. } => {
                let value = value.to_vec();
                Self::asking(move |ask| ask(&Request::Store { key: &key, value: &value, flags, ttl, how, guard }))
            }
            Request::Delete { guard, .. } => Self::asking(move |ask| ask(&Request::Delete { key: &key, guard })),
            Request::Invalidate { guard, ttl, .. } => {
                Self::asking(move |ask| ask(&Request::Invalidate { key: &key, guard, ttl }))
            }
            Request::Renew { cas, note, lease, .. } => {
                Self::asking(move |ask| ask(&Request::Renew { key: &key, cas, note, lease }))
            }
            _ => return None,
        })
    }

    fn asking(write: impl FnOnce(&dyn Fn(&Request<'_>) -> Outcome) -> Outcome + Send + 'static) -> Self {
        Stray(Box::new(move |ask| drop(write(ask))))
    }
}

impl std::fmt::Debug for Stray {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stray")
    }
}

/// The turns of a thread that runs while a task waits for it, and not beside it.
struct Turns {
    is_over: mpsc::Sender<()>,
    next: mpsc::Receiver<()>,
}

thread_local! {
    static TURNS: RefCell<Option<Turns>> = const { RefCell::new(None) };
}

/// For so long the other tasks wait for a thread whose turn it is. Then it waits for one
/// of them, and is not waited for.
const TURN: Duration = Duration::from_micros(200);

/// Runs blocking work on a thread, which takes turns with the tasks of this runtime.
pub(crate) async fn in_turns<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let ((is_over, over), (go_on, next)) = (mpsc::channel(), mpsc::channel());
    let thread = tokio::task::spawn_blocking(move || {
        TURNS.set(Some(Turns { is_over, next }));
        let done = work();
        TURNS.set(None);
        done
    });
    let mut longest = TURN;
    loop {
        match over.recv_timeout(longest) {
            Ok(()) => {
                longest = TURN;
                yield_now().await;
                let _ = go_on.send(());
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                longest = Duration::ZERO;
                yield_now().await;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return thread.await.expect("it does not panic"),
        }
    }
}

fn takes_turns() -> bool {
    TURNS.with_borrow(Option::is_some)
}

/// Drives a future on a thread, and ends the thread's turn where the future yields.
pub(crate) fn by_turns<T>(future: impl Future<Output = T>) -> T {
    if let (false, Ok(runtime)) = (takes_turns(), Handle::try_current()) {
        return runtime.block_on(future);
    }
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        TURNS.with_borrow(|turns| {
            if let Some(Turns { is_over, next }) = turns {
                // Where the task is gone, the thread goes on alone.
                let _ = is_over.send(());
                let _ = next.recv();
            }
        });
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

    /// Lets other tasks go first, fewer times than `most`, or now and then twenty times as
    /// often.
    pub(crate) async fn pause(&self, most: u64) {
        let longest = if self.roll(32) == 0 { 20 * most } else { most };
        for _ in 0..self.roll(longest) {
            yield_now().await;
        }
    }
}
