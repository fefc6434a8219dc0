//! What somebody who waits reads where there is no terminal: a line per change of state.
//!
//! What happens to one host after the other, a failure or a player that goes, is [held back](held) and
//! told together: before the next line, or when the caller asks for it.
//!
//! The stream begins with a status and may bring one again whenever the watcher fell behind or
//! reconnected; [`Progress`] remembers what was told, so that nothing is told twice and no job's
//! change is missed.

mod held;

use std::collections::{BTreeMap, BTreeSet};

use orchestra_model::{
    ids::JobId,
    names::{HostName, JobName},
    state::{FlowState, JobState, TaskState},
    status::{Absence, Counts, Event, FlowStatus, JobAbsence, JobStatus},
};
use orchestra_proto::Watched;

use crate::view::{
    absence,
    flow::{counts, named},
    style::Style,
    task::Ending,
};
use held::Held;

/// What was told of a flow so far.
#[derive(Default)]
pub(crate) struct Progress {
    flow: Option<(String, FlowState)>,
    /// Whether it was told, since the flow's state changed, why nothing goes on.
    why: bool,
    jobs: BTreeMap<JobId, (JobName, JobState)>,
    /// Tasks whose players were told to be absent.
    absent: BTreeSet<(JobId, HostName)>,
    /// What was told last of a job's absent players.
    absence: BTreeMap<JobId, String>,
    /// What is to be told together.
    held: Held,
}

impl Progress {
    /// The lines to tell of what was heard; what was held back comes before them. The final status
    /// drops it: whoever tells the end tells all failures.
    pub(crate) fn lines(&mut self, heard: &Watched, style: Style) -> Vec<String> {
        if let Watched::Status(status) = heard
            && status.summary.state.is_final()
        {
            self.held = Held::default();
        }
        let lines = self.at_once(heard, style);
        if lines.is_empty() {
            return lines;
        }
        let mut all = self.held_back(style);
        all.extend(lines);
        all
    }

    /// Whether something is held back.
    pub(crate) fn holds_back(&self) -> bool {
        !self.held.is_empty()
    }

    /// The lines of what was held back.
    pub(crate) fn held_back(&mut self, style: Style) -> Vec<String> {
        std::mem::take(&mut self.held).lines(style)
    }

    fn at_once(&mut self, heard: &Watched, style: Style) -> Vec<String> {
        match heard {
            Watched::Status(status) => self.status(status, style),
            Watched::Event(event) => self.event(event, style).into_iter().collect(),
            Watched::Restored => {
                let warning = "the conductor's store was restored from a copy: some of what was told \
                               may not be so any more";
                vec![style.warning(warning).to_string()]
            }
        }
    }

    /// Returns whether the flow stopped and it was not told why. The next status tells why.
    pub(crate) fn asks_why(&self) -> bool {
        let stopped =
            |(_, state): &(_, FlowState)| matches!(state, FlowState::Paused | FlowState::Stalled);
        !self.why && self.flow.as_ref().is_some_and(stopped)
    }

    /// The lines that tell why the flow stopped and what helps, unless that was told. Nothing else
    /// is taken from the status, which may be ahead of the events.
    pub(crate) fn why(&mut self, status: &FlowStatus, style: Style) -> Vec<String> {
        let told = self.flow.as_ref().map(|(_, state)| *state);
        if self.why || told != Some(status.summary.state) {
            return Vec::new();
        }
        let why = crate::view::flow::why(status, style);
        self.why = !why.is_empty();
        why.into_iter().map(|line| format!("  {line}")).collect()
    }

    fn status(&mut self, status: &FlowStatus, style: Style) -> Vec<String> {
        let mut lines = Vec::new();
        for job in status.slots.iter().flatten() {
            self.jobs.entry(job.id).or_insert_with(|| (job.name.clone(), JobState::Pending));
            lines.extend(self.job(job.id, job.state, &job.counts, style));
            lines.extend(self.absence(job, style));
        }
        let name = named(&status.summary);
        let before = self.flow.replace((name, status.summary.state)).map(|(_, state)| state);
        if before.unwrap_or(FlowState::Pending) != status.summary.state {
            self.why = false;
            lines.extend(self.flow_line(style));
        }
        lines.extend(self.why(status, style));
        if status.stale_store {
            let warning = "nothing is sent: the store is an old copy; see orc conductor status";
            lines.push(style.warning(warning).to_string());
        }
        lines
    }

    fn event(&mut self, event: &Event, style: Style) -> Option<String> {
        match event {
            Event::Flow { state, .. } => {
                let (_, told) = self.flow.as_mut()?;
                if std::mem::replace(told, *state) == *state {
                    return None;
                }
                self.why = false;
                self.flow_line(style)
            }
            Event::Job { job, state, counts, .. } => self.job(*job, *state, counts, style),
            Event::Task { job, host, state, exit, signal, detail, absence, .. } => {
                if let Some(host) = host {
                    if state.is_in_flight() {
                        self.presence(*job, host, *absence);
                        return None;
                    }
                    self.absent.remove(&(*job, host.clone()));
                }
                // That somebody cancelled it is told by the flow's state.
                if *state != TaskState::Cancelled {
                    let ending = Ending {
                        state: *state,
                        exit: *exit,
                        signal: *signal,
                        detail: detail.as_deref(),
                    };
                    self.held.failures.note(*job, host.as_ref(), &ending, String::new());
                }
                None
            }
        }
    }

