//! `orc cancel`, `pause`, `resume` and `promote`: each ends well once it is durable.

use std::io::Write as _;

use orchestra_model::{ids::FlowId, state::FlowState};
use serde::Serialize;

use super::several::Several;
use crate::program::Program;
use crate::{
    args::{CancelArgs, PromoteArgs, SteerArgs},
    client::Client,
    console::unwritten,
    error::Failure,
    exit::Exit,
    view::{Style, absence, json},
};

#[derive(Serialize)]
struct Steered {
    id: u64,
    state: FlowState,
}

/// Cancels each flow; of one that had ended otherwise nothing was cancelled.
pub(crate) fn cancel(args: &CancelArgs, program: &mut Program) -> Result<Exit, Failure> {
    let style = program.console.narration;
    let mut told_awaited = Vec::new();
    let exit = each(&args.flows()?, "cancelling flows", program, async |client, flow| {
        let (id, state) = client.cancel(flow, args.abandon).await?;
        if state == FlowState::Cancelling {
            told_awaited.extend(awaited(client, id, style).await);
        }
        if matches!(state, FlowState::Ok | FlowState::Failed) {
            let what = format!("cancelling flow {id}: it has ended already: {state}");
            return Err(Failure::new(Exit::Ended, what));
        }
        Ok((id, state))
    });
    told_awaited.iter().for_each(|line| program.console.narrate(line));
    exit
}

/// Which absent players a cancelled flow waits for, until when, and how to wait no longer.
async fn awaited(client: &mut Client, flow: FlowId, style: Style) -> Vec<String> {
    // That it is cancelled stands whether or not this answer comes.
    let Ok(status) = client.flow(Some(flow)).await else { return Vec::new() };
    let jobs = status.slots.iter().flatten();
    let lines = jobs.flat_map(|job| absence::job(job, style));
    lines.map(|line| format!("{flow} waits: {line}")).collect()
}

/// Pauses each flow.
pub(crate) fn pause(args: &SteerArgs, program: &mut Program) -> Result<Exit, Failure> {
    let flows = args.flows("orc pause")?;
    each(&flows, "pausing flows", program, async |client, flow| client.pause(flow).await)
}

/// Lets each flow go on.
pub(crate) fn resume(args: &SteerArgs, program: &mut Program) -> Result<Exit, Failure> {
    let flows = args.flows("orc resume")?;
    each(&flows, "resuming flows", program, async |client, flow| client.resume(flow).await)
}

/// Opens canaries of a flow.
pub(crate) fn promote(args: &PromoteArgs, program: &mut Program) -> Result<Exit, Failure> {
    let (flow, job) = args.target()?;
    each(&[flow], "promoting flows", program, async |client, flow| {
        client.promote(flow, job.as_ref()).await
    })
}

/// Does the same to each flow and tells its state then: a line each as it is done, or one document
/// once all are. A flow that it cannot be done to is in the way of no other: what comes after it
/// must not go on because somebody had named one too many.
fn each(
    flows: &[Option<FlowId>],
    what: &'static str,
    program: &mut Program,
    mut act: impl AsyncFnMut(&mut Client, Option<FlowId>) -> Result<(FlowId, FlowState), Failure>,
) -> Result<Exit, Failure> {
    let connection = program.connection()?;
    program.block_on(async move |program: &mut Program| {
        let mut client = Client::connect(connection).await?;
        let mut told = Vec::new();
        let mut several = Several::new(what, flows.len());
        for flow in flows {
            match act(&mut client, *flow).await {
                Ok((id, state)) if program.shared.json => told.push(Steered { id: id.0, state }),
                Ok((id, state)) => {
                    let state = program.console.style.flow(state);
                    writeln!(program.console.out, "{id} {state}").map_err(unwritten)?;
                }
                Err(failure) => several.failed(*flow, failure)?,
            }
        }
        if program.shared.json {
            json::document(&mut program.console.out, "flows", &told).map_err(unwritten)?;
        }
        Ok(several.finish())
    })
}
