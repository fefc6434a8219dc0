//! Follows what the attempts of a flow write: of many tasks at once, over one answer.
//!
//! ```text
//!  watch ── tasks ──▶ begin ──▶ a reading of each stream ──▶ parts ──▶ reader
//!    │                              (lines/readings.rs)                  ▲
//!    └────────────── ends, from the store, once their readings are over ─┘
//! ```
//!
//! Everything waits for the reader: a part that it has not taken gives its player no credit, and a watch
//! that is behind is caught up from the store. So memory has a bound, however much is written, and nobody
//! else waits. Attempts beyond [`ATTEMPTS`] are told at their end, and so are those of players that are not
//! attached, or are of a release that does not tell.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_model::{
    AudienceName, FlowId, HostName, HostSet, JobId, TaskState,
    delivery::AttemptKey,
    record::EndRecord,
    service::{LogChunk, LogPart, LogQuery, LogRuns, LogSource, LogStream},
    status::Event,
};
use tokio::{sync::mpsc, task::JoinSet};

use super::{Desk, News, Notice, Recipient, Since, Stopped, WatchFilter};
use crate::{
    declined::Declined,
    driver::{Carries, Request},
    lines::LogReading,
};

/// Most attempts that are read at once for one reader.
const ATTEMPTS: usize = 512;
/// How many bytes of each of their streams may be on the way: 16 MiB of all together.
const CREDIT: usize = 16 << 10;
/// Most parts and notices that wait until the reader takes one.
const WAITING: usize = 16;

/// Every change of every task, from the flow's beginning on.
const ALL: WatchFilter =
    WatchFilter { since: Since::Nothing, every_end: false, snapshots: true, quiet: false };

/// Whose output is wanted.
#[derive(Clone, Debug)]
pub(crate) struct WantedOutput {
    pub(crate) flow: FlowId,
    pub(crate) jobs: BTreeSet<JobId>,
    /// `None` for all hosts.
    pub(crate) hosts: Option<HostSet>,
}

/// One execution of a task, with its host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Execution {
    pub(crate) job: JobId,
    pub(crate) host: HostName,
    pub(crate) attempt: u32,
}

/// What a follower is told.
#[derive(Clone, Debug)]
pub(crate) enum OutputPart {
    Written { of: Execution, stream: LogStream, chunk: LogChunk },
    Ended(EndRecord),
}

/// What comes of one reading; no chunk: it is over.
struct Carried {
    of: Execution,
    stream: LogStream,
    chunk: Option<LogChunk>,
}

/// The end of the watch at which it is heard.
struct Ear(mpsc::Sender<Notice>);

impl Recipient<Notice> for Ear {
    async fn give(&self, notice: Notice) -> Result<(), Stopped> {
        self.0.send(notice).await.map_err(|_| Stopped::Gone)
    }

    fn is_gone(&self) -> bool {
        self.0.is_closed()
    }

    async fn gone(&self) {
        self.0.closed().await;
    }
}

impl Desk {
    /// Tells what attempts of a flow write and how they end, until the flow has ended.
    pub(crate) async fn follow_output(
        &self,
        wanted: WantedOutput,
        by: AudienceName,
        to: &impl Recipient<OutputPart>,
    ) -> Result<(), Stopped> {
        let _place = self.readings.follow(&by)?;
        let (ear, notices) = mpsc::channel(WAITING);
        let flow = wanted.flow;
        let hearing = async move {
            let ear = Ear(ear);
            self.watch(flow, ALL, &ear).await
        };
        let (sender, parts) = mpsc::channel(WAITING);
        let follower = Follower {
            desk: self,
            wanted,
            to,
            sender,
            open: BTreeMap::new(),
            ends: BTreeMap::new(),
            carriers: JoinSet::new(),
        };
        // If the follower stops, the ear is deaf, and the watch stops too.
        let (heard, told) = tokio::join!(hearing, follower.until_end(notices, parts));
        told?;
        heard
    }
}

/// Somebody who follows, and what is read for them.
struct Follower<'a, R> {
    desk: &'a Desk,
    wanted: WantedOutput,
    to: &'a R,
    sender: mpsc::Sender<Carried>,
    /// How many streams of each attempt are read.
    open: BTreeMap<Execution, u8>,
    /// Ends of attempts of which something is still read.
    ends: BTreeMap<Execution, EndRecord>,
    /// They end with the follower.
    carriers: JoinSet<()>,
}

