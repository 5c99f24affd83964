//! A process that calls, and changes what it calls for.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use memocached::{AsyncWriting, Group, Writing};

use super::functions::{
    Kind, RELEASES, call, call_all, call_blocking, entry, entry_blocking, everyone, invalidate, invalidate_here, team,
    update, update_here,
};
use super::world::{Act, Called, LONERS, Means, Overlooked, ROWS, Reading, SECOND, TEAMS, World, is_pushed, is_quiet};
use crate::cache::Cache;
use crate::call::mode::{Mode, with_mode, with_mode_async};
use crate::client::AsyncClient;
use crate::exchange::{Guard, Request, Verb};
#[cfg(feature = "servers")]
use crate::node::breaker::Turn;
use crate::store::Store;
use crate::tests::network::{by_turns, in_turns};
use crate::writing::late;

/// One process.
pub(super) struct Process {
    pub(super) number: usize,
    pub(super) cache: Cache,
    pub(super) world: Arc<World>,
}

/// Tries a verb of an entry, now and then on a thread that blocks. Returns whether it succeeded.
macro_rules! verb {
    ($self:ident, $kind:ident, $row:ident, |$entry:ident| $verb:expr) => {
        if $self.blocks() {
            let $entry = entry_blocking($kind, &$self.cache, $row);
            $self.on_a_thread(move |_| $verb.is_ok()).await
        } else {
            let $entry = entry($kind, &$self.cache, $row);
            $verb.await.is_ok()
        }
    };
}

impl Process {
    /// Does something about a row.
    pub(super) async fn acts(self: Arc<Self>, row: usize) {
        let dice = &self.world.dice;
        let kinds = RELEASES[self.number % RELEASES.len()][usize::from(row >= LONERS)];
        let kinds: Vec<_> = kinds.iter().filter(|kind| is_pushed(row) || !kind.has_idle).collect();
        let kind = *kinds[dice.roll(kinds.len() as u64) as usize];
        match dice.roll(100) {
            0..60 => self.calls(kind, vec![row]).await,
            60..68 => {
                let others = if row < LONERS { 0..LONERS } else { LONERS..ROWS };
                let more = (0..dice.roll(4)).map(|_| others.start + dice.roll(others.len() as u64) as usize);
                let more = more.filter(|row| is_pushed(*row) || !kind.has_idle);
                self.calls(kind, std::iter::once(row).chain(more).collect()).await;
            }
            68..72 => drop(self.drops(call(kind, &self.cache, &self.world, row)).await),
            72..73 => self.evicts(kind, row).await,
            73..92 if is_quiet(row) => self.calls(kind, vec![row]).await,
            92.. if is_quiet(row) => self.leaves(kind, row, dice.roll(9)).await,
            73..75 if row >= LONERS => self.changes_a_team(row, dice.roll(20)).await,
            75..81 => self.writes(kind, row, dice.roll(120)).await,
            _ => self.changes(kind, row, dice.roll(20)).await,
        }
    }

    /// Whether the next verb is one that blocks.
    fn blocks(&self) -> bool {
        self.world.dice.roll(16) == 0
    }

