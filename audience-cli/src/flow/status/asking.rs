//! What is asked of which flow, and what that means for the exit code.

use orchestra_client::{Client, Exit, TaskFilter};
use orchestra_model::{
    ids::{FlowId, FlowPart, Reference},
    status::{FlowStatus, JobStatus, TaskStatus},
};

use super::Shape;
use crate::{
    console::{Answer, Screen, Streamed},
    error::Failure,
    view::task::NOT_OK,
};

/// What is asked of the conductor for one command line.
pub(super) struct Asking<'a> {
    pub(super) client: &'a mut Client,
    pub(super) references: &'a [Reference],
    pub(super) shape: Shape,
    pub(super) only_failed: bool,
    /// The worst exit code so far.
    pub(super) exit: Exit,
}

/// A flow, and which of it was asked for.
pub(super) struct Selected<'a> {
    pub(super) flow: FlowStatus,
    pub(super) reference: &'a Reference,
}

impl Selected<'_> {
    pub(super) fn wants(&self, job: &JobStatus) -> bool {
        match &self.reference.part {
            FlowPart::Flow => true,
            FlowPart::Slot(slot) => job.id.slot == *slot,
            FlowPart::Job(slot, number) => (job.id.slot, job.id.job) == (*slot, *number),
            FlowPart::Named(name) => job.name == *name,
        }
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = &JobStatus> + Clone {
        self.flow.slots.iter().flatten().filter(|job| self.wants(job))
    }

    fn is_whole(&self) -> bool {
        self.reference.part == FlowPart::Flow
    }
}

impl Asking<'_> {
    pub(super) async fn select<'a>(
        &mut self,
        reference: &'a Reference,
    ) -> Result<Selected<'a>, Failure> {
        let flow = self.client.flow(reference.flow).await?;
        let selected = Selected { flow, reference };
        chosen(&selected.flow, &reference.part)?;
        // With a host its tasks decide the exit code; they are judged as they come.
        if reference.host.is_none() {
            let exit = if selected.is_whole() {
                Exit::of_flow(&selected.flow)
            } else {
                Exit::of_jobs(selected.jobs())
            };
            self.exit = self.exit.worse(exit);
        }
        Ok(selected)
    }

    /// Returns the filter by which the conductor lists the selected tasks.
    pub(super) fn filter(&self, selected: &Selected<'_>) -> TaskFilter {
        let (slot, job) = place(&selected.flow, &selected.reference.part).unwrap_or_default();
        TaskFilter {
            slot,
            job,
            host: selected.reference.host.clone(),
            states: if self.only_failed { NOT_OK.to_vec() } else { Vec::new() },
            ends: !matches!(self.shape, Shape::Summary | Shape::Tasks | Shape::Hosts),
            last_lines: false,
        }
    }

    pub(super) fn judge(&mut self, selected: &Selected<'_>, task: &TaskStatus) {
        if selected.reference.host.is_some() {
            self.exit = self.exit.worse(Exit::of_task(task.state));
        }
    }

    /// A host that the flow does not have is a mistake, not an empty answer.
    pub(super) fn some_on_host(&self, selected: &Selected<'_>, some: bool) -> Result<(), Failure> {
        match &selected.reference.host {
            Some(host) if !some && !self.only_failed => Err(Failure::new(
                Exit::NoSuchFlow,
                format!(
                    "asking for tasks of flow {} on {host}: it has none there",
                    selected.flow.summary.id
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// Returns slot and job, as numbers from 1, of a part of a flow; 0 for all. A part that the flow does not
/// have is a failure.
pub(crate) fn chosen(flow: &FlowStatus, part: &FlowPart) -> Result<(u16, u16), Failure> {
    place(flow, part).ok_or_else(|| {
        let id = flow.summary.id;
        let what = format!("asking for a part of flow {id}: it has none such");
        Failure::new(Exit::NoSuchFlow, what)
            .hint(format!("getstatus {id} shows its slots and jobs"))
    })
}

fn place(flow: &FlowStatus, part: &FlowPart) -> Option<(u16, u16)> {
    let mut jobs = flow.slots.iter().flatten();
    match part {
        FlowPart::Flow => Some((0, 0)),
        FlowPart::Slot(slot) => jobs.any(|job| job.id.slot == *slot).then_some((*slot, 0)),
        FlowPart::Job(slot, number) => jobs
            .any(|job| (job.id.slot, job.id.job) == (*slot, *number))
            .then_some((*slot, *number)),
        FlowPart::Named(name) => {
            jobs.find(|job| job.name == *name).map(|job| (job.id.slot, job.id.job))
        }
    }
}

/// Returns the flow if a whole one is asked for: then it is the flow that does not exist.
pub(super) fn asked_whole(reference: &Reference) -> Option<FlowId> {
    let is_whole = reference.part == FlowPart::Flow && reference.host.is_none();
    reference.flow.filter(|_| is_whole)
}

impl Streamed for Asking<'_> {
    async fn text(&mut self, screen: &mut Screen) -> Result<(), Failure> {
        self.write_text(screen).await
    }

    async fn json(&mut self, out: &mut Answer) -> Result<(), Failure> {
        self.write_json(out).await
    }
}
