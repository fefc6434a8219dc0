//! The places of players: what each said last, since this conductor started.
//!
//! Nothing here decides: the player judges every bundle by its own files. So what is told lies beside
//! the driver, as vitals do, and is in no record. A player that has not attached since this conductor
//! started is not heard, and may have any places.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orchestra_flow::SessionId;
use orchestra_model::{
    HostName, HostSet,
    bundle::{HeldPlace, HeldTrouble, PlaceHolders, PlacesReport},
    names::PlaceName,
};

/// Who was heard, which places they have, and what is wrong with their directories.
pub(crate) type ToldPlaces = (HostSet, Vec<HeldPlace>, Vec<HeldTrouble>);

/// How many hosts are looked up at once.
const PAGE: usize = 1_000;

/// What players told of their places.
#[derive(Clone, Debug, Default)]
pub(crate) struct PlacesTold(Arc<Mutex<HashMap<HostName, Heard>>>);

#[derive(Clone, Debug)]
struct Heard {
    /// Of an earlier one nothing is taken any more.
    session: SessionId,
    /// Shared with whoever reads it. `None`: the player is of a release that takes no bundles.
    report: Option<Arc<PlacesReport>>,
}

impl PlacesTold {
    /// Takes what a player says in a session. What an earlier session says comes too late.
    pub(crate) fn take(&self, host: &HostName, session: SessionId, said: Option<PlacesReport>) {
        let mut heard = self.lock();
        if heard.get(host).is_none_or(|heard| heard.session <= session) {
            heard.insert(host.clone(), Heard { session, report: said.map(Arc::new) });
        }
    }

    /// Returns who of these hosts was heard, and who of them has which places alike. `only`: of that
    /// name alone.
    pub(crate) fn held(&self, hosts: &[HostName], only: Option<&PlaceName>) -> ToldPlaces {
        let mut holders = PlaceHolders::default();
        for page in hosts.chunks(PAGE) {
            let reports: Vec<Option<Arc<PlacesReport>>> = {
                let heard = self.lock();
                page.iter().map(|host| heard.get(host)?.report.clone()).collect()
            };
            for (host, report) in page.iter().zip(reports) {
                if let Some(report) = report {
                    holders.add(host, &report, only);
                }
            }
        }
        holders.finish()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<HostName, Heard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(why: &str) -> Option<PlacesReport> {
        Some(PlacesReport { troubles: vec![why.to_owned()], places: Vec::new() })
    }

    #[test]
    fn what_an_earlier_session_says_comes_too_late() {
        let told = PlacesTold::default();
        let host = HostName::new("fe1").unwrap();
        let why = || told.held(std::slice::from_ref(&host), None).2[0].why.to_string();
        told.take(&host, SessionId(2), report("second"));
        told.take(&host, SessionId(1), report("first"));
        assert_eq!(why(), "second");
        told.take(&host, SessionId(2), report("later"));
        told.take(&host, SessionId(3), report("third"));
        assert_eq!(why(), "third");
        // A player of an earlier release has come back under that name.
        told.take(&host, SessionId(4), None);
        assert!(told.held(&[host], None).0.is_empty());
    }

    #[test]
    fn who_told_nothing_is_not_heard() {
        let told = PlacesTold::default();
        let hosts = HostSet::parse_plain("fe[1-2]").unwrap();
        told.take(&hosts.as_slice()[1], SessionId(1), Some(PlacesReport::default()));
        let (heard, places, troubles) = told.held(hosts.as_slice(), None);
        assert_eq!(heard.to_string(), "fe2");
        assert!(places.is_empty() && troubles.is_empty());
    }
}
