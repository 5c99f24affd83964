//! Reads settings from the environment.
//!
//! Reading is strict: an unusable value is an error that names the variable,
//! the value and what is accepted. Unknown names are logged.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Settings;
use super::forms::{assign, assign_limit, assign_some, bytes, compress, enabled, jitter, limit, positive, size, ttl};
use crate::codec::Standard;
use crate::error::{Error, ErrorKind};
use crate::named::nearest;
use crate::telemetry;
use crate::value::signature::Secret;

/// Sets one setting from text. An error says what is accepted.
pub(super) type Setter = fn(&mut Settings, &str) -> Result<(), String>;

pub(super) const VARIABLES: &[(&str, Setter)] = &[
    ("MEMCACHED_SERVERS", Settings::set_servers),
    ("MEMCACHED_DISCOVERY", discovery),
    ("MEMCACHED_DISCOVERY_INTERVAL", discovery_interval),
    ("MEMCACHED_DISTRIBUTION", |settings, text| assign(&mut settings.distribution, text.parse().ok())),
    ("MEMCACHED_FAILOVER", |settings, text| assign(&mut settings.failover, text.parse().ok())),
    ("MEMCACHED_RETRY_AFTER", |settings, text| assign_some(&mut settings.retry_after, limit(text))),
    ("MEMCACHED_NAMESPACE", Settings::set_namespace),
    ("MEMCACHED_TTL", |settings, text| assign(&mut settings.ttl, ttl(text))),
    ("MEMCACHED_JITTER", |settings, text| assign(&mut settings.jitter, jitter(text))),
    ("MEMCACHED_TIMEOUT", |settings, text| assign_limit(&mut settings.timeout, text)),
    ("MEMCACHED_CONNECT_TIMEOUT", |settings, text| assign_limit(&mut settings.connect_timeout, text)),
    ("MEMCACHED_POOL_SIZE", |settings, text| assign(&mut settings.pool_size, positive(text))),
    ("MEMCACHED_REFRESHES", |settings, text| assign(&mut settings.refreshes, positive(text))),
    ("MEMCACHED_NEAR_SIZE", |settings, text| assign(&mut settings.near_size, bytes(text))),
    ("MEMCACHED_COMPRESS", |settings, text| assign(&mut settings.compress, compress(text))),
    ("MEMCACHED_ITEM_LIMIT", |settings, text| settings.set_item_limit(size(text))),
    ("MEMCACHED_CODEC", |settings, text| assign_some(&mut settings.codec, Standard::named(text))),
    ("MEMCACHED_PROTOCOL", |settings, text| assign(&mut settings.protocol, text.parse().ok())),
    ("MEMCACHED_USERNAME", Settings::set_username),
    ("MEMCACHED_PASSWORD", Settings::set_password),
    ("MEMCACHED_TLS_CA", |settings, text| set_path(&mut settings.tls_ca, text)),
    ("MEMCACHED_TLS_CERT", |settings, text| set_path(&mut settings.tls_cert, text)),
    ("MEMCACHED_TLS_KEY", |settings, text| set_path(&mut settings.tls_key, text)),
    ("MEMCACHED_ENABLED", |settings, text| assign(&mut settings.enabled, enabled(text))),
    ("MEMCACHED_RECORD", |settings, text| assign(&mut settings.record, text.parse().ok())),
    ("MEMCACHED_AUTH_KEY", |settings, text| assign_some(&mut settings.auth_key, Secret::from_text(text))),
];