    /// That the player of a task in flight went away, or came back.
    fn presence(&mut self, job: JobId, host: &HostName, absence: Option<Absence>) {
        let task = (job, host.clone());
        match absence {
            Some(absence) if self.absent.insert(task) => self.held.leaves(job, host, absence),
            None if self.absent.remove(&(job, host.clone())) => self.held.returns(job, host),
            _ => {}
        }
    }

    /// What a status says of a job's absent players, once while that stays so.
    fn absence(&mut self, job: &JobStatus, style: Style) -> Vec<String> {
        let lines = absence::job(job, style);
        let Some(JobAbsence { in_flight, waiting }) = &job.absence else {
            self.absence.remove(&job.id);
            return Vec::new();
        };
        let hosts = format!("{} {} {}", in_flight.hosts, in_flight.tasks, waiting.hosts);
        if self.absence.get(&job.id) == Some(&hosts) {
            return Vec::new();
        }
        self.absence.insert(job.id, hosts);
        lines.into_iter().map(|line| format!("{}: {line}", job.id)).collect()
    }

    /// Returns a line of the flow's state. The end of a flow is told elsewhere, with its failures.
    fn flow_line(&self, style: Style) -> Option<String> {
        let (name, state) = self.flow.as_ref()?;
        (!state.is_final()).then(|| format!("{name} {}", style.flow(*state)))
    }

    fn job(&mut self, id: JobId, state: JobState, tasks: &Counts, style: Style) -> Option<String> {
        let (name, told) = self.jobs.get_mut(&id)?;
        if std::mem::replace(told, state) == state {
            return None;
        }
        let painted = style.job(state);
        Some(match (state, tasks.total()) {
            (JobState::Running, 1) => format!("{id} {name} {painted} (1 host)"),
            (JobState::Running, hosts) => format!("{id} {name} {painted} ({hosts} hosts)"),
            _ => format!("{id} {name} {painted}: {}", counts(tasks)),
        })
    }
}

#[cfg(test)]
mod tests {
    use orchestra_model::{
        ids::FlowId,
        names::HostName,
        status::{AbsentTasks, Due},
        time::{Millis, Timestamp},
    };

    use super::*;
    use crate::view::{flow::events::line, samples};

    fn json_line(heard: &Watched) -> serde_json::Result<String> {
        serde_json::to_string(&line(heard))
    }

    const WEB: JobId = JobId { flow: FlowId(42), slot: 2, job: 1 };

    fn task(state: TaskState, exit: Option<i32>) -> Watched {
        Watched::Event(Event::Task {
            job: WEB,
            index: 2,
            host: Some(HostName::new("fe3").unwrap()),
            state,
            attempt: 1,
            exit,
            signal: None,
            detail: None,
            before: None,
            absence: None,
            change: 7,
        })
    }

    fn job(state: JobState, tasks: &[(TaskState, u32)]) -> Watched {
        let mut counts = Counts::default();
        tasks.iter().for_each(|(state, n)| counts.set(*state, *n));
        Watched::Event(Event::Job { job: WEB, state, counts, change: 8 })
    }

    #[test]
    fn each_change_is_told_once() {
        let mut progress = Progress::default();
        let mut told = |heard: &Watched| progress.lines(heard, Style::default());
        let status = Watched::Status(Box::new(samples::running()));
        assert_eq!(
            told(&status),
            [
                "42.1.1 pkg1 partial: 8 ok, 2 failed",
                "42.1.2 install-package ok: 1 ok",
                "42.2.1 web running (100 hosts)",
                "42 deploy-42 running",
            ]
        );
        assert!(told(&status).is_empty());
        assert!(told(&task(TaskState::Ok, Some(0))).is_empty());
        assert!(told(&task(TaskState::Failed, Some(3))).is_empty());
        assert!(told(&task(TaskState::Lost, None)).is_empty());
        let doomed = job(JobState::Doomed, &[(TaskState::Failed, 1), (TaskState::Running, 9)]);
        assert_eq!(
            told(&doomed),
            [
                "42.2.1 fe3 (1) failed: exit 3",
                "42.2.1 fe3 (1) lost",
                "42.2.1 web doomed: 9 running, 1 failed",
            ]
        );
        assert!(told(&doomed).is_empty());
        let cancelling = Event::Flow { flow: FlowId(42), state: FlowState::Cancelling };
        assert_eq!(told(&Watched::Event(cancelling)), ["42 deploy-42 cancelling"]);
    }

