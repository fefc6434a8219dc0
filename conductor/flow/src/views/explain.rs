//! Why things wait, in sentences, from the very data that decides (promise 8).

use std::collections::{BTreeMap, BTreeSet};

use orchestra_model::{
    FlowId, HostName, HostSet, JobId, JobState, Millis, TaskState, Timestamp, WaitReason,
    advice::{Advice, Remedy},
    deployment::CellId,
    flow::SequenceOnFailure,
    ledger::Explanation,
    status::Due,
};

use crate::{
    Engine,
    ids::PlayerIx,
    tables::{flow::Flow, job::Job, task::Parked},
    views::words::{Away, NAMED, some_of, told_state, whole},
};

/// Most tasks of a job that are looked at, so that the answer comes soon even for a flow of a
/// million tasks. If a job has more, what is said of its tasks is said of these.
const LOOKED_AT: u32 = 20_000;

/// A kind of wait: tasks that wait in the same way are explained together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wait {
    /// The task waits for something that all waiting tasks of the job wait for, or that takes one
    /// word to say.
    For(WaitReason),
    Cell(CellId),
    /// The task's host holds this cell and waits to be in motion there.
    Motion(CellId),
    Before(CellId),
    Player(WaitReason, PlayerIx),
}

/// Tasks of a job that wait in the same way.
#[derive(Debug, Default)]
struct Waiting {
    tasks: Vec<u32>,
    hosts: Vec<HostName>,
}

impl Engine {
    /// Explains why a living flow, a job of it, or a task of it on a host is where it is: one
    /// explanation a kind of wait, with the hosts that wait so. Returns `None` if no such flow
    /// lives, and an empty list if the flow has no such job or host.
    pub fn explain(
        &self,
        id: FlowId,
        one: Option<JobId>,
        host: Option<&HostName>,
    ) -> Option<Vec<Explanation>> {
        let flow = self.flows.get(id)?;
        let mut told = Vec::new();
        for job in flow.jobs().filter(|job| one.is_none_or(|one| one == job.id())) {
            // All slots to come wait for the same thing, so they are left out, unless somebody asks
            // for a job.
            let is_to_begin = flow.waits_to_begin() && job.id().slot == 1;
            let waits_for_slot = job.state() == JobState::Pending && !is_to_begin;
            if !waits_for_slot || one.is_some() || host.is_some() {
                told.extend(self.explain_job(job, host));
            }
        }
        Some(told)
    }

    /// What only a person can end in a stalled flow, in a few sentences.
    pub(crate) fn why_stalled(&self, flow: &Flow) -> Vec<Advice> {
        if flow.tally().open == 0 || flow.tally().stuck < flow.tally().open {
            return Vec::new();
        }
        let jobs = flow.jobs().filter(|job| job.is_stuck());
        let told: Vec<Explanation> = jobs.flat_map(|job| self.explain_job(job, None)).collect();
        // If no gate is dead by itself, the waits are dead because they wait for each other.
        let is_any_dead = told.iter().any(|told| told.dead);
        let why = told.into_iter().filter(|told| told.dead || !is_any_dead);
        let why: BTreeMap<String, Advice> =
            why.map(|told| (told.text.to_string(), told.text)).collect();
        why.into_values().take(NAMED).collect()
    }

    fn explain_job(&self, job: &Job, host: Option<&HostName>) -> Vec<Explanation> {
        let mut waits: BTreeMap<Wait, Waiting> = BTreeMap::new();
        let mut others: BTreeMap<TaskState, Vec<HostName>> = BTreeMap::new();
        let mut away: BTreeMap<TaskState, Away> = BTreeMap::new();
        for index in 0..job.total().min(LOOKED_AT) {
            let name = job.player_of(index).map(|player| self.roster.host(player));
            // A one-of task that has not chosen its player is explained on each host on which it
            // may run.
            let is_meant = |host: &HostName| match name {
                Some(name) => name == host,
                None => job.candidates().any(|(_, player)| self.roster.host(player) == host),
            };
            if host.is_some_and(|host| !is_meant(host)) {
                continue;
            }
            let state = job.state_of(index);
            if let Some(absence) = self.absence(job, index).filter(|_| state.is_in_flight()) {
                away.entry(state).or_default().add(name, absence);
                continue;
            }
            match state {
                TaskState::Waiting => {
                    let waiting = waits.entry(self.wait_of(job, index)).or_default();
                    waiting.tasks.push(index);
                    waiting.hosts.extend(name.cloned());
                }
                state => others.entry(state).or_default().extend(name.cloned()),
            }
        }
        // A task that has ended is explained only if somebody asks for one host.
        let flights =
            others.into_iter().filter(|(state, _)| state.is_in_flight() || host.is_some());
        let mut told: Vec<Explanation> =
            waits.into_iter().map(|(wait, waiting)| self.tell(job, wait, waiting)).collect();
        told.extend(flights.map(|(state, hosts)| Explanation {
            job: Some(job.id()),
            hosts: HostSet::from_names(hosts),
            reason: None,
            dead: false,
            text: told_state(state).into(),
            given_up: None,
        }));
        told.extend(away.into_iter().map(|(state, away)| self.tell_flights(job, state, away)));
        if told.is_empty() && host.is_none() {
            let text = format!("job {} is {}", job.spec().name, job.state()).into();
            let (job, hosts) = (Some(job.id()), HostSet::default());
            let given_up = None;
            told.push(Explanation { job, hosts, reason: None, dead: false, text, given_up });
        }
        told
    }

