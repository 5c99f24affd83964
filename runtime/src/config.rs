//! Settings: from the environment, or from a builder with the same names.
//!
//! Reading is strict. A value that cannot be used is an error that names the
//! variable, the value and what is accepted.

use std::fmt;
use std::time::Duration;

#[cfg(feature = "memcache")]
use crate::breaker::Pauses;
#[cfg(feature = "memcache")]
use crate::cluster::Plan;
use crate::codec::Standard;
#[cfg(feature = "memcache")]
use crate::discovery::Discovery;
#[cfg(feature = "memcache")]
use crate::endpoint::{Access, Credentials};
use crate::error::{Error, ErrorKind};
use crate::exchange::Ttl;
use crate::ring::Distribution;
use crate::server::{Failover, Protocol, Server};
use crate::signature;
#[cfg(feature = "tls")]
use crate::tls::Tls;

/// Everything that can be set, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// None: the embedded store.
    pub(crate) servers: Vec<Server>,
    pub(crate) distribution: Distribution,
    pub(crate) failover: Failover,
    #[cfg(feature = "memcache")]
    pub(crate) discovery: Option<Discovery>,
    /// The longest pause between two looks at a server that is out.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) namespace: String,
    /// Whether the keys of a client have a generation in front.
    pub(crate) flushable: bool,
    pub(crate) ttl: Ttl,
    /// All cache I/O of one call.
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    /// Connections per node.
    pub(crate) pool_size: usize,
    /// Bytes kept in this process.
    pub(crate) near_size: u64,
    /// Bytes from which on a value is compressed; none: never.
    pub(crate) compress: Option<usize>,
    /// The codec where the attribute names none; a build may have none.
    pub(crate) codec: Option<Standard>,
    pub(crate) protocol: Protocol,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    /// Files in PEM: authorities to trust in place of the system's, and a
    /// certificate to show with its key.
    pub(crate) tls_ca: Option<String>,
    pub(crate) tls_cert: Option<String>,
    pub(crate) tls_key: Option<String>,
    pub(crate) enabled: Enabled,
    pub(crate) record: Record,
    /// What stored values are signed with.
    pub(crate) auth_key: Option<signature::Secret>,
}

/// Text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}

/// Which functions are cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Enabled {
    All,
    None,
    /// All but these, by name or by the last segment of the path.
    Without(Vec<String>),
}

/// What spans may show beside the key's template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Nothing,
    Keys,
    /// And keys.
    Values,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            servers: Vec::new(),
            distribution: Distribution::default(),
            failover: Failover::default(),
            #[cfg(feature = "memcache")]
            discovery: None,
            retry_after: None,
            namespace: String::new(),
            flushable: false,
            ttl: Ttl::For(Duration::from_secs(300)),
            timeout: Duration::from_millis(100),
            connect_timeout: Duration::from_millis(250),
            pool_size: 16,
            near_size: 64 << 20,
            compress: None,
            codec: Standard::named("bincode"),
            protocol: Protocol::Auto,
            username: None,
            password: None,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            enabled: Enabled::All,
            record: Record::Nothing,
            auth_key: None,
        }
    }
}

