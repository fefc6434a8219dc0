//! `orc logs -f` of many tasks: a line at a time, with the host before it, as clush does, or
//! [gathered](super::gathered).
//!
//! ```text
//! fe1: starting
//! fe2! no such file            standard error
//! 42.1.1@fe2#1 exit 3          what did not end well, on our standard error
//! ```
//!
//! What was told is known by host, attempt and stream, so that a connection that is lost makes nothing come
//! twice: the conductor tells everything anew, and what is not new is dropped.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
};

use orchestra_client::{AttemptLog, Backoff, Client, Execution, OutputPart, Unheard};
use orchestra_model::{
    delivery::{EndSummary, Outcome, Output},
    ids::{FlowId, Reference},
    service::{LogChunk, LogStream},
};
use tokio::time::{Instant, timeout_at};

use super::gathered::Gathering;
use crate::{
    console::{Screen, narrate, unwritten},
    error::Failure,
    flow::status::chosen,
    view::{
        Page as _,
        task::{attempt, end::ReadEnd, written},
    },
};

/// Longest line that is kept until its end comes, in bytes; a longer one is told in pieces.
const LINE_BYTES: usize = 64 << 10;

/// One stream of an attempt, as far as it was told.
#[derive(Default)]
struct ToldStream {
    /// How many bytes of the stream came.
    bytes: u64,
    /// The line that has not ended.
    line: Vec<u8>,
}

/// Both streams of an attempt that has not ended.
#[derive(Default)]
struct ToldAttempt {
    stdout: ToldStream,
    stderr: ToldStream,
}

/// Many tasks that are followed.
pub(super) struct Many<'a> {
    client: &'a mut Client,
    reference: &'a Reference,
    /// A host set; empty for all.
    hosts: &'a str,
    /// What is told once a second; `None`: a line at a time.
    gathering: Option<Gathering>,
    open: BTreeMap<Execution, ToldAttempt>,
    ended: BTreeSet<Execution>,
    backoff: Backoff,
}

impl<'a> Many<'a> {
    pub(super) fn new(
        client: &'a mut Client,
        reference: &'a Reference,
        hosts: &'a str,
        gather: bool,
    ) -> Self {
        let (open, ended) = (BTreeMap::new(), BTreeSet::new());
        let gathering = gather.then(Gathering::default);
        Self { client, reference, hosts, gathering, open, ended, backoff: Backoff::new() }
    }

    /// Follows until the flow has ended, over as many connections as it takes.
    pub(super) async fn tell(&mut self, screen: &mut Screen) -> Result<(), Failure> {
        let flow = self.client.flow(self.reference.flow).await?;
        let (slot, job) = chosen(&flow, &self.reference.part)?;
        if let Some(gathering) = &mut self.gathering {
            let jobs = flow.slots.iter().flatten();
            let chosen = jobs
                .filter(|it| slot == 0 || (it.id.slot == slot && [0, it.id.job].contains(&job)));
            gathering.of_several = chosen.count() > 1;
        }
        loop {
            let told = self.tell_once((flow.summary.id, slot, job), screen).await;
            self.tell_gathered(screen)?;
            match told {
                Ok(()) => return Ok(()),
                Err(Unheard::Refused(failure)) => return Err(failure),
                Err(Unheard::Lost(why)) => narrate(format_args!("{why}; trying again")),
            }
            self.backoff.pause(None).await;
            if let Some(older) = self.client.reconnect(None).await? {
                narrate(older);
            }
        }
    }

    async fn tell_once(
        &mut self,
        (flow, slot, job): (FlowId, u16, u16),
        screen: &mut Screen,
    ) -> Result<(), Unheard> {
        let mut parts = self.client.follow_output(flow, (slot, job), self.hosts).await?;
        loop {
            let due = self.gathering.as_ref().and_then(Gathering::due);
            if due.is_some_and(|due| due <= Instant::now()) {
                self.tell_gathered(screen)?;
                continue;
            }
            let next = async {
                match due {
                    Some(due) => timeout_at(due, parts.next()).await.ok(),
                    None => Some(parts.next().await),
                }
            };
            let Some(part) = next.await else { continue };
            let Some(part) = part? else { return Ok(()) };
            self.backoff = Backoff::new();
            match part {
                OutputPart::Written { of, stream, chunk } => {
                    self.take(&of, stream, &chunk, screen)?;
                }
                OutputPart::Ended(log) => self.end(&log, screen)?,
            }
            if screen.out.is_closed() {
                return Ok(());
            }
        }
    }

    fn tell_gathered(&mut self, screen: &mut Screen) -> Result<(), Failure> {
        match &mut self.gathering {
            Some(gathering) => gathering.tell(&mut screen.out),
            None => Ok(()),
        }
    }

    /// Takes some bytes of a stream, and tells the lines that are whole.
    fn take(
        &mut self,
        of: &Execution,
        stream: LogStream,
        chunk: &LogChunk,
        screen: &mut Screen,
    ) -> Result<(), Failure> {
        if self.ended.contains(of) {
            return Ok(());
        }
        let told = self.open.entry(of.clone()).or_default();
        let told = match stream {
            LogStream::Stdout => &mut told.stdout,
            LogStream::Stderr => &mut told.stderr,
        };
        let gathering = &mut self.gathering;
        told.take(chunk, |line| tell_line(gathering, screen, of, stream, line))?;
        screen.out.finish()
    }

