//! Which functions are cached.

/// Which functions are cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Enabled {
    All,
    None,
    /// All but these, by name or by the last segment of the path.
    Without(Vec<String>),
}

impl Enabled {
    #[inline]
    pub(crate) fn includes(&self, site: &str) -> bool {
        match self {
            Enabled::All => true,
            Enabled::None => false,
            Enabled::Without(names) => !are_of(names, site),
        }
    }
}

/// Whether one of the names is the site's: its path, or the last part of it.
fn are_of(names: &[String], site: &str) -> bool {
    let last = site.rsplit("::").next().unwrap_or(site);
    names.iter().any(|name| name == site || name == last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_functions_can_be_switched_off() {
        let enabled = Enabled::Without(vec!["fib".into(), "shop::user".into()]);
        assert!(!enabled.includes("math::fib") && !enabled.includes("shop::user"));
        assert!(enabled.includes("other::user"));
    }
}