impl Settings {
    pub(crate) fn from_env() -> Result<Self, Error> {
        Self::from_lookup(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// Reads the variables through `lookup`; an empty one counts as not set.
    pub(crate) fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let mut settings = Settings::default();
        for (name, set) in VARIABLES {
            let Some(text) = lookup(name).filter(|text| !text.trim().is_empty()) else { continue };
            let set = if text.contains(char::REPLACEMENT_CHARACTER) {
                Err("text in UTF-8".into())
            } else {
                set(&mut settings, text.trim())
            };
            set.map_err(|accepted| unusable(name, &text, &accepted))?;
        }
        Ok(settings)
    }
}

/// Sets what names the servers, unless they are written down.
fn discovery(settings: &mut Settings, text: &str) -> Result<(), String> {
    if !settings.servers.is_empty() {
        return Err("nothing beside MEMCACHED_SERVERS: either names the servers".into());
    }
    settings.set_discovery(text)
}

/// Sets how often that is asked.
fn discovery_interval(settings: &mut Settings, text: &str) -> Result<(), String> {
    let mut every = Duration::ZERO;
    assign(&mut every, limit(text))?;
    if settings.discovery.is_none() {
        return Err("nothing without MEMCACHED_DISCOVERY, which says what is asked".into());
    }
    settings.set_discovery_interval(every);
    Ok(())
}

fn set_path(setting: &mut Option<String>, text: &str) -> Result<(), String> {
    *setting = Some(text.to_owned());
    Ok(())
}

/// Announces once that variables have no effect, if there are such. That runs other
/// people's code, so no lock is held meanwhile.
pub(crate) fn announce_strange() {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if !TOLD.swap(true, Ordering::Relaxed) {
        let names: Vec<_> = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
        if let Some(what) = strange(&names) {
            telemetry::announce_strange_variable(&what);
        }
    }
}

/// Returns the names of all variables.
pub(crate) fn names() -> Vec<&'static str> {
    VARIABLES.iter().map(|(name, _)| *name).collect()
}

/// Returns the message about variables that look like ours but are not.
pub(super) fn strange(names: &[String]) -> Option<String> {
    let known = self::names();
    let services: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix("_SERVICE_HOST")).collect();
    let is_ours = |name: &&String| {
        name.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("MEMCACHED_"))
            && !known.contains(&name.as_str())
            && !is_about_a_service(name, &services)
    };
    let strange: Vec<&String> = names.iter().filter(is_ours).collect();
    let meant = |name: &str| nearest(&name.to_ascii_uppercase(), &known).map(|meant| format!("did you mean {meant}?"));
    let there_are = || format!("there are {}", known.join(", "));
    match &strange[..] {
        [] => None,
        [name] => {
            let advice = meant(name).unwrap_or_else(there_are);
            Some(format!("the variable {} has no effect; {advice}", name.escape_debug()))
        }
        several => {
            let told = several.iter().map(|name| {
                let advice = meant(name).map(|advice| format!(" ({advice})")).unwrap_or_default();
                format!("{}{advice}", name.escape_debug())
            });
            let told: Vec<String> = told.collect();
            Some(format!("these variables have no effect: {}; {}", told.join(", "), there_are()))
        }
    }
}

/// Whether Kubernetes or Docker sets this variable for a service that is called
/// `memcached`, or like one in `services`.
fn is_about_a_service(name: &str, services: &[&str]) -> bool {
    services
        .iter()
        .chain(&["MEMCACHED"])
        .filter_map(|service| name.strip_prefix(service))
        .any(|rest| ["_SERVICE_", "_PORT_"].iter().any(|start| rest.starts_with(start)) || rest == "_PORT")
}

fn unusable(name: &str, value: &str, accepted: &str) -> Error {
    let setting = match (name, value.contains('@')) {
        // What precedes the `@` may be a password.
        ("MEMCACHED_SERVERS" | "MEMCACHED_DISCOVERY", true) => format!("{name} (not shown, because it contains `@`)"),
        ("MEMCACHED_PASSWORD" | "MEMCACHED_AUTH_KEY", _) => format!("{name} (not shown)"),
        _ => format!("{name}={value:?}"),
    };
    Error::new(ErrorKind::Configuration, format!("{setting} cannot be used; accepted: {accepted}"))
}

