//! The names of all spans, events, fields and metrics, for dashboards, alerts,
//! filters and tests.
//!
//! Those that begin with `db.`, `server.`, `network.` or `error.` follow
//! OpenTelemetry's conventions for database clients.
//!
//! ```
//! // Only warnings about exchanges with memcached, but every detail of calls.
//! use memocached::names::targets::{CLIENT, MEMO};
//! let filter = format!("{MEMO}=debug,{CLIENT}=warn");
//! assert_eq!(filter, "memocached::memo=debug,memocached::client=warn");
//! ```

/// The targets of spans and events, for filters.
pub mod targets {
    /// Calls of memoized functions.
    pub const MEMO: &str = "memocached::memo";
    /// Exchanges with memcached.
    pub const CLIENT: &str = "memocached::client";
}

/// The names of spans, except those named after a function, or after a verb and a
/// node (`get 127.0.0.1:11211`).
pub mod spans {
    /// Rendering the key; level DEBUG.
    pub const SERIALIZE_KEY: &str = "serialize-key";
    /// Decoding a value that was found; level DEBUG.
    pub const TRY_DESERIALIZE: &str = "try-deserialize";
    /// Waiting for another call's computation, in this process or another one.
    pub const WAIT: &str = "wait";
    /// Waiting until one of the bodies that may run at once has ended (`at_most`).
    pub const WAIT_FOR_PLACE: &str = "wait-for-place";
    /// Running the function's own body.
    pub const COMPUTE: &str = "compute";
    /// Encoding a value to be stored; level DEBUG.
    pub const SERIALIZE_VALUE: &str = "serialize-value";
}

/// The texts of events.
pub mod events {
    /// A value was found and served; level DEBUG, as of the next three.
    pub const CACHE_HIT: &str = "Cache hit";
    /// No value was found; [`MISS_REASON`](super::attributes::MISS_REASON) says why.
    pub const CACHE_MISS: &str = "Cache miss";
    /// A value past its ttl was served (`grace`).
    pub const CACHE_STALE: &str = "Cache stale";
    /// The result of another caller's computation was served.
    pub const CACHE_COALESCED: &str = "Cache coalesced";
    /// A value could not be refreshed, so the old one stays; level WARN.
    pub const REFRESH_FAILED: &str = "Cache refresh failed";
    /// The cache was unavailable; level DEBUG. When that begins and ends is told once, at
    /// WARN and INFO.
    pub const CACHE_UNAVAILABLE: &str = "Cache unavailable";
    /// The stored bytes could not be decoded; level WARN.
    pub const UNDECODABLE: &str = "Cached value could not be decoded";
    /// A value was not stored; level WARN, or DEBUG if that was on purpose.
    pub const NOT_STORED: &str = "Result not stored";
    /// A server is not asked for a while, as it has failed; level WARN. The cause is
    /// [`ERROR_MESSAGE`](super::attributes::ERROR_MESSAGE).
    pub const LEFT_ALONE: &str = "Server left alone";
    /// A server that was left alone is asked again; level INFO.
    pub const ASKED_AGAIN: &str = "Server asked again";
}

/// The fields of spans and events, and the attributes of metrics.
pub mod attributes {
    /// The function's `name` in the attribute, or its path; spans and metrics.
    pub const CACHE_NAME: &str = "cache.name";
    /// The key's template.
    pub const KEY_TEMPLATE: &str = "cache.key.template";
    /// The key itself, if `MEMCACHED_RECORD` asks for it.
    pub const KEY: &str = "cache.key";
    /// How many different elements a batch function was called with, or computes.
    pub const KEYS: &str = "cache.keys";
    /// For how many elements a value was found.
    pub const HITS: &str = "cache.hits";
    /// For how many elements a value was not found.
    pub const MISSES: &str = "cache.misses";
    /// Whether a value was found.
    pub const HIT: &str = "cache.hit";
    /// How the call ended: `hit`, `miss` and so on; spans and metrics.
    pub const RESULT: &str = "cache.result";
    /// The first bytes of the stored value, if `MEMCACHED_RECORD` asks for them.
    pub const VALUE: &str = "cache.value";
    /// The ttl in seconds, or -1 for a value that never expires.
    pub const TTL: &str = "cache.ttl";
    /// Bytes stored or read, header included.
    pub const ITEM_SIZE: &str = "cache.item_size";
    /// Set on the event of a miss.
    pub const MISS: &str = "cache.miss";
    /// Set on the event of a stale value.
    pub const STALE: &str = "cache.stale";
    /// `error` if the value was served because computing failed.
    pub const STALE_REASON: &str = "cache.stale.reason";
    /// Set on the event of a coalesced call.
    pub const COALESCED: &str = "cache.coalesced";
    /// Why a value was computed: a text of [`MissReason`](crate::MissReason), or `bypass`;
    /// spans and metrics.
    pub const MISS_REASON: &str = "cache.miss.reason";
    /// Why a value was not stored; spans and metrics: a text of
    /// [`ErrorKind`](crate::ErrorKind), such as `out_of_time`, or `ttl is zero`. On events at
    /// level DEBUG also `store_if`, `ttl`, `another call stores` and `a writer is at work`.
    pub const NOT_STORED_REASON: &str = "cache.not_stored.reason";

