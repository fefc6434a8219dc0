//! What stops a task from starting: every gate of `docs/promises.md`, looked at anew.

use std::collections::BTreeSet;

use orchestra_model::{
    HostName, JobId, JobState, ServiceName, TaskState, WaitReason,
    deployment::{Cell, CellId},
    flow::{JobSpec, SequenceOnFailure},
    record::Impact,
    score::ScoreSpec,
    service::{Unready, Wanted},
};

use super::{Flow, Host, Job, Reference, Task, rules};

/// Whether a task will ever start without a person, as far as cells, sequence and canary go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hope {
    /// Only a person can help.
    None,
    /// Something that goes on may help.
    Some,
    /// That hangs on which of several waiting tasks was looked at.
    Unclear,
}

/// Whether a job may start on hosts that are drained: it ends what they still have.
fn passes_drain(spec: &JobSpec) -> bool {
    let unit = spec.unit.as_ref();
    unit.is_some_and(|unit| matches!(unit.wanted, Wanted::Stopped | Wanted::Gone))
}

impl Host {
    /// How those units are that count as down.
    fn units_down(&self) -> impl Iterator<Item = Unready> {
        let counts = |(service, _): &(&ServiceName, &Unready)| !self.released.contains(*service);
        self.units.iter().filter(counts).map(|(_, unready)| *unready)
    }
}

impl Reference {
    /// The gates that stop a task of a living flow from starting on a host, now.
    pub(crate) fn closed(&self, id: JobId, index: usize, name: &HostName) -> BTreeSet<WaitReason> {
        let mut closed = self.closed_for_all(id, index);
        let (flow, job, host) = (&self.flows[&id.flow], self.job(id).unwrap(), &self.hosts[name]);
        let mut close = |reason, condition| {
            if condition {
                closed.insert(reason);
            }
        };
        let quarantined = host.quarantined.is_some();
        close(WaitReason::Quarantined, quarantined);
        close(WaitReason::PlayerAbsent, !quarantined && (host.session.is_none() || !host.member));
        close(WaitReason::PlayerDrained, host.drained && !passes_drain(&job.spec));
        // What is asked of units takes no place there, and needs none.
        if job.spec.unit.is_none() {
            let attempts = self.in_flight_on(name).map(|(job, _)| job);
            let on_it: Vec<&Job> = attempts.filter(|job| job.spec.unit.is_none()).collect();
            close(WaitReason::PlayerBusy, on_it.len() >= host.max_tasks as usize);
            let spec = |job: &Job| host.scores.get(&job.spec.score);
            let is_exclusive = |job: &Job| spec(job).is_some_and(|spec| spec.exclusive);
            let alone = is_exclusive(job) && !on_it.is_empty();
            close(WaitReason::Exclusive, alone || on_it.iter().any(|other| is_exclusive(other)));
            let same = on_it.iter().filter(|other| other.spec.score == job.spec.score).count();
            let most = spec(job).and_then(|spec| spec.concurrency).unwrap_or(u32::MAX);
            close(WaitReason::ScoreBusy, same >= most as usize);
        }
        let changes = self.impact(name, &job.spec) == Impact::Holds;
        close(WaitReason::Cell, changes && self.waits_for_cells(name));
        let in_line = changes && self.is_behind(flow.present(), job, index, name);
        close(WaitReason::Sequence, in_line);
        closed
    }

