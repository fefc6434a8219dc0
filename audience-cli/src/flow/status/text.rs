//! `getstatus` for people.

use std::io::Write;

use orchestra_client::TaskFilter;
use orchestra_model::{
    hostset::HostSet, ids::Reference, names::HostName, status::TaskStatus, time::Timestamp,
};

use super::{
    Shape,
    asking::{Asking, Selected, asked_whole},
    failures,
};
use crate::{
    console::{Answer, Screen, unwritten},
    error::Failure,
    flow::several::Several,
    program::now,
    view::{
        Style,
        flow::{self, has_not_ok},
        task::{
            self, NOT_OK,
            written::{self, Gathered},
        },
    },
};

impl Asking<'_> {
    pub(super) async fn write_text(&mut self, screen: &mut Screen) -> Result<(), Failure> {
        let now = now();
        let mut gathered = Gathered::default();
        let mut hosts = Vec::new();
        let mut several = Several::new("asking for flows", self.references.len());
        for reference in self.references {
            if let Err(failure) = self.one(reference, &mut gathered, &mut hosts, now, screen).await
            {
                several.failed(asked_whole(reference), failure)?;
            }
        }
        self.exit = self.exit.worse(several.finish());
        let written = match self.shape {
            // An empty line would be an empty host set, which is a mistake wherever it is given.
            Shape::Hosts if hosts.is_empty() => Ok(()),
            Shape::Hosts => writeln!(screen.out, "{}", HostSet::from_names(hosts)),
            Shape::Differences => gathered.write_differences(&mut screen.out, screen.style),
            Shape::GatheredLines => gathered.write_lines(&mut screen.out),
            _ => gathered.write(&mut screen.out),
        };
        written.map_err(unwritten)
    }

    /// Writes one of the flows, or gathers what it wrote.
    async fn one(
        &mut self,
        reference: &Reference,
        gathered: &mut Gathered,
        hosts: &mut Vec<HostName>,
        now: Timestamp,
        screen: &mut Screen,
    ) -> Result<(), Failure> {
        let style = screen.style;
        let selected = self.select(reference).await?;
        let out = &mut screen.out;
        if self.shape == Shape::Summary && reference.host.is_none() {
            flow::flow(out, &selected.flow, &|job| selected.wants(job), now, style)
                .map_err(unwritten)?;
            return self.failures(&selected, out, style).await;
        }
        let filter = self.filter(&selected);
        let mut tasks = self.client.tasks(selected.flow.summary.id, &filter).await?;
        let mut some = false;
        while let Some(task) = tasks.next_item().await? {
            some = true;
            self.judge(&selected, &task);
            match self.shape {
                Shape::Hosts => hosts.extend(task.host.clone()),
                _ => self.task(&task, gathered, out, style)?,
            }
            if out.is_closed() {
                return Ok(());
            }
        }
        self.some_on_host(&selected, some)
    }

    /// Writes a task, or gathers it.
    fn task(
        &self,
        task: &TaskStatus,
        gathered: &mut Gathered,
        out: &mut Answer,
        style: Style,
    ) -> Result<(), Failure> {
        let written = match self.shape {
            Shape::Summary | Shape::Tasks => task::line(out, task, style),
            Shape::Gathered | Shape::GatheredLines | Shape::Differences => {
                return gathered.add(task);
            }
            Shape::Lines => written::lines(out, task),
            Shape::Responses => written::response(out, task),
            Shape::Hosts => Ok(()),
        };
        written.map_err(unwritten)
    }

    /// Writes what did not end ok, folded, below the flow.
    async fn failures(
        &mut self,
        selected: &Selected<'_>,
        out: &mut Answer,
        style: Style,
    ) -> Result<(), Failure> {
        if !selected.jobs().any(has_not_ok) {
            return Ok(());
        }
        let filter =
            TaskFilter { states: NOT_OK.to_vec(), last_lines: true, ..self.filter(selected) };
        let failures = failures(self.client, selected.flow.summary.id, &filter).await?;
        if failures.is_empty() {
            return Ok(());
        }
        writeln!(out, "  not ok:").map_err(unwritten)?;
        failures.write(out, style).map_err(unwritten)
    }
}
