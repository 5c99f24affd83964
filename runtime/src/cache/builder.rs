//! The settings that only a cache has.
//!
//! Those that a client has too are in the configuration.

use std::time::Duration;

use crate::cache::Cache;
use crate::codec::Standard;
use crate::config::builder::Builder;
use crate::config::choices::Shown;
use crate::config::enabled::Enabled;
use crate::config::jitter::Jitter;
use crate::exchange::Ttl;

impl Builder<Cache> {
    /// By how many percent of their ttl values end earlier at most, by chance,
    /// so that what was stored together does not end together: 10 unless told
    /// otherwise, at most 50; with 0, all end at their time. Whole seconds are
    /// kept, rounded up, so that short ttls stay as they are.
    pub fn jitter(self, percent: u8) -> Self {
        self.with(|settings| {
            settings.jitter = Jitter(percent);
            if percent > Jitter::MOST {
                Err(format!("jitter must be at most {} percent", Jitter::MOST))
            } else {
                Ok(())
            }
        })
    }

    /// How long values are kept where the attribute has no `ttl`: a
    /// `Duration`, or [`Ttl::Forever`].
    pub fn ttl(self, ttl: impl Into<Ttl>) -> Self {
        let ttl = ttl.into();
        self.with(|settings| {
            settings.ttl = ttl;
            if ttl == Ttl::For(Duration::ZERO) { Err("ttl must be more than zero".into()) } else { Ok(()) }
        })
    }

    /// Whether functions are cached; without it they compute each time.
    pub fn enabled(self, enabled: bool) -> Self {
        self.with(|settings| {
            settings.enabled = if enabled { Enabled::All } else { Enabled::None };
            Ok(())
        })
    }

    /// Caches all functions but these, each given by its `name`, its path or
    /// the last segment of that.
    pub fn disabled_functions(self, functions: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.with(|settings| {
            settings.enabled = Enabled::Without(functions.into_iter().map(Into::into).collect());
            Ok(())
        })
    }

    /// What spans show beside the key's template; [`Shown::Nothing`] unless
    /// told otherwise.
    pub fn record(self, shown: Shown) -> Self {
        self.with(|settings| {
            settings.record = shown;
            Ok(())
        })
    }

    /// Signs what is stored with this secret, of at least 32 bytes, and takes nothing
    /// else for a value. An attacker who can write to the servers but does not know the
    /// secret can forge no value. All programs that share values need the same secret.
    /// `codec = text`, whose bytes are for other programs, is not signed.
    #[cfg(feature = "authenticated")]
    pub fn auth_key(self, secret: impl AsRef<[u8]>) -> Self {
        self.with(|settings| {
            let secret = crate::value::signature::Secret::new(secret.as_ref());
            settings.auth_key = Some(secret.ok_or("auth_key must have at least 32 bytes")?);
            Ok(())
        })
    }

    /// The codec where the attribute names none: `bincode`, `postcard` or
    /// `json`, as far as the features are enabled.
    pub fn codec(self, name: impl AsRef<str>) -> Self {
        self.with(|settings| {
            let unknown = || format!("{:?} is no codec; accepted: {}", name.as_ref(), Standard::FORM);
            settings.codec = Some(Standard::named(name.as_ref()).ok_or_else(unknown)?);
            Ok(())
        })
    }
}
