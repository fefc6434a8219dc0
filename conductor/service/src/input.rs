//! What the engine is told, and what it answers.

use std::{collections::BTreeMap, fmt, sync::Arc};

use orchestra_model::{
    Asker, FlowId, FlowState, HostName, HostSet, ServiceName, TaskState,
    delivery::Term,
    names::LabelValue,
    score::Offers,
    service::{
        BrakeScope, InvalidService, Layout, Move, Ordinal, PlayerFacts, RecipeStep, Room,
        ServiceSpec, ServiceVersion, UnitReport, Waiting,
    },
};

/// The address of an answer; made by the asker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyId(pub u64);

/// Something that happened.
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
    /// A flow of [`crate::Effect::Submit`] was taken, or refused.
    Submitted {
        /// Of which services, in order.
        services: Vec<ServiceName>,
        /// The flow's number, or the refusal as text for people.
        flow: Result<FlowId, String>,
    },
    /// A task of a flow became final.
    TaskEnded {
        /// Ignored if the flow changes no service.
        flow: FlowId,
        /// The service that the task was about.
        service: ServiceName,
        /// Which recipe of the service it did; `None`: it was about a unit.
        recipe: Option<RecipeStep>,
        host: HostName,
        state: TaskState,
        /// Whether an order of it was sent, so that it may have been begun.
        is_begun: bool,
        /// Why it was refused or lost, for people.
        detail: Option<Arc<str>>,
    },
    /// A flow ended. Ignored if the flow changes no service.
    FlowEnded { flow: FlowId, state: FlowState },
    /// The fleet's files were read: these are the players that there are. Comes before
    /// [`Input::FilesLoaded`] and [`Input::FleetLoaded`].
    PlayersLoaded {
        /// What the files say of each.
        players: BTreeMap<HostName, PlayerFacts>,
    },
    /// The fleet's files were read.
    FleetLoaded {
        /// The hosts to which each service's expression resolves. A service whose expression cannot
        /// be resolved any more stays where it is.
        hosts: BTreeMap<ServiceName, Result<HostSet, String>>,
    },
    /// The files of `services.d` were read, and [`crate::Services::check_files`] had no objection.
    FilesLoaded {
        /// The content of all files: one service each, no name twice.
        files: Vec<FiledService>,
        /// Whether they may take over services that an audience applied.
        take_over: bool,
    },
    /// A player attached and told its units.
    PlayerAttached {
        host: HostName,
        /// All units that it keeps for this store; `None` if its release keeps none.
        units: Option<Vec<UnitReport>>,
        /// The scores that it offers.
        offers: Offers,
        /// How much of it there is for instances, by its own word.
        room: Room,
    },
    /// A player's session ended, or it is quarantined.
    PlayerDetached { host: HostName },
    /// A unit changed.
    UnitTold {
        /// The player's host.
        host: HostName,
        /// The unit's state now.
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
    /// Services are to be as these say; at least one, and none twice. What is to be done for them is
    /// done by one flow. Either all of them are applied or none is.
    Apply {
        services: Vec<AppliedService>,
        /// Whether to apply one even if it belongs to a file.
        take_over: bool,
    },
    /// A service is to have an earlier version.
    Revert {
        service: ServiceName,
        /// `None` for the newest version that was ready everywhere and is not the present one.
        to: Option<ServiceVersion>,
        /// For each kept version, the hosts to which its expression resolves.
        hosts: BTreeMap<ServiceVersion, HostSet>,
    },
    /// Its units are to have new runs.
    Restart {
        service: ServiceName,
        /// The hosts that are meant; `None` for all of its hosts.
        hosts: Option<HostSet>,
    },
    /// Its runs are to read their parameters again, at the signal that its version names.
    Reload {
        service: ServiceName,
        /// The hosts that are meant; `None` for all of its hosts.
        hosts: Option<HostSet>,
    },
    /// The first processes of its runs are to get a signal.
    Signal {
        service: ServiceName,
        /// The hosts that are meant; `None` for all of its hosts.
        hosts: Option<HostSet>,
        /// The number of the signal: signal(7).
        signal: i32,
    },
    /// A service that is placed is to have another number of instances.
    Scale {
        service: ServiceName,
        /// In which zone; `None` if it is placed by a count.
        zone: Option<LabelValue>,
        count: u32,
        /// Whether to do it even if the service belongs to a file.
        take_over: bool,
    },
    /// Instances of a service that is placed are to be moved to players that suit it better.
    Rebalance {
        service: ServiceName,
        /// Nothing is done; the answer tells what would be.
        plan: bool,
    },
    /// It is to have no runs until it is started.
    Stop(ServiceName),
    /// It is to have runs again.
    Start(ServiceName),
    /// It is to have no units any more.
    Remove(ServiceName),
    /// Nothing voluntary is to be done; what runs goes on.
    Pause(ServiceName),
    /// Changes are to go on, even on hosts that were given up.
    Resume(ServiceName),
    /// The health of its units is to be believed again.
    ReleaseBrake(ServiceName),
    /// Strangers of this service are to become its units, and are brought to what is wanted.
    Adopt {
        service: ServiceName,
        /// The hosts that are meant; `None` for all.
        hosts: Option<HostSet>,
    },
    /// An instance whose player is away is not alive, and will not be again.
    DeclareDead {
        service: ServiceName,
        /// Which.
        ordinal: Ordinal,
    },
    /// Strangers of this service are to be ended. There need be no service of that name.
    StopStrangers {
        /// The name of their service.
        service: ServiceName,
        /// The hosts that are meant; `None` for all.
        hosts: Option<HostSet>,
    },
}

