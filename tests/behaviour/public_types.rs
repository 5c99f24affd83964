//! What every public type can do: be printed, cloned, and shared between
//! threads. The compiler checks it; nothing runs.

use std::fmt::Debug;

use memocached::codec::{Bincode, Json, Postcard, Text};
use memocached::testing::{Clock, Faults};
use memocached::{
    AsyncClient, AsyncEntry, BatchCounts, Builder, Cache, CallOutcome, CasOutcome, Client, Distribution, Drained,
    Entry, EntryInfo, Error, ErrorKind, Failover, Failures, Framing, FunctionReport, KeyWriter, Many, Memcache,
    MissReason, Mode, NodeInfo, Observed, ObservedCall, PerNode, Previous, Protocol, RawItem, Report, Shown, SiteInfo,
    Ttl, Versioned,
};

fn is_shared<T: Debug + Send + Sync + 'static>() {}

fn is_cloned<T: Debug + Clone + Send + Sync + 'static>() {}

#[test]
fn every_public_type_is_printed_cloned_and_shared() {
    is_cloned::<(Cache, Client, AsyncClient)>();
    is_cloned::<(Builder<Cache>, Builder<Client>, Builder<AsyncClient>)>();
    is_cloned::<(Entry<u8>, AsyncEntry<Result<Option<u8>, Error>>, EntryInfo, SiteInfo)>();
    is_cloned::<(Many<u8>, Versioned<u8>, Failures, PerNode<u8>, NodeInfo, CasOutcome)>();
    is_cloned::<(Error, ErrorKind, RawItem, Memcache<u8>, Ttl, Mode, Framing, Report, FunctionReport)>();
    is_cloned::<(Distribution, Failover, Protocol, Shown)>();
    is_cloned::<(Observed, ObservedCall, CallOutcome, MissReason, BatchCounts, Drained)>();
    is_cloned::<(Bincode, Postcard, Json, Text)>();
    is_cloned::<(Clock, Faults)>();
    // Owns the value.
    is_shared::<Previous<u8>>();
    // Made for one key, and not by users.
    is_shared::<KeyWriter>();
}
