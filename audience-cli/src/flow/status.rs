//! `getstatus`: flows, parts of flows, tasks and what they wrote.
//!
//! Tasks are written page by page as they come, in text and in JSON, so that a listing of a
//! million needs the memory of one page. Only gathering (`-b`, `--diff`) collects, within its own bound.

use std::io::{self, Write};

use orchestra_model::{
    ids::{FlowId, Part, Reference},
    status::{FlowStatus, JobStatus, TaskStatus},
    time::Timestamp,
};
use orchestra_proto::v1;

use super::{list::flows, several::Several};
use crate::program::Program;
use crate::{
    args::{Shape, StatusArgs},
    client::{Client, Pages, TaskFilter},
    console::{Answer, unwritten},
    error::Failure,
    exit::Exit,
    view::{
        Style,
        flow::{self, has_not_ok},
        json,
        task::written::{self as output, Gathered},
        task::{self, Failures, NOT_OK},
    },
};

/// Tells where flows stand; the exit code is that of the worst.
pub(crate) fn status(args: &StatusArgs, program: &mut Program) -> Result<Exit, Failure> {
    let references = args.references()?;
    if references.is_empty() {
        return flows(0, false, program);
    }
    let connection = program.connection()?;
    program.block_on(async move |program: &mut Program| {
        let client = Client::connect(connection).await?;
        let mut asking =
            Asking { client, shape: args.shape(), only_failed: args.only_failed(), exit: Exit::Ok };
        if program.shared.json {
            asking.json(&references, &mut program.console.out).await?;
        } else {
            asking.text(&references, program).await?;
        }
        Ok(asking.exit)
    })
}

struct Asking {
    client: Client,
    shape: Shape,
    only_failed: bool,
    exit: Exit,
}

/// A flow, and which of it was asked for.
struct Selected<'a> {
    flow: FlowStatus,
    reference: &'a Reference,
}

impl Selected<'_> {
    fn wants(&self, job: &JobStatus) -> bool {
        match &self.reference.part {
            Part::Flow => true,
            Part::Slot(slot) => job.id.slot == *slot,
            Part::Job(slot, number) => (job.id.slot, job.id.job) == (*slot, *number),
            Part::Named(name) => job.name == *name,
        }
    }

    fn jobs(&self) -> impl Iterator<Item = &JobStatus> + Clone {
        self.flow.slots.iter().flatten().filter(|job| self.wants(job))
    }

    fn is_whole(&self) -> bool {
        self.reference.part == Part::Flow
    }
}

