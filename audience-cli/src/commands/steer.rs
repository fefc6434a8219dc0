//! `orc cancel`, `pause`, `resume` and `promote`: each ends well once it is durable.

use std::io::Write as _;

use orchestra_model::{ids::FlowId, state::FlowState};
use serde::Serialize;

use super::Program;
use crate::{
    args::{CancelArgs, PromoteArgs, SteerArgs},
    client::Client,
    console::unwritten,
    error::Failure,
    exit::Exit,
    view::json,
};

#[derive(Serialize)]
struct Steered {
    id: u64,
    state: FlowState,
}

/// Cancels each flow; a flow that had ended otherwise is a failure, told after the others.
pub(crate) fn cancel(args: &CancelArgs, program: &mut Program) -> Result<Exit, Failure> {
    let told = each(&args.flows()?, program, async |client, flow| {
        client.cancel(flow, args.abandon).await
    })?;
    let ended = told.iter().filter(|(_, state)| matches!(state, FlowState::Ok | FlowState::Failed));
    let ended: Vec<String> = ended.map(|(id, state)| format!("{id} ({state})")).collect();
    if ended.is_empty() {
        return Ok(Exit::Ok);
    }
    Err(Failure::broken(format!("cancelling flows: ended before: {}", ended.join(", "))))
}

/// Pauses each flow.
pub(crate) fn pause(args: &SteerArgs, program: &mut Program) -> Result<Exit, Failure> {
    let flows = args.flows("orc pause")?;
    each(&flows, program, async |client, flow| client.pause(flow).await).map(|_| Exit::Ok)
}

/// Lets each flow go on.
pub(crate) fn resume(args: &SteerArgs, program: &mut Program) -> Result<Exit, Failure> {
    let flows = args.flows("orc resume")?;
    each(&flows, program, async |client, flow| client.resume(flow).await).map(|_| Exit::Ok)
}

/// Opens canaries of a flow.
pub(crate) fn promote(args: &PromoteArgs, program: &mut Program) -> Result<Exit, Failure> {
    let (flow, job) = args.target()?;
    each(&[flow], program, async |client, flow| client.promote(flow, job.as_ref()).await)
        .map(|_| Exit::Ok)
}

/// Does the same to each flow and tells its state then: a line each as it is done, or one document
/// once all are.
fn each(
    flows: &[Option<FlowId>],
    program: &mut Program,
    act: impl AsyncFn(&mut Client, Option<FlowId>) -> Result<(FlowId, FlowState), Failure>,
) -> Result<Vec<(FlowId, FlowState)>, Failure> {
    let connection = program.connection()?;
    program.block_on(async move |program: &mut Program| {
        let mut client = Client::connect(connection).await?;
        let mut told = Vec::new();
        for flow in flows {
            let (id, state) = act(&mut client, *flow).await?;
            if !program.shared.json {
                let style = program.console.style;
                writeln!(program.console.out, "{id} {}", style.flow(state)).map_err(unwritten)?;
            }
            told.push((id, state));
        }
        if program.shared.json {
            let flows: Vec<Steered> =
                told.iter().map(|(id, state)| Steered { id: id.0, state: *state }).collect();
            json::document(&mut program.console.out, "flows", &flows).map_err(unwritten)?;
        }
        Ok(told)
    })
}
