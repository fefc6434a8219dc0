//! When the runs of a service are old.

use orchestra_model::{HostName, Timestamp};

use super::in_order::HostsInOrder;

/// The moments from which on the runs of a service's hosts are old, those first that are so first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ages(HostsInOrder<Timestamp>);

impl Ages {
    /// Takes when the run on a host is old; `None` if it never is.
    pub(crate) fn set(&mut self, host: &HostName, at: Option<Timestamp>) {
        self.0.set(host, at);
    }

    pub(crate) fn get(&self, host: &HostName) -> Option<Timestamp> {
        self.0.get(host)
    }

    /// The hosts whose runs are old, in order.
    pub(crate) fn over(&self, now: Timestamp) -> impl Iterator<Item = &HostName> {
        self.0.until(now)
    }

    /// When the next one is old.
    pub(crate) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        self.0.after(now).next().map(|(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_told_in_the_order_in_which_they_are_old() {
        let h = |name: &str| HostName::new(name).unwrap();
        let mut ages = Ages::default();
        for (host, at) in [("db1", 30), ("db2", 10), ("db3", 20), ("db4", 10)] {
            ages.set(&h(host), Some(Timestamp(at)));
        }
        ages.set(&h("db4"), None);
        ages.set(&h("db3"), Some(Timestamp(5)));
        let over: Vec<_> = ages.over(Timestamp(10)).map(HostName::as_str).collect();
        assert_eq!(over, ["db3", "db2"]);
        assert_eq!(
            (ages.next(Timestamp(10)), ages.next(Timestamp(30))),
            (Some(Timestamp(30)), None)
        );
        assert_eq!((ages.get(&h("db3")), ages.get(&h("db4"))), (Some(Timestamp(5)), None));
    }
}
