//! Flows: one with its slots and jobs.

mod answers;
pub(crate) mod events;
mod explain;
pub(crate) mod json;
mod list;
pub(crate) mod plan;
pub(crate) mod progress;
pub(crate) mod tree;

use std::{fmt::Write as _, io};

use orchestra_model::{
    advice::Advice,
    flow::Scope,
    start::{After, NeededEnd, StartStatus},
    state::{FlowState, JobState, TaskState, WaitReason},
    status::{CanaryStatus, Counts, FlowStatus, FlowSummary, JobStatus},
    time::Timestamp,
};

pub(crate) use answers::{Accepted, Retried, Verdict};
pub(crate) use explain::OneExplained;
pub(crate) use list::Flows;

use super::{
    absence,
    style::{Style, ago, elapsed, one_line, when_about},
};

/// Longest host set that is shown in a job's line, in characters.
const TARGETS: usize = 60;

/// Writes a flow and the jobs of it that `wanted` picks.
pub(crate) fn flow(
    out: &mut dyn io::Write,
    flow: &FlowStatus,
    wanted: &dyn Fn(&JobStatus) -> bool,
    now: Timestamp,
    style: Style,
) -> io::Result<()> {
    let summary = &flow.summary;
    write!(out, "{} {}", named(summary), style.flow(summary.state))?;
    let submitted = summary.submitted_at;
    if let Some(ended) = summary.ended_at {
        write!(out, " after {}", elapsed(ended.since(submitted)))?;
    }
    write!(out, ", submitted by {}", summary.actor())?;
    if summary.by_keeper {
        write!(out, " in the name of {}", summary.audience)?;
    }
    write!(out, " at {}", when_about(submitted))?;
    if summary.ended_at.is_none() {
        // It is not recorded since when it is in this state.
        write!(out, ", {}", ago(now, submitted))?;
    }
    if let Some(by) = &flow.cancelled_by {
        write!(out, ", cancelled by {by}")?;
        if let Some(reason) = &flow.cancel_reason {
            write!(out, " ({})", one_line(reason))?;
        }
    }
    if let Some(of) = flow.retry_of {
        write!(out, ", runs what flow {of} left")?;
    }
    writeln!(out)?;
    if let Some(awaited) = &flow.start {
        writeln!(out, "  {}", begins(awaited, flow))?;
    }
    for line in why(flow, style) {
        writeln!(out, "  {line}")?;
    }
    if flow.stale_store {
        let warning = "  nothing is sent: the store is an old copy; see orc conductor status";
        writeln!(out, "{}", style.warning(warning))?;
    }
    for (index, jobs) in flow.slots.iter().enumerate() {
        if !jobs.iter().any(wanted) {
            continue;
        }
        writeln!(out, "  {}.{} {}", summary.id, index + 1, style.job(slot_state(jobs)))?;
        for job in jobs.iter().filter(|job| wanted(job)) {
            self::job(out, job, style)?;
        }
    }
    Ok(())
}

/// What a flow waits for before it begins, or waited for: `begins after flow 41 and at 22:00`.
fn begins(awaited: &StartStatus, flow: &FlowStatus) -> String {
    let StartStatus { start, ended } = awaited;
    let after = start.after.map(|After { flow, end }| {
        let needed = if end == NeededEnd::Ok { "is ok" } else { "has ended" };
        match ended {
            Some(state) if end.is_met_by(*state) => {
                format!("after flow {flow}, which ended {state}")
            }
            Some(state) => format!("only after flow {flow} {needed}, which ended {state}"),
            None => format!("once flow {flow} {needed}"),
        }
    });
    let at = start.at.map(|at| format!("not before {}", when_about(at)));
    let what: Vec<String> = after.into_iter().chain(at).collect();
    let has_begun = flow.slots.iter().flatten().any(|job| job.started_at.is_some());
    let begins = match (has_begun, flow.summary.state.is_final()) {
        (true, _) => "began",
        (false, false) => "begins",
        (false, true) => "was to begin",
    };
    format!("{begins} {}", what.join(", "))
}

