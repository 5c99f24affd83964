//! What users rely on, against real servers and real receivers.
//!
//! One binary, because linking is what tests of this size cost; one file for
//! each behaviour. Servers are started by the tests, on ports of their own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so")]

mod behaviour {
    mod arguments;
    mod bodies;
    mod choices;
    mod cluster;
    mod configuration;
    mod example;
    mod metrics;
    mod otlp;
    mod outage;
    mod readme;
    mod schema;
    mod shapes;
    mod sharing;
    mod spans;
    mod walls;
    mod without_prelude;
}

#[path = "support/mod.rs"]
mod support;
