//! What tests share: real servers and processes, ended with the test.

pub(crate) mod asking;
pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod configuration;
pub(crate) mod damage;
pub(crate) mod folder;
pub(crate) mod full;
pub(crate) mod lag;
pub(crate) mod memcached;
pub(crate) mod names;
pub(crate) mod older;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod proxy;
pub(crate) mod receiver;
pub(crate) mod recording;
pub(crate) mod tap;
pub(crate) mod tools;
pub(crate) mod twemproxy;
pub(crate) mod verbs;
pub(crate) mod web;