    /// Those that stop it on any host.
    fn closed_for_all(&self, id: JobId, index: usize) -> BTreeSet<WaitReason> {
        let (flow, job) = (&self.flows[&id.flow], self.job(id).unwrap());
        let mut closed = BTreeSet::new();
        let mut close = |reason, condition| {
            if condition {
                closed.insert(reason);
            }
        };
        let before = flow.jobs().filter(|earlier| earlier.id.slot < id.slot);
        let begun = before.into_iter().all(|earlier| earlier.state == JobState::Ok);
        let is_to_begin = flow.waits_to_begin() && job.id.slot == 1;
        close(WaitReason::Start, is_to_begin);
        close(WaitReason::Slot, !begun || (job.state == JobState::Pending && !is_to_begin));
        close(WaitReason::Paused, flow.paused);
        close(WaitReason::Doomed, flow.cancelled || job.state.is_final() || job.is_doomed());
        close(WaitReason::Window, job.in_flight() >= rules::window(job.spec.parallel, job.total()));
        close(WaitReason::Quorum, !job.quorum_met);
        close(WaitReason::Canary, index >= job.canary() as usize && !self.is_canary_over(job));
        close(WaitReason::Parent, self.is_unserved(job, index));
        let task = &job.tasks[index];
        close(WaitReason::RetryDelay, self.is_delayed(job, task) && !task.was_due);
        closed
    }

    fn is_delayed(&self, job: &Job, task: &Task) -> bool {
        let ended = task.ended_at.filter(|_| task.before.is_some());
        ended.is_some_and(|ended| self.now < ended.after(job.spec.retry_delay))
    }

    /// What stops a task that waits: nothing where it could start on one of its hosts, if nothing
    /// else comes first there.
    pub(crate) fn stopped_by(&self, id: JobId, index: usize) -> BTreeSet<WaitReason> {
        let job = self.job(id).unwrap();
        let task = &job.tasks[index];
        let mut closed = self.closed_for_all(id, index);
        if self.is_delayed(job, task) {
            closed.insert(WaitReason::RetryDelay);
        }
        if self.may_expect(job) {
            closed.insert(WaitReason::Parent);
        }
        let candidates = self.candidates(job, task, index);
        let mut there = BTreeSet::new();
        let mut is_open = false;
        for name in &candidates {
            let mut here = self.closed(id, index, name);
            // What the player says of itself, and who came first, only ever delays.
            let host = &self.hosts[name];
            if job.spec.unit.is_some() {
                if host.busy_to_units_until > self.now {
                    here.insert(WaitReason::PlayerBusy);
                }
            } else {
                if host.busy_until > self.now || !host.strangers.is_empty() {
                    here.extend([WaitReason::PlayerBusy, WaitReason::Exclusive]);
                }
                if self.has_exclusive_waiting(name, host, id, index) {
                    here.insert(WaitReason::Exclusive);
                }
            }
            is_open |= here.is_empty();
            there.extend(here);
        }
        if job.is_one_of() && !candidates.is_empty() {
            // It waits in line for those before any of its candidates.
            let flow = &self.flows[&id.flow];
            let behind = |name: &HostName| {
                self.impact(name, &job.spec) == Impact::Holds
                    && self.hosts[name].session.is_some()
                    && self.is_behind(flow.present(), job, index, name)
            };
            if candidates.iter().any(behind) {
                there.insert(WaitReason::Sequence);
                is_open = false;
            }
            there.insert(WaitReason::NoPlayer);
        }
        if !is_open || candidates.is_empty() {
            closed.extend(there);
        }
        closed
    }

    /// The hosts on which a waiting task may still start.
    fn candidates(&self, job: &Job, task: &Task, index: usize) -> Vec<HostName> {
        match (&task.host, job.is_one_of()) {
            (Some(host), _) => vec![host.clone()],
            (None, _) => {
                let mut hosts = job.hosts_of(index);
                hosts.retain(|host| !task.struck.contains(host) && self.hosts[host].member);
                hosts
            }
        }
    }

    /// What an attempt means for the cells of its host, from what the player said of its score. One
    /// that nobody told of is believed to change the host, and what is asked of a unit always does.
    pub(super) fn impact(&self, name: &HostName, spec: &JobSpec) -> Impact {
        let told = self.hosts[name].scores.get(&spec.score);
        let disruptive =
            spec.unit.is_some() || told.is_none_or(|score: &ScoreSpec| score.disruptive);
        match (disruptive, spec.unthrottled) {
            (false, _) => Impact::Look,
            (true, true) => Impact::Unthrottled,
            (true, false) => Impact::Holds,
        }
    }

