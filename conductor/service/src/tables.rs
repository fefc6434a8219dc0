//! What is known of one service.

mod absence;
mod ages;
mod bucket;
mod in_order;
mod placements;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use orchestra_model::{
    HostName, HostSet, Millis, ServiceName, Timestamp,
    names::LabelValue,
    score::Offers,
    service::{
        AbsenceBrake, Cause, Goal, Instance, Ordinal, Placement, PlacementRecord, RunEnd,
        RunNumber, ServiceRecord, ServiceSpec, ServiceVersion, UnitReport, UnitState, Unready,
        VersionRecord, Wanted,
    },
};

pub(crate) use absence::{Absences, Away};
pub(crate) use ages::Ages;
pub(crate) use bucket::Bucket;
pub(crate) use placements::Placements;

/// One service.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) record: ServiceRecord,
    /// The kept versions. The wanted one is always among them, unless the service was removed.
    pub(crate) versions: BTreeMap<ServiceVersion, KeptVersion>,
    /// Its instances, by host.
    pub(crate) placements: Placements,
    /// Hosts that its units have left and that were not cleaned up since.
    pub(crate) uncleaned: BTreeSet<HostName>,
    /// Hosts that are not as wanted and can be brought there.
    pub(crate) wrong: BTreeSet<HostName>,
    /// Hosts whose unit is to get a new run because it is unhealthy.
    pub(crate) to_heal: BTreeSet<HostName>,
    /// Hosts whose unit is unhealthy, each with the moment at which it turned; and those where it is
    /// ready. Their players are attached.
    pub(crate) unhealthy: BTreeMap<HostName, Timestamp>,
    pub(crate) healthy: BTreeSet<HostName>,
    /// Its hosts whose players are away, if it is placed and is to run.
    pub(crate) absent: Absences,
    /// When its runs are so old that new ones are to follow them. Their players are attached.
    pub(crate) ages: Ages,
    /// When it is noted on disk for how long they are.
    pub(crate) next_note: Option<Timestamp>,
    /// How many of its instances were replaced of late.
    pub(crate) bucket: Bucket,
    /// When replacements that are held back are tried again.
    pub(crate) retry_at: Option<Timestamp>,
    /// When the service is to be looked at although nothing happens.
    pub(crate) wake: Option<Timestamp>,
    /// Hosts that were given up: a flow did not bring them to what is wanted.
    pub(crate) given_up: BTreeSet<HostName>,
    /// When any of them was, last.
    pub(crate) given_up_at: Timestamp,
    /// Its hosts whose instances may be failing.
    pub(crate) failing: BTreeSet<HostName>,
    /// Hosts that were left because its instances failed there.
    pub(crate) unfit: BTreeSet<HostName>,
    /// When instances left hosts for that, in the last hour.
    pub(crate) misfit_moves: Vec<Timestamp>,
    /// Hosts of the living flow that have not attached anew since it was made, each with the run
    /// that its unit had then. Those that it does not bring to what is wanted are given up. This is
    /// not known after a start of the conductor; then another flow finds out.
    pub(crate) ordered: BTreeMap<HostName, RunNumber>,
    /// Hosts of the living flow with which it is not done: their tasks are not final.
    pub(crate) open: BTreeSet<HostName>,
    /// What is known of its relief, while there is one or it is being submitted.
    pub(crate) relief: Relief,
    /// Hosts of the living flow whose units are unhealthy and wait for their new runs.
    pub(crate) healing: BTreeSet<HostName>,
    /// Whether a unit has become one that is to get a new run for its health, since the last flow
    /// was made.
    pub(crate) is_heal_due: bool,
    /// Why the flow is made that is being submitted.
    pub(crate) begins: Cause,
    /// The tasks of the living flow that did not end ok.
    pub(crate) failures: Failures,
    /// Whether more instances than ever were wanted until now, for a flow that is over.
    pub(crate) was_surged: bool,
    /// Whether it is not to run because the service to which it is linked is not to run.
    pub(crate) is_held: bool,
    /// Why no flow could be made.
    pub(crate) trouble: Option<String>,
    /// How many instances have no player, for each zone that they are for; `None`: whichever.
    pub(crate) missing: Vec<(Option<LabelValue>, u32)>,
}