    fn wait_of(&self, job: &Job, index: u32) -> Wait {
        let reason = self.reason(job, index);
        let parked = job.place_of(index);
        match (reason, job.player_of(index)) {
            (WaitReason::Cell, player) => {
                let candidates = job.candidates().map(|(_, player)| player);
                let mut players = player.into_iter().chain(candidates.filter(|_| job.is_one_of()));
                let awaited = |player: PlayerIx| {
                    let player = &self.roster[player];
                    let cell = player.awaited_cell(job.kind(), self.roster.ledger())?;
                    Some(if player.holds() { Wait::Motion(cell) } else { Wait::Cell(cell) })
                };
                players.find_map(awaited).unwrap_or(Wait::For(reason))
            }
            (WaitReason::Sequence, _) if parked == Parked::Sequence => {
                self.gate_to_tell(job, index).map_or(Wait::For(reason), Wait::Before)
            }
            (WaitReason::PlayerDrained, Some(player)) => Wait::Player(reason, player),
            _ => Wait::For(reason),
        }
    }

    /// The gate in whose queue a task lies. A one-of task may lie at several: this is one that may
    /// open yet, of which there always is one.
    fn gate_to_tell(&self, job: &Job, index: u32) -> Option<CellId> {
        let gate = self.sequence_gate(job, index);
        let candidates = job.candidates().filter(|_| job.is_one_of());
        let mut gates = candidates.filter_map(|(_, player)| self.gate_before(job, index, player));
        gates.find(|cell| !self.is_in_vain(job.id(), *cell)).or(gate)
    }

    fn tell(&self, job: &Job, wait: Wait, waiting: Waiting) -> Explanation {
        let Waiting { tasks, hosts } = waiting;
        let hosts = HostSet::from_names(hosts);
        let (reason, dead, text) = match wait {
            Wait::Cell(cell) => {
                let (text, dead) = self.tell_cell(cell);
                (WaitReason::Cell, dead, text)
            }
            Wait::Motion(cell) => (WaitReason::Cell, false, self.tell_motion(cell).into()),
            Wait::Before(cell) => {
                let (text, dead) = self.tell_sequence(job, cell);
                (WaitReason::Sequence, dead, text)
            }
            Wait::Player(reason, player) => (reason, false, self.tell_drain(player)),
            Wait::For(reason) => {
                let (text, dead) = self.tell_reason(job, reason, &hosts);
                (reason, dead, text)
            }
        };
        let given_up = match reason {
            WaitReason::PlayerAbsent | WaitReason::Quarantined | WaitReason::NoPlayer => {
                self.first_given_up(job, &tasks)
            }
            _ => None,
        };
        let text = match given_up {
            Some(due) => text.say(format_args!("; given up as unreachable in {}", whole(due.left))),
            None if reason == WaitReason::PlayerAbsent => {
                text.say("; waits until it attaches, for the job has no give_up_after")
            }
            None => text,
        };
        let (job, reason, given_up) = (Some(job.id()), Some(reason), given_up.map(|due| due.at));
        Explanation { job, hosts, reason, dead, text, given_up }
    }

    fn tell_drain(&self, player: PlayerIx) -> Advice {
        let Some(drain) = self.roster.drained(player) else { return Advice::default() };
        let host = self.roster.host(player);
        let (by, ago, why) = (&drain.by, self.ago(drain.since), &drain.reason);
        Advice::from(format!("{host} was drained by {by} {ago} ago: {why}; "))
            .name(Remedy::Undrain(host.clone()))
            .say(" lets it work again")
    }

