//! Which of the lists that are heard is believed.
//!
//! Asks nothing; `endpoint` and `names` do.

use std::collections::HashSet;

use crate::server::Server;

/// A list of servers as it was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listing {
    /// What an endpoint counts its lists by. A name has none.
    pub(super) version: Option<u64>,
    pub(super) servers: Vec<Server>,
}

/// The list that the members come from.
#[derive(Default)]
pub(super) struct Believed {
    list: Option<Listing>,
    /// An older one, which the endpoint said last.
    doubted: Option<Listing>,
}

/// What is new in a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    None,
    Newer,
    /// It differs though its version is not higher.
    Unnumbered,
}

impl Believed {
    /// Believes this list from now on.
    pub(super) fn believe(&mut self, list: Listing) {
        *self = Believed { list: Some(list), doubted: None };
    }

    /// Judges a list. Of several endpoints behind one name, the newest is right. One
    /// that was restarted counts from the start again: an older list is believed
    /// once it has been said twice in a row.
    pub(super) fn weigh(&mut self, heard: &Listing) -> News {
        let doubted = self.doubted.take();
        let Some(known) = &self.list else { return News::Newer };
        if heard.version > known.version {
            return News::Newer;
        }
        let is_same = HashSet::<&Server>::from_iter(&heard.servers) == HashSet::from_iter(&known.servers);
        let is_sure = heard.version == known.version || doubted.as_ref() == Some(heard);
        match (heard.version == known.version && is_same, is_sure) {
            (true, _) => News::None,
            (false, true) => News::Unnumbered,
            (false, false) => {
                self.doubted = Some(heard.clone());
                News::None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(version: impl Into<Option<u64>>, ports: &[u16]) -> Listing {
        let server = |port| format!("a:{port}").parse().expect("a server");
        Listing { version: version.into(), servers: ports.iter().map(server).collect() }
    }

    #[test]
    fn an_older_list_is_believed_when_it_is_said_twice_in_a_row() {
        let mut known = Believed { list: Some(list(4, &[4, 5])), doubted: None };
        for (heard, news) in [
            (list(4, &[5, 4]), News::None),
            (list(3, &[3]), News::None),
            (list(4, &[4, 5]), News::None),
            (list(3, &[3]), News::None),
            (list(3, &[2]), News::None),
            (list(3, &[2]), News::Unnumbered),
            (list(4, &[4]), News::Unnumbered),
            (list(5, &[4]), News::Newer),
        ] {
            assert_eq!(known.weigh(&heard), news, "{heard:?}");
        }
    }
    #[test]
    fn a_list_without_a_version_is_believed_at_once() {
        let mut known = Believed::default();
        known.believe(list(None, &[4, 5]));
        for (heard, news) in [(list(None, &[5, 4]), News::None), (list(None, &[4]), News::Unnumbered)] {
            assert_eq!(known.weigh(&heard), news, "{heard:?}");
        }
    }
}
