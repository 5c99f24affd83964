//! What a program can set, the environment can set, and the other way round.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::cache::Cache;
use crate::config::builder::Builder;
use crate::config::choices::Shown;
use crate::config::{Settings, environment};
use crate::exchange::Ttl;
use crate::server::{Distribution, Failover, Protocol};

/// Variables, and the method that sets the same.
type Pair = (&'static [(&'static str, &'static str)], &'static str, fn(Builder<Cache>) -> Builder<Cache>);

const PAIRS: &[Pair] = &[
    (&[("SERVERS", "a, b:1")], "servers", |builder| builder.servers("a, b:1")),
    #[cfg(feature = "servers")]
    (&[("DISCOVERY", "tls://cfg:1")], "discovery", |builder| builder.discovery("tls://cfg:1", Duration::from_secs(60))),
    #[cfg(feature = "servers")]
    (&[("DISCOVERY", "dns://cfg:1"), ("DISCOVERY_INTERVAL", "10s")], "discovery", |builder| {
        builder.discovery("dns://cfg:1", Duration::from_secs(10))
    }),
    (&[("DISTRIBUTION", "modula")], "distribution", |builder| builder.distribution(Distribution::Modula)),
    (&[("FAILOVER", "next")], "failover", |builder| builder.failover(Failover::Next)),
    (&[("RETRY_AFTER", "10s")], "retry_after", |builder| builder.retry_after(Duration::from_secs(10))),
    (&[("NAMESPACE", "shop")], "namespace", |builder| builder.namespace("shop")),
    (&[("TTL", "forever")], "ttl", |builder| builder.ttl(Ttl::Forever)),
    (&[("TTL", "5m")], "ttl", |builder| builder.ttl(Duration::from_secs(300))),
    (&[("JITTER", "25%")], "jitter", |builder| builder.jitter(25)),
    (&[("JITTER", "off")], "jitter", |builder| builder.jitter(0)),
    (&[("TIMEOUT", "50ms")], "timeout", |builder| builder.timeout(Duration::from_millis(50))),
    (&[("CONNECT_TIMEOUT", "1s")], "connect_timeout", |builder| builder.connect_timeout(Duration::from_secs(1))),
    (&[("POOL_SIZE", "4")], "pool_size", |builder| builder.pool_size(4)),
    (&[("REFRESHES", "8")], "refreshes", |builder| builder.refreshes(8)),
    (&[("NEAR_SIZE", "2MiB")], "near_size", |builder| builder.near_size(2 << 20)),
    (&[("COMPRESS", "4KiB")], "compress", |builder| builder.compress(4096)),
    (&[("ITEM_LIMIT", "4MiB")], "item_limit", |builder| builder.item_limit(4 << 20)),
    (&[("CODEC", "json")], "codec", |builder| builder.codec("json")),
    (&[("PROTOCOL", "ascii")], "protocol", |builder| builder.protocol(Protocol::Ascii)),
    (&[("USERNAME", "joe"), ("PASSWORD", "s3cret")], "credentials", |builder| builder.credentials("joe", "s3cret")),
    (&[("TLS_CA", "/ca.pem")], "tls_ca", |builder| builder.tls_ca("/ca.pem")),
    (&[("TLS_CERT", "/c.pem"), ("TLS_KEY", "/k.pem")], "tls_certificate", |builder| {
        builder.tls_certificate("/c.pem", "/k.pem")
    }),
    (&[("ENABLED", "false")], "enabled", |builder| builder.enabled(false)),
    (&[("ENABLED", "-fib,-user")], "disabled_functions", |builder| builder.disabled_functions(["fib", "user"])),
    (&[("RECORD", "values")], "record", |builder| builder.record(Shown::Values)),
    (&[("AUTH_KEY", "6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b")], "auth_key", |builder| {
        builder.auth_key([b'k'; 32])
    }),
];

/// What only a program can set: a namespace is flushed by the program itself.
const WITHOUT_VARIABLE: [&str; 2] = ["build", "flushable_namespace"];

fn from_variables(variables: &[(&str, &str)]) -> Settings {
    let value = |asked: &str| {
        let found = variables.iter().find(|(name, _)| asked.strip_prefix("MEMCACHED_") == Some(name));
        found.map(|(_, value)| (*value).to_owned())
    };
    Settings::from_lookup(value).expect("values that can be used")
}

#[test]
fn a_method_and_its_variable_set_the_same() {
    let default = format!("{:?}", Builder::<Cache>::new());
    for (variables, method, set) in PAIRS {
        let (built, read) = (format!("{:?}", set(Builder::new())), from_variables(variables));
        assert!(built.contains(&format!("Ok({read:?})")), "{method}: {built}\n{read:?}");
        let is_default = matches!(variables, [("TTL", "5m")]);
        assert_eq!(built == default, is_default, "{method} changes something");
    }
}

#[test]
fn every_variable_has_a_method_and_every_method_a_variable() {
    let paired: BTreeSet<String> =
        PAIRS.iter().flat_map(|(names, ..)| *names).map(|(name, _)| format!("MEMCACHED_{name}")).collect();
    assert_eq!(environment::names().into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), paired);

    let sources = [include_str!("../config/builder.rs"), include_str!("../cache/builder.rs")];
    let methods = sources.iter().flat_map(|source| source.split("\n    pub fn ").skip(1));
    let methods: BTreeSet<&str> = methods.filter_map(|text| text.split('(').next()).collect();
    let paired = PAIRS.iter().map(|(_, method, _)| *method).chain(WITHOUT_VARIABLE).collect();
    assert_eq!(methods, paired);
}
