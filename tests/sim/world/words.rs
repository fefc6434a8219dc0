//! What happens in few words, for whoever reads a trace.

use std::collections::BTreeMap;

use orchestra_flow::{Command, Input};
use orchestra_model::{
    Deployments, FlowState, HostName, ScoreName, TaskState, WaitReason,
    delivery::{KnownEnd, PlayerSnapshot, Report},
    deployment::Cell,
    flow::JobSpec,
    record::{Op, Record},
    score::ScoreSpec,
};

use super::{
    conductor::Item,
    network::Up,
    player::{Done, decode},
};

/// Something that people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Told {
    Task(TaskState),
    Flow(FlowState),
    Reason(WaitReason),
}

pub(super) fn command(command: &Command) -> String {
    match command {
        Command::Hello(issued) => format!("hello, {issued} orders"),
        Command::Order(order) => format!("order {} of {}", order.number, order.key),
        Command::Cancel { key, order } => format!("cancel {key}, order {order}"),
        Command::Acknowledge(key) => format!("acknowledge {key}"),
    }
}

/// A record that is to be written.
pub(super) fn item(item: &Item) -> Option<String> {
    let Item::Recorded(op) = item else { return None };
    Some(match op {
        Op::Put(Record::Task(task)) => {
            let (job, host, attempt, state) = (task.job, &task.host, task.attempt, task.state);
            format!("{job}@{host}#{attempt} {state}")
        }
        Op::Put(Record::Job(job)) => format!("{} {} ({})", job.id, job.state, job.untouched),
        Op::Put(Record::Flow(flow)) => format!("{} {}", flow.id, flow.state),
        Op::Put(Record::Hold(hold)) => format!("{} down: {}", hold.host, hold.state),
        Op::Release(host) => format!("{host} up"),
        Op::PruneFlow(flow) => format!("{flow} pruned"),
        Op::Put(Record::End(end)) => format!("{}@{}#{} end", end.job, end.host, end.attempt),
        _ => return None,
    })
}

pub(super) fn up(message: &Up) -> String {
    match message {
        Up::Attach(snapshot) => attach(snapshot),
        Up::Report(report) => said(report),
    }
}

fn attach(snapshot: &PlayerSnapshot) -> String {
    let live: Vec<String> = snapshot.live.iter().map(|live| live.key.to_string()).collect();
    let settled: Vec<String> =
        snapshot.settled.iter().map(|settled| settled.key.to_string()).collect();
    let spool = &snapshot.spool.to_string()[..4];
    let (mark, term, most) = (snapshot.mark, snapshot.term.0, snapshot.max_tasks);
    format!(
        "attach: spool {spool}, mark {mark}, term {term}, live {live:?}, settled {settled:?}, \
         at most {most}"
    )
}

fn said(report: &Report<KnownEnd>) -> String {
    match report {
        Report::Started { key, .. } => format!("{key} started"),
        Report::Ended { key, end, .. } => format!("{key} ended: {:?}", end.summary.outcome),
        Report::Refused { key, refusal, .. } => format!("{key} refused: {refusal}"),
    }
}

pub(super) fn done(done: &Done) -> String {
    match done {
        Done::Said(session, message) => format!("says in {}: {}", session.0, up(message)),
        Done::Spawned(key) => format!("runs {key}"),
        Done::Kept(key, end) => format!("keeps {key}: {:?}", decode(end).outcome),
    }
}

pub(super) fn input(input: &Input) -> String {
    match input {
        Input::FlowSubmitted { submission, .. } => {
            let slot = |jobs: &Vec<JobSpec>| jobs.iter().map(job).collect::<Vec<_>>().join(" + ");
            let slots: Vec<String> =
                submission.spec.slots.iter().map(|spec| slot(&spec.jobs)).collect();
            let start = &submission.spec.start;
            let start = if start.is_now() { String::new() } else { format!(" {start:?}") };
            format!("submit{start} {}", slots.join(", then "))
        }
        Input::DeploymentsLoaded { deployments, .. } => self::deployments(deployments),
        input => format!("{input:?}"),
    }
}

pub(super) fn deployments(deployments: &Deployments) -> String {
    let cells = deployments.cells();
    let cell = |cell: &Cell| {
        let after = cell.predecessors.iter().map(|id| cells[*id].key.name());
        let after: Vec<&str> = after.collect();
        format!("{}: {:?} of {} after {after:?}", cell.key, cell.limit, cell.hosts)
    };
    format!("deployments: {}", cells.as_slice().iter().map(cell).collect::<Vec<_>>().join(", "))
}

pub(super) fn scores(host: &HostName, scores: &BTreeMap<ScoreName, ScoreSpec>) -> String {
    let looks = scores.iter().filter(|(_, spec)| !spec.disruptive);
    let looks: Vec<&str> = looks.map(|(name, _)| name.as_str()).collect();
    let has_rare = scores.contains_key("rare");
    format!("{host}: looks {looks:?}, rare {has_rare}")
}

/// A job with what is not as usual.
fn job(spec: &JobSpec) -> String {
    let usual = JobSpec::new(spec.name.clone(), spec.score.clone(), spec.targets.clone());
    let (is, was) = (format!("{spec:?}"), format!("{usual:?}"));
    let was: Vec<&str> = was.split(", ").collect();
    let unusual: Vec<&str> = is.split(", ").filter(|field| !was.contains(field)).collect();
    format!("{}@{} {unusual:?}", spec.score, spec.targets)
}
