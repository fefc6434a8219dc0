//! `getstatus` for programs.

use std::io::{self, Write};

use orchestra_client::{TaskFilter, Tasks};
use orchestra_model::status::JobStatus;

use super::{
    Shape,
    asking::{Asking, Selected, asked_whole},
};
use crate::{
    console::{Answer, unwritten},
    error::Failure,
    flow::several::Several,
    view::{
        flow::json::{FlowHead, Job, SlotHead},
        json::{SCHEMA, open_object},
        task::json::Task,
    },
};

impl Asking<'_> {
    /// One flow is `{"flow":…}`, several are `{"flows":[…]}`.
    pub(super) async fn write_json(&mut self, out: &mut Answer) -> Result<(), Failure> {
        let several = self.references.len() > 1;
        let noun = if several { "\"flows\":[" } else { "\"flow\":" };
        let begin = |out: &mut Answer| write!(out, "{{\"schema\":{SCHEMA},{noun}");
        // For a single flow that does not exist nothing is written.
        let mut begun = several;
        if several {
            begin(out).map_err(unwritten)?;
        }
        let mut separated = Separated::default();
        let mut failures = Several::new("asking for flows", self.references.len());
        for reference in self.references {
            let selected = match self.select(reference).await {
                Ok(selected) => selected,
                Err(failure) => {
                    failures.failed(asked_whole(reference), failure)?;
                    continue;
                }
            };
            if !std::mem::replace(&mut begun, true) {
                begin(out).map_err(unwritten)?;
            }
            separated.next(out).map_err(unwritten)?;
            // What fails within a flow leaves no document.
            let some = self.json_flow(&selected, out).await?;
            if let Err(failure) = self.some_on_host(&selected, some) {
                failures.failed(None, failure)?;
            }
        }
        self.exit = self.exit.worse(failures.finish());
        let end: &[u8] = if several { b"]}\n" } else { b"}\n" };
        out.write_all(end).map_err(unwritten)
    }

    /// Writes a flow. Returns whether it has tasks, where they were asked for.
    async fn json_flow(
        &mut self,
        selected: &Selected<'_>,
        out: &mut Answer,
    ) -> Result<bool, Failure> {
        let with_tasks = self.shape != Shape::Summary || selected.reference.host.is_some();
        let mut tasks = None;
        if with_tasks {
            let filter = TaskFilter { ends: true, ..self.filter(selected) };
            tasks = Some(self.client.tasks(selected.flow.summary.id, &filter).await?);
        }
        let mut some = false;
        open_object(out, &FlowHead::from(&selected.flow)).map_err(unwritten)?;
        out.write_all(b",\"slots\":[").map_err(unwritten)?;
        let mut slots = Separated::default();
        for (index, jobs) in selected.flow.slots.iter().enumerate() {
            if !jobs.iter().any(|job| selected.wants(job)) {
                continue;
            }
            slots.next(out).map_err(unwritten)?;
            open_object(out, &SlotHead::new(&selected.flow, index, jobs)).map_err(unwritten)?;
            out.write_all(b",\"jobs\":[").map_err(unwritten)?;
            let mut separated = Separated::default();
            for job in jobs.iter().filter(|job| selected.wants(job)) {
                separated.next(out).map_err(unwritten)?;
                open_object(out, &Job::from(job)).map_err(unwritten)?;
                if let Some(tasks) = &mut tasks {
                    some |= self.json_tasks(selected, job, tasks, out).await?;
                    if out.is_closed() {
                        return Ok(true);
                    }
                }
                out.write_all(b"}").map_err(unwritten)?;
            }
            out.write_all(b"]}").map_err(unwritten)?;
        }
        out.write_all(b"]}").map_err(unwritten)?;
        if let Some(tasks) = &mut tasks
            && tasks.next_item().await?.is_some()
        {
            return Err(Failure::broken("listing tasks: the conductor told them out of order"));
        }
        Ok(some)
    }

    /// Adds the next tasks that are of this job to its object. Returns whether there were any.
    async fn json_tasks(
        &mut self,
        selected: &Selected<'_>,
        job: &JobStatus,
        tasks: &mut Tasks,
        out: &mut Answer,
    ) -> Result<bool, Failure> {
        out.write_all(b",\"tasks\":[").map_err(unwritten)?;
        let mut separated = Separated::default();
        while let Some(task) = tasks.next_item_if(|task| task.job == job.id).await? {
            separated.next(out).map_err(unwritten)?;
            let written = serde_json::to_writer(&mut *out, &Task::from(&task));
            written.map_err(|error| unwritten(error.into()))?;
            self.judge(selected, &task);
            if out.is_closed() {
                break;
            }
        }
        out.write_all(b"]").map_err(unwritten)?;
        Ok(separated.0)
    }
}

/// Commas between the members of a list that is written as it comes.
#[derive(Default)]
struct Separated(bool);

impl Separated {
    fn next(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if std::mem::replace(&mut self.0, true) {
            out.write_all(b",")?;
        }
        Ok(())
    }
}
