//! `orc cancel`.

use orchestra_client::{Client, Exit};
use orchestra_model::{ids::FlowId, state::FlowState};

use super::{chosen::Chosen, steer::each};
use crate::{
    error::Failure,
    program::Program,
    verb::Verb,
    view::{Style, absence},
    words::reason,
};

/// `orc cancel`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orc cancel last --reason 'wrong version'\n  orc cancel --by alice --score restart-apache"
)]
pub(crate) struct Cancel {
    #[command(flatten)]
    chosen: Chosen,
    /// Call tasks lost now that were sent to players which are not attached
    #[arg(long)]
    abandon: bool,
    /// Why; others will read it
    #[arg(long, value_name = "WHY", value_parser = reason)]
    reason: Option<String>,
}

impl Verb for Cancel {
    /// Cancels each flow. A flow that has ended in another way is not cancelled, which is a
    /// failure.
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let chosen = self.chosen.read("orc cancel")?;
        program.ask(async |client, console| {
            let flows = chosen.flows(client, console).await?;
            let style = console.narration();
            let why = self.reason.as_deref().unwrap_or_default();
            let mut awaited_players = Vec::new();
            let cancel = async |client: &mut Client, flow| {
                let (id, state) = client.cancel(flow, why, self.abandon).await?;
                if state == FlowState::Cancelling {
                    awaited_players.extend(awaited(client, id, style).await);
                }
                if matches!(state, FlowState::Ok | FlowState::Failed) {
                    let what = format!("cancelling flow {id}: it has ended already: {state}");
                    return Err(Failure::new(Exit::Ended, what));
                }
                Ok((id, state))
            };
            let exit = each(&flows, "cancelling flows", client, console, cancel).await;
            awaited_players.iter().for_each(|line| console.narrate(line));
            exit
        })
    }
}

/// Says for which absent players a cancelled flow waits, until when, and how to stop waiting.
async fn awaited(client: &mut Client, flow: FlowId, style: Style) -> Vec<String> {
    // The flow is cancelled whether or not this answer comes.
    let Ok(status) = client.flow(Some(flow)).await else { return Vec::new() };
    let jobs = status.slots.iter().flatten();
    let lines = jobs.flat_map(|job| absence::job(job, style));
    lines.map(|line| format!("{flow} waits: {line}")).collect()
}
