//! `orc tree`: who served whom in a flow's trees, and in the deliveries of bundles.

use std::collections::BTreeMap;

use orchestra_client::{Client, Exit, TaskFilter};
use orchestra_model::{HostName, ids::FlowPart, score::BuiltIn, status::FlowStatus, tree::Parent};

use crate::{
    error::Failure, program::Program, verb::Verb, view::flow::tree::Trees, words::ids::only,
};

/// `orc tree`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc tree last\n  orc tree 42.1.2 --json")]
pub(crate) struct Tree {
    /// 42, last, 42.1, 42.1.2 or 42/NAME
    #[arg(value_name = "ID")]
    id: String,
}

impl Verb for Tree {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let reference = only(&self.id, "orc tree takes one id, like 42 or 42.1.2")?;
        program.ask(async |client, console| {
            let flow = client.flow(reference.flow).await?;
            let (slot, job) = place(&flow, &reference.part);
            let filter = TaskFilter { slot, job, ..TaskFilter::default() };
            let mut tasks = client.tasks(flow.summary.id, &filter).await?;
            let mut trees = Trees::of(&flow);
            let sources = sources(&flow, client).await?;
            while let Some(mut task) = tasks.next_item().await? {
                let source = task.host.as_ref().and_then(|host| sources.get(host));
                task.parent = task.parent.or(source.cloned().map(Parent::Host));
                trees.add(task);
            }
            if !trees.is_any() {
                let id = flow.summary.id;
                return Err(Failure::new(
                    Exit::NoSuchFlow,
                    format!("asking for the trees of flow {id}: nothing of it was sent along one"),
                )
                .hint(format!("orc explain {id}")));
            }
            console.answer(trees)?;
            Ok(Exit::Ok)
        })
    }
}

/// From whom hosts fetch the bundles that a flow delivers, or fetched them a while ago.
async fn sources(
    flow: &FlowStatus,
    client: &mut Client,
) -> Result<BTreeMap<HostName, HostName>, Failure> {
    let mut jobs = flow.slots.iter().flatten();
    if !jobs.any(|job| BuiltIn::of(&job.score) == Some(BuiltIn::Deliver)) {
        return Ok(BTreeMap::new());
    }
    let mut fetches = client.fetches("", None).await?;
    fetches.retain(|told| told.flow == flow.summary.id);
    Ok(fetches.into_iter().filter_map(|told| Some((told.host, told.source?))).collect())
}

/// The slot and the job that are asked for; 0 for all. A name that no job has is no job's.
fn place(flow: &FlowStatus, part: &FlowPart) -> (u16, u16) {
    match part {
        FlowPart::Flow => (0, 0),
        FlowPart::Slot(slot) => (*slot, 0),
        FlowPart::Job(slot, job) => (*slot, *job),
        FlowPart::Named(name) => {
            let mut jobs = flow.slots.iter().flatten();
            let named = jobs.find(|job| job.name == *name);
            named.map_or((u16::MAX, u16::MAX), |job| (job.id.slot, job.id.job))
        }
    }
}
