//! What servers and networks do wrong, and what becomes of calls.

mod batches;
mod cells;
mod crowds;
mod rows;
mod servers;
mod tls;
