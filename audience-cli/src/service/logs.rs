//! `orc logs` of services: what one instance wrote, and goes on to write.
//!
//! ```text
//!           ┌── lost: player or conductor away ── pause, again from the last place ──┐
//!           ▼                                                                         │
//!  read ─→ chunks ─→ … ─→ all: exit 0                                (only with -f) ──┘
//! ```

use orchestra_client::{Backoff, Client, Exit, ServiceInstance, Unheard};
use orchestra_model::{
    names::{HostName, ServiceName},
    service::{LogChunk, LogQuery, LogRuns, LogStream, Ordinal, RunNumber},
    time::Timestamp,
    whole,
};

use crate::{
    audit::since,
    console::{Answer, Console, Screen, Streamed, narrate},
    error::Failure,
    view::service::{LogLines, LogText},
    words::number,
};

/// What is wanted of a service's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Of a service")]
pub(crate) struct Wanted {
    /// Go on with what is written, also by later runs
    #[arg(short, long)]
    follow: bool,
    /// Of this run, instead of the newest
    #[arg(long, value_name = "N", value_parser = number(1..=u64::MAX),
          conflicts_with_all = ["previous", "all"])]
    run: Option<u64>,
    /// Of the last run before the newest that wrote anything
    #[arg(long, conflicts_with_all = ["all", "follow"])]
    previous: bool,
    /// Of every run that is kept
    #[arg(long)]
    all: bool,
    /// Standard error, instead of standard output
    #[arg(long)]
    stderr: bool,
    /// What was written in so long a time, like 2h, or since a time; to the minute
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<u64>,
    /// Before each line the time from which on it was written: that of the last mark before it, mostly
    /// of the last minute
    #[arg(long)]
    timestamps: bool,
    /// Only the last lines of what there is
    #[arg(long, value_name = "LINES", value_parser = number(0..=u64::MAX))]
    tail: Option<u64>,
}

impl Wanted {
    /// Whether nothing is asked for in particular.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it is to be followed, and nothing else is asked for.
    pub(crate) fn is_followed_alone(&self) -> bool {
        *self == Self { follow: true, ..Self::default() }
    }

    fn query(&self) -> LogQuery {
        LogQuery {
            stream: if self.stderr { LogStream::Stderr } else { LogStream::Stdout },
            runs: match self.run {
                Some(run) => LogRuns::Number(RunNumber(run)),
                None if self.previous => LogRuns::Previous,
                None if self.all => LogRuns::All,
                None => LogRuns::Newest,
            },
            tail: self.tail,
            since: self.since.map(Timestamp),
            from: None,
            follow: self.follow,
        }
    }
}

/// `web/3` or `web@fe1`, if the text is about a service: flows are numbers, or `last`.
pub(crate) fn instance(text: &str) -> Option<Result<(ServiceName, ServiceInstance), Failure>> {
    Some(service(text)?.and_then(|(name, instance)| {
        match instance {
            Some(instance) => Ok((name, instance)),
            None => Err(Failure::usage(format!(
                "reading {text:?}: logs are of one instance of a service"
            ))
            .hint("NAME/3 or NAME@HOST; orc service show NAME lists them")),
        }
    }))
}

/// `web`, `web/3` or `web@fe1`, if the text is about a service.
pub(crate) fn service(
    text: &str,
) -> Option<Result<(ServiceName, Option<ServiceInstance>), Failure>> {
    let end = text.find(['/', '@', '.', ',']).unwrap_or(text.len());
    let name = &text[..end];
    if !text.starts_with(|first: char| first.is_ascii_alphabetic()) || name == "last" {
        return None;
    }
    let wrong = |what: &str| Failure::usage(format!("reading {text:?}: {what}"));
    let (name, instance) = match text.find(['/', '@']).map(|at| text.split_at(at)) {
        Some((name, rest)) => {
            let instance = match rest.strip_prefix('/') {
                Some(ordinal) => whole(ordinal).map(|n| ServiceInstance::Ordinal(Ordinal(n))),
                None => HostName::new(&rest[1..]).map(ServiceInstance::Host).ok(),
            };
            if instance.is_none() {
                let which = wrong("one instance is named by its number, or its host");
                let hint = "NAME/3 or NAME@HOST; orc service show NAME lists them";
                return Some(Err(which.hint(hint)));
            }
            (name, instance)
        }
        None => (text, None),
    };
    let name =
        ServiceName::new(name).map_err(|error| wrong("no service has that name").because(error));
    Some(name.map(|name| (name, instance)))
}

