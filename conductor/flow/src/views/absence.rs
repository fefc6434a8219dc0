//! Tasks whose players are not attached: since when they are away, and when each task is given up
//! because of that.
//!
//! A task in flight is `lost` then, a waiting one `unreachable`. Nothing here decides: the moments
//! are those of the deadlines (`rules/deadline`).

use orchestra_model::{
    HostName, HostSet, JobId, TaskState, Timestamp, WaitReason,
    record::Impact,
    status::{Absence, AbsentTasks, Due, JobAbsence},
};

use crate::{
    Engine,
    ids::PlayerIx,
    tables::{flow::shown, job::Job, task::TaskRef},
};

/// Most hosts that are folded to be shown. A line has room for fewer.
const FOLDED: usize = 1_000;

/// Most jobs that are shown of a player.
const JOBS: usize = 10;

impl Engine {
    pub(crate) fn due(&self, at: Timestamp) -> Due {
        Due { at, left: at.since(self.now) }
    }

    /// The absence of a task's player, if it holds the task up.
    pub(crate) fn absence(&self, job: &Job, index: u32) -> Option<Absence> {
        let task = TaskRef::new(job.id(), index);
        match job.state_of(index) {
            state if state.is_in_flight() => {
                let player = job.player_of(index)?;
                let since = self.away_since(player)?;
                let given_up = self.lost_at(task, player).map(|at| self.due(at));
                Some(Absence { since, given_up })
            }
            TaskState::Waiting if job.is_one_of() => {
                if self.reason(job, index) != WaitReason::NoPlayer {
                    return None;
                }
                let away: Option<Vec<Option<Timestamp>>> =
                    job.candidates().map(|(_, player)| self.away_since(player)).collect();
                let since = away?.into_iter().flatten().max();
                Some(Absence { since, given_up: self.parked_until(task).map(|at| self.due(at)) })
            }
            TaskState::Waiting => {
                let reason = self.reason(job, index);
                if !matches!(reason, WaitReason::PlayerAbsent | WaitReason::Quarantined) {
                    return None;
                }
                let since = self.away_since(job.player_of(index)?)?;
                Some(Absence { since, given_up: self.parked_until(task).map(|at| self.due(at)) })
            }
            _ => None,
        }
    }

    /// Since when a player is away, if it is; the inner `None` says that it never was attached.
    fn away_since(&self, player: PlayerIx) -> Option<Option<Timestamp>> {
        let player = &self.roster[player];
        (!player.attached()).then_some(player.detached_at())
    }

    /// The tasks of a job whose players are not attached. Looks at the job's targets only if there
    /// are such tasks.
    pub(crate) fn job_absence(&self, job: &Job) -> Option<JobAbsence> {
        let mut left = job.away() + job.absent();
        let (mut in_flight, mut waiting) = (Absent::default(), Absent::default());
        let mut add = |index: u32, host: Option<&HostName>| {
            let absence = self.absence(job, index)?;
            let tasks =
                if job.state_of(index).is_in_flight() { &mut in_flight } else { &mut waiting };
            tasks.add(host, absence);
            Some(())
        };
        if job.is_one_of() {
            add(0, job.player_of(0).map(|player| self.roster.host(player)));
            left = 0;
        }
        for (index, player) in (0..).zip(job.targets().iter()) {
            if left == 0 {
                break;
            }
            if !self.roster[*player].attached()
                && add(index, Some(self.roster.host(*player))).is_some()
            {
                left -= 1;
            }
        }
        let absence = JobAbsence { in_flight: in_flight.told(), waiting: waiting.told() };
        Some(absence).filter(|absence| !absence.is_empty())
    }

    /// The oldest few jobs whose orders are out to a player; and, if the player is away, when the
    /// first of the orders becomes `lost`.
    pub fn orders_of(&self, player: PlayerIx) -> (Vec<JobId>, Option<Due>) {
        let in_flight = &self.roster[player].in_flight();
        let mut jobs: Vec<JobId> = in_flight.iter().map(|flying| flying.task.job()).collect();
        jobs.sort_unstable();
        jobs.truncate(JOBS);
        let lost = in_flight.iter().filter_map(|flying| self.lost_at(flying.task, player)).min();
        (jobs, lost.map(|at| self.due(at)))
    }

    /// The absence of the player of a host that holds its cells, if a change runs there.
    pub(crate) fn holder_absence(&self, ix: PlayerIx) -> Option<Absence> {
        let since = self.away_since(ix)?;
        let changes = self.roster[ix].in_flight().iter().filter(|f| f.impact == Impact::Holds);
        let lost: Vec<Option<Timestamp>> =
            changes.map(|flying| self.lost_at(flying.task, ix)).collect();
        let given_up = lost.iter().flatten().min().map(|at| self.due(*at));
        (!lost.is_empty()).then_some(Absence { since, given_up })
    }
}

/// Absent tasks, gathered.
#[derive(Default)]
struct Absent {
    tasks: AbsentTasks,
    hosts: Vec<HostName>,
    more: bool,
}

impl Absent {
    fn add(&mut self, host: Option<&HostName>, absence: Absence) {
        self.tasks.tasks += 1;
        match host {
            Some(host) if self.hosts.len() < FOLDED => self.hosts.push(host.clone()),
            Some(_) => self.more = true,
            None => {}
        }
        let AbsentTasks { since, given_up, .. } = &mut self.tasks;
        *since = since.iter().copied().chain(absence.since).min();
        *given_up = given_up.iter().copied().chain(absence.given_up).min_by_key(|due| due.at);
    }

    fn told(self) -> AbsentTasks {
        let mut hosts = shown(&HostSet::from_names(self.hosts).to_string()).to_string();
        if self.more && !hosts.ends_with('…') {
            hosts.push_str(",…");
        }
        AbsentTasks { hosts, ..self.tasks }
    }
}
