//! The engine's answers. Each question has an answer of its own type, and a [`ReplyTo`] of that
//! type says to whom it goes. Effects carry all of them as one [`Answer`], so that effects stay
//! plain data.

use std::{fmt, marker::PhantomData};

use orchestra_model::{
    FlowId, FlowState, HostSet, JobName, Millis, ServiceName,
    advice::{Advice, Remedy},
    deployment::HostConflict,
    flow::InvalidFlow,
    limits,
    thresholds::AboveHosts,
};

use crate::ids::ReplyId;

/// Says to whom the answer to a question goes. The question is answered with a `T`, or rejected.
pub struct ReplyTo<T> {
    id: ReplyId,
    answer: PhantomData<fn(T)>,
}

impl<T> ReplyTo<T> {
    /// The address with this number.
    pub const fn new(id: ReplyId) -> Self {
        Self { id, answer: PhantomData }
    }

    pub(crate) fn id(self) -> ReplyId {
        self.id
    }
}

impl<T> Clone for ReplyTo<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ReplyTo<T> {}

impl<T> fmt::Debug for ReplyTo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

/// An answer to a question that is not rejected.
pub trait Reply: Into<Answer> {
    /// Reads the answer to this question, or its rejection. Returns `None` for the answer to
    /// another question. The engine never gives one: its methods take an address and the type of
    /// what goes there together.
    fn read(answer: Answer) -> Option<Result<Self, Rejection>>;
}

