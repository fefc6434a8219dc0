//! What the engine is told, and what whoever asks is told.

use std::{collections::BTreeMap, fmt, sync::Arc};

use orchestra_model::{
    Asker, FlowId, FlowState, HostName, HostSet, ServiceName, TaskState,
    delivery::Term,
    service::{InvalidService, ServiceSpec, ServiceVersion, UnitReport},
};

/// Addresses an answer; made by whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyId(pub u64);

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Somebody asked for something.
    Asked {
        /// Whom to answer.
        reply: ReplyId,
        /// Who asks.
        by: Asker,
        /// For what.
        ask: Ask,
    },
    /// A flow that was asked for by [`crate::Effect::Submit`] is taken in; or why it was not.
    Submitted {
        /// Of which service.
        service: ServiceName,
        /// Its number, or the refusal, for people.
        flow: Result<FlowId, String>,
    },
    /// A task of a flow became final.
    TaskEnded {
        /// The flow. One that changes no service is passed over.
        flow: FlowId,
        host: HostName,
        state: TaskState,
        /// Why it was refused or lost, for people.
        detail: Option<Arc<str>>,
    },
    /// A flow ended. One that changes no service is passed over.
    FlowEnded {
        flow: FlowId,
        state: FlowState,
    },
    /// The fleet's files were read: where each service is wanted, by its version's expression.
    FleetLoaded {
        /// Services whose expression cannot be resolved any more stay where they are.
        hosts: BTreeMap<ServiceName, Result<HostSet, String>>,
    },
    /// The files of `services.d` were read, none of which [`crate::Services::check_files`] objects to.
    FilesLoaded {
        /// What all of them say: a service each, no name twice.
        files: Vec<FiledService>,
        /// Whether they take over services that an audience applied: somebody said so.
        take_over: bool,
    },
    /// A player attached and told its units.
    PlayerAttached {
        host: HostName,
        /// All that it keeps for this store; `None` where it is of a release that keeps none.
        units: Option<Vec<UnitReport>>,
    },
    /// A player's session ended, or it is quarantined.
    PlayerDetached {
        host: HostName,
    },
    /// A unit changed.
    UnitTold {
        /// On which player.
        host: HostName,
        /// What it is now.
        report: UnitReport,
    },
    /// Players were drained, or are drained no more.
    DrainChanged {
        hosts: HostSet,
        /// Whether they are drained.
        drained: bool,
    },
    /// The store was recovered from an old copy, in this term.
    StoreRecovered {
        /// The raised term.
        term: Term,
    },
}

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// That a service be as this spec says, on these hosts, to which its expression resolves.
    Apply {
        spec: Box<ServiceSpec>,
        /// The spec as it came.
        spec_bytes: Arc<[u8]>,
        hosts: HostSet,
        /// Also where the service belongs to a file.
        take_over: bool,
    },
    /// An earlier version; `None` for the newest one that was ready everywhere and is not the present
    /// one.
    Revert {
        service: ServiceName,
        /// Which version.
        to: Option<ServiceVersion>,
        /// Where that version's expression resolves to, for each version that is kept.
        hosts: BTreeMap<ServiceVersion, HostSet>,
    },
    /// New runs.
    Restart {
        service: ServiceName,
        /// On which of its hosts; `None` for all.
        hosts: Option<HostSet>,
    },
    /// That its runs read their parameters again, by the signal that its version names.
    Reload {
        service: ServiceName,
        /// On which of its hosts; `None` for all.
        hosts: Option<HostSet>,
    },
    /// A signal for the first process of its runs.
    Signal {
        service: ServiceName,
        /// On which of its hosts; `None` for all.
        hosts: Option<HostSet>,
        /// Which, as signal(7) numbers it.
        signal: i32,
    },
    /// No runs, until it is started.
    Stop(ServiceName),
    /// Runs again.
    Start(ServiceName),
    /// No units any more.
    Remove(ServiceName),
    /// That nothing voluntary be done; what runs runs on.
    Pause(ServiceName),
    /// That it go on, also on hosts that were given up.
    Resume(ServiceName),
    /// That units of it which no placement of this store explains be taken for its own, and brought
    /// where it is wanted.
    Adopt {
        service: ServiceName,
        /// On which hosts; `None` for all.
        hosts: Option<HostSet>,
    },
    /// That such units be ended instead. There need be no service of that name.
    StopStrangers {
        /// The name of their service.
        service: ServiceName,
        /// On which hosts; `None` for all.
        hosts: Option<HostSet>,
    },
}

impl Ask {
    /// The service that it is about.
    pub fn service(&self) -> &ServiceName {
        match self {
            Ask::Apply { spec, .. } => &spec.name,
            Ask::Revert { service, .. }
            | Ask::Restart { service, .. }
            | Ask::Reload { service, .. }
            | Ask::Signal { service, .. }
            | Ask::Adopt { service, .. }
            | Ask::StopStrangers { service, .. } => service,
            Ask::Stop(service)
            | Ask::Start(service)
            | Ask::Remove(service)
            | Ask::Pause(service)
            | Ask::Resume(service) => service,
        }
    }
}

/// What a file of `services.d` says.
#[derive(Clone, Debug)]
pub struct FiledService {
    /// Its name, as people are told: `services.d/web.yaml`.
    pub file: Arc<str>,
    pub spec: ServiceSpec,
    /// The spec as it is kept.
    pub spec_bytes: Arc<[u8]>,
    /// SHA-256 over what the file means.
    pub content: [u8; 32],
    /// To which hosts its expression resolves.
    pub hosts: HostSet,
}

