//! What every public type can do: be printed, cloned, and shared between
//! threads. The compiler checks it; nothing runs.

use std::fmt::Debug;

use memocached::codec::{BareJson, Bincode, Json, JsonSerde, Postcard, Text};
use memocached::testing::{Clock, Faults};
use memocached::{
    AsyncClient, AsyncEntries, AsyncEntry, AsyncWriting, BatchCounts, Builder, Cache, CallOutcome, CasOutcome, Client,
    Distribution, Drained, Entries, Entry, EntryInfo, Error, ErrorKind, Failover, Failures, Framing, FunctionReport,
    Group, KeyWriter, Many, Memcache, MissReason, Mode, NodeInfo, Observed, ObservedCall, PerNode, Previous, Protocol,
    RawItem, Report, Shown, SiteInfo, Ttl, Versioned, Writing, Written,
};

fn is_shared<T: Debug + Send + Sync + 'static>() {}

fn is_cloned<T: Debug + Clone + Send + Sync + 'static>() {}

#[test]
fn every_public_type_is_printed_cloned_and_shared() {
    is_cloned::<(Cache, Client, AsyncClient)>();
    is_cloned::<(Builder<Cache>, Builder<Client>, Builder<AsyncClient>)>();
    is_cloned::<(Entry<u8>, AsyncEntry<Result<Option<u8>, Error>>, EntryInfo, SiteInfo)>();
    is_cloned::<(Entries<u8>, AsyncEntries<Result<Option<u8>, Error>>)>();
    is_cloned::<(Group, Written)>();
    is_cloned::<(Many<u8>, Versioned<u8>, Failures, PerNode<u8>, NodeInfo, CasOutcome)>();
    is_cloned::<(Error, ErrorKind, RawItem, Memcache<u8>, Ttl, Mode, Framing, Report, FunctionReport)>();
    is_cloned::<(Distribution, Failover, Protocol, Shown)>();
    is_cloned::<(Observed, ObservedCall, CallOutcome, MissReason, BatchCounts, Drained)>();
    is_cloned::<(Bincode, Postcard, Json, Text, BareJson, JsonSerde)>();
    is_cloned::<(Clock, Faults)>();
    // Owns the value.
    is_shared::<Previous<u8>>();
    // Made for one key, and not by users.
    is_shared::<KeyWriter>();
    // End once.
    is_shared::<(Writing, AsyncWriting)>();
}

#[test]
fn no_public_type_is_left_out() {
    let source = include_str!("public_types.rs");
    let checks = source.split("fn every_public_type").nth(1).and_then(|rest| rest.split("\n}\n").next()).unwrap();
    let checked: Vec<&str> = checks.split(|c: char| !c.is_alphanumeric()).collect();
    let items = include_str!("../../runtime/public-items.txt");
    let is_type = |line: &&str| line.starts_with("struct ") || line.starts_with("enum ");
    // A member stands behind its type and a colon.
    let names = items.lines().filter(is_type).filter(|line| !line.contains(": "));
    let names: Vec<&str> = names.map(|line| line.rsplit([' ', ':']).next().unwrap()).collect();
    assert!(names.contains(&"Cache") && names.contains(&"Bincode"), "{names:?}");
    let missing: Vec<&&str> = names.iter().filter(|name| !checked.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