    /// Blocks a thread with this.
    async fn on_a_thread<T: Send + 'static>(&self, work: impl FnOnce(&Cache) -> T + Send + 'static) -> T {
        let cache = self.cache.clone();
        match self.losses() {
            Some(_) => in_turns(move || work(&cache)).await,
            None => tokio::task::spawn_blocking(move || work(&cache)).await.expect("it does not panic"),
        }
    }

    /// Counts the packets that were lost, where they are counted.
    fn losses(&self) -> Option<u64> {
        match &**self.cache.store() {
            Store::Embedded(store, _) => Some(store.network.losses()),
            #[cfg(feature = "servers")]
            Store::Cluster(_) => None,
        }
    }

    /// The times that this process has begun to ask the server; `None` while it does not and
    /// cannot know of changes.
    fn asks(&self) -> Option<u64> {
        match &**self.cache.store() {
            Store::Embedded(..) => Some(0),
            #[cfg(feature = "servers")]
            Store::Cluster(cluster) => match cluster.members().get(0)?.node.breaker.turn() {
                Turn::Up(outages) => Some(outages),
                Turn::Out(_) => None,
            },
        }
    }

    async fn calls(&self, kind: Kind, rows: Vec<usize>) {
        let (world, asked) = (&self.world, self.asks());
        let called = |row: &usize| {
            let ((begun, next), oldest) = (world.now(), world.oldest(*row, kind, self.number));
            (*row, Called { oldest, begun, next })
        };
        let called: HashMap<usize, Called> = rows.iter().map(called).collect();
        let found: HashMap<usize, Reading> = match rows[..] {
            [row] if world.dice.roll(40) == 0 => {
                let world = Arc::clone(world);
                let found = self.on_a_thread(move |cache| call_blocking(kind, cache, &world, row)).await;
                found.into_iter().map(|found| (row, found)).collect()
            }
            [row] => call(kind, &self.cache, world, row).await.into_iter().map(|found| (row, found)).collect(),
            _ => call_all(kind, &self.cache, world, rows).await,
        };
        for (row, found) in found {
            world.judge(kind, self.number, row, called[&row], found, asked.is_some() && self.asks() == asked);
        }
    }

    /// Polls a future some times, and drops it unless it has ended. Returns its output.
    async fn drops<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = Box::pin(future);
        for _ in 0..self.world.dice.roll(16) {
            let polled = std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
            if let Poll::Ready(output) = polled {
                return Some(output);
            }
            tokio::task::yield_now().await;
        }
        None
    }

    /// Removes what the server has: a value, a lease, a mark, or a stamp.
    async fn evicts(&self, kind: Kind, row: usize) {
        let (key, rows) = match row < LONERS || self.world.dice.roll(4) == 0 {
            true => (entry(kind, &self.cache, row).stored_key().to_owned(), vec![row]),
            false => (team(row % TEAMS).stamp_key(&self.cache), members(row % TEAMS)),
        };
        let act = self.world.begin("eviction", &rows, self.number, Means::Unmarked);
        let evicting = Request::Delete { key: &key, guard: Guard::None };
        let _ = self.cache.store().ask_async(Verb::Delete, &evicting, &self.cache.budget()).await;
        self.world.end(&act, None);
    }

    async fn changes(&self, kind: Kind, row: usize, how: u64) {
        let world = &self.world;
        let means = if (5..9).contains(&how) { Means::Put } else { Means::Unmarked };
        let name = match how {
            0..5 => "delete",
            5..9 => "put",
            9..13 => "invalidate",
            13..16 => "client",
            _ => "refresh",
        };
        let act = world.begin(name, &[row], self.number, means);
        world.commit(&act);
        let acknowledged = match act.of(row) {
            Some(committed) => {
                world.dice.pause(3).await;
                self.changed(kind, row, how, committed).await
            }
            None => None,
        };
        world.end(&act, acknowledged);
    }

    /// Makes a change known. Returns whether that was acknowledged, and who may overlook it.
    async fn changed(&self, kind: Kind, row: usize, how: u64, committed: Reading) -> Option<Overlooked> {
        let (cache, key) = (&self.cache, if row < LONERS { "history" } else { "member" });
        let is_acknowledged = match how {
            0..5 => verb!(self, kind, row, |entry| entry.delete()),
            5..9 => verb!(self, kind, row, |entry| entry.put(&committed)),
            9..13 => {
                let is_acknowledged = verb!(self, kind, row, |entry| entry.invalidate());
                return is_acknowledged.then_some(if kind.has_grace { Overlooked::Stale } else { Overlooked::Near });
            }
            13..15 => AsyncClient::of(cache).delete(format!("{key}:{row}")).await.is_ok(),
            15 => AsyncClient::of(cache).set(format!("{key}:{row}"), "another's", 6 * SECOND).await.is_ok(),
            _ => {
                let (losses, blocks) = (self.losses(), self.blocks());
                let refreshed = if blocks {
                    let world = Arc::clone(&self.world);
                    let refresh = move |cache: &Cache| call_blocking(kind, cache, &world, row);
                    self.on_a_thread(move |cache| with_mode(Mode::Refresh, || refresh(cache))).await
                } else {
                    with_mode_async(Mode::Refresh, call(kind, cache, &self.world, row)).await
                };
                (refreshed.is_some() || blocks) && losses.is_some() && self.losses() == losses
            }
        };
        is_acknowledged.then_some(Overlooked::Near)
    }

    /// Changes a row within a writer, which may end before it has ended its work.
    async fn writes(&self, kind: Kind, row: usize, how: u64) {
        let (world, cache) = (&self.world, &self.cache);
        let name = match how {
            0..35 => "invalidates",
            35..70 => "updates",
            70..90 => "dropped",
            _ => "writing",
        };
        let act = Arc::new(world.begin(name, &[row], self.number, Means::Marked));
        let (here, there) = (Arc::clone(&act), Arc::clone(world));
        match how {
            0..30 => invalidate(kind, cache.clone(), there, row, here).await,
            30..35 => self.on_a_thread(move |cache| invalidate_here(kind, cache, &there, row, &here)).await,
            35..65 => drop(update(kind, cache.clone(), there, row, here).await),
            65..70 => drop(self.on_a_thread(move |cache| update_here(kind, cache, &there, row, &here)).await),
            70..80 => _ = self.drops(invalidate(kind, cache.clone(), there, row, here)).await,
            80..90 => _ = self.drops(update(kind, cache.clone(), there, row, here)).await,
            _ => return self.holds(&entry(kind, cache, row), act, how - 90).await,
        }
        world.end(&act, self.is_removed().await.then_some(Overlooked::Near));
    }

    /// Changes a row as a writer that is killed or dropped.
    async fn leaves(&self, kind: Kind, row: usize, how: u64) {
        let act = Arc::new(self.world.begin("left", &[row], self.number, Means::Marked));
        self.holds(&entry(kind, &self.cache, row), act, how).await;
    }

    /// Changes rows while it holds a writer.
    async fn holds(&self, targets: &impl memocached::Invalidate, act: Arc<Act>, how: u64) {
        let world = &self.world;
        let row = act.first();
        let Ok(writing) = AsyncWriting::begin(targets).await else {
            let _ = self.is_removed().await;
            return world.end(&act, None);
        };
        // Others may find the marks and read what is there before.
        world.dice.pause(16).await;
        world.write(row, &act).await;
        let acknowledged = match how {
            0..6 => {
                let is_marked = world.is_marked(&act);
                writing.kill();
                is_marked.then_some(Overlooked::Marked)
            }
            6..12 => {
                drop(writing);
                self.is_removed().await.then_some(Overlooked::Near)
            }
            _ => (writing.done().await.is_ok() || self.is_removed().await).then_some(Overlooked::Near),
        };
        world.end(&act, acknowledged);
    }

    /// Changes all rows of a team, or of all teams.
    async fn changes_a_team(&self, row: usize, how: u64) {
        let (world, cache) = (&self.world, &self.cache);
        let (group, rows) = match world.dice.roll(4) {
            0 => (everyone(), (LONERS..ROWS).collect()),
            _ => (team(row % TEAMS), members(row % TEAMS)),
        };
        let group = group.of_cache(cache);
        let name = match how {
            0..5 => "writing of a group",
            5..14 => "invalidate of a group",
            _ => "invalidate_softly",
        };
        let act = Arc::new(world.begin(name, &rows, self.number, Means::Marked));
        match how {
            0..4 => return self.holds(&group, act, world.dice.roll(30)).await,
            4 => self.holds_blocking(group, Arc::clone(&act)).await,
            5..14 => {
                world.write(row, &act).await;
                let _ = group.invalidate_async().await;
            }
            _ => {
                world.write(row, &act).await;
                let _ = group.invalidate_softly_async().await;
            }
        }
        let overlooked = if how < 14 { Overlooked::Near } else { Overlooked::StaleGroup };
        world.end(&act, self.is_removed().await.then_some(overlooked));
    }

    /// Changes rows while a thread holds a writer, which it drops.
    async fn holds_blocking(&self, group: Group, act: Arc<Act>) {
        let world = Arc::clone(&self.world);
        self.on_a_thread(move |_| {
            if let Ok(_writing) = Writing::begin(&group) {
                by_turns(world.write(act.first(), &act));
            }
        })
        .await;
    }

    /// Waits until nothing is left of what writers could not remove; whether that was so.
    async fn is_removed(&self) -> bool {
        for _ in 0..2_000 {
            if late::left() == 0 {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        false
    }
}

fn members(team: usize) -> Vec<usize> {
    (LONERS..ROWS).filter(|row| row % TEAMS == team).collect()
}
