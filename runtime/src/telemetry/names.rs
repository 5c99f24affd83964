//! The names of all that is seen, for dashboards, alerts, filters and tests.
//!
//! Those that begin with `db.`, `server.`, `network.` and `error.` are
//! OpenTelemetry's conventions for database clients.
//!
//! ```
//! // Exchanges with memcached from WARN on, calls of functions in full.
//! use memocached::names::targets::{CLIENT, MEMO};
//! assert_eq!(format!("{MEMO}=debug,{CLIENT}=warn"), "memocached::memo=debug,memocached::client=warn");
//! ```

/// The targets of spans and events, for filters.
pub mod targets {
    /// Calls of memoized functions.
    pub const MEMO: &str = "memocached::memo";
    /// Exchanges with memcached.
    pub const CLIENT: &str = "memocached::client";
}

/// The names of spans, beside those that are named after a function, or after a
/// verb and a node (`get 127.0.0.1:11211`).
pub mod spans {
    /// Writing the key; level DEBUG.
    pub const SERIALIZE_KEY: &str = "serialize-key";
    /// Reading a value that was found; level DEBUG.
    pub const TRY_DESERIALIZE: &str = "try-deserialize";
    /// Waiting for what another call computes, here or in another process.
    pub const WAIT: &str = "wait";
    /// The function's own body.
    pub const COMPUTE: &str = "compute";
    /// Writing a value that is to be stored; level DEBUG.
    pub const SERIALIZE_VALUE: &str = "serialize-value";
}

/// The texts of events.
pub mod events {
    /// A value was found.
    pub const CACHE_HIT: &str = "Cache hit";
    /// No value was found; [`MISS_REASON`](super::attributes::MISS_REASON) says why.
    pub const CACHE_MISS: &str = "Cache miss";
    /// A value whose time is over was used (`grace`).
    pub const CACHE_STALE: &str = "Cache stale";
    /// What another caller was computing was used.
    pub const CACHE_COALESCED: &str = "Cache coalesced";
    /// A value could not be computed anew, so the old one stays; level WARN.
    pub const REFRESH_FAILED: &str = "Cache refresh failed";
    /// The cache could not be asked; level WARN.
    pub const CACHE_UNAVAILABLE: &str = "Cache unavailable";
    /// There were bytes, but no value in them; level WARN.
    pub const UNDECODABLE: &str = "Cached value could not be decoded";
    /// A value was not stored; level WARN, or DEBUG where that is no trouble.
    pub const NOT_STORED: &str = "Result not stored";
}

/// The fields of spans and events, and the attributes of metrics.
pub mod attributes {
    /// The function's `name` in the attribute, or its path; spans and metrics.
    pub const CACHE_NAME: &str = "cache.name";
    /// The key's template.
    pub const KEY_TEMPLATE: &str = "cache.key.template";
    /// The key itself, where `MEMCACHED_RECORD` asks for it.
    pub const KEY: &str = "cache.key";
    /// Whether a value was found.
    pub const HIT: &str = "cache.hit";
    /// How the call ended: `hit`, `miss` and so on; spans and metrics.
    pub const RESULT: &str = "cache.result";
    /// The first bytes of what is stored of the value, where
    /// `MEMCACHED_RECORD` asks for them.
    pub const VALUE: &str = "cache.value";
    /// Seconds for which a value is kept, -1 for ever.
    pub const TTL: &str = "cache.ttl";
    /// Bytes stored or read, header included.
    pub const ITEM_SIZE: &str = "cache.item_size";
    /// Set on the event of a miss.
    pub const MISS: &str = "cache.miss";
    /// Set on the event of a stale value.
    pub const STALE: &str = "cache.stale";
    /// `error` where the value is used because computing failed.
    pub const STALE_REASON: &str = "cache.stale.reason";
    /// Set on the event of a value that another caller was computing.
    pub const COALESCED: &str = "cache.coalesced";
    /// `absent`, `schema`, `decode_error`, `unavailable`, `bypass` and so on.
    pub const MISS_REASON: &str = "cache.miss.reason";
    /// Why a value was not stored.
    pub const NOT_STORED_REASON: &str = "cache.not_stored.reason";

    /// `memcached`.
    pub const DB_SYSTEM: &str = "db.system.name";
    /// The verb, such as `get`.
    pub const DB_OPERATION: &str = "db.operation.name";
    /// The meta protocol's return code, such as `HD`.
    pub const DB_STATUS: &str = "db.response.status_code";
    /// How many keys were asked for at once.
    pub const DB_KEYS: &str = "db.memcached.keys";
    /// The node's host or socket, or `embedded`.
    pub const SERVER_ADDRESS: &str = "server.address";
    /// The node's port.
    pub const SERVER_PORT: &str = "server.port";
    /// The IP address that the node was reached at.
    pub const PEER_ADDRESS: &str = "network.peer.address";
    /// What failed: one of [`ErrorKind`](crate::ErrorKind)'s texts, or `cancelled`.
    pub const ERROR_TYPE: &str = "error.type";

    /// The verb, of `memocached.client.*`.
    pub const METHOD: &str = "method";
    /// `ok` or `error`, of `memocached.client.*`.
    pub const STATUS: &str = "status";
    /// As [`ERROR_TYPE`], of `memocached.client.*`.
    pub const ERROR: &str = "error";
    /// `up` or `down`, of `memocached.ring.nodes`.
    pub const STATE: &str = "state";
    /// The node with its port.
    pub const POOL_NAME: &str = "db.client.connection.pool.name";
    /// `idle` or `used`.
    pub const CONNECTION_STATE: &str = "db.client.connection.state";
}

/// The names of metrics; the README has a table of their attributes.
pub mod metrics {
    /// Histogram, s.
    pub const OPERATION_DURATION: &str = "db.client.operation.duration";
    /// Counter.
    pub const CLIENT_CALLS: &str = "memocached.client.calls";
    /// Histogram, ms.
    pub const CLIENT_LATENCY: &str = "memocached.client.latency";
    /// Counter.
    pub const CACHE_REQUESTS: &str = "memocached.cache.requests";
    /// Histogram, s.
    pub const COMPUTE_DURATION: &str = "memocached.compute.duration";
    /// Counter, s.
    pub const COMPUTE_SAVED: &str = "memocached.compute.saved";
    /// Histogram, bytes.
    pub const ITEM_SIZE: &str = "memocached.item.size";
    /// Gauge.
    pub const RING_NODES: &str = "memocached.ring.nodes";
    /// Gauge, 1 or 0.
    pub const NODE_UP: &str = "memocached.node.up";
    /// Up-down counter.
    pub const CONNECTION_COUNT: &str = "db.client.connection.count";
    /// Histogram, s.
    pub const CONNECTION_WAIT_TIME: &str = "db.client.connection.wait_time";
    /// Histogram, s.
    pub const CONNECTION_CREATE_TIME: &str = "db.client.connection.create_time";
    /// Counter.
    pub const CONNECTION_TIMEOUTS: &str = "db.client.connection.timeouts";
}
