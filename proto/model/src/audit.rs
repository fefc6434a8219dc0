//! Who did what: a line for each change that somebody asked for, written with the change (promise 12).

use std::{fmt, sync::Arc};

use crate::{
    ids::FlowId,
    names::{AudienceName, InvalidName, ServiceName},
    state::kebab_enum,
    time::Timestamp,
};

kebab_enum!(
    /// What was asked for.
    Verb {
        /// A flow was submitted.
        Submit = "submit",
        /// A flow was cancelled.
        Cancel = "cancel",
        /// A flow was cancelled, and its tasks on players that are away were given up.
        Abandon = "abandon",
        /// A flow was paused.
        Pause = "pause",
        /// A flow goes on after a pause.
        Resume = "resume",
        /// A canary was declared good.
        Promote = "promote",
        /// What is left of a flow was asked for again.
        Retry = "retry",
        /// Players were drained.
        Drain = "drain",
        /// Players are no longer drained.
        Undrain = "undrain",
        /// Hosts gave back the cells that they kept.
        ReleaseHolds = "release-holds",
        /// Players were let out of quarantine.
        ReleasePlayers = "release-players",
        /// The configuration was read again.
        Reload = "reload",
        /// The store was declared the truth, although it is an old copy.
        Recover = "recover",
        /// A version of a service was applied.
        ServiceApply = "service-apply",
        /// New runs of a service were asked for.
        ServiceRestart = "service-restart",
        /// That runs of a service read their parameters again.
        ServiceReload = "service-reload",
        /// A signal for runs of a service.
        ServiceSignal = "service-signal",
        /// Other numbers of instances of a service.
        ServiceScale = "service-scale",
        /// Instances of a service were moved to players that suit better.
        ServiceRebalance = "service-rebalance",
        /// A service was stopped.
        ServiceStop = "service-stop",
        /// A service was started.
        ServiceStart = "service-start",
        /// A service was removed.
        ServiceRemove = "service-remove",
        /// A service was paused.
        ServicePause = "service-pause",
        /// A service goes on after a pause, or where it was given up.
        ServiceResume = "service-resume",
        /// An earlier version of a service was asked for.
        ServiceRevert = "service-revert",
        /// Units that the store does not know were taken for those of a service.
        ServiceAdopt = "service-adopt",
        /// Units that the store does not know were ended.
        ServiceStopStranger = "service-stop-stranger",
        /// An instance of a service was declared dead.
        ServiceDeclareDead = "service-declare-dead",
        /// What braked a service was released.
        BrakeRelease = "brake-release",
        /// A bundle was registered.
        BundleRegister = "bundle-register",
        /// Hosts of a service that were not as wanted are brought there.
        ServiceRepair = "service-repair",
    }
);

/// Who asks. The names of what is no audience have a colon, which no certificate's name can have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asker {
    /// An audience, by its certificate.
    Audience(AudienceName),
    /// Somebody on the conductor's own host: by a signal, or with a flag at the start.
    Local,
    /// The files of `services.d`: what they say is applied by them, whoever asked for a reload.
    Files,
    /// The conductor by itself: it repairs services, and takes versions back that failed.
    Keeper,
}

impl Asker {
    const LOCAL: &str = "orchestra:local";
    const FILES: &str = "orchestra:files";
    const KEEPER: &str = "orchestra:keeper";

    /// Reads what [`Asker`] prints.
    pub fn from_word(word: &str) -> Result<Self, InvalidName> {
        match word {
            Self::LOCAL => Ok(Self::Local),
            Self::FILES => Ok(Self::Files),
            Self::KEEPER => Ok(Self::Keeper),
            name => AudienceName::new(name).map(Self::Audience),
        }
    }

    /// What [`Asker`] prints.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Audience(name) => name.as_str(),
            Self::Local => Self::LOCAL,
            Self::Files => Self::FILES,
            Self::Keeper => Self::KEEPER,
        }
    }
}

impl From<AudienceName> for Asker {
    fn from(name: AudienceName) -> Self {
        Self::Audience(name)
    }
}

impl From<&AudienceName> for Asker {
    fn from(name: &AudienceName) -> Self {
        Self::Audience(name.clone())
    }
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a verb is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A flow.
    Flow(FlowId),
    /// Hosts, as a folded host set.
    Hosts(Arc<str>),
    /// A service.
    Service(ServiceName),
    /// The conductor as a whole.
    Conductor,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flow(flow) => write!(f, "flow {flow}"),
            Self::Hosts(hosts) => f.write_str(hosts),
            Self::Service(service) => write!(f, "service {service}"),
            Self::Conductor => f.write_str("conductor"),
        }
    }
}

/// A line of the record of who did what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number: 1, 2, 3 and so on, without a gap, for the life of the store.
    pub number: u64,
    pub at: Timestamp,
    /// Who asked.
    pub by: Asker,
    /// For what.
    pub verb: Verb,
    /// On what.
    pub on: Object,
    /// Why, where the verb asks for a reason.
    pub reason: Option<Arc<str>>,
    /// What came of it, in a few words.
    pub answer: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_certificate_names_what_is_no_audience() {
        let alice = AudienceName::new("alice").unwrap();
        assert_eq!(Asker::from_word("alice"), Ok(Asker::Audience(alice)));
        for part in [Asker::Local, Asker::Files, Asker::Keeper] {
            assert!(AudienceName::new(part.as_str()).is_err());
            assert_eq!(Asker::from_word(part.as_str()), Ok(part));
        }
        assert!(Asker::from_word("orchestra:else").is_err());
    }
}
