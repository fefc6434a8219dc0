//! What the attempts of a task on one host write while they run, and what became of each.
//!
//! ```text
//!      ┌──────────── something happened to a task on the host ───────────┐
//!      ▼                                                                 │
//!  tasks ─→ attempts that ended, whole or what is left of them ─→ those that run ─→ wait
//!                                  └─→ all are final: over
//! ```
//!
//! An attempt that runs is read where it writes. What of it was not told by its end is told from the end,
//! which has the first and the last of it: so nothing is told twice, however short the attempt was and
//! however often a connection was lost.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_client::{
    AttemptLog, Backoff, Client, Exit, Hears, TaskFilter, Unheard, WatchStream,
};
use orchestra_model::{
    delivery::Output,
    ids::{FlowId, JobId, Reference},
    names::HostName,
    service::{LogChunk, LogPlace, LogQuery, LogRuns, LogStream},
    state::TaskState,
    status::{Event, TaskStatus},
};
use orchestra_proto::Watched;

use crate::{
    console::{Screen, narrate, unwritten},
    error::Failure,
    flow::status::chosen,
    view::{
        Page as _,
        service::whole_characters,
        task::{attempt, end::ReadEnd, written},
    },
};

/// An attempt, on the host that is looked at.
type Attempt = (JobId, u32);

/// How much of a stream was told.
#[derive(Default)]
pub(super) struct ToldStream {
    pub(super) bytes: u64,
    /// The beginning of a character whose rest is still to come.
    rest: Vec<u8>,
    /// Whether the line that was told last has not ended.
    is_mid_line: bool,
}

/// How much of an attempt was told while it ran.
#[derive(Default)]
pub(super) struct ToldAttempt {
    pub(super) stdout: ToldStream,
    pub(super) stderr: ToldStream,
}

/// How a reading went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Went {
    /// Nothing more comes: the attempt has ended, or there is no more so far.
    Over,
    /// The connection was lost, and was made again.
    Lost,
}

/// The task whose attempts are told.
pub(super) struct Following<'a> {
    pub(super) client: &'a mut Client,
    reference: &'a Reference,
    follow: bool,
    /// Whether all of an output is wanted that its host keeps.
    whole: bool,
    /// Whether some of an output that was wanted is missing.
    pub(super) is_missing: bool,
    running: BTreeMap<Attempt, ToldAttempt>,
    ended: BTreeSet<Attempt>,
    backoff: Backoff,
    /// What was told last of why nothing comes.
    told: String,
}

impl<'a> Following<'a> {
    pub(super) fn new(
        client: &'a mut Client,
        reference: &'a Reference,
        follow: bool,
        whole: bool,
    ) -> Self {
        Self {
            client,
            reference,
            follow,
            whole,
            is_missing: false,
            running: BTreeMap::new(),
            ended: BTreeSet::new(),
            backoff: Backoff::new(),
            told: String::new(),
        }
    }

    /// Tells all there is, and with `follow` what comes until the task has ended. Returns what the program
    /// ends with.
    pub(super) async fn tell(&mut self, screen: &mut Screen) -> Result<Exit, Failure> {
        let (flow, filter) = self.choose().await?;
        let mut events = None;
        loop {
            if self.follow && events.is_none() {
                // Before the tasks are looked at, so that nothing goes by in between.
                events = self.watch(flow).await?;
            }
            let tasks = self.tasks(flow, &filter).await?;
            self.tell_ended(screen).await?;
            let mut went = Went::Over;
            for task in tasks.iter().filter(|task| task.state == TaskState::Running) {
                if self.read(task, screen).await? == Went::Lost {
                    (went, events) = (Went::Lost, None);
                }
            }
            if !self.follow || tasks.iter().all(|task| task.state.is_final()) {
                break;
            }
            if screen.out.is_closed() {
                break;
            }
            if went == Went::Over && !self.wait(&mut events).await? {
                events = None;
            }
        }
        if self.ended.is_empty() && self.running.is_empty() {
            screen.narrate("no attempt has ended yet");
        }
        Ok(if self.is_missing { Exit::Broken } else { Exit::Ok })
    }