/// A relief: a flow that restarts unhealthy units beside the living one. The fields are as those of
/// [`Service`] are for the living flow.
#[derive(Clone, Debug, Default)]
pub(crate) struct Relief {
    pub(crate) ordered: BTreeMap<HostName, RunNumber>,
    pub(crate) open: BTreeSet<HostName>,
    pub(crate) failures: Failures,
}

/// A version that is kept.
#[derive(Clone, Debug)]
pub(crate) struct KeptVersion {
    pub(crate) record: VersionRecord,
    pub(crate) spec: Arc<ServiceSpec>,
}

/// An instance on a player.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) instance: Instance,
    /// Whether its player has told it.
    pub(crate) told: bool,
    /// What its player told last, even if the player is absent now; `None` if it told no unit, or
    /// nothing since the conductor started.
    pub(crate) report: Option<UnitReport>,
    /// When its last lease is over, whatever its player has heard of it; `None` if it had none.
    pub(crate) leased: Option<Timestamp>,
    /// Whether a person has declared it dead.
    pub(crate) dead: bool,
    /// For how long its player was absent, as far as that is on disk; 0 if it is back.
    pub(crate) noted_absence: Millis,
    /// Whether an order about it has left of which its player has told nothing.
    pub(crate) is_ordered: bool,
    /// When its run began, if its player has told.
    pub(crate) begun: Option<Timestamp>,
    /// When it turned unhealthy, if that was the last thing that was told of its health.
    pub(crate) unhealthy_since: Option<Timestamp>,
    /// How many restarts its player told last.
    pub(crate) restarts_told: u32,
    /// Since when its runs end, and none was up for long.
    pub(crate) failing: Option<Failing>,
    /// The version for which its host was prepared last, since it was placed there; version 0 if that was
    /// begun and did not end ok.
    pub(crate) prepared: Option<ServiceVersion>,
}

/// That runs of an instance end again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failing {
    /// Since the end of the first of them was told.
    pub(crate) since: Timestamp,
    /// How many restarts there were before that.
    pub(crate) restarts: u32,
    /// Since when the present one is up, if that was told last.
    pub(crate) up: Option<Timestamp>,
}

/// Tasks of a flow that did not end well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failures {
    /// Caused by the version, which did not become ready.
    pub(crate) of_version: u32,
    /// Caused by what was to prepare the host for the version.
    pub(crate) of_preparing: u32,
    /// Caused by what was to clean the host up.
    pub(crate) of_cleaning: u32,
    /// All others: the player was absent, refused the task, or was lost.
    pub(crate) others: u32,
    /// Why the first that is not of the version failed, with its host, if that is known.
    pub(crate) first: Option<String>,
}

/// A brake, and how many instances were replaced under it of late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Engaged {
    pub(crate) brake: AbsenceBrake,
    pub(crate) bucket: Bucket,
    /// Since when fewer players are away than would engage it, if they are.
    pub(crate) clear_since: Option<Timestamp>,
    /// Since when it is engaged, as far as a conductor was there to see it.
    pub(crate) since: Timestamp,
}

/// What is known of a player that is attached.
#[derive(Clone, Debug)]
pub(crate) struct Presence {
    /// Whether its release keeps units.
    pub(crate) keeps_units: bool,
    /// The scores that it told when it attached.
    pub(crate) offers: Offers,
}

impl Placed {
    /// Returns an instance of which nothing is known yet but whether its player has told it.
    pub(crate) fn new(instance: Instance, told: bool) -> Self {
        Self {
            instance,
            told,
            report: None,
            leased: None,
            dead: false,
            noted_absence: Millis(0),
            is_ordered: false,
            begun: None,
            unhealthy_since: None,
            restarts_told: 0,
            failing: None,
            prepared: None,
        }
    }
}

