//! Why something was refused, as a word that programs tell apart: metadata beside a status.

use tonic::{Status, metadata::MetadataValue};

/// The key of the metadata.
const REASON: &str = "orchestra-reason";

/// What a status alone does not tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The flow has ended, so that nothing of it can be changed.
    Ended,
    /// A plan made now has not the digest that was demanded.
    PlanChanged,
    /// It is not stored yet, because the store has no space: ask again with the same request id.
    Held,
    /// It was refused because the store has no space, before anything was done.
    Unchanged,
    /// The conductor is about to end.
    Stopping,
}

impl Reason {
    const ALL: [Self; 5] =
        [Self::Ended, Self::PlanChanged, Self::Held, Self::Unchanged, Self::Stopping];

    fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::PlanChanged => "plan-changed",
            Self::Held => "held",
            Self::Unchanged => "unchanged",
            Self::Stopping => "stopping",
        }
    }

    /// The reason beside a status, if there is one that this release knows.
    pub fn of(status: &Status) -> Option<Self> {
        let word = status.metadata().get(REASON)?.to_str().ok()?;
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// Sets it beside a status.
    #[must_use]
    pub fn beside(self, mut status: Status) -> Status {
        status.metadata_mut().insert(REASON, MetadataValue::from_static(self.as_str()));
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_read_as_it_was_set() {
        let status = || Status::failed_precondition("no");
        assert_eq!(Reason::of(&status()), None);
        for reason in Reason::ALL {
            assert_eq!(Reason::of(&reason.beside(status())), Some(reason));
        }
    }
}
