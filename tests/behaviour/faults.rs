//! What servers and networks do wrong, and what becomes of calls.

mod cells;
mod crowds;
mod rows;
mod servers;
mod tls;