/// Tells what an instance wrote.
pub(crate) async fn tell(
    (service, instance): &(ServiceName, ServiceInstance),
    wanted: &Wanted,
    client: &mut Client,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let (query, backoff, told) = (wanted.query(), Backoff::new(), String::new());
    let times = wanted.timestamps;
    let mut reading = Reading { service, instance, query, times, client, backoff, told };
    console.stream(&mut reading).await?;
    Ok(Exit::Ok)
}

/// A log that is read, over as many connections as it takes.
struct Reading<'a> {
    service: &'a ServiceName,
    instance: &'a ServiceInstance,
    /// What is still to be told.
    query: LogQuery,
    /// Whether each line has a time before it.
    times: bool,
    client: &'a mut Client,
    backoff: Backoff,
    /// What was told last of why nothing comes.
    told: String,
}

/// Where chunks go, in one form or the other.
trait Sink {
    fn take(&mut self, chunk: &LogChunk) -> Result<(), Failure>;

    /// Returns whether the reader is gone.
    fn is_closed(&self) -> bool;
}

impl Reading<'_> {
    /// Reads to the end, if there is one.
    async fn until_end(&mut self, sink: &mut impl Sink) -> Result<(), Failure> {
        loop {
            match self.read(sink).await {
                Ok(()) => return Ok(()),
                Err(Unheard::Lost(why)) if self.query.follow => self.tell_loss(&why),
                Err(unheard) => return Err(self.with_hint(unheard.into())),
            }
            self.backoff.pause(None).await;
            if let Some(older) = self.client.reconnect(None).await? {
                narrate(older);
            }
        }
    }

    /// Reads over one connection.
    async fn read(&mut self, sink: &mut impl Sink) -> Result<(), Unheard> {
        let mut chunks = self.client.read_log(self.service, self.instance, &self.query).await?;
        while let Some(chunk) = chunks.next().await? {
            (self.backoff, self.told) = (Backoff::new(), String::new());
            sink.take(&chunk)?;
            if sink.is_closed() {
                return Ok(());
            }
            self.query.from = Some(chunk.next);
            if self.query.runs == LogRuns::Newest && self.query.follow {
                // All runs are asked for, because the newest run may be another one then, and none
                // in between is to be left out.
                self.query.runs = LogRuns::All;
            }
        }
        Ok(())
    }

    /// Tells once why nothing comes.
    fn tell_loss(&mut self, why: &Failure) {
        let line = format!("{why}; trying again");
        if line != self.told {
            narrate(&line);
            self.told = line;
        }
    }

    fn with_hint(&self, failure: Failure) -> Failure {
        match failure.exit {
            Exit::NoSuchFlow => failure.hint(format!("orc service show {}", self.service)),
            _ => failure,
        }
    }
}

impl Streamed for Reading<'_> {
    async fn text(&mut self, screen: &mut Screen) -> Result<(), Failure> {
        let mut sink = Text { screen, text: LogText::new(self.query.since, self.times) };
        self.until_end(&mut sink).await?;
        sink.text.end(sink.screen)
    }

    async fn json(&mut self, out: &mut Answer) -> Result<(), Failure> {
        // A log has no end: each line is a document of its own.
        out.write_lines();
        let mut sink = Json { out, lines: LogLines::default() };
        self.until_end(&mut sink).await?;
        sink.lines.end(sink.out)
    }
}

struct Text<'a> {
    screen: &'a mut Screen,
    text: LogText,
}

impl Sink for Text<'_> {
    fn take(&mut self, chunk: &LogChunk) -> Result<(), Failure> {
        self.text.take(chunk, self.screen)
    }

    fn is_closed(&self) -> bool {
        self.screen.out.is_closed()
    }
}

struct Json<'a> {
    out: &'a mut Answer,
    lines: LogLines,
}

impl Sink for Json<'_> {
    fn take(&mut self, chunk: &LogChunk) -> Result<(), Failure> {
        self.lines.take(chunk, self.out)
    }

    fn is_closed(&self) -> bool {
        self.out.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_told_from_flows() {
        for task in ["42.1.1@db3", "last@db1", "last/web@db1", "last", "42/web@fe3", "", "@x"] {
            assert!(instance(task).is_none(), "{task}");
        }
        let read =
            |text: &str| instance(text).unwrap().ok().map(|(name, it)| (name.to_string(), it));
        let web = |it| Some(("web".to_owned(), it));
        assert_eq!(read("web/3"), web(ServiceInstance::Ordinal(Ordinal(3))));
        assert_eq!(read("web@fe1.x"), web(ServiceInstance::Host(HostName::new("fe1.x").unwrap())));
        assert!(read("lastly/1").is_some());
        for bad in ["web", "web/", "web/x", "web@", "web/1@fe1", "web,db/1", "Web/1"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
