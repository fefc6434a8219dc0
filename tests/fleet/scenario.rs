//! What is measured.

mod attach;
mod constrained;
mod exec;
mod follow;
mod gather;
mod idle;
mod listing;
mod ping;
mod reconnect;
mod restart;
mod services;
mod slow;
mod throughput;
mod waiters;

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

use crate::{
    args::{Args, Scenario},
    audience::Submitted,
    authority::AUDIENCE,
    figures::{Report, Samples},
    sitter::Trace,
    stage::Stage,
    trouble::Result,
};

/// A program of the audience, and what it has to know.
#[derive(Clone, Debug)]
struct Tool {
    program: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Tool {
    fn of(stage: &Stage<'_>, program: &str) -> Result<Self> {
        let authority = &stage.authority;
        let environment = vec![
            ("ORCHESTRA_CONDUCTOR", stage.address().to_string()),
            ("ORCHESTRA_CONDUCTOR_NAME", authority.conductor.to_string()),
            ("ORCHESTRA_DOMAIN", authority.domain().to_string()),
            ("ORCHESTRA_CA", authority.path("ca.pem")),
            ("ORCHESTRA_CERT", authority.path(&format!("audience/{AUDIENCE}.pem"))),
            ("ORCHESTRA_KEY", authority.path(&format!("audience/{AUDIENCE}.key"))),
            // No configuration but this.
            ("HOME", stage.dir().display().to_string()),
        ];
        Ok(Self { program: stage.program(program)?, environment })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).envs(self.environment.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }
}

/// Runs one.
pub(crate) async fn run(scenario: Scenario, args: &Args) -> Result<Report> {
    match scenario {
        Scenario::Attach => attach::run(args).await,
        Scenario::Ping => ping::run(args).await,
        Scenario::Throughput => throughput::run(args).await,
        Scenario::Constrained => constrained::run(args).await,
        Scenario::Reconnect => reconnect::run(args).await,
        Scenario::Restart => restart::run(args).await,
        Scenario::Idle => idle::run(args).await,
        Scenario::Listing => listing::run(args).await,
        Scenario::Gather => gather::run(args).await,
        Scenario::Follow => follow::run(args).await,
        Scenario::Waiters => waiters::run(args).await,
        Scenario::Slow => slow::run(args).await,
        Scenario::Services => services::run(args).await,
        Scenario::Exec => exec::run(args).await,
        // `Scenario::each` has taken it apart.
        Scenario::All => Ok(Report::new("all", 0)),
    }
}

/// Adds how long it took from the submission of its flow until each order came, and until each end
/// was acknowledged.
fn latencies(report: &mut Report, flows: &[Submitted], traces: &[Vec<Trace>]) {
    let submitted: std::collections::HashMap<_, _> =
        flows.iter().map(|flow| (flow.id, flow.at)).collect();
    let since = |moment: &dyn Fn(&Trace) -> Option<Instant>| {
        let traces = traces.iter().flatten();
        Samples::new(traces.filter_map(|trace| {
            let at = submitted.get(&trace.job.flow)?;
            Some(1e3 * moment(trace)?.saturating_duration_since(*at).as_secs_f64())
        }))
    };
    report.latencies("sent_ms", "submit to sent, ms", &since(&|trace| Some(trace.sent)));
    report.latencies(
        "acknowledged_ms",
        "submit to acknowledged end, ms",
        &since(&|trace| trace.acknowledged),
    );
}

/// Adds how many tasks were found to have exactly one verdict.
fn checked(report: &mut Report, tasks: usize) {
    report.number("checked_tasks", "executed once, one verdict, after kill -9", tasks as f64);
}