    /// Orders that are out to a host.
    fn in_flight_on<'a>(&'a self, name: &'a HostName) -> impl Iterator<Item = (&'a Job, &'a Task)> {
        let jobs = self.flows.values().flat_map(|flow| flow.slots.iter().flatten());
        let tasks = jobs.flat_map(|job| job.tasks.iter().map(move |task| (job, task)));
        tasks.filter(move |(_, task)| task.state.is_in_flight() && task.host.as_ref() == Some(name))
    }

    /// Whether a host holds its cells: a change is under way there, or it is down, for an attempt or for
    /// a unit.
    pub(crate) fn holds(&self, name: &HostName) -> bool {
        let is_down = |host: &Host| host.down.is_some() || host.units_down().next().is_some();
        self.hosts.get(name).is_some_and(is_down) || self.acts(name)
    }

    fn acts(&self, name: &HostName) -> bool {
        self.in_flight_on(name).any(|(_, task)| task.impact == Impact::Holds)
    }

    /// The hosts that hold a cell.
    pub(crate) fn holders<'a>(&'a self, cell: &'a Cell) -> impl Iterator<Item = &'a HostName> {
        cell.hosts.iter().filter(|host| self.holds(host))
    }

    /// Whether a change has to wait for the cells of its host. One that holds them takes no room, and
    /// may join those in motion while these are fewer than the limit, unless it is one of them.
    fn waits_for_cells(&self, name: &HostName) -> bool {
        match self.holds(name) {
            false => self.full_cell(name).is_some(),
            true => !self.acts(name) && self.is_still(name),
        }
    }

    /// Whether as many hosts as the limit, or more, are in motion in a cell of the host.
    fn is_still(&self, name: &HostName) -> bool {
        let cells = self.deployments.cells();
        cells.of_host(name).iter().any(|id| {
            let acting = cells[*id].hosts.iter().filter(|host| self.acts(host)).count();
            cells[*id].limit.is_some_and(|limit| acting >= limit as usize)
        })
    }

    /// A cell of the host that has no room for one host more.
    fn full_cell(&self, name: &HostName) -> Option<CellId> {
        let cells = self.deployments.cells();
        let is_full = |id: &CellId| {
            cells[*id]
                .limit
                .is_some_and(|limit| self.holders(&cells[*id]).count() >= limit as usize)
        };
        cells.of_host(name).iter().copied().find(is_full)
    }

    /// Whether tasks of the slot that come before this one by a sequence are not done.
    fn is_behind(&self, slot: &[Job], job: &Job, index: usize, name: &HostName) -> bool {
        // What has left its host down had its turn: its further attempt does not wait for hosts
        // that may themselves wait for the cells which this one keeps.
        let task = &job.tasks[index];
        let left_it_down = task.before.is_some() && task.impact == Impact::Holds;
        if left_it_down && self.hosts[name].down.is_some() {
            return false;
        }
        let states = self.before(slot, job, index, name);
        states.iter().any(|state| match job.spec.sequence_on_failure {
            SequenceOnFailure::Wait => *state != TaskState::Ok,
            SequenceOnFailure::Continue => !state.is_final(),
        })
    }

    /// The states of the slot's tasks that come before this one.
    fn before(&self, slot: &[Job], job: &Job, index: usize, name: &HostName) -> Vec<TaskState> {
        let cells = self.deployments.cells();
        let own = cells.of_host(name).iter();
        let earlier: BTreeSet<CellId> =
            own.flat_map(|cell| cells[*cell].predecessors.iter().copied()).collect();
        if job.spec.unthrottled || earlier.is_empty() {
            return Vec::new();
        }
        let counts = |host: &HostName| cells.of_host(host).iter().any(|c| earlier.contains(c));
        let mut states = Vec::new();
        for other in slot.iter().filter(|other| !other.spec.unthrottled) {
            for at in 0..other.tasks.len() {
                let itself = other.id == job.id && at == index;
                // A one-of task counts wherever it may still run.
                let task = &other.tasks[at];
                let hosts: Vec<HostName> = match &task.host {
                    Some(host) => vec![host.clone()],
                    None => other.hosts_of(at),
                };
                let left = hosts.iter().filter(|host| !task.struck.contains(*host));
                if !itself && left.into_iter().any(counts) {
                    states.push(other.state_of(at));
                }
            }
        }
        states
    }

    /// Whether a task comes after one that failed, and can have no further attempt: its job has
    /// ended.
    pub(super) fn is_in_vain(&self, job: &Job, index: usize) -> bool {
        let slot = self.flows[&job.id.flow].present();
        let ended: Vec<Job> = slot.iter().filter(|job| job.state.is_final()).cloned().collect();
        job.spec.sequence_on_failure == SequenceOnFailure::Wait
            && job.hosts_of(index).iter().any(|name| {
                self.before(&ended, job, index, name).iter().any(|state| *state != TaskState::Ok)
            })
    }

    fn is_canary_over(&self, job: &Job) -> bool {
        let baked = job.canary_ok_at.zip(job.spec.bake);
        job.promoted
            || job.canary() == 0
            || baked.is_some_and(|(at, bake)| self.now >= at.after(bake))
    }

    /// Whether another task that has to be alone on the host waits there, so that those after it
    /// let it go first.
    fn has_exclusive_waiting(&self, name: &HostName, host: &Host, id: JobId, index: usize) -> bool {
        let living = self.flows.values().filter(|flow| !flow.state.is_final());
        living.flat_map(Flow::present).any(|job| {
            let exclusive = host.scores.get(&job.spec.score).is_some_and(|spec| spec.exclusive);
            exclusive
                && job.spec.unit.is_none()
                && (0..job.tasks.len()).any(|at| {
                    (job.id, at) != (id, index)
                        && job.state_of(at) == TaskState::Waiting
                        && self.candidates(job, &job.tasks[at], at).contains(name)
                })
        })
    }

    // ---- whether anything but a person can help ----

    /// For a task that waits in a slot that has begun.
    pub(crate) fn hope(&self, job: &Job, index: usize) -> Hope {
        let task = &job.tasks[index];
        if index >= job.canary() as usize && !self.is_canary_over(job) {
            // It hopes with the canary, if that is not lost.
            return Hope::None;
        }
        if self.may_expect(job) {
            // Whether it waits for those who may come back hangs on when it was looked at.
            return Hope::Unclear;
        }
        if self.is_unserved(job, index) {
            // It hopes with those that are to serve it.
            return Hope::None;
        }
        let hopes: Vec<Hope> = self
            .candidates(job, task, index)
            .iter()
            .map(|name| self.hope_on(job, index, name))
            .collect();
        match hopes.as_slice() {
            hopes if hopes.contains(&Hope::Some) => Hope::Some,
            hopes if hopes.contains(&Hope::Unclear) => Hope::Unclear,
            _ => Hope::None,
        }
    }

    fn hope_on(&self, job: &Job, index: usize, name: &HostName) -> Hope {
        let host = &self.hosts[name];
        let present = self.flows[&job.id.flow].present();
        let changes = self.impact(name, &job.spec) == Impact::Holds;
        let is_behind = changes && self.is_behind(present, job, index, name);
        if is_behind {
            // It hopes with those before it, if they have not failed for good; but it may stand
            // in another line, and not have been looked at since that moved.
            let mut elsewhere = self.stopped_by(job.id, index);
            let whole = self.closed_for_all(job.id, index);
            let line = [WaitReason::Sequence, WaitReason::NoPlayer];
            elsewhere.retain(|gate| !line.contains(gate) && !whole.contains(gate));
            return if elsewhere.is_empty() { Hope::None } else { Hope::Unclear };
        }
        if host.session.is_none() || host.drained && !passes_drain(&job.spec) {
            return Hope::Some;
        }
        if self.impact(name, &job.spec) != Impact::Holds || self.holds(name) {
            return Hope::Some;
        }
        let cells = self.deployments.cells();
        let mut hope = Hope::Some;
        // Until the player could take it, it does not get to ask for room.
        let here = self.stopped_by(job.id, index);
        let first = [WaitReason::Exclusive, WaitReason::PlayerBusy, WaitReason::ScoreBusy];
        let asks = first.iter().all(|gate| !here.contains(gate));
        let none = if asks { Hope::None } else { Hope::Unclear };
        for id in cells.of_host(name) {
            let Some(limit) = cells[*id].limit else { continue };
            let holders: Vec<Hope> =
                self.holders(&cells[*id]).map(|holder| self.hope_of_hold(holder)).collect();
            let count = |which: &[Hope]| holders.iter().filter(|hope| which.contains(hope)).count();
            if count(&[Hope::None]) >= limit as usize {
                return none;
            }
            if count(&[Hope::None, Hope::Unclear]) >= limit as usize {
                hope = Hope::Unclear;
            }
        }
        hope
    }

    /// Whether a host that holds its cells may give them back by itself.
    fn hope_of_hold(&self, name: &HostName) -> Hope {
        // A unit may come to be well by itself, unless it gave up.
        let mut units = self.hosts[name].units_down();
        if self.acts(name) || units.any(|unready| unready != Unready::GaveUp) {
            return Hope::Some;
        }
        let living = self.flows.values().filter(|flow| !flow.state.is_final());
        let mut hope = Hope::None;
        for job in living.flat_map(Flow::present) {
            for (at, task) in job.tasks.iter().enumerate() {
                let waits = job.state_of(at) == TaskState::Waiting;
                if !waits || !self.candidates(job, task, at).contains(name) {
                    continue;
                }
                let on_the_way = |reason: &WaitReason| {
                    use WaitReason::{
                        Cell, Exclusive, PlayerAbsent, PlayerBusy, PlayerDrained, Quarantined,
                        ScoreBusy,
                    };
                    // It holds already: what it waits for in its cells are those in motion.
                    matches!(
                        reason,
                        Cell | PlayerAbsent
                            | Quarantined
                            | PlayerBusy
                            | PlayerDrained
                            | ScoreBusy
                            | Exclusive
                    )
                };
                let returns = task.before.is_some() && task.impact == Impact::Holds;
                let changes = self.impact(name, &job.spec) == Impact::Holds;
                let parked = self.closed(job.id, at, name).iter().all(on_the_way);
                // Its tree may wait for those who may come back: then it is not parked here yet.
                let is_here = !job.is_one_of() && !self.may_expect(job);
                if returns || (changes && parked && is_here) {
                    return Hope::Some;
                }
                if changes || self.hosts[name].scores.is_empty() {
                    hope = Hope::Unclear;
                }
            }
        }
        hope
    }

    /// Whether nothing of the slot is in flight, on a timer or awaiting a player, and every task that
    /// waits does so for what only a person can end. Those who wait for others of the slot hope
    /// with them. `None` where it hangs on the order in which waiting tasks were looked at.
    pub(crate) fn is_stalled(&self, slot: &[Job]) -> Option<bool> {
        let mut unclear = false;
        let open: Vec<&Job> = slot.iter().filter(|job| !job.state.is_final()).collect();
        for job in &open {
            if job.in_flight() > 0 || !job.quorum_met {
                return Some(false);
            }
            let canaries = job.states();
            let canary = job.canary() as usize;
            if canary > 0
                && !self.is_canary_over(job)
                && canaries.iter().take(canary).all(|state| *state == TaskState::Ok)
            {
                return Some(false);
            }
            for index in 0..job.tasks.len() {
                if job.state_of(index) != TaskState::Waiting {
                    continue;
                }
                let closed = self.closed_for_all(job.id, index);
                if closed.contains(&WaitReason::RetryDelay) {
                    return Some(false);
                }
                // It will be skipped as soon as it is looked at.
                unclear |= self.is_in_vain(job, index);
                match self.hope(job, index) {
                    Hope::Some => return Some(false),
                    Hope::Unclear => unclear = true,
                    Hope::None => {}
                }
            }
        }
        (!unclear).then_some(!open.is_empty())
    }
}