impl Settings {
    pub(crate) fn from_env() -> Result<Self, Error> {
        Self::from_lookup(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// Reads the variables through `lookup`; an empty one counts as not set.
    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let mut settings = Settings::default();
        let variables: [(&str, Setter); 20] = [
            ("MEMCACHED_SERVERS", Settings::set_servers),
            ("MEMCACHED_DISTRIBUTION", |settings, text| assign(&mut settings.distribution, distribution(text))),
            ("MEMCACHED_FAILOVER", |settings, text| assign(&mut settings.failover, failover(text))),
            ("MEMCACHED_NAMESPACE", Settings::set_namespace),
            ("MEMCACHED_TTL", |settings, text| {
                settings.ttl = ttl(text)?;
                Ok(())
            }),
            ("MEMCACHED_TIMEOUT", |settings, text| assign(&mut settings.timeout, duration(text))),
            ("MEMCACHED_CONNECT_TIMEOUT", |settings, text| assign(&mut settings.connect_timeout, duration(text))),
            ("MEMCACHED_POOL_SIZE", |settings, text| assign(&mut settings.pool_size, positive(text))),
            ("MEMCACHED_NEAR_SIZE", |settings, text| assign(&mut settings.near_size, bytes(text))),
            ("MEMCACHED_COMPRESS", |settings, text| assign(&mut settings.compress, compress(text))),
            ("MEMCACHED_CODEC", |settings, text| {
                settings.codec = Some(Standard::named(text).ok_or(Standard::FORM)?);
                Ok(())
            }),
            ("MEMCACHED_PROTOCOL", |settings, text| assign(&mut settings.protocol, protocol(text))),
            ("MEMCACHED_USERNAME", |settings, text| settings.set_username(text)),
            ("MEMCACHED_PASSWORD", |settings, text| settings.set_password(text)),
            ("MEMCACHED_TLS_CA", |settings, text| {
                settings.tls_ca = Some(text.to_owned());
                Ok(())
            }),
            ("MEMCACHED_TLS_CERT", |settings, text| {
                settings.tls_cert = Some(text.to_owned());
                Ok(())
            }),
            ("MEMCACHED_TLS_KEY", |settings, text| {
                settings.tls_key = Some(text.to_owned());
                Ok(())
            }),
            ("MEMCACHED_ENABLED", |settings, text| assign(&mut settings.enabled, enabled(text))),
            ("MEMCACHED_RECORD", |settings, text| assign(&mut settings.record, record(text))),
            ("MEMCACHED_AUTH_KEY", |settings, text| {
                settings.auth_key = Some(signature::Secret::from_text(text).ok_or(signature::Secret::FORM)?);
                Ok(())
            }),
        ];
        for (name, set) in variables {
            if let Some(text) = lookup(name).filter(|text| !text.trim().is_empty()) {
                set(&mut settings, text.trim()).map_err(|accepted| unusable(name, &text, &accepted))?;
            }
        }
        Ok(settings)
    }

    /// The cluster that these settings describe.
    ///
    /// # Errors
    ///
    /// If a server wants TLS and that cannot be had.
    #[cfg(feature = "memcache")]
    pub(crate) fn plan(&self) -> Result<Plan, Error> {
        let mut pauses = Pauses::default();
        if let Some(longest) = self.retry_after {
            pauses = Pauses { first: pauses.first.min(longest), longest };
        } else if self.failover == Failover::Next {
            // The sooner, the shorter values are out of date that other
            // processes have written elsewhere.
            pauses.longest = Duration::from_secs(5);
        }
        Ok(Plan {
            servers: self.servers.clone(),
            distribution: self.distribution,
            failover: self.failover,
            namespace: self.namespace.clone(),
            pool_size: self.pool_size,
            pauses,
            access: self.access()?,
            discovery: self.discovery.clone(),
        })
    }

    #[cfg(feature = "memcache")]
    fn access(&self) -> Result<Access, Error> {
        let credentials = match (&self.username, &self.password) {
            (None, None) => None,
            (Some(username), Some(password)) => Some(Credentials::new(username, password.text())),
            _ => return Err(incomplete("user and password (MEMCACHED_USERNAME, MEMCACHED_PASSWORD)")),
        };
        Ok(Access {
            protocol: self.protocol,
            credentials,
            #[cfg(feature = "tls")]
            tls: if self.servers.iter().any(Server::wants_tls) { Some(self.tls()?) } else { None },
        })
    }

    #[cfg(feature = "tls")]
    fn tls(&self) -> Result<Tls, Error> {
        let own = match (&self.tls_cert, &self.tls_key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate.as_str(), key.as_str())),
            _ => return Err(incomplete("certificate and key (MEMCACHED_TLS_CERT, MEMCACHED_TLS_KEY)")),
        };
        Tls::new(self.tls_ca.as_deref(), own)
    }

    pub(crate) fn set_servers(&mut self, text: &str) -> Result<(), String> {
        self.servers = Server::list(text)?;
        Ok(())
    }

    pub(crate) fn set_username(&mut self, text: &str) -> Result<(), String> {
        // The first space ends it on the wire.
        if text.is_empty() || text.len() > LONGEST_CREDENTIAL || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a user name of up to 250 printable ASCII characters without spaces".into());
        }
        self.username = Some(text.to_owned());
        Ok(())
    }

    pub(crate) fn set_password(&mut self, text: &str) -> Result<(), String> {
        if text.is_empty() || text.len() > LONGEST_CREDENTIAL || text.chars().any(|c| c.is_control() || c == ' ') {
            return Err("a password of up to 250 bytes without spaces and control characters".into());
        }
        self.password = Some(Secret(text.to_owned()));
        Ok(())
    }

    pub(crate) fn set_namespace(&mut self, text: &str) -> Result<(), String> {
        if text.len() > 100 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("up to 100 printable ASCII characters without spaces".into());
        }
        text.clone_into(&mut self.namespace);
        Ok(())
    }
}

/// memcached's own limit for user and for password, in bytes.
const LONGEST_CREDENTIAL: usize = 250;

#[cfg(feature = "memcache")]
fn incomplete(pair: &str) -> Error {
    Error::new(ErrorKind::Configuration, format!("{pair} go together: set both or neither"))
}

