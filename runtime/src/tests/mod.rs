//! Tests of several folders at once.

#[cfg(any(all(test, feature = "servers"), fuzzing))]
pub mod any_input;
#[cfg(test)]
mod batches;
#[cfg(test)]
mod freshness;
#[cfg(all(test, feature = "tokio"))]
mod history;
#[cfg(all(test, feature = "tokio"))]
pub(crate) mod network;
#[cfg(all(test, feature = "servers"))]
mod order;
mod own_times;
#[cfg(all(test, feature = "authenticated", feature = "json", feature = "servers"))]
mod settings;
#[cfg(test)]
pub(crate) mod shuttle_locks;
#[cfg(all(test, feature = "servers", feature = "tokio"))]
mod single_flight;
#[cfg(all(test, feature = "servers", feature = "tokio"))]
mod waiting;
