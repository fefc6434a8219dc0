//! `submitjob`: the id alone on standard output, everything else on standard error.

use std::io::Write as _;

use orchestra_model::{ids::FlowId, time::Millis};
use serde::Serialize;

use super::{
    plan,
    wait::{From, Target, Watcher},
};
use crate::program::Program;
use crate::{
    args::{Submit, Task},
    client::Client,
    console::unwritten,
    error::Failure,
    exit::Exit,
    view::{json, one_line},
};

#[derive(Serialize)]
struct Accepted {
    id: u64,
}

/// Whoever could not be told the id on standard output is told it where failures are.
pub(super) fn goes_on(failure: Failure, flow: FlowId) -> Failure {
    failure.hint(format!("flow {flow} was accepted all the same: getstatus {flow}"))
}

/// Submits, tells the id, and waits where that was asked for.
pub(crate) fn submit(command: Submit, program: &mut Program) -> Result<Exit, Failure> {
    if let (Task::Submit(wanted), true) = (&command.task, command.plan) {
        return plan::show(wanted, false, program);
    }
    let connection = program.connection()?;
    program.block_on(async move |program: &mut Program| {
        let mut client = Client::connect(connection).await?;
        let (flow, warnings) = match &command.task {
            Task::Submit(wanted) => {
                let patience = command.wait.as_ref().and_then(|wait| wait.wait_timeout);
                let answer = client.submit(wanted, patience.map(Millis::to_std)).await?;
                (FlowId(answer.flow), answer.warnings)
            }
            Task::Ask(request) => (client.submitted(*request).await?, Vec::new()),
        };
        for warning in &warnings {
            let head = program.console.narration.warning("warning:");
            program.console.narrate(format_args!("{head} {}", one_line(warning)));
        }
        let json = command.shared.json;
        let out = &mut program.console.out;
        // With --wait --json the one document is the status at the end; the id is told beside it.
        let told = match (&command.wait, json) {
            (Some(_), true) => {
                program.console.narrate(format_args!("{flow} submitted"));
                Ok(())
            }
            (None, true) => json::document(out, "flow", &Accepted { id: flow.0 }),
            (Some(waiting), false) if waiting.jsonl => {
                program.console.narrate(format_args!("{flow} submitted"));
                Ok(())
            }
            (_, false) => writeln!(out, "{flow}"),
        };
        let told = told.map_err(unwritten).and_then(|()| program.console.out.finish());
        told.map_err(|failure| goes_on(failure, flow))?;
        match &command.wait {
            None => Ok(Exit::Ok),
            Some(waiting) => {
                // Nothing of it was told before.
                let mut watcher = Watcher::new(waiting, From::Beginning, program)?;
                watcher.watch(&mut client, Target::Flow(flow), program).await
            }
        }
    })
}
