//! `orc help`: what is not of one verb, and the help of verbs.

use clap::{Args as _, Command, CommandFactory as _};

use super::{short::named, wrapped};
use crate::{console::print, error::Failure, flow::limits::JobLimits, orc::OrcArgs};

/// The manual's page that has the table of exit codes, for people who read it there.
const OPERATING: &str = include_str!("../../../docs/operating.md");

const TOPICS: &str = "\
Topics, by orc help TOPIC:
  exit-codes   what the number says that a program ends with
  host-sets    how hosts are named: fe[1-6],@web!fe3
  json         what programs read: --json, --jsonl
  limits       how many at once, how many must succeed, when to give up
";

const HOST_SETS: &str = "\
A host set says which hosts. Quote it, for the shell knows most of these characters:

  fe7                     one host
  fe[1-6] fe[01-10/2]     ranges, with leading zeros kept, and with a step
  r[1-2]n[1-4].example    several ranges
  @web                    a group of groups.toml, or an app of a deployment
  @rack=r7                hosts with this label in the players file
  @chassis[3-4]           several of them: @chassis3,@chassis4
  @all                    every host
  @file:PATH  -           a list from a file, or from standard input

Operators are read from left to right, none before another:

  a,b   both (a space is the same)        a&b   those in both
  a!b   a without b                       a^b   those in one, not in both

  submitjob hello -w '@web!fe[1-3]'       -x takes away as well
  orc hostset 'fe[1-6]!fe3'               shows what it is: expanded, folded, counted
  orc groups                              lists what may stand after an @

A name that nobody knows is an error wherever it stands: a misspelt exclusion would
exclude nobody. submitjob --allow-unknown leaves such names out, and tells which.
";