/// Why files of `services.d` are not loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileConflict {
    /// A file names a service that somebody applied.
    Owned(Arc<str>, ServiceName, Asker),
    /// What a file says cannot be.
    Refused(Arc<str>, Box<Rejection>),
    /// There would be more services than there may be.
    TooMany(usize),
}

impl fmt::Display for FileConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owned(file, service, by) => {
                write!(f, "{file}: service {service} was applied by {by}")
            }
            Self::Refused(file, why) => write!(f, "{file}: {why}"),
            Self::TooMany(most) => {
                write!(f, "services.d: there would be more than {most} services")
            }
        }
    }
}

/// A service that would be on fewer hosts after the fleet's files were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    pub service: ServiceName,
    /// The hosts that it would leave.
    pub hosts: HostSet,
    /// How many it has.
    pub of: usize,
}

impl fmt::Display for Leaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, hosts, of } = self;
        write!(f, "service {service} would leave {} of its {of} hosts: {hosts}", hosts.len())
    }
}

/// What whoever asked is told.
pub type Reply = Result<Taken, Rejection>;

/// What was asked for is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub service: ServiceName,
    /// The version that is wanted of it.
    pub version: ServiceVersion,
    /// Nothing was to be changed.
    pub unchanged: bool,
    /// The flow that was made for it. `None` where none is needed, or one that lives has to end first.
    pub flow: Option<FlowId>,
    /// Hosts where it is wanted and that no flow can be made for now: absent, drained, or of a release
    /// that keeps nothing running. Each is brought up when it can be.
    pub left_out: HostSet,
    /// Why no flow could be made, where one was needed.
    pub trouble: Option<String>,
}

/// Why what somebody asked for was not done. Nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The spec contradicts itself.
    Invalid(InvalidService),
    /// There is no service of that name.
    UnknownService(ServiceName),
    /// It belongs to a file of the conductor.
    OfFile(ServiceName, Arc<str>),
    /// A file that is there names it.
    StillFiled(ServiceName, Arc<str>),
    /// It was removed.
    Removed(ServiceName),
    /// It is stopped, so that there is nothing to restart.
    Stopped(ServiceName),
    /// A flow changes it, which a signal does not end.
    Changing(ServiceName, FlowId),
    /// It is paused, so that nothing is done.
    Paused(ServiceName, Asker),
    /// Its version names no signal by which its runs read their parameters again.
    NoReload(ServiceName),
    /// No unit of it has a run there.
    NoRuns(ServiceName),
    /// Its host set is empty.
    NoHosts(ServiceName),
    /// The first is to be linked to the second, which is linked itself, or is what others are linked
    /// to: links of links are not offered.
    LinkOfLink(ServiceName, ServiceName),
    /// Others are linked to it, so that it cannot go before them.
    IsLinkedTo(ServiceName, Vec<ServiceName>),
    /// None of the named hosts is one of its own.
    NotItsHosts(ServiceName, HostSet),
    /// Something else is done to it, or waits: it would be overtaken.
    Busy(ServiceName, String),
    /// None of the named hosts has a unit of it that is a stranger.
    NoStrangers(ServiceName),
    /// It has no such version, or none that was ready everywhere.
    NoVersion(ServiceName, Option<ServiceVersion>),
    /// There are as many services as there may be.
    TooMany(usize),
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(cause) => cause.fmt(f),
            Self::UnknownService(service) => write!(f, "there is no service {service}"),
            Self::OfFile(service, file) => write!(
                f,
                "service {service} belongs to {file} of the conductor: change that file and reload, \
                 or take the service over (--take-over)"
            ),
            Self::StillFiled(service, file) => write!(
                f,
                "{file} of the conductor names service {service}: remove that file and reload first"
            ),
            Self::Removed(service) => write!(f, "service {service} was removed"),
            Self::Stopped(service) => {
                write!(f, "service {service} is stopped, so that it has no run to end")
            }
            Self::Changing(service, flow) => {
                write!(f, "flow {flow} changes service {service}; a signal waits for nothing")
            }
            Self::Paused(service, by) => write!(f, "service {service} is paused by {by}"),
            Self::NoReload(service) => {
                write!(f, "service {service} has no reload: {{signal: …}} in its version")
            }
            Self::NoRuns(service) => {
                write!(f, "there, service {service} has no run of the version that is wanted")
            }
            Self::NoHosts(service) => write!(f, "service {service}: its host set is empty"),
            Self::LinkOfLink(service, other) => write!(
                f,
                "service {service} cannot be linked to {other}: one of the two is linked already, \
                 and links of links are not offered"
            ),
            Self::IsLinkedTo(service, others) => {
                let others: Vec<_> = others.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "service {service} cannot be removed while others are linked to it: {}; remove \
                     those first",
                    others.join(", ")
                )
            }
            Self::NotItsHosts(service, hosts) => {
                write!(f, "service {service} is on none of {}", hosts.counted())
            }
            Self::Busy(service, why) => write!(f, "service {service}: {why}"),
            Self::NoStrangers(service) => {
                write!(
                    f,
                    "on no attached player there is a unit of service {service} that is a stranger"
                )
            }
            Self::NoVersion(service, Some(version)) => {
                write!(f, "service {service} has no version {version} that is kept")
            }
            Self::NoVersion(service, None) => {
                write!(f, "service {service} has no other version that was ready everywhere")
            }
            Self::TooMany(most) => write!(f, "there are {most} services; more are not kept"),
        }
    }
}

impl std::error::Error for Rejection {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Invalid(cause) => cause.source(),
            _ => None,
        }
    }
}