/// Returns why a flow is stalled, and what helps. The conductor's reasons say what would mend each.
pub(crate) fn why(flow: &FlowStatus, style: Style) -> Vec<String> {
    let id = flow.summary.id;
    let mut lines = Vec::new();
    if flow.summary.state == FlowState::Paused {
        let by = flow.paused_by.as_ref().map_or_else(String::new, |by| format!("by {by}; "));
        lines.push(format!("paused {by}to go on: orc resume {id}"));
    }
    let reason = |reason: &Advice| style.warning(&one_line(&reason.to_string())).to_string();
    lines.extend(flow.stalled.iter().map(reason));
    if !flow.stalled.is_empty() || flow.summary.state == FlowState::Stalled {
        lines.push(format!("more: orc explain {id}; to end it: orc cancel {id}"));
    }
    lines
}

/// `42 deploy-42`, or the number alone.
pub(crate) fn named(flow: &FlowSummary) -> String {
    match &flow.name {
        Some(name) => format!("{} {name}", flow.id),
        None => flow.id.to_string(),
    }
}

fn job(out: &mut dyn io::Write, job: &JobStatus, style: Style) -> io::Result<()> {
    let named = if job.name.as_str() == job.score.as_str() {
        job.name.to_string()
    } else {
        format!("{} ({})", job.name, job.score)
    };
    let scope = match job.scope {
        Scope::All => "on",
        Scope::One => "on one of",
    };
    let targets = shortened(&one_line(&job.targets), TARGETS);
    writeln!(
        out,
        "    {} {named} {scope} {targets}: {}, {}",
        job.id,
        style.job(job.state),
        counts(&job.counts)
    )?;
    if !job.waiting.is_empty() {
        let reason = |(reason, n): (&WaitReason, &u32)| format!("{n} {}", in_words(*reason));
        let reasons: Vec<String> = job.waiting.iter().map(reason).collect();
        writeln!(out, "      waiting: {}", reasons.join(", "))?;
    }
    if let Some(canary) = job.canary {
        writeln!(out, "      {}", self::canary(job, canary))?;
    }
    for line in absence::job(job, style) {
        writeln!(out, "      {line}")?;
    }
    Ok(())
}

/// What tasks wait for, after their number: `3 for room in a cell`.
pub(crate) fn in_words(reason: WaitReason) -> &'static str {
    match reason {
        WaitReason::Start => "for their flow to begin",
        WaitReason::Slot => "for their slot",
        WaitReason::Window => "for room in the window",
        WaitReason::Quorum => "for a quorum of players",
        WaitReason::Canary => "for the canary",
        WaitReason::RetryDelay => "for their retry delay",
        WaitReason::Paused => "for the flow to be resumed",
        WaitReason::Sequence => "for hosts that come before",
        WaitReason::Parent => "for a host that can serve them",
        WaitReason::Cell => "for room in a cell",
        WaitReason::PlayerDrained => "for a drained player",
        WaitReason::PlayerAbsent => "for an absent player",
        WaitReason::Quarantined => "for a quarantined player",
        WaitReason::PlayerBusy => "for a busy player",
        WaitReason::ScoreBusy => "for the score to be free on its player",
        WaitReason::Exclusive => "for an exclusive score",
        WaitReason::NoPlayer => "for any player",
        WaitReason::Doomed => "in vain: the job is doomed",
        WaitReason::StaleStore => "for orc conductor recover",
    }
}

/// Returns the state of a canary that holds other tasks back.
pub(crate) fn canary(job: &JobStatus, canary: CanaryStatus) -> String {
    let CanaryStatus { tasks, ok, until } = canary;
    let now = format!("orc promote {} --job {}", job.id.flow, job.name);
    match until {
        Some(until) => {
            format!("canary: {ok} of {tasks} ok, bakes until {}; at once: {now}", when_about(until))
        }
        None if ok == tasks => format!("canary: {ok} of {tasks} ok; to go on: {now}"),
        None => format!("canary: {ok} of {tasks} ok"),
    }
}

/// Returns `8 ok, 2 failed`; states without tasks are left out.
pub(crate) fn counts(counts: &Counts) -> String {
    let mut text = String::new();
    for (state, n) in counts.iter().filter(|(_, n)| *n > 0) {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}{n} {state}");
    }
    if text.is_empty() { "no tasks".to_owned() } else { text }
}

