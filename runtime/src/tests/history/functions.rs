//! The functions that are called, and those that change what they read.
//!
//! All of those for a row share their key, as the releases of a program do. The rows of a
//! team have functions of their own: their values are in two groups.

use std::collections::HashMap;
use std::sync::Arc;

use memocached::{AsyncEntry, Entry, Previous, group, invalidates, memcached, updates};

use super::world::{Act, Reading, Row, TEAMS, World};
use crate::cache::Cache;

group! {
    pub(super) fn team(number: usize) = "team:<number>";
    pub(super) fn everyone() = "everyone";
}

/// What a function promises.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) number: usize,
    pub(super) has_near: bool,
    pub(super) has_grace: bool,
    pub(super) has_idle: bool,
}

const fn kind(number: usize, has_near: bool, has_grace: bool) -> Kind {
    Kind { number, has_near, has_grace, has_idle: false }
}

const fn idle(kind: Kind) -> Kind {
    Kind { has_idle: true, ..kind }
}

/// The functions for rows without a team, and for those of teams, in each of two releases
/// that run side by side: the later one's have grace.
pub(super) const RELEASES: [[&[Kind]; 2]; 2] = [
    [
        &[kind(0, false, false), kind(1, true, false), idle(kind(4, false, false))],
        &[kind(7, false, false), kind(8, true, false)],
    ],
    [
        &[kind(2, false, true), kind(3, true, true), kind(5, false, true), kind(6, true, true)],
        &[kind(9, false, true), idle(kind(10, true, true))],
    ],
];

macro_rules! functions {
    ($row:ident; $($number:literal $function:ident $batch:ident $blocking:ident $entry:ident $blocking_entry:ident $key:literal
        ($($choice:tt)*) ($($previous:tt)*) $old:expr;)*) => {
        $(
            #[memcached(
                key = $key, ttl = 16, $($choice)* $($previous)* entry = $entry, cache = &cache, skip(cache, world)
            )]
            async fn $function(cache: Cache, world: Arc<World>, $row: usize) -> Row {
                world.read($row, $old).await
            }

            #[memcached(
                key = $key, ttl = 16, $($choice)* $($previous)* entry = $blocking_entry, cache = cache,
                skip(cache, world)
            )]
            fn $blocking(cache: &Cache, world: &World, $row: usize) -> Row {
                crate::tests::network::by_turns(world.read($row, $old))
            }

            #[memcached(key = $key, each($row in rows), ttl = 16, $($choice)* cache = &cache, skip(cache, world))]
            async fn $batch(cache: Cache, world: Arc<World>, rows: Vec<usize>) -> HashMap<usize, Reading> {
                world.read_all(rows).await
            }
        )*

        /// Calls a function.
        pub(super) async fn call(kind: Kind, cache: &Cache, world: &Arc<World>, row: usize) -> Row {
            let (cache, world) = (cache.clone(), Arc::clone(world));
            match kind.number {
                $($number => $function(cache, world, row).await,)*
                _ => unreachable!("there is none"),
            }
        }

        /// Calls one that blocks.
        pub(super) fn call_blocking(kind: Kind, cache: &Cache, world: &World, row: usize) -> Row {
            match kind.number {
                $($number => $blocking(cache, world, row),)*
                _ => unreachable!("there is none"),
            }
        }

        /// Calls one that computes several values at once.
        pub(super) async fn call_all(
            kind: Kind,
            cache: &Cache,
            world: &Arc<World>,
            rows: Vec<usize>,
        ) -> HashMap<usize, Reading> {
            let (cache, world) = (cache.clone(), Arc::clone(world));
            match kind.number {
                $($number => $batch(cache, world, rows).await,)*
                _ => unreachable!("there is none"),
            }
        }

        /// The entry of a call.
        pub(super) fn entry(kind: Kind, cache: &Cache, row: usize) -> AsyncEntry<Row> {
            match kind.number {
                $($number => $entry(cache.clone(), row),)*
                _ => unreachable!("there is none"),
            }
        }

        /// The same for one that blocks.
        pub(super) fn entry_blocking(kind: Kind, cache: &Cache, row: usize) -> Entry<Row> {
            match kind.number {
                $($number => $blocking_entry(cache, row),)*
                _ => unreachable!("there is none"),
            }
        }
    };
}

functions! {
    row;
    0 plain all_plain plain_here plain_entry plain_entry_here "history:<row>" () () None;
    1 near all_near near_here near_entry near_entry_here "history:<row>" (near = 2,) () None;
    2 graced all_graced graced_here graced_entry graced_entry_here "history:<row>" (grace = 4,) () None;
    3 ahead all_ahead ahead_here ahead_entry ahead_entry_here "history:<row>"
        (grace = 4, near = 2, refresh_ahead = 5,) () None;
    4 pushed all_pushed pushed_here pushed_entry pushed_entry_here "history:<row>" (idle = 6,) () None;
    5 kept all_kept kept_here kept_entry kept_entry_here "history:<row>" (grace = 4,) (previous = old,) old;
    6 queued all_queued queued_here queued_entry queued_entry_here "history:<row>"
        (grace = 4, near = 2, at_most = 2,) () None;
    7 team_plain all_team_plain team_plain_here team_plain_entry team_plain_entry_here "member:<row>"
        (group = [team(row % TEAMS), everyone()],) () None;
    8 team_near all_team_near team_near_here team_near_entry team_near_entry_here "member:<row>"
        (near = 2, group = [team(row % TEAMS), everyone()],) () None;
    9 team_graced all_team_graced team_graced_here team_graced_entry team_graced_entry_here "member:<row>"
        (grace = 4, group = [team(row % TEAMS), everyone()],) (previous = old,) old;
    10 team_queued all_team_queued team_queued_here team_queued_entry team_queued_entry_here "member:<row>"
        (grace = 4, near = 2, idle = 6, at_most = 2, group = [team(row % TEAMS), everyone()],) () None;
}

/// Changes a row within a writer.
#[invalidates(entry(kind, &cache, row))]
pub(super) async fn invalidate(kind: Kind, cache: Cache, world: Arc<World>, row: usize, act: Arc<Act>) {
    world.write(row, &act).await;
}

/// The same, blocking.
#[invalidates(entry_blocking(kind, cache, row))]
pub(super) fn invalidate_here(kind: Kind, cache: &Cache, world: &World, row: usize, act: &Act) {
    crate::tests::network::by_turns(world.write(row, act));
}

/// Changes a row, and leaves its new value.
#[updates(entry(kind, &cache, row))]
pub(super) async fn update(kind: Kind, cache: Cache, world: Arc<World>, row: usize, act: Arc<Act>) -> Row {
    world.write(row, &act).await
}

/// The same, blocking.
#[updates(entry_blocking(kind, cache, row))]
pub(super) fn update_here(kind: Kind, cache: &Cache, world: &World, row: usize, act: &Act) -> Row {
    crate::tests::network::by_turns(world.write(row, act))
}

/// Reads a row again, for a function that is given the value that it replaces.
pub(super) type Old = Option<Previous<Reading>>;