/// Makes a type of each answer, and [`Answer`], which is any of them.
macro_rules! answers {
    ($($(#[$doc:meta])* $name:ident {
        $($(#[$field_doc:meta])* $field:ident: $type:ty,)+
    })+) => {
        $($(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)+
        }

        impl From<$name> for Answer {
            fn from(answer: $name) -> Self {
                Self::$name(answer)
            }
        }

        impl Reply for $name {
            fn read(answer: Answer) -> Option<Result<Self, Rejection>> {
                match answer {
                    Answer::$name(answer) => Some(Ok(answer)),
                    Answer::Rejected(rejection) => Some(Err(rejection)),
                    other => {
                        debug_assert!(false, "{other:?} answers another question");
                        None
                    }
                }
            }
        })+

        /// Any answer.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Answer {
            $($(#[$doc])* $name($name),)+
            /// What was asked for was not done, and nothing was changed.
            Rejected(Rejection),
        }
    };
}

answers! {
    /// The flow is stored.
    Submitted {
        flow: FlowId,
        /// Whether the store knew the request already: then this is the flow of the first time.
        repeated: bool,
    }
    /// The cancel is on record, be it this one or an earlier one.
    Cancelled {
        flow: FlowId,
        /// Where it is now.
        state: FlowState,
    }
    /// The flow is paused, resumed or promoted now, or was so already.
    Changed {
        flow: FlowId,
        /// Where it is now.
        state: FlowState,
    }
    /// Tasks wait for a further attempt.
    Retried {
        flow: FlowId,
        tasks: u32,
    }
    /// Players were drained or undrained.
    Drained {
        /// Those that were not drained, or undrained, already.
        hosts: HostSet,
        /// How many orders are out to these players.
        in_flight: u32,
    }
    /// Hosts count as down no more.
    ReleasedHolds {
        /// The hosts among those asked for that had counted as down.
        hosts: HostSet,
    }
    /// Players are quarantined no more.
    ReleasedPlayers {
        /// The players among those asked for that had been quarantined.
        hosts: HostSet,
        /// How many tasks that were in flight to them became `lost`.
        lost: u32,
    }
    /// The deployments are in force.
    DeploymentsLoaded {
        deployments: u32,
        /// How many cells follow from them.
        cells: u32,
    }
    /// The roster is in force.
    Loaded {
        /// How many players the fleet has now.
        players: u32,
        /// How many of them are new.
        added: u32,
        /// How many players left the fleet.
        removed: u32,
    }
    /// Orders are sent again.
    Recovered {
        /// The next flow's number.
        next_flow: FlowId,
    }
}

/// Why something was not done. Then no part of it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The flow contradicts itself.
    Invalid(InvalidFlow),
    /// A job's host set is empty.
    NoHosts(JobName),
    /// A limit of a job counts more hosts than the job has.
    AboveHosts(JobName, AboveHosts),
    /// A job's tree has these targets of the job as its root.
    RootIsTarget(JobName, HostSet),
    /// A job names hosts that the players file does not.
    UnknownHosts(JobName, HostSet),
    /// All jobs together have more tasks than the bound.
    TooManyTasks {
        /// How many they have.
        tasks: u64,
        /// How many they may have.
        most: u64,
    },
    /// No flow with this number is alive. The store knows whether there ever was one.
    UnknownFlow(FlowId),
    /// The new players file lacks too many of the present players.
    TooManyRemoved {
        /// How many players would leave the fleet.
        removed: u32,
        /// How many players the fleet has.
        players: u32,
        /// How many players one reload may remove.
        most: u32,
    },
    /// Flow numbers are used up.
    NoMoreFlows,
    /// Hosts of one slot would wait for each other for ever.
    Conflicts {
        /// The slot, from 1.
        slot: u16,
        /// Which hosts, and why; at least one.
        conflicts: Vec<HostConflict>,
    },
    /// With the new deployments, hosts of a living flow would wait for each other for ever.
    ConflictsInFlow {
        flow: FlowId,
        /// The slot, from 1.
        slot: u16,
        /// Which hosts, and why; at least one.
        conflicts: Vec<HostConflict>,
    },
    /// The flow is being cancelled, so that nothing new of it will start.
    Cancelling(FlowId),
    /// The flow comes after this one, of which nothing is known.
    NothingToComeAfter(FlowId),
    /// The flow is not to begin before a moment that is too far away.
    BeginsTooLate,
    /// None of the tasks that were named can have a further attempt.
    NothingToRetry(FlowId),
    /// None of the jobs that were named has a canary that holds others back.
    NothingToPromote(FlowId),
    /// Hosts that the players file does not name.
    UnknownPlayers(HostSet),
    /// A job about units does not say of each of its hosts which instance is there.
    Instances {
        job: JobName,
        /// How many instances it names.
        instances: usize,
        /// How many hosts it has.
        hosts: usize,
    },
    /// The job is about units of this service, so its tasks get no further attempts: whoever wants
    /// one asks the service.
    NotForRetries(ServiceName),
    /// Quarantined players that claim order numbers so high that this store could not go on above
    /// them.
    OutOfReach(HostSet),
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(cause) => cause.fmt(f),
            Self::AboveHosts(job, above) => write!(f, "job {job}: {above}"),
            Self::NoHosts(job) => write!(f, "job {job}: its host set is empty"),
            Self::UnknownHosts(job, hosts) => write!(
                f,
                "job {job}: {} unknown {}, not in the players file: {hosts}",
                hosts.len(),
                if hosts.len() == 1 { "host" } else { "hosts" },
            ),
            Self::RootIsTarget(job, hosts) => write!(
                f,
                "job {job}: {} of its tree's root are among its targets; hosts of the root have it \
                 already, so leave them out of targets",
                hosts.counted()
            ),
            Self::TooManyTasks { tasks, most } => {
                write!(f, "the flow has {tasks} tasks; at most {most} are allowed")
            }
            Self::UnknownFlow(flow) => write!(f, "no flow {flow} is alive"),
            Self::TooManyRemoved { removed, players, most } => write!(
                f,
                "the players file lacks {removed} of {players} players; one reload may remove {most}"
            ),
            Self::NoMoreFlows => f.write_str("flow numbers are used up"),
            Self::Conflicts { slot, conflicts } => {
                write!(f, "slot {slot}: hosts would wait for each other for ever: ")?;
                write_conflicts(f, conflicts)
            }
            Self::ConflictsInFlow { flow, slot, conflicts } => {
                write!(
                    f,
                    "with these deployments, hosts of slot {flow}.{slot}, which is alive, would \
                     wait for each other for ever: "
                )?;
                write_conflicts(f, conflicts)
            }
            Self::Cancelling(flow) => write!(f, "flow {flow} is being cancelled"),
            Self::NothingToComeAfter(flow) => {
                write!(f, "it is to begin after flow {flow}, and there is no such flow")
            }
            Self::BeginsTooLate => {
                let most = Millis(limits::DURATION_MS);
                write!(f, "it is to begin more than {most} from now")
            }
            Self::NothingToRetry(flow) => {
                write!(
                    f,
                    "flow {flow}: no such task has ended without being ok, in a job that lives"
                )
            }
            Self::NothingToPromote(flow) => {
                write!(f, "flow {flow}: no such job has a canary that holds others back")
            }
            Self::UnknownPlayers(hosts) => {
                write!(f, "not in the players file: {}", hosts.counted())
            }
            Self::Instances { job, instances, hosts } => {
                write!(f, "job {job}: it names {instances} instances for {hosts} hosts")
            }
            Self::NotForRetries(_) => f.write_str("what is asked of units gets no further attempt"),
            Self::OutOfReach(hosts) => write!(
                f,
                "numbers cannot go on above what {} claims: stop the player and move its spool away; \
                 what it ran or had not reported is then lost",
                hosts.counted()
            ),
        }
    }
}

impl Rejection {
    /// It, and what would help.
    pub fn advice(&self) -> Advice {
        let text = Advice::from(self.to_string());
        match self {
            Self::ConflictsInFlow { flow, .. } => {
                text.say("; let the flow end, or ").name(Remedy::Cancel(*flow))
            }
            Self::NotForRetries(service) => {
                text.say(": ").name(Remedy::RestartService(service.clone()))
            }
            _ => text,
        }
    }
}

fn write_conflicts(f: &mut fmt::Formatter<'_>, conflicts: &[HostConflict]) -> fmt::Result {
    for (n, conflict) in conflicts.iter().enumerate() {
        write!(f, "{}{conflict}", if n == 0 { "" } else { "; " })?;
    }
    Ok(())
}

impl std::error::Error for Rejection {}
