//! Who did what, and what happened: a line for each, written with what it is about (promise 12).

mod chain;
mod line;

use std::fmt;

use crate::{
    names::{AudienceName, InvalidName},
    policy::Right,
    state::kebab_enum,
};

pub use self::{
    chain::{AuditMark, ChainBreak, ChainCheck, ChainReport},
    line::{AuditEntry, AuditJson, AuditRecord, Object},
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

kebab_enum!(
    /// What happens without anybody asking for it.
    Happening {
        /// From this line on each one carries a link to the one before.
        ChainBegan = "chain-began",
        /// The conductor started.
        ConductorStarted = "conductor-started",
        /// A file of the configuration is in force that was not, or was otherwise.
        Configured = "configured",
        /// Somebody connected with a certificate that this conductor had not seen since its start.
        CertificateCame = "certificate-came",
        /// Connections with a certificate were ended, because it is not accepted any more.
        CertificateWent = "certificate-went",
        /// A connection was refused because of its certificate, or for want of one.
        CertificateRefused = "certificate-refused",
        /// A call was refused that the role of its certificate may not make.
        CallRefused = "call-refused",
        /// The verdict of a job was set.
        Verdict = "verdict",
        /// A flow ended.
        FlowEnded = "flow-ended",
        /// Lines were removed because they had been kept long enough.
        AuditPruned = "audit-pruned",
        /// So many refusals, of kinds of which there were too many to tell each.
        RefusalsFolded = "refusals-folded",
    }
);

/// What a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deed {
    /// Somebody asked for this, and it was done.
    Done(Verb),
    /// Somebody asked for something to which the policy gives them no right.
    Denied(Right),
    /// Somebody who may asked for this, and it could not be done.
    Failed(Verb),
    /// This happened.
    Happened(Happening),
}

impl Deed {
    /// Every word that [`Deed::outcome`] may return.
    pub const OUTCOMES: [&str; 4] = ["done", "denied", "failed", "happened"];

    /// Returns the word for what was asked for, or happened.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done(verb) | Self::Failed(verb) => verb.as_str(),
            Self::Denied(right) => right.as_str(),
            Self::Happened(happening) => happening.as_str(),
        }
    }

    /// Returns the word for which of the four it is.
    pub fn outcome(self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Denied(_) => "denied",
            Self::Failed(_) => "failed",
            Self::Happened(_) => "happened",
        }
    }

    /// Reads both words. An empty word for the outcome is `done`, as in lines of earlier releases.
    pub fn from_words(word: &str, outcome: &str) -> Option<Self> {
        match outcome {
            "" | "done" => Verb::from_word(word).map(Self::Done),
            "denied" => Right::from_word(word).map(Self::Denied),
            "failed" => Verb::from_word(word).map(Self::Failed),
            "happened" => Happening::from_word(word).map(Self::Happened),
            _ => None,
        }
    }

    /// Returns every word that [`Deed::as_str`] may return.
    pub fn words() -> impl Iterator<Item = &'static str> {
        let verbs = Verb::ALL.iter().map(|verb| verb.as_str());
        let others = Right::all().filter(|right| !matches!(right, Right::Do(_))).map(Right::as_str);
        verbs.chain(others).chain(Happening::ALL.iter().map(|happening| happening.as_str()))
    }
}

/// `drain`, or `drain (denied)`.
impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(_) | Self::Happened(_) => f.write_str(self.as_str()),
            Self::Denied(_) | Self::Failed(_) => {
                write!(f, "{} ({})", self.as_str(), self.outcome())
            }
        }
    }
}

/// Who asks. The names of what is no audience have a colon, which no certificate's name can have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asker {
    /// An audience, by its certificate.
    Audience(AudienceName),
    /// Somebody on the conductor's own host: by a signal, or with a flag at the start.
    Local,
    /// The files of `services.d`: what they say is applied by them, whoever asked for a reload.
    Files,
    /// The conductor by itself: it repairs services, takes versions back that failed, and notes what
    /// happened.
    Keeper,
    /// Somebody who is no audience: a player, or whoever has no certificate that counts.
    Stranger,
}

impl Asker {
    const LOCAL: &str = "orchestra:local";
    const FILES: &str = "orchestra:files";
    const KEEPER: &str = "orchestra:keeper";
    const STRANGER: &str = "orchestra:stranger";

    /// Reads what [`Asker`] prints.
    pub fn from_word(word: &str) -> Result<Self, InvalidName> {
        match word {
            Self::LOCAL => Ok(Self::Local),
            Self::FILES => Ok(Self::Files),
            Self::KEEPER => Ok(Self::Keeper),
            Self::STRANGER => Ok(Self::Stranger),
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
            Self::Stranger => Self::STRANGER,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_certificate_names_what_is_no_audience() {
        let alice = AudienceName::new("alice").unwrap();
        assert_eq!(Asker::from_word("alice"), Ok(Asker::Audience(alice)));
        for part in [Asker::Local, Asker::Files, Asker::Keeper, Asker::Stranger] {
            assert!(AudienceName::new(part.as_str()).is_err());
            assert_eq!(Asker::from_word(part.as_str()), Ok(part));
        }
        assert!(Asker::from_word("orchestra:else").is_err());
    }

    #[test]
    fn every_deed_is_read_from_its_words() {
        let rights = Right::all().map(Deed::Denied);
        let verbs = Verb::ALL.iter().flat_map(|verb| [Deed::Done(*verb), Deed::Failed(*verb)]);
        let happenings = Happening::ALL.iter().map(|happening| Deed::Happened(*happening));
        for deed in rights.chain(verbs).chain(happenings) {
            assert_eq!(Deed::from_words(deed.as_str(), deed.outcome()), Some(deed));
            assert!(Deed::words().any(|word| word == deed.as_str()), "{deed}");
        }
        assert_eq!(Deed::from_words("submit", ""), Some(Deed::Done(Verb::Submit)));
        assert_eq!(Deed::from_words("verdict", "done"), None);
        assert_eq!(Deed::from_words("submit", "else"), None);
    }
}