/// Sets one thing from text, or says what is accepted.
type Setter = fn(&mut Settings, &str) -> Result<(), String>;

fn unusable(name: &str, value: &str, accepted: &str) -> Error {
    let setting = match (name, value.contains('@')) {
        // What stands in front of the `@` may be a password.
        ("MEMCACHED_SERVERS", true) => format!("{name} (not shown, for it has an `@` in it)"),
        ("MEMCACHED_PASSWORD" | "MEMCACHED_AUTH_KEY", _) => format!("{name} (not shown)"),
        _ => format!("{name}={value:?}"),
    };
    Error::new(ErrorKind::Configuration, format!("{setting} cannot be used; accepted: {accepted}"))
}

fn assign<T>(place: &mut T, value: Option<T>) -> Result<(), String>
where
    T: Accepted,
{
    *place = value.ok_or(T::FORM)?;
    Ok(())
}

/// What a setting of this type is written like.
trait Accepted {
    const FORM: &'static str;
}

impl Accepted for Duration {
    const FORM: &'static str = "a duration such as `300` (seconds), `50ms` or `5m`, more than zero";
}

impl Accepted for usize {
    const FORM: &'static str = "a whole number from 1 to 65535";
}

impl Accepted for Option<usize> {
    const FORM: &'static str = "`off`, or a number of bytes such as `4096` or `4KiB`, at least 64";
}

impl Accepted for u64 {
    const FORM: &'static str = "a number of bytes such as `67108864`, `64MiB` or `1GiB`, at least 2MiB";
}

impl Accepted for Distribution {
    const FORM: &'static str = "`ketama`, `rendezvous` or `modula`";
}

impl Accepted for Enabled {
    const FORM: &'static str = "`true`, `false`, or functions to switch off such as `-fib,-user`";
}

impl Accepted for Protocol {
    const FORM: &'static str = "`auto`, `meta` or `ascii`";
}

impl Accepted for Failover {
    const FORM: &'static str = "`none` or `next`";
}

impl Accepted for Record {
    const FORM: &'static str = "`none`, `keys` or `values`";
}

fn ttl(text: &str) -> Result<Ttl, String> {
    match text {
        "forever" => Ok(Ttl::Forever),
        text => duration(text).map(Ttl::For).ok_or_else(|| format!("{}, or `forever`", Duration::FORM)),
    }
}

fn duration(text: &str) -> Option<Duration> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds.or_else(|| humantime::parse_duration(text).ok()).filter(|duration| !duration.is_zero())
}

fn positive(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number| (1..=65_535).contains(number))
}

fn bytes(text: &str) -> Option<u64> {
    size(text).filter(|bytes| *bytes >= 2 << 20)
}

fn compress(text: &str) -> Option<Option<usize>> {
    match text {
        "off" => Some(None),
        text => usize::try_from(size(text)?).ok().filter(|bytes| *bytes >= SHORTEST_TO_COMPRESS).map(Some),
    }
}

/// Fewer bytes do not become fewer still.
pub(crate) const SHORTEST_TO_COMPRESS: usize = 64;