    /// Returns the flow's number, and by what its tasks are listed.
    async fn choose(&mut self) -> Result<(FlowId, TaskFilter), Failure> {
        let flow = self.client.flow(self.reference.flow).await?;
        let (slot, job) = chosen(&flow, &self.reference.part)?;
        let host = self.reference.host.clone();
        Ok((flow.summary.id, TaskFilter { slot, job, host, ..TaskFilter::default() }))
    }

    async fn tasks(
        &mut self,
        flow: FlowId,
        filter: &TaskFilter,
    ) -> Result<Vec<TaskStatus>, Failure> {
        let mut pages = self.client.tasks(flow, filter).await?;
        let mut tasks = Vec::new();
        while let Some(page) = pages.next().await? {
            tasks.extend(page);
        }
        Ok(tasks)
    }

    /// Tells how attempts ended, and what they wrote as far as that was not told while they ran.
    async fn tell_ended(&mut self, screen: &mut Screen) -> Result<(), Failure> {
        let mut logs = self.client.logs(self.reference).await?;
        while let Some(log) = logs.next_item().await? {
            let attempt = (log.job, log.attempt);
            if self.ended.insert(attempt) {
                let told = self.running.remove(&attempt).unwrap_or_default();
                self.show(&log, told, screen).await?;
            }
        }
        Ok(())
    }

    /// Reads an attempt that runs.
    async fn read(&mut self, task: &TaskStatus, screen: &mut Screen) -> Result<Went, Failure> {
        let (Some(host), attempt) = (&task.host, (task.job, task.attempt)) else {
            return Ok(Went::Over);
        };
        if self.ended.contains(&attempt) {
            return Ok(Went::Over);
        }
        if !self.running.contains_key(&attempt) {
            screen.narrate(format_args!("{}@{host}#{} runs", task.job, task.attempt));
        }
        let why = match self.read_once(host, attempt, screen).await {
            Ok(()) => return Ok(Went::Over),
            // It has just ended, or has not begun.
            Err(Unheard::Refused(failure)) if failure.exit == Exit::NoSuchFlow => {
                return Ok(Went::Over);
            }
            Err(Unheard::Refused(failure)) => {
                self.tell_once(failure.to_string());
                return Ok(Went::Over);
            }
            Err(Unheard::Lost(failure)) if !self.follow => {
                self.tell_once(failure.to_string());
                return Ok(Went::Over);
            }
            Err(Unheard::Lost(failure)) => failure,
        };
        self.tell_once(format!("{why}; trying again"));
        self.reconnect().await?;
        Ok(Went::Lost)
    }

