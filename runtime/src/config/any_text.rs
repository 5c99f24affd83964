//! What holds of any text in the variables, for a property test and a fuzz
//! target.

use std::time::Duration;

use super::environment::{VARIABLES, strange};
use super::{LARGEST_NEAR, LONGEST_CREDENTIAL, Password, SHORTEST_TO_COMPRESS, SMALLEST_NEAR, Settings};
use crate::config::jitter::Jitter;
use crate::error::ErrorKind;
use crate::exchange::Ttl;
use crate::server::Server;

/// Panics if text is judged as none should be. Each line is the value of the
/// variable that its first letter stands for.
pub(crate) fn any_text(text: &str) {
    let lines = text.lines().filter_map(|line| line.chars().next().map(|first| (first, &line[first.len_utf8()..])));
    let lines: Vec<_> = lines.map(|(first, value)| (VARIABLES[first as usize % VARIABLES.len()].0, value)).collect();
    let value = |asked: &str| lines.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned());
    match Settings::from_lookup(value) {
        Ok(settings) => within_bounds(&settings),
        Err(error) => {
            let told = error.to_string();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(told.starts_with("MEMCACHED_") && told.contains(" cannot be used; accepted: "), "{told}");
            assert!(!told.contains(char::is_control), "{told:?}");
            for name in ["MEMCACHED_PASSWORD", "MEMCACHED_AUTH_KEY"] {
                assert!(!told.starts_with(name) || told.starts_with(&format!("{name} (not shown) cannot ")), "{told}");
            }
        }
    }
    // Names as long as the longest, and a little longer: each is compared with all.
    let first: String = text.lines().next().unwrap_or_default().chars().take(40).collect();
    if let Some(told) = strange(&[format!("MEMCACHED_{first}")]) {
        assert!(told.contains(" has no effect; ") && !told.contains(char::is_control), "{told:?}");
    }
}

fn within_bounds(settings: &Settings) {
    for limit in [settings.timeout, settings.connect_timeout] {
        assert!(!limit.is_zero() && limit <= Duration::from_secs(86_400), "{limit:?}");
    }
    assert_ne!(settings.ttl, Ttl::For(Duration::ZERO));
    assert!(settings.jitter.0 <= Jitter::MOST);
    assert!((1..=65_535).contains(&settings.pool_size));
    assert!((1..=65_535).contains(&settings.refreshes));
    assert!((SMALLEST_NEAR..=LARGEST_NEAR).contains(&settings.near_size));
    assert!(settings.compress.is_none_or(|bytes| bytes >= SHORTEST_TO_COMPRESS));
    let printable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    assert!(printable(&settings.namespace) && settings.namespace.len() <= 100);
    assert!(settings.username.as_deref().is_none_or(|name| printable(name) && name.len() <= LONGEST_CREDENTIAL));
    // The password is sent behind the user's name, and a line's end behind it.
    let ends = |c: char| c == ' ' || c.is_control();
    let password = settings.password.as_ref().map(Password::text);
    assert!(password.is_none_or(|text| !text.contains(ends) && text.len() <= LONGEST_CREDENTIAL));
    assert!(settings.servers.is_empty() || settings.discovery.is_none());
    if let Some(discovery) = &settings.discovery {
        assert!(!discovery.every.is_zero() && discovery.every <= Duration::from_secs(86_400), "{discovery:?}");
    }
    let endpoint = settings.discovery.iter().map(|discovery| &discovery.endpoint);
    for server in settings.servers.iter().chain(endpoint) {
        let again: Server = server.to_string().parse().expect("what is shown can be written");
        assert_eq!((again.host(), again.port()), (server.host(), server.port()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    /// What values are made of.
    const PIECES: &[&str] = &[
        "0",
        "1",
        "9",
        "300",
        "65535",
        "-",
        "+",
        ".",
        ",",
        ":",
        " ",
        "\n",
        "\t",
        "\u{fffd}",
        "\u{e9}",
        "::1",
        "[",
        "]",
        "/",
        "?",
        "@",
        "%",
        "tls://",
        "unix:",
        "memcache://",
        "dns",
        "gcp",
        "+tls",
        "://",
        "weight=",
        "ms",
        "m",
        "h",
        "d",
        "weeks",
        "B",
        "KiB",
        "GiB",
        "off",
        "forever",
        "true",
        "false",
        "auto",
        "keys",
        "next",
        "modula",
        "host",
        "path.sock",
        "SERVER",
    ];

    fn values() -> impl Strategy<Value = String> {
        let value = prop::collection::vec(prop::sample::select(PIECES), 0..6);
        prop::collection::vec(("[A-Z]", value), 0..6)
            .prop_map(|lines| lines.into_iter().map(|(first, pieces)| first + &pieces.concat() + "\n").collect())
    }

    proptest! {
        #[test]
        fn any_text_gives_settings_within_their_bounds_or_a_mistake_with_its_name(
            any in any::<String>(),
            values in values(),
        ) {
            super::any_text(&any);
            super::any_text(&values);
        }
    }
}