impl<R: Recipient<OutputPart>> Follower<'_, R> {
    async fn until_end(
        mut self,
        mut notices: mpsc::Receiver<Notice>,
        mut parts: mpsc::Receiver<Carried>,
    ) -> Result<(), Stopped> {
        let mut is_alive = true;
        while is_alive || !self.open.is_empty() {
            tokio::select! {
                notice = notices.recv(), if is_alive => match notice {
                    Some(notice) => self.hear(notice).await?,
                    None => is_alive = false,
                },
                // The follower has a sender itself, so there is always one.
                Some(carried) = parts.recv() => self.tell(carried).await?,
                () = self.to.gone() => return Err(Stopped::Gone),
            }
        }
        Ok(())
    }

    async fn hear(&mut self, notice: Notice) -> Result<(), Stopped> {
        let News::Change(Event::Task { job, host: Some(host), state, attempt, before, .. }) =
            notice.news
        else {
            return Ok(());
        };
        let is_wanted = self.wanted.jobs.contains(&job)
            && self.wanted.hosts.as_ref().is_none_or(|hosts| hosts.contains(&host));
        if !is_wanted || attempt == 0 {
            return Ok(());
        }
        let of = Execution { job, host, attempt };
        if state.is_final() || before.is_some() {
            return self.end(of).await;
        }
        // That an attempt runs is on no record: it was sent, as far as the store knows.
        if matches!(state, TaskState::Sent | TaskState::Running) {
            self.begin(of).await;
        }
        Ok(())
    }

    /// Begins to read an attempt, unless that is not possible now: then its end tells everything.
    async fn begin(&mut self, of: Execution) {
        if self.open.contains_key(&of) || self.open.len() >= ATTEMPTS {
            return;
        }
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            let Ok(reading) = self.read(&of, stream).await else { continue };
            *self.open.entry(of.clone()).or_default() += 1;
            self.carriers.spawn(carry(reading, of.clone(), stream, self.sender.clone()));
        }
        // Those that are over are many in a long flow.
        while self.carriers.try_join_next().is_some() {}
    }

    async fn read(&self, of: &Execution, stream: LogStream) -> Result<LogReading, Declined> {
        let (host, carries) = (of.host.clone(), Carries::AttemptLogs);
        let line = self.desk.ask(|reply| Request::Line(host, carries, reply)).await?;
        let (store, job, attempt) = (line.header.store, of.job, of.attempt);
        let log = LogSource::Attempt(AttemptKey { store, job, attempt });
        let query = LogQuery {
            stream,
            runs: LogRuns::Newest,
            tail: None,
            since: None,
            from: None,
            follow: true,
        };
        self.desk.readings.begin_of_many(line, (log, query), CREDIT)
    }

    async fn tell(&mut self, carried: Carried) -> Result<(), Stopped> {
        let Carried { of, stream, chunk } = carried;
        if let Some(chunk) = chunk {
            return self.to.give(OutputPart::Written { of, stream, chunk }).await;
        }
        let Some(left) = self.open.get_mut(&of) else { return Ok(()) };
        *left -= 1;
        if *left > 0 {
            return Ok(());
        }
        self.open.remove(&of);
        match self.ends.remove(&of) {
            Some(end) => self.to.give(OutputPart::Ended(end)).await,
            None => Ok(()),
        }
    }

    /// Tells how an attempt ended, after what is still read of it.
    async fn end(&mut self, of: Execution) -> Result<(), Stopped> {
        let Execution { job, host, attempt } = of.clone();
        let end = self.desk.read(move |reader| Ok(reader.end(job, &host, attempt)?)).await?;
        match end {
            Some(end) if self.open.contains_key(&of) => drop(self.ends.insert(of, end)),
            Some(end) => self.to.give(OutputPart::Ended(end)).await?,
            // It was given up without a word of its player.
            None => {}
        }
        Ok(())
    }
}

/// Carries what comes of a reading, as fast as it is taken.
async fn carry(
    mut reading: LogReading,
    of: Execution,
    stream: LogStream,
    to: mpsc::Sender<Carried>,
) {
    loop {
        let chunk = match reading.next().await {
            Ok(LogPart::Chunk(chunk)) => Some(chunk),
            Ok(LogPart::End(_)) | Err(_) => None,
        };
        let cost = chunk.as_ref().map(LogChunk::cost);
        if to.send(Carried { of: of.clone(), stream, chunk }).await.is_err() {
            return;
        }
        match cost {
            Some(cost) => reading.give_back(cost),
            None => return,
        }
    }
}