#[cfg(test)]
mod tests {
    use super::super::choices::Shown;
    use super::super::enabled::Enabled;
    use super::*;
    use crate::config::jitter::Jitter;
    use crate::exchange::Ttl;
    use crate::server::Distribution;
    use crate::server::discovery::Source;

    fn read(name: &str, value: &str) -> Result<Settings, Error> {
        Settings::from_lookup(|asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn every_variable_is_read() {
        assert_eq!(read("MEMCACHED_SERVERS", "a, b:1").unwrap().servers.len(), 2);
        assert_eq!(read("MEMCACHED_DISTRIBUTION", "ketama").unwrap().distribution, Distribution::Ketama);
        assert_eq!(read("MEMCACHED_DISTRIBUTION", "rendezvous").unwrap().distribution, Distribution::Rendezvous);
        assert_eq!(read("MEMCACHED_DISTRIBUTION", "modula").unwrap().distribution, Distribution::Modula);
        assert_eq!(read("MEMCACHED_RETRY_AFTER", "10s").unwrap().retry_after, Some(Duration::from_secs(10)));
        assert_eq!(read("MEMCACHED_NAMESPACE", "shop").unwrap().namespace, "shop");
        assert_eq!(read("MEMCACHED_TTL", "5m").unwrap().ttl, Ttl::For(Duration::from_secs(300)));
        assert_eq!(read("MEMCACHED_TTL", "forever").unwrap().ttl, Ttl::Forever);
        assert_eq!(read("MEMCACHED_TIMEOUT", "50ms").unwrap().timeout, Duration::from_millis(50));
        assert_eq!(read("MEMCACHED_CONNECT_TIMEOUT", "1s").unwrap().connect_timeout, Duration::from_secs(1));
        assert_eq!(read("MEMCACHED_POOL_SIZE", "4").unwrap().pool_size, 4);
        assert_eq!(read("MEMCACHED_NEAR_SIZE", "1GiB").unwrap().near_size, 1 << 30);
        assert_eq!(read("MEMCACHED_COMPRESS", "4KiB").unwrap().compress, Some(4096));
        assert_eq!(read("MEMCACHED_COMPRESS", "off").unwrap().compress, None);
        assert_eq!(read("MEMCACHED_JITTER", "off").unwrap().jitter, Jitter(0));
        assert_eq!(read("MEMCACHED_JITTER", "25%").unwrap().jitter, Jitter(25));
        assert_eq!(read("MEMCACHED_CODEC", "bincode").unwrap().codec, Standard::named("bincode"));
        assert_eq!(read("MEMCACHED_TLS_CA", "/ca.pem").unwrap().tls_ca.as_deref(), Some("/ca.pem"));
        assert_eq!(read("MEMCACHED_ENABLED", "false").unwrap().enabled, Enabled::None);
        let without = ["fib", "shop::user"].map(str::to_owned).to_vec();
        assert_eq!(read("MEMCACHED_ENABLED", "-fib, -shop::user").unwrap().enabled, Enabled::Without(without));
        assert_eq!(read("MEMCACHED_RECORD", "keys").unwrap().record, Shown::Keys);
        assert_eq!(read("MEMCACHED_RECORD", "values").unwrap().record, Shown::Values);
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        let default = format!("{:?}", Settings::default());
        for (name, _) in VARIABLES {
            assert_eq!(format!("{:?}", read(name, " ").unwrap()), default, "{name}");
        }
    }

    #[test]
    fn a_value_that_cannot_be_used_is_named_with_what_is_accepted() {
        let long = "x".repeat(251);
        let cases: &[(&str, &str, &[&str])] = &[
            (
                "SERVERS",
                "a list of `host`",
                &[
                    ",",
                    "cache:0",
                    "cache:65536",
                    "cache:port",
                    "cache:",
                    ":11211",
                    "[::1",
                    "::1",
                    "udp://cache",
                    "http://cache",
                    "cache/?70000",
                    "cache?weight=-1",
                    "tls:///run/sock",
                    "unix:relative.sock",
                    "cache/0",
                    "a, tls://a",
                    "bücher",
                ],
            ),
            (
                "DISCOVERY",
                "`dns://name:port`",
                &[
                    "/run/mc.sock",
                    "cfg:0",
                    "foo://cfg:1",
                    "dnssrv://cfg",
                    "cfg:1,cfg:2",
                    "dns://cfg",
                    "gcp://cfg:1/x?y",
                ],
            ),
            ("DISCOVERY_INTERVAL", "a duration such as `300`", &["0", "0ms", "often", "-1", "25h"]),
            ("DISCOVERY_INTERVAL", "nothing without MEMCACHED_DISCOVERY", &["10s"]),
            ("DISTRIBUTION", "`ketama`, `rendezvous` or `modula`", &["Ketama", "consistent", "ketama,modula"]),
            ("FAILOVER", "`none` or `next`", &["true", "NEXT"]),
            ("RETRY_AFTER", "a duration such as `300`", &["0", "off", "25h"]),
            ("NAMESPACE", "up to 100 printable ASCII", &["my shop", "schön", &long[..101], "a\tb"]),
            (
                "TTL",
                "a duration such as `300`",
                &["0", "soon", "-1", "+1", "0ms", "1.5", "5 parsecs", "99999999999999999999"],
            ),
            ("JITTER", "`off`, or a percentage", &["0", "51%", "-1", "0.1", "ten", "10 %%"]),
            ("TIMEOUT", "a duration with its unit", &["-1s", "0", "fast", "100 msec,", "25h", "86401", "forever"]),
            ("CONNECT_TIMEOUT", "a duration with its unit", &["1 parsec", "0s", "2d"]),
            ("REFRESHES", "a whole number from 1 to 65535", &["0", "many", "-1", "65536"]),
            ("POOL_SIZE", "a whole number from 1 to 65535", &["0", "many", "-1", "+4", "1.0", "65536", "0x10", "1e3"]),
            (
                "NEAR_SIZE",
                "from 2MiB to 64GiB",
                &["1", "2MB", "64mib", "1.5GiB", "-2MiB", "99999999999GiB", "65GiB", "2047KiB"],
            ),
            ("COMPRESS", "`off`, or a number of bytes", &["1", "on", "63", "4KB", "-1"]),
            ("CODEC", "bincode", &["pickle", "Bincode", "bincode2"]),
            ("PROTOCOL", "`auto`, `meta` or `ascii`", &["binary", "Meta", "udp"]),
            ("USERNAME", "a user name of up to 250", &["jo hn", "jörg", &long]),
            ("ENABLED", "`true`, `false`, or functions", &["fib", "-", "1", "FALSE", "-a,b", "-a,,-b", "no"]),
            ("RECORD", "`none`, `keys` or `values`", &["value", "all"]),
            ("TLS_CA", "text in UTF-8", &["/\u{fffd}.pem"]),
            ("TLS_KEY", "text in UTF-8", &["/\u{fffd}.pem"]),
        ];
        let mut values = 0;
        for (name, accepted, wrong) in cases {
            let name = format!("MEMCACHED_{name}");
            for value in *wrong {
                values += 1;
                let error = read(&name, value).expect_err(value);
                assert_eq!(error.kind(), ErrorKind::Configuration);
                let (text, begin) = (error.to_string(), format!("{name}={value:?} cannot be used; accepted: "));
                assert!(text.starts_with(&begin) && text[begin.len()..].contains(accepted), "{text}");
            }
        }
        assert!(values >= 60, "{values}");
    }

    #[test]
    fn a_limit_without_a_unit_is_told_with_both_that_may_be_meant() {
        for name in ["MEMCACHED_TIMEOUT", "MEMCACHED_CONNECT_TIMEOUT"] {
            let text = read(name, "100").unwrap_err().to_string();
            assert!(text.starts_with(&format!("{name}=\"100\"")) && text.contains("`100ms` or `100s`"), "{text}");
        }
    }

    #[test]
    fn servers_are_either_written_down_or_discovered() {
        let both = |name: &str| match name {
            "MEMCACHED_SERVERS" => Some("cache".to_owned()),
            "MEMCACHED_DISCOVERY" => Some("tls://cfg:11211".to_owned()),
            _ => None,
        };
        let text = Settings::from_lookup(both).unwrap_err().to_string();
        assert!(text.starts_with("MEMCACHED_DISCOVERY=") && text.contains("beside MEMCACHED_SERVERS"), "{text}");
        let discovery = read("MEMCACHED_DISCOVERY", "dns://cache:11211").unwrap().discovery.unwrap();
        assert_eq!((discovery.source, discovery.every), (Source::Name, Duration::from_secs(60)));
    }

    #[test]
    fn a_password_is_not_repeated() {
        for value in ["s3cret word", "s3cret\u{7}", &"s3cret".repeat(50), "s3cret\u{fffd}"] {
            let text = read("MEMCACHED_PASSWORD", value).unwrap_err().to_string();
            assert!(text.starts_with("MEMCACHED_PASSWORD (not shown) cannot be used; accepted: "), "{text}");
            assert!(!text.contains("s3cret"), "{text}");
        }
        let text = read("MEMCACHED_SERVERS", "cache, joe:s3cret@cache").unwrap_err().to_string();
        assert!(text.starts_with("MEMCACHED_SERVERS (not shown") && text.contains("accepted: "), "{text}");
        assert!(text.contains("and MEMCACHED_PASSWORD") && !text.contains("joe") && !text.contains("s3cret"), "{text}");
        let text = read("MEMCACHED_DISCOVERY", "joe:s3cret@cfg").unwrap_err().to_string();
        assert!(text.contains("and MEMCACHED_PASSWORD") && !text.contains("joe") && !text.contains("s3cret"), "{text}");
    }

    #[test]
    fn names_that_are_none_of_ours_are_told_with_the_nearest_in_one_line() {
        let told = |names: &[&str]| strange(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        let one = |name: &str| told(&[name]).unwrap_or_default();
        assert!(one("MEMCACHED_SERVER").ends_with("has no effect; did you mean MEMCACHED_SERVERS?"));
        assert!(one("MEMCACHED_TIME_OUT").ends_with("did you mean MEMCACHED_TIMEOUT?"));
        assert!(one("memcached_ttl").ends_with("did you mean MEMCACHED_TTL?"));
        assert!(one("MEMCACHED_VERBOSITY").contains("there are MEMCACHED_SERVERS, "));
        let both = told(&["MEMCACHED_VERBOSITY", "MEMCACHED_TTLS"]).unwrap_or_default();
        assert!(both.starts_with("these variables have no effect: MEMCACHED_VERBOSITY, MEMCACHED_TTLS (did"), "{both}");
        for name in VARIABLES.iter().map(|(name, _)| *name).chain(["MEMCACHE_SERVERS", "PATH"]) {
            assert_eq!(told(&[name]), None);
        }
    }

    #[test]
    fn what_kubernetes_says_of_a_service_is_not_told() {
        for service in ["MEMCACHED", "MEMCACHED_CACHE"] {
            let names = [
                "_SERVICE_HOST",
                "_SERVICE_PORT",
                "_SERVICE_PORT_MEMCACHE",
                "_PORT",
                "_PORT_11211_TCP",
                "_PORT_11211_TCP_PROTO",
                "_PORT_11211_TCP_PORT",
                "_PORT_11211_TCP_ADDR",
            ];
            assert_eq!(strange(&names.map(|end| format!("{service}{end}"))), None);
        }
        let without_a_service = ["MEMCACHED_SERVER_PORT".to_owned()];
        assert!(strange(&without_a_service).is_some());
    }
}
