//! What tests share: real servers and processes, ended with the test.

pub(crate) mod memcached;
pub(crate) mod process;
pub(crate) mod recording;
