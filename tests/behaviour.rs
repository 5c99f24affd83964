//! What users rely on, against real servers and real receivers.
//!
//! One binary, because linking is what tests of this size cost; one file for
//! each behaviour. Servers are started by the tests, on ports of their own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so")]

mod behaviour {
    mod arguments;
    mod at_most;
    mod authenticated;
    mod background;
    mod batch_caches;
    mod batch_calls;
    mod batch_processes;
    mod batches;
    mod bodies;
    mod bounds;
    mod choices;
    mod client;
    mod client_cancellation;
    mod client_connections;
    mod client_many;
    mod client_refusals;
    mod client_spans;
    mod client_telemetry;
    mod cluster;
    mod cold_start;
    mod compression;
    mod configuration;
    mod crowd;
    mod dashboards;
    mod dialects;
    mod discovery;
    mod discovery_by_name;
    mod discovery_under_load;
    mod drain;
    mod edges;
    mod example;
    mod failover;
    mod faults;
    mod foreign_code;
    mod forms;
    #[cfg(unix)]
    mod group_processes;
    mod groups;
    mod idle;
    mod integrity;
    mod interleavings;
    mod interop;
    mod item_limit;
    mod left_alone;
    mod logs;
    mod memcache_crate;
    mod metrics;
    mod near_arcs;
    mod nodes;
    mod observed;
    mod one_computation;
    mod otlp;
    mod outage;
    mod own_times;
    mod pages;
    mod patience;
    mod previous;
    mod public_items;
    mod public_types;
    mod readme;
    mod recursion;
    mod refreshable;
    mod schema;
    mod secrets;
    mod servers;
    mod set_up;
    mod shapes;
    mod shared_spans;
    mod sharing;
    mod spans;
    mod stampede;
    mod testing;
    mod traces;
    mod versions;
    mod waiting;
    mod waiting_for_others;
    mod walls;
    mod without_prelude;
    #[cfg(unix)]
    mod writer_processes;
    mod writers;
}

#[path = "support/mod.rs"]
mod support;
