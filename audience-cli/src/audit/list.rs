//! `orc audit` without a verb: its lines, newest first.

use std::time::{SystemTime, UNIX_EPOCH};

use orchestra_client::{AuditQuery, Exit};
use orchestra_model::{audit::Deed, names::HostName, time::Millis};

use crate::{error::Failure, program::Program, verb::Verb, view, words::number};

/// Which lines are wanted.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// What this audience did; orchestra:local for signals and flags on the conductor's host
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// What was asked for, or happened: submit, drain, flow-ended, certificate-refused and so on
    #[arg(long, value_name = "VERB", value_parser = verb)]
    verb: Option<String>,
    /// What came of it: done, denied by the policy, failed; or happened, without being asked for
    #[arg(long, value_name = "OUTCOME", value_parser = Deed::OUTCOMES)]
    outcome: Option<String>,
    /// What was done in so long a time, like 2h; or since a time, like 2026-11-21T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<u64>,
    /// What was done to this host, or by flows that name it
    #[arg(long, value_name = "HOST")]
    host: Option<HostName>,
    /// Most lines
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100,
          value_parser = number(1..=u32::MAX))]
    limit: u32,
}

impl Verb for List {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let List { by, verb, outcome, since, host, limit } = self;
        let since_ms = since.unwrap_or_default();
        let query = AuditQuery { by, verb, outcome, since_ms, host, limit, after: None };
        program.ask(async |client, console| {
            console.list(view::audit::Lines, client.audit(query).await?).await?;
            Ok(Exit::Ok)
        })
    }
}

fn verb(word: &str) -> Result<String, String> {
    let words: Vec<&str> = Deed::words().collect();
    match words.contains(&word) {
        true => Ok(word.to_owned()),
        false => Err(format!("there are {}", words.join(", "))),
    }
}

/// Milliseconds since the epoch.
pub(crate) fn since(text: &str) -> Result<u64, String> {
    if let Ok(ago) = text.parse::<Millis>() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        return Ok(now.saturating_sub(ago.0));
    }
    view::read_moment(text).map_err(|error| format!("{error}, or a duration like 2h"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_duration_ago_or_a_moment() {
        assert_eq!(since("1970-01-01T00:00:01Z"), Ok(1_000));
        assert_eq!(since("1970-01-01T02:00:01.5+02:00"), Ok(1_500));
        let now = since("0s").unwrap();
        let hour_ago = since("1h").unwrap();
        assert!((3_599_000..3_660_000).contains(&(now - hour_ago)), "{hour_ago} {now}");
        for bad in ["yesterday", "", "1969-12-31T00:00:00Z", "5"] {
            assert!(since(bad).is_err(), "{bad}");
        }
    }
}