/// Returns the state of a slot: the worst of its jobs once they all ended, else that of a job that
/// goes on.
pub(crate) fn slot_state(jobs: &[JobStatus]) -> JobState {
    let any = |state: JobState| jobs.iter().any(|job| job.state == state);
    let all = |state: JobState| jobs.iter().all(|job| job.state == state);
    if any(JobState::Doomed) {
        JobState::Doomed
    } else if all(JobState::Pending) {
        JobState::Pending
    } else if jobs.iter().any(|job| !job.state.is_final()) {
        JobState::Running
    } else {
        let worst = [JobState::Failed, JobState::Partial, JobState::Cancelled, JobState::Skipped];
        worst.into_iter().find(|state| any(*state)).unwrap_or(JobState::Ok)
    }
}

/// Whether some tasks ended otherwise than ok, so that it is worth asking which.
pub(crate) fn has_not_ok(job: &JobStatus) -> bool {
    super::task::NOT_OK.iter().any(|state: &TaskState| job.counts.get(*state) > 0)
}

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::samples;

    #[test]
    fn a_flow_is_a_block() {
        let mut out = Vec::new();
        let now = Timestamp(1_763_712_100_000);
        flow(&mut out, &samples::running(), &|_| true, now, Style::default()).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "42 deploy-42 running, submitted by alice at 2025-11-21T08:00:00Z, 1m40s ago\n\
             \x20 42.1 partial\n\
             \x20   42.1.1 pkg1 (install-package) on db[1-10]: partial, 8 ok, 2 failed\n\
             \x20   42.1.2 install-package on one of api[1-6]: ok, 1 ok\n\
             \x20 42.2 running\n\
             \x20   42.2.1 web (restart-apache) on fe[1-100]: running, 40 waiting, 50 running, 10 ok\n\
             \x20     waiting: 39 for room in the window, 1 for an absent player\n"
        );
    }

    #[test]
    fn what_only_a_person_can_end_is_said_with_what_ends_it() {
        let lines = |flow: &FlowStatus| {
            let mut out = Vec::new();
            let now = Timestamp(1_763_712_100_000);
            super::flow(&mut out, flow, &|job| job.id.slot == 2, now, Style::default()).unwrap();
            let text = String::from_utf8(out).unwrap();
            text.lines().skip(1).map(|line| line.trim().to_owned()).collect::<Vec<_>>()
        };
        let mut flow = samples::running();
        flow.summary.state = FlowState::Paused;
        flow.paused_by = Some(flow.summary.audience.clone());
        flow.retry_of = Some(orchestra_model::FlowId(41));
        assert_eq!(lines(&flow)[0], "paused by alice; to go on: orc resume 42");
        flow.summary.state = FlowState::Stalled;
        flow.stalled = vec!["a cell is full".into()];
        let job = &mut flow.slots[1][0];
        job.canary = Some(CanaryStatus { tasks: 3, ok: 3, until: None });
        let told = lines(&flow);
        assert_eq!(told[0], "a cell is full");
        assert_eq!(told[1], "more: orc explain 42; to end it: orc cancel 42");
        assert_eq!(told.last().unwrap(), "canary: 3 of 3 ok; to go on: orc promote 42 --job web");
        let until = Some(Timestamp(1_763_712_300_000));
        for (canary, said) in [
            (CanaryStatus { tasks: 3, ok: 1, until: None }, "canary: 1 of 3 ok"),
            (
                CanaryStatus { tasks: 3, ok: 3, until },
                "canary: 3 of 3 ok, bakes until 2025-11-21T08:05:00Z; at once: orc promote 42 \
                 --job web",
            ),
        ] {
            flow.slots[1][0].canary = Some(canary);
            assert_eq!(lines(&flow).last().unwrap(), said);
        }
    }

    #[test]
    fn a_slot_is_the_worst_of_its_jobs() {
        let slots = samples::running().slots;
        let with = |states: &[JobState]| {
            let jobs: Vec<JobStatus> = states
                .iter()
                .map(|state| JobStatus { state: *state, ..slots[0][0].clone() })
                .collect();
            slot_state(&jobs)
        };
        use JobState::{Doomed, Failed, Ok, Partial, Pending, Running, Skipped};
        assert_eq!(with(&[Ok, Ok]), Ok);
        assert_eq!(with(&[Ok, Partial]), Partial);
        assert_eq!(with(&[Failed, Partial]), Failed);
        assert_eq!(with(&[Ok, Pending]), Running);
        assert_eq!(with(&[Failed, Running]), Running);
        assert_eq!(with(&[Doomed, Running]), Doomed);
        assert_eq!(with(&[Pending, Pending]), Pending);
        assert_eq!(with(&[Skipped, Skipped]), Skipped);
    }
}