impl Service {
    pub(crate) fn new(record: ServiceRecord) -> Self {
        Self {
            record,
            versions: BTreeMap::new(),
            placements: Placements::default(),
            uncleaned: BTreeSet::new(),
            wrong: BTreeSet::new(),
            to_heal: BTreeSet::new(),
            unhealthy: BTreeMap::new(),
            healthy: BTreeSet::new(),
            absent: Absences::default(),
            ages: Ages::default(),
            next_note: None,
            bucket: Bucket::default(),
            retry_at: None,
            wake: None,
            given_up: BTreeSet::new(),
            given_up_at: Timestamp(0),
            failing: BTreeSet::new(),
            unfit: BTreeSet::new(),
            misfit_moves: Vec::new(),
            ordered: BTreeMap::new(),
            open: BTreeSet::new(),
            relief: Relief::default(),
            healing: BTreeSet::new(),
            is_heal_due: false,
            begins: Cause::Repair,
            failures: Failures::default(),
            was_surged: false,
            is_held: false,
            trouble: None,
            missing: Vec::new(),
        }
    }

    /// The wanted spec; `None` once the service and its versions were removed.
    pub(crate) fn spec(&self) -> Option<&ServiceSpec> {
        self.versions.get(&self.record.version).map(|version| &*version.spec)
    }

    /// The service that it is linked to.
    pub(crate) fn linked_to(&self) -> Option<&ServiceName> {
        self.spec().and_then(|spec| spec.upkeep.linked_to.as_ref())
    }

    /// Returns what its units are to be brought to.
    pub(crate) fn goal(&self) -> Goal {
        match self.record.goal {
            Goal::Running if self.is_held => Goal::Stopped,
            goal => goal,
        }
    }

    /// Returns whether it is wanted on a host.
    pub(crate) fn is_wanted_on(&self, host: &HostName) -> bool {
        self.record.goal != Goal::Removed && self.record.hosts.contains(host)
    }

    /// Returns what is to be asked of a host's unit so that it is as wanted; `None` if it is. The
    /// player must be attached and keep units.
    pub(crate) fn difference(&self, host: &HostName) -> Option<Wanted> {
        let placed = self.placements.get(host);
        let report = placed.and_then(|placed| placed.report.as_ref());
        if !self.is_wanted_on(host) {
            return report.map(|_| Wanted::Gone);
        }
        match (self.goal(), placed.zip(report)) {
            (Goal::Running, None) => Some(Wanted::Running),
            (Goal::Running, Some((placed, report))) => {
                let is_idle = matches!(
                    report.state,
                    UnitState::Stopped | UnitState::AwaitingParams | UnitState::Gone
                );
                let is_other =
                    report.version != self.record.version || report.instance != placed.instance;
                (is_other || is_idle).then_some(Wanted::Running)
            }
            (Goal::Stopped, Some((_, report))) => {
                (report.state != UnitState::Stopped).then_some(Wanted::Stopped)
            }
            (Goal::Stopped | Goal::Removed, _) => None,
        }
    }

    /// Whether the unit on a host is ready.
    pub(crate) fn is_ready_on(&self, host: &HostName) -> bool {
        let report = self.placements.get(host).and_then(|placed| placed.report.as_ref());
        report.is_some_and(|report| report.state == UnitState::Ready)
    }

    /// Returns the run that the unit on a host has, or had last; 0 if nothing is known of it.
    pub(crate) fn run_on(&self, host: &HostName) -> RunNumber {
        let report = self.placements.get(host).and_then(|placed| placed.report.as_ref());
        report.map_or(RunNumber(0), |report| report.run)
    }

    /// Returns why the unit on a host counts as down, if it does.
    pub(crate) fn unready(&self, host: &HostName, attached: bool) -> Option<Unready> {
        let placed = self.placements.get(host).filter(|placed| placed.told)?;
        if self.goal() != Goal::Running || !self.is_wanted_on(host) {
            return None;
        }
        let Some(report) = placed.report.as_ref().filter(|_| attached) else {
            return Some(if attached { Unready::NotReady } else { Unready::Untold });
        };
        match (report.state, &report.last_end) {
            (UnitState::Ready, _) => None,
            // The unit did its work, and its rule asks for no further run.
            (UnitState::Ended, Some(RunEnd::Exited(0))) => None,
            (UnitState::GaveUp | UnitState::Ended, _) => Some(Unready::GaveUp),
            _ => Some(Unready::NotReady),
        }
    }