    /// `memcached`.
    pub const DB_SYSTEM: &str = "db.system.name";
    /// The verb, such as `get`.
    pub const DB_OPERATION: &str = "db.operation.name";
    /// The word of a reply that reports a failure, such as `SERVER_ERROR`.
    pub const DB_STATUS: &str = "db.response.status_code";
    /// The number of keys in the request.
    pub const DB_KEYS: &str = "db.memcached.keys";
    /// The node's host or socket, or `embedded`.
    pub const SERVER_ADDRESS: &str = "server.address";
    /// The node's port.
    pub const SERVER_PORT: &str = "server.port";
    /// The IP address at which the node was reached.
    pub const PEER_ADDRESS: &str = "network.peer.address";
    /// The kind of failure: a text of [`ErrorKind`](crate::ErrorKind), or `cancelled`.
    pub const ERROR_TYPE: &str = "error.type";
    /// What failed, with all causes; on the event of a server that is left alone.
    pub const ERROR_MESSAGE: &str = "error.message";
    /// When a server that is left alone is looked at next.
    pub const NEXT_LOOK: &str = "next_look";

    /// The verb, on `memocached.client.*`.
    pub const METHOD: &str = "method";
    /// `ok` or `error`, on `memocached.client.*`.
    pub const STATUS: &str = "status";
    /// The same as [`ERROR_TYPE`], on `memocached.client.*`.
    pub const ERROR: &str = "error";
    /// `up` or `down`, on `memocached.ring.nodes`.
    pub const STATE: &str = "state";
    /// The node with its port.
    pub const POOL_NAME: &str = "db.client.connection.pool.name";
    /// `idle` or `used`.
    pub const CONNECTION_STATE: &str = "db.client.connection.state";
}

/// The names of metrics; the guide has a table of their attributes.
pub mod metrics {
    /// Histogram in seconds.
    pub const OPERATION_DURATION: &str = "db.client.operation.duration";
    /// Counter.
    pub const CLIENT_CALLS: &str = "memocached.client.calls";
    /// Histogram in milliseconds.
    pub const CLIENT_LATENCY: &str = "memocached.client.latency";
    /// Counter.
    pub const CACHE_REQUESTS: &str = "memocached.cache.requests";
    /// Counter.
    pub const CACHE_MISSES: &str = "memocached.cache.misses";
    /// Counter.
    pub const CACHE_NOT_STORED: &str = "memocached.cache.not_stored";
    /// Histogram in seconds.
    pub const COMPUTE_DURATION: &str = "memocached.compute.duration";
    /// Counter in seconds.
    pub const COMPUTE_SAVED: &str = "memocached.compute.saved";
    /// Histogram in bytes.
    pub const ITEM_SIZE: &str = "memocached.item.size";
    /// Counter.
    pub const INVALIDATIONS: &str = "memocached.invalidations";
    /// Gauge.
    pub const RING_NODES: &str = "memocached.ring.nodes";
    /// Gauge, 1 or 0.
    pub const NODE_UP: &str = "memocached.node.up";
    /// Up-down counter.
    pub const CONNECTION_COUNT: &str = "db.client.connection.count";
    /// Histogram in seconds.
    pub const CONNECTION_WAIT_TIME: &str = "db.client.connection.wait_time";
    /// Histogram in seconds.
    pub const CONNECTION_CREATE_TIME: &str = "db.client.connection.create_time";
    /// Counter.
    pub const CONNECTION_TIMEOUTS: &str = "db.client.connection.timeouts";
}