    /// Reads both streams of an attempt over one connection.
    async fn read_once(
        &mut self,
        host: &HostName,
        (job, attempt): Attempt,
        screen: &mut Screen,
    ) -> Result<(), Unheard> {
        let told = self.running.entry((job, attempt)).or_default();
        let follow = self.follow;
        let query = |stream, told: &ToldStream| LogQuery {
            stream,
            runs: LogRuns::Newest,
            tail: None,
            since: None,
            from: Some(LogPlace { file: 1, offset: told.bytes }).filter(|from| from.offset > 0),
            follow,
        };
        let mut other = self.client.clone();
        let asked = query(LogStream::Stdout, &told.stdout);
        let mut stdout = self.client.read_attempt(job, host, attempt, &asked).await?;
        let asked = query(LogStream::Stderr, &told.stderr);
        let mut stderr = other.read_attempt(job, host, attempt, &asked).await?;
        let (mut out_is_open, mut err_is_open) = (true, true);
        while out_is_open || err_is_open {
            tokio::select! {
                chunk = stdout.next(), if out_is_open => match chunk? {
                    Some(chunk) => {
                        let text = told.stdout.take(&chunk, screen);
                        screen.out.foreign(&text).map_err(unwritten)?;
                        screen.out.finish()?;
                    }
                    None => out_is_open = false,
                },
                chunk = stderr.next(), if err_is_open => match chunk? {
                    Some(chunk) => {
                        let text = told.stderr.take(&chunk, screen);
                        screen.narrate_foreign(&text);
                    }
                    None => err_is_open = false,
                },
            }
            (self.backoff, self.told) = (Backoff::new(), String::new());
            if screen.out.is_closed() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Begins to hear of the flow. `None` if the connection is lost: it was made again.
    async fn watch(&mut self, flow: FlowId) -> Result<Option<WatchStream>, Failure> {
        match self.client.watch(Some(flow), None, Hears::EveryTask).await {
            Ok(events) => Ok(Some(events)),
            Err(Unheard::Refused(failure)) => Err(failure),
            Err(Unheard::Lost(why)) => {
                self.tell_once(format!("{why}; trying again"));
                self.reconnect().await?;
                Ok(None)
            }
        }
    }

    /// Waits until something happened to a task on the host. Returns `false` if nothing is heard of the
    /// flow any more.
    async fn wait(&mut self, events: &mut Option<WatchStream>) -> Result<bool, Failure> {
        let Some(events) = events else { return Ok(false) };
        loop {
            match events.next().await {
                Ok(heard) => match heard.event {
                    Watched::Event(Event::Task { host, .. }) if host != self.reference.host => {}
                    _ => return Ok(true),
                },
                Err(Unheard::Refused(failure)) => return Err(failure),
                Err(Unheard::Lost(why)) => {
                    self.tell_once(format!("{why}; trying again"));
                    self.reconnect().await?;
                    return Ok(false);
                }
            }
        }
    }

    /// Tells how an attempt ended, and what it wrote as far as that was not told.
    async fn show(
        &mut self,
        log: &AttemptLog,
        mut told: ToldAttempt,
        screen: &mut Screen,
    ) -> Result<(), Failure> {
        let ReadEnd { summary, whole } = ReadEnd::from(&log.end);
        screen.narrate(attempt::heading(log, &summary));
        let end = match whole {
            Ok(end) => end,
            Err(why) => {
                screen.narrate_foreign(&written::unreadable(&why));
                return Ok(());
            }
        };
        if self.whole {
            self.read_whole(log, &end, &mut told, screen).await?;
        }
        screen.out.foreign(&told.stdout.rest(&end.stdout)).map_err(unwritten)?;
        screen.out.finish()?;
        screen.narrate_foreign(&told.stderr.rest(&end.stderr));
        let lacks = |output: &Output, told: &ToldStream| told.lacks_something_of(output);
        if !self.whole && (lacks(&end.stdout, &told.stdout) || lacks(&end.stderr, &told.stderr)) {
            let of = format_args!("{}@{}", log.job, log.host);
            screen.narrate(format_args!(
                "hint: what was left out its host may still have: orc logs {of} --whole"
            ));
        }
        Ok(())
    }

    pub(super) async fn reconnect(&mut self) -> Result<(), Failure> {
        self.backoff.pause(None).await;
        if let Some(older) = self.client.reconnect(None).await? {
            narrate(older);
        }
        Ok(())
    }

    fn tell_once(&mut self, line: String) {
        if line != self.told {
            narrate(&line);
            self.told = line;
        }
    }
}

impl ToldStream {
    /// Notes a chunk. Returns what may be written of it: whole characters.
    pub(super) fn take(&mut self, chunk: &LogChunk, screen: &Screen) -> Vec<u8> {
        if chunk.gap {
            screen.narrate("[some of it is missing here]");
        }
        if let Some(last) = chunk.bytes.last() {
            self.is_mid_line = *last != b'\n';
        }
        self.bytes = chunk.next.offset;
        self.rest.extend_from_slice(&chunk.bytes);
        let rest = self.rest.split_off(whole_characters(&self.rest));
        std::mem::replace(&mut self.rest, rest)
    }

    /// Returns what is still to be written of the stream of an attempt that has ended.
    fn rest(&self, output: &Output) -> Vec<u8> {
        let mut text = self.rest.clone();
        if self.is_mid_line
            && self.bytes >= output.head.len() as u64
            && self.lacks_something_of(output)
        {
            // What follows says that something is left out, on a line of its own.
            text.push(b'\n');
        }
        text.extend(written::text_from(output, self.bytes));
        text
    }

    /// Returns whether something is left out between what was told of a stream and the last of it.
    pub(super) fn lacks_something_of(&self, output: &Output) -> bool {
        let last = output.bytes.saturating_sub(output.tail.len() as u64);
        output.truncated && self.bytes < last.max(output.head.len() as u64)
    }
}