/// What a service is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedService {
    pub spec: ServiceSpec,
    /// The spec as it came.
    pub spec_bytes: Arc<[u8]>,
    /// The hosts to which its expression resolves.
    pub hosts: HostSet,
}

impl Ask {
    /// Returns the services that the ask is about, in its order.
    pub fn services(&self) -> Vec<ServiceName> {
        let service = match self {
            Ask::Apply { services, .. } => {
                return services.iter().map(|service| service.spec.name.clone()).collect();
            }
            Ask::Revert { service, .. }
            | Ask::Restart { service, .. }
            | Ask::Reload { service, .. }
            | Ask::Signal { service, .. }
            | Ask::Scale { service, .. }
            | Ask::Rebalance { service, .. }
            | Ask::Adopt { service, .. }
            | Ask::DeclareDead { service, .. }
            | Ask::StopStrangers { service, .. } => service,
            Ask::Stop(service)
            | Ask::Start(service)
            | Ask::Remove(service)
            | Ask::Pause(service)
            | Ask::Resume(service)
            | Ask::ReleaseBrake(service) => service,
        };
        vec![service.clone()]
    }
}

/// The content of a file of `services.d`.
#[derive(Clone, Debug)]
pub struct FiledService {
    /// Its name, as people are told: `services.d/web.yaml`.
    pub file: Arc<str>,
    pub spec: ServiceSpec,
    /// The spec as it is kept.
    pub spec_bytes: Arc<[u8]>,
    /// SHA-256 over the file's content, independent of its spelling.
    pub content: [u8; 32],
    /// The hosts to which its expression resolves.
    pub hosts: HostSet,
}

/// Why files of `services.d` are not loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileConflict {
    /// A file names a service that an audience applied.
    Owned(Arc<str>, ServiceName, Asker),
    /// What a file says is not possible.
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
    /// How many hosts it has.
    pub of: usize,
}

impl fmt::Display for Leaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, hosts, of } = self;
        write!(f, "service {service} would leave {} of its {of} hosts: {hosts}", hosts.len())
    }
}

/// The answer to an ask: one for each of its services, in its order.
pub type Reply = Result<Vec<Taken>, Rejection>;

/// What was asked for is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub service: ServiceName,
    /// The version that is wanted of it.
    pub version: ServiceVersion,
    /// Whether nothing had to be changed.
    pub unchanged: bool,
    /// The flow that was made for it. `None` if none is needed, or if a living one has to end
    /// first.
    pub flow: Option<FlowId>,
    /// Hosts where it is wanted and cannot be brought now, because they are absent, drained, or of
    /// a release without units. Each is brought up when it can be.
    pub left_out: HostSet,
    /// Instances for which no player has room.
    pub waiting: Vec<Waiting>,
    /// What a rebalance moves, or would move.
    pub moves: Vec<Move>,
    /// Why no flow could be made, if one was needed.
    pub trouble: Option<String>,
}