    /// Tells what is left of an attempt that has ended, and how, where that was not well.
    fn end(&mut self, log: &AttemptLog, screen: &mut Screen) -> Result<(), Failure> {
        let of = Execution { job: log.job, host: log.host.clone(), attempt: log.attempt };
        if !self.ended.insert(of.clone()) {
            return Ok(());
        }
        let told = self.open.remove(&of).unwrap_or_default();
        let ReadEnd { summary, whole } = ReadEnd::from(&log.end);
        let (stdout, stderr) = match &whole {
            Ok(end) => (told.stdout.rest(&end.stdout), told.stderr.rest(&end.stderr)),
            Err(why) => (told.stdout.line, written::unreadable(why)),
        };
        for (stream, text) in [(LogStream::Stdout, stdout), (LogStream::Stderr, stderr)] {
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                tell_line(&mut self.gathering, screen, &of, stream, line)?;
            }
        }
        screen.out.finish()?;
        match &mut self.gathering {
            _ if is_well(&summary) => {}
            Some(gathering) => gathering.end(of, &summary),
            None => screen.narrate(attempt::heading(log, &summary)),
        }
        Ok(())
    }
}

fn is_well(end: &Result<EndSummary, String>) -> bool {
    matches!(end, Ok(EndSummary { outcome: Outcome::Exited(0), .. }))
}

impl ToldStream {
    /// Takes what is new of a chunk, and has each whole line told.
    fn take(
        &mut self,
        chunk: &LogChunk,
        mut tell: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let begin = chunk.next.offset.saturating_sub(chunk.bytes.len() as u64);
        let known = usize::try_from(self.bytes.saturating_sub(begin)).unwrap_or(usize::MAX);
        let new = chunk.bytes.get(known..).unwrap_or_default();
        if chunk.gap && !new.is_empty() {
            if !self.line.is_empty() {
                self.line.push(b'\n');
                tell(&std::mem::take(&mut self.line))?;
            }
            tell(b"[... some of it is missing here ...]\n")?;
        }
        self.bytes = self.bytes.max(chunk.next.offset);
        for piece in new.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.line.len() >= LINE_BYTES {
                tell(&std::mem::take(&mut self.line))?;
            }
        }
        Ok(())
    }

    /// Returns what was not told yet of the stream of an attempt that has ended.
    fn rest(self, output: &Output) -> Vec<u8> {
        let mut rest = self.line;
        rest.extend(written::text_from(output, self.bytes));
        rest
    }
}

/// Has a line of a host gathered, or writes it: `fe1: text`, of standard error `fe1! text`.
fn tell_line(
    gathering: &mut Option<Gathering>,
    screen: &mut Screen,
    of: &Execution,
    stream: LogStream,
    line: &[u8],
) -> Result<(), Failure> {
    let out = &mut screen.out;
    if let Some(gathering) = gathering {
        return gathering.take(of, stream, line, out);
    }
    let mark = if stream == LogStream::Stdout { ':' } else { '!' };
    write!(out, "{}{mark} ", screen.style.host(&of.host)).map_err(unwritten)?;
    out.foreign(line).map_err(unwritten)?;
    if !line.ends_with(b"\n") {
        writeln!(out).map_err(unwritten)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use orchestra_model::service::{LogPlace, Placement, RunNumber};

    use super::*;

    fn chunk(text: &str, end: u64, gap: bool) -> LogChunk {
        LogChunk {
            run: RunNumber(1),
            placement: Placement::default(),
            at: None,
            bytes: text.into(),
            gap,
            next: LogPlace { file: 1, offset: end },
        }
    }

    #[test]
    fn lines_are_told_whole_and_once() {
        let mut told = ToldStream::default();
        let mut lines = Vec::new();
        // The second and the last come again, after a connection was lost.
        for chunk in [
            chunk("one\ntw", 6, false),
            chunk("one\ntw", 6, false),
            chunk("one\ntwo\nth", 10, false),
            chunk("ree\n", 30, true),
            chunk("ree\n", 30, true),
        ] {
            let tell = |line: &[u8]| {
                lines.push(String::from_utf8(line.to_vec()).unwrap());
                Ok(())
            };
            told.take(&chunk, tell).unwrap();
        }
        let missing = "[... some of it is missing here ...]\n";
        assert_eq!(lines, ["one\n", "two\n", "th\n", missing, "ree\n"]);
    }

    #[test]
    fn the_end_tells_what_is_left() {
        let output = |head: &str, tail: &str, bytes, truncated| Output {
            head: head.into(),
            tail: tail.into(),
            bytes,
            truncated,
        };
        let rest = |bytes, line: &str, output: &Output| {
            let told = ToldStream { bytes, line: line.into() };
            String::from_utf8(told.rest(output)).unwrap()
        };
        let short = output("one\ntwo\n", "", 8, false);
        assert_eq!(rest(0, "", &short), "one\ntwo\n");
        assert_eq!(rest(6, "tw", &short), "two\n");
        assert_eq!(rest(8, "", &short), "");
        let long = output("one\n", "nine\nten\n", 40, true);
        assert_eq!(rest(0, "", &long), "one\n[… 27 bytes left out …]\nnine\nten\n");
        assert_eq!(rest(4, "", &long), "[… 27 bytes left out …]\nnine\nten\n");
        assert_eq!(rest(20, "", &long), "[… 11 bytes left out …]\nnine\nten\n");
        assert_eq!(rest(36, "", &long), "ten\n");
    }
}
