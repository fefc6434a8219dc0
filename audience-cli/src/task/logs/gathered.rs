//! `orc logs -fb`: what many tasks wrote since it was told last, by identical text, as `clush -b` does.
//!
//! ```text
//! ---------------
//! fe[1-3] (3)
//! ---------------
//! starting
//! ---------------
//! fe4 (1): exit 3
//! ---------------
//! starting
//! ! no such file               standard error
//! ```
//!
//! A second begins with the first line that is not told yet, so that hosts that say the same at about the same
//! time say it together, however long nobody said anything before.

use std::{collections::BTreeMap, time::Duration};

use orchestra_client::Execution;
use orchestra_model::{delivery::EndSummary, service::LogStream};
use tokio::time::Instant;

use crate::{
    console::{Answer, unwritten},
    error::Failure,
    view::task::{
        attempt,
        written::{Alike, Gathered, MARK},
    },
};

/// How long a line waits for others like it.
const SECOND: Duration = Duration::from_secs(1);
/// Bytes that wait at most: where more was written, it is told before the second is over.
const WAITING: usize = 16 << 20;

/// What waits to be told.
#[derive(Default)]
pub(super) struct Gathering {
    /// Whether what is followed is of several jobs, so that blocks name theirs.
    pub(super) of_several: bool,
    said: BTreeMap<Execution, Alike>,
    bytes: usize,
    /// When it is told; `None` if there is nothing.
    due: Option<Instant>,
}

impl Gathering {
    /// Returns when something is to be told.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes a line, with or without its end.
    pub(super) fn take(
        &mut self,
        of: &Execution,
        stream: LogStream,
        line: &[u8],
        out: &mut Answer,
    ) -> Result<(), Failure> {
        if self.bytes + line.len() > WAITING {
            self.tell(out)?;
        }
        let text = &mut self.of(of.clone()).text;
        let before = text.len();
        if stream == LogStream::Stderr {
            text.extend_from_slice(MARK);
        }
        text.extend_from_slice(line);
        if !line.ends_with(b"\n") {
            text.push(b'\n');
        }
        self.bytes += text.len() - before;
        Ok(())
    }

    /// Notes how an attempt ended that did not end well.
    pub(super) fn end(&mut self, of: Execution, end: &Result<EndSummary, String>) {
        let ending = match end {
            Ok(end) => attempt::outcome(&end.outcome),
            Err(_) => "ended, nobody can read how".to_owned(),
        };
        self.of(of).ending = ending;
    }

    /// Writes what waits, and forgets it.
    pub(super) fn tell(&mut self, out: &mut Answer) -> Result<(), Failure> {
        let mut gathered = Gathered::default();
        gathered.names_jobs = self.of_several;
        (self.bytes, self.due) = (0, None);
        for (of, alike) in std::mem::take(&mut self.said) {
            gathered.say(of.host, alike)?;
        }
        gathered.write(out).map_err(unwritten)?;
        out.finish()
    }

    fn of(&mut self, of: Execution) -> &mut Alike {
        self.due.get_or_insert_with(|| Instant::now() + SECOND);
        let job = of.job;
        let nothing = || Alike { job, ending: String::new(), text: Vec::new() };
        self.said.entry(of).or_insert_with(nothing)
    }
}