impl Asking {
    async fn select<'a>(&mut self, reference: &'a Reference) -> Result<Selected<'a>, Failure> {
        let flow = self.client.flow(reference.flow).await?;
        let selected = Selected { flow, reference };
        if !selected.is_whole() && selected.jobs().next().is_none() {
            let id = selected.flow.summary.id;
            return Err(Failure::new(
                Exit::NoSuchFlow,
                format!("asking for a part of flow {id}: it has none such"),
            )
            .hint(format!("getstatus {id} shows its slots and jobs")));
        }
        // With a host it is the tasks there that count; they are judged as they come.
        if reference.host.is_none() {
            let exit = match selected.is_whole() {
                true => Exit::of_flow(&selected.flow),
                false => Exit::of_jobs(selected.jobs()),
            };
            self.exit = self.exit.worse(exit);
        }
        Ok(selected)
    }

    /// What is asked of the conductor to have the selected tasks in one list.
    fn filter(&self, selected: &Selected<'_>) -> TaskFilter {
        let (slot, job) = match &selected.reference.part {
            Part::Flow => (0, 0),
            Part::Slot(slot) => (*slot, 0),
            Part::Job(slot, job) => (*slot, *job),
            // Names are unique in a flow, and there is one: it was selected.
            Part::Named(_) => {
                selected.jobs().next().map_or((0, 0), |job| (job.id.slot, job.id.job))
            }
        };
        TaskFilter {
            slot,
            job,
            host: selected.reference.host.clone(),
            states: if self.only_failed { NOT_OK.to_vec() } else { Vec::new() },
            ends: !matches!(self.shape, Shape::Summary | Shape::Tasks),
        }
    }

    async fn text(
        &mut self,
        references: &[Reference],
        program: &mut Program,
    ) -> Result<(), Failure> {
        let now = program.now();
        let mut gathered = Gathered::default();
        let mut several = Several::new("asking for flows", references.len());
        for reference in references {
            if let Err(failure) = self.one(reference, &mut gathered, now, program).await {
                several.failed(asked_whole(reference), failure)?;
            }
        }
        self.exit = self.exit.worse(several.finish());
        let out = &mut program.console.out;
        let written = match self.shape {
            Shape::Differences => gathered.write_differences(out),
            _ => gathered.write(out),
        };
        written.map_err(unwritten)
    }

    /// Writes one of the flows, or takes in what is gathered of it.
    async fn one(
        &mut self,
        reference: &Reference,
        gathered: &mut Gathered,
        now: Timestamp,
        program: &mut Program,
    ) -> Result<(), Failure> {
        let style = program.console.style;
        let selected = self.select(reference).await?;
        let out = &mut program.console.out;
        if self.shape == Shape::Summary && reference.host.is_none() {
            flow::flow(out, &selected.flow, &|job| selected.wants(job), now, style)
                .map_err(unwritten)?;
            self.failures(&selected, out, style).await?;
            return Ok(());
        }
        let shape = self.shape;
        self.each_task(&selected, &mut |task| match shape {
            Shape::Summary | Shape::Tasks => {
                task::line(out, task, style).map_err(unwritten)?;
                Ok(out.is_closed())
            }
            Shape::Gathered | Shape::Differences => gathered.add(task).map(|()| false),
            Shape::Lines => {
                output::lines(out, task).map_err(unwritten)?;
                Ok(out.is_closed())
            }
            Shape::Responses => {
                output::response(out, task).map_err(unwritten)?;
                Ok(out.is_closed())
            }
        })
        .await?;
        Ok(())
    }

    /// Gives each selected task to `take`, until it says that it is enough.
    async fn each_task(
        &mut self,
        selected: &Selected<'_>,
        take: &mut dyn FnMut(&TaskStatus) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let filter = self.filter(selected);
        let mut tasks = self.client.tasks(selected.flow.summary.id, &filter).await?;
        let mut some = false;
        while let Some(task) = tasks.next_item().await? {
            some = true;
            self.judge(selected, &task);
            if take(&task)? {
                return Ok(());
            }
        }
        self.some_on_host(selected, some)
    }

    fn judge(&mut self, selected: &Selected<'_>, task: &TaskStatus) {
        if selected.reference.host.is_some() {
            self.exit = self.exit.worse(Exit::of_task(task.state));
        }
    }

    /// A host that the flow does not have is a mistake, not an empty answer.
    fn some_on_host(&self, selected: &Selected<'_>, some: bool) -> Result<(), Failure> {
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

    /// What did not end ok, folded, below the flow.
    async fn failures(
        &mut self,
        selected: &Selected<'_>,
        out: &mut dyn Write,
        style: Style,
    ) -> Result<(), Failure> {
        if !selected.jobs().any(has_not_ok) {
            return Ok(());
        }
        let filter = TaskFilter { states: NOT_OK.to_vec(), ..self.filter(selected) };
        let failures = failures(&mut self.client, selected.flow.summary.id, &filter).await?;
        if failures.is_empty() {
            return Ok(());
        }
        writeln!(out, "  not ok:").map_err(unwritten)?;
        failures.write(out, style).map_err(unwritten)
    }

    /// One flow is `{"flow":…}`, several are `{"flows":[…]}`.
    async fn json(&mut self, references: &[Reference], out: &mut Answer) -> Result<(), Failure> {
        let several = references.len() > 1;
        let noun = if several { "\"flows\":[" } else { "\"flow\":" };
        let begin = |out: &mut Answer| write!(out, "{{\"schema\":{},{noun}", json::SCHEMA);
        // Nothing is written of one flow that is not there.
        let mut begun = several;
        if several {
            begin(out).map_err(unwritten)?;
        }
        let mut separated = Separated::default();
        let mut failures = Several::new("asking for flows", references.len());
        for reference in references {
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
            if let Err(failure) = self.json_flow(&selected, out).await {
                failures.failed(None, failure)?;
            }
        }
        self.exit = self.exit.worse(failures.finish());
        let end: &[u8] = if several { b"]}\n" } else { b"}\n" };
        out.write_all(end).map_err(unwritten)
    }

    async fn json_flow(
        &mut self,
        selected: &Selected<'_>,
        out: &mut Answer,
    ) -> Result<(), Failure> {
        let with_tasks = self.shape != Shape::Summary || selected.reference.host.is_some();
        let mut tasks = match with_tasks {
            true => {
                let filter = TaskFilter { ends: true, ..self.filter(selected) };
                Some(self.client.tasks(selected.flow.summary.id, &filter).await?)
            }
            false => None,
        };
        let mut some = false;
        json::open_object(out, &json::FlowHead::from(&selected.flow)).map_err(unwritten)?;
        out.write_all(b",\"slots\":[").map_err(unwritten)?;
        let mut slots = Separated::default();
        for (index, jobs) in selected.flow.slots.iter().enumerate() {
            if !jobs.iter().any(|job| selected.wants(job)) {
                continue;
            }
            slots.next(out).map_err(unwritten)?;
            json::open_object(out, &json::SlotHead::new(&selected.flow, index, jobs))
                .map_err(unwritten)?;
            out.write_all(b",\"jobs\":[").map_err(unwritten)?;
            let mut separated = Separated::default();
            for job in jobs.iter().filter(|job| selected.wants(job)) {
                separated.next(out).map_err(unwritten)?;
                json::open_object(out, &json::Job::from(job)).map_err(unwritten)?;
                if let Some(tasks) = &mut tasks {
                    some |= self.json_tasks(selected, job, tasks, out).await?;
                    if out.is_closed() {
                        return Ok(());
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
        self.some_on_host(selected, some)
    }

    /// Adds those of the tasks that come next and are of this job to its object; whether there
    /// were any.
    async fn json_tasks(
        &mut self,
        selected: &Selected<'_>,
        job: &JobStatus,
        tasks: &mut Pages<v1::TaskPage>,
        out: &mut Answer,
    ) -> Result<bool, Failure> {
        out.write_all(b",\"tasks\":[").map_err(unwritten)?;
        let mut separated = Separated::default();
        while let Some(task) = tasks.next_item_if(|task| task.job == job.id).await? {
            separated.next(out).map_err(unwritten)?;
            let written = serde_json::to_writer(&mut *out, &json::Task::from(&task));
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

/// The flow, where a whole one is asked for: then what is not there is the flow.
fn asked_whole(reference: &Reference) -> Option<FlowId> {
    let is_whole = reference.part == Part::Flow && reference.host.is_none();
    reference.flow.filter(|_| is_whole)
}

/// Collects what did not end ok.
pub(super) async fn failures(
    client: &mut Client,
    flow: FlowId,
    filter: &TaskFilter,
) -> Result<Failures, Failure> {
    let mut tasks = client.tasks(flow, filter).await?;
    let mut failures = Failures::default();
    while let Some(task) = tasks.next_item().await? {
        failures.add(&task);
    }
    Ok(failures)
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