fn size(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit: u64 = match text[end..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    text[..end].parse::<u64>().ok()?.checked_mul(unit)
}

fn enabled(text: &str) -> Option<Enabled> {
    match text {
        "true" => Some(Enabled::All),
        "false" => Some(Enabled::None),
        list => {
            let names = list.split(',').map(|name| name.trim().strip_prefix('-').filter(|name| !name.is_empty()));
            names.map(|name| name.map(str::to_owned)).collect::<Option<_>>().map(Enabled::Without)
        }
    }
}

fn distribution(text: &str) -> Option<Distribution> {
    match text {
        "ketama" => Some(Distribution::Ketama),
        "rendezvous" => Some(Distribution::Rendezvous),
        "modula" => Some(Distribution::Modula),
        _ => None,
    }
}

fn protocol(text: &str) -> Option<Protocol> {
    match text {
        "auto" => Some(Protocol::Auto),
        "meta" => Some(Protocol::Meta),
        "ascii" => Some(Protocol::Ascii),
        _ => None,
    }
}

fn failover(text: &str) -> Option<Failover> {
    match text {
        "none" => Some(Failover::None),
        "next" => Some(Failover::Next),
        _ => None,
    }
}

fn record(text: &str) -> Option<Record> {
    match text {
        "none" => Some(Record::Nothing),
        "keys" => Some(Record::Keys),
        "values" => Some(Record::Values),
        _ => None,
    }
}

impl Enabled {
    pub(crate) fn includes(&self, site: &str) -> bool {
        match self {
            Enabled::All => true,
            Enabled::None => false,
            Enabled::Without(names) => {
                let last = site.rsplit("::").next().unwrap_or(site);
                !names.iter().any(|name| name == site || name == last)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &'static str, value: &'static str) -> Result<Settings, Error> {
        Settings::from_lookup(|asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn every_variable_is_read() {
        assert_eq!(read("MEMCACHED_SERVERS", "a, b:1").unwrap().servers.len(), 2);
        assert_eq!(read("MEMCACHED_DISTRIBUTION", "ketama").unwrap().distribution, Distribution::Ketama);
        assert_eq!(read("MEMCACHED_DISTRIBUTION", "rendezvous").unwrap().distribution, Distribution::Rendezvous);
        assert_eq!(read("MEMCACHED_DISTRIBUTION", "modula").unwrap().distribution, Distribution::Modula);
        assert_eq!(read("MEMCACHED_NAMESPACE", "shop").unwrap().namespace, "shop");
        assert_eq!(read("MEMCACHED_TTL", "5m").unwrap().ttl, Ttl::For(Duration::from_secs(300)));
        assert_eq!(read("MEMCACHED_TTL", "forever").unwrap().ttl, Ttl::Forever);
        assert_eq!(read("MEMCACHED_TIMEOUT", "50ms").unwrap().timeout, Duration::from_millis(50));
        assert_eq!(read("MEMCACHED_CONNECT_TIMEOUT", "1").unwrap().connect_timeout, Duration::from_secs(1));
        assert_eq!(read("MEMCACHED_POOL_SIZE", "4").unwrap().pool_size, 4);
        assert_eq!(read("MEMCACHED_NEAR_SIZE", "1GiB").unwrap().near_size, 1 << 30);
        assert_eq!(read("MEMCACHED_COMPRESS", "4KiB").unwrap().compress, Some(4096));
        assert_eq!(read("MEMCACHED_COMPRESS", "off").unwrap().compress, None);
        assert_eq!(read("MEMCACHED_CODEC", "bincode").unwrap().codec, Standard::named("bincode"));
        assert_eq!(read("MEMCACHED_ENABLED", "false").unwrap().enabled, Enabled::None);
        assert_eq!(read("MEMCACHED_RECORD", "keys").unwrap().record, Record::Keys);
        assert_eq!(read("MEMCACHED_RECORD", "values").unwrap().record, Record::Values);
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        assert!(read("MEMCACHED_SERVERS", " ").unwrap().servers.is_empty());
    }

    #[test]
    fn an_unusable_value_is_named_with_what_is_accepted() {
        let cases = [
            ("MEMCACHED_SERVERS", ","),
            ("MEMCACHED_SERVERS", "cache:0"),
            ("MEMCACHED_SERVERS", "udp://cache"),
            ("MEMCACHED_DISTRIBUTION", "Ketama"),
            ("MEMCACHED_NAMESPACE", "my shop"),
            ("MEMCACHED_TTL", "0"),
            ("MEMCACHED_TTL", "soon"),
            ("MEMCACHED_TIMEOUT", "-1s"),
            ("MEMCACHED_CONNECT_TIMEOUT", "1 parsec"),
            ("MEMCACHED_POOL_SIZE", "0"),
            ("MEMCACHED_POOL_SIZE", "many"),
            ("MEMCACHED_NEAR_SIZE", "1"),
            ("MEMCACHED_NEAR_SIZE", "99999999999GiB"),
            ("MEMCACHED_COMPRESS", "1"),
            ("MEMCACHED_CODEC", "pickle"),
            ("MEMCACHED_ENABLED", "fib"),
            ("MEMCACHED_ENABLED", "-"),
            ("MEMCACHED_RECORD", "everything"),
        ];
        for (name, value) in cases {
            let error = read(name, value).expect_err(name);
            assert_eq!(error.kind(), ErrorKind::Configuration);
            let text = error.to_string();
            assert!(text.contains(name) && text.contains(value) && text.contains("accepted: "), "{text}");
        }
    }

    #[test]
    fn a_password_among_the_servers_is_not_repeated() {
        let text = read("MEMCACHED_SERVERS", "cache, joe:s3cret@cache").unwrap_err().to_string();
        assert!(text.starts_with("MEMCACHED_SERVERS (not shown") && text.contains("accepted: "), "{text}");
        assert!(text.contains("and MEMCACHED_PASSWORD") && !text.contains("joe") && !text.contains("s3cret"), "{text}");
    }

    #[test]
    fn single_functions_can_be_switched_off() {
        let settings = read("MEMCACHED_ENABLED", "-fib,-shop::user").unwrap();
        assert!(!settings.enabled.includes("math::fib"));
        assert!(!settings.enabled.includes("shop::user"));
        assert!(settings.enabled.includes("other::user"));
    }
}