    #[test]
    fn what_was_missed_is_told_by_the_next_status() {
        let mut progress = Progress::default();
        let mut status = samples::running();
        progress.lines(&Watched::Status(Box::new(status.clone())), Style::default());
        status.slots[1][0].state = JobState::Ok;
        status.slots[1][0].counts = Counts::all_in(TaskState::Ok, 100);
        status.summary.state = FlowState::Ok;
        let lines = progress.lines(&Watched::Status(Box::new(status)), Style::default());
        assert_eq!(lines, ["42.2.1 web ok: 100 ok"]);
    }

    #[test]
    fn why_a_flow_stopped_is_told_once_a_change() {
        let mut progress = Progress::default();
        let mut status = samples::running();
        progress.lines(&Watched::Status(Box::new(status.clone())), Style::default());
        let flow = |state| Watched::Event(Event::Flow { flow: FlowId(42), state });
        assert!(!progress.asks_why());
        for _ in 0..2 {
            let told = progress.lines(&flow(FlowState::Stalled), Style::default());
            assert_eq!(told, ["42 deploy-42 stalled"]);
            assert!(progress.asks_why());
            // A status of another moment does not tell.
            assert!(progress.why(&status, Style::default()).is_empty() && progress.asks_why());
            status.summary.state = FlowState::Stalled;
            status.stalled = vec!["a cell is full".into()];
            let why = progress.why(&status, Style::default());
            assert_eq!(why[0], "  a cell is full");
            assert_eq!(why[1], "  more: orc explain 42; to end it: orc cancel 42");
            assert!(!progress.asks_why());
            // Neither is it told again, though it has become older meanwhile.
            status.stalled = vec!["a cell is full since 5s".into()];
            let again = Watched::Status(Box::new(status.clone()));
            assert!(progress.lines(&again, Style::default()).is_empty());
            status.summary.state = FlowState::Running;
            let told = progress.lines(&flow(FlowState::Running), Style::default());
            assert_eq!(told, ["42 deploy-42 running"]);
        }
    }

    #[test]
    fn that_a_player_goes_and_comes_back_is_told_once() {
        let mut progress = Progress::default();
        progress.lines(&Watched::Status(Box::new(samples::running())), Style::default());
        let mut told = |state, absence| {
            let mut heard = task(state, None);
            if let Watched::Event(Event::Task { absence: is, .. }) = &mut heard {
                *is = absence;
            }
            assert!(progress.lines(&heard, Style::default()).is_empty());
            progress.held_back(Style::default())
        };
        let away = Absence {
            since: Some(samples::SUBMITTED),
            given_up: Some(Due { at: Timestamp(1_763_713_800_000), left: Millis::minutes(25) }),
        };
        assert!(told(TaskState::Running, None).is_empty());
        assert_eq!(
            told(TaskState::Running, Some(away)),
            ["42.2.1: 1 in flight on absent fe3, since 2025-11-21T08:00:00Z, lost at \
              2025-11-21T08:30:00Z (in 25m)"]
        );
        assert!(told(TaskState::Running, Some(away)).is_empty());
        assert_eq!(told(TaskState::Running, None), ["42.2.1: back is fe3 (1)"]);
        assert!(told(TaskState::Running, None).is_empty());
        assert_eq!(told(TaskState::Sent, Some(away)).len(), 1);
        assert_eq!(told(TaskState::Lost, None), ["42.2.1 fe3 (1) lost"]);
        assert!(told(TaskState::Running, None).is_empty(), "the next attempt is not back");

        // A watcher that comes later is told by the status.
        let mut status = samples::running();
        let tasks = AbsentTasks {
            tasks: 1,
            hosts: "fe3".to_owned(),
            since: away.since,
            given_up: away.given_up,
        };
        status.slots[1][0].absence = Some(JobAbsence { in_flight: tasks, ..Default::default() });
        let status = Watched::Status(Box::new(status));
        let lines = progress.lines(&status, Style::default());
        assert!(lines[0].starts_with("42.2.1: 1 in flight on absent fe3, since"), "{lines:?}");
        assert!(progress.lines(&status, Style::default()).is_empty());
    }

    #[test]
    fn events_are_lines_of_json() {
        assert_eq!(
            json_line(&task(TaskState::Failed, Some(3))).unwrap(),
            r#"{"schema":1,"event":"task","id":"42.2.1@fe3","host":"fe3","state":"failed","attempt":1,"exit":3,"signal":null,"detail":null,"before":null,"absent":null}"#
        );
        let status = Watched::Status(Box::new(samples::running()));
        let text = json_line(&status).unwrap();
        assert!(text.starts_with(r#"{"schema":1,"event":"status","flow":{"id":42,"#), "{text}");
        let text = json_line(&job(JobState::Ok, &[])).unwrap();
        assert!(text.contains(r#""event":"job","id":"42.2.1","state":"ok","counts":{"waiting":0"#));
    }
}