const JSON: &str = "\
--json answers with one document on standard output, whole or not at all:

  {\"schema\":1,\"flow\":{\"id\":42,\"state\":\"ok\",\"verdict\":\"ok\",...}}
  {\"schema\":1,\"error\":{\"kind\":\"unknown\",\"exit\":8,\"message\":\"...\",\"hint\":\"...\"}}

An error has the kind and the exit code of orc help exit-codes. Standard error has the
same in words for people, and never an answer.

--jsonl, with --wait and orc wait, writes a line for each change of a flow: status, flow,
job and task. Every end of a task is told once, whatever happens to the connection.

Times are RFC 3339 in UTC, durations whole milliseconds named ..._ms, and what is not
known is null. Fields are added over time; what is there keeps its meaning while schema
is 1. docs/schema.json is the JSON Schema of all of it.

  getstatus last --json | jq -r .flows[0].verdict
  submitjob hello -w @all --wait --jsonl | jq -c 'select(.event == \"task\")'
";

/// `orc help`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc help exit-codes\n  orc help service apply")]
pub(crate) struct Help {
    /// exit-codes, host-sets, json or limits; or a verb: cancel, service apply
    #[arg(value_name = "TOPIC")]
    topic: Vec<String>,
}

impl Help {
    pub(super) fn run(self) -> Result<u8, Failure> {
        print(&about(&self.topic)?)?;
        Ok(0)
    }
}

/// Returns the text on a topic, or the help of a verb.
fn about(topic: &[String]) -> Result<String, Failure> {
    let words: Vec<&str> = topic.iter().map(String::as_str).collect();
    let orc = OrcArgs::command();
    Ok(match words[..] {
        [] => format!("{}\n{TOPICS}", whole(named(&orc, std::iter::empty()))),
        ["exit-codes"] => exit_codes(),
        ["host-sets"] => HOST_SETS.to_owned(),
        ["json"] => JSON.to_owned(),
        ["limits"] => limits(),
        _ => {
            let verb = named(&orc, topic.iter().cloned());
            let named = ["orc"].into_iter().chain(words).collect::<Vec<_>>().join(" ");
            if verb.get_bin_name() != Some(named.as_str()) {
                let what = format!("{:?} is no topic and no verb of orc", topic.join(" "));
                return Err(Failure::usage(what).hint("orc help lists both"));
            }
            whole(verb)
        }
    })
}

fn whole(mut command: Command) -> String {
    command.render_help().to_string()
}

/// Columns for a flag with its value, and for what it says.
const FLAG: usize = 28;
const SAYS: usize = 50;

/// Returns what each limit of a job says: the flags of `submitjob`, which are fields of flow files as
/// well.
fn limits() -> String {
    let mut text = "\
Limits of a job: flags of submitjob and orc plan and, with _ for -, fields of a job in a
flow file. N% is of its hosts; what must succeed is rounded up, what may fail down.

"
    .to_owned();
    let command = JobLimits::augment_args(Command::new("limits"));
    for flag in command.get_arguments() {
        let names = flag.get_value_names().into_iter().flatten();
        let value: Vec<&str> = names.map(clap::builder::Str::as_str).collect();
        let is_switch = !flag.get_action().takes_values();
        let value = if is_switch { String::new() } else { format!(" {}", value.join(" ")) };
        let flag_and_value = format!("--{}{value}", flag.get_long().unwrap_or_default());
        let says = flag.get_help().map(ToString::to_string).unwrap_or_default();
        let mut lines = wrapped(&says, 0, SAYS).into_iter();
        let first = lines.next().unwrap_or_default();
        text.push_str(&format!("  {flag_and_value:<FLAG$} {first}\n"));
        lines.for_each(|line| text.push_str(&format!("  {:<FLAG$} {line}\n", "")));
    }
    text.push_str("\ndocs/flows.md says what each means where they meet.\n");
    text
}

/// Columns for what a code means, beside code and kind.
const MEANING: usize = 59;

/// Returns the table of exit codes as the manual has it.
fn exit_codes() -> String {
    let mut text = String::new();
    for (code, kind, meaning) in rows() {
        let mut lines = wrapped(&meaning, 0, MEANING).into_iter();
        let first = lines.next().unwrap_or_default();
        text.push_str(&format!("{code:>4}  {kind:<13} {first}\n"));
        lines.for_each(|line| text.push_str(&format!("{:<20} {line}\n", "")));
    }
    text.push_str(
        "\nOf several flows the first counts of 1, 11, 12, 8, 6, 3, 10, 9, 2, 4, 5, 124, 7, 0.\n",
    );
    text
}

/// Code, kind and meaning of each.
fn rows() -> impl Iterator<Item = (&'static str, String, String)> {
    let table = OPERATING.split_once("## What an exit code says").map_or("", |(_, rest)| rest);
    let plain = |text: &str| text.trim().replace('`', "");
    table
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .map_while(|line| line.strip_prefix('|'))
        .skip(2)
        .filter_map(move |row| {
            let mut cells = row.split('|');
            let (code, kind, meaning) = (cells.next()?, cells.next()?, cells.next()?);
            Some((code.trim(), plain(kind), plain(meaning)))
        })
}

#[cfg(test)]
mod tests {
    use orchestra_client::Exit;

    use super::*;

    fn told(topic: &[&str]) -> Result<String, Failure> {
        about(&topic.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn topics_fit_a_screen() {
        for topic in [
            &[][..],
            &["exit-codes"],
            &["host-sets"],
            &["json"],
            &["limits"],
            &["service", "apply"],
        ] {
            let text = told(topic).unwrap();
            let (lines, widest) = (text.lines().count(), text.lines().map(str::len).max());
            assert!((8..=60).contains(&lines), "{lines} lines:\n{text}");
            assert!(topic.len() == 2 || topic.is_empty() || widest.unwrap() <= 90, "{text}");
        }
        let help = told(&["service", "apply"]).unwrap();
        assert!(help.contains("Usage: orc service apply"), "{help}");
        assert!(told(&[]).unwrap().contains("exit-codes"));
        for unknown in [&["nonsense"][..], &["service", "nonsense"], &["exit-codes", "more"]] {
            assert!(told(unknown).is_err(), "{unknown:?}");
        }
    }

    #[test]
    fn every_exit_code_is_told() {
        let text = told(&["exit-codes"]).unwrap();
        for exit in Exit::WORST_FIRST {
            let begin = format!("{:>4}  {:<13} ", exit.code(), exit.kind());
            assert!(text.lines().any(|line| line.starts_with(&begin)), "{begin}: {text}");
        }
    }
}