/// Why an ask was rejected. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The spec contradicts itself.
    Invalid(InvalidService),
    /// There is no service of that name.
    UnknownService(ServiceName),
    /// It belongs to a file of the conductor.
    OfFile(ServiceName, Arc<str>),
    /// An existing file names it.
    StillFiled(ServiceName, Arc<str>),
    /// It was removed.
    Removed(ServiceName),
    /// It is stopped, so there is nothing to restart.
    Stopped(ServiceName),
    /// A flow changes it, and a signal does not end that flow.
    Changing(ServiceName, FlowId),
    /// It is paused, so nothing is done.
    Paused(ServiceName, Asker),
    /// Nothing brakes it.
    NoBrake(ServiceName),
    /// Its version names no signal by which its runs read their parameters again.
    NoReload(ServiceName),
    /// It is not placed, so that it has no number of instances.
    NotPlaced(ServiceName),
    /// It is placed by a count and not by zones, or the other way round.
    OtherLayout(ServiceName, Layout),
    /// No unit of it has a run there.
    NoRuns(ServiceName),
    /// Its host set is empty.
    NoHosts(ServiceName),
    /// The first cannot be linked to the second, because the second is linked itself or the first
    /// has linked services: links of links are not offered.
    LinkOfLink(ServiceName, ServiceName),
    /// Other services are linked to it, so it cannot be removed before them.
    IsLinkedTo(ServiceName, Vec<ServiceName>),
    /// None of the named hosts is one of its own.
    NotItsHosts(ServiceName, HostSet),
    /// Something else is being done to it, or waits, which this would overtake.
    Busy(ServiceName, String),
    /// None of the named hosts has a stranger of it.
    NoStrangers(ServiceName),
    /// It has no instance of this number.
    NoInstance(ServiceName, Ordinal),
    /// The player of this instance is attached, so it is not dead.
    Alive(ServiceName, Ordinal, HostName),
    /// It may be alive twice, so nobody waits for the word that an instance is dead.
    MayBeTwice(ServiceName),
    /// Nothing holds replacements back there.
    NotBraked(BrakeScope),
    /// It has no such version, or none that was ready everywhere.
    NoVersion(ServiceName, Option<ServiceVersion>),
    /// It is named twice in one ask.
    Twice(ServiceName),
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
            Self::NoBrake(service) => {
                write!(f, "no brake of service {service} is engaged")
            }
            Self::NoReload(service) => {
                write!(f, "service {service} has no reload: {{signal: …}} in its version")
            }
            Self::NotPlaced(service) => write!(
                f,
                "service {service} is not placed: its hosts are those that its version names"
            ),
            Self::OtherLayout(service, Layout::Count(_)) => {
                write!(f, "service {service} is placed by a count: give a number and no zone")
            }
            Self::OtherLayout(service, Layout::Zones(_)) => {
                write!(f, "service {service} is placed by zones: give one, as ZONE=N")
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
            Self::NoInstance(service, ordinal) => {
                write!(f, "service {service} has no instance {service}/{ordinal}")
            }
            Self::Alive(service, ordinal, host) => write!(
                f,
                "the player of {service}/{ordinal} is attached, on {host}: what it runs is ended by \
                 an order"
            ),
            Self::MayBeTwice(service) => write!(
                f,
                "service {service} is not at_most_one: nothing waits for the word that an instance \
                 of it is dead"
            ),
            Self::NotBraked(scope) => write!(f, "{scope}: nothing is held back there"),
            Self::NoVersion(service, Some(version)) => {
                write!(f, "service {service} has no version {version} that is kept")
            }
            Self::NoVersion(service, None) => {
                write!(f, "service {service} has no other version that was ready everywhere")
            }
            Self::Twice(service) => {
                write!(f, "service {service} is given twice: apply one of them")
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