    /// When the first of these waiting tasks of a job is given up.
    fn first_given_up(&self, job: &Job, tasks: &[u32]) -> Option<Due> {
        let due = tasks.iter().filter_map(|index| self.absence(job, *index)?.given_up);
        due.min_by_key(|due| due.at)
    }

    /// Explains tasks in flight on players that are away.
    fn tell_flights(&self, job: &Job, state: TaskState, away: Away) -> Explanation {
        let Away { hosts, since, given_up } = away;
        let hosts = HostSet::from_names(hosts);
        let (who, it) = match hosts.len() {
            1 => ("its player is", "it comes"),
            _ => ("their players are", "they come"),
        };
        let is_quarantined = |host| {
            let player = self.roster.known(host);
            player.is_some_and(|player| self.roster.why_quarantined(player).is_some())
        };
        let how = if hosts.iter().all(is_quarantined) { "quarantined" } else { "not attached" };
        let mut text = format!("{}, but {who} {how}", told_state(state));
        if let Some(since) = since {
            let first = if hosts.len() == 1 { "" } else { ", the first" };
            text.push_str(&format!("{first} since {} ago", self.ago(since)));
        }
        if let Some(due) = given_up {
            let first = if hosts.len() == 1 { "" } else { "the first " };
            text.push_str(&format!("; {first}lost in {} unless {it} back", whole(due.left)));
        }
        let text = Advice::from(text)
            .say("; ")
            .name(Remedy::Abandon(job.id().flow))
            .say(" ends the flow without waiting for it");
        Explanation {
            job: Some(job.id()),
            hosts,
            reason: None,
            dead: false,
            text,
            given_up: given_up.map(|due| due.at),
        }
    }

    /// Explains a wait for hosts that come first: which of their tasks are not done.
    fn tell_sequence(&self, job: &Job, id: CellId) -> (Advice, bool) {
        let cell = &self.deployments().cells()[id];
        let mut open = Vec::new();
        let mut failed = Vec::new();
        let slot = self.flows.get(job.id().flow).map(Flow::present_slot);
        for other in slot.into_iter().flatten().filter(|job| !job.spec().unthrottled) {
            let places = (0..other.total().min(LOOKED_AT)).filter_map(|index| {
                let player = other.player_of(index)?;
                let host = self.roster.host(player);
                cell.hosts.contains(host).then(|| (other.state_of(index), host.clone()))
            });
            for (state, host) in places {
                match state {
                    TaskState::Ok => {}
                    state if state.is_final() => failed.push(host),
                    _ => open.push(host),
                }
            }
        }
        let (open, failed) = (HostSet::from_names(open), HostSet::from_names(failed));
        let waits = job.spec().sequence_on_failure == SequenceOnFailure::Wait;
        let dead = !failed.is_empty() && waits;
        let mut text = format!("comes after {}", cell.key);
        if !open.is_empty() {
            text.push_str(&format!(", of which {} are not done", some_of(&open)));
        }
        if !dead {
            return (text.into(), false);
        }
        // The jobs of these have not ended, because tasks that wait in vain are skipped and lie
        // in no queue.
        let and = if open.is_empty() { ", of which" } else { " and" };
        let text = Advice::from(text)
            .say(format_args!("{and} {} ended without being ok; ", some_of(&failed)))
            .name(Remedy::Retry(job.id().flow))
            .say(" gives them a further attempt");
        (text, true)
    }