    /// Returns whether the unit on a host exists and is not ready. It goes first in an update.
    pub(crate) fn is_sick(&self, host: &HostName) -> bool {
        let placed = self.placements.get(host).filter(|placed| placed.told);
        let state = placed.and_then(|placed| placed.report.as_ref()).map(|report| report.state);
        placed.is_some() && state != Some(UnitState::Ready)
    }

    /// Returns an instance of this placement, with another ordinal if that one is taken.
    pub(crate) fn instance_like(&self, instance: Instance) -> Instance {
        let taken = self.taken_ordinals();
        let free = (1..).map(Ordinal).find(|ordinal| !taken.contains(ordinal));
        match taken.contains(&instance.ordinal) {
            true => Instance { ordinal: free.unwrap_or_default(), ..instance },
            false => instance,
        }
    }

    fn taken_ordinals(&self) -> BTreeSet<Ordinal> {
        self.placements.ordinals().collect()
    }

    /// Returns the ordinals that no instance has, lowest first.
    pub(crate) fn free_ordinals(&self) -> impl Iterator<Item = Ordinal> + use<> {
        let taken = self.taken_ordinals();
        (1..).map(Ordinal).filter(move |ordinal| !taken.contains(ordinal))
    }

    /// Returns the ordinals for instances beside those on these hosts. Where none may be alive twice,
    /// those of other hosts come first: then no more instances than ever can be alive.
    pub(crate) fn ordinals_beside(&self, hosts: &HostSet) -> impl Iterator<Item = Ordinal> + use<> {
        let is_single = self.spec().is_some_and(|spec| spec.upkeep.at_most_one.is_some());
        let of = |is_there: bool| {
            let placed = self.placements.iter();
            let placed =
                placed.filter(move |(host, _)| is_single && hosts.contains(host) == is_there);
            placed.map(|(_, placed)| placed.instance.ordinal).collect::<BTreeSet<_>>()
        };
        let leaving: Vec<Ordinal> = of(false).difference(&of(true)).copied().collect();
        leaving.into_iter().chain(self.free_ordinals())
    }

    /// Gives an instance to each of these hosts that has none.
    pub(crate) fn place_all(&mut self, hosts: &HostSet) {
        let mut free = self.free_ordinals();
        for host in hosts {
            if !self.placements.contains_key(host) {
                let ordinal = free.next().unwrap_or_default();
                self.place(host, ordinal);
            }
        }
    }

    /// Assigns an instance to a host, by a new placement.
    pub(crate) fn place(&mut self, host: &HostName, ordinal: Ordinal) {
        self.record.last_placement = Placement(self.record.last_placement.0 + 1);
        let instance = Instance { ordinal, placement: self.record.last_placement };
        // What the host had before may still run there under its lease.
        let leased = self.placements.get(host).and_then(|placed| placed.leased);
        let placed = Placed { leased, ..Placed::new(instance, false) };
        self.placements.insert(host.clone(), placed);
        // What is written of it takes the place of the note.
        self.uncleaned.remove(host);
    }

    /// Returns the hosts whose units are to get new runs for their health, and with which the living
    /// flow is done.
    pub(crate) fn to_heal_now(&self) -> impl Iterator<Item = &HostName> + Clone {
        let is_free = |host: &&HostName| !self.open.contains(*host);
        self.to_heal.difference(&self.given_up).filter(is_free)
    }

    /// Returns the record of the instance on a host.
    pub(crate) fn placement_record(&self, host: &HostName) -> Option<PlacementRecord> {
        let Placed { instance, told, dead, noted_absence: absent, prepared, .. } =
            *self.placements.get(host)?;
        let service = self.record.name.clone();
        Some(PlacementRecord {
            service,
            host: host.clone(),
            instance,
            told,
            dead,
            absent,
            prepared,
            left: false,
        })
    }

    /// Returns the newest version that was ready everywhere, if it is kept and is not the present
    /// one.
    pub(crate) fn last_good(&self) -> Option<ServiceVersion> {
        let stable = self.record.stable?;
        (stable != self.record.version && self.versions.contains_key(&stable)).then_some(stable)
    }
}
