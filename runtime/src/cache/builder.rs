//! The settings that only a cache has.
//!
//! Those that a client has as well are in the configuration.

use std::time::Duration;

use crate::cache::Cache;
use crate::codec::Standard;
use crate::config::builder::Builder;
use crate::config::choices::Shown;
use crate::config::enabled::Enabled;
use crate::config::jitter::Jitter;
use crate::exchange::Ttl;

impl Builder<Cache> {
    /// Sets by how many percent of its ttl a value may end early, at random, so that
    /// values that were stored together do not end together. The default is 10, the
    /// maximum 50; with 0, each value ends at its time. Ttls are rounded up to whole
    /// seconds, so short ones stay as they are.
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

    /// Sets how long values are kept where the attribute has no `ttl`: a `Duration`,
    /// or [`Ttl::Forever`].
    pub fn ttl(self, ttl: impl Into<Ttl>) -> Self {
        let ttl = ttl.into();
        self.with(|settings| {
            settings.ttl = ttl;
            if ttl == Ttl::For(Duration::ZERO) { Err("ttl must be more than zero".into()) } else { Ok(()) }
        })
    }

    /// Sets whether functions are cached. If not, they compute each time.
    pub fn enabled(self, enabled: bool) -> Self {
        self.with(|settings| {
            settings.enabled = if enabled { Enabled::All } else { Enabled::None };
            Ok(())
        })
    }

    /// Caches all functions but these, each given by its `name`, its path or the
    /// last segment of its path.
    pub fn disabled_functions(self, functions: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.with(|settings| {
            settings.enabled = Enabled::Without(functions.into_iter().map(Into::into).collect());
            Ok(())
        })
    }

    /// Sets what spans show besides the key's template. The default is
    /// [`Shown::Nothing`].
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

    /// Sets the codec for functions whose attribute names none: `bincode`, `postcard`
    /// or `json`, as far as the features are enabled.
    pub fn codec(self, name: impl AsRef<str>) -> Self {
        self.with(|settings| {
            let unknown = || format!("{:?} is no codec; accepted: {}", name.as_ref(), Standard::FORM);
            settings.codec = Some(Standard::named(name.as_ref()).ok_or_else(unknown)?);
            Ok(())
        })
    }
}
