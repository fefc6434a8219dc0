//! `orc cancel`: ends well once the cancel is durable.

use std::io::Write as _;

use orchestra_model::state::FlowState;
use serde::Serialize;

use super::Program;
use crate::{
    args::CancelArgs, client::Client, console::unwritten, error::Failure, exit::Exit, view::json,
};

#[derive(Serialize)]
struct Cancelled {
    id: u64,
    state: FlowState,
}

/// Cancels each flow; a flow that had ended otherwise is a failure, told after the others.
pub(crate) fn cancel(args: &CancelArgs, program: &mut Program) -> Result<Exit, Failure> {
    let flows = args.flows()?;
    let connection = program.connection()?;
    program.block_on(async move |program: &mut Program| {
        let mut client = Client::connect(connection).await?;
        let mut cancelled = Vec::new();
        let mut ended = Vec::new();
        for flow in flows {
            let (id, state) = client.cancel(flow).await?;
            if !program.shared.json {
                let style = program.console.style;
                writeln!(program.console.out, "{id} {}", style.flow(state)).map_err(unwritten)?;
            }
            if matches!(state, FlowState::Ok | FlowState::Failed) {
                ended.push(format!("{id} ({state})"));
            }
            cancelled.push(Cancelled { id: id.0, state });
        }
        if program.shared.json {
            json::document(&mut program.console.out, "flows", &cancelled).map_err(unwritten)?;
        }
        match ended.as_slice() {
            [] => Ok(Exit::Ok),
            _ => Err(Failure::broken(format!(
                "cancelling flows: ended before: {}",
                ended.join(", ")
            ))),
        }
    })
}