    fn tell_reason(&self, job: &Job, reason: WaitReason, hosts: &HostSet) -> (Advice, bool) {
        let text = match reason {
            WaitReason::Start => return (self.tell_start(job.id().flow), false),
            WaitReason::Slot => "its slot begins when every job of the one before is ok".to_owned(),
            WaitReason::Window => format!(
                "{} of the job's window of {} are in flight",
                job.counts().in_flight(),
                job.thresholds().window
            ),
            WaitReason::Quorum => format!(
                "{} of the job's players are attached; nothing starts below {}",
                job.quorum().attached,
                job.quorum().needed
            ),
            WaitReason::Canary => return self.tell_canary(job),
            WaitReason::Parent => self.tell_servers(job, hosts),
            WaitReason::RetryDelay => {
                format!("its next attempt comes in {}", self.tell_delays(job, hosts))
            }
            WaitReason::Paused => return (self.tell_pause(job.id().flow), false),
            WaitReason::PlayerAbsent => {
                let away = hosts.iter().filter_map(|host| self.roster.known(host));
                let since = away.filter_map(|player| self.roster[player].detached_at()).max();
                match since {
                    Some(since) => {
                        format!("not attached, the last one since {} ago", self.ago(since))
                    }
                    None => "never attached".to_owned(),
                }
            }
            WaitReason::Quarantined => return (self.tell_quarantine(hosts), false),
            WaitReason::PlayerDrained => "its player is drained".to_owned(),
            WaitReason::PlayerBusy if job.spec().unit.is_some() => {
                "its player takes no order about a unit just now, and is asked again in a while"
                    .to_owned()
            }
            WaitReason::PlayerBusy => "its player runs as many tasks as it takes".to_owned(),
            WaitReason::ScoreBusy => format!(
                "score {} runs on its player as often as its concurrency allows",
                job.spec().score
            ),
            WaitReason::Exclusive => {
                "an exclusive score runs on its player, or is next there, or is this one".to_owned()
            }
            WaitReason::NoPlayer => {
                format!("none of its {} players can take it now", job.targets().len())
            }
            WaitReason::Doomed => {
                "its job is doomed: it ends when what runs of it has ended".to_owned()
            }
            WaitReason::StaleStore => self.stale.clone().unwrap_or_default(),
            WaitReason::Sequence | WaitReason::Cell => {
                "another host has to be done first".to_owned()
            }
        };
        (text.into(), false)
    }

    fn tell_pause(&self, flow: FlowId) -> Advice {
        let by = self.flows.get(flow).and_then(|flow| flow.paused_by());
        let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
        Advice::from(format!("the flow was paused{by}; "))
            .name(Remedy::Resume(flow))
            .say(" lets it go on")
    }

    fn tell_quarantine(&self, hosts: &HostSet) -> Advice {
        let known = hosts.iter().filter_map(|host| self.roster.known(host));
        let why = known.filter_map(|player| self.roster.why_quarantined(player)).next();
        Advice::from(format!("quarantined: {}", why.unwrap_or_default()))
            .say("; if the store was restored from a backup, run ")
            .name(Remedy::Recover)
            .say(", else look at that host, then ")
            .name(Remedy::ReleasePlayers)
    }

    /// What is left of the delays of a job's tasks on these hosts, such as `40s` or `40s to 1m`.
    fn tell_delays(&self, job: &Job, hosts: &HostSet) -> String {
        let is_meant = |index: u32| {
            let player = job.player_of(index);
            job.place_of(index) == Parked::Delayed
                && player.is_some_and(|player| hosts.contains(self.roster.host(player)))
        };
        let delayed = job.touched().iter().copied().filter(|index| is_meant(*index));
        let due = delayed.filter_map(|index| {
            let due = job.known(index)?.ended_at.get()?.after(job.spec().retry_delay);
            // Whole seconds, rounded up: the last second counts until it is over.
            Some(Millis(due.since(self.now).0.next_multiple_of(1_000)))
        });
        let due: BTreeSet<Millis> = due.collect();
        match (due.first(), due.last()) {
            (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
            (first, _) => first.copied().unwrap_or_default().to_string(),
        }
    }

    fn tell_canary(&self, job: &Job) -> (Advice, bool) {
        let (canary, flow) = (job.canary(), job.id().flow);
        let promote = Remedy::Promote(flow, job.spec().name.clone());
        let without = " goes on without them";
        let status = job.canary_status();
        let text = match status.and_then(|status| status.until) {
            Some(until) => {
                let left = until.since(self.now);
                Advice::from(format!("its canary is ok; {left} of the bake are left, or "))
                    .name(promote)
            }
            None if canary.ok == canary.tasks => {
                Advice::from("its canary is ok and waits for ").name(promote)
            }
            None if canary.failed > 0 => {
                let (failed, tasks) = (canary.failed, canary.tasks);
                let text = format!("{failed} of its {tasks} canary tasks ended without being ok: ");
                let text = Advice::from(text).name(Remedy::Retry(flow));
                text.say(" gives them a further attempt, ").name(promote).say(without)
            }
            None => {
                let (ok, tasks) = (canary.ok, canary.tasks);
                let text = format!("{ok} of its {tasks} canary tasks are ok; ");
                Advice::from(text).name(promote).say(without)
            }
        };
        (text, canary.failed > 0)
    }

    pub(super) fn ago(&self, since: Timestamp) -> String {
        whole(self.now.since(since)).to_string()
    }
}
