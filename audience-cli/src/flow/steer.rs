//! Verbs that act on flows one by one: cancel, pause, resume, promote. Each ends well once it is
//! durable.

use std::{io::Write as _, slice};

use orchestra_client::{Client, Exit};
use orchestra_model::{ids::FlowId, state::FlowState};
use serde::Serialize;

use super::several::Several;
use crate::{
    console::{Answer, Console, Screen, Streamed, unwritten},
    error::Failure,
    view::json,
};

/// Acts on each flow and tells its state after that: a line each as it is done, or one document
/// once all are. If a flow cannot be acted on, the others still are: a flow must not go on because
/// an earlier one on the command line does not exist.
pub(super) async fn each(
    flows: &[Option<FlowId>],
    what: &'static str,
    client: &mut Client,
    console: &mut Console,
    act: impl AsyncFnMut(&mut Client, Option<FlowId>) -> Result<(FlowId, FlowState), Failure>,
) -> Result<Exit, Failure> {
    let several = Several::new(what, flows.len());
    let mut steered = Steered { flows: flows.iter(), client, act, several };
    console.stream(&mut steered).await?;
    Ok(steered.several.finish())
}

/// Flows that are acted on one after the other.
struct Steered<'a, A> {
    flows: slice::Iter<'a, Option<FlowId>>,
    client: &'a mut Client,
    act: A,
    several: Several,
}

/// A flow after it was acted on.
#[derive(Serialize)]
struct Now {
    id: u64,
    state: FlowState,
}

impl<A> Steered<'_, A>
where
    A: AsyncFnMut(&mut Client, Option<FlowId>) -> Result<(FlowId, FlowState), Failure>,
{
    /// Acts on the next flow that can be acted on; `None` after the last.
    async fn next(&mut self) -> Result<Option<Now>, Failure> {
        for flow in self.flows.by_ref() {
            match (self.act)(self.client, *flow).await {
                Ok((id, state)) => return Ok(Some(Now { id: id.0, state })),
                Err(failure) => self.several.failed(*flow, failure)?,
            }
        }
        Ok(None)
    }
}

impl<A> Streamed for Steered<'_, A>
where
    A: AsyncFnMut(&mut Client, Option<FlowId>) -> Result<(FlowId, FlowState), Failure>,
{
    async fn text(&mut self, screen: &mut Screen) -> Result<(), Failure> {
        while let Some(Now { id, state }) = self.next().await? {
            let state = screen.style.flow(state);
            writeln!(screen.out, "{id} {state}").map_err(unwritten)?;
        }
        Ok(())
    }

    async fn json(&mut self, out: &mut Answer) -> Result<(), Failure> {
        let mut told = Vec::new();
        while let Some(now) = self.next().await? {
            told.push(now);
        }
        json::document(out, "flows", &told).map_err(unwritten)
    }
}
