//! Services: scores that are kept running.
//!
//! A *service* is a name with *versions* 1, 2, … of its spec. An *instance* of it lives on one
//! player at a time; a *placement* is one assignment of an instance to a player, numbered upwards
//! for ever, so that a later one can fence an earlier one. What a sitter keeps for a service on its
//! host is a *unit*; each execution of it is a *run*, numbered from 1 within its placement.
//!
//! `spec` is what people write, `upkeep` the part of it that a sitter follows, `unit` what conductor
//! and sitter say to each other.

use std::fmt;

use crate::names::ServiceName;

mod absence;
mod at_most_one;
mod brakes;
mod file;
mod health;
mod judgement;
mod logs;
mod obstacle;
mod place;
mod plan;
mod ports;
mod process;
mod recipe;
mod record;
mod resources;
mod spec;
mod status;
mod unit;
mod upkeep;

pub use absence::{AbsenceRule, InstanceAbsence, Replacing, ReplacingWait};
pub use at_most_one::{AtMostOne, LEAST_LEASE, LONGEST_LEASE, Lease, Leases, Replaceable};
pub use brakes::{AbsenceBrake, BrakeScope, Brakes, FleetZones, ZoneStatus};
pub use file::{FileChange, FileOutcome, FileStanding, ServiceFile};
pub use health::{
    HealthRule, HttpPath, InvalidProbe, OfInstance, OpenTarget, PATH_BYTES, Probe,
    SOCKET_NAME_BYTES, SocketName, Target, Unprobeable,
};
pub use judgement::{Judged, Judgement, OnUnhealthy, Suspicion};
pub use logs::{
    CHUNK_BYTES, CREDIT_BYTES, LEAST_CREDIT, LogChunk, LogEnd, LogPart, LogPlace, LogQuery,
    LogRuns, LogSource, LogStream, READINGS, ReadLog, ReadingId,
};
pub use obstacle::{Hindered, Obstacle};
pub use place::{
    INSTANCES, InvalidPlace, Labels, Layout, Move, Need, PlaceRule, PlayerFacts, Room, Spread,
    Waiting, ZONE_LABEL,
};
pub use plan::{HostStep, PlannedAbsence, PlannedHosts, ServicePlan};
pub use ports::{
    InvalidPort, InvalidValue, PORT_NAME_BYTES, PORTS, PortName, PortRule, Ports, Unfilled,
    params_in,
};
pub use process::{InvalidUmask, ProcessRule, Umask};
pub use recipe::{Recipe, RecipeJob, RecipeStep};
pub use record::{
    Cause, Change, EVENTS, Forgotten, Goal, LivingChange, PlacementRecord, ServiceEvent,
    ServiceRecord, VERSIONS, VersionRecord,
};
pub use resources::{InvalidMilliCores, MilliCores, Resources};
pub use spec::{InvalidService, ServiceSpec, UpdateRule};
pub use status::{InstanceStatus, ServiceStatus, Stranger};
pub use unit::{
    Exhausted, Instance, RunEnd, UnitJob, UnitOrder, UnitReport, UnitState, Unready, UnwellUnit,
    Wanted,
};
pub use upkeep::{
    InvalidUpkeep, ReadyRule, ReadySign, ReloadRule, RestartRule, RestartWhen, StopRule, Upkeep,
    is_message,
};

/// One content of a service's spec, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceVersion(pub u64);

/// Which of a service's instances, from 1: the lowest number that was free when it was placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ordinal(pub u32);

/// One assignment of an instance to a player: from 1, upwards for ever over all instances of its
/// service, so that whoever sees a higher one of an instance knows that the lower ones are over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Placement(pub u64);

/// One execution of a unit, from 1 within its placement; 0 before the first. No (placement, run)
/// ever comes again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunNumber(pub u64);

impl RunNumber {
    /// The next run's number.
    #[must_use]
    pub fn next(self) -> RunNumber {
        RunNumber(self.0 + 1)
    }
}

/// Prints what is counted as its number.
macro_rules! print_as_number {
    ($($name:ident)+) => {
        $(impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        })+
    };
}

print_as_number!(ServiceVersion Ordinal Placement RunNumber);

/// An instance's id, as people read and write it: `web/3`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    /// The service.
    pub service: ServiceName,
    /// Which instance of it.
    pub ordinal: Ordinal,
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.ordinal)
    }
}
